"""neighbours: how many instruments near this one, itself included, were beyond a value within a time window.

Says 0 while this one itself was not: of three wells with gas, those three raise, not every well around them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field, model_validator

from citypulse.config.values import DetectorSettings, DurationS, ValueIn
from citypulse.model import Rule, Text
from rules.detector import CALM, LOSS, LOUD, MUTE, SKIP, SUSPECT, Array, Detector, LaneSpec, Layout, Quiet, by_rule
from rules.example import Example, daily, merged
from rules.neighbourhood import City

NEIGHBOURS_MAX = 32  # the nearest are taken


class Neighbours(DetectorSettings):
    """Near is `within_m` metres, or `hops` steps `upstream` or `downstream` (`along`), of the same quantity.

    A reading counts when it is at least `at_least` or at most `at_most`, for `window` from then.
    """

    limits_in: ClassVar[Literal["none"]] = "none"
    along: Literal["distance", "upstream", "downstream"] = "distance"
    within_m: float = Field(default=100.0, gt=0)
    hops: int = Field(default=1, ge=1, le=8)
    at_least: ValueIn | None = None
    at_most: ValueIn | None = None
    window: DurationS = Field(default=1800.0, gt=0)

    @model_validator(mode="after")
    def _has_a_side(self) -> Self:
        if self.at_least is None and self.at_most is None:
            raise ValueError("neighbours needs `at_least` or `at_most`: which readings count?")
        return self


def inputs(rule: Rule, number: int, city: City) -> tuple[str, ...]:
    """Return the sensor itself and then its neighbours, nearest first."""
    own = city.sensors[rule.sensors[number][0]]
    s: Neighbours = rule.settings
    if s.along == "distance":
        found = [sensor for _, sensor in city.near(own.site, own.quantity, s.within_m)]
    else:
        found = city.along(own.site, own.quantity, s.hops, upstream=s.along == "upstream")
    others = [sensor.id for sensor in found if sensor.id != own.id]
    return (own.id, *others[:NEIGHBOURS_MAX])


PARAMS = np.dtype(
    [
        ("high", np.float64),
        ("low", np.float64),
        ("window_ms", np.int64),
        ("calm_low", np.float64),
        ("calm_high", np.float64),
    ]
)
NEVER = -(2**62)


def layout(lanes: Sequence[LaneSpec]) -> Layout:
    """Per lane and input: when it was last beyond the value, and when it was last heard at all."""
    params = by_rule(
        lanes,
        PARAMS,
        lambda k: (
            np.inf if k.settings.at_least is None else k.settings.at_least,
            -np.inf if k.settings.at_most is None else k.settings.at_most,
            round(k.settings.window * 1000),
            *k.calm,
        ),
    )
    width = max((len(lane.inputs) for lane in lanes), default=0)
    beyond = np.full((len(lanes), width), NEVER, np.int64)
    heard = beyond.copy()
    widths = np.array([len(lane.inputs) for lane in lanes], np.int64)
    return Layout(params=(params, widths), memory=(beyond, heard))


@njit(cache=True, nogil=True)
def feature(
    samples: Array, mine: NDArray[np.int32], params: Array, widths: Array, beyonds: Array, heards: Array
) -> None:
    """How many, itself included; 0 while this one itself is not beyond.

    What cannot be seen is never taken for calm: while this one is not heard its lane waits, and a neighbour that
    is not heard makes the count evidence for an alarm only, unless even with it all would be calm.
    """
    for k in mine:
        sample = samples[k]
        row, slot, now_ms = sample["row"], sample["slot"], sample["time_ms"]
        beyond, heard = beyonds[row], heards[row]
        if sample["seen"] > SUSPECT:
            if sample["seen"] == LOSS:
                heard[slot] = NEVER
                if slot > 0:
                    sample["seen"] = SKIP
            continue
        rule = params[sample["rule"]]
        heard[slot] = max(heard[slot], now_ms)
        if sample["x"] >= rule["high"] or sample["x"] <= rule["low"]:
            beyond[slot] = max(beyond[slot], now_ms)
        first_ms = now_ms - rule["window_ms"]
        if heard[0] < first_ms:
            sample["seen"] = SKIP
            continue
        count = 0
        unknown = 0
        if beyond[0] >= first_ms:
            for j in range(widths[row]):
                if beyond[j] >= first_ms:
                    count += 1
                elif heard[j] < first_ms:
                    unknown += 1
        sample["x"] = count
        if not rule["calm_low"] < count + unknown < rule["calm_high"] and unknown > 0:
            sample["seen"] = SUSPECT


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def rests(now_ms: int, x: float, slot: int, rule: Any, beyond: Array, heard: Array) -> tuple[int, float]:
    """Take the reading if neither it nor the instrument itself is beyond the value: the feature is 0 then."""
    first_ms = now_ms - rule["window_ms"]
    if x >= rule["high"] or x <= rule["low"] or beyond[0] >= first_ms or not rule["calm_low"] < 0.0 < rule["calm_high"]:
        return LOUD, 0.0
    heard[slot] = max(heard[slot], now_ms)
    return (MUTE if heard[0] < first_ms else CALM), 0.0


NEIGHBOURS = Detector(
    name="neighbours",
    settings=Neighbours,
    subject=Text(zh="附近{quantity}同时越限的测点数", en="nearby points with {quantity} beyond the value:"),
    kernel=feature,
    layout=layout,
    inputs=inputs,
    quiet=Quiet.NEIGHBOURS,
    example=Example(
        sensors=("well-01.ch4", "well-02.ch4", "well-03.ch4"),
        limits=(("at_least", 2),),
        settings={"at_least": 1.0},
        healthy=lambda rng: merged(
            daily(rng, "well-01.ch4", days=1, mean=1.5, noise=0.1),  # sewer gas in a single well
            daily(rng, "well-02.ch4", days=1, mean=0.2, noise=0.05),
            daily(rng, "well-03.ch4", days=1, mean=0.2, noise=0.05),
        ),
        faulty=lambda rng: merged(
            daily(rng, "well-01.ch4", days=1, mean=1.5, noise=0.1),
            daily(rng, "well-02.ch4", days=1, mean=1.5, noise=0.1),
            daily(rng, "well-03.ch4", days=1, mean=0.2, noise=0.05),
        ),
        end_s=86_400,
    ),
)
