"""`citypulse export`: stored readings as CSV or Parquet."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import click

from .show import console, data_option, json_option, print_json

FAR_MS = 4_102_444_800_000  # the year 2100


_DAY = re.compile(r"(\d{4}-\d\d-\d\d)(Z|[+-]\d\d:\d\d)")


class Instant(click.ParamType[int]):
    """Epoch milliseconds, or ISO 8601 with a zone, as epoch milliseconds; a day alone is its first instant."""

    name = "instant"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read one; a time without a zone is refused, because nobody can know which was meant."""
        if isinstance(value, int):
            return value
        if value.lstrip("-").isdigit():
            return int(value)
        try:
            day = _DAY.fullmatch(value)
            when = datetime.fromisoformat(f"{day[1]}T00:00{day[2]}" if day is not None else value)
        except ValueError:
            self.fail(f"{value!r} is neither epoch milliseconds nor ISO 8601", param, ctx)
        if when.tzinfo is None:
            self.fail(f"{value!r} 没有时区 has no zone: write {value}Z or {value}+08:00", param, ctx)
        return round(when.timestamp() * 1000)


def chosen(ids: Sequence[str], globs: Sequence[str]) -> list[int] | None:
    """Return the indexes of the ids that match one of the globs; None, for all, without globs."""
    if not globs:
        return None
    return [i for i, name in enumerate(ids) if any(fnmatchcase(name, glob) for glob in globs)]


@click.command()
@data_option
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help=".csv, .csv.gz or .parquet")
@click.option("--sensor", "globs", multiple=True, metavar="GLOB", help="Only sensors like this; may be repeated")
@click.option("--since", default=0, type=Instant(), help="From this instant on: epoch ms or ISO 8601 with a zone")
@click.option("--until", default=FAR_MS, type=Instant(), help="Before this instant")
@click.option("--store", "store_text", default="duckdb", show_default=True, help="Which store to read")
@json_option
def command(
    data_dir: Path, out: Path, globs: tuple[str, ...], since: int, until: int, store_text: str, as_json: bool
) -> None:
    """Write stored readings to a file, in order of time.

    The embedded store is open in one process at a time: while the service runs, use its HTTP export instead.
    """
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from citypulse.store import open_store
    from citypulse.store.readings_writer import ReadingsWriter

    from .import_ import sensor_names

    writer = ReadingsWriter(out)  # a wrong name is told before anything is opened
    if store_text == "duckdb" and not (data_dir / "readings.duckdb").exists():
        raise click.ClickException(f"{data_dir}: no readings are stored here")
    store = open_store(store_text, data_dir)
    try:
        ids = sensor_names(data_dir) or store.names()
        if len(store.names()) < len(ids):
            store.learn(ids)
        sensors = chosen(ids, globs)
        if sensors == []:
            click.echo(f"没有匹配的传感器 no sensor is like {', '.join(globs)}", err=True)
            raise click.exceptions.Exit(1)
        look = (SpinnerColumn(), TextColumn("{task.completed:,.0f} readings"), TimeElapsedColumn())
        with writer, Progress(*look, console=console(stderr=True), transient=True) as progress:
            task = progress.add_task("export", total=None)
            for chunk in store.scan(sensors, since, until):
                writer.write(ids, chunk.sensor, chunk.time_ms, chunk.value, chunk.quality)
                progress.advance(task, len(chunk))
    finally:
        store.close()
    if as_json:
        print_json({"file": str(out), "readings": writer.rows})
    else:
        click.echo(f"{out}: {writer.rows} 条读数 readings")
