"""A what-if over a month of 400 sensors: `python tests/bench/bench_whatif.py [FOLDER] [DAYS]`. It only prints.

Makes a DuckDB store of 400 depth sensors, a reading a minute (17.3 million in 30 days), as a service would have
written it, and two configurations that differ in one rule; then times what `citypulse backtest --config NEW --against
OLD --data DIR` does, inside one process and as a command. The folder is kept and used again when it is given.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from citypulse.config import load_city
from citypulse.model import ReadingBatch
from citypulse.store import Cursor, open_store
from citypulse.vocabulary import extensions
from tests.support import small_city

START_MS = 1_767_542_400_000
SENSORS, DAYS, MINUTE_MS = 400, 30, 60_000
GATEWAYS = 20
WRITTEN_AT_ONCE = 25  # minutes: a sink that groups 10,000 readings
RULES = (
    small_city.RULES
    + """    inhibited_by: gateway-off
  - id: rise
    name: {zh: 上涨, en: Rising}
    applies_to: {quantity: depth}
    source: test
    rate: {window: 10 min, min_points: 3}
    limits: [{level: orange, at_least: 1 cm/min, deadband: 0.3 cm/min, off_delay: 5 min}]
  - id: flat
    name: {zh: 卡滞, en: Stuck}
    applies_to: {quantity: depth}
    source: test
    stuck: {}
    limits: [{level: blue, at_least: 6 h}]
    diagnostic: true
"""
    + small_city.WATCHDOGS
)


def signals(minutes: int) -> np.ndarray:
    """Depth by minute and sensor, cm: a film of water with noise, and storms that flood some of the places."""
    rng = np.random.default_rng(7)
    value = 0.5 + 0.15 * np.abs(rng.standard_normal((minutes, SENSORS), np.float32))
    for start in range(900, minutes, 4320):  # every three days
        span = min(480, minutes - start)
        t = np.arange(span)
        shape = np.where(t < 60, t / 60, np.exp(-(t - 60) / 90))
        heights = np.maximum(0, rng.normal(4, 7, SENSORS))
        value[start : start + span] += shape[:, None] * heights[None, :]
    return np.round(value, 2).astype(np.float64)


def make(folder: Path, days: int) -> None:
    """Write configurations and store, if they are not there already."""
    text = small_city.text(gateways=GATEWAYS, sites=SENSORS, rules=RULES, cadence="60 s")
    text = text.replace("silent_after: 7 d", "silent_after: 10 min")
    (folder / "old.yaml").write_text(text, encoding="utf-8")
    (folder / "new.yaml").write_text(text.replace("at_least: 10 cm", "at_least: 9 cm"), encoding="utf-8")
    if (folder / "readings.duckdb").exists():
        return
    config = load_city(folder / "old.yaml", extensions())
    store = open_store("duckdb", folder)
    store.learn([s.id for s in config.sensors])
    minutes = days * 24 * 60
    value = signals(minutes)
    rng = np.random.default_rng(8)
    offset = rng.integers(0, MINUTE_MS, SENSORS)
    began = time.perf_counter()
    for tick, at in enumerate(range(0, minutes, WRITTEN_AT_ONCE), start=1):
        some = value[at : at + WRITTEN_AT_ONCE]
        minute = np.repeat(np.arange(at, at + len(some), dtype=np.int64), SENSORS)
        sensor = np.tile(np.arange(SENSORS, dtype=np.int32), len(some))
        time_ms = START_MS + minute * MINUTE_MS + offset[sensor]
        is_lost = rng.random(len(sensor)) < 0.001
        batch = ReadingBatch.of(sensor[~is_lost], time_ms[~is_lost], some.ravel()[~is_lost])
        batch.quality[:] = 1
        store.write(batch, upto=Cursor(journal="bench", tick=tick))
    total = store.count()
    store.close()
    size = (folder / "readings.duckdb").stat().st_size
    print(f"made {total:,} readings in {time.perf_counter() - began:.1f} s, {size / total:.1f} bytes a reading")


def inside(folder: Path, times: int) -> None:
    """Time configuration, store, run and comparison within this process, kernels loaded."""
    from citypulse.backtest.run import backtest
    from citypulse.cli.recorded import opened
    from rules.backtest import Change, differences
    from rules.whatif import select

    for which in [*["changed"] * times, "all"]:
        began, cpu = time.perf_counter(), time.process_time()
        known = extensions()
        new, old = load_city(folder / "new.yaml", known), load_city(folder / "old.yaml", known)
        read_s = time.perf_counter() - began
        selection = select(new, old) if which == "changed" else None
        configs = [new, old] if selection is None else [selection.new, selection.old]
        with opened((), folder, "duckdb", since_ms=0, until_ms=2**53) as (history, _):
            span, outcomes, _ = backtest(configs, history, selection=selection)
        a, b = outcomes
        found = differences(b.occurrences, a.occurrences, until_ms=span.until_ms)
        took, spent = time.perf_counter() - began, time.process_time() - cpu
        counts = {c.value: sum(d.change is c for d in found) for c in Change}
        print(f"{which} rules, {span.readings:,} readings: {took:.2f} s wall ({read_s:.2f} s reading the two files), "
              f"{spent:.2f} s CPU, {span.readings / took / 1e6:.1f} M/s; {counts}")  # fmt: skip


def as_command(folder: Path, times: int) -> None:
    """Time the whole command, interpreter start included."""
    command = [sys.executable, "-m", "citypulse", "backtest", "--config", str(folder / "new.yaml"),
               "--against", str(folder / "old.yaml"), "--data", str(folder)]  # fmt: skip
    for _ in range(times):
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        print(f"command: {time.perf_counter() - began:.2f} s wall, exit {done.returncode}")
        if done.returncode:
            print(done.stderr[-2000:])


def main() -> None:
    days = int(sys.argv[2]) if len(sys.argv) > 2 else DAYS
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        make(folder, days)
        inside(folder, 3)
        as_command(folder, 3)


if __name__ == "__main__":
    main()
