"""What a durable tick costs, and the ways not taken: `python tests/bench/bench_ledger.py`. It only prints."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from citypulse.journal import Journal
from citypulse.ledger import Ledger, Tick
from citypulse.ledger.packing import pack, unpack
from citypulse.model import ReadingBatch
from citypulse.store import Cursor, open_store
from tests.ledger.ledger_cast import a_notice, an_alarm, an_event, effects_of

T0 = 1_763_777_467_000
SENSORS = 5_000


def batch_of(n: int, tick: int) -> ReadingBatch:
    """n readings of 5,000 sensors, received within 50 ms, values of two decimals as instruments give them."""
    random = np.random.default_rng(tick)
    first = tick * n
    return ReadingBatch.of(
        (first + np.arange(n)) % SENSORS,
        T0 + (first + np.arange(n)) // SENSORS * 1000 + random.integers(0, 900, n),
        random.normal(50, 10, n).round(2),
        np.sort(T0 + tick * 50 + random.integers(0, 50, n)),
    )


def timed(label: str, ticks: int, work: Callable[[int], object], *, warm: int = 30) -> None:
    """Print quantiles of `work(i)`; the first calls are left out, the log file still grows then."""
    took, cpu = [], []
    for i in range(warm + ticks):
        began, began_cpu = time.perf_counter(), time.thread_time()
        work(i)
        took.append(time.perf_counter() - began)
        cpu.append(time.thread_time() - began_cpu)
    ms = np.quantile(np.array(took[warm:]), [0.5, 0.9, 0.99]) * 1e3
    own = np.median(np.array(cpu[warm:])) * 1e3
    print(f"{label:58} p50 {ms[0]:7.3f}  p90 {ms[1]:7.3f}  p99 {ms[2]:7.3f} ms, of it CPU {own:6.3f}")


def bench_floor(folder: Path) -> None:
    """The disk's own price: append and fdatasync."""
    for size in (3_600, 175_000):
        with (folder / "floor").open("wb", buffering=0) as file:
            blob = os.urandom(size)

            def append(_i: int, file=file, blob=blob) -> None:
                file.write(blob)
                os.fdatasync(file.fileno())

            timed(f"floor: {size} bytes and fdatasync", 200, append)


def bench_commit(folder: Path) -> None:
    for n in (0, 200, 10_000):
        ledger = Ledger.open(folder / f"commit-{n}")
        batches = [batch_of(n, i) for i in range(40)]

        def commit(i: int, ledger=ledger, batches=batches) -> None:
            ledger.commit(Tick(number=i + 1, now_ms=T0 + i, batch=batches[i % 40]))
            if i % 100 == 0:
                ledger.checkpoint()

        timed(f"ledger.commit, {n} readings, no effects", 300, commit)
        ledger.close()
    packed = pack(batch_of(10_000, 1))
    batch = batch_of(10_000, 1)
    timed("  of it: pack 10,000 readings", 200, lambda _i: pack(batch))
    timed("  (unpack them)", 200, lambda _i: unpack(packed))
    print(f"  packed: {len(packed) / 10_000:.1f} bytes a reading")


def bench_effects(folder: Path) -> None:
    ledger = Ledger.open(folder / "effects")

    def commit(i: int) -> None:
        names = range(i * 100, i * 100 + 100)
        effects = effects_of(
            alarms=[an_alarm(k) for k in names],
            events=[an_event(f"alarm-{k}") for k in names],
            notices=[a_notice(f"k{k}", f"alarm-{k}") for k in names],
        )
        ledger.commit(Tick(number=i + 1, now_ms=T0 + i, batch=batch_of(200, i), effects=effects))

    timed("ledger.commit, 200 readings, 100 alarms, events, notices", 100, commit, warm=5)
    began = time.perf_counter()
    verdict = ledger.verify()
    print(f"  verify: {verdict.checked / (time.perf_counter() - began):,.0f} lines/s")
    began = time.perf_counter()
    found = ledger.load_open()
    print(f"  load_open with {len(found.alarms)} alarms: {(time.perf_counter() - began) * 1e3:.0f} ms")
    ledger.close()


def bench_beside_housekeeping(folder: Path) -> None:
    """The heart's commits while snapshots of 20 MB are saved and the journal is pruned without a pause."""
    ledger = Ledger.open(folder / "busy")
    journal = Journal(ledger)
    state = {"rules": {"state": np.random.default_rng(1).integers(0, 2**60, 2_500_000)}}
    stop, saved = threading.Event(), []

    def keep_house() -> None:
        while not stop.is_set():
            if ledger.last_tick:
                saved.append(journal.save_snapshot(ledger.last_tick, T0, state))
                while journal.prune().is_more:
                    pass
                ledger.checkpoint()

    thread = threading.Thread(target=keep_house)
    thread.start()
    batches = [batch_of(2_000, i) for i in range(40)]

    def commit(i: int) -> None:
        ledger.commit(Tick(number=i + 1, now_ms=T0 + i, batch=batches[i % 40]))

    timed("ledger.commit, 2,000 readings, beside housekeeping", 1_500, commit)
    stop.set()
    thread.join()
    print(f"  {len(saved)} snapshots of {saved[-1] / 1e6:.0f} MB meanwhile")
    ledger.close()


def bench_ways_not_taken(folder: Path) -> None:
    """The same 10,000 readings, durable, by the other options of ADR 0002."""
    batches = [batch_of(10_000, i) for i in range(60)]

    rows = sqlite3.connect(folder / "rows.db", isolation_level=None)
    rows.execute("PRAGMA journal_mode=WAL")
    rows.execute("PRAGMA synchronous=FULL")
    rows.execute("CREATE TABLE r (sensor, time, value, quality, PRIMARY KEY (sensor, time)) WITHOUT ROWID")

    def insert(i: int) -> None:
        b = batches[i]
        rows.execute("BEGIN IMMEDIATE")
        columns = (b.sensor.tolist(), b.time_ms.tolist(), b.value.tolist(), b.quality.tolist())
        rows.executemany("INSERT OR IGNORE INTO r VALUES (?,?,?,?)", zip(*columns, strict=True))
        rows.execute("COMMIT")

    timed("option: a (sensor, time) table, 10,000 readings", 50, insert, warm=10)
    rows.close()

    store = open_store("duckdb", folder / "duck")
    timed(
        "option: the store itself before the acknowledgement",
        50,
        lambda i: store.write(batches[i], upto=Cursor(journal="j", tick=i)),
        warm=10,
    )
    store.close()

    ledger = Ledger.open(folder / "two")
    with (folder / "segment").open("wb", buffering=0) as file:

        def two(i: int) -> None:
            file.write(pack(batches[i]))
            os.fdatasync(file.fileno())
            ledger.commit(Tick(number=i + 1, now_ms=T0 + i))

        timed("option: a journal file beside the ledger, two syncs", 50, two, warm=10)
    ledger.close()


if __name__ == "__main__":
    where = Path(tempfile.mkdtemp(prefix="bench-ledger-", dir=sys.argv[1] if len(sys.argv) > 1 else None))
    try:
        for bench in (bench_floor, bench_commit, bench_effects, bench_beside_housekeeping, bench_ways_not_taken):
            bench(where)
    finally:
        shutil.rmtree(where)
