"""surprise, compiled: the twelve ways it looks at a series: level, step, hour, distance from the usual of the hour."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .statistics_kernels import Record, turn_hour, usual_of_hour

SCALES = np.array([1, 4, 16, 64], np.int64)
RING = 64  # the longest scale; a power of two
MEANS, STEPS, RESIDUALS = 4, 4, 3
VIEWS = MEANS + STEPS + RESIDUALS  # with histograms of their own …
HOUR_VIEW = VIEWS  # … and the value given the hour
ALL_VIEWS = VIEWS + 1
DAYS = 6.0  # an hour's usual value is the mean of about its last six days


@njit(cache=True, nogil=True)
def look(
    hour: int,
    value: float,
    lane: Record,
    ring: NDArray[np.float64],
    residuals: NDArray[np.float64],
    hour_means: NDArray[np.float64],
    hour_days: NDArray[np.float64],
    views: NDArray[np.float64],
) -> None:
    """Take one reading into the rings and hour means, and write what each view sees into `views`."""
    turn_hour(lane, hour, hour_means, hour_days, DAYS)
    n = lane["seen"]
    lane["mean"] += (value - lane["mean"]) / (n + 1.0)
    residual = value - usual_of_hour(hour, hour_means, hour_days, lane["mean"])
    lane["hour_sum"] += value
    lane["hour_n"] += 1.0

    for s in range(STEPS):
        back = SCALES[s]
        views[MEANS + s] = value - ring[(n - back) & (RING - 1)] if n >= back else 0.0
    ring[n & (RING - 1)] = value
    residuals[n & (RING - 1)] = residual
    total, k = 0.0, 0
    for s in range(MEANS - 1):
        while k < SCALES[s] and k <= n:
            total += ring[(n - k) & (RING - 1)]
            k += 1
        views[s] = total / k
    views[MEANS - 1] = ring.sum() / min(n + 1, RING)  # the rest of a young ring is zero
    total, k = 0.0, 0
    for s in range(RESIDUALS):
        while k < SCALES[s] and k <= n:
            total += residuals[(n - k) & (RING - 1)]
            k += 1
        views[MEANS + STEPS + s] = total / k
    lane["seen"] = n + 1
