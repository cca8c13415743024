"""Prints how many readings a second each statistical detector takes, on one thread.

    python tests/bench/bench_detectors.py

Sensors report in turn, as they do: no lane's memory is in the cache when its reading comes.
"""

from __future__ import annotations

import time

import numpy as np

from rules.detectors import baseline, multivariate, surprise

READINGS = 1_000_000
LANES = (1_000, 10_000)
WARM_UP = 64  # readings a lane learns from first
BATCH = 4_096  # readings per call, about what a tick brings


def _rate(step, columns, memory, warm) -> float:
    """Return readings per second; the first `warm` readings, and the compiler, are not counted."""
    step(*(column[:warm] for column in columns), *memory)
    begin = time.perf_counter()
    for a in range(warm, len(columns[0]), BATCH):
        step(*(column[a : a + BATCH] for column in columns), *memory)
    return (len(columns[0]) - warm) / (time.perf_counter() - begin)


def main() -> None:
    rng = np.random.default_rng(1)
    print(f"{'detector':<28}{'lanes':>8}{'M readings/s':>14}")
    for lanes in LANES:
        warm = WARM_UP * lanes
        total = READINGS + warm
        lane = np.resize(np.arange(lanes, dtype=np.int32), total)
        times = np.arange(total, dtype=np.int64) // lanes * 300_000
        values = rng.standard_normal(total)
        single = {
            "baseline": (baseline.kernels.step, baseline.arrays([baseline.Baseline(warm_up=WARM_UP)] * lanes)),
            "surprise (12 histograms)": (
                surprise.kernels.step,
                surprise.arrays([surprise.Surprise(warm_up=WARM_UP)] * lanes),
            ),
        }
        for name, (step, state) in single.items():
            print(f"{name:<28}{lanes:>8}{_rate(step, (times, values, lane), state, warm) / 1e6:>14.2f}")
        channels = 8
        sites = lanes // channels
        row = np.arange(total) // channels
        site, slot = (row % sites).astype(np.int32), (np.arange(total) % channels).astype(np.int32)
        beat = (row // sites).astype(np.int64) * 60_000
        for method in ("vote", "pca"):
            settings = [multivariate.Multivariate(warm_up=WARM_UP, method=method)] * sites
            state = multivariate.arrays(settings, [channels] * sites, [60.0] * sites)
            rate = _rate(multivariate.kernels.step, (beat, values, site, slot), state, warm)
            print(f"{f'multivariate {method}, {channels} channels':<28}{lanes:>8}{rate / 1e6:>14.2f}")


if __name__ == "__main__":
    main()
