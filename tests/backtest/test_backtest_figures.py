"""The figures of a backtest: incidents, differences, ISA-18.2 load, the budget, and limits to suggest."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from citypulse.model import Limit, Origin, Priority, Side, Text
from rules.backtest import (
    DAY_MS,
    Change,
    Label,
    LabelsError,
    Occurrence,
    Verdict,
    differences,
    hours_in_alarm,
    read_labels,
    score,
    table,
)
from rules.backtest_load import load
from rules.budget import Budget, check
from rules.suggest import Point, candidates, choose, poisson, wilson

MIN = 60_000
WHY = Text(zh="因", en="why")


def alarm(start, end=None, *, rule="depth", scope="mill.depth", level=Priority.P2, **more):
    """One alarm; times in minutes."""
    return Occurrence(
        rule=rule, scope=scope, site=scope.split(".")[0], level=level, start_ms=int(start * MIN),
        end_ms=None if end is None else int(end * MIN), peak=1.0, because=WHY, origin="x.yaml:1", **more,
    )  # fmt: skip


def label(start, end, place="mill.depth", line=2):
    return Label(place=place, start_ms=start * MIN, end_ms=end * MIN, name="flood", line=line)


def judged(alarms, *labels, early=30):
    return score(alarms, labels, early_ms=early * MIN, until_ms=10_000 * MIN)


def test_an_incident_is_caught_by_the_first_alarm_of_its_sensor_or_its_site() -> None:
    found = judged([alarm(12, 20), alarm(8, 11)], label(10, 60), label(10, 60, place="mill"))
    assert [f.verdict for f in found.findings] == [Verdict.CAUGHT, Verdict.CAUGHT]
    assert [f.lead_ms for f in found.findings] == [2 * MIN, 2 * MIN]
    assert found.unlabelled == ()
    assert found.median_lead_ms == 2 * MIN


def test_an_alarm_that_stood_for_hours_is_not_a_catch() -> None:
    found = judged([alarm(0, 5000)], label(300, 400))
    assert found.findings[0].verdict is Verdict.STANDING
    assert found.count(Verdict.CAUGHT) == 0


def test_a_watchdog_catches_no_incident_and_neither_does_another_site() -> None:
    found = judged([alarm(12, is_diagnostic=True), alarm(12, scope="harbour.depth")], label(10, 60))
    assert found.findings[0].verdict is Verdict.MISSED
    assert found.unlabelled == ()  # nobody labelled the harbour


def test_alarms_that_no_label_explains_are_counted_where_somebody_looked() -> None:
    assert [o.start_ms for o in judged([alarm(12, 20), alarm(500, 510)], label(10, 60)).unlabelled] == [500 * MIN]


def test_labels_are_read_and_every_wrong_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("sensor_or_site,start,end,name\nmill,10,20,the flood\nmill.depth,30,40\n", encoding="utf-8")
    assert [(f.place, f.name) for f in read_labels(path, int, ["mill", "mill.depth"])] == [
        ("mill", "the flood"),
        ("mill.depth", "mill.depth"),
    ]
    path.write_text("mill,10,20\nmil,10,20\nmill,20,10\nmill,x,20\nmill\n", encoding="utf-8")
    with pytest.raises(LabelsError) as error:
        read_labels(path, int, ["mill"])
    assert [line.split(":")[1] for line in str(error.value).splitlines()] == ["2", "3", "4", "5"]


def changes(old, new):
    return [(d.change, d.shift_ms // MIN) for d in differences(old, new, until_ms=10_000 * MIN)]


def test_alarms_are_gained_lost_earlier_later_or_the_same() -> None:
    old = [alarm(10, 20), alarm(100, 120), alarm(200, 220), alarm(300, 310)]
    new = [alarm(10, 25), alarm(90, 115), alarm(205, 210), alarm(400, 410)]
    assert changes(old, new) == [
        (Change.SAME, 0),
        (Change.EARLIER, -10),
        (Change.LATER, 5),
        (Change.LOST, 0),
        (Change.GAINED, 0),
    ]


def test_an_alarm_that_begins_alike_but_is_worse_changed_its_level() -> None:
    assert changes([alarm(10, 20)], [alarm(10, 20, level=Priority.P1)]) == [(Change.LEVEL, 0)]


def test_two_old_alarms_in_one_new_one_are_one_pair_and_one_lost() -> None:
    assert sorted(c.value for c, _ in changes([alarm(10, 20), alarm(30, 40)], [alarm(10, 40)])) == ["lost", "same"]


spans = st.lists(st.tuples(st.integers(1, 50), st.integers(0, 50)), max_size=12)


def runs(gaps):
    at, found = 0, []
    for gap, length in gaps:
        at += gap
        found.append(alarm(at, at + length))
        at += length + 1
    return found


@given(spans, spans)
def test_every_alarm_is_in_exactly_one_difference(before, after) -> None:
    old, new = runs(before), runs(after)
    found = differences(old, new, until_ms=10_000 * MIN)
    assert sorted(d.old.start_ms for d in found if d.old) == [o.start_ms for o in old]
    assert sorted(d.new.start_ms for d in found if d.new) == [o.start_ms for o in new]
    assert {d.change for d in differences(old, old, until_ms=10_000 * MIN)} <= {Change.SAME}


def test_the_load_is_counted_by_isa_18_2() -> None:
    flood = [alarm(k / 2, k / 2 + 0.1, scope=f"s{k}.depth") for k in range(12)]  # 12 in the first ten minutes
    chatter = [alarm(100 + k / 10, 100 + k / 10 + 0.01) for k in range(4)]
    hidden = [alarm(5, 6, scope="h.depth", is_hidden=True)]
    standing = [alarm(60, 60 + 25 * 60, scope="t.depth", level=Priority.P1)]
    found = load([*flood, *chatter, *hidden, *standing], since_ms=0, until_ms=2 * DAY_MS)
    assert (found.alarms, found.hidden, found.standing) == (17, 1, 1)
    assert (found.peak_per_period, found.peak_start_ms) == (12, 0)
    assert found.flood_share == pytest.approx(1 / 288)
    assert found.chattering == (("depth", "mill.depth", 2),)
    assert found.per_day == 8.5
    assert found.mean_per_period == pytest.approx(17 / 288)
    assert found.by_day == (17, 0)
    assert dict(found.by_level)[Priority.P1] == 1
    assert load(flood, since_ms=0, until_ms=DAY_MS, officers=2).flood_share == 0


def test_a_flood_goes_on_until_fewer_than_five() -> None:
    per_period = [11, 6, 5, 4, 6, 0, 11]
    alarms = [alarm(10 * p + k / 100, scope=f"s{p}-{k}.depth") for p, n in enumerate(per_period) for k in range(n)]
    assert load(alarms, since_ms=0, until_ms=70 * MIN).flood_share == pytest.approx(4 / 7)


def test_a_city_without_alarms_has_no_load() -> None:
    found = load([], since_ms=0, until_ms=DAY_MS)
    assert (found.alarms, found.per_day, found.flood_share, found.top_share) == (0, 0, 0, 0)


def test_what_exceeds_the_budget_is_named_and_equality_is_within() -> None:
    alarms = [alarm(k * 60, k * 60 + 1) for k in range(24)]
    found = load(alarms, since_ms=0, until_ms=DAY_MS)
    assert check(Budget(per_day=24, standing=0), found, None) == ()
    over = check(Budget(per_day=23.9, per_10min=1), found, None)
    assert [o.name for o in over] == ["per_day"]
    assert str(over[0]) == "每日告警 alarms a day: 24 > 23.9"
    assert [o.name for o in check(Budget(missed=0), found, judged([], label(1, 2)))] == ["missed"]


def test_hours_and_rows_add_up() -> None:
    alarms = [alarm(0, 60), alarm(100, None), alarm(0, 30, scope="harbour.depth")]
    assert hours_in_alarm(alarms, until_ms=160 * MIN) == 2.5
    rows = table(alarms, judged(alarms[:2], label(0, 10)), until_ms=160 * MIN)
    assert [(r.scope, r.alarms, r.hours, r.caught, r.unlabelled) for r in rows] == [
        ("mill.depth", 2, 2.0, 1, 1),
        ("harbour.depth", 1, 0.5, 0, 0),
    ]


# ── suggestions ─────────────────────────────────────────────────────────────────────────────────


def test_wilsons_interval_agrees_with_published_values() -> None:
    """Newcombe 1998, table I, method 3: 81/263, 15/148, 0/20, 1/29."""
    for k, n, low, high in [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718)]:  # fmt: skip  # noqa: E501
        assert wilson(k, n) == pytest.approx((low, high), abs=5e-5)
    assert wilson(0, 0) == (0, 1)


def test_poissons_interval_is_near_the_exact_one() -> None:
    """Exact (Garwood 1936) for 0, 1, 10, 100: 0-3.69, 0.0253-5.572, 4.795-18.39, 81.36-121.6."""
    for count, low, high in [(0, 0, 3.69), (1, 0.0253, 5.572), (10, 4.795, 18.39), (100, 81.36, 121.6)]:
        got = poisson(count)
        assert got[0] == pytest.approx(low, abs=0.03)
        assert got[1] == pytest.approx(high, rel=0.02)


@given(st.integers(0, 500), st.integers(1, 500))
def test_wilsons_interval_holds_the_share(k, extra) -> None:
    n = k + extra
    low, high = wilson(k, n)
    assert 0 <= low <= k / n <= high <= 1


def limit(value, side=Side.AT_LEAST):
    return Limit(level=Priority.P3, side=side, value=value, origin=Origin(file="x", line=1))


def test_candidates_begin_mild_hold_the_present_limit_and_lie_on_the_limits_side() -> None:
    values = np.random.default_rng(3).normal(10, 2, 50_000)
    rising = candidates(values, limit(12.5))
    assert list(rising) == sorted(set(rising))
    assert 12.5 in rising
    assert rising[0] >= 9.9
    falling = candidates(values, limit(7, Side.BELOW))
    assert list(falling) == sorted(set(falling), reverse=True)
    assert falling[0] <= 10.1
    assert candidates(np.empty(0), limit(12.5)) == (12.5,)


def point(value, alarms, caught=0, incidents=0):
    return Point(
        value=value, alarms=alarms, per_day=float(alarms), per_day_low=0, per_day_high=math.inf, caught=caught,
        incidents=incidents, caught_low=0, caught_high=1, unlabelled=0, hours_per_day=0, is_current=False,
    )  # fmt: skip


def test_the_choice_catches_most_with_fewest_alarms_within_what_is_allowed() -> None:
    curve = [point(1, 90, 6, 6), point(2, 20, 6, 6), point(3, 8, 5, 6), point(4, 1, 0, 6)]
    assert choose(curve, per_day_max=None) == 1
    assert choose(curve, per_day_max=10) == 2
    assert choose(curve, per_day_max=2) is None
    bare = [point(1, 90), point(2, 20), point(3, 8)]
    assert choose(bare, per_day_max=None) is None
    assert choose(bare, per_day_max=25) == 1


def test_a_limit_that_always_stands_is_not_suggested_because_it_rarely_calls() -> None:
    assert choose([point(0, 1), point(1, 90), point(2, 20)], per_day_max=25) == 2
