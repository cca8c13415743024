"""How verbs print: tables for people, JSON for programs; results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import os
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
FOLDED_CELLS = 6  # what a folded column needs; narrower columns are kept whole: a number in two parts cannot be copied
ENDLESS = 100_000
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


def local(ms: int | None, zone: str) -> str:
    """Write an instant in the city's time: short on a terminal, where width is scarce, else whole with its offset."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    from citypulse.clock import utc

    if ms is None:
        return ""
    try:
        when = utc(ms).astimezone(ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError):
        when = utc(ms)
    return f"{when:%m-%d %H:%M:%S}" if sys.stdout.isatty() else when.isoformat("T", "seconds")


def zone_of(data_dir: Path) -> str:
    """Return the city's time zone, from the configuration that the record says was in force."""
    from citypulse.reading_room import ReadingRoom

    with ReadingRoom.beside(data_dir) as room:
        return room.timezone()


def cut_note(shown: int, limit: int) -> None:
    """Say on stderr that a list may go on: a list that ends in silence looks whole."""
    if shown >= limit:
        click.echo(
            f"只列出前 {limit} 条，--limit 可加大 only the first {limit} are listed; --limit shows more", err=True
        )


def chosen_from(value: str, known: Iterable[str], what: str) -> str:
    """Return `value` when it is empty or known; raises UsageError with what is near.

    A wrong filter finds nothing, and nothing looks like peace.
    """
    from difflib import get_close_matches

    names = list(known)
    if not value or value in names:
        return value
    near = get_close_matches(value, names, n=1)
    hint = f"；是否指 did you mean {near[0]!r}?" if near else f"; there are {', '.join(names)}"
    raise click.UsageError(f"没有 no {what} {value!r}{hint}")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> None:
    """Print a plain table, or a sentence when there is nothing.

    On a terminal only long texts are folded, never a number or an id; elsewhere every row is one line, for grep.
    """
    listed = list(rows)
    if not listed:
        click.echo(empty)
        return
    from rich.table import Table
    from rich.text import Text

    is_folded = sys.stdout.isatty() or "COLUMNS" in os.environ
    printer = console()
    if not is_folded:
        printer.width = ENDLESS
    texts = [[cell if isinstance(cell, Text) else Text(str(cell)) for cell in row] for row in listed]
    kept = _kept(columns, [max(row[at].cell_len for row in texts) for at in range(len(columns))], printer.width)
    table = Table(box=None, pad_edge=False)
    for at, name in enumerate(columns):
        header = name.replace(" ", "\n") if is_folded and kept[at] else name
        table.add_column(header, overflow="fold", no_wrap=kept[at])
    for row in texts:
        table.add_row(*(row if is_folded else [_on_one_line(cell) for cell in row]))
    printer.print(table)


def _kept(columns: Sequence[str], widths: Sequence[int], width: int) -> list[bool]:
    """Say which columns are never folded: ids first, then the narrow ones; FOLDED_CELLS are left for each other one."""
    kept = [False] * len(widths)
    used = 2 * len(widths)
    for left, at in enumerate(sorted(range(len(widths)), key=lambda at: (not columns[at].endswith("id"), widths[at]))):
        used += widths[at]
        kept[at] = used + FOLDED_CELLS * (len(widths) - left - 1) <= width
    return kept


def _on_one_line(cell: Text) -> Text:
    from rich.text import Text

    return Text(" ".join(cell.plain.split("\n")), style=cell.style) if "\n" in cell.plain else cell


def finish(answer: dict[str, Any], *, as_json: bool) -> None:
    """Print a command's answer; exit 1 when it was refused."""
    if as_json:
        print_json(answer)
    else:
        said = answer.get("message") or ("完成 done" if answer.get("ok") else "被拒 refused")
        click.echo(said if answer.get("ok") else f"被拒 refused: {said}", err=not answer.get("ok"))
        if not answer.get("ok") and answer.get("allowed") and "llowed" not in said:
            click.echo("现在可做 allowed now: " + ", ".join(answer["allowed"]), err=True)
    if not answer.get("ok"):
        raise click.exceptions.Exit(1)
