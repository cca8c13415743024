"""How verbs print: tables for people, JSON for programs; results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .client import default_data_dir

if TYPE_CHECKING:  # a service prints no tables: rich is imported by what does
    from rich.console import Console
    from rich.text import Text

COLOURS = {1: "bold red", 2: "bold dark_orange", 3: "bold yellow", 4: "bold blue"}
MARKS = {1: "⬣ 1", 2: "▲ 2", 3: "◆ 3", 4: "● 4"}  # shape and digit: colour is never the only sign


def data_option(command: Any) -> Any:
    """Add `--data DIR` with its default from the environment."""
    return click.option(
        "--data",
        "data_dir",
        type=click.Path(path_type=Path, file_okay=False),
        default=None,
        callback=lambda _c, _p, value: value or default_data_dir(),
        help="The service's data folder [default: $CITYPULSE_DATA or the XDG state folder]",
    )(command)


def json_option(command: Any) -> Any:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON")(command)


def print_json(value: Any) -> None:
    """Print one JSON document on stdout."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=None if isinstance(value, list) and not value else 1))


def console(*, stderr: bool = False) -> Console:
    """Return a rich console; rich itself honours NO_COLOR and dumb terminals."""
    from rich.console import Console

    return Console(stderr=stderr, soft_wrap=not sys.stdout.isatty(), highlight=False)


def level_text(level: int) -> Text:
    """Return a priority as shape, digit and colour."""
    from rich.text import Text

    return Text(MARKS[level], style=COLOURS[level])


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> None:
    """Print a plain table, or a sentence when there is nothing."""
    listed = list(rows)
    if not listed:
        click.echo(empty)
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in listed:
        table.add_row(*(cell if isinstance(cell, Text) else str(cell) for cell in row))
    console().print(table)


def finish(answer: dict[str, Any], *, as_json: bool) -> None:
    """Print a command's answer; exit 1 when it was refused."""
    if as_json:
        print_json(answer)
    else:
        click.echo(answer.get("message") or ("done" if answer.get("ok") else "refused"))
        if not answer.get("ok") and answer.get("allowed"):
            click.echo("allowed now: " + ", ".join(answer["allowed"]))
    if not answer.get("ok"):
        raise click.exceptions.Exit(1)
