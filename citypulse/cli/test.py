"""`citypulse test FILE…`: tests of rules, written in YAML, on the live engine and desk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .show import json_option, print_json

if TYPE_CHECKING:
    from citypulse.ruletest.run import Result

STORY_MAX = 12


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Test the rules of this configuration instead of the one a file names",
)
@json_option
def command(files: tuple[Path, ...], config_path: Path | None, as_json: bool) -> None:
    """Run rule tests: files, or folders with *.tests.yaml in them. Exit 1 when one fails or cannot be run as written.

    A file names a configuration and lists tests: series of readings in promtool's notation, and what must hold when.
    See docs/reference/rule-tests.md.
    """
    from citypulse.errors import ConfigError
    from citypulse.ruletest.run import load_suite, run_suite
    from citypulse.vocabulary import extensions

    known = extensions()
    results: list[Result] = []
    broken = False
    for path in found_in(files):
        try:
            suite = load_suite(path, known, config_path)
        except ConfigError as error:
            broken = True
            for diagnostic in error.diagnostics:
                click.echo(diagnostic.render(), err=True)
            continue
        results += run_suite(suite)
    failed = [r for r in results if not r.is_passed]
    if as_json:
        print_json(
            [
                {
                    "file": r.file,
                    "line": r.line,
                    "name": r.outcome.test.name,
                    "passed": r.is_passed,
                    "failures": list(r.outcome.failures),
                }
                for r in results
            ]
        )
    else:
        for result in failed:
            _print(result)
        passed = len(results) - len(failed)
        click.echo(f"{passed} 通过 passed, {len(failed)} 失败 failed")
    if failed or broken:
        raise click.exceptions.Exit(1)


def found_in(files: tuple[Path, ...]) -> list[Path]:
    """Return the files named, and the *.tests.yaml of the folders named."""
    found: list[Path] = []
    for path in files:
        inside = sorted(path.rglob("*.tests.yaml")) if path.is_dir() else [path]
        if not inside:
            raise click.UsageError(f"{path}: no *.tests.yaml in it")
        found += inside
    return found


def _print(result: Result) -> None:
    from citypulse.ruletest.run import story

    click.echo(f"✗ {result.file}:{result.line}: {result.outcome.test.name}")
    for failure in result.outcome.failures:
        click.echo(f"    {failure}")
    told = story(result.outcome)
    for line in told[:STORY_MAX] or ["nothing happened 什么也没发生"]:
        click.echo(f"      · {line}")
    if len(told) > STORY_MAX:
        click.echo(f"      · … {len(told) - STORY_MAX} more")
