"""What one step of the rules costs: `python tests/bench/bench_rules.py`. It only prints.

Every sensor has the four usual lanes: threshold with four limits, rate, stuck and no_data. Sensors report in a random
order, so every row of state is a cache miss: worse than a city, where a gateway's sensors lie together.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

from citypulse.model import ReadingBatch
from tests.rules.world import S, World, limit, rule, sensor

CADENCE_S = 60
WARM_UP_ROUNDS = 12
MEASURED = 400_000  # readings, at least one round


def city(n_sensors: int) -> World:
    names = [f"site-{k:06d}.depth" for k in range(n_sensors)]
    levels = (("blue", 5), ("yellow", 15), ("orange", 27), ("red", 40))
    rules = [
        rule("depth", "threshold", names, *(limit(level, "at_least", value, 3, 0, 600) for level, value in levels)),
        rule("rise", "rate", names, limit("orange", "at_least", 5 / 300)),
        rule("stuck", "stuck", names, limit("blue", "at_least", 6 * 3600)),
        rule("no-data", "no_data", names, settings={"after": 1800}),
        rule("gateway-silent", "gateway_silent", ["gw-01"], limit("yellow", "at_least", 3000), sensors=[()]),
    ]
    return World([sensor(name, cadence_s=CADENCE_S) for name in names], rules)


def run(n_sensors: int, per_batch: int, *, skew: float = 0.0) -> None:
    start = time.perf_counter()
    w = city(n_sensors)
    compiled_s = time.perf_counter() - start
    rng = np.random.default_rng(1)
    order = rng.permutation(n_sensors).astype(np.int32)
    costs = []
    taken = said = 0
    while taken < WARM_UP_ROUNDS * n_sensors + max(MEASURED, n_sensors):
        chosen = order[np.arange(taken, taken + per_batch) % n_sensors]
        chosen[rng.random(per_batch) < skew] = order[0]
        now = (np.arange(taken, taken + per_batch) * (CADENCE_S * S / n_sensors)).astype(np.int64)
        batch = ReadingBatch.of(chosen, now, 1 + 1e-6 * rng.random(per_batch))
        start = time.perf_counter()
        said += len(w.engine.step(batch, int(now[-1])))
        cost = time.perf_counter() - start
        taken += per_batch
        if taken > WARM_UP_ROUNDS * n_sensors:
            costs.append(cost)
    median = float(np.median(costs))
    start = time.perf_counter()
    w.engine.state()
    saved_s = time.perf_counter() - start
    print(
        f"{n_sensors:>7} sensors, {per_batch:>6} a batch, skew {skew:.0%}: {median / per_batch * 1e9:7.0f} ns/reading, "
        f"{per_batch / median / 1e6:5.2f} M/s, {median * 1e6:8.0f} µs/step, {said} transitions; "
        f"compile {compiled_s:.1f} s, state {saved_s * 1e3:.0f} ms"
    )


if __name__ == "__main__":
    for sensors, size, share in (
        (1_000, 10, 0.0),
        (1_000, 100, 0.0),
        (1_000, 10_000, 0.0),
        (10_000, 10_000, 0.0),
        (10_000, 10_000, 0.25),
        (100_000, 10_000, 0.0),
        (100_000, 100_000, 0.0),
    ):
        run(sensors, size, skew=share)
