"""Storm mode at the desk: when it begins and ends, what may wait, what never does, and what a restart keeps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from citypulse.ledger import Ledger, Tick
from citypulse.model import NoticeKind, Priority, StormPlan
from tests.alerts.cast import BLUE, ORANGE, RED, YELLOW, World
from tests.alerts.storm_cast import cleared, raised, storm_city

NAN = float("nan")
OFFICERS = 4
STARTS = 10 * OFFICERS


def flood(**plan: Any) -> World:
    return World(storm_city(160, gateways=4, storm=StormPlan(**plan))[0])


def keys_of(world: World, desk: str, *, domain: str = "") -> list[tuple[str, str]]:
    """Rules and scopes of which a desk hears, in a fixed order."""
    areas = {"desk-a": ("west", "east"), "desk-b": ("north", "south")}[desk]
    area = {s.id: s.area for s in world.config.sensors}
    return [
        (r.id, scope)
        for r in world.config.rules
        if r.limits and (r.domain == domain or (not domain and r.domain != "gas"))
        for scope in r.scopes
        if area[scope] in areas
    ]


def pour(world: World, keys: list[tuple[str, str]], level: Priority = BLUE) -> None:
    for name, scope in keys:
        world.tick(raised(name, scope, level, world.now_ms))


def kinds(world: World) -> list[str]:
    return [e.kind for e in world.ledger.events if e.subject_kind == "storm"]


def test_a_storm_begins_with_the_alarm_that_is_one_too_many_for_the_desk():
    world = flood()
    keys = keys_of(world, "desk-a")
    pour(world, keys[:STARTS])
    assert kinds(world) == []
    assert not any(n.may_wait for n in world.ledger.notices)
    pour(world, keys[STARTS : STARTS + 1])
    event = next(e for e in world.ledger.events if e.subject_kind == "storm")
    assert (event.subject, event.kind, event.to_state, event.rev) == ("storm:desk-a", "storm_started", "storm", 1)
    assert (event.data["new_alarms"], event.data["limit"]) == (STARTS + 1, STARTS)
    assert world.ledger.notices[-1].may_wait, "the one too many waits already"
    assert not world.ledger.storms["desk-b"].is_on if "desk-b" in world.ledger.storms else True


def test_the_desk_is_told_once_that_storm_mode_begins_and_once_that_it_ends():
    world = flood()
    keys = keys_of(world, "desk-a")
    pour(world, keys[: STARTS + 20])
    told = [n for n in world.ledger.notices if n.subject_kind == "storm"]
    assert [(n.kind, n.target, n.channel, n.may_wait) for n in told] == [
        (NoticeKind.RAISED, "desk-a", "robot-a", False)
    ], "not by the phone, which takes red only"
    assert "风暴" in told[0].title
    assert "storm" in told[0].title
    world.wait(601)
    told = [n for n in world.ledger.notices if n.subject_kind == "storm"]
    assert [n.kind for n in told] == [NoticeKind.RAISED, NoticeKind.CLEARED]
    assert kinds(world) == ["storm_started", "storm_ended"]


def test_red_and_gas_never_wait():
    world = flood()
    pour(world, keys_of(world, "desk-a")[: STARTS + 1])
    world.tick(raised("gas-3", keys_of(world, "desk-a", domain="gas")[0][1], YELLOW, world.now_ms))
    gas = world.ledger.notices[-1]
    pour(world, keys_of(world, "desk-a")[-1:], RED)
    red = world.ledger.notices[-1]
    pour(world, keys_of(world, "desk-a")[-2:-1], ORANGE)
    orange = world.ledger.notices[-1]
    assert (gas.may_wait, red.may_wait, orange.may_wait) == (False, False, True)
    assert orange.group
    assert red.level is RED


def test_another_desk_keeps_its_single_notices():
    world = flood()
    pour(world, keys_of(world, "desk-a")[: STARTS + 1])
    pour(world, keys_of(world, "desk-b")[:1])
    assert world.ledger.notices[-1].target == "desk-b"
    assert not world.ledger.notices[-1].may_wait


def test_a_storm_ends_only_under_the_lower_limit():
    world = flood()
    keys = keys_of(world, "desk-a")
    pour(world, keys[: STARTS // 2 + 5])
    world.wait(300)
    pour(world, keys[STARTS // 2 + 5 : STARTS + 6])
    assert world.ledger.storms["desk-a"].is_on
    world.wait(301)  # the first half is out of the window: between the limits
    assert kinds(world) == ["storm_started"]
    pour(world, keys[STARTS + 6 : STARTS + 10])
    assert world.ledger.notices[-1].may_wait
    world.wait(301)
    assert kinds(world) == ["storm_started", "storm_ended"]
    assert "storm over" in world.ledger.events[-1].because
    pour(world, keys[STARTS + 10 : STARTS + 11])
    assert not world.ledger.notices[-1].may_wait


def test_a_lost_gateway_begins_a_storm_and_holds_it_until_it_is_back():
    world = flood(starts_on=("gateway-silent",))
    silent = raised("gateway-silent", "gw-00", YELLOW, world.now_ms, NAN)
    world.tick(silent)
    desk = next(iter(world.ledger.storms))
    assert world.ledger.storms[desk].is_on
    assert world.ledger.storms[desk].causes == ("gateway-silent|gw-00",)
    world.wait(3_600)
    assert kinds(world) == ["storm_started"]
    world.tick(cleared(silent, world.now_ms))
    assert kinds(world) == ["storm_started", "storm_ended"]


def test_the_officers_at_work_may_be_declared():
    world = flood(officers=(("desk-a", 1),))
    pour(world, keys_of(world, "desk-a")[:11])
    assert kinds(world) == ["storm_started"]


def test_ends_of_what_was_told_may_wait_too_and_are_never_lost():
    world = flood()
    keys = keys_of(world, "desk-a")
    pour(world, keys[: STARTS + 1])
    name, scope = keys[0]
    first = raised(name, scope, BLUE, world.now_ms)
    world.tick(cleared(first, world.now_ms))
    end = world.ledger.notices[-1]
    assert (end.kind, end.may_wait) == (NoticeKind.CLEARED, True)


def test_crews_get_yellow_orders_collected_and_orange_ones_at_once():
    world = flood()
    pour(world, keys_of(world, "desk-a")[: STARTS + 1])
    fresh = [k for k in keys_of(world, "desk-a", domain="road") if k[0] == "road-0"]
    pour(world, fresh[-1:], YELLOW)
    pour(world, fresh[-2:-1], ORANGE)
    crew = [n for n in world.ledger.notices if n.subject_kind == "order" and n.target.startswith("crew-road")]
    by_level = {n.level: n.may_wait for n in crew}
    assert by_level[YELLOW] is True
    assert by_level[ORANGE] is False


def test_the_real_ledger_gives_storms_back(tmp_path):
    world = flood()
    pour(world, keys_of(world, "desk-a")[: STARTS + 3])
    ledger = Ledger.open(tmp_path)
    effects = world.wait(1)
    effects.storms |= world.ledger.storms
    ledger.commit(Tick(number=1, now_ms=world.now_ms, effects=effects))
    assert {s.desk: s for s in ledger.load_open().storms} == world.ledger.storms
    assert ledger.storms() == list(ledger.load_open().storms)
    ledger.close()


STEP = st.one_of(
    st.tuples(st.just("raise"), st.integers(0, 40), st.integers(1, 9), st.sampled_from(list(Priority))),
    st.tuples(st.just("clear"), st.integers(0, 40)),
    st.tuples(st.just("silent"), st.booleans()),
    st.tuples(st.just("wait"), st.sampled_from([1, 120, 400, 700])),
    st.tuples(st.just("restart")),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEP, max_size=20))
def test_a_restart_stands_in_the_same_storm_and_what_must_not_wait_never_does(history):
    config = replace(
        storm_city(40, gateways=2)[0],
        storm=StormPlan(starts_above=2, ends_below=1, officers=(("desk-a", 1), ("desk-b", 2)),
                        starts_on=("gateway-silent",)),
    )  # fmt: skip
    calm, shaken = World(config), World(config)
    keys = [(r.id, scope) for r in config.rules if r.limits for scope in r.scopes][::5]
    for step in history:
        for world in (calm, shaken):
            match step:
                case "raise", first, count, level:
                    pour(world, [keys[(first + k) % len(keys)] for k in range(count)], level)
                case "clear", first:
                    name, scope = keys[first % len(keys)]
                    world.tick(cleared(raised(name, scope, BLUE, world.now_ms), world.now_ms))
                case "silent", is_silent:
                    change = raised("gateway-silent", "gw-01", ORANGE, world.now_ms, NAN)
                    world.tick(change if is_silent else cleared(change, world.now_ms))
                case "wait", seconds:
                    world.wait(seconds)
                case ("restart",) if world is shaken:
                    world.restart()
    for part in ("alarms", "orders", "events", "notices", "storms"):
        assert getattr(shaken.ledger, part) == getattr(calm.ledger, part), part
    domain = {a.id: a.domain for a in calm.ledger.alarms.values()} | {
        o.id: o.domain for o in calm.ledger.orders.values()
    }
    for notice in calm.ledger.notices:
        if notice.may_wait:
            assert notice.level is not Priority.P1
            assert domain[notice.subject] != "gas"
            assert notice.group
    turns = [e.kind for e in calm.ledger.events if e.subject == "storm:desk-a"]
    assert turns == (["storm_started", "storm_ended"] * 20)[: len(turns)]
