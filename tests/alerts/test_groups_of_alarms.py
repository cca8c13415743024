"""Situations: many alarms as the few things that are going on, ranked by consequence, nothing dropped."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from alerts.groups import KINDS, situations
from citypulse.model import Alarm, Condition, Priority, Text
from tests.alerts.cast import BLUE, ORANGE, RED, T0, YELLOW, World

NAN = float("nan")


def some_alarm() -> Alarm:
    world = World()
    world.raises(level=YELLOW)
    return world.alarm()


BASE = some_alarm()


def alarm(key: str, *, level: Priority = YELLOW, at_s: int = 0, domain: str = "flood", **more: object) -> Alarm:
    name, _, scope = key.partition("|")
    site = scope.partition(".")[0]
    given = {"id": key, "dedup_key": key, "rule": name, "scope": scope, "site": site, "level": level,
             "raised_ms": T0 + at_s * 1000, "domain": domain, "order_id": ""}  # fmt: skip
    return replace(BASE, **(given | more))


def test_what_one_cause_hides_is_one_situation_with_its_hidden_children_and_its_first_out():
    world = World()
    world.raises("mill.depth", YELLOW)
    world.now_ms += 60_000
    world.raises("gw-1", YELLOW, "gateway-silent", value=NAN)
    world.now_ms += 60_000
    world.raises("mill.depth2", ORANGE)
    (one,) = situations(world.desk.alarms.values())
    gateway = world.alarm("gateway-silent|gw-1")
    assert (one.kind, one.root) == ("cause", gateway.id)
    assert one.alarms == (gateway.id,)
    assert one.hidden == (world.alarm("flood-depth|mill.depth2").id, world.alarm("flood-depth|mill.depth").id)
    assert one.first_out == world.alarm("flood-depth|mill.depth").id
    assert one.level is ORANGE
    assert one.count == 3


def test_a_chain_of_causes_is_followed_to_its_first():
    found = situations(
        [
            alarm("gateway-silent|gw-1", site=""),
            alarm("rain|a.rain", suppressed_by=("gateway-silent|gw-1",)),
            alarm("depth|b.depth", suppressed_by=("rain|a.rain",)),
        ]
    )
    assert [s.id for s in found] == ["cause:gateway-silent|gw-1"]
    assert found[0].hidden == ("depth|b.depth", "rain|a.rain")


def test_a_resolved_cause_explains_nothing():
    gone = alarm("rain|a.rain", condition=Condition.NORMAL, is_acked=False)
    found = situations([gone, alarm("depth|b.depth", suppressed_by=("rain|a.rain",), area="south")])
    assert {s.kind for s in found} == {"single"}


def test_alarms_without_a_cause_go_by_site_then_by_area_and_domain():
    found = situations(
        [
            alarm("depth|a.depth"),
            alarm("rise|a.depth"),
            alarm("depth|b.depth"),
            alarm("depth|c.depth"),
            alarm("do|d.do", domain="water"),
        ]
    )
    assert {(s.id, s.count) for s in found} == {("asset:a", 2), ("area:north|flood", 2), ("single:do|d.do", 1)}
    assert next(s.sites for s in found if s.kind == "area") == ("b", "c")


def test_the_worst_comes_first_then_gas_then_the_largest():
    found = situations(
        [
            alarm("depth|a.depth", level=BLUE),
            alarm("depth|b.depth", level=ORANGE, area="east"),
            alarm("gas|w.ch4", level=ORANGE, domain="gas"),
            alarm("do|d.do", level=RED, domain="water"),
            alarm("void|r.void", level=ORANGE, domain="road", area="west"),
            alarm("void|q.void", level=BLUE, domain="road", area="west"),
        ]
    )
    assert [s.id for s in found] == ["single:do|d.do", "single:gas|w.ch4", "single:depth|b.depth",
                                     "area:west|road", "single:depth|a.depth"]  # fmt: skip


def test_titles_use_the_names_that_are_known():
    names = {"areas": {"north": Text(zh="城北", en="North")}, "rules": {"rain": Text(zh="强降雨", en="Heavy rain")},
             "sites": {"a": Text(zh="雨量站", en="Gauge")}}  # fmt: skip
    (cause,) = situations([alarm("rain|a.rain"), alarm("d|b.d", suppressed_by=("rain|a.rain",))], **names)
    assert (cause.title.zh, cause.title.en) == ("雨量站 强降雨 2 条告警", "Gauge Heavy rain 2 alarms")
    (area,) = situations([alarm("d|b.d"), alarm("d|c.d")], **names)
    assert area.title.zh.startswith("城北")


KEYS = [f"{rule}|{site}.x" for rule in ("a", "b", "c") for site in ("p", "q", "r", "s")]
SOME = st.lists(
    st.builds(
        lambda key, level, at_s, behind, parent, is_active, acked: alarm(
            key, level=level, at_s=at_s, suppressed_by=tuple(sorted(set(behind) - {key})),
            parent="" if parent == key else parent,
            condition=Condition.ACTIVE if is_active else Condition.NORMAL, is_acked=acked,
        ),
        st.sampled_from(KEYS), st.sampled_from(list(Priority)), st.integers(0, 100),
        st.lists(st.sampled_from(KEYS), max_size=2), st.sampled_from(["", *KEYS]), st.booleans(), st.booleans(),
    ),
    max_size=12, unique_by=lambda a: a.dedup_key,
)  # fmt: skip


@given(SOME, st.randoms(use_true_random=False))
def test_every_open_alarm_is_in_exactly_one_situation_whatever_their_order(some, random):
    found = situations(some)
    members = [i for s in found for i in (*s.alarms, *s.hidden)]
    wanted = [a.id for a in some if a.condition is not Condition.NORMAL or not a.is_acked or not a.is_confirmed]
    assert sorted(members) == sorted(wanted)
    assert {s.kind for s in found} <= set(KINDS)
    assert all(s.first_out in (*s.alarms, *s.hidden) for s in found)
    assert len({s.id for s in found}) == len(found)
    assert [s.level for s in found] == sorted(s.level for s in found)
    shuffled = list(some)
    random.shuffle(shuffled)
    assert situations(shuffled) == found
