"""no_data: a sensor from which no usable reading has come for too long, by receive time. Kernel: rules.watchdogs.

Usable means live (not late, not from the future) and neither FAIL nor MISSING: a sensor that sends rubbish is as
silent as one that sends nothing, and somebody has to hear of it.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from citypulse.config.values import DetectorSettings, DurationS
from citypulse.model import Text
from rules.detector import Detector
from rules.example import Example, daily, merged


class NoData(DetectorSettings):
    """`after`: how long without a usable reading, e.g. `3 * cadence`."""

    limits_in: ClassVar[Literal["seconds"]] = "seconds"
    needs_limits: ClassVar[bool] = False
    after: DurationS = Field(gt=0)


NO_DATA = Detector(
    name="no_data",
    settings=NoData,
    subject=Text(zh="无可用数据", en="no usable data"),
    is_watchdog=True,
    example=Example(
        sensors=("mill-river.do", "mill-river.ph"),
        limits=(("at_least", 900),),
        settings={"after": 900},
        healthy=lambda rng: merged(
            daily(rng, "mill-river.do", days=1, mean=7), daily(rng, "mill-river.ph", days=1, mean=7)
        ),
        faulty=lambda rng: merged(
            daily(rng, "mill-river.do", days=0.5, mean=7), daily(rng, "mill-river.ph", days=1, mean=7)
        ),
        end_s=86_400,
    ),
)
