"""Who is on duty, against the plainest reading of a rota: minute by minute, with a clock on the wall."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alerts.people.rota import RotaTable, instant_ms, stood_in
from alerts.people.workdays import is_workday
from citypulse.model import Origin, Rota, Shift, StandIn

HERE = Origin(file="city.yaml", line=7)
MINUTE_MS = 60_000
STEP_MIN = 5  # every time below is a multiple of it
WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def ms(text: str, zone: str = "UTC") -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


def shift(name: str = "day", starts_h: float = 8, ends_h: float = 20, **more) -> Shift:
    given_ = {"groups": (("ada",), ("bo",)), "turn_days": 1, "days": ()}
    return Shift(id=name, starts_s=round(starts_h * 3600), ends_s=round(ends_h * 3600), origin=HERE, **(given_ | more))


def rota(*shifts: Shift, zone: str = "Asia/Shanghai", first: str = "2026-01-01", **more) -> RotaTable:
    return RotaTable(
        Rota(team="desk", timezone=zone, first_day=first, shifts=shifts or (shift(),), origin=HERE, **more)
    )


def enumerated(table: RotaTable, from_ms: int, minutes: int) -> list[tuple[str, ...]]:
    """Watch the clock on the wall for some minutes: a shift begins and ends when its time is first seen there."""
    zone, first = ZoneInfo(table.rota.timezone), date.fromisoformat(table.rota.first_day)
    start = datetime.fromtimestamp(from_ms / 1000, UTC)
    latest, found = datetime.min, []
    for minute in range(-1440, minutes, STEP_MIN):
        now = start + timedelta(minutes=minute)
        latest = max(latest, now.astimezone(zone).replace(tzinfo=None))
        if minute < 0:
            continue
        on: dict[str, None] = {}
        for back in (3, 2, 1, 0):
            day = latest.date() - timedelta(days=back)
            midnight = datetime.combine(day, datetime.min.time())
            for s in table.rota.shifts:
                kind = "workday" if is_workday(day) else "holiday"
                is_its_day = not s.days or kind in s.days or WEEK[day.weekday()] in s.days
                begins, ends = midnight + timedelta(seconds=s.starts_s), midnight + timedelta(seconds=s.ends_s)
                if day >= first and is_its_day and begins <= latest < ends:
                    turn = (day - first).days // s.turn_days
                    on |= dict.fromkeys(s.groups[turn % len(s.groups)])
        at_ms = round(now.timestamp() * 1000)
        people = list(on)
        for one in table.rota.stand_ins:
            if one.starts_ms <= at_ms < one.ends_ms:
                people = [one.person if p == one.instead_of else p for p in people]
                people += [one.person] if not one.instead_of else []
        found.append(tuple(dict.fromkeys(p for p in people if p)))
    return found


# Zones and days whose clocks leap by an hour, by half an hour, at midnight, or not at all.
LEAPS = (
    ("Europe/Berlin", "2026-03-29"),
    ("Europe/Berlin", "2026-10-25"),
    ("America/New_York", "2026-11-01"),
    ("Australia/Lord_Howe", "2026-04-05"),
    ("Australia/Lord_Howe", "2026-10-04"),
    ("America/Santiago", "2026-09-06"),  # midnight itself is left out
    ("Asia/Shanghai", "2026-02-14"),  # a Saturday that is worked
    ("Asia/Shanghai", "2026-09-20"),
    ("Asia/Shanghai", "2026-12-31"),
)
QUARTER = 900


@st.composite
def shifts(draw) -> Shift:
    starts = draw(st.integers(0, 95)) * QUARTER
    length = draw(st.integers(1, 96)) * QUARTER
    groups = draw(
        st.lists(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=2).map(tuple), min_size=1, max_size=4)
    )
    days = draw(st.lists(st.sampled_from((*WEEK, "workday", "holiday")), max_size=3, unique=True))
    name = draw(st.sampled_from(("early", "late", "night")))
    return Shift(id=name, starts_s=starts, ends_s=starts + length, groups=tuple(groups), days=tuple(days),
                 turn_days=draw(st.integers(1, 8)), origin=HERE)  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(
    leap=st.sampled_from(LEAPS),
    made=st.lists(shifts(), min_size=1, max_size=3),
    stand_in=st.tuples(st.integers(-120, 400).map(lambda k: 5 * k), st.integers(1, 180).map(lambda k: 5 * k),
                       st.sampled_from(("", "a", "b")), st.sampled_from(("", "c", "z"))),
)  # fmt: skip
@example(leap=LEAPS[5], made=[shift(starts_h=0, ends_h=24)], stand_in=(0, 5, "", "z"))
@example(leap=LEAPS[0], made=[shift(starts_h=2.5, ends_h=26.5)], stand_in=(0, 5, "", "z"))
def test_the_people_on_duty_are_those_a_watcher_of_the_clock_would_name(leap, made, stand_in):
    zone, day = leap
    from_ms = ms(f"{day}T00:00", zone) - 3 * 3_600_000
    offset, length, absent, person = stand_in
    one = StandIn(
        id="s", team="desk", instead_of=absent, person=person, starts_ms=from_ms + offset * MINUTE_MS,
        ends_ms=from_ms + (offset + length) * MINUTE_MS,
    )  # fmt: skip
    table = rota(*made, zone=zone, first="2026-01-05", stand_ins=(one,))
    minutes = 33 * 60
    expected = enumerated(table, from_ms, minutes)
    for number, people in enumerate(expected):
        at_ms = from_ms + number * STEP_MIN * MINUTE_MS
        assert set(table.on_duty(at_ms)) == set(people), f"{zone} {at_ms}"


@settings(max_examples=40, deadline=None)
@given(leap=st.sampled_from(LEAPS), made=st.lists(shifts(), min_size=1, max_size=3))
def test_nobody_comes_or_goes_between_two_edges(leap, made):
    zone, day = leap
    table = rota(*made, zone=zone, first="2026-01-05")
    from_ms = ms(f"{day}T00:00", zone) - 86_400_000
    until_ms = from_ms + 3 * 86_400_000
    cuts = [from_ms, *table.edges(from_ms, until_ms), until_ms]
    for start, end in pairwise(cuts):
        inside = {table.on_duty(at) for at in (start, (start + end) // 2, end - 1)}
        assert len(inside) == 1


def test_a_night_in_which_the_clocks_change_is_an_hour_longer_or_shorter():
    table = rota(shift("night", 22, 30), zone="Europe/Berlin")
    (autumn,) = table.watches(ms("2026-10-24T22:00"), ms("2026-10-24T23:00"))
    (spring,) = table.watches(ms("2026-03-28T22:00"), ms("2026-03-28T23:00"))
    assert (autumn.ends_ms - autumn.starts_ms) / 3_600_000 == 9
    assert (spring.ends_ms - spring.starts_ms) / 3_600_000 == 7


def test_a_time_that_is_left_out_is_the_instant_of_the_leap():
    zone = ZoneInfo("Europe/Berlin")
    leap = ms("2026-03-29T01:00")
    assert instant_ms(date(2026, 3, 29), 2 * 3600 + 1800, zone) == leap
    assert instant_ms(date(2026, 3, 29), 2 * 3600, zone) == leap
    assert instant_ms(date(2026, 10, 25), 2 * 3600 + 1800, zone) == ms("2026-10-25T00:30")  # the first of the two


def test_four_groups_take_day_and_night_in_turn():
    groups = (("a",), ("b",), ("c",), ("d",))
    table = rota(
        shift("day", 8, 20, groups=groups),
        shift("night", 20, 32, groups=(groups[3], *groups[:3])),
        first="2026-11-02",
    )
    seen = [table.on_duty(ms(f"2026-11-{day:02d}T{hour}:30", "Asia/Shanghai")) for day in (2, 3) for hour in (12, 22)]
    assert seen == [("a",), ("d",), ("b",), ("a",)]
    assert table.on_duty(ms("2026-11-01T12:00", "Asia/Shanghai")) == ()


def test_a_weekend_that_is_worked_has_the_shifts_of_a_workday():
    table = rota(shift("office", 8.5, 18, days=("workday",), groups=(("ada",),)),
                 shift("idle", 0, 24, days=("holiday",), groups=(("bo",),)))  # fmt: skip
    assert table.on_duty(ms("2026-02-14T10:00", "Asia/Shanghai")) == ("ada",)  # 调休
    assert table.on_duty(ms("2026-10-01T10:00", "Asia/Shanghai")) == ("bo",)  # a Thursday, National Day


@pytest.mark.parametrize(
    ("order", "expected"), [((("a", "b"), ("b", "c")), ("c",)), ((("b", "c"), ("a", "b")), ("b",))]
)
def test_a_later_stand_in_acts_on_what_the_earlier_ones_left(order, expected):
    made = [
        StandIn(id=str(k), team="desk", instead_of=a, person=b, starts_ms=0, ends_ms=10)
        for k, (a, b) in enumerate(order)
    ]
    assert stood_in(("a",), made, 5) == expected
    assert stood_in(("a",), made, 10) == ("a",)
