"""Where and when: positions, profiles and calendar parts."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.qc.calendar import PERIODS, period_part
from ingest.qc.place import BoundsTest, LocationTest, haversine_m, vincenty_m
from ingest.qc.profile import DensityInversionTest

NAN = math.nan


def test_impossible_and_half_missing_positions_fail():
    test = LocationTest()
    positions = [(50, -78), (NAN, 80), (-60, 500), (91, 0), (NAN, NAN), (90, 180)]
    assert [test.step(lat, lon) for lat, lon in positions] == [1, 4, 4, 4, 9, 1]


@pytest.mark.parametrize("method", ["haversine", "WGS84"])
def test_a_jump_of_a_platform_is_suspect(method):
    test = LocationTest(range_max_m=3000, method=method)
    assert [test.step(41.0, -71.05), test.step(41.02, -71.06), test.step(45.05, -80.0)] == [1, 1, 3]


def test_an_unknown_distance_is_refused():
    with pytest.raises(ValueError, match="haversine or wgs84"):
        LocationTest(range_max_m=1, method="something")


def test_the_ellipsoid_is_measured_to_the_metre():
    # Flinders Peak to Buninyong, the published example of Vincenty's formula on the GRS 80 ellipsoid
    flinders, buninyong = (-37.95103341666667, 144.42486788888888), (-37.65282113888889, 143.92649552777777)
    assert vincenty_m(*flinders, *buninyong) == pytest.approx(54_972.271, abs=0.01)
    assert vincenty_m(10, 179.9, 10, -179.9) == pytest.approx(haversine_m(10, 179.9, 10, -179.9), rel=0.005)
    assert vincenty_m(0, 0, 0, 180) == pytest.approx(math.pi * 6_371_000, rel=0.005)
    assert math.isnan(vincenty_m(95, 0, 0, 0))


def test_a_restored_position_test_continues():
    first, second = LocationTest(range_max_m=10), LocationTest(range_max_m=10)
    first.step(1, 1)
    second.restore(first.state())
    assert second.step(1, 1.1) == 3


def test_a_point_on_the_border_is_outside():
    square = [0, 0, 2, 2]
    points = [(1, 1), (0, 1), (2, 2), (3, 1), (1, NAN)]
    assert [BoundsTest(square).step(*p) for p in points] == [1, 4, 4, 4, 9]
    assert [BoundsTest(square, flag_area="inside").step(*p) for p in points] == [4, 1, 1, 1, 9]


def test_a_hollow_shape_is_followed():
    bay = [(0, 0), (4, 0), (4, 4), (2, 1), (0, 4)]
    assert [BoundsTest(bay).step(lat, 2) for lat in (0.5, 1, 2)] == [1, 4, 4]


@pytest.mark.parametrize(
    ("shape", "area", "says"), [([(0, 0), (1, 1)], "outside", "3 corners"), ([0, 0, 1, 1], "left", "flag_area")]
)
def test_an_area_that_is_none_is_refused(shape, area, says):
    with pytest.raises(ValueError, match=says):
        BoundsTest(shape, flag_area=area)


def profile(densities, depths, **thresholds):
    test, flags = DensityInversionTest(**thresholds), []
    for density, depth in zip(densities, depths, strict=True):
        flag, before = test.step(density, depth)
        if flags:
            flags[-1] = before
        flags.append(flag)
    return flags


def test_lighter_water_below_raises_both_points_on_the_way_down_and_up():
    densities = [1024, 1023.98, 1024, 1026, 1025.9, 1026, 1026, 1025.9, 1026]
    depths = [1, 2, 3, 4, 5, 6, 5, 4, 3]
    assert profile(densities, depths, suspect=-0.01, fail=-0.03) == [3, 3, 1, 4, 4, 1, 1, 4, 4]


def test_a_missing_point_takes_the_next_with_it_and_one_point_is_not_evaluated():
    assert profile([1025, NAN, 1025, 1026], [1, 2, 3, 4], suspect=-0.01) == [1, 9, 9, 1]
    assert profile([1025], [1], suspect=-0.01) == [2]


def test_a_threshold_that_is_no_number_is_refused():
    with pytest.raises(TypeError, match="number"):
        DensityInversionTest(suspect="bad")


@given(st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1)))
def test_calendar_parts_are_those_of_the_calendar(moment):
    ms = (moment.replace(microsecond=0, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    expected = {
        "year": moment.year,
        "quarter": (moment.month + 2) // 3,
        "month": moment.month,
        "weekofyear": moment.isocalendar().week,
        "dayofyear": moment.timetuple().tm_yday,
        "weekday": moment.weekday(),
        "day": moment.day,
        "hour": moment.hour,
        "minute": moment.minute,
        "second": moment.second,
    }
    assert {name: period_part(ms, PERIODS[name]) for name in expected} == expected
