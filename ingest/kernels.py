"""The compiled loop that calibrates readings, finds their lane and checks their range."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from citypulse.model import Lane, Quality

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]

NEVER = -(2**63)  # the newest time of a sensor that has none
FUTURE_MS = 300_000  # more than five minutes ahead of us is a wrong clock, not a reading of tomorrow

LIVE, HISTORY = int(Lane.LIVE), int(Lane.HISTORY)
QUARANTINED, DUPLICATE = int(Lane.QUARANTINED), int(Lane.DUPLICATE)
GOOD, FAIL, MISSING = int(Quality.GOOD), int(Quality.FAIL), int(Quality.MISSING)

KNOWN = np.dtype(
    [
        ("scale", np.float64),  # settings
        ("offset", np.float64),
        ("low", np.float64),
        ("high", np.float64),
        ("newest_ms", np.int64),  # memory: the newest LIVE reading
        ("newest", np.float64),
        ("newest_received_ms", np.int64),
        ("spare", np.int64),
    ]
)
"""What grading needs of one sensor, in one cache line."""


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def base_quality(value: float, lane: int, low: float, high: float) -> int:
    """Return the flag of a reading by itself: missing, believable, or not (bounds are good)."""
    if lane == QUARANTINED:
        return FAIL
    if math.isnan(value):
        return MISSING
    return GOOD if low <= value <= high else FAIL


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def grade(
    sensor: NDArray[np.int32],
    time_ms: I64,
    value: F64,
    received_ms: I64,
    known: NDArray[Any],
    quality: U8,
    lane: U8,
) -> int:
    """Grade readings in order of arrival, one by one, so that how they are cut into batches cannot matter.

    value: raw in, calibrated out · known: by sensor, advanced by LIVE readings · quality, lane: out.
    Returns the number of conflicts: duplicates that disagree with the value kept first.
    """
    conflicts = 0
    for i in range(len(sensor)):
        own = known[sensor[i]]
        x = value[i] * own["scale"] + own["offset"]
        t = time_ms[i]
        value[i] = x
        if t - received_ms[i] > FUTURE_MS:
            found = QUARANTINED
        elif t > own["newest_ms"]:
            found = LIVE
            own["newest_ms"] = t
            own["newest"] = x
            own["newest_received_ms"] = received_ms[i]
        elif t < own["newest_ms"]:
            found = HISTORY
        else:
            found = DUPLICATE
            if x != own["newest"] and not (math.isnan(x) and math.isnan(own["newest"])):
                conflicts += 1
        lane[i] = found
        quality[i] = base_quality(x, found, own["low"], own["high"])
    return conflicts


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def regrade(
    sensor: NDArray[np.int32],
    time_ms: I64,
    value: F64,
    received_ms: I64,
    lane: U8,
    known: NDArray[Any],
    quality: U8,
) -> None:
    """Advance the state as `grade` did when these readings, calibrated and with their lanes, were new."""
    for i in range(len(sensor)):
        own = known[sensor[i]]
        if lane[i] == LIVE:
            own["newest_ms"] = time_ms[i]
            own["newest"] = value[i]
            own["newest_received_ms"] = received_ms[i]
        quality[i] = base_quality(value[i], lane[i], own["low"], own["high"])
