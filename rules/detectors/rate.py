"""rate: how fast the value changes, as the median of all slopes between its last points (Theil-Sen).

One bad point moves no median: a spike is not a flood. https://en.wikipedia.org/wiki/Theil-Sen_estimator
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field

from citypulse.config.values import DetectorSettings, DurationS
from citypulse.model import Text
from rules.detector import (
    CALM,
    LOUD,
    MUTE,
    SKIP,
    SUSPECT,
    TOUCH_AHEAD,
    Array,
    Detector,
    LaneSpec,
    Layout,
    Quiet,
    by_rule,
)
from rules.example import Example, daily, merged, ramp

POINTS_MAX = 16  # 120 slopes; more points cost quadratically and hardly change a median
PAIRS_MAX = POINTS_MAX * (POINTS_MAX - 1) // 2
SCRATCH = PAIRS_MAX + 2 * POINTS_MAX  # floats that `median_slope` works in


class Rate(DetectorSettings):
    """`window`: event time looked at (its newest 16 readings). `min_points`: fewer than this say nothing."""

    limits_in: ClassVar[Literal["rate"]] = "rate"
    window: DurationS = Field(default=600.0, gt=0)
    min_points: int = Field(default=3, ge=2, le=POINTS_MAX)


PARAMS = np.dtype(
    [("window_ms", np.int64), ("calm_low", np.float64), ("calm_high", np.float64), ("min_points", np.int64)]
)
POINT = np.dtype([("time_ms", np.int64), ("value", np.float64)])
HEAD = np.dtype(
    [
        ("count", np.int64),  # points ever put into the ring
        ("time_ms", np.int64),  # the newest
        ("value", np.float64),
        ("calm_ms", np.int64),  # first of the newest run of points between neighbours of which the slope is calm
    ]
)


def layout(lanes: Sequence[LaneSpec]) -> Layout:
    """Give each lane a ring of its last points, and a head that is enough to know that all is calm."""
    params = by_rule(lanes, PARAMS, lambda k: (round(k.settings.window * 1000), *k.calm, k.settings.min_points))
    return Layout(params=(params,), memory=(np.zeros(len(lanes), HEAD), np.zeros((len(lanes), POINTS_MAX), POINT)))


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def median(x: NDArray[np.float64], n: int) -> float:
    """Return the median of the first `n` numbers, as numpy's; puts them into another order.

    Selection by Lomuto's partition without branches: slopes of noise defeat every branch predictor.
    """
    low, high, k = 0, n - 1, n >> 1
    while low < high:
        middle = (low + high) >> 1
        pivot = x[middle]
        x[middle] = x[high]
        x[high] = pivot
        place = low
        for i in range(low, high):
            other = x[i]
            x[i] = x[place]
            x[place] = other
            place += int(other < pivot)
        x[high] = x[place]
        x[place] = pivot
        if place == k:
            break
        if place < k:
            low = place + 1
        else:
            high = place - 1
    if n & 1:
        return float(x[k])
    below = x[0]
    for i in range(1, k):
        below = max(below, x[i])
    return float((below + x[k]) / 2)


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def median_slope(ring: Array, newest: int, points: int, scratch: NDArray[np.float64]) -> float:
    """Return the median slope per second over all pairs of the `points` newest (milliseconds fit a float64)."""
    times, values = scratch[PAIRS_MAX : PAIRS_MAX + POINTS_MAX], scratch[PAIRS_MAX + POINTS_MAX :]
    is_rising = True
    for k in range(points):
        point = ring[(newest - points + 1 + k) % POINTS_MAX]
        times[k] = point["time_ms"]
        values[k] = point["value"]
        is_rising = is_rising and (k == 0 or times[k] > times[k - 1])
    n = 0
    if not is_rising:
        for b in range(1, points):
            for a in range(b):
                if times[b] > times[a]:
                    scratch[n] = (values[b] - values[a]) * 1000.0 / (times[b] - times[a])
                    n += 1
        return float(median(scratch, n) if n > 0 else np.nan)
    for b in range(1, points):
        late_ms, late = times[b], values[b]
        for a in range(b):  # so plain that the processor takes several slopes at once
            scratch[n + a] = (late - values[a]) * 1000.0 / (late_ms - times[a])
        n += b
    return float(median(scratch, n))


@njit(cache=True, nogil=True)
def touch(samples: Array, mine: NDArray[np.int32], heads: Array, rings: Array) -> int:
    """Fetch the rows that the next samples will need, many at once (rules.fanout.touch says why)."""
    total = 0
    for k in mine:
        total += int(heads[samples[k]["row"]]["count"])
    for k in mine:
        row = samples[k]["row"]
        total += int(rings[row, heads[row]["count"] % POINTS_MAX]["time_ms"])
    return total


@njit(cache=True, nogil=True)
def feature(samples: Array, mine: NDArray[np.int32], params: Array, heads: Array, rings: Array) -> int:
    """Robust slope in canonical unit per second over the points of the window.

    Every slope between two points lies between the lowest and the highest slope of neighbours. So while all
    neighbours' slopes are calm (good for every limit) the median is calm too and need not be computed to be
    judged: the newest neighbours' slope stands for it.
    """
    slopes = np.empty(SCRATCH, np.float64)
    total = 0
    for m in range(len(mine)):
        if m % TOUCH_AHEAD == 0:
            total += touch(samples, mine[m : m + TOUCH_AHEAD], heads, rings)
        sample = samples[mine[m]]
        if sample["seen"] > SUSPECT:
            continue
        rule, head, ring = params[sample["rule"]], heads[sample["row"]], rings[sample["row"]]
        now_ms, value = sample["time_ms"], sample["x"]
        newest = head["count"]
        span_ms = now_ms - head["time_ms"]
        step = (value - head["value"]) * 1000.0 / span_ms if newest > 0 and span_ms > 0 else np.nan
        if not rule["calm_low"] < step < rule["calm_high"]:
            head["calm_ms"] = now_ms
        point = ring[newest % POINTS_MAX]
        point["time_ms"] = head["time_ms"] = now_ms
        point["value"] = head["value"] = value
        head["count"] = newest + 1

        first_ms = now_ms - rule["window_ms"]
        needed = rule["min_points"] - 1
        if newest < needed or ring[(newest - needed) % POINTS_MAX]["time_ms"] < first_ms:
            sample["seen"] = SKIP
            continue
        if head["calm_ms"] <= first_ms:
            sample["x"] = step
            continue
        points = needed + 1
        while points < POINTS_MAX and points <= newest and ring[(newest - points) % POINTS_MAX]["time_ms"] >= first_ms:
            points += 1
        if head["calm_ms"] <= ring[(newest - points + 1) % POINTS_MAX]["time_ms"]:
            sample["x"] = step
        else:
            sample["x"] = median_slope(ring, newest, points, slopes)
    return total  # means nothing: returned so that the compiler keeps the fetching


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def rests(time_ms: int, value: float, rule: Any, head: Any, ring: Array) -> tuple[int, float]:
    """Take the reading if the newest slope is calm and stands for the median, or too few points speak (`feature`)."""
    newest = head["count"]
    span_ms = time_ms - head["time_ms"]
    if newest == 0 or span_ms <= 0:
        return LOUD, 0.0
    step = (value - head["value"]) * 1000.0 / span_ms
    if not rule["calm_low"] < step < rule["calm_high"]:
        return LOUD, 0.0
    first_ms = time_ms - rule["window_ms"]
    needed = rule["min_points"] - 1
    found = CALM
    if newest < needed or ring[(newest - needed) % POINTS_MAX]["time_ms"] < first_ms:
        found = MUTE
    elif head["calm_ms"] > first_ms:
        points = needed + 1
        while points < POINTS_MAX and points <= newest and ring[(newest - points) % POINTS_MAX]["time_ms"] >= first_ms:
            points += 1
        if head["calm_ms"] > ring[(newest - points + 1) % POINTS_MAX]["time_ms"]:
            return LOUD, 0.0
    point = ring[newest % POINTS_MAX]
    point["time_ms"] = head["time_ms"] = time_ms
    point["value"] = head["value"] = value
    head["count"] = newest + 1
    return found, step


RATE = Detector(
    name="rate",
    settings=Rate,
    subject=Text(zh="{quantity}变化率", en="rate of {quantity}"),
    kernel=feature,
    layout=layout,
    quiet=Quiet.RATE,
    example=Example(
        sensors=("mill-underpass.depth",),
        limits=(("at_least", 5 / 300),),  # +5 cm in 5 min (domain.md 3.3)
        healthy=lambda rng: daily(rng, "mill-underpass.depth", days=2, mean=3, swing=2, noise=0.3, every_s=120),
        faulty=lambda rng: merged(
            daily(rng, "mill-underpass.depth", days=1, mean=3, noise=0.3, every_s=120),
            ramp("mill-underpass.depth", 3, 30, start_s=86_400, lasts_s=960, every_s=120),
        ),
        end_s=2 * 86_400,
        cadence_s=120,
    ),
)
