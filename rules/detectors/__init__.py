"""Every detector a rule may name. Adding one: a file beside this, one line here (docs/extend/detector.md)."""

from __future__ import annotations

from rules.detector import Detector

from .absence import ABSENCE
from .baseline import BASELINE
from .composite import COMPOSITE
from .cumulative_rate import CUMULATIVE_RATE
from .drift import DRIFT
from .forecast import FORECAST
from .gateway_silent import GATEWAY_SILENT
from .multivariate import MULTIVARIATE
from .n_of_m import N_OF_M
from .neighbours import NEIGHBOURS
from .no_data import NO_DATA
from .rain_context import RAIN_CONTEXT
from .rate import RATE
from .stuck import STUCK
from .sudden_change import SUDDEN_CHANGE
from .surprise import SURPRISE
from .threshold import THRESHOLD
from .water_class import BLACK_ODOROUS_WATER, WATER_CLASS
from .weekly_change import WEEKLY_CHANGE

DETECTORS: dict[str, Detector] = {
    "threshold": THRESHOLD,
    "rate": RATE,
    "stuck": STUCK,
    "no_data": NO_DATA,
    "gateway_silent": GATEWAY_SILENT,
    "n_of_m": N_OF_M,
    "drift": DRIFT,
    "forecast": FORECAST,
    "sudden_change": SUDDEN_CHANGE,
    "cumulative_rate": CUMULATIVE_RATE,
    "weekly_change": WEEKLY_CHANGE,
    "absence": ABSENCE,
    "neighbours": NEIGHBOURS,
    "rain_context": RAIN_CONTEXT,
    "water_class": WATER_CLASS,
    "black_odorous": BLACK_ODOROUS_WATER,
    "baseline": BASELINE,
    "surprise": SURPRISE,
    "multivariate": MULTIVARIATE,
    "composite": COMPOSITE,
}
"""Name in a rule → detector."""
