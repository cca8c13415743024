"""threshold: the value itself against the rule's limits."""

from __future__ import annotations

from citypulse.config.values import DetectorSettings
from citypulse.model import Text
from rules.detector import Detector


class Threshold(DetectorSettings):
    """No settings of its own: everything is in the limits."""


THRESHOLD = Detector(
    name="threshold",
    settings=Threshold,
    subject=Text(zh="{quantity}", en="{quantity}"),
    sees_history=True,
)
