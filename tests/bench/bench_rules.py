"""Quality control and rules together, by number of sensors and by skew: `python tests/bench/bench_rules.py [1000 …]`.

It only prints. Every sensor has the seven QARTOD tests and the four usual lanes: threshold with four limits, rate,
stuck and no_data. Gateways report in a random order, each its twenty sensors together, as a city does; `scattered`
shuffles single sensors instead, so that every row of state is a cache miss; of a backlog one sensor delivers 90 % or
all. Every sensor has been heard 24 times before anything is timed. Processor time of one thread, the best of the last
eight batches, each row in a process of its own; `against` compares with the first row. `--repeat 3` takes the best of
three such processes.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
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
HEARD = 24  # readings of every sensor before the timed ones
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


def run(n_sensors: int, *, scattered: bool, share_of_one: float, batch_size: int) -> dict[str, float]:
    """Return nanoseconds a reading of both parts, seconds that building took, and the peak of memory in MiB."""
    wanted = QualitySettings.model_validate({"quantities": {"depth": QUALITY}})
    w = city(n_sensors)
    del w.engine
    start = time.process_time()
    w.engine = w.fresh()
    middle = time.process_time()
    control = QualityControl.of_sensors(wanted, [s.id for s in w.sensors], [float(CADENCE_S)] * n_sensors)
    built = middle - start, time.process_time() - middle
    own_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    total = max(n_sensors * HEARD, batch_size * 2) + batch_size * BATCHES
    stream = readings(n_sensors, scattered=scattered, share_of_one=0.0, total=total)
    last = slice(total - batch_size * BATCHES, None)
    if share_of_one:
        skewed = readings(n_sensors, scattered=scattered, share_of_one=share_of_one, total=batch_size * BATCHES)
        later_ms = int(stream.time_ms[-1]) - START_MS + 7 * 86_400_000  # its past is later than what was heard before
        received = skewed.received_ms + (int(stream.received_ms[-1]) - START_MS)
        stream.sensor[last], stream.value[last] = skewed.sensor, skewed.value
        stream.time_ms[last], stream.received_ms[last] = skewed.time_ms + later_ms, received
    spent = []
    for begin in range(0, total - batch_size + 1, batch_size):
        batch = stream.take(slice(begin, begin + batch_size))
        start = time.process_time()
        graded = control.apply(batch)
        half = time.process_time()
        w.engine.step(replace(batch, quality=graded.flags), int(batch.received_ms[-1]))
        spent.append((half - start, time.process_time() - half))
    quality, rules = np.array(spent[2 - BATCHES :]).min(axis=0) / batch_size * 1e9
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "quality": quality, "rules": rules, "rules_s": built[0], "quality_s": built[1],
        "built_mib": own_mib, "mib": mib, "stream_mib": 30 * total / 2**20,
    }  # fmt: skip


def measure(n_sensors: int, kind: str, share: float, batch_size: int, repeat: int) -> dict[str, float]:
    """Run it in processes of its own; return the quickest one's figures."""
    asked = [str(n_sensors), "--row", kind, str(share), str(batch_size)]
    said = [
        subprocess.run([sys.executable, __file__, *asked], stdout=subprocess.PIPE, check=True) for _ in range(repeat)
    ]
    return min((json.loads(one.stdout) for one in said), key=lambda row: row["quality"] + row["rules"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sensors", nargs="*", type=int, default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--row", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.row:
        kind, share, size = asked.row
        found = run(asked.sensors[0], scattered=kind == "scattered", share_of_one=float(share), batch_size=int(size))
        print(json.dumps(found))
        return
    skewed = min(100_000, max(asked.sensors))
    cases = [(n, kind, 0.0, BATCH) for n in asked.sensors for kind in ("by gateway", "scattered")]
    cases += [(skewed, "by gateway", share, 1_000_000) for share in (0.25, 0.9, 1.0)]
    first = 0.0
    for n, kind, share, size in cases:
        row = measure(n, kind, share, size, asked.repeat)
        both = row["quality"] + row["rules"]
        first = first or both
        print(
            f"{n:>9,} sensors, {kind:<10}, one sensor {share:4.0%}, {size:>9,} a batch: quality {row['quality']:4.0f} "
            f"+ rules {row['rules']:4.0f} ns/reading, together {1e3 / both:5.2f} M/s, {both / first:4.2f} × the first; "
            f"built in {row['rules_s']:.1f} + {row['quality_s']:.1f} s; peak {row['built_mib']:,.0f} MiB built, "
            f"{row['mib']:,.0f} MiB in all with {row['stream_mib']:,.0f} MiB of readings",
            flush=True,
        )


if __name__ == "__main__":
    main()
