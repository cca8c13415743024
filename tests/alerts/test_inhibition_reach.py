"""Declared causes: how far each reaches, what it hides, when it lets go, and what it never hides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alerts.lifecycle import letter
from alerts.reach import Reach
from citypulse.model import Condition, Inhibition, InhibitScope, Priority, Rule, Sensor, Site
from citypulse.model import TransitionKind as Kind
from tests.alerts.cast import BLUE, ORANGE, RED, World, city, rule, sensor, text

NAN = float("nan")


def cause(name: str, scope: InhibitScope, within_m: float = 0.0) -> Inhibition:
    return Inhibition(rule=name, scope=scope, within_m=within_m)


def place(name: str, *, area: str = "north", upstream: tuple[str, ...] = (), north_km: float = 0.0) -> Site:
    return Site(id=name, name=text(name), domain="water", kind="river", area=area, lat=30.0 + north_km / 111.195,
                lon=120.0, gateway="gw-1", upstream=upstream)  # fmt: skip


# A river from spring to mouth, a brook that joins it, and two ponds that feed each other.
SITES = {
    s.id: s
    for s in (
        place("spring", area="hills"),
        place("ford", upstream=("spring",), north_km=0.3),
        place("brook", area="hills", north_km=40.0),
        place("mouth", upstream=("ford", "brook"), north_km=1.2),
        place("pond-a", upstream=("pond-b",), north_km=80.0),
        place("pond-b", upstream=("pond-a",), north_km=81.0),
    )
}
SENSORS = tuple(
    replace(sensor(f"{site.id}.{quantity}", site.id, "gw-1", "water"), area=site.area)
    for site in SITES.values()
    for quantity in ("do", "rain")
)


def river(*rules: Rule, sensors: tuple[Sensor, ...] = SENSORS) -> World:
    return World(city(rules, sites=SITES, sensors=sensors))


def on(name: str, quantity: str, *causes: Inhibition, **more: Any) -> Rule:
    scopes = tuple(s.id for s in SENSORS if s.quantity == quantity)
    return rule(name, "threshold", scopes, tuple((s,) for s in scopes), domain="water", inhibited_by=causes, **more)


def hidden(world: World, key: str) -> bool:
    return letter(world.alarm(key)) == "F"


def test_a_cause_upstream_hides_its_like_downstream_however_far():
    world = river(on("do-low", "do", cause("do-low", InhibitScope.UPSTREAM)))
    for site in ("spring", "mouth", "brook"):
        world.raises(f"{site}.do", ORANGE, "do-low")
    assert not hidden(world, "do-low|spring.do")
    assert not hidden(world, "do-low|brook.do"), "another branch: nothing above it"
    assert set(world.alarm("do-low|mouth.do").suppressed_by) == {"do-low|brook.do", "do-low|spring.do"}
    world.clears("spring.do", "do-low")
    assert world.alarm("do-low|mouth.do").suppressed_by == ("do-low|brook.do",)
    world.clears("brook.do", "do-low")
    assert not hidden(world, "do-low|mouth.do")
    assert any(n.subject == world.alarm("do-low|mouth.do").id for n in world.ledger.notices), "and it is told now"


def test_what_comes_first_downstream_is_hidden_once_its_cause_is_seen():
    world = river(on("do-low", "do", cause("do-low", InhibitScope.UPSTREAM)))
    world.raises("ford.do", ORANGE, "do-low")
    assert not hidden(world, "do-low|ford.do")
    world.raises("spring.do", ORANGE, "do-low")
    assert hidden(world, "do-low|ford.do")
    told = next(e for e in world.ledger.events if e.kind == "suppressed")
    assert told.data["cause"] == "do-low|spring.do"


def test_places_that_feed_each_other_never_hide_each_other():
    world = river(on("do-low", "do", cause("do-low", InhibitScope.UPSTREAM)))
    world.raises("pond-a.do", ORANGE, "do-low")
    world.raises("pond-b.do", ORANGE, "do-low")
    assert not hidden(world, "do-low|pond-a.do")
    assert hidden(world, "do-low|pond-b.do")
    world.clears("pond-a.do", "do-low")
    assert not hidden(world, "do-low|pond-b.do")


@pytest.mark.parametrize(
    ("scope", "within_m", "reached"),
    [
        (InhibitScope.AREA, 0.0, {"ford", "mouth", "pond-a", "pond-b"}),
        (InhibitScope.SITE, 0.0, {"ford"}),
        (InhibitScope.PLACE, 0.0, {"ford"}),
        (InhibitScope.NEAR, 500.0, {"ford", "spring"}),
        (InhibitScope.NEAR, 950.0, {"ford", "spring", "mouth"}),
        (InhibitScope.UPSTREAM, 0.0, {"mouth"}),
        (InhibitScope.GATEWAY, 0.0, set(SITES)),
        (InhibitScope.SENSOR, 0.0, set()),
    ],
)
def test_a_cause_reaches_as_far_as_it_is_declared(scope, within_m, reached):
    world = river(on("rain", "rain"), on("do-low", "do", cause("rain", scope, within_m)))
    world.raises("ford.rain", ORANGE, "rain")
    for site in SITES:
        world.raises(f"{site}.do", ORANGE, "do-low")
    assert {site for site in SITES if hidden(world, f"do-low|{site}.do")} == reached
    world.clears("ford.rain", "rain")
    assert not any(hidden(world, f"do-low|{site}.do") for site in SITES), "within the same tick (I22)"


def test_a_silent_gateway_hides_by_gateway_and_only_what_declares_it():
    silent = rule("gateway-silent", "gateway_silent", ("gw-1", "gw-2"), ((), ()), is_diagnostic=True, limits=())
    world = river(silent, on("do-low", "do", cause("gateway-silent", InhibitScope.GATEWAY)), on("rain", "rain"))
    world.raises("gw-2", BLUE, "gateway-silent", value=NAN)
    world.raises("ford.do", ORANGE, "do-low")
    assert not hidden(world, "do-low|ford.do"), "another gateway's silence"
    world.raises("gw-1", BLUE, "gateway-silent", value=NAN)
    world.raises("ford.rain", ORANGE, "rain")
    assert hidden(world, "do-low|ford.do")
    assert not hidden(world, "rain|ford.rain")


def test_red_gas_is_never_hidden_by_any_reach():
    gas = rule("gas", "threshold", ("ford.do",), (("ford.do",),), domain="gas",
               inhibited_by=(cause("rain", InhibitScope.AREA),))  # fmt: skip
    sensors = tuple(replace(s, domain="gas") if s.id == "ford.do" else s for s in SENSORS)
    world = river(on("rain", "rain"), gas, sensors=sensors)
    world.raises("ford.rain", RED, "rain")
    world.raises("ford.do", ORANGE, "gas")
    assert hidden(world, "gas|ford.do")
    world.levels(RED, "ford.do", "gas")
    assert not hidden(world, "gas|ford.do")
    assert world.ledger.notices[-1].level is RED


def test_a_restart_emits_no_hidden_child():
    world = river(on("rain", "rain"), on("do-low", "do", cause("rain", InhibitScope.AREA)))
    world.raises("ford.rain", ORANGE, "rain")
    world.raises("mouth.do", ORANGE, "do-low")
    world.restart()
    told = len(world.ledger.notices)
    world.wait(1)
    assert len(world.ledger.notices) == told
    assert hidden(world, "do-low|mouth.do")
    world.clears("ford.rain", "rain")
    assert not hidden(world, "do-low|mouth.do")


def test_distance_is_measured_over_the_ground():
    reach = Reach({s.id: s for s in (place("a"), place("b", north_km=1.0), place("c", north_km=2.0))})
    assert reach.near("a", 999.0) == ("a",)
    assert reach.near("a", 1_001.0) == ("a", "b")
    assert reach.near("nowhere", 1_000.0) == ()
    assert Reach({}).near("a", 10.0) == ()


# alertmanager's inhibit_test.go, TestInhibitRuleMatches and TestInhibitRuleHasEqual, as far as our nouns carry them.
# Theirs: rule 1 hides targets t1=1 while a source s1=1 with equal `e` fires; rule 2 the same with s2, t2. Ours: a rule
# is a label, `e` is the area, and an alarm has one rule, so that a source and a target are never the same alarm.
# Declared differences: theirs lets any source inhibit where no equal labels are named, ours always has a reach; theirs
# keeps inhibiting through a silenced source, and so do we.
S1, S2 = "rain", "storm"


@pytest.mark.parametrize(
    ("target", "site", "is_hidden"),
    [
        ("t1", "ford", True),  # {t1=1, e=1}
        ("t2", "ford", True),  # {t2=1, e=1}
        ("t12", "ford", True),  # {t1=1, t2=1, e=1}: a target of both
        ("t0", "ford", False),  # {t1=0, e=1}: not a target
        ("t1", "spring", False),  # {t1=1, e=0}: equal labels differ
        ("rain", "mouth", False),  # {s1=1, …}: a source is not hidden by its like
    ],
)
def test_alertmanagers_table_of_matches(target, site, is_hidden):
    one, two = cause(S1, InhibitScope.AREA), cause(S2, InhibitScope.AREA)
    rules = (on(S1, "rain"), on(S2, "rain"), on("t1", "do", one), on("t2", "do", two), on("t12", "do", one, two),
             on("t0", "do"))  # fmt: skip
    world = river(*rules)
    world.raises("ford.rain", ORANGE, S1)
    world.raises("ford.rain", ORANGE, S2)
    quantity = "rain" if target == "rain" else "do"
    world.raises(f"{site}.{quantity}", ORANGE, target)
    assert hidden(world, f"{target}|{site}.{quantity}") is is_hidden


@pytest.mark.parametrize(
    ("sources", "is_hidden"),
    [
        ((), False),  # no source at all
        (("mouth",), True),  # one with equal labels
        (("spring",), False),  # one with other labels
        (("spring", "mouth"), True),  # several, one of them equal
        (("mouth-resolved",), False),  # a resolved source never inhibits
    ],
)
def test_alertmanagers_table_of_equal_labels(sources, is_hidden):
    world = river(on("rain", "rain"), on("t1", "do", cause("rain", InhibitScope.AREA)))
    for source in sources:
        site, _, resolved = source.partition("-")
        world.raises(f"{site}.rain", ORANGE, "rain")
        if resolved:
            world.clears(f"{site}.rain", "rain")
    world.raises("ford.do", ORANGE, "t1")
    assert hidden(world, "t1|ford.do") is is_hidden


# ── whatever happens ─────────────────────────────────────────────────────────────────────────────

RULES = (
    on("do-low", "do", cause("do-low", InhibitScope.UPSTREAM), cause("rain", InhibitScope.NEAR, 1_000.0)),
    on("rain", "rain", cause("gateway-silent", InhibitScope.GATEWAY), cause("storm", InhibitScope.AREA)),
    on("storm", "rain", cause("gateway-silent", InhibitScope.PLACE)),
    rule("gateway-silent", "gateway_silent", ("gw-1",), ((),), is_diagnostic=True, limits=()),
)
POINTS = [(r.id, scope) for r in RULES for scope in r.scopes]
STEP = st.tuples(
    st.sampled_from(POINTS), st.sampled_from([Kind.RAISE, Kind.RAISE, Kind.CLEAR, Kind.LEVEL]),
    st.sampled_from(list(Priority)), st.booleans(),
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEP, max_size=30))
def test_no_chain_of_causes_hides_itself_and_none_outlives_its_cause(history):
    """I22 over random histories with restarts: every hidden alarm stands behind an active cause that is itself seen."""
    calm, world = river(*RULES), river(*RULES)
    for (name, scope), kind, level, restarts in history:
        up = kind is not Kind.CLEAR
        for each in (calm, world):
            each.tick(each.change(kind, name, scope, level if up else None))
        if restarts:
            world.restart()
        live = {a.dedup_key: a for a in world.desk.alarms.values()}
        for alarm in live.values():
            todo, seen = list(alarm.suppressed_by), set()
            for key in alarm.suppressed_by:
                assert live[key].condition is Condition.ACTIVE, "released in the tick in which its cause ended"
            while todo:
                key = todo.pop()
                assert key != alarm.dedup_key, "it hides itself"
                if key not in seen:
                    seen.add(key)
                    todo += live[key].suppressed_by
            assert not seen or any(not live[key].suppressed_by for key in seen), "something is seen"
    assert world.ledger.notices == calm.ledger.notices
    assert world.ledger.events == calm.ledger.events
