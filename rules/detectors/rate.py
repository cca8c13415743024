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
from rules.detector import SKIP, SUSPECT, Array, Detector, LaneSpec, Layout

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


def layout(lanes: Sequence[LaneSpec]) -> Layout:
    """Give each lane a ring of its last points: how many were ever put in, their times, their values."""
    params = np.zeros(len(lanes), PARAMS)
    for row, lane in enumerate(lanes):
        settings = lane.settings
        params[row] = (round(settings.window * 1000), *lane.calm, settings.min_points)
    times = np.zeros((len(lanes), POINTS_MAX), np.int64)
    return Layout(params=(params,), memory=(np.zeros(len(lanes), np.int64), times, times.astype(np.float64)))


@njit(cache=True, nogil=True)
def feature(
    samples: Array,
    mine: NDArray[np.int32],
    params: Array,
    counts: NDArray[np.int64],
    times: NDArray[np.int64],
    values: NDArray[np.float64],
) -> None:
    """Robust slope in canonical unit per second over the points of the window."""
    slopes = np.empty(PAIRS_MAX, np.float64)
    for k in mine:
        sample = samples[k]
        if sample["seen"] > SUSPECT:
            continue
        row = sample["row"]
        rule = params[row]
        time, value = times[row], values[row]
        count = counts[row]
        now_ms = sample["time_ms"]
        newest = count % POINTS_MAX
        time[newest] = now_ms
        value[newest] = sample["x"]
        counts[row] = count + 1

        # Walk back through the window. Every pairwise slope lies between the lowest and the highest slope of
        # neighbouring points, so when those are calm the median is: it need not be computed to be judged.
        lowest, highest = np.inf, -np.inf
        oldest = newest
        points = 1
        while points < POINTS_MAX and points <= count:
            before = (count - points) % POINTS_MAX
            if now_ms - time[before] > rule["window_ms"]:
                break
            span_ms = time[oldest] - time[before]
            if span_ms > 0:
                step = (value[oldest] - value[before]) * 1000.0 / span_ms
                lowest, highest = min(lowest, step), max(highest, step)
            oldest = before
            points += 1
        if points < rule["min_points"] or now_ms <= time[oldest]:
            sample["seen"] = SKIP
        elif rule["calm_low"] < lowest and highest < rule["calm_high"]:
            sample["x"] = (value[newest] - value[oldest]) * 1000.0 / (now_ms - time[oldest])
        else:
            n = 0
            for b in range(1, points):
                j = (count - points + 1 + b) % POINTS_MAX
                for a in range(b):
                    i = (count - points + 1 + a) % POINTS_MAX
                    span_ms = time[j] - time[i]
                    if span_ms > 0:
                        slopes[n] = (value[j] - value[i]) * 1000.0 / span_ms
                        n += 1
            sample["x"] = np.median(slopes[:n])


RATE = Detector(
    name="rate",
    settings=Rate,
    subject=Text(zh="{quantity}变化率", en="rate of {quantity}"),
    kernel=feature,
    layout=layout,
)
