"""threshold: the value itself against the rule's limits."""

from __future__ import annotations

from citypulse.config.values import DetectorSettings
from citypulse.model import Text
from rules.detector import Detector, Quiet
from rules.example import Example, daily, merged, ramp


class Threshold(DetectorSettings):
    """No settings of its own: everything is in the limits."""


THRESHOLD = Detector(
    name="threshold",
    settings=Threshold,
    subject=Text(zh="{quantity}", en="{quantity}"),
    sees_history=True,
    quiet=Quiet.VALUE,
    example=Example(
        sensors=("mill-underpass.depth",),
        limits=(("at_least", 27),),
        healthy=lambda rng: daily(rng, "mill-underpass.depth", days=2, mean=3, swing=2, noise=0.5),
        faulty=lambda rng: merged(
            daily(rng, "mill-underpass.depth", days=1, mean=3, noise=0.5),
            ramp("mill-underpass.depth", 3, 40, start_s=86_400, lasts_s=3600),
        ),
        end_s=2 * 86_400,
    ),
)
