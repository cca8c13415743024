"""The weather over the district: drizzle, cloudbursts that move across it, and warm afternoons; all from a seed.

Everything is a pure function of place and time. What has a memory in nature (wet soil, a full sewer) is
here an integral over the recent past, so that nothing needs to be remembered between two questions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from .noise import Floats, key_of, smooth, uniform

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
METRES_PER_DEGREE = 111_195.0
MEMORY_POINTS = 24  # samples of the past in `soaked`: the integral is good to a few per cent, enough for a river

# Hangzhou: about 17 °C over the year, 12 K up in July and down in January, 4 K within a day (PROPOSAL, climate tables).
YEAR_MEAN_C, YEAR_SWING_C, DAY_SWING_C = 17.0, 12.0, 4.0
WARMEST_DAY = 200
DRIZZLE_SHARE = 0.12  # of all three-hour slots
STORM_DAY_SHARE = 0.25  # of all days have one cloudburst


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cloudburst: a round cell of rain that grows, moves and dies.

    `peak_mm_h` in its middle half-way through; Gaussian around it with `radius_m`; `lat`, `lon` is where its
    middle is half-way through; `east_m_s`, `north_m_s` how it moves.
    """

    start_ms: int
    duration_s: float
    lat: float
    lon: float
    radius_m: float
    peak_mm_h: float
    east_m_s: float = 0.0
    north_m_s: float = 0.0

    def rain(self, lat: Any, lon: Any, time_ms: Any) -> Floats:
        """Return its rain in mm/h at places and times (arrays that broadcast)."""
        age_s = (np.asarray(time_ms, np.float64) - self.start_ms) / 1000.0
        half_s = self.duration_s / 2.0
        off_s = age_s - half_s
        east = (np.asarray(lon) - self.lon) * METRES_PER_DEGREE * np.cos(np.radians(self.lat)) - off_s * self.east_m_s
        north = (np.asarray(lat) - self.lat) * METRES_PER_DEGREE - off_s * self.north_m_s
        # Full strength within two minutes and until two minutes before its end: cloudbursts do not fade in.
        edge_s = min(120.0, half_s)
        strength = np.clip(np.minimum(age_s, self.duration_s - age_s) / edge_s, 0.0, 1.0)
        return np.asarray(self.peak_mm_h * strength * np.exp(-(east**2 + north**2) / (2.0 * self.radius_m**2)))


class Weather:
    """Rain and temperature anywhere in the district at any time."""

    def __init__(self, *, seed: int, lat: float, lon: float, has_storms: bool = True) -> None:
        """`lat`, `lon` is the middle of the district; without storms there is only drizzle and what is added."""
        self._seed = seed
        self._lat, self._lon = lat, lon
        self._has_storms = has_storms
        self._added: tuple[Cell, ...] = ()
        self._drizzle = key_of(seed, "drizzle")
        self._day = lru_cache(maxsize=64)(self._cells_of_day)

    def add(self, cells: Iterable[Cell]) -> None:
        """Let further cloudbursts come (an incident brings its own)."""
        self._added = (*self._added, *cells)

    def rain(self, lat: Any, lon: Any, time_ms: Any) -> Floats:
        """Return rain intensity in mm/h at places and times (arrays that broadcast)."""
        times = np.asarray(time_ms, np.int64)
        slot = times // (3 * HOUR_MS)
        wet = uniform(self._drizzle, slot) < DRIZZLE_SHARE
        amount = 1.2 + 0.5 * smooth(self._drizzle ^ 1, times, 1800.0)
        rain = np.where(wet, np.clip(amount, 0.0, 4.0), 0.0) + np.zeros(np.broadcast(np.asarray(lat), times).shape)
        for cell in self.cells(int(times.min()), int(times.max())) if times.size else ():
            rain = rain + cell.rain(lat, lon, times)
        return np.asarray(rain, np.float64)

    def soaked(self, lat: Any, lon: Any, time_ms: Any, tau_s: float) -> Floats:
        """Return recent rain in mm, each past hour counting less: the integral of rain x exp(-age / tau_s)."""
        times = np.asarray(time_ms, np.int64)
        step_s = 4.0 * tau_s / MEMORY_POINTS
        age_s = (np.arange(MEMORY_POINTS) + 0.5) * step_s
        past = times[..., None] - (age_s * 1000.0).astype(np.int64)
        rain = self.rain(np.asarray(lat)[..., None], np.asarray(lon)[..., None], past)
        return np.asarray((rain * np.exp(-age_s / tau_s)).sum(axis=-1) * step_s / 3600.0, np.float64)

    def temperature(self, time_ms: Any) -> Floats:
        """Return air temperature in °C."""
        times = np.asarray(time_ms, np.int64)
        day = (times / DAY_MS) % 365.25
        season = np.cos(2.0 * np.pi * (day - WARMEST_DAY) / 365.25)
        daily = np.cos(2.0 * np.pi * (self.hour(times) - 15.0) / 24.0)
        front = 2.0 * smooth(key_of(self._seed, "front"), times, 86_400.0)
        return np.asarray(YEAR_MEAN_C + YEAR_SWING_C * season + DAY_SWING_C * daily + front, np.float64)

    def hour(self, time_ms: Any) -> Floats:
        """Return the solar hour of the day, 0 to 24, at the middle of the district."""
        return np.asarray((np.asarray(time_ms, np.float64) / HOUR_MS + self._lon / 15.0) % 24.0, np.float64)

    def cells(self, since_ms: int, until_ms: int) -> list[Cell]:
        """Return every cloudburst that may rain between two instants."""
        days = range(since_ms // DAY_MS - 1, until_ms // DAY_MS + 1)
        born = [c for d in days for c in self._day(d)] if self._has_storms else []
        return [
            c for c in (*born, *self._added) if c.start_ms <= until_ms and since_ms <= c.start_ms + c.duration_s * 1000
        ]

    def _cells_of_day(self, day: int) -> tuple[Cell, ...]:
        draw = uniform(key_of(self._seed, "storm", day), np.arange(8))
        if draw[0] >= STORM_DAY_SHARE:
            return ()
        bearing = 2.0 * np.pi * draw[1]
        return (
            Cell(
                start_ms=int(day * DAY_MS + (5.0 + 8.0 * draw[2]) * HOUR_MS),  # 13-21 h in Hangzhou
                duration_s=1800.0 + 2700.0 * float(draw[3]),
                lat=self._lat + 0.02 * float(draw[4] - 0.5),
                lon=self._lon + 0.02 * float(draw[5] - 0.5),
                radius_m=1200.0 + 1500.0 * float(draw[6]),
                peak_mm_h=25.0 + 25.0 * float(draw[7]),
                east_m_s=2.0 * float(np.cos(bearing)),
                north_m_s=2.0 * float(np.sin(bearing)),
            ),
        )
