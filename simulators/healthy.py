"""How every quantity behaves when nothing is wrong: one row of `SIGNALS` each.

The levels are those of an ordinary district (PROPOSAL), well inside every shipped limit; all in the quantity's
canonical unit.
"""
# ruff: noqa: E501 - a table is read by rows

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .noise import Floats, Keys, Times, smooth
from .weather import DAY_MS, Weather


@dataclass(frozen=True, slots=True)
class Moment:
    """Readings of one quantity that are due: everything a signal may depend on, as columns."""

    key: Keys  # of the sensor
    time_ms: Times
    hour: Floats  # solar hour of the day
    lat: Floats
    lon: Floats
    character: Floats  # 0..1, what makes this sensor differ from its neighbours
    weather: Weather

    def daily(self, peak_hour: float) -> Floats:
        """Return a cosine of the day, 1 at `peak_hour`."""
        return np.asarray(np.cos(2.0 * np.pi * (self.hour - peak_hour) / 24.0), np.float64)

    def slow(self, period_h: float) -> Floats:
        """Return slow noise of this sensor, standard deviation about 0.8."""
        return smooth(self.key, self.time_ms, period_h * 3600.0)

    def wet(self, tau_h: float) -> Floats:
        """Return recent rain here in mm, forgotten with `tau_h`."""
        return self.weather.soaked(self.lat, self.lon, self.time_ms, tau_h * 3600.0)

    def traffic(self) -> Floats:
        """Return how busy the road is, 0..1: two rush hours and a quiet night."""
        rush = np.exp(-((self.hour - 8.0) ** 2) / 3.0) + np.exp(-((self.hour - 18.0) ** 2) / 4.0)
        return np.asarray(np.clip(0.15 + 0.35 * (self.hour > 6.5) * (self.hour < 22.0) + 0.5 * rush, 0.0, 1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """The healthy course of one quantity: its level, the instrument's noise (standard deviation) and its step."""

    level: Callable[[Moment], Any]
    noise: float
    step: float
    floor: float = float("-inf")  # the instrument itself never shows less than this


def _rain(m: Moment) -> Any:
    return m.weather.rain(m.lat, m.lon, m.time_ms)


def _battery(m: Moment) -> Any:
    age = (m.time_ms / (180.0 * DAY_MS) + m.character) % 1.0  # changed twice a year, never below 60 %
    return 99.0 - 39.0 * age


# fmt: off
SIGNALS: dict[str, Signal] = {
    # water quality: a class II-III river that breathes with the day and muddies with rain
    "do": Signal(level=lambda m: 7.6 + 0.8 * m.character + 0.7 * m.daily(15.0) + 0.15 * m.slow(9.0), noise=0.04, step=0.01),
    "ph": Signal(level=lambda m: 7.4 + 0.3 * m.character + 0.12 * m.daily(15.0) + 0.03 * m.slow(12.0), noise=0.01, step=0.01),
    "cond": Signal(level=lambda m: 360 + 120 * m.character - 1.5 * np.minimum(m.wet(3.0), 40) + 6 * m.slow(8.0), noise=1.5, step=1),
    "turb": Signal(level=lambda m: 10 + 8 * m.character + 0.5 * np.minimum(m.wet(2.0), 20) + 0.8 * m.slow(3.0), noise=0.3, step=0.1, floor=0),
    "temp": Signal(level=lambda m: 5.5 + 0.7 * m.weather.temperature(m.time_ms - 7_200_000) + 0.5 * m.character, noise=0.03, step=0.01),
    "orp": Signal(level=lambda m: 170 + 60 * m.character + 8 * m.daily(14.0) + 5 * m.slow(10.0), noise=1.5, step=1),
    "nh3n": Signal(level=lambda m: 0.30 + 0.20 * m.character + 0.03 * m.slow(24.0), noise=0.01, step=0.01, floor=0.02),
    "codmn": Signal(level=lambda m: 2.9 + 0.8 * m.character + 0.12 * m.slow(24.0), noise=0.05, step=0.1, floor=0.5),
    "tp": Signal(level=lambda m: 0.09 + 0.03 * m.character + 0.006 * m.slow(24.0), noise=0.003, step=0.001, floor=0.01),
    "clarity": Signal(level=lambda m: 75 + 30 * m.character - 0.6 * np.minimum(m.wet(3.0), 30) + 2 * m.slow(12.0), noise=1.0, step=1, floor=0),
    "chlorine": Signal(level=lambda m: 0.55 + 0.1 * m.character + 0.04 * m.daily(4.0) + 0.01 * m.slow(6.0), noise=0.008, step=0.01, floor=0),
    "level": Signal(level=lambda m: 2.4 + 0.3 * m.character + 0.012 * np.minimum(m.wet(6.0), 60) + 0.01 * m.slow(6.0), noise=0.003, step=0.01),
    # gas: traces of sewer gas, breathing with temperature
    "ch4": Signal(level=lambda m: 0.03 + 0.05 * m.character + 0.015 * m.daily(15.0) + 0.008 * m.slow(6.0), noise=0.005, step=0.01, floor=0),
    "co": Signal(level=lambda m: 1.5 + 1.5 * m.traffic() + 0.3 * m.slow(2.0), noise=0.2, step=0.5, floor=0),
    "h2s": Signal(level=lambda m: 0.4 + 0.4 * m.character + 0.1 * m.slow(6.0), noise=0.05, step=0.1, floor=0),
    "o2": Signal(level=lambda m: 20.75 + 0.1 * m.character + 0.02 * m.slow(8.0), noise=0.02, step=0.01),
    "pressure": Signal(level=lambda m: 205 + 20 * m.character - 4 * m.traffic() + 0.8 * m.slow(4.0), noise=0.25, step=0.1),
    # a household's meter: 150 to 250 litres a day, all of them between six in the morning and ten at night
    "water": Signal(level=lambda m: 100 + (0.15 + 0.1 * m.character) * (np.floor((m.time_ms + (m.lon * 240_000).astype(np.int64)) / DAY_MS) - 20_000 + np.clip((m.hour - 6) / 16, 0, 1)), noise=0.0, step=0.001, floor=0),
    "signal": Signal(level=lambda m: 60 + 30 * m.character + 4 * m.slow(6.0), noise=1.0, step=1, floor=0),
    # road: ground that hardly moves
    "settlement": Signal(level=lambda m: 1 + 3 * m.character + 0.15 * m.slow(72.0), noise=0.05, step=0.1),
    "moisture": Signal(level=lambda m: 18 + 6 * m.character + 0.15 * np.minimum(m.wet(24.0), 40) + 0.3 * m.slow(24.0), noise=0.1, step=0.1, floor=0),
    "vibration": Signal(level=lambda m: 0.008 + 0.012 * m.traffic() + 0.001 * m.slow(1.0), noise=0.001, step=0.001, floor=0),
    "leak": Signal(level=lambda m: 24 + 5 * m.character + 5 * m.traffic() + 0.5 * m.slow(3.0), noise=0.4, step=0.1, floor=0),
    "tilt": Signal(level=lambda m: 0.5 + 1.5 * m.character + 0.1 * m.slow(24.0), noise=0.05, step=0.1, floor=0),
    "battery": Signal(level=_battery, noise=0.2, step=1),
    # flood: rain and what it fills; `depth` is added by ponding.py
    "depth": Signal(level=lambda m: np.zeros(m.key.shape), noise=0.12, step=0.1),
    "rain": Signal(level=_rain, noise=0.0, step=0.1, floor=0),
    "fill": Signal(level=lambda m: 22 + 10 * m.character + 4 * m.daily(20.0) + 1.1 * np.minimum(m.wet(1.0), 25) + m.slow(2.0), noise=0.3, step=0.1, floor=0),
    "headroom": Signal(level=lambda m: 2.6 + 0.6 * m.character - 0.015 * np.minimum(m.wet(1.0), 40), noise=0.005, step=0.01),
    "flow": Signal(level=lambda m: 0.25 + 0.15 * m.character + 0.08 * m.daily(20.0) + 0.02 * np.minimum(m.wet(1.0), 40), noise=0.005, step=0.001, floor=0),
}
KIND_SIGNALS: dict[tuple[str, str], Signal] = {
    # drinking water in a pump room is clear and even; a home has a little cooking and no sewer
    ("supply", "turb"): Signal(level=lambda m: 0.22 + 0.10 * m.character + 0.02 * m.slow(3.0), noise=0.01, step=0.01, floor=0),
    ("supply", "ph"): Signal(level=lambda m: 7.2 + 0.2 * m.character + 0.02 * m.slow(12.0), noise=0.01, step=0.01),
    ("supply", "temp"): Signal(level=lambda m: 8.5 + 0.5 * m.weather.temperature(m.time_ms - 14_400_000) + 0.3 * m.character, noise=0.03, step=0.01),
    ("household", "ch4"): Signal(level=lambda m: 0.01 + 0.02 * m.character + 0.01 * m.traffic(), noise=0.004, step=0.01, floor=0),
    ("household", "co"): Signal(level=lambda m: 0.8 + 1.2 * m.traffic() + 0.2 * m.slow(2.0), noise=0.15, step=0.5, floor=0),
    ("lake", "tp"): Signal(level=lambda m: 0.030 + 0.015 * m.character + 0.002 * m.slow(24.0), noise=0.001, step=0.001, floor=0.005),
    # a lake hardly feels a shower
    ("lake", "turb"): Signal(level=lambda m: 6 + 4 * m.character + 0.1 * np.minimum(m.wet(4.0), 20) + 0.4 * m.slow(5.0), noise=0.2, step=0.1, floor=0),
}
# fmt: on
