"""stuck: for how many seconds the value has stayed within a tolerance, exactly equal included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field

from citypulse.config.values import DetectorSettings, ValueIn
from citypulse.model import Text
from rules.detector import CALM, LOUD, SUSPECT, Array, Detector, LaneSpec, Layout, Quiet, by_rule
from rules.example import Example, daily, merged, ramp


class Stuck(DetectorSettings):
    """`tolerance`: highest minus lowest that still counts as unchanged; 0 means exactly equal.

    `unless_at_or_below`: values down to which standing still is natural: a dry gauge, water at the ice point.
    `min_points`: so few readings are no evidence, however far apart.
    """

    limits_in: ClassVar[Literal["seconds"]] = "seconds"
    tolerance: ValueIn = Field(default=0.0, ge=0)
    unless_at_or_below: ValueIn | None = None
    min_points: int = Field(default=4, ge=2)


PARAMS = np.dtype([("tolerance", np.float64), ("natural", np.float64), ("min_points", np.int64)])
RUN = np.dtype([("since_ms", np.int64), ("low", np.float64), ("high", np.float64), ("points", np.int64)])


def layout(lanes: Sequence[LaneSpec]) -> Layout:
    """Remember of each lane the present run: since when, between what, in how many readings."""
    return Layout(params=(by_rule(lanes, PARAMS, _params),), memory=(np.zeros(len(lanes), RUN),))


def _params(lane: LaneSpec) -> tuple[float, float, int]:
    settings = lane.settings
    natural = -np.inf if settings.unless_at_or_below is None else settings.unless_at_or_below
    return settings.tolerance, natural, settings.min_points


@njit(cache=True, nogil=True)
def feature(samples: Array, mine: NDArray[np.int32], params: Array, runs: Array) -> None:
    """Seconds from the first reading of the run to this one; 0 while there are too few readings."""
    for k in mine:
        sample = samples[k]
        if sample["seen"] > SUSPECT:
            continue
        rule, run = params[sample["rule"]], runs[sample["row"]]
        value = sample["x"]
        low, high = min(run["low"], value), max(run["high"], value)
        if run["points"] == 0 or high - low > rule["tolerance"] or value <= rule["natural"]:
            run["since_ms"] = sample["time_ms"]
            run["low"] = run["high"] = value
            run["points"] = 1
        else:
            run["low"], run["high"] = low, high
            run["points"] += 1
        if run["points"] >= rule["min_points"]:
            sample["x"] = (sample["time_ms"] - run["since_ms"]) / 1000.0
        else:
            sample["x"] = 0.0


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def rests(time_ms: int, value: float, rule: Any, run: Any, calm_low: float, calm_high: float) -> tuple[int, float]:
    """Take the reading if its feature stays calm: as `feature`, but nothing is changed before that is known."""
    low, high = min(run["low"], value), max(run["high"], value)
    if run["points"] == 0 or high - low > rule["tolerance"] or value <= rule["natural"]:
        if not (rule["min_points"] > 1 and calm_low < 0.0 < calm_high):
            return LOUD, 0.0
        run["since_ms"] = time_ms
        run["low"] = run["high"] = value
        run["points"] = 1
        return CALM, 0.0
    lasted_s = (time_ms - run["since_ms"]) / 1000.0 if run["points"] + 1 >= rule["min_points"] else 0.0
    if not calm_low < lasted_s < calm_high:
        return LOUD, 0.0
    run["low"], run["high"] = low, high
    run["points"] += 1
    return CALM, lasted_s


STUCK = Detector(
    name="stuck",
    settings=Stuck,
    subject=Text(zh="{quantity}读数不变", en="{quantity} unchanged"),
    kernel=feature,
    layout=layout,
    quiet=Quiet.STUCK,
    example=Example(
        sensors=("mill-river.do",),
        limits=(("at_least", 6 * 3600),),
        healthy=lambda rng: daily(rng, "mill-river.do", days=2, mean=7, swing=2, noise=0.05),
        faulty=lambda rng: merged(
            daily(rng, "mill-river.do", days=1, mean=7, swing=2, noise=0.05),
            ramp("mill-river.do", 7.1, 7.1, start_s=86_400, lasts_s=8 * 3600),
        ),
        end_s=2 * 86_400,
    ),
)
