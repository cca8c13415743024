"""Which sites lie upstream of a site, and which lie near it: the map as causes see it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from citypulse.model import Site

EARTH_M: Final = 6_371_008.8  # mean radius, IUGG


class Reach:
    """Answers are remembered: sites do not move while a configuration is in force."""

    def __init__(self, sites: Mapping[str, Site]) -> None:
        """Know these sites by id."""
        self._sites = sites
        self._upstream: dict[str, tuple[str, ...]] = {}
        self._near: dict[tuple[str, float], tuple[str, ...]] = {}
        self._ids = tuple(sites)
        self._lat = np.radians(np.array([s.lat for s in sites.values()], np.float64))
        self._lon = np.radians(np.array([s.lon for s in sites.values()], np.float64))

    def upstream(self, site: str) -> tuple[str, ...]:
        """Return every site upstream of this one, however far, sorted; never the site itself."""
        known = self._upstream.get(site)
        if known is None:
            seen: set[str] = set()
            todo = [site]
            while todo:
                here = self._sites.get(todo.pop())
                above = set(here.upstream) - seen if here is not None else set()
                seen |= above
                todo.extend(above)
            known = self._upstream[site] = tuple(sorted(seen - {site}))
        return known

    def near(self, site: str, within_m: float) -> tuple[str, ...]:
        """Return the sites within `within_m` metres of this one (great circle), itself among them, sorted."""
        key = (site, within_m)
        known = self._near.get(key)
        if known is None:
            here = self._sites.get(site)
            known = () if here is None else self._within(here, within_m)
            self._near[key] = known
        return known

    def _within(self, here: Site, within_m: float) -> tuple[str, ...]:
        lat, lon = np.radians(here.lat), np.radians(here.lon)
        half = np.sin((self._lat - lat) / 2) ** 2
        half = half + np.cos(lat) * np.cos(self._lat) * np.sin((self._lon - lon) / 2) ** 2
        metres = 2 * EARTH_M * np.arcsin(np.sqrt(np.minimum(1.0, half)))
        return tuple(sorted(self._ids[k] for k in np.flatnonzero(metres <= within_m)))
