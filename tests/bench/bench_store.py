"""What reading stores cost per write and per question: `python tests/bench/bench_store.py`. It only prints."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from citypulse.model import Lane, ReadingBatch
from citypulse.store import Cursor, ReadingStore, open_store
from tests.store.victoria import BINARY, victoria_in

T0 = 1_763_777_467_000
SENSORS = 1_000
MINUTES = 2 * 24 * 60


def history(batch: int) -> list[ReadingBatch]:
    """Two days of 1,000 sensors, a reading a minute, in order of time, in portions of `batch`."""
    random = np.random.default_rng(1)
    n = SENSORS * MINUTES
    value = random.normal(0, 0.05, n).cumsum().round(2)
    time_ms = T0 + np.arange(n) // SENSORS * 60_000
    whole = ReadingBatch.of(np.arange(n) % SENSORS, time_ms, value)
    return [whole.take(slice(i, i + batch)) for i in range(0, n, batch)]


def bench_writes(label: str, store: ReadingStore, batches: list[ReadingBatch]) -> None:
    store.learn([f"s{i}.depth" for i in range(SENSORS)])
    took, cpu = [], time.process_time()
    for tick, batch in enumerate(batches, start=1):
        began = time.perf_counter()
        store.write(batch, upto=Cursor(journal="bench", tick=tick))
        took.append(time.perf_counter() - began)
    cpu = time.process_time() - cpu
    n = sum(map(len, batches))
    p50, p99 = np.quantile(np.array(took), [0.5, 0.99]) * 1e3
    print(
        f"{label:34} {n / sum(took):12,.0f} readings/s  p50 {p50:7.2f}  p99 {p99:7.2f} ms  {cpu / n * 1e9:5.0f} ns CPU"
    )


def bench_questions(store: ReadingStore) -> None:
    newest = T0 + MINUTES * 60_000
    for label, ask in (
        ("  last 24 h of one sensor", lambda: store.query(7, newest - 86_400_000, newest)),
        ("  newest reading of every sensor", store.latest),
        ("  scan of everything", lambda: [len(c) for c in store.scan(None, 0, newest)]),
    ):
        ask()
        began = time.perf_counter()
        found = ask()
        rows = sum(found) if isinstance(found, list) else len(found)
        print(f"{label:34} {(time.perf_counter() - began) * 1e3:9.2f} ms  {rows} readings")


def bench_duck(folder: Path) -> None:
    for batch in (200, 10_000, 200_000):
        batches = history(batch)[: 2_000 if batch == 200 else None]
        store = open_store("duckdb", folder / str(batch))
        bench_writes(f"duckdb, {batch} a write", store, batches)
        if batch == 10_000:
            bench_questions(store)
            late = [ReadingBatch.of(b.sensor, b.time_ms - 30_000, b.value) for b in batches[::20]]
            for one in late:
                one.lane[:] = Lane.HISTORY
            bench_writes("  10,000 of history a write", store, late)
        store.close()
        size = (folder / str(batch) / "readings.duckdb").stat().st_size
        print(f"  on disk: {size / sum(map(len, batches)):.1f} bytes a reading")


def bench_memory(folder: Path) -> None:
    store = open_store("memory", folder)
    bench_writes("memory, 10,000 a write", store, history(10_000)[:50])


def bench_victoria(folder: Path) -> None:
    if not BINARY:
        return
    with victoria_in(folder / "victoria") as server:
        store = open_store(f"influx+{server.url}?org=city&bucket=readings", folder)
        bench_writes("influx on VictoriaMetrics, 10,000", store, history(10_000)[:60])
        store.close()


if __name__ == "__main__":
    where = Path(tempfile.mkdtemp(prefix="bench-store-", dir=sys.argv[1] if len(sys.argv) > 1 else None))
    try:
        for bench in (bench_duck, bench_memory, bench_victoria):
            bench(where)
    finally:
        shutil.rmtree(where)
