"""surprise, compiled: the twelve ways it looks at a series: level, step, hour, distance from the usual of the hour."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Record = Any  # one row of a structured array

SCALES = np.array([1, 4, 16, 64], np.int64)
RING = 64  # the longest scale; a power of two
MEANS, STEPS, RESIDUALS = 4, 4, 3
VIEWS = MEANS + STEPS + RESIDUALS  # with histograms of their own …
HOUR_VIEW = VIEWS  # … and the value given the hour
ALL_VIEWS = VIEWS + 1
HOURS = 24
DAYS = 6.0  # an hour's usual value is the mean of about its last six days


@njit(cache=True, nogil=True)
def _usual_of_hour(lane: Record, hour: int, means: NDArray[np.float64], days: NDArray[np.float64]) -> float:
    """Return what is usual at this hour, from it (twice) and its neighbours; before any hour is full, the mean."""
    total = weight = 0.0
    for d in range(-1, 2):
        h = (hour + d) % HOURS
        if days[h] > 0.0:
            w = 2.0 if d == 0 else 1.0
            total += w * means[h]
            weight += w
    return total / weight if weight > 0.0 else lane["mean"]


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
    if hour != lane["hour"]:
        old = lane["hour"]
        if old >= 0 and lane["hour_n"] > 0.0:
            hour_days[old] += 1.0
            hour_means[old] += (lane["hour_sum"] / lane["hour_n"] - hour_means[old]) / min(hour_days[old], DAYS)
        lane["hour"] = hour
        lane["hour_sum"] = lane["hour_n"] = 0.0
    n = lane["seen"]
    lane["mean"] += (value - lane["mean"]) / (n + 1.0)
    residual = value - _usual_of_hour(lane, hour, hour_means, hour_days)
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
