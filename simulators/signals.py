"""The readings of all sensors: their healthy course (healthy.py), and how incidents are felt by them.

Columns in, columns out: `Signals.values(index, time)` answers any set of (sensor, time) pairs at once, the same
numbers whoever asks and in whatever batches. All values are in the quantity's canonical unit and inside its
physical range.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from citypulse.model import Sensor, Site

from .healthy import KIND_SIGNALS, SIGNALS, Moment, Signal
from .incidents import Incidents
from .noise import Floats, Times, keys_of, normal, smooth, uniform
from .ponding import PONDING_KINDS, Ponding
from .weather import Weather

Index = NDArray[np.int64]


class Signals:
    """The readings of all configured sensors, healthy or touched by incidents."""

    def __init__(
        self,
        sensors: Sequence[Sensor],
        sites: Mapping[str, Site],
        *,
        seed: int,
        weather: Weather,
        incidents: Incidents,
    ) -> None:
        """`sensors` gives the index; `incidents` must have been made of the same sensors."""
        self._weather = weather
        self._incidents = incidents
        self._key = keys_of([seed] * len(sensors), [s.id for s in sensors])
        self._lat = np.array([sites[s.site].lat for s in sensors])
        self._lon = np.array([sites[s.site].lon for s in sensors])
        self._low = np.array([s.low for s in sensors])
        self._high = np.array([s.high for s in sensors])
        # Sensors of one kind of place and one quantity are computed together.
        kinds = sorted({(s.site_kind, s.quantity) for s in sensors})
        self._courses: list[Signal | None] = [KIND_SIGNALS.get(k) or SIGNALS.get(k[1]) for k in kinds]
        place = {k: n for n, k in enumerate(kinds)}
        self._course = np.array([place[s.site_kind, s.quantity] for s in sensors], dtype=np.int64)
        self._character = uniform(self._key, np.zeros(len(sensors), np.int64))
        self._ponding = Ponding(sensors, sites, weather=weather, incidents=incidents, character=self._character)
        self._ponds = np.array([s.quantity == "depth" and s.site_kind in PONDING_KINDS for s in sensors], dtype=bool)

    def values(self, index: Any, time_ms: Any) -> Floats:
        """Return the readings of sensors `index` at `time_ms` (equal lengths), canonical unit."""
        sensor = np.asarray(index, np.int64)
        times = np.asarray(time_ms, np.int64)
        out = np.empty(len(sensor))
        course = self._course[sensor]
        steps = np.ones(len(sensor))
        floors = np.full(len(sensor), -np.inf)
        for c in np.unique(course):
            rows = np.flatnonzero(course == c)
            signal = self._courses[int(c)]
            if signal is None:
                out[rows] = self._plain(sensor[rows], times[rows])
                steps[rows] = 0.0
                continue
            moment = self._moment(sensor[rows], times[rows])
            out[rows] = signal.level(moment) + signal.noise * normal(moment.key, moment.time_ms)
            steps[rows], floors[rows] = signal.step, signal.floor
        pond = np.flatnonzero(self._ponds[sensor])
        if pond.size:
            out[pond] += self._ponding.depth_cm(sensor[pond], times[pond])
        out += self._incidents.effect(sensor, times)
        out = np.maximum(out, floors)
        stepped = np.where(steps > 0, np.round(out / np.where(steps > 0, steps, 1.0)) * steps, out)
        # A step is a decimal fraction: without rounding 12.3 would be published as 12.299999999999999.
        # Adding 0.0 turns -0.0, which no display shows, into 0.0.
        return np.asarray(np.clip(np.round(stepped, 6), self._low[sensor], self._high[sensor]) + 0.0, np.float64)

    def _moment(self, sensor: Index, times: Times) -> Moment:
        return Moment(
            key=self._key[sensor],
            time_ms=times,
            hour=self._weather.hour(times),
            lat=self._lat[sensor],
            lon=self._lon[sensor],
            character=self._character[sensor],
            weather=self._weather,
        )

    def _plain(self, sensor: Index, times: Times) -> Floats:
        """A quantity this simulator has never heard of: steady, a third up its physical range, with slight noise."""
        span = self._high[sensor] - self._low[sensor]
        slow = smooth(self._key[sensor], times, 21_600.0)
        return np.asarray(self._low[sensor] + span * (0.33 + 0.005 * slow), np.float64)
