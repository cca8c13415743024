"""cumulative_rate: settlement under double control (双控): the total and the daily rate against control values.

Grades (metro-works practice, domain.md 3.4): 1 yellow: both at 70 % of control or one at 85 %; 2 orange: both at
85 % or one at 100 %; 3 red: both at 100 %. A grade counts when it held on N consecutive days; a day is judged when
it is over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field

from citypulse.config.values import DetectorSettings, DurationS, RateIn, ValueIn
from citypulse.model import Text
from rules.detector import SKIP, SUSPECT, Array, Detector, LaneSpec, Layout, by_rule
from rules.example import Example, daily, merged, ramp

DAYS_MAX = 14
DAY_MS = 86_400_000


class CumulativeRate(DetectorSettings):
    """Control values `total` (30 mm) and `rate` (3 mm/d); `zero`: the reading when the gauge was set.

    `days`: so many consecutive days. `utc_offset`: when a day begins; 8 h for China. The limits are on the grade
    1 to 3, e.g. `{level: red, at_least: 3}`.
    """

    limits_in: ClassVar[Literal["none"]] = "none"
    total: ValueIn = Field(default=30.0, gt=0)
    rate: RateIn = Field(default=3.0 / 86_400, gt=0)
    zero: ValueIn = 0.0
    days: int = Field(default=2, ge=1, le=DAYS_MAX)
    utc_offset: DurationS = 8 * 3600.0


PARAMS = np.dtype(
    [("total", np.float64), ("rate", np.float64), ("zero", np.float64), ("days", np.int64), ("offset_ms", np.int64)]
)
STATE = np.dtype(
    [
        ("day", np.int64),  # the day that is under way; -1 before the first reading
        ("value", np.float64),  # the latest reading
        ("time_ms", np.int64),
        ("closed_value", np.float64),  # the last reading of the last day that is over
        ("closed_ms", np.int64),
        ("closed_days", np.int64),  # how many days are over, without a day missing between them
        ("grade", np.float64),
    ]
)


def layout(lanes: Sequence[LaneSpec]) -> Layout:
    """Per lane the day under way and the grades of the last days."""
    params = by_rule(
        lanes,
        PARAMS,
        lambda k: (
            k.settings.total,
            k.settings.rate,
            k.settings.zero,
            k.settings.days,
            round(k.settings.utc_offset * 1000),
        ),
    )
    states = np.zeros(len(lanes), STATE)
    states["day"] = -1
    return Layout(params=(params,), memory=(states, np.zeros((len(lanes), DAYS_MAX), np.float64)))


@njit(cache=True, nogil=True)
def grade_of(total: float, rate: float) -> float:
    """Grade two shares of their control values."""
    low, high = min(total, rate), max(total, rate)
    if low >= 1.0:
        return 3.0
    if low >= 0.85 or high >= 1.0:
        return 2.0
    if low >= 0.7 or high >= 0.85:
        return 1.0
    return 0.0


@njit(cache=True, nogil=True)
def feature(samples: Array, mine: NDArray[np.int32], params: Array, states: Array, grades: Array) -> None:
    """The lowest grade of the last N days."""
    for k in mine:
        sample = samples[k]
        if sample["seen"] > SUSPECT:
            continue
        rule, state, ring = params[sample["rule"]], states[sample["row"]], grades[sample["row"]]
        x = sample["x"]
        day = (sample["time_ms"] + rule["offset_ms"]) // DAY_MS
        if state["day"] >= 0 and day != state["day"]:  # the day before is over: judge it by its last reading
            closed = state["closed_days"]
            if closed > 0:
                span_s = (state["time_ms"] - state["closed_ms"]) / 1000.0
                rate = (state["value"] - state["closed_value"]) / span_s
                ring[closed % DAYS_MAX] = grade_of(
                    abs(state["value"] - rule["zero"]) / rule["total"], abs(rate) / rule["rate"]
                )
            state["closed_value"] = state["value"]
            state["closed_ms"] = state["time_ms"]
            state["closed_days"] = closed + 1
            if closed >= rule["days"]:
                lowest = 3.0
                for j in range(rule["days"]):
                    lowest = min(lowest, ring[(closed - j) % DAYS_MAX])
                state["grade"] = lowest
            if day > state["day"] + 1:  # a day without readings: what follows is not consecutive
                state["closed_days"] = 1
        state["day"] = day
        state["value"] = x
        state["time_ms"] = sample["time_ms"]
        if state["closed_days"] <= rule["days"]:
            sample["seen"] = SKIP
        else:
            sample["x"] = state["grade"]


CUMULATIVE_RATE = Detector(
    name="cumulative_rate",
    settings=CumulativeRate,
    subject=Text(zh="{quantity}双控等级", en="double-control grade of {quantity}"),
    kernel=feature,
    layout=layout,
    names={
        0.0: Text(zh="正常", en="normal"),
        1.0: Text(zh="黄色控制值", en="yellow control"),
        2.0: Text(zh="橙色控制值", en="orange control"),
        3.0: Text(zh="红色控制值", en="red control"),
    },
    example=Example(
        sensors=("mill-road.settlement",),
        limits=(("at_least", 1),),
        healthy=lambda rng: daily(rng, "mill-road.settlement", days=10, mean=8, swing=0.3, noise=0.1, every_s=3600),
        faulty=lambda rng: merged(
            daily(rng, "mill-road.settlement", days=4, mean=14, noise=0.1, every_s=3600),
            ramp("mill-road.settlement", 14, 27, start_s=4 * 86_400, lasts_s=5 * 86_400, every_s=3600),
        ),
        end_s=10 * 86_400,
        cadence_s=3600,
    ),
)
