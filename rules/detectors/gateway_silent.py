"""gateway_silent: a field gateway from which no message of any kind has come for too long. Kernel: rules.watchdogs.

While it is silent its sensors raise no `no_data` of their own: one cause, one alarm. A gateway that has said
goodbye (its MQTT will) is given only a short hold-down, because a broken link usually comes back in seconds.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from citypulse.config.values import DetectorSettings, DurationS
from citypulse.model import Text
from rules.detector import Detector
from rules.example import Example, daily


class GatewaySilent(DetectorSettings):
    """How long is set by each gateway's `silent_after`; `offline_hold` replaces it once the gateway said goodbye."""

    scope: ClassVar[Literal["gateway"]] = "gateway"
    limits_in: ClassVar[Literal["seconds"]] = "seconds"
    needs_limits: ClassVar[bool] = False
    offline_hold: DurationS = Field(default=30.0, ge=0)


GATEWAY_SILENT = Detector(
    name="gateway_silent",
    settings=GatewaySilent,
    subject=Text(zh="网关无消息", en="gateway silent"),
    is_watchdog=True,
    example=Example(
        sensors=("mill-river.do",),
        limits=(("at_least", 900),),
        healthy=lambda rng: daily(rng, "mill-river.do", days=1, mean=7),
        faulty=lambda rng: daily(rng, "mill-river.do", days=0.5, mean=7),
        end_s=86_400,
    ),
)
