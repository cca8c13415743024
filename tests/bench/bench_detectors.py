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
BATCH = 4_096  # readings per call, about what a tick brings


def _rate(step, columns, state) -> float:
    """Return readings per second over READINGS, in batches; the compiler has run before."""
    best = 0.0
    for _ in range(2):
        memory = tuple(a.copy() for a in state)
        begin = time.perf_counter()
        for a in range(0, READINGS, BATCH):
            step(*(column[a : a + BATCH] for column in columns), *memory)
        best = max(best, READINGS / (time.perf_counter() - begin))
    return best


def main() -> None:
    rng = np.random.default_rng(1)
    print(f"{'detector':<28}{'lanes':>8}{'M readings/s':>14}")
    for lanes in LANES:
        lane = np.resize(np.arange(lanes, dtype=np.int32), READINGS)
        times = np.arange(READINGS, dtype=np.int64) // lanes * 300_000
        values = rng.standard_normal(READINGS)
        single = {
            "baseline": (baseline.kernels.step, baseline.arrays([baseline.Baseline(warm_up=64)] * lanes)),
            "surprise (12 histograms)": (
                surprise.kernels.step,
                surprise.arrays([surprise.Surprise(warm_up=64)] * lanes),
            ),
        }
        for name, (step, state) in single.items():
            print(f"{name:<28}{lanes:>8}{_rate(step, (times, values, lane), state) / 1e6:>14.2f}")
        channels = 8
        sites = lanes // channels
        row = np.arange(READINGS) // channels
        site, slot = (row % sites).astype(np.int32), (np.arange(READINGS) % channels).astype(np.int32)
        beat = (row // sites).astype(np.int64) * 60_000
        for method in ("vote", "pca"):
            settings = [multivariate.Multivariate(warm_up=64, method=method)] * sites
            state = multivariate.arrays(settings, [channels] * sites, [60.0] * sites)
            rate = _rate(multivariate.kernels.step, (beat, values, site, slot), state)
            print(f"{f'multivariate {method}, {channels} channels':<28}{lanes:>8}{rate / 1e6:>14.2f}")


if __name__ == "__main__":
    main()
