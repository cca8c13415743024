"""Every detector a rule may name. Adding one: a file beside this, one line here (docs/extend/detector.md)."""

from __future__ import annotations

from rules.detector import Detector

from .gateway_silent import GATEWAY_SILENT
from .no_data import NO_DATA
from .rate import RATE
from .stuck import STUCK
from .threshold import THRESHOLD

DETECTORS: dict[str, Detector] = {
    "threshold": THRESHOLD,
    "rate": RATE,
    "stuck": STUCK,
    "no_data": NO_DATA,
    "gateway_silent": GATEWAY_SILENT,
}
"""Name in a rule → detector. The order is the order in which their features are computed."""
