"""QARTOD tests of where a reading was taken: possible coordinates, possible jumps, inside an area.

Streaming: each object keeps the previous position of one platform and judges one position at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from .catalogue import FAIL, GOOD, MISSING, SUSPECT

EARTH_RADIUS_M = 6_371_000.0  # mean radius, as TEOS-10 uses it for distances
WGS84_A_M = 6_378_137.0  # semi-major axis
WGS84_F = 1 / 298.257223563  # flattening


def haversine_m(lat1: float, lon1: float, lat2: float, lon2: float) -> float:
    """Return the great-circle distance in metres on a sphere (degrees in)."""
    half_lat = math.radians(lat2 - lat1) / 2
    half_lon = math.radians(lon2 - lon1) / 2
    a = math.sin(half_lat) ** 2 + math.cos(math.radians(lat1)) * math.cos(math.radians(lat2)) * math.sin(half_lon) ** 2
    return 2 * EARTH_RADIUS_M * math.atan2(math.sqrt(a), math.sqrt(max(0.0, 1 - a)))


def vincenty_m(lat1: float, lon1: float, lat2: float, lon2: float) -> float:
    """Return the distance in metres along the WGS 84 ellipsoid (Vincenty 1975, accurate to 0.5 mm); NaN beyond a pole.

    For nearly opposite points the iteration does not settle; the great circle is returned there (0.5 %).
    """
    if max(abs(lat1), abs(lat2)) > 90:
        return math.nan
    if lat1 == lat2 and (lon1 == lon2 or abs(lat1) == 90):
        return 0.0
    b = (1 - WGS84_F) * WGS84_A_M
    reduced1 = math.atan((1 - WGS84_F) * math.tan(math.radians(lat1)))
    reduced2 = math.atan((1 - WGS84_F) * math.tan(math.radians(lat2)))
    s1, c1, s2, c2 = math.sin(reduced1), math.cos(reduced1), math.sin(reduced2), math.cos(reduced2)
    # The shorter way round: without this a step over 180 degrees would circle the earth.
    span = math.radians(math.remainder(lon2 - lon1, 360.0))
    lam = span
    for _ in range(200):
        sin_lam, cos_lam = math.sin(lam), math.cos(lam)
        sin_sigma = math.hypot(c2 * sin_lam, c1 * s2 - s1 * c2 * cos_lam)
        if sin_sigma == 0.0:
            return 0.0
        cos_sigma = s1 * s2 + c1 * c2 * cos_lam
        sigma = math.atan2(sin_sigma, cos_sigma)
        sin_alpha = c1 * c2 * sin_lam / sin_sigma
        cos2_alpha = 1 - sin_alpha**2
        cos_2m = cos_sigma - 2 * s1 * s2 / cos2_alpha if cos2_alpha > 0 else 0.0
        c = WGS84_F / 16 * cos2_alpha * (4 + WGS84_F * (4 - 3 * cos2_alpha))
        before = lam
        lam = span + (1 - c) * WGS84_F * sin_alpha * (
            sigma + c * sin_sigma * (cos_2m + c * cos_sigma * (2 * cos_2m**2 - 1))
        )
        if abs(lam - before) < 1e-12:
            break
    else:
        return haversine_m(lat1, lon1, lat2, lon2)
    u2 = cos2_alpha * (WGS84_A_M**2 - b**2) / b**2
    big_a = 1 + u2 / 16384 * (4096 + u2 * (-768 + u2 * (320 - 175 * u2)))
    big_b = u2 / 1024 * (256 + u2 * (-128 + u2 * (74 - 47 * u2)))
    inner = cos_sigma * (2 * cos_2m**2 - 1) - big_b / 6 * cos_2m * (4 * sin_sigma**2 - 3) * (4 * cos_2m**2 - 3)
    return b * big_a * (sigma - big_b * sin_sigma * (cos_2m + big_b / 4 * inner))


DISTANCES: dict[str, Callable[[float, float, float, float], float]] = {
    "haversine": haversine_m,
    "wgs84": vincenty_m,
}


class LocationTest:
    """Judges successive positions: impossible coordinates fail, a jump over `range_max_m` is suspect."""

    def __init__(self, *, range_max_m: float | None = None, method: str = "haversine") -> None:
        """`method` is haversine or wgs84 (any case), else ValueError; `range_max_m` None switches the jump off."""
        if range_max_m is not None and method.lower() not in DISTANCES:
            raise ValueError(f"distance method must be haversine or wgs84, not {method!r}")
        self._range_max_m = math.inf if range_max_m is None else float(range_max_m)
        self._distance = DISTANCES.get(method.lower(), haversine_m)
        self._lat = math.nan
        self._lon = math.nan

    def step(self, lat: float, lon: float) -> int:
        """Return the flag of one position in degrees; NaN is missing: both missing 9, one missing 4."""
        lat_before, lon_before, self._lat, self._lon = self._lat, self._lon, lat, lon
        if math.isnan(lat) or math.isnan(lon):
            return MISSING if math.isnan(lat) and math.isnan(lon) else FAIL
        if abs(lat) > 90 or abs(lon) > 180:
            return FAIL
        if math.isinf(self._range_max_m) or math.isnan(lat_before) or math.isnan(lon_before):
            return GOOD
        return SUSPECT if self._distance(lat_before, lon_before, lat, lon) > self._range_max_m else GOOD

    def state(self) -> dict[str, Any]:
        """Return the previous position."""
        return {"lat": self._lat, "lon": self._lon}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `state()`."""
        self._lat, self._lon = float(state["lat"]), float(state["lon"])


def _turn(x1: float, y1: float, x2: float, y2: float, x: float, y: float) -> float:
    """Return on which side of the line from 1 to 2 a point lies: > 0 left, < 0 right, 0 on it. Exact in its sign."""
    left, right = (x2 - x1) * (y - y1), (y2 - y1) * (x - x1)
    # Shewchuk 1997: a difference above 3.3e-16 of the sum cannot be rounding.
    if abs(left - right) > 4e-16 * (abs(left) + abs(right)):
        return left - right
    px, py, qx, qy, rx, ry = (Fraction(number) for number in (x1, y1, x2, y2, x, y))
    exact = (qx - px) * (ry - py) - (qy - py) * (rx - px)
    return float((exact > 0) - (exact < 0))


class BoundsTest:
    """Judges positions against an area; a point on the border counts as outside it."""

    def __init__(self, shape: Sequence[Any], *, flag_area: str = "outside") -> None:
        """`shape`: four numbers (west, south, east, north) or at least three (lon, lat) corners, else ValueError.

        flag_area: fail what is `outside` or what is `inside`, else ValueError.
        """
        if flag_area not in ("outside", "inside"):
            raise ValueError(f"flag_area must be outside or inside, not {flag_area!r}")
        corners = list(shape)
        if len(corners) == 4 and not isinstance(corners[0], Sequence):
            west, south, east, north = corners
            corners = [(west, south), (east, south), (east, north), (west, north)]
        self._corners = [(float(lon), float(lat)) for lon, lat in corners]
        if len(self._corners) < 3:
            raise ValueError(f"an area needs at least 3 corners, not {len(self._corners)}")
        self._fails_inside = flag_area == "inside"

    def step(self, lat: float, lon: float) -> int:
        """Return the flag of one position in degrees; any coordinate missing gives 9."""
        if math.isnan(lat) or math.isnan(lon):
            return MISSING
        return FAIL if self._contains(lon, lat) == self._fails_inside else GOOD

    def _contains(self, x: float, y: float) -> bool:
        """Even-odd rule over the edges; on an edge is not inside."""
        is_inside = False
        x1, y1 = self._corners[-1]
        for x2, y2 in self._corners:
            turn = _turn(x1, y1, x2, y2, x, y)
            if turn == 0 and min(x1, x2) <= x <= max(x1, x2) and min(y1, y2) <= y <= max(y1, y2):
                return False
            if (y1 > y) != (y2 > y) and (turn > 0) == (y2 > y1):
                is_inside = not is_inside
            x1, y1 = x2, y2
        return is_inside
