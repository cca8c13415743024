"""What a storm costs the heart: 5,000 alarms in 60 s from 1,000 sensors, desk and durable commit. It only prints.

`python -m tests.bench.bench_storm [ALARMS] [TICK_MS]`. CPU time is the heart thread's; wall time has the disk's too.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from alerts.desk import Desk
from citypulse.ledger import Ledger, Tick
from citypulse.model import ReadingBatch, Transition
from tests.alerts.cast import T0
from tests.alerts.storm_cast import cleared, storm, storm_city


def by_tick(changes: list[Transition], tick_ms: int) -> list[list[Transition]]:
    """Cut a minute's changes into ticks by when they could first be known."""
    ticks: list[list[Transition]] = [[] for _ in range(60_000 // tick_ms)]
    for change in changes:
        ticks[min((change.received_ms - T0) // tick_ms, len(ticks) - 1)].append(change)
    return ticks


def run(label: str, ticks: list[list[Transition]], tick_ms: int, folder: Path) -> None:
    config, table = storm_city()
    desk, ledger = Desk(config, table), Ledger.open(folder)
    wall, cpu, notices, events, waits = [], [], 0, 0, 0
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number, changes in enumerate(ticks, 1):
        now_ms = T0 + number * tick_ms
        began, began_cpu = time.perf_counter(), time.thread_time()
        effects = desk.receive(changes, ReadingBatch.empty(), [], now_ms)
        ledger.commit(Tick(number=number, now_ms=now_ms, effects=effects))
        wall.append(time.perf_counter() - began)
        cpu.append(time.thread_time() - began_cpu)
        notices, events = notices + len(effects.notices), events + len(effects.events)
        waits += sum(n.may_wait for n in effects.notices)
    alarms = sum(len(changes) for changes in ticks)
    p50, p99, most = (np.quantile(np.array(wall), q) * 1e3 for q in (0.5, 0.99, 1.0))
    own50, own99 = (np.quantile(np.array(cpu), q) * 1e3 for q in (0.5, 0.99))
    more_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) / 1024
    print(f"{label}: {alarms} changes in {len(ticks)} ticks, {events} events, {notices} notices ({waits} may wait)")
    print(f"  tick wall p50 {p50:.1f}  p99 {p99:.1f}  longest {most:.1f} ms; CPU p50 {own50:.1f}  p99 {own99:.1f} ms")
    print(f"  CPU {sum(cpu) / alarms * 1e3:.3f} ms a change, commit and hash chain included; memory +{more_mb:.0f} MB")
    verdict = ledger.verify()
    print(f"  record verified: {verdict.checked} lines, first broken: {verdict.first_broken}")
    ledger.close()


def main() -> None:
    alarms, tick_ms = (int(a) for a in (*sys.argv[1:3], *("5000", "250")[len(sys.argv[1:3]) :]))
    config, _ = storm_city()
    raises = list(storm(config, alarms))
    ends = [cleared(t, t.received_ms) for t in raises]
    with tempfile.TemporaryDirectory(prefix="bench-storm-") as made:
        run("spread over a minute", by_tick(raises, tick_ms), tick_ms, Path(made) / "spread")
        run("all in one tick", [raises], tick_ms, Path(made) / "one")
        both = [change for pair in zip(raises, ends, strict=True) for change in pair]
        run("each ends at once", by_tick(both, tick_ms), tick_ms, Path(made) / "both")


if __name__ == "__main__":
    main()
