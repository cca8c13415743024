"""baseline: how far a reading is from its sensor's usual value now, in nats; the usual may depend on the hour.

The plain statistical detector, for daily patterns such as water use, drains and traffic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from citypulse.config.values import DetectorSettings, ValueIn
from citypulse.model import Text
from rules.detector import Detector, LaneSpec, Layout
from rules.example import Example, daily

from . import baseline_kernels as kernels
from .statistics_kernels import HOURS, WINDOW_MAX
from .zone import offsets, zone_of

_SIDES = {"both": 0, "above": 1, "below": -1}


class Baseline(DetectorSettings):
    """`usual`: `hour`, the mean of this hour of day over about `days` days, or `recent`, a robust moving average.

    `memory`: readings that average, spread and tail remember; 2016 are a week at 5 min. `warm_up`: readings learnt
    from first; 288 are a day. `side`: which distances count. `spread_at_least`: distances are measured in spreads,
    never smaller than this, so that a sensor that hardly moves does not cry at its last digit.
    `needed` of the last `window` readings must reach the limit. The hour is that of the city's time zone.
    """

    limits_in: ClassVar[Literal["none"]] = "none"
    usual: Literal["hour", "recent"] = "hour"
    memory: int = Field(default=2016, ge=50, le=10_000_000)
    warm_up: int = Field(default=288, ge=33, le=10_000_000)
    days: float = Field(default=6.0, ge=1, le=365)
    side: Literal["both", "above", "below"] = "both"
    spread_at_least: ValueIn = Field(default=0.0, ge=0)
    window: int = Field(default=3, ge=1, le=WINDOW_MAX)
    needed: int = Field(default=2, ge=1, le=WINDOW_MAX)

    @model_validator(mode="after")
    def _needed_fits(self) -> Baseline:
        if self.needed > self.window:
            raise ValueError(f"needed {self.needed} of the last {self.window} readings can never be")
        return self


def arrays(settings: Sequence[Baseline], timezone: str = "UTC") -> tuple[Any, ...]:
    """Return (params, since_ms, offset_ms, *memory) for one lane per settings, as `kernels.step` takes them.

    Memory is 0.7 kB a lane.
    """
    n = len(settings)
    params = np.zeros(n, kernels.PARAMS)
    for row, one in enumerate(settings):
        params[row] = (
            one.memory,
            one.warm_up,
            one.usual == "hour",
            one.days,
            _SIDES[one.side],
            one.spread_at_least,
            one.window,
            one.needed,
        )
    lanes = np.zeros(n, kernels.LANE)
    lanes["hour"] = -1
    hours = np.zeros((n, HOURS))
    return params, *offsets(timezone), lanes, hours, hours.copy(), np.zeros((n, WINDOW_MAX))


def layout(lanes: Sequence[LaneSpec]) -> Layout:
    """Give each lane its average, spread, tail, hour means and last surprises."""
    params, since_ms, offset_ms, *memory = arrays([lane.settings for lane in lanes], zone_of(lanes))
    return Layout(params=(params, since_ms, offset_ms), memory=tuple(memory))


BASELINE = Detector(
    name="baseline",
    settings=Baseline,
    subject=Text(zh="{quantity}偏离常态程度", en="departure of {quantity} from usual"),
    kernel=kernels.feature,
    layout=layout,
    example=Example(
        sensors=("mill-underpass.depth",),
        limits=(("at_least", 14),),
        healthy=lambda rng: daily(rng, "mill-underpass.depth", days=8, mean=30, swing=8, noise=1),
        faulty=lambda rng: [
            (t, sensor, value + (12 if 6.1 * 86_400 < t < 6.2 * 86_400 else 0))
            for t, sensor, value in daily(rng, "mill-underpass.depth", days=8, mean=30, swing=8, noise=1)
        ],
        end_s=8 * 86_400,
    ),
)
