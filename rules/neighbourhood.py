"""Who is near whom: by distance over the ground, or up and down the network, found once when rules are compiled."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from citypulse.model import Sensor, Site

if TYPE_CHECKING:
    from scipy.spatial import KDTree

EARTH_M_PER_DEGREE = 111_195.0  # mean radius 6371 km
HOPS_MAX = 64  # a network deeper than this has a loop in it


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
        self._trees: dict[str, KDTree] = {}
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
        if quantity not in self._trees:
            from scipy.spatial import KDTree  # noqa: PLC0415 - half a second of imports, only where a rule asks

            self._trees[quantity] = KDTree([self._xy(s.site) for s in candidates])
        here = self._xy(site)
        found = self._trees[quantity].query_ball_point(here, within_m)
        pairs = [(math.dist(here, self._xy(candidates[k].site)), candidates[k]) for k in found]
        return sorted(pairs, key=lambda pair: (pair[0], pair[1].id))

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
