"""surprise: how rare a reading is against its own sensor's past, in nats; knows no limits beforehand.

For series nobody has set thresholds for. -ln p: 7 nats is a thing seen about once in a thousand readings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from citypulse.config.values import DetectorSettings
from citypulse.model import Text
from rules.detector import Detector, LaneSpec, Layout
from rules.example import Example, Readings, daily

from . import surprise_kernels as kernels
from . import surprise_views as views
from .statistics_kernels import HOURS
from .zone import offsets, zone_of


class Surprise(DetectorSettings):
    """`warm_up`: readings learnt from first; 288 are a day at 5 min, and set the range of the histograms.

    `agree`: so many of the twelve views must be surprised together: their mean counts. 4 is a third, measured best
    of 3 to 6 on the NAB development half. `quiet`: after a record only a larger surprise is reported within so
    many readings; 1440 are five days at 5 min. The hour of the day is that of the
    city's time zone.
    """

    limits_in: ClassVar[Literal["none"]] = "none"
    warm_up: int = Field(default=288, ge=64, le=kernels.WARM_UP_MAX)
    agree: int = Field(default=4, ge=1, le=views.ALL_VIEWS)
    quiet: int = Field(default=1440, ge=kernels.BLOCKS)


def arrays(settings: Sequence[Surprise], timezone: str = "UTC") -> tuple[Any, ...]:
    """Return (params, since_ms, offset_ms, *memory) for one lane per settings, as `kernels.step` takes them.

    Memory is about 12 kB a lane.
    """
    n = len(settings)
    params = np.zeros(n, kernels.PARAMS)
    for row, one in enumerate(settings):
        params[row] = (one.warm_up, one.agree, one.quiet)
    lanes = np.zeros(n, kernels.LANE)
    lanes["hour"] = -1
    longest = max((one.warm_up for one in settings), default=0)
    return (
        params,
        *offsets(timezone),
        lanes,
        np.zeros((n, views.RING)),
        np.zeros((n, views.RING)),
        np.zeros((n, HOURS)),
        np.zeros((n, HOURS)),
        np.zeros((n, views.VIEWS, 2)),
        np.zeros((n, views.VIEWS, kernels.CELLS), np.uint16),
        np.zeros((n, HOURS, kernels.HOUR_CELLS + 1), np.uint16),
        np.zeros((n, kernels.BLOCKS)),
        np.zeros((n, longest)),
        np.zeros((n, longest), np.uint8),
    )


def layout(lanes: Sequence[LaneSpec]) -> Layout:
    """Give each lane its histograms, hour means, rings and the readings of its warm-up."""
    params, since_ms, offset_ms, *memory = arrays([lane.settings for lane in lanes], zone_of(lanes))
    return Layout(params=(params, since_ms, offset_ms), memory=tuple(memory))


def _healthy(rng: np.random.Generator) -> Readings:
    return daily(rng, "mill-underpass.depth", days=12, mean=30, swing=8, noise=1)


def _faulty(rng: np.random.Generator) -> Readings:
    """On the eleventh day the rhythm is missing: every single value is one often seen before."""
    return [
        (t, sensor, 30.0 + float(rng.standard_normal()) if 10.1 * 86_400 < t < 11.1 * 86_400 else value)
        for t, sensor, value in _healthy(rng)
    ]


SURPRISE = Detector(
    name="surprise",
    settings=Surprise,
    subject=Text(zh="{quantity}罕见程度", en="surprise of {quantity}"),
    kernel=kernels.feature,
    layout=layout,
    example=Example(
        sensors=("mill-underpass.depth",),
        limits=(("at_least", 7.5),),
        healthy=_healthy,
        faulty=_faulty,
        end_s=12 * 86_400,
    ),
)
