"""rain_context: the value itself, judged in the light of the nearest rain gauge: held back, or taken more seriously.

Turbidity rises after every storm; a sewer that is half full in dry weather is worth more attention than in rain.
Where the gauge is lost, rain is not assumed: a missing gauge must not hide an alarm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field

from citypulse.config.values import DetectorSettings, DurationS
from citypulse.model import Rule, Text
from rules.detector import CALM, LOSS, LOUD, MUTE, SKIP, SUSPECT, Array, Detector, LaneSpec, Layout, Quiet, by_rule
from rules.example import Example, daily, merged
from rules.neighbourhood import City

RAIN = "rain"  # the quantity, mm/h
NEVER = -(2**62)


class RainContext(DetectorSettings):
    """While it rains at least `rain_mm_h`, and for `hold` afterwards, the value says nothing (`suppress`) or
    counts `factor` times (`scale`). The gauge is the nearest within `within_m` metres.

    Six hours after 10 mm/h is the proposal for turbidity (domain.md 3.1).
    """  # noqa: D205 - one sentence

    limits_in: ClassVar[Literal["value"]] = "value"
    rain_mm_h: float = Field(default=10.0, gt=0)
    hold: DurationS = Field(default=6 * 3600.0, ge=0)
    effect: Literal["suppress", "scale"] = "suppress"
    factor: float = Field(default=1.5, gt=0)
    within_m: float = Field(default=5000.0, gt=0)


def inputs(rule: Rule, number: int, city: City) -> tuple[str, ...]:
    """Return the sensor itself and the nearest rain gauge, if there is one."""
    own = city.sensors[rule.sensors[number][0]]
    gauges = [s.id for _, s in city.near(own.site, RAIN, rule.settings.within_m) if s.id != own.id]
    return (own.id, *gauges[:1])


PARAMS = np.dtype([("rain", np.float64), ("hold_ms", np.int64), ("scales", np.int64), ("factor", np.float64)])


def layout(lanes: Sequence[LaneSpec]) -> Layout:
    """Per lane the last time its gauge said rain."""
    params = by_rule(
        lanes,
        PARAMS,
        lambda k: (
            k.settings.rain_mm_h,
            round(k.settings.hold * 1000),
            k.settings.effect == "scale",
            k.settings.factor,
        ),
    )
    return Layout(params=(params,), memory=(np.full(len(lanes), NEVER, np.int64),))


@njit(cache=True, nogil=True)
def feature(samples: Array, mine: NDArray[np.int32], params: Array, rained: Array) -> None:
    """The value, scaled or held back while it rains."""
    for k in mine:
        sample = samples[k]
        row = sample["row"]
        rule = params[sample["rule"]]
        if sample["slot"] > 0:
            if sample["seen"] <= SUSPECT and sample["x"] >= rule["rain"]:
                rained[row] = max(rained[row], sample["time_ms"])
            if sample["seen"] <= LOSS:
                sample["seen"] = SKIP  # the gauge informs; it is not what is judged
            continue
        if sample["seen"] > SUSPECT:
            continue
        if rained[row] != NEVER and sample["time_ms"] - rained[row] <= rule["hold_ms"]:
            if rule["scales"]:
                sample["x"] *= rule["factor"]
            else:
                sample["seen"] = SKIP


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def rests(
    time_ms: int, x: float, slot: int, rule: Any, rained: Array, row: int, calm_low: float, calm_high: float
) -> tuple[int, float]:
    """Take a reading of the gauge, or one that is calm, or one that rain holds back."""
    if slot > 0:
        if x >= rule["rain"]:
            rained[row] = max(rained[row], time_ms)
        return MUTE, 0.0
    if rained[row] != NEVER and time_ms - rained[row] <= rule["hold_ms"]:
        if not rule["scales"]:
            return MUTE, 0.0
        x *= rule["factor"]
    return (CALM if calm_low < x < calm_high else LOUD), x


RAIN_CONTEXT = Detector(
    name="rain_context",
    settings=RainContext,
    subject=Text(zh="{quantity}", en="{quantity}"),
    kernel=feature,
    layout=layout,
    inputs=inputs,
    quiet=Quiet.RAIN_CONTEXT,
    example=Example(
        sensors=("mill-river.turb", "mill-roof.rain"),
        limits=(("at_least", 100),),
        healthy=lambda rng: merged(
            [(t, s, x + 200 * (t > 43_200)) for t, s, x in daily(rng, "mill-river.turb", days=1, mean=30, noise=5)],
            [(t, s, 15.0 * (t > 40_000)) for t, s, _ in daily(rng, "mill-roof.rain", days=1, mean=0)],
        ),
        faulty=lambda rng: merged(
            [(t, s, x + 200 * (t > 43_200)) for t, s, x in daily(rng, "mill-river.turb", days=1, mean=30, noise=5)],
            daily(rng, "mill-roof.rain", days=1, mean=0),
        ),
        end_s=86_400,
    ),
)
