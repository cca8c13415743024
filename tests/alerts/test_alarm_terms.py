"""The `alarms:` section at the desk: what is said holds, red and gas have ceilings, and nothing said is as before."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.lifecycle import OFFICERS
from citypulse.model import (
    AlarmPlan,
    AlarmTerms,
    Condition,
    Flap,
    Origin,
    Priority,
    TermLayer,
    TermSaid,
)
from citypulse.model.terms import BUILT_IN, REALARM_RED_S_MAX, SHELF_ROLES, built_in
from tests.alerts.cast import DUTY, LEAD, ORANGE, RED, YELLOW, World, city

HERE = Origin(file="sensors.yaml", line=9)
HOUR = 3_600_000


def layer(rule: str = "", domain: str = "", level: Priority | None = None, **said: Any) -> TermLayer:
    return TermLayer(rule=rule, domain=domain, level=level,
                     said={k: TermSaid(value=v, origin=HERE) for k, v in said.items()})  # fmt: skip


def a_world(*layers: TermLayer) -> World:
    return World(city(alarms=AlarmPlan(layers=layers)))


def test_nothing_said_is_what_was_built_in_before() -> None:
    plan = AlarmPlan()
    hours = {RED: 2, ORANGE: 8, YELLOW: 24, Priority.P4: 24}
    silences = {RED: 4, ORANGE: 24, YELLOW: 72, Priority.P4: 168}
    for level in Priority:
        terms = plan.terms("r", "flood", level)
        assert terms.flaps == (Flap(raises=3, within_s=60.0), Flap(raises=6, within_s=1_800.0))
        assert (terms.quiet_s, terms.shelf_warn_s, terms.mute_warn_s, terms.stale_s) == (900.0, 600.0, 600.0, 86_400.0)
        assert terms.shelf_s == hours[level] * 3_600
        assert terms.silence_s == silences[level] * 3_600
        assert terms.realarm_s == (7_200.0 if level is RED else None)
        assert terms.realarm_max == 0
    assert plan.terms("r", "gas", YELLOW).flaps == (Flap(raises=3, within_s=60.0), Flap(raises=8, within_s=1_800.0))
    assert plan.terms("r", "gas", YELLOW).quiet_s == 600.0
    assert SHELF_ROLES == OFFICERS


def test_a_rule_beats_its_domain_that_the_level_that_the_city() -> None:
    plan = AlarmPlan(
        layers=(
            layer(rule="depth", stale_s=6.0),
            layer(domain="flood", level=YELLOW, stale_s=5.0),
            layer(domain="flood", stale_s=4.0),
            layer(level=YELLOW, stale_s=3.0),
            layer(stale_s=2.0),
        )
    )
    assert plan.terms("depth", "flood", YELLOW).stale_s == 6.0
    assert plan.terms("other", "flood", YELLOW).stale_s == 5.0
    assert plan.terms("other", "flood", ORANGE).stale_s == 4.0
    assert plan.terms("other", "water", YELLOW).stale_s == 3.0
    assert plan.terms("other", "water", ORANGE).stale_s == 2.0


def lax(draw: Any) -> dict[str, Any]:
    seconds = st.floats(1.0, 1e7)
    flap = st.builds(Flap, raises=st.integers(1, 9), within_s=seconds)
    return draw(
        st.fixed_dictionaries(
            {},
            optional={
                "flaps": st.lists(flap, max_size=3).map(tuple),
                "quiet_s": seconds, "shelf_s": seconds, "silence_s": seconds,
                "realarm_s": st.none() | seconds, "realarm_max": st.integers(0, 9),
                "shelf_roles": st.lists(st.sampled_from(["duty", "crew", "public"])).map(tuple),
            },
        )
    )  # fmt: skip


@given(st.data(), st.sampled_from([("", "gas"), ("gas", "gas"), ("", "flood"), ("flood-depth", "flood")]))
def test_no_configuration_makes_red_or_gas_easier_to_hide_than_built_in(data: Any, kind: tuple[str, str]) -> None:
    rule, domain = kind
    layers = [
        layer(rule=rule if rule != "gas" else "", domain="gas" if rule == "gas" else "", level=level, **lax(data.draw))
        for level in (None, RED, ORANGE)
    ]
    plan = AlarmPlan(layers=tuple(layers))
    for level in Priority:
        if level is not RED and domain != "gas":
            continue
        terms, most = plan.terms(rule, domain, level), built_in(domain, level)
        assert terms.shelf_s <= most.shelf_s
        assert terms.silence_s <= most.silence_s
        assert terms.quiet_s <= most.quiet_s
        assert set(terms.shelf_roles) <= set(SHELF_ROLES)
        assert all(flap.raises >= 3 and flap.within_s <= 1_800 for flap in terms.flaps)
        if level is RED:
            assert terms.realarm_s is not None
            assert terms.realarm_s <= REALARM_RED_S_MAX
            assert terms.realarm_max == 0
        if level is RED and domain == "gas":
            assert terms.shelf_s == 0
            assert terms.flaps == ()


def test_a_longer_shelf_and_an_earlier_warning_hold() -> None:
    world = a_world(layer(level=YELLOW, shelf_s=3 * 86_400.0, shelf_warn_s=7_200.0))
    world.raises(level=YELLOW)
    alarm = world.alarm()
    refused = world.asks(DUTY, "alarm.shelve", alarm.id, reason="r", until_ms=world.now_ms + 80 * HOUR)
    assert "within 3 d" in refused.message
    world.does(DUTY, "alarm.shelve", alarm.id, reason="works", until_ms=world.now_ms + 72 * HOUR)
    world.wait(70 * 3_600 - 1)
    assert "shelf_ending" not in world.kinds(alarm.id)
    world.restart()
    world.wait(1)
    assert world.kinds(alarm.id)[-1] == "shelf_ending"
    world.wait(7_200)
    assert world.alarm().shelved_until_ms is None


def test_levels_and_roles_that_may_not_shelve_are_told_why() -> None:
    world = a_world(layer(level=ORANGE, shelf_s=0.0), layer(rule="flood-depth", level=YELLOW, shelf_roles=("lead",)))
    world.raises(level=ORANGE)
    until_ms = world.now_ms + HOUR
    answer = world.asks(LEAD, "alarm.shelve", world.alarm().id, reason="r", until_ms=until_ms)
    assert (answer.code, "never shelved" in answer.message) == ("not_allowed", True)
    world.levels(YELLOW)
    answer = world.asks(DUTY, "alarm.shelve", world.alarm().id, reason="r", until_ms=until_ms)
    assert (answer.code, "shelved by lead" in answer.message) == ("forbidden", True)
    assert world.does(LEAD, "alarm.shelve", world.alarm().id, reason="r", until_ms=until_ms).ok


def test_red_gas_is_never_shelved_whatever_is_said() -> None:
    world = a_world(layer(rule="gas", shelf_s=86_400.0), layer(shelf_s=86_400.0))
    world.raises("well.ch4", RED, "gas")
    alarm = world.alarm("gas|well.ch4")
    answer = world.asks(LEAD, "alarm.shelve", alarm.id, reason="r", until_ms=world.now_ms + 60_000)
    assert not answer.ok
    assert world.alarm("gas|well.ch4").shelved_until_ms is None


def test_chatter_counts_and_calm_are_as_said() -> None:
    world = a_world(layer(rule="flood-depth", flaps=(Flap(raises=2, within_s=60.0),), quiet_s=120.0))
    for _ in range(2):
        world.raises(level=YELLOW)
        world.wait(5)
        world.clears()
        world.wait(5)
    assert world.alarm().is_chattering
    world.wait(120)
    assert not world.alarm().is_chattering
    assert world.kinds(world.alarm().id)[-1] == "settled"


def test_no_counts_at_all_means_no_chatter() -> None:
    world = a_world(layer(flaps=()))
    for _ in range(12):
        world.raises(level=YELLOW)
        world.wait(2)
        world.clears()
        world.wait(2)
    assert world.alarm().occurrence == 12


def test_an_acknowledged_alarm_asks_again_as_often_as_said() -> None:
    world = a_world(layer(level=ORANGE, realarm_s=3_600.0, realarm_max=2))
    world.raises(level=ORANGE)
    for _ in range(3):
        world.does(DUTY, "alarm.acknowledge", world.alarm().id)
        world.restart()
        world.wait(3_600)
    assert world.kinds(world.alarm().id).count("realarmed") == 2
    assert world.alarm().acked_ms is not None
    world.levels(RED)
    assert world.alarm().realarmed == 0, "a worse level counts anew"


def test_silences_last_as_long_as_said_except_where_gas_may_be_among_what_they_hide() -> None:
    world = a_world(layer(level=YELLOW, silence_s=20 * 86_400.0, mute_warn_s=3_600.0))
    ends_ms = world.now_ms + 10 * 86_400_000
    assert world.asks(LEAD, "mute.new", "", reason="r", ends_ms=ends_ms, sites=["mill"]).ok
    assert world.asks(LEAD, "mute.new", "", reason="r", ends_ms=ends_ms, domains=["flood", "water"]).ok
    for terms in ({"sites": ["well"]}, {"areas": ["north"]}, {"domains": ["gas"]}, {"rules": ["gas"]},
                  {"scopes": ["well.ch4"]}, {"sites": ["mill", "well"]}):  # fmt: skip
        answer = world.asks(LEAD, "mute.new", "", reason="r", ends_ms=ends_ms, **terms)
        assert "at most 3 d" in answer.message, terms
    world.wait(10 * 86_400 - 3_600)
    warned = [e for e in world.ledger.events if e.kind == "ending"]
    assert len(warned) == 2, "an hour before"


@pytest.mark.parametrize("name", [f.name for f in fields(AlarmTerms)])
def test_every_term_can_be_said_and_is_then_in_force_where_no_ceiling_stands(name: str) -> None:
    value = {"flaps": (Flap(raises=9, within_s=9.0),), "shelf_roles": ("boss",), "realarm_max": 7}.get(name, 999.0)
    terms = AlarmPlan(layers=(layer(**{name: value}),)).terms("r", "water", YELLOW)
    assert terms == replace(built_in("water", YELLOW), **{name: value})


def test_a_shelf_that_runs_keeps_its_end_when_shelves_become_shorter() -> None:
    world = World()
    world.raises(level=YELLOW)
    world.does(DUTY, "alarm.shelve", world.alarm().id, reason="r", until_ms=world.now_ms + 20 * HOUR)
    world.restart(city(alarms=AlarmPlan(layers=(layer(shelf_s=3_600.0),))))
    world.wait(19 * 3_600)
    assert world.alarm().shelved_until_ms is not None
    world.wait(3_600)
    assert world.alarm().shelved_until_ms is None
    assert world.alarm().condition is Condition.ACTIVE


def test_chatter_that_runs_settles_by_the_new_calm() -> None:
    world = World()
    for _ in range(3):
        world.raises(level=YELLOW)
        world.wait(2)
        world.clears()
        world.wait(2)
    assert world.alarm().is_chattering
    world.restart(city(alarms=AlarmPlan(layers=(layer(quiet_s=60.0),))))
    world.wait(56)
    assert world.alarm().is_chattering
    world.wait(2)
    assert not world.alarm().is_chattering
    assert BUILT_IN.quiet_s == 900.0
