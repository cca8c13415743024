"""Quality control and rules together, by number of sensors and by skew: `python tests/bench/bench_rules.py [1000 …]`.

It only prints. Every sensor has the seven QARTOD tests and the four usual lanes: threshold with four limits, rate,
stuck and no_data. Gateways report in a random order, each its twenty sensors together, as a city does; `scattered`
shuffles single sensors instead, so that every row of state is a cache miss. Processor time of one thread, the best
of several batches; `against` compares with the first row.
"""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

from citypulse.model import ReadingBatch
from ingest.qc.controller import QualityControl
from ingest.qc.settings import QualitySettings
from tests.bench.bench_qc import SEVEN
from tests.rules.world import S, World, limit, rule, sensor

CADENCE_S = 60
BATCH = 200_000
BATCHES = 8
TOGETHER = 20  # sensors of a gateway
HOUR_S = 3600
START_MS = 1_767_542_400_000
# A level gauge every minute: spans in cm, a dead gauge after two hours.
QUALITY = {
    **SEVEN,
    "climatology": [{"period": "month", "tspan": [m, m], "vspan": [-50, 500]} for m in range(1, 13)],
    "gross_range": {"fail": [-100, 1000], "suspect": [-50, 500]},
    "flat_line": {"tolerance": 0.001, "suspect_after_s": HOUR_S, "fail_after_s": 2 * HOUR_S},
    "attenuated": {"over_s": HOUR_S, "suspect_below": 0.001, "fail_below": 0.0005, "min_readings": 5},
}


def city(n_sensors: int) -> World:
    names = [f"site-{k:07d}.depth" for k in range(n_sensors)]
    levels = (("blue", 5), ("yellow", 15), ("orange", 27), ("red", 40))
    rules = [
        rule("depth", "threshold", names, *(limit(level, "at_least", value, 3, 0, 600) for level, value in levels)),
        rule("rise", "rate", names, limit("orange", "at_least", 5 / 300)),
        rule("stuck", "stuck", names, limit("blue", "at_least", 6 * 3600)),
        rule("no-data", "no_data", names, settings={"after": 86_400}),
        rule("gateway-silent", "gateway_silent", ["gw-01"], limit("yellow", "at_least", 86_400), sensors=[()]),
    ]
    return World([sensor(name, cadence_s=CADENCE_S) for name in names], rules)


def readings(n_sensors: int, *, scattered: bool, share_of_one: float, total: int) -> ReadingBatch:
    """All sensors again and again; one sensor delivers `share_of_one` of everything, its backlog in order of time."""
    rng = np.random.default_rng(1)
    block = 1 if scattered else TOGETHER
    groups = rng.permutation(n_sensors // block)
    order = (groups[:, None] * block + np.arange(block)).ravel().astype(np.int32)
    chosen = order[np.arange(total) % n_sensors]
    chosen[rng.random(total) < share_of_one] = order[0]
    turn = np.arange(total) // n_sensors
    times = START_MS + turn * CADENCE_S * S
    mine = np.flatnonzero(chosen == order[0])
    times[mine] = START_MS + (np.arange(len(mine)) - len(mine)) * CADENCE_S * S  # of the past, at its own cadence
    received = START_MS + (np.arange(total) * (CADENCE_S * S / n_sensors)).astype(np.int64)
    return ReadingBatch.of(chosen, times, 1 + 0.02 * rng.random(total), received)


def run(n_sensors: int, *, scattered: bool = False, share_of_one: float = 0.0, batch_size: int = BATCH) -> float:
    """Print a row and return the readings per second of processor time."""
    wanted = QualitySettings.model_validate({"quantities": {"depth": QUALITY}})
    before_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start = time.process_time()
    w = city(n_sensors)
    control = QualityControl.of_sensors(wanted, [s.id for s in w.sensors], [float(CADENCE_S)] * n_sensors)
    built_s = time.process_time() - start
    total = max(n_sensors * 6, batch_size * 2) + batch_size * BATCHES
    stream = readings(n_sensors, scattered=scattered, share_of_one=share_of_one, total=total)
    best = [9.0, 9.0]
    for begin in range(0, total - batch_size + 1, batch_size):
        batch = stream.take(slice(begin, begin + batch_size))
        start = time.process_time()
        graded = control.apply(batch)
        half = time.process_time()
        w.engine.step(replace(batch, quality=graded.flags), int(batch.received_ms[-1]))
        end = time.process_time()
        if begin >= total - BATCHES * batch_size - batch_size:
            best = [min(best[0], half - start), min(best[1], end - half)]
    qc, rules = (b / batch_size * 1e9 for b in best)
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    kind = "scattered" if scattered else "by gateway"
    print(
        f"{n_sensors:>9,} sensors, {kind}, one sensor {share_of_one:4.0%}, {batch_size:>9,} a batch: "
        f"quality {qc:5.0f} + rules {rules:5.0f} ns/reading, together {1e3 / (qc + rules):5.2f} M/s; "
        f"built in {built_s:.0f} s, peak memory {before_mib:,.0f} → {mib:,.0f} MiB",
        flush=True,
    )
    return 1e9 / (qc + rules)


def main() -> None:
    sizes = [int(n) for n in sys.argv[1:]] or [1_000, 10_000, 100_000, 1_000_000]
    run(1_000)  # compiles
    first = 0.0
    for n in sizes:
        for scattered in (False, True):
            speed = run(n, scattered=scattered)
            first = first or speed
            print(f"{'':>9} against the first row: {first / speed:.2f} × the time")
    skewed = min(100_000, max(sizes))
    for share in (0.25, 0.9, 1.0):
        speed = run(skewed, share_of_one=share, batch_size=1_000_000)
        print(f"{'':>9} against the first row: {first / speed:.2f} × the time")


if __name__ == "__main__":
    main()
