"""Examples: the fault a detector exists for, and the healthy days on which it must stay silent.

Every detector carries one. The battery in tests/contracts/test_detectors.py runs them with the detector's default
settings; docs and `citypulse check --explain` may show them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Readings = list[tuple[float, str, float]]
"""(seconds, sensor, value) in order of time."""

DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A city of a few sensors, one rule, healthy readings and faulty ones.

    sensors: `<site>.<quantity>`, all on one gateway · limits: (side, value), one level · settings: only what has
    no default · others: (id, detector, settings, limits) of rules that a composite looks at · end_s: when the
    readings are over, so that watchdogs have time to bark.
    """

    sensors: tuple[str, ...]
    limits: tuple[tuple[str, float], ...]
    healthy: Callable[[np.random.Generator], Readings]
    faulty: Callable[[np.random.Generator], Readings]
    end_s: float
    cadence_s: int = 300
    settings: Mapping[str, Any] = field(default_factory=dict)
    others: tuple[tuple[str, str, Mapping[str, Any], tuple[tuple[str, float], ...]], ...] = ()


def daily(
    rng: np.random.Generator,
    sensor: str,
    *,
    days: float,
    mean: float,
    swing: float = 0.0,
    noise: float = 0.0,
    every_s: int = 300,
    start_s: float = 0.0,
) -> Readings:
    """Return readings with a daily rhythm and some noise: what a healthy instrument in a city sends."""
    n = round(days * DAY_S / every_s)
    t = start_s + every_s * np.arange(n)
    x = mean + swing * np.sin(2 * math.pi * t / DAY_S) + noise * rng.standard_normal(n)
    return [(float(s), sensor, float(v)) for s, v in zip(t, x, strict=True)]


def ramp(sensor: str, start: float, stop: float, *, start_s: float, lasts_s: float, every_s: int = 300) -> Readings:
    """Return readings that go straight from one value to another."""
    n = round(lasts_s / every_s)
    return [(start_s + every_s * k, sensor, start + (stop - start) * k / max(n - 1, 1)) for k in range(n)]


def merged(*series: Readings) -> Readings:
    """Return several series as one stream in order of time."""
    return sorted((reading for readings in series for reading in readings), key=lambda r: (r[0], r[1]))
