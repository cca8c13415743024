"""How deep water stands in underpasses and on low roads: what the rain brings, less what pumps and drains take away.

Depth is the classic queue: with F(t) the sum of inflow minus outflow so far, it is F(t) - min F over the past.
So it needs no memory, only rain and pumps over the last hours; and a pump that fails is simply outflow that
stops, a repaired one outflow that comes back, with a mobile pump beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from citypulse.model import Sensor, Site

from .incidents import Incidents
from .noise import Floats
from .weather import Weather

STEP_MS = 120_000
WINDOW_STEPS = 180  # six hours: after that, water that nobody pumped has seeped away
MOBILE_PUMPS = 2.0  # what a crew brings with it, as a multiple of the fixed pump


@dataclass(frozen=True, slots=True, kw_only=True)
class Basin:
    """A kind of low place: how much it gathers (cm of depth per mm of rain) and what it can drain (mm/h of rain)."""

    gathers_cm_per_mm: float
    drains_mm_h: float
    spreads_mm_h: float  # further capacity of the luckiest such place over the least lucky
    deepest_cm: float


PONDING_KINDS: dict[str, Basin] = {
    # Pump stations of underpasses are built for a 1-in-20-year storm, road drains for 1-in-3 (PROPOSAL).
    "underpass": Basin(gathers_cm_per_mm=0.8, drains_mm_h=65.0, spreads_mm_h=20.0, deepest_cm=150.0),
    "road": Basin(gathers_cm_per_mm=0.4, drains_mm_h=52.0, spreads_mm_h=20.0, deepest_cm=60.0),
}


class Ponding:
    """Water depth at every ponding sensor, from weather and incidents."""

    def __init__(
        self,
        sensors: Sequence[Sensor],
        sites: Mapping[str, Site],
        *,
        weather: Weather,
        incidents: Incidents,
        character: Floats,
    ) -> None:
        """`character` 0..1 per sensor says how well its place drains."""
        self._sensors = sensors
        self._weather = weather
        self._incidents = incidents
        basins = [PONDING_KINDS.get(s.site_kind, PONDING_KINDS["road"]) for s in sensors]
        self._gathers = np.array([b.gathers_cm_per_mm for b in basins])
        self._drains = np.array([b.drains_mm_h for b in basins]) + character * np.array(
            [b.spreads_mm_h for b in basins]
        )
        self._deepest = np.array([b.deepest_cm for b in basins])
        self._lat = np.array([sites[s.site].lat for s in sensors])
        self._lon = np.array([sites[s.site].lon for s in sensors])

    def depth_cm(self, sensor: Any, time_ms: Any) -> Floats:
        """Return the depth in cm of sensors at times (equal lengths)."""
        times = np.asarray(time_ms, np.int64)
        since = int(times.min()) - WINDOW_STEPS * STEP_MS
        if not self._weather.cells(since, int(times.max())):
            return np.zeros(len(times))  # drizzle never ponds; the usual case costs nothing
        # A lattice that stands still in time, so that the same instant always gets the same depth; the last
        # stretch ends at the reading itself.
        edge = times - times % STEP_MS
        ends = np.minimum(edge[:, None] + np.arange(1 - WINDOW_STEPS, 2) * STEP_MS, times[:, None])
        starts = edge[:, None] + np.arange(-WINDOW_STEPS, 1) * STEP_MS
        hours = (ends - starts) / 3_600_000.0
        middle = (starts + ends) // 2
        rain = self._weather.rain(self._lat[sensor][:, None], self._lon[sensor][:, None], middle)
        drain = self._drains[sensor][:, None] * self._capacity(sensor, middle)
        flow = np.cumsum((rain - drain) * hours, axis=1)
        excess_mm = flow[:, -1] - np.minimum(flow.min(axis=1), 0.0)
        return np.asarray(np.minimum(excess_mm * self._gathers[sensor], self._deepest[sensor]), np.float64)

    def _capacity(self, sensor: Any, times: Any) -> Floats:
        """Return what pumps and drains can do, as a share of their usual capacity."""
        share = np.ones(times.shape)
        for row, k in enumerate(sensor):
            for incident in self._incidents.at_site(self._sensors[k].site, "underpass_flood"):
                share[row] *= 1.0 - incident.strength(times[row])
                first_true = min((r.at_ms for r in incident.repairs if r.is_true), default=None)
                if first_true is not None:
                    share[row] += MOBILE_PUMPS * (times[row] >= first_true)
        return share
