"""The streaming QARTOD tests against a second, plain writing-down of their definitions over whole series.

Random parameters and series with the corners in them: missing values and times, repeated and disordered times, spans of
no width, values on a bound, thresholds that are nothing or zero.
"""

from __future__ import annotations

import calendar
import math
from datetime import UTC, datetime
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from citypulse.model import ReadingBatch
from ingest.qc.catalogue import NO_TIME
from ingest.qc.controller import QualityControl
from ingest.qc.place import BoundsTest, vincenty_m
from ingest.qc.settings import SensorQuality

T0 = 1_546_300_800_000  # 2019-01-01
NAN = math.nan
GOOD, OPEN, SUSPECT, FAIL, MISSING = 1, 2, 3, 4, 9

# Few values, so that bounds are met exactly, neighbours are equal, and a span may have no width.
VALUES = st.sampled_from([NAN, -10.0, -1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 10.0])
EDGES = st.sampled_from([-10.0, -1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 10.0])
THRESHOLDS = st.sampled_from([None, 0.0, 0.5, 1.0, 2.5, 10.0])
STEPS_MS = st.sampled_from([0, 250, 999, 1000, 1500, 2000, 60_000, 3_600_000, -2000])
SERIES = st.lists(st.tuples(VALUES, STEPS_MS), min_size=1, max_size=40)


def fed(section, times, values, *, depths=None, now=None):
    """Return the final flags of one sensor fed reading by reading."""
    control = QualityControl([SensorQuality.model_validate(section)], [1.0])
    flags = []
    for k, (time, value) in enumerate(zip(times, values, strict=True)):
        batch = ReadingBatch.of([0], [time], [value], quality=[0], received_ms=[time if now is None else now])
        graded = control.apply(batch, None if depths is None else np.array(depths[k : k + 1]))
        if len(graded.amendments):
            flags[-1] = int(graded.amendments.quality[0])
        flags.append(int(graded.flags[0]))
    return flags


def times_of(series):
    times, now = [], T0
    for _, step in series:
        times.append(now)
        now += step
    return times


def values_of(series):
    return [value for value, _ in series]


def over(x, threshold):
    return threshold is not None and x > threshold


@settings(deadline=None)
@given(
    series=SERIES,
    fail=st.tuples(EDGES, EDGES),
    inner=st.none() | st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_gross_range(series, fail, inner):
    low, high = min(fail), max(fail)
    suspect = None if inner is None else sorted(low + (high - low) * part for part in inner)
    expected = []
    for x in values_of(series):
        if math.isnan(x):
            expected.append(MISSING)
        elif not low <= x <= high:
            expected.append(FAIL)
        else:
            expected.append(SUSPECT if suspect and not suspect[0] <= x <= suspect[1] else GOOD)
    assert fed({"gross_range": {"fail": fail, "suspect": suspect}}, times_of(series), values_of(series)) == expected


@settings(deadline=None)
@given(series=SERIES, suspect=THRESHOLDS, fail=THRESHOLDS, method=st.sampled_from(["average", "differential"]))
def test_spike(series, suspect, fail, method):
    values, expected = values_of(series), []
    for k, x in enumerate(values):
        around = values[k - 1 : k] + values[k + 1 : k + 2] if k else []
        if math.isnan(x):
            expected.append(MISSING)
        elif len(around) < 2 or any(math.isnan(y) for y in around):
            expected.append(OPEN)
        else:
            before, after = around
            height = abs(x - (before + after) / 2)
            if method == "differential":
                height = min(abs(x - before), abs(after - x)) if (x - before) * (after - x) < 0 else 0.0
            is_fail, is_suspect = over(height, fail or None), over(height, suspect or None)
            expected.append(FAIL if is_fail else SUSPECT if is_suspect else GOOD)
    section = {"spike": {"suspect": suspect, "fail": fail, "method": method}}
    assert fed(section, times_of(series), values) == expected


@settings(deadline=None)
@given(
    series=SERIES,
    without_time=st.sets(st.integers(0, 39)),
    suspect=st.sampled_from([-1.0, 0.0, 1e-20, 1e-19, 0.001, 0.5, 1.0]),
    fail=st.sampled_from([None, -1.0, 0.0, 1e-19, 0.001, 2.0]),
)
def test_rate_of_change(series, without_time, suspect, fail):
    times, values, expected = times_of(series), values_of(series), []
    times = [NO_TIME if k in without_time else time for k, time in enumerate(times)]
    for k, x in enumerate(values):
        if math.isnan(x):
            expected.append(MISSING)
        elif k > 0 and math.isnan(values[k - 1]):
            expected.append(GOOD)
        else:
            rate = 0.0  # of the first
            if k > 0 and NO_TIME in times[k - 1 : k + 1]:
                rate = abs(x - values[k - 1]) / 2.0**63  # an endless step
            elif k > 0:
                rate = abs((x - values[k - 1]) / (math.floor((times[k] - times[k - 1]) / 1000) or 1))
            expected.append(FAIL if over(rate, fail) else SUSPECT if rate > suspect else GOOD)
    assert fed({"rate_of_change": {"suspect": suspect, "fail": fail}}, times, values) == expected


@settings(deadline=None)
@given(
    values=st.lists(VALUES, min_size=3, max_size=40),
    interval_s=st.sampled_from([1, 60, 900]),
    intervals=st.tuples(st.floats(0, 6), st.floats(0, 6)),
    tolerance=st.sampled_from([0.0, 0.5, 0.500001, 1.0, 2.0, 100.0]),
)
def test_flat_line(values, interval_s, intervals, tolerance):
    counts = [int(math.floor(n * interval_s) / interval_s) for n in intervals]

    def is_flat(k, count):
        if k < count:
            return False
        window = [x for x in values[k - count : k + 1] if not math.isnan(x)]
        return max(window) - min(window) < tolerance

    expected = []
    for k, x in enumerate(values):
        if math.isnan(x):
            expected.append(MISSING)
        else:
            expected.append(FAIL if is_flat(k, counts[1]) else SUSPECT if is_flat(k, counts[0]) else GOOD)
    section = {
        "interval_s": interval_s,
        "flat_line": {
            "tolerance": tolerance,
            "suspect_after_s": intervals[0] * interval_s,
            "fail_after_s": intervals[1] * interval_s,
        },
    }
    assert fed(section, [T0 + 1000 * interval_s * k for k in range(len(values))], values) == expected


@settings(deadline=None)
@given(
    series=st.lists(st.tuples(VALUES, STEPS_MS.filter(lambda step: step >= 0)), min_size=1, max_size=40),
    over_s=st.sampled_from([1, 2, 120, 7200]),
    below=st.tuples(st.sampled_from([0.0, 0.5, 1.0, 4.0]), st.sampled_from([0.0, 0.25, 0.5])),
    statistic=st.sampled_from(["std", "range"]),
    needed=st.sampled_from([None, 0, 1, 2, 3]),
)
def test_attenuated_signal(series, over_s, below, statistic, needed):
    times, values, expected = times_of(series), values_of(series), []
    for k, x in enumerate(values):
        window = [values[j] for j in range(k + 1) if times[j] > times[k] - 1000 * over_s]
        there = [y for y in window if not math.isnan(y)]
        if math.isnan(x):
            expected.append(MISSING)
        elif len(there) < (needed or 0) or (statistic == "range" and len(there) < len(window)):
            expected.append(OPEN)
        else:
            spread = float(np.std(there)) if statistic == "std" else max(there) - min(there)
            spread = 0.0 if max(there) == min(there) else spread
            expected.append(FAIL if spread < below[1] else SUSPECT if spread < below[0] else GOOD)
    section = {
        "interval_s": 1,
        "window_max": len(values) + 2,
        "attenuated": {
            "over_s": over_s,
            "suspect_below": below[0],
            "fail_below": below[1],
            "statistic": statistic,
            "min_readings": needed,
        },
    }
    assert fed(section, times, values) == expected


@pytest.mark.parametrize("statistic", ["std", "range"])
@pytest.mark.parametrize(("needed", "flag"), [(None, FAIL), (0, FAIL), (1, FAIL), (2, OPEN)])
def test_one_reading_alone_has_no_spread_and_is_judged_unless_more_are_asked_for(statistic, needed, flag):
    test = {"over_s": 60, "suspect_below": 2, "fail_below": 1, "statistic": statistic, "min_readings": needed}
    assert fed({"attenuated": test}, [T0, T0 + 60_000], [5.0, 5.0]) == [flag, flag]
    assert fed({"attenuated": test}, [T0, T0 + 60_001], [NAN, 5.0]) == [MISSING, flag]


@settings(deadline=None)
@given(
    steps=st.lists(st.none() | STEPS_MS, min_size=1, max_size=40),
    now_after=st.sampled_from([-5000, 0, 1500, 60_000, 7_200_000]),
    fail_after_s=st.sampled_from([0.0, 1.0, 1.5, 3600.0]),
    span=st.none() | st.tuples(st.sampled_from([-1, 0, 999, 62_000]), st.sampled_from([-1, 0, 60_000, 10**10])),
)
def test_reception_and_impossible_dates(steps, now_after, fail_after_s, span):
    times, now = [], T0
    for step in steps:
        now += step or 0
        times.append(NO_TIME if step is None else now)
    now = T0 + now_after
    limits = None if span is None else (T0 + span[0], T0 + span[1])

    def is_possible(time):  # limits in the wrong order let nothing pass
        return time <= now and (limits is None or limits[0] <= time <= limits[1])

    late = [MISSING if t == NO_TIME else FAIL if now - t > 1000 * int(fail_after_s) else GOOD for t in times]
    dates = [MISSING if t == NO_TIME else GOOD if is_possible(t) else FAIL for t in times]
    values = [0.0] * len(times)
    assert fed({"reception": {"fail_after_s": fail_after_s}}, times, values, now=now) == late
    assert fed({"impossible_date": {"fail_span": limits}}, times, values, now=now) == dates


@settings(deadline=None)
@given(
    steps=st.lists(st.none() | STEPS_MS, min_size=1, max_size=40),
    fail_after_s=st.sampled_from([0.0, 1.0, 1.5, 2.0, 3600.0]),
)
def test_time_gap(steps, fail_after_s):
    times, now = [], T0
    for step in steps:
        now += step or 0
        times.append(NO_TIME if step is None else now)
    expected = []
    for k, time in enumerate(times):
        if time == NO_TIME:
            expected.append(MISSING)
        elif k == 0 or times[k - 1] == NO_TIME:
            expected.append(OPEN)
        else:
            expected.append(FAIL if time - times[k - 1] > 1000 * math.floor(fail_after_s) else GOOD)
    if len(times) > 1:  # the first takes the flag of the second, unless that one is missing and it is not
        expected[0] = OPEN if times[1] == NO_TIME != times[0] else expected[1]
    assert fed({"time_gap": {"fail_after_s": fail_after_s}}, times, [0.0] * len(times)) == expected


PARTS = {  # of a calendar, written down once more
    "month": lambda t: t.month,
    "quarter": lambda t: (t.month + 2) // 3,
    "year": lambda t: t.year,
    "dayofyear": lambda t: t.timetuple().tm_yday,
    "dayofweek": lambda t: t.weekday(),
    "week": lambda t: t.isocalendar().week,
    "day": lambda t: t.day,
    "hour": lambda t: t.hour,
    "minute": lambda t: t.minute,
    "second": lambda t: t.second,
    "microsecond": lambda t: t.microsecond,
    "nanosecond": lambda _: 0,
    "days_in_month": lambda t: calendar.monthrange(t.year, t.month)[1],
    None: lambda t: round(t.timestamp() * 1000),
}
DAYS_MS = st.integers(-10, 3 * 365).map(lambda days: float(T0 + days * 86_400_000))
CALENDAR_SPANS = st.tuples(st.integers(0, 60), st.integers(0, 60) | st.sampled_from([11.5, 250_000]))
OPTIONS = {
    "fspan": st.none() | st.tuples(EDGES, EDGES),
    "zspan": st.none() | st.tuples(st.sampled_from([0, 1, 5]), st.sampled_from([0, 5, 10])),
}
MEMBERS = st.lists(
    st.fixed_dictionaries(
        {
            "period": st.sampled_from(sorted(period for period in PARTS if period)),
            "tspan": CALENDAR_SPANS,
            "vspan": st.tuples(EDGES, EDGES),
        },
        optional=OPTIONS,
    )
    | st.fixed_dictionaries(
        {"period": st.none(), "tspan": st.tuples(DAYS_MS, DAYS_MS), "vspan": st.tuples(EDGES, EDGES)},
        optional=OPTIONS,
    ),
    min_size=1,
    max_size=4,
)
QUARTERS = st.integers(0, 4 * 3 * 365 * 86_400).map(lambda quarters: quarters / 4)
SECONDS = QUARTERS | st.integers(0, 3 * 365).map(lambda days: days * 86_400.0)
DEPTHS = st.sampled_from([NAN, -1.0, 0.0, 1.0, 5.0, 7.0, 10.0, 11.0])


@settings(deadline=None)
@given(readings=st.lists(st.tuples(VALUES, st.none() | SECONDS, DEPTHS), min_size=1, max_size=30), members=MEMBERS)
def test_climatology(readings, members):
    times = [NO_TIME if s is None else T0 + int(1000 * s) for _, s, _ in readings]
    values, depths, expected = [x for x, _, _ in readings], [z for _, _, z in readings], []
    for time, x, depth in zip(times, values, depths, strict=True):
        flag = OPEN
        for member in members:
            deep = member.get("zspan")
            if time == NO_TIME or (deep and not min(deep) <= depth <= max(deep)):
                continue  # a missing time lies in no span, a missing depth in no span of depths
            part = PARTS[member["period"]](datetime.fromtimestamp(time / 1000, UTC))
            if min(member["tspan"]) <= part <= max(member["tspan"]):
                usual, possible = sorted(member["vspan"]), sorted(member.get("fspan") or (-math.inf, math.inf))
                flag = GOOD if usual[0] <= x <= usual[1] else SUSPECT
                flag = flag if possible[0] <= x <= possible[1] else FAIL
        expected.append(MISSING if math.isnan(x) else flag)
    assert fed({"climatology": members}, times, values, depths=depths) == expected


def test_a_reading_without_a_time_belongs_to_no_month_and_without_a_depth_to_no_layer():
    every_month = {"period": "month", "tspan": [1, 12], "vspan": [0, 1]}
    assert fed({"climatology": [every_month]}, [T0, NO_TIME], [0.5, 0.5]) == [GOOD, OPEN]
    layer = {**every_month, "zspan": [0, 10]}
    assert fed({"climatology": [layer]}, [T0] * 3, [5.0] * 3, depths=[10.0, NAN, 10.5]) == [SUSPECT, OPEN, OPEN]


COORDINATES = st.integers(-30, 30).map(lambda tenths: tenths / 10)
POINTS = st.tuples(COORDINATES, COORDINATES)


@settings(deadline=None)
@given(
    corners=st.lists(POINTS, min_size=3, max_size=7),
    edge=st.integers(0, 6),
    part=st.sampled_from([0.0, 0.1, 0.25, 1 / 3, 0.5, 1.0]),
    anywhere=st.none() | POINTS,
    flag_area=st.sampled_from(["outside", "inside"]),
)
def test_an_area_is_decided_exactly_beside_its_edges(corners, edge, part, anywhere, flag_area):
    (x1, y1), (x2, y2) = corners[edge % len(corners)], corners[(edge + 1) % len(corners)]
    x, y = anywhere or (x1 + part * (x2 - x1), y1 + part * (y2 - y1))
    is_inside = is_on_border = False
    for (ax, ay), (bx, by) in zip(corners, [*corners[1:], corners[0]], strict=True):
        fx, fy = Fraction(bx) - Fraction(ax), Fraction(by) - Fraction(ay)
        gx, gy = Fraction(x) - Fraction(ax), Fraction(y) - Fraction(ay)
        is_between = min(ax, bx) <= x <= max(ax, bx) and min(ay, by) <= y <= max(ay, by)
        is_on_border |= is_between and fx * gy == fy * gx
        if (ay > y) != (by > y):
            is_inside ^= gx < gy * fx / fy  # the edge crosses the ray to the right
    flag = FAIL if (is_inside and not is_on_border) == (flag_area == "inside") else GOOD
    assert BoundsTest(corners, flag_area=flag_area).step(y, x) == flag


def test_all_meridians_meet_at_the_pole():
    assert vincenty_m(-90, 0, -90, 179.999) == 0
    assert vincenty_m(90, -180, 90, 12) == 0
