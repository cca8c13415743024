"""What baseline, surprise and multivariate share, compiled: the hour of the day, its usual value, order statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Record = Any  # one row of a structured array

HOURS = 24
HOUR_MS = 3_600_000
WINDOW_MAX = 32  # scores an event discriminator can look back on


@njit(cache=True, nogil=True)
def local_ms(time_ms: int, since_ms: NDArray[np.int64], offset_ms: NDArray[np.int64]) -> int:
    """Return local time, as ms since 1970 began there. From since_ms[k] on it is UTC plus offset_ms[k] (zone.py).

    Before the first of them its offset counts.
    """
    low, high = 0, len(since_ms)
    while high - low > 1:
        middle = (low + high) // 2
        if since_ms[middle] <= time_ms:
            low = middle
        else:
            high = middle
    local: int = time_ms + offset_ms[low]
    return local


@njit(cache=True, nogil=True)
def hour_of_day(time_ms: int, since_ms: NDArray[np.int64], offset_ms: NDArray[np.int64]) -> int:
    """Return the local hour, 0 to 23, by the same table."""
    hour: int = local_ms(time_ms, since_ms, offset_ms) // HOUR_MS % HOURS
    return hour


@njit(cache=True, nogil=True)
def usual_of_hour(hour: int, means: NDArray[np.float64], days: NDArray[np.float64], otherwise: float) -> float:
    """Return what is usual at this hour, from it (twice) and its neighbours; `otherwise` before any of them is full."""
    total = weight = 0.0
    for d in range(-1, 2):
        h = (hour + d) % HOURS
        if days[h] > 0.0:
            w = 2.0 if d == 0 else 1.0
            total += w * means[h]
            weight += w
    return total / weight if weight > 0.0 else otherwise


@njit(cache=True, nogil=True)
def turn_hour(lane: Record, hour: int, means: NDArray[np.float64], days: NDArray[np.float64], days_max: float) -> None:
    """When the hour changes, file the mean of the one that ended; an hour remembers about `days_max` days.

    lane: has hour, hour_sum and hour_n.
    """
    old = lane["hour"]
    if hour == old:
        return
    if old >= 0 and lane["hour_n"] > 0.0:
        days[old] += 1.0
        means[old] += (lane["hour_sum"] / lane["hour_n"] - means[old]) / min(days[old], days_max)
    lane["hour"] = hour
    lane["hour_sum"] = lane["hour_n"] = 0.0


@njit(cache=True, nogil=True)
def insert_below(best: NDArray[np.float64], held: int, x: float) -> None:
    """Put x into best[:held], ascending, where best[held] is free (or may be overwritten)."""
    j = held
    while j > 0 and best[j - 1] > x:
        best[j] = best[j - 1]
        j -= 1
    best[j] = x


@njit(cache=True, nogil=True)
def smallest_first(values: NDArray[np.float64], n: int, k: int) -> None:
    """Sort the k smallest of the first n values to the front, ascending, by insertion. The rest is spoilt."""
    for i in range(1, n):
        x = values[i]
        if i < k:
            insert_below(values, i, x)
        elif x < values[k - 1]:
            insert_below(values, k - 1, x)


@njit(cache=True, nogil=True)
def kth_largest(values: NDArray[np.float64], n: int, k: int) -> float:
    """Return the k-th largest of the first n values, at least 0 each (k from 1 to WINDOW_MAX); 0 if there are fewer."""
    best = np.zeros(WINDOW_MAX)  # negated, so that the largest come first
    for i in range(n):
        if i < k:
            insert_below(best, i, -values[i])
        elif -values[i] < best[k - 1]:
            insert_below(best, k - 1, -values[i])
    return -best[k - 1] if n >= k else 0.0
