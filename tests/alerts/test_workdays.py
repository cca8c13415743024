"""Working time against a count by the minute, and the days of the State Council's notice."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.people.workdays import SHIFTS, WORKDAY_S, WORKED_WEEKENDS, WorkCalendar, is_known, is_workday

HANGZHOU = WorkCalendar(ZoneInfo("Asia/Shanghai"))


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


@pytest.mark.parametrize(
    ("day", "works"),
    [
        ("2026-11-23", True), ("2026-11-22", False), ("2026-01-01", False), ("2026-01-04", True),
        ("2026-02-14", True), ("2026-02-15", False), ("2026-02-23", False), ("2026-02-28", True),
        ("2026-09-20", True), ("2026-10-07", False), ("2026-10-08", True), ("2026-10-10", True),
    ],
)  # fmt: skip
def test_holidays_and_the_weekends_worked_for_them(day, works):
    assert is_workday(date.fromisoformat(day)) is works


def test_every_worked_weekend_is_a_weekend_and_a_working_day_has_eight_hours():
    assert all(day.weekday() >= 5 for day in WORKED_WEEKENDS)
    assert (
        sum((datetime.combine(date.min, b) - datetime.combine(date.min, a)).total_seconds() for a, b in SHIFTS)
        == WORKDAY_S
    )
    assert is_known(2026)
    assert not is_known(2027)


def test_a_working_day_from_sunday_ends_on_monday_evening():
    assert HANGZHOU.after_ms(ms("2026-11-22T10:00+08:00"), WORKDAY_S) == ms("2026-11-23T18:00+08:00")


def test_four_working_hours_over_lunch():
    assert HANGZHOU.after_ms(ms("2026-11-23T11:00+08:00"), 4 * 3600) == ms("2026-11-23T16:30+08:00")


def test_five_working_days_across_the_national_holiday():
    assert HANGZHOU.after_ms(ms("2026-09-30T18:00+08:00"), 5 * WORKDAY_S) == ms("2026-10-13T18:00+08:00")


STARTS = st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 1)).map(lambda d: d.replace(second=0, microsecond=0))


@settings(max_examples=40, deadline=None)
@given(STARTS, st.integers(0, 4 * 24 * 60), st.sampled_from(["Asia/Shanghai", "Europe/Berlin", "UTC"]))
def test_it_equals_a_count_by_the_minute_also_where_clocks_change(start, minutes, name):
    zone = ZoneInfo(name)
    begin = start.replace(tzinfo=UTC)
    counted = 0
    for minute in range(minutes):
        at = (begin + timedelta(minutes=minute)).astimezone(zone)
        counted += is_workday(at.date()) and any(a <= at.time() < b for a, b in SHIFTS)
    from_ms = round(begin.timestamp() * 1000)
    assert WorkCalendar(zone).worked_s(from_ms, from_ms + minutes * 60_000) == counted * 60


@settings(max_examples=200, deadline=None)
@given(STARTS, st.floats(0, 100 * 3600))
def test_after_is_the_inverse_of_worked(start, work_s):
    from_ms = round(start.replace(tzinfo=UTC).timestamp() * 1000)
    until_ms = HANGZHOU.after_ms(from_ms, work_s)
    assert HANGZHOU.worked_s(from_ms, until_ms) == pytest.approx(work_s, abs=0.001)
    if work_s > 1:
        assert HANGZHOU.worked_s(from_ms, until_ms - 1) < work_s + 0.001


@given(st.integers(0, 10**9))
def test_backwards_is_nothing(span):
    assert HANGZHOU.worked_s(ms("2026-11-23T10:00+08:00"), ms("2026-11-23T10:00+08:00") - span) == 0
