"""What the statistical evaluations share: a CSV to columns, one site through the real engine, the scorer's files.

`--data DIR` is a folder with `data/` (the recordings) and `eval/` (the scorers). Whatever files lie there are run.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from citypulse.model import Gateway, Limit, Origin, Priority, ReadingBatch, Rule, Sensor, SensorTable, Side, Site, Text
from citypulse.model import TransitionKind as Kind
from rules.detector import Detector
from rules.detectors import DETECTORS
from rules.engine import Engine

HERE = Path(__file__).resolve().parent
CHUNK = 200_000  # readings per engine step


@dataclass(frozen=True, slots=True)
class Recording:
    """One data file: times as written, the same in epoch ms, and its numeric columns, NaN where there is nothing."""

    path: Path
    times: list[str]
    times_ms: np.ndarray
    columns: dict[str, np.ndarray]


def arguments(doc: str, config: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with data/ and eval/")
    parser.add_argument("--config", type=Path, default=HERE / config)
    parser.add_argument("--keep", type=Path, help="write the scorer's input here and keep it")
    parser.add_argument("--tune", type=Path, help="NAB: another such folder; its best threshold is used here")
    return parser.parse_args()


def settings_of(config: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(config.read_text(encoding="utf-8")))


def data_files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*.csv*") if p.name.endswith((".csv", ".csv.gz")))


def stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".csv")


def epoch_ms(text: str) -> int:
    return round(datetime.fromisoformat(text.strip().rstrip("Z")).replace(tzinfo=UTC).timestamp() * 1000)


def number(text: str) -> float:
    return float(text) if text not in ("", "NA", "nan", "NaN") else np.nan


def read(path: Path, time_column: str, channels: Iterable[str] | None = None) -> Recording:
    """Read `channels` of a file, or every column that the configuration does not name as something else."""
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8-sig")
    rows = list(csv.DictReader(text.splitlines()))
    labels = {time_column, "anomaly", "changepoint", "EVENT"}
    names = [name for name in rows[0] if name not in labels] if channels is None else list(channels)
    times = [row[time_column] for row in rows]
    columns = {name: np.array([number(row[name]) for row in rows]) for name in names}
    return Recording(path, times, np.array([epoch_ms(t) for t in times], np.int64), columns)


def site_alarms(recording: Recording, config: dict[str, Any]) -> np.ndarray:
    """Run one site through the engine with the configured detector; return for every row whether the alarm is on."""
    name, n = config["detector"], len(recording.times)
    here = Origin(file="evaluation", line=1)
    registered: dict[str, Detector] = dict(DETECTORS)
    cadence_s = max(round(float(np.median(np.diff(recording.times_ms))) / 1000), 1)
    ids = [f"it.c{k}" for k in range(len(recording.columns))]
    sensors = tuple(
        Sensor(
            id=i,
            site="it",
            gateway="gw",
            quantity="x",
            domain="water",
            site_kind="works",
            area="",
            unit="",
            scale=1.0,
            offset=0.0,
            low=-np.inf,
            high=np.inf,
            cadence_s=cadence_s,
            origin=here,
        )
        for i in ids
    )
    limit = Limit(
        level=Priority.P3,
        side=Side.AT_LEAST,
        value=config["limit"],
        deadband=config["deadband"],
        off_delay_s=config["off_delay_s"],
        origin=here,
    )
    rule = Rule(
        id="it",
        name=Text(zh="试", en="it"),
        version="0",
        origin=here,
        detector=name,
        settings=registered[name].settings(**config["settings"]),
        limits=(limit,),
        scopes=("it",),
        sensors=(tuple(ids),),
        domain="water",
        unit="",
    )
    place = Site(id="it", name=rule.name, domain="water", kind="works", area="", lat=30.0, lon=120.0, gateway="gw")
    gateway = Gateway(id="gw", codec="native", silent_after_s=10**9)
    table = SensorTable.build(tuple(ids), sensors)
    engine = Engine((rule,), table, {"it": place}, {"gw": gateway}, detectors=registered)

    values = np.column_stack(list(recording.columns.values()))
    said = np.isfinite(values).ravel()
    sensor = np.tile(np.arange(len(ids)), n)[said]
    times = np.repeat(recording.times_ms, len(ids))[said]
    batch = ReadingBatch.of(sensor, times, values.ravel()[said], received_ms=np.maximum.accumulate(times))
    change = np.zeros(n + 1, np.int64)
    for begin in range(0, len(batch), CHUNK):
        part = batch.take(slice(begin, begin + CHUNK))
        for t in engine.step(part, int(part.received_ms[-1])):
            row = int(np.searchsorted(recording.times_ms, t.event_ms))
            if t.kind is Kind.RAISE:
                change[row] += 1
            elif t.kind is Kind.CLEAR:
                change[row] -= 1
    return np.cumsum(change)[:n] > 0


def write_rows(out: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def score(scorer: Path, *options: str) -> str:
    """Run one of the scorers as its own process and return what it prints."""
    done = subprocess.run([sys.executable, str(scorer), *options], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{scorer.name} failed:\n{done.stderr}")
    return done.stdout.rstrip()
