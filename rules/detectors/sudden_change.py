"""sudden_change: how many times the usual value of this hour of the day it is (水质突变, domain.md 3.1, a proposal).

Usual is the median, over the last days, of the hour's mean. Daily rhythm (oxygen by light, ammonia by habit)
therefore is no change. Worsening by class is left to `water_class`; a `composite` demands both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field

from citypulse.config.values import DetectorSettings, ValueIn
from citypulse.model import Text
from rules.detector import CALM, LOUD, MUTE, SKIP, SUSPECT, Array, Detector, LaneSpec, Layout, Quiet, by_rule
from rules.example import Example, daily

from .rate import median

DAYS_MAX = 14
HOUR_MS = 3_600_000
HOURS = 24
SLOTS = (DAYS_MAX + 1) * HOURS


class SuddenChange(DetectorSettings):
    """The limits are on the ratio: 1.5 yellow, 2 orange, 3 red is the proposal.

    `towards`: `up` takes value / usual, `down` usual / value (dissolved oxygen). `days` remembered, `min_days`
    before anything is said. `around`: hours before and after that count as the same hour. `floor`: the usual value
    is never taken as smaller, so that a trace of nothing is not three times nothing.
    """

    limits_in: ClassVar[Literal["none"]] = "none"
    towards: Literal["up", "down"] = "up"
    days: int = Field(default=7, ge=2, le=DAYS_MAX)
    min_days: int = Field(default=3, ge=2)
    around: int = Field(default=1, ge=0, le=4)
    floor: ValueIn = Field(default=0.0, ge=0)


PARAMS = np.dtype(
    [("up", np.int64), ("days", np.int64), ("min_days", np.int64), ("around", np.int64), ("floor", np.float64)]
)
HOUR = np.dtype([("hour", np.int64), ("sum", np.float64), ("n", np.int64)])


def layout(lanes: Sequence[LaneSpec]) -> Layout:
    """Per lane a ring of hourly means, as many days as the longest memory of any lane."""
    params = by_rule(
        lanes,
        PARAMS,
        lambda k: (
            k.settings.towards == "up",
            k.settings.days,
            min(k.settings.min_days, k.settings.days),
            k.settings.around,
            k.settings.floor,
        ),
    )
    hours = np.zeros((len(lanes), SLOTS), HOUR)
    hours["hour"] = -1
    return Layout(params=(params,), memory=(hours,))


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def usual_at(hour: int, rule: Any, ring: Array, means: NDArray[np.float64]) -> float:
    """Return the usual value at this hour (counted from 1970), NaN before enough days are known; `means` is scratch."""
    days = 0
    for day in range(1, rule["days"] + 1):
        total, n = 0.0, 0
        for other in range(hour - day * HOURS - rule["around"], hour - day * HOURS + rule["around"] + 1):
            slot = ring[other % SLOTS]
            if slot["hour"] == other:
                total += slot["sum"]
                n += slot["n"]
        if n > 0:
            means[days] = total / n
            days += 1
    if days < rule["min_days"]:
        return float(np.nan)
    return float(max(median(means, days), rule["floor"]))


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def remember(hour: int, x: float, ring: Array) -> None:
    """Put the reading into its hour."""
    slot = ring[hour % SLOTS]
    if slot["hour"] != hour:
        slot["hour"] = hour
        slot["sum"] = 0.0
        slot["n"] = 0
    slot["sum"] += x
    slot["n"] += 1


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def ratio(x: float, usual: float, rule: Any) -> float:
    """Return how many times the usual value it is, in the direction that matters."""
    if rule["up"]:
        return x / usual if usual > 0 else np.inf if x > 0 else 1.0
    value = max(x, rule["floor"])
    return usual / value if value > 0 else np.inf if usual > 0 else 1.0


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def rests(
    time_ms: int, x: float, rule: Any, ring: Array, means: NDArray[np.float64], calm_low: float, calm_high: float
) -> tuple[int, float]:
    """Take the reading if the ratio is calm, or too few days are known."""
    hour = time_ms // HOUR_MS
    usual = usual_at(hour, rule, ring, means)
    found, result = MUTE, 0.0
    if not np.isnan(usual):
        found, result = CALM, ratio(x, usual, rule)
        if not calm_low < result < calm_high:
            return LOUD, 0.0
    remember(hour, x, ring)
    return found, result


@njit(cache=True, nogil=True)
def feature(samples: Array, mine: NDArray[np.int32], params: Array, rings: Array) -> None:
    """The ratio to the usual value of the hour."""
    means = np.empty(DAYS_MAX, np.float64)
    for k in mine:
        sample = samples[k]
        if sample["seen"] > SUSPECT:
            continue
        rule, ring = params[sample["rule"]], rings[sample["row"]]
        hour = sample["time_ms"] // HOUR_MS
        usual = usual_at(hour, rule, ring, means)
        remember(hour, sample["x"], ring)
        if np.isnan(usual):
            sample["seen"] = SKIP
        else:
            sample["x"] = ratio(sample["x"], usual, rule)


SUDDEN_CHANGE = Detector(
    name="sudden_change",
    settings=SuddenChange,
    subject=Text(zh="{quantity}与同时段常值之比", en="{quantity} over its usual value at this hour:"),
    kernel=feature,
    layout=layout,
    quiet=Quiet.SUDDEN_CHANGE,
    example=Example(
        sensors=("mill-river.nh3n",),
        limits=(("at_least", 2),),
        healthy=lambda rng: daily(rng, "mill-river.nh3n", days=10, mean=0.6, swing=0.25, noise=0.03, every_s=3600),
        faulty=lambda rng: [
            (t, s, 2.5 * x if t > 8.5 * 86_400 else x)
            for t, s, x in daily(rng, "mill-river.nh3n", days=10, mean=0.6, swing=0.25, noise=0.03, every_s=3600)
        ],
        end_s=10 * 86_400,
        cadence_s=3600,
    ),
)
