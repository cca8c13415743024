"""The streaming QARTOD tests against a second, plain writing-down of their definitions over whole series.

Random parameters and series with the corners in them: missing values and times, repeated and disordered times, spans of
no width, values on a bound, thresholds that are nothing or zero.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from citypulse.model import ReadingBatch
from ingest.qc.catalogue import NO_TIME
from ingest.qc.controller import QualityControl
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


def fed(section, times, values):
    """Return the final flags of one sensor fed reading by reading."""
    control = QualityControl([SensorQuality.model_validate(section)], [1.0])
    flags = []
    for time, value in zip(times, values, strict=True):
        graded = control.apply(ReadingBatch.of([0], [time], [value], quality=[0]))
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
@given(series=SERIES, suspect=st.sampled_from([0.0, 0.001, 0.5, 1.0]), fail=st.sampled_from([None, 0.0, 0.001, 2.0]))
def test_rate_of_change(series, suspect, fail):
    times, values, expected = times_of(series), values_of(series), []
    for k, x in enumerate(values):
        if math.isnan(x):
            expected.append(MISSING)
        elif k == 0 or math.isnan(values[k - 1]):
            expected.append(GOOD)
        else:
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
    if len(times) > 1 and times[0] != NO_TIME:  # the first takes the flag of the second, where that one has a time
        expected[0] = expected[1] if times[1] != NO_TIME else OPEN
    flags = fed({"time_gap": {"fail_after_s": fail_after_s}}, times, [0.0] * len(times))
    assert flags[1:] == expected[1:]
    assert flags[0] == expected[0] or times[0] == NO_TIME


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
}
MEMBERS = st.lists(
    st.fixed_dictionaries(
        {
            "period": st.sampled_from(sorted(PARTS)),
            "tspan": st.tuples(st.integers(0, 60), st.integers(0, 60)),
            "vspan": st.tuples(EDGES, EDGES),
        },
        optional={"fspan": st.tuples(EDGES, EDGES)},
    ),
    min_size=1,
    max_size=4,
)


@settings(deadline=None)
@given(readings=st.lists(st.tuples(VALUES, st.integers(0, 3 * 365 * 86_400)), min_size=1, max_size=30), members=MEMBERS)
def test_climatology(readings, members):
    times, values, expected = [T0 + 1000 * s for _, s in readings], [x for x, _ in readings], []
    for time, x in zip(times, values, strict=True):
        moment = datetime.fromtimestamp(time / 1000, UTC)
        flag = OPEN
        for member in members:
            if min(member["tspan"]) <= PARTS[member["period"]](moment) <= max(member["tspan"]):
                usual, possible = sorted(member["vspan"]), sorted(member.get("fspan", (-math.inf, math.inf)))
                flag = GOOD if usual[0] <= x <= usual[1] else SUSPECT
                flag = flag if possible[0] <= x <= possible[1] else FAIL
        expected.append(MISSING if math.isnan(x) else flag)
    assert fed({"climatology": members}, times, values) == expected
