"""Windows in time: equal to counting minute by minute, across summer time, never past their end (I21)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.mutes import matches, open_at, spans
from alerts.people.workdays import is_workday
from citypulse.model import Mute
from citypulse.recurrence import instant_ms, local, starts, wrong_rule

ZONES = ["Asia/Shanghai", "America/New_York", "Europe/London", "Australia/Lord_Howe", "Africa/Casablanca"]
DAYS = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"]
RULES = st.one_of(
    st.just("FREQ=DAILY"),
    st.sets(st.sampled_from(DAYS), min_size=1).map(lambda d: "FREQ=WEEKLY;BYDAY=" + ",".join(sorted(d))),
    st.integers(2, 5).map(lambda n: f"FREQ=DAILY;INTERVAL={n}"),
    st.sampled_from(["FREQ=MONTHLY;BYMONTHDAY=1,15,-1", "FREQ=MONTHLY;BYDAY=1MO,-1FR", "FREQ=DAILY;COUNT=3"]),
)
# Around the days on which these zones change their clocks in 2026, and a plain week.
FIRST = st.sampled_from(["2026-03-06", "2026-03-27", "2026-10-23", "2026-10-30", "2026-04-02", "2026-02-13"])


def a_mute(zone: ZoneInfo, first: datetime, days: int, rule: str, minutes: int, kind: str) -> Mute:
    start_ms = instant_ms(first, zone)
    return Mute(
        id="m", kind="window", reason="r", creator="Lea", created_ms=0, starts_ms=start_ms,
        ends_ms=start_ms + days * 86_400_000, sites=("mill",), rrule=rule, timezone=zone.key,
        duration_s=minutes * 60.0, days=kind,
    )  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(ZONES), FIRST, st.integers(0, 24 * 60 - 1), RULES, st.integers(1, 30 * 60),
    st.sampled_from(["", "workday", "holiday"]),
)  # fmt: skip
def test_windows_equal_counting_minute_by_minute(zone_name, day, minute, rule, minutes, kind):
    """The oracle walks a clock on the wall: a stretch opens when it shows its start, closes when it shows its end."""
    zone = ZoneInfo(zone_name)
    first = datetime.fromisoformat(day) + timedelta(minutes=minute)
    mute = a_mute(zone, first, 6, rule, minutes, kind)
    pending = [
        (at, at + timedelta(minutes=minutes))
        for at in starts(rule, local(mute.starts_ms, zone), datetime(2027, 1, 1))
        if not kind or is_workday(at.date()) == (kind == "workday")
    ][:20]
    shown: datetime | None = None
    latest = datetime.min  # what the clock has shown so far: a stretch that was reached is reached for good
    running: list[datetime] = []
    for at_ms in range(mute.starts_ms - 3_600_000, mute.ends_ms + 3_600_000, 60_000):
        shown = local(at_ms, zone)
        latest = max(latest, shown)
        running = [end for end in running if latest < end]
        while pending and pending[0][0] <= latest:
            running += [pending[0][1]] if latest < pending[0][1] else []
            pending.pop(0)
        expected = bool(running) and mute.starts_ms <= at_ms < mute.ends_ms
        assert (open_at(mute, at_ms) is not None) == expected, (shown, datetime.fromtimestamp(at_ms / 1000, UTC))


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(ZONES), FIRST, RULES, st.integers(1, 7 * 24 * 60), st.integers(1, 60), st.integers(0, 60))
def test_no_stretch_leaves_the_mutes_own_time_or_touches_another(zone_name, day, rule, minutes, days, cut_days):
    zone = ZoneInfo(zone_name)
    mute = a_mute(zone, datetime.fromisoformat(day), days, rule, minutes, "")
    cut = mute.starts_ms + cut_days * 86_400_000
    for one in (mute, Mute(**{**{f: getattr(mute, f) for f in mute.__slots__}, "cancelled_ms": cut})):
        end = one.ends_ms if one.cancelled_ms is None else min(one.ends_ms, one.cancelled_ms)
        last = -1
        for start_ms, end_ms in spans(one):
            assert last < start_ms < end_ms <= end
            assert start_ms >= one.starts_ms
            last = end_ms


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("FREQ=HOURLY", "FREQ must be"),
        ("FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", "none of these months"),
        ("FREQ=DAILY;BYHOUR=3", "not taken"),
        ("FREQ=DAILY;UNTIL=20270101T000000Z", "not taken"),
        ("FREQ=DAILY;INTERVAL=7;BYDAY=MO", "INTERVAL"),
        ("FREQ=MONTHLY;BYMONTH=2", "needs BYMONTHDAY"),
        ("FREQ=WEEKLY;BYDAY=2MO", "MONTHLY"),
        ("FREQ=WEEKLY;BYDAY=MO;BYDAY=TU", "twice"),
        ("DAILY", "not taken"),
        ("FREQ=DAILY;COUNT=0", "COUNT"),
    ],
)
def test_a_rule_that_might_never_come_is_refused(rule, words):
    assert words in wrong_rule(rule)


@settings(max_examples=150, deadline=2_000)
@given(
    st.sampled_from(["DAILY", "WEEKLY", "MONTHLY", "YEARLY"]), st.integers(1, 12),
    st.sets(st.sampled_from([*DAYS, "1MO", "-1FR", "4SU"]), max_size=3), st.sets(st.integers(-31, 31), max_size=3),
    st.sets(st.integers(1, 12), max_size=3), st.dates(datetime(2024, 1, 1).date(), datetime(2028, 12, 31).date()),
)  # fmt: skip
def test_whatever_rule_is_taken_is_looked_through_in_no_time(freq, interval, days, month_days, months, first):
    """dateutil searches until the year 9999; within the deadline means that no taken rule makes it do so."""
    rule = f"FREQ={freq};INTERVAL={interval}"
    rule += f";BYDAY={','.join(sorted(days))}" if days else ""
    rule += f";BYMONTHDAY={','.join(map(str, sorted(month_days)))}" if month_days else ""
    rule += f";BYMONTH={','.join(map(str, sorted(months)))}" if months else ""
    if wrong_rule(rule):
        return
    at = datetime.combine(first, datetime.min.time())
    assert all(at <= found < at + timedelta(days=366) for found in starts(rule, at, at + timedelta(days=366)))


def test_a_mute_names_alarms_by_every_matcher_at_once():
    from tests.alerts.cast import RED, YELLOW, World

    world = World()
    world.raises(level=YELLOW)
    alarm = world.alarm()
    base = a_mute(ZoneInfo("Asia/Shanghai"), datetime(2026, 11, 22), 1, "FREQ=DAILY", 60, "")
    for more, expected in (
        ({}, True),
        ({"rules": ("flood-depth",), "areas": ("north",), "domains": ("flood",), "scopes": ("mill.depth",)}, True),
        ({"rules": ("gas",)}, False),
        ({"areas": ("south",)}, False),
        ({"at_most": RED}, True),
        ({"at_most": YELLOW.__class__.P4}, False),
    ):
        mute = Mute(**{**{f: getattr(base, f) for f in base.__slots__}, **more})
        assert matches(mute, alarm) is expected, more
