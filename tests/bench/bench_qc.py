"""Speed of streaming quality control on one core: seven QARTOD tests together, and the river tests on top.

python tests/bench/bench_qc.py [--readings 2000000] [--sensors 1000]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from citypulse.clock import monotonic_s
from citypulse.model import ReadingBatch
from ingest.qc.controller import QualityControl
from ingest.qc.settings import QualitySettings

REFERENCE = 0.37  # ioos_qc 3.0.0, the seven tests in batch, M readings/s (detection notes, one thread)
CADENCE_S = 900
SEVEN = {
    "gross_range": {"fail": [0, 1000], "suspect": [100, 900]},
    "climatology": [{"period": "month", "tspan": [m, m], "vspan": [50, 950]} for m in range(1, 13)],
    "spike": {"suspect": 30, "fail": 60},
    "rate_of_change": {"suspect": 0.1, "fail": 0.3},
    "flat_line": {"tolerance": 0.01, "suspect_after_s": 7200, "fail_after_s": 14_400},
    "attenuated": {"over_s": 43_200, "suspect_below": 0.3, "fail_below": 0.1, "min_readings": 5},
    "time_gap": {"fail_after_s": 7200},
}
RIVER = {
    "jump": {"rise": {"floor": 30, "scales": 20}, "fall": {"floor": 30, "scales": 20}, "baseline": 0.003},
    "returned": {"floor": 30},
    "frozen": {"after_s": 21_600},
    "settling": {},
}


def readings(total: int, sensors: int) -> ReadingBatch:
    """Random walks of all sensors in step, with spikes, in order of arrival."""
    rng = np.random.default_rng(7)
    rounds = total // sensors
    walk = 500 + np.cumsum(rng.normal(0, 1, (rounds, sensors)), axis=0)
    walk[rng.random(walk.shape) < 0.001] += 200
    times = np.repeat(1_700_000_000_000 + np.arange(rounds, dtype=np.int64) * CADENCE_S * 1000, sensors)
    return ReadingBatch.of(np.tile(np.arange(sensors, dtype=np.int32), rounds), times, walk.ravel())


def speed(section: dict[str, object], batch: ReadingBatch, sensors: int, size: int) -> float:
    """Million readings per second, fed in batches of `size`."""
    settings = QualitySettings.model_validate({"quantities": {"x": section}})
    ids = [f"s{i}.x" for i in range(sensors)]
    parts = [batch.take(slice(k, k + size)) for k in range(0, len(batch), size)]
    best = 0.0
    for _ in range(3):
        control = QualityControl.of_sensors(settings, ids, [float(CADENCE_S)] * sensors)
        start = monotonic_s()
        for part in parts:
            control.apply(part)
        best = max(best, len(batch) / (monotonic_s() - start) / 1e6)
    return best


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readings", type=int, default=1_000_000)
    parser.add_argument("--sensors", type=int, default=1000)
    options = parser.parse_args()
    start = monotonic_s()
    speed(SEVEN, readings(1000, 10), 10, 100)
    print(f"compiled or loaded in {monotonic_s() - start:.1f} s")
    batch = readings(options.readings, options.sensors)
    for size in (1000, 10_000, len(batch)):
        print(
            f"batches of {size:>8}: seven QARTOD tests {speed(SEVEN, batch, options.sensors, size):6.2f} M/s"
            f"  with river tests {speed({**SEVEN, **RIVER}, batch, options.sensors, size):6.2f} M/s"
        )
    for name, section in SEVEN.items():
        print(f"  {name:15s} alone {speed({name: section}, batch, options.sensors, 10_000):7.2f} M/s")
    print(f"reference: ioos_qc 3.0.0, the seven in batch: {REFERENCE} M/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
