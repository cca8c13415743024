"""Who is near whom is what SciPy's KD-tree says: any places, equal ones, poles, the date line, exact distances."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from citypulse.model import Origin, Sensor, Site, Text
from rules.neighbourhood import EARTH_M_PER_DEGREE, City, _Grid

SLACK = 1e-9  # relative: nearer to the limit than this, rounding decides, in the tree as in the grid

latitudes = st.one_of(st.floats(-90, 90), st.sampled_from([-90.0, 90.0, 0.0, 89.9999, -0.0]))
longitudes = st.one_of(st.floats(-180, 180), st.sampled_from([-180.0, 180.0, 0.0, 179.9999, -179.9999]))
spread = st.tuples(latitudes, longitudes)
in_town = st.tuples(st.floats(30.20, 30.30), st.floats(120.10, 120.20))


def sensor(name: str) -> Sensor:
    return Sensor(
        id=f"{name}.ch4", site=name, gateway="g", quantity="ch4", domain="gas", site_kind="gas-well", area="north",
        unit="%", scale=1.0, offset=0.0, low=0.0, high=100.0, cadence_s=60, origin=Origin(file="", line=0),
    )  # fmt: skip


def city(places: list[tuple[float, float]]) -> City:
    sites = {
        f"s{k:03d}": Site(
            id=f"s{k:03d}", name=Text(zh="井", en="well"), domain="gas", kind="gas-well", area="north", lat=lat,
            lon=lon, gateway="g",
        )
        for k, (lat, lon) in enumerate(places)
    }  # fmt: skip
    return City(sensors={f"{name}.ch4": sensor(name) for name in sites}, sites=sites)


def flat(places: list[tuple[float, float]]) -> np.ndarray:
    """Return the places on the plane that `City` promises: metres around the mean latitude."""
    east_m = EARTH_M_PER_DEGREE * math.cos(math.radians(float(np.mean([lat for lat, _ in places]))))
    return np.array([(lon * east_m, lat * EARTH_M_PER_DEGREE) for lat, lon in places])


def assert_as_the_tree(places: list[tuple[float, float]], within_m: float) -> None:
    here, points = city(places), flat(places)
    surely = cKDTree(points).query_ball_point(points, within_m * (1 - SLACK))
    perhaps = cKDTree(points).query_ball_point(points, within_m * (1 + SLACK))
    for k in range(len(places)):
        near = here.near(f"s{k:03d}", "ch4", within_m)
        found = [int(one.site[1:]) for _, one in near]
        assert set(surely[k]) <= set(found) <= set(perhaps[k])
        assert len(found) == len(set(found))
        assert [d for d, _ in near] == sorted(d for d, _ in near)
        np.testing.assert_allclose([d for d, _ in near], np.hypot(*(points[found] - points[k]).T), rtol=1e-9, atol=1e-6)


@given(places=st.lists(in_town, min_size=1, max_size=60), within_m=st.sampled_from([1.0, 60.0, 100.0, 1500.0, 5000.0]))
@settings(max_examples=60, deadline=None)
def test_in_a_town_the_neighbours_are_those_of_the_tree(places: list[tuple[float, float]], within_m: float) -> None:
    assert_as_the_tree(places, within_m)


@given(places=st.lists(spread, min_size=1, max_size=40), within_m=st.floats(0.01, 2e7))
@settings(max_examples=80, deadline=None)
def test_anywhere_on_the_globe_too(places: list[tuple[float, float]], within_m: float) -> None:
    assert_as_the_tree(places, within_m)


def test_sensors_at_equal_places_are_all_found_by_name() -> None:
    here = city([(30.25, 120.15)] * 5)
    assert [(d, s.site) for d, s in here.near("s002", "ch4", 100.0)] == [(0.0, f"s{k:03d}") for k in range(5)]


def test_all_sensors_at_a_pole_are_at_one_place_whatever_their_longitude() -> None:
    places = [(90.0, lon) for lon in (-180.0, -90.0, 0.0, 90.0, 180.0)]
    assert_as_the_tree(places, 10.0)
    assert len(city(places).near("s000", "ch4", 10.0)) == 5


def test_the_plane_ends_at_the_date_line() -> None:
    """ADR 0004 says so: a city across the 180th meridian would need longitudes that go on."""
    places = [(-17.0, 179.9999), (-17.0, -179.9999), (-17.0, 179.9998)]
    assert_as_the_tree(places, 100.0)
    assert [s.site for _, s in city(places).near("s000", "ch4", 100.0)] == ["s000", "s002"]


@given(
    places=st.lists(st.tuples(st.integers(-30, 30), st.integers(-30, 30)), min_size=1, max_size=80),
    within=st.integers(1, 25),
)
@settings(max_examples=100, deadline=None)
def test_at_exactly_the_distance_is_near(places: list[tuple[int, int]], within: int) -> None:
    points = [(float(x), float(y), sensor(f"s{k:03d}")) for k, (x, y) in enumerate(places)]
    grid = _Grid(points, float(within))
    whole = np.array(places, float)
    for (x, y, _), expected in zip(points, cKDTree(whole).query_ball_point(whole, within), strict=True):
        assert sorted(int(s.site[1:]) for _, s in grid.near(x, y)) == sorted(expected)


@pytest.mark.parametrize(("x", "y"), [(100.0, 0.0), (0.0, -100.0), (60.0, 80.0), (-80.0, 60.0)])
def test_a_hundred_metres_are_within_a_hundred_metres(x: float, y: float) -> None:
    grid = _Grid([(0.0, 0.0, sensor("s000")), (x, y, sensor("s001"))], 100.0)
    assert [d for d, _ in grid.near(0.0, 0.0)] == [0.0, 100.0]
