"""`citypulse check FILE`: everything that is wrong with a configuration, at once, before anything runs on it."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import click

from .export import FAR_MS
from .recorded import READINGS, opened, progress
from .show import json_option, print_json

if TYPE_CHECKING:
    from citypulse.config.check import Loaded


@click.command()
@click.argument("file", type=click.Path(path_type=Path), default=Path("sensors.yaml"))
@json_option
@click.option("--strict", is_flag=True, help="Warnings count as findings too")
@click.option("--readings", "files", multiple=True, type=READINGS, help="Hold its `budget:` against this history, too")
@click.option("--data", "data_dir", type=click.Path(path_type=Path, file_okay=False), help="… or against a store's")
def command(file: Path, as_json: bool, strict: bool, files: tuple[Path, ...], data_dir: Path | None) -> None:
    """Check a configuration file with all it includes; exit 0 when it is good, 1 when there are findings."""
    from citypulse.config import inspect_city
    from citypulse.config.untested import untested_rules
    from citypulse.vocabulary import extensions

    if not file.is_file():
        raise click.UsageError(f"there is no file {file}")
    loaded = inspect_city(file, extensions())
    if loaded.city is not None:
        loaded = replace(loaded, diagnostics=(*loaded.diagnostics, *untested_rules(loaded)))
        if files or data_dir is not None:
            from citypulse.backtest.budget import over_budget

            recorded = opened(files, data_dir, "duckdb", since_ms=0, until_ms=FAR_MS)
            with recorded as (history, _), progress("预算 budget") as show:
                over = over_budget(loaded, history, show=show)
            loaded = replace(loaded, diagnostics=(*loaded.diagnostics, *over))
    if as_json:
        print_json(_as_dict(loaded))
    else:
        is_coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        for diagnostic in loaded.diagnostics:
            click.echo(diagnostic.render(colour=is_coloured), color=is_coloured)
        click.echo(summary(loaded))
        _say_of_calendar(loaded)
    if loaded.errors or (strict and loaded.warnings):
        raise click.exceptions.Exit(1)


def _say_of_calendar(loaded: Loaded) -> None:
    """Say on stderr that the workday calendar is about to end: it depends on the day, so it is no finding."""
    from alerts.people.workdays import expiry, know
    from citypulse.clock import SystemClock, utc

    if loaded.city is None:
        return
    know(loaded.city.workdays)
    today = utc(SystemClock().now_ms()).astimezone(ZoneInfo(loaded.city.timezone)).date()
    ends = expiry(today, loaded.city.calendar_warn_days)
    if ends is not None:
        click.echo(f"注意 note: {ends[1].zh}\n  {ends[1].en}", err=True)


def summary(loaded: Loaded) -> str:
    """Say in one line what was loaded, or that nothing was."""
    counts = (
        f"{loaded.errors} {_plural('error', loaded.errors)}, {loaded.warnings} {_plural('warning', loaded.warnings)}"
    )
    first = loaded.diagnostics[0].code if loaded.diagnostics else ""
    more = f" · `citypulse explain {first}`" if first else ""
    city = loaded.city
    if city is None:
        return f"{counts}{more} · nothing was loaded"
    rules = len({rule.id for rule in city.rules})
    return (
        f"{city.name.zh} {city.name.en}: {rules} rules, {len(city.sensors)} sensors at {len(city.sites)} sites"
        f" on {len(city.gateways)} gateways, {counts}{more}"
    )


def _plural(word: str, count: int) -> str:
    return word if count == 1 else word + "s"


def _as_dict(loaded: Loaded) -> dict[str, object]:
    city = loaded.city
    return {
        "ok": city is not None,
        "errors": loaded.errors,
        "warnings": loaded.warnings,
        "diagnostics": [d.as_dict() for d in loaded.diagnostics],
        "loaded": None
        if city is None
        else {
            "name": {"zh": city.name.zh, "en": city.name.en},
            "rules": len({rule.id for rule in city.rules}),
            "sensors": len(city.sensors),
            "sites": len(city.sites),
            "gateways": len(city.gateways),
            "files": list(city.files),
            "fingerprint": city.fingerprint,
        },
    }
