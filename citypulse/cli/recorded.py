"""What verbs over recorded readings share: where the readings come from, and progress with rate and time left."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .client import default_data_dir
from .export import FAR_MS, Instant
from .show import console

if TYPE_CHECKING:
    from citypulse.backtest.history import History

CONFIG = click.Path(path_type=Path, exists=True, dir_okay=False)
LINE_EVERY_S = 5.0
READINGS = click.Path(path_type=Path, exists=True, dir_okay=False)


def readings_options(command: Any) -> Any:
    """Add `--readings FILE … | --data DIR`, `--since` and `--until`."""
    for option in (
        click.option("--until", "until_ms", default=FAR_MS, type=Instant(), help="Only readings before this instant"),
        click.option("--since", "since_ms", default=0, type=Instant(), help="Only readings from this instant on"),
        click.option("--store", "store_text", default="duckdb", show_default=True, help="Which store to read"),
        click.option(
            "--data",
            "data_dir",
            type=click.Path(path_type=Path, file_okay=False),
            help="Read the store of this data folder [without --readings: $CITYPULSE_DATA or the XDG state folder]",
        ),
        click.option(
            "--readings", "files", multiple=True, type=READINGS, help="A readings file, CSV or Parquet; may be repeated"
        ),
        click.argument("more", nargs=-1, type=READINGS),
    ):
        command = option(command)
    return command


@contextmanager
def opened(
    files: Sequence[Path], data_dir: Path | None, store_text: str, *, since_ms: int, until_ms: int, early: bool = False
) -> Iterator[tuple[History, str]]:
    """Open the readings that were meant; yield them with what to call them. early: begin to read the store at once."""
    from citypulse.backtest.history import FileHistory, StoreHistory, read_early
    from citypulse.store import open_store

    from .import_ import sensor_names

    if files and data_dir is not None:
        raise click.UsageError("--readings or --data, not both: readings come from files or from the store")
    if files:
        yield FileHistory(files, since_ms=since_ms, until_ms=until_ms), ", ".join(str(f) for f in files)
        return
    folder = data_dir or default_data_dir()
    if store_text == "duckdb" and not (folder / "readings.duckdb").exists():
        raise click.UsageError(f"{folder}: no readings are stored here; give --readings FILE or --data DIR")
    store = open_store(store_text, folder)
    try:
        begun = read_early(store, since_ms, until_ms) if early else None
        try:
            ids = store.names() or sensor_names(folder)  # a ledger knows more, but nothing the store has readings of
            yield StoreHistory(store, ids, since_ms=since_ms, until_ms=until_ms, early=begun), str(folder)
        finally:
            if begun is not None:
                begun.close()
    finally:
        store.close()


@contextmanager
def progress(what: str) -> Iterator[Callable[[float, int, int], None]]:
    """Show progress on stderr: share, readings, rate, alarms, time left; a line now and then where no terminal is."""
    if not sys.stderr.isatty():
        yield _by_line(what)
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from citypulse.clock import monotonic_s

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[said]}"),
        TimeRemainingColumn(),
    )
    began_s = monotonic_s()
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=1.0, said="")

        def show(share: float, readings: int, alarms: int) -> None:
            rate = readings / max(1e-6, monotonic_s() - began_s)
            said = f"{readings / 1e6:.2f} M 读数 readings · {rate / 1e6:.2f} M/s · {alarms} 告警 alarms"
            bar.update(task, completed=share, said=said)

        yield show


def _by_line(what: str) -> Callable[[float, int, int], None]:
    """Return what writes a line of progress every LINE_EVERY_S seconds: a log stays readable."""
    from citypulse.clock import monotonic_s

    began_s = monotonic_s()
    said_s = began_s

    def show(share: float, readings: int, alarms: int) -> None:
        nonlocal said_s
        now_s = monotonic_s()
        if now_s - said_s < LINE_EVERY_S:
            return
        said_s = now_s
        spent_s = now_s - began_s
        left_s = spent_s * (1 - share) / share if share > 0 else 0.0
        click.echo(
            f"{what} {100 * share:.0f} % · {readings / 1e6:.2f} M 读数 readings · {readings / spent_s / 1e6:.2f} M/s · "
            f"{alarms} 告警 alarms · 剩余 left {left_s:.0f} s",
            err=True,
        )

    return show
