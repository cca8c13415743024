"""Who is near whom: by distance over the ground, or up and down the network, found once when rules are compiled."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from citypulse.model import Sensor, Site

EARTH_M_PER_DEGREE = 111_195.0  # mean radius 6371 km
SQUARE_MIN_M = 1.0  # nobody is nearer than this to anything but the same pole
HOPS_MAX = 64  # a network deeper than this has a loop in it


class _Grid:
    """Sensors in squares as wide as one search reaches; a search looks at nine.

    SciPy's trees cost 0.4 s of imports at every start, more than the searches of a whole city (docs/adr/0004).
    """

    def __init__(self, places: Sequence[tuple[float, float, Sensor]], within_m: float) -> None:
        self._within_m = within_m
        self._square_m = max(within_m, SQUARE_MIN_M)
        self._squares: dict[tuple[int, int], list[tuple[float, float, Sensor]]] = defaultdict(list)
        for place in places:
            self._squares[self._square(place[0], place[1])].append(place)

    def _square(self, x: float, y: float) -> tuple[int, int]:
        return math.floor(x / self._square_m), math.floor(y / self._square_m)

    def near(self, x: float, y: float) -> list[tuple[float, Sensor]]:
        column, row = self._square(x, y)
        around = ((column + i, row + j) for i in (-1, 0, 1) for j in (-1, 0, 1))
        places = (place for square in around for place in self._squares.get(square, ()))
        pairs = ((math.hypot(px - x, py - y), sensor) for px, py, sensor in places)
        return sorted((p for p in pairs if p[0] <= self._within_m), key=lambda pair: (pair[0], pair[1].id))


class City:
    """What a detector may look up while it chooses its inputs: sensors by id, sites by id, and what lies near."""

    def __init__(self, sensors: Mapping[str, Sensor], sites: Mapping[str, Site]) -> None:
        """Index sensors by quantity; distances are planar around the sites' mean latitude (0.1 % over 20 km)."""
        self.sensors = sensors
        self.sites = sites
        self._by_quantity: dict[str, list[Sensor]] = defaultdict(list)
        for sensor in sensors.values():
            if sensor.site in sites:
                self._by_quantity[sensor.quantity].append(sensor)
        latitude = float(np.mean([site.lat for site in sites.values()])) if sites else 0.0
        self._east_m = EARTH_M_PER_DEGREE * math.cos(math.radians(latitude))
        self._grids: dict[tuple[str, float], _Grid] = {}
        self._downstream: dict[str, list[str]] = defaultdict(list)
        for site in sites.values():
            for above in site.upstream:
                self._downstream[above].append(site.id)

    def _xy(self, site_id: str) -> tuple[float, float]:
        site = self.sites[site_id]
        return site.lon * self._east_m, site.lat * EARTH_M_PER_DEGREE

    def near(self, site: str, quantity: str, within_m: float) -> list[tuple[float, Sensor]]:
        """Return the sensors of a quantity within `within_m` metres of a site, nearest first, with their distance."""
        candidates = self._by_quantity[quantity]
        if not candidates or site not in self.sites:
            return []
        if (quantity, within_m) not in self._grids:
            self._grids[quantity, within_m] = _Grid([(*self._xy(s.site), s) for s in candidates], within_m)
        return self._grids[quantity, within_m].near(*self._xy(site))

    def along(self, site: str, quantity: str, hops: int, *, upstream: bool) -> list[Sensor]:
        """Return the sensors of a quantity on sites up to `hops` steps up (or down) the network, nearest first."""
        seen = {site}
        front = [site]
        found: list[Sensor] = []
        for _ in range(min(hops, HOPS_MAX)):
            steps = (
                other
                for here in front
                if here in self.sites
                for other in (self.sites[here].upstream if upstream else self._downstream[here])
            )
            front = [other for other in dict.fromkeys(steps) if other not in seen]
            seen.update(front)
            found += [s for other in front for s in self._by_quantity[quantity] if s.site == other]
        return found
