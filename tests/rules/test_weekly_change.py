"""The change of a weekly mean: less what the river did anyway, and only from weeks that are known well enough."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from citypulse.domains import QUANTITIES
from rules.engine import Engine
from tests.rules.world import S, World, limit, rule, sensor

DAY = 86_400
HERE, ABOVE = "mill-river.temp", "upper-river.temp"


def world(**settings):
    """The mill below the upper river, a reading an hour."""
    made = World(
        [sensor(HERE, cadence_s=3600), sensor(ABOVE, cadence_s=3600)],
        [rule("it", "weekly_change", [HERE], limit("yellow", "above", 1), limit("yellow", "below", -2),
              settings=settings)],
        silent_after_s=30 * DAY,
    )  # fmt: skip
    made.sites["mill-river"] = replace(made.sites["mill-river"], upstream=("upper-river",))
    made.engine = Engine(made.rules, made.table, made.sites, made.gateways, quantities=QUANTITIES)
    return made


def hours(days, value_here, value_above=None, *, every=1):
    found = []
    for hour in range(0, round(days * 24), every):
        day = hour / 24
        if value_above is not None and (above := value_above(day)) is not None:
            found.append((hour * 3600, ABOVE, above))
        found.append((hour * 3600, HERE, value_here(day)))
    return found


def last(w, readings):
    w.engine.step(w.batch(readings), round(readings[-1][0] * S))
    return w.engine.why("it", HERE).last_x


def test_it_is_the_difference_of_two_means_of_seven_days():
    w = world()
    got = last(w, hours(14.5, lambda d: 10.0 if d < 7 else 13.0, lambda d: 10.0 if d < 7 else 11.0))
    assert got == pytest.approx(2.0)


def test_what_the_water_upstream_does_as_well_is_nobodys_doing():
    w = world()
    assert last(w, hours(20, lambda d: 10 + d, lambda d: 4 + d)) == pytest.approx(0.0, abs=1e-9)
    assert not w.engine.active()


def test_with_the_river_upstream_unknown_nothing_is_said():
    w = world()
    w.run(hours(20, lambda d: 10 + d, lambda d: 4 + d if d < 6 else None))
    assert not w.engine.active()


def test_a_day_of_half_its_readings_does_not_count():
    w = world()
    w.run(hours(20, lambda d: 10 + d, lambda d: 4.0, every=2))
    assert not w.engine.active()


def test_a_day_ends_at_the_citys_own_midnight():
    # Shanghai's days end at 16:00 UTC: what is said of two weeks changes there, and not at midnight UTC.
    w = world()
    w.engine = Engine(w.rules, w.table, w.sites, w.gateways, quantities=QUANTITIES, timezone="Asia/Shanghai")
    readings = hours(16, lambda d: 10.0 + d, lambda d: 4.0)
    heard = []
    for reading in readings:
        w.engine.step(w.batch([reading]), round(reading[0] * S))
        if reading[1] == HERE and reading[0] > 13 * DAY:
            heard.append((reading[0] // 3600 % 24, w.engine.why("it", HERE).last_x))
    turns = {hour for (_, before), (hour, after) in pairwise(heard) if before != after}
    assert turns == {16}
    # Each of the two weeks is whole local days: the step of a rise of one degree a day is exactly seven.
    assert heard[-1][1] == pytest.approx(7.0)
