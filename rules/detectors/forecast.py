"""forecast: seconds until the value reaches a threshold if it goes on as it does now (robust slope)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field, model_validator

from citypulse.config.values import DetectorSettings, DurationS, ValueIn
from citypulse.model import Text
from rules.detector import CALM, LOUD, MUTE, SKIP, SUSPECT, Array, Detector, LaneSpec, Layout, Quiet, by_rule
from rules.example import Example, daily, merged, ramp

from .rate import POINT, POINTS_MAX, SCRATCH, median_slope


class Forecast(DetectorSettings):
    """`reaches` from below, or `falls_to` from above; the limits are on the time left, e.g. `at_most: 10 min`."""

    limits_in: ClassVar[Literal["seconds"]] = "seconds"
    reaches: ValueIn | None = None
    falls_to: ValueIn | None = None
    window: DurationS = Field(default=900.0, gt=0)
    min_points: int = Field(default=4, ge=3, le=POINTS_MAX)

    @model_validator(mode="after")
    def _has_one_goal(self) -> Self:
        if (self.reaches is None) == (self.falls_to is None):
            raise ValueError("forecast needs exactly one of `reaches` and `falls_to`")
        return self


PARAMS = np.dtype([("goal", np.float64), ("sign", np.float64), ("window_ms", np.int64), ("min_points", np.int64)])


def layout(lanes: Sequence[LaneSpec]) -> Layout:
    """Per lane a ring of its last points and how many were ever put in."""
    return Layout(
        params=(by_rule(lanes, PARAMS, _params),),
        memory=(np.zeros(len(lanes), np.int64), np.zeros((len(lanes), POINTS_MAX), POINT)),
    )


def _params(lane: LaneSpec) -> tuple[float, float, int, int]:
    s = lane.settings
    goal, sign = (s.reaches, 1.0) if s.reaches is not None else (s.falls_to, -1.0)
    return goal, sign, round(s.window * 1000), s.min_points


@njit(cache=True, nogil=True)
def feature(samples: Array, mine: NDArray[np.int32], params: Array, counts: Array, rings: Array) -> None:
    """Seconds left: 0 when it is there already, infinite when it moves away."""
    slopes = np.empty(SCRATCH, np.float64)
    for k in mine:
        sample = samples[k]
        if sample["seen"] > SUSPECT:
            continue
        row = sample["row"]
        rule, ring = params[sample["rule"]], rings[row]
        newest = counts[row]
        ring[newest % POINTS_MAX]["time_ms"] = sample["time_ms"]
        ring[newest % POINTS_MAX]["value"] = sample["x"]
        counts[row] = newest + 1
        points = 1
        first_ms = sample["time_ms"] - rule["window_ms"]
        while points < POINTS_MAX and points <= newest and ring[(newest - points) % POINTS_MAX]["time_ms"] >= first_ms:
            points += 1
        left = rule["sign"] * (rule["goal"] - sample["x"])
        if left <= 0:
            sample["x"] = 0.0
        elif points < rule["min_points"]:
            sample["seen"] = SKIP
        else:
            speed = rule["sign"] * median_slope(ring, newest, points, slopes)
            sample["x"] = left / speed if speed > 0 else np.inf


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def rests(
    time_ms: int,
    x: float,
    rule: Any,
    counts: Array,
    row: int,
    ring: Array,
    slopes: NDArray[np.float64],
    calm_low: float,
    calm_high: float,
) -> tuple[int, float]:
    """Take the reading if the time left is calm. The long way writes the same point into the same place again."""
    left = rule["sign"] * (rule["goal"] - x)
    if left <= 0:
        return LOUD, 0.0
    newest = counts[row]
    point = ring[newest % POINTS_MAX]
    point["time_ms"] = time_ms
    point["value"] = x
    points = 1
    first_ms = time_ms - rule["window_ms"]
    while points < POINTS_MAX and points <= newest and ring[(newest - points) % POINTS_MAX]["time_ms"] >= first_ms:
        points += 1
    if points < rule["min_points"]:
        counts[row] = newest + 1
        return MUTE, 0.0
    speed = rule["sign"] * median_slope(ring, newest, points, slopes)
    time_left_s = left / speed if speed > 0 else np.inf
    # Never is calm where later is calmer.
    if not (calm_low < time_left_s < calm_high or (time_left_s == np.inf == calm_high)):
        return LOUD, 0.0
    counts[row] = newest + 1
    return CALM, time_left_s


FORECAST = Detector(
    name="forecast",
    settings=Forecast,
    subject=Text(zh="{quantity}预计到达时间", en="time until {quantity} gets there"),
    kernel=feature,
    layout=layout,
    quiet=Quiet.FORECAST,
    example=Example(
        sensors=("mill-underpass.depth",),
        limits=(("at_most", 600),),
        settings={"reaches": 27.0},
        healthy=lambda rng: daily(rng, "mill-underpass.depth", days=2, mean=3, swing=2, noise=0.3, every_s=120),
        faulty=lambda rng: merged(
            daily(rng, "mill-underpass.depth", days=1, mean=3, noise=0.3, every_s=120),
            ramp("mill-underpass.depth", 3, 25, start_s=86_400, lasts_s=1800, every_s=120),  # never reaches 27
        ),
        end_s=2 * 86_400,
        cadence_s=120,
    ),
)
