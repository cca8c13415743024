"""rate: how fast the value changes, as the median of all slopes between its last points (Theil-Sen).

One bad point moves no median: a spike is not a flood. https://en.wikipedia.org/wiki/Theil-Sen_estimator
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field

from citypulse.config.values import DetectorSettings, DurationS
from citypulse.model import Text
from rules.detector import SKIP, SUSPECT, Array, Detector, LaneSpec, Layout, by_rule
from rules.example import Example, daily, merged, ramp
from rules.fanout import TOUCH_AHEAD

POINTS_MAX = 16  # 120 slopes; more points cost quadratically and hardly change a median
PAIRS_MAX = POINTS_MAX * (POINTS_MAX - 1) // 2


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


@njit(cache=True, nogil=True)
def median_slope(ring: Array, newest: int, points: int, slopes: NDArray[np.float64]) -> float:
    """Return the median slope per second over all pairs of the `points` newest; `slopes` is scratch."""
    n = 0
    for b in range(newest - points + 2, newest + 1):
        late = ring[b % POINTS_MAX]
        for a in range(newest - points + 1, b):
            early = ring[a % POINTS_MAX]
            span_ms = late["time_ms"] - early["time_ms"]
            if span_ms > 0:
                slopes[n] = (late["value"] - early["value"]) * 1000.0 / span_ms
                n += 1
    return float(np.median(slopes[:n]))


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
    slopes = np.empty(PAIRS_MAX, np.float64)
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


RATE = Detector(
    name="rate",
    settings=Rate,
    subject=Text(zh="{quantity}变化率", en="rate of {quantity}"),
    kernel=feature,
    layout=layout,
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
