"""`citypulse import`: readings files into the store, as history."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .show import console, data_option, json_option, print_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from citypulse.readings_files import RowProblem
    from citypulse.store import ReadingStore

AHEAD_MS = 5 * 60 * 1000  # further in the future than this is not believed, as in live running
PROBLEMS_SHOWN = 20


@dataclass(slots=True)
class Tally:
    """What came of the rows."""

    rows: int = 0
    stored: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    shown: int = 0

    def refuse(self, problems: Sequence[RowProblem], say: Callable[[str], None]) -> None:
        """Count rows that could not be taken, and show the first ones."""
        for problem in problems:
            if self.shown < PROBLEMS_SHOWN:
                say(str(problem))
            elif self.shown == PROBLEMS_SHOWN:
                say("… 其余只计数 further ones are only counted")
            self.shown += 1
            self.refused[problem.reason] += 1


def sensor_names(data_dir: Path) -> tuple[str, ...]:
    """Return the sensor ids by index of the ledger in `data_dir`; none when there is no ledger."""
    from citypulse.ledger import Ledger
    from citypulse.ledger.ledger import FILE

    if not (data_dir / FILE).exists():
        return ()
    ledger = Ledger.open(data_dir, read_only=True)
    try:
        return ledger.known_sensor_ids()
    finally:
        ledger.close()


def take_file(
    path: Path,
    store: ReadingStore,
    index: Mapping[str, int],
    tally: Tally,
    *,
    now_ms: int,
    say: Callable[[str], None],
    show: Callable[[float], None],
) -> None:
    """Store the rows of one file; `say` gets problems, `show` the share of the file that is done."""
    from dataclasses import replace

    import numpy as np

    from citypulse.model import Lane
    from citypulse.readings_files import read_readings

    for portion in read_readings(path):
        batch, strangers = portion.batch(index, received_ms=now_ms)
        tally.rows += len(portion) + len(portion.problems)
        tally.refuse((*portion.problems, *strangers), say)
        lane = np.where(batch.time_ms > now_ms + AHEAD_MS, Lane.QUARANTINED, Lane.HISTORY).astype(np.uint8)
        tally.refused["future"] += int((lane == Lane.QUARANTINED).sum())
        tally.stored += store.write(replace(batch, lane=lane))
        show(portion.share_done)


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--config",
    "config_path",
    default="sensors.yaml",
    show_default=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The city whose sensors are meant",
)
@click.option("--store", "store_text", default="duckdb", show_default=True, help="Which store to write to")
@data_option
@json_option
def command(files: tuple[Path, ...], config_path: Path, store_text: str, data_dir: Path, as_json: bool) -> None:
    """Put readings files into the store: CSV sensor,time,value[,quality] (gzip allowed) or Parquet.

    Only while the service is stopped. What is imported is history: it is stored and can be queried, it raises no
    alarm and moves none; to feed readings through the rules use `citypulse simulate` or a backtest. A (sensor, time)
    that is there already stays as it is, so an import can be repeated. Exit 1 when rows were refused.
    """
    from rich.progress import Progress

    from citypulse.clock import SystemClock
    from citypulse.config import load_city
    from citypulse.ledger import Ledger
    from citypulse.store import open_store
    from citypulse.vocabulary import extensions

    config = load_city(config_path, extensions())
    ledger = Ledger.open(data_dir)  # refuses while the service runs
    try:
        ids = ledger.sensor_ids([sensor.id for sensor in config.sensors])
    finally:
        ledger.close()
    configured = {sensor.id for sensor in config.sensors}
    index = {name: i for i, name in enumerate(ids) if name in configured}
    tally, now_ms = Tally(), SystemClock().now_ms()
    err = console(stderr=True)
    store = open_store(store_text, data_dir)
    try:
        store.learn(ids)
        with Progress(console=err, transient=True) as progress:
            for path in files:
                task = progress.add_task(path.name, total=1.0)
                take_file(
                    path,
                    store,
                    index,
                    tally,
                    now_ms=now_ms,
                    say=lambda line: err.print(line, markup=False, highlight=False),
                    show=lambda share, task=task: progress.update(task, completed=share),  # type: ignore[misc]
                )
    finally:
        store.close()
    refused = {reason: n for reason, n in tally.refused.items() if n}
    there = tally.rows - tally.stored - sum(refused.values())
    if as_json:
        print_json({"rows": tally.rows, "stored": tally.stored, "already_there": there, "refused": refused})
    else:
        click.echo(f"{tally.rows} 行 rows: {tally.stored} 条入库 stored as history, {there} 条已有 already there")
        for reason, n in refused.items():
            click.echo(f"  {n} 行未取 refused: {reason}")
    if refused:
        raise click.exceptions.Exit(1)
