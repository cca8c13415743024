"""A point that does not ring is taken out of service and put back: on the record, in the lists, through restarts."""

from __future__ import annotations

from pathlib import Path

import pytest

from alerts.groups import situations
from alerts.kpi import of_alarms
from alerts.lifecycle import alarm_verbs, letter
from citypulse.ledger import Ledger, Tick
from citypulse.model import Actor, Alarm, Effects
from tests.alerts.cast import DUTY, LEAD, RED, YELLOW, World
from tests.rules.test_ruletest_words import passes

KEY = "flood-depth|mill.depth"
GAS = "gas|well.ch4"
HOUR_MS = 3_600_000
ENGINEER = Actor(name="Turing", role="engineer")


def kinds(world: World, key: str = KEY) -> list[tuple[str, str, str]]:
    ids = {a.id for a in world.ledger.alarms.values() if a.dedup_key == key}
    return [(e.kind, e.from_state, e.to_state) for e in world.ledger.events if e.subject in ids]


def live(world: World, key: str = KEY) -> Alarm:
    found = world.desk.live(key)
    assert found is not None
    return found


@pytest.mark.parametrize("restarts", [False, True])
def test_a_point_goes_from_a_to_g_rings_for_nobody_and_announces_what_is_active_when_it_comes_back(restarts):
    world = World()

    def again() -> None:
        if restarts:
            world.restart()

    said = world.does(ENGINEER, "alarm.out_of_service", KEY, reason="sensor swapped")
    assert "G" in said.message
    again()
    point = live(world)
    assert (letter(point), point.occurrence) == ("G", 0)
    assert "sensor swapped" in point.because_en
    world.raises(level=YELLOW)
    again()
    assert (letter(world.alarm()), world.alarm().occurrence) == ("G", 1)
    assert world.ledger.notices == []
    assert not world.ledger.orders
    world.does(ENGINEER, "alarm.in_service", KEY)
    assert letter(world.alarm()) == "B"
    assert [n.kind.value for n in world.ledger.notices if n.subject == world.alarm().id] == ["raised"]
    assert kinds(world) == [
        ("out_of_service", "A", "G"), ("superseded", "G", "A"), ("raised", "", "G"), ("in_service", "G", "B"),
        *[k for k in kinds(world)[4:] if k[0] == "order_attached"],
    ]  # fmt: skip


def test_what_came_and_went_meanwhile_is_not_told_and_the_point_can_go_again_and_again():
    world = World()
    for turn in (1, 2, 3):
        world.does(LEAD, "alarm.out_of_service", KEY, reason=f"works {turn}")
        world.restart()
        world.does(LEAD, "alarm.in_service", KEY)
        assert world.desk.live(KEY) is None
    assert [k for k, *_ in kinds(world)] == ["out_of_service", "in_service"] * 3
    world.does(LEAD, "alarm.out_of_service", KEY, reason="works")
    world.raises(level=YELLOW)
    world.clears()
    world.raises(level=YELLOW)
    world.clears()
    assert (world.alarm().occurrence, letter(world.alarm())) == (2, "G")
    world.does(LEAD, "alarm.in_service", KEY)
    assert (letter(world.alarm()), world.ledger.notices) == ("A", [])
    world.does(LEAD, "alarm.out_of_service", KEY, reason="again")
    assert letter(live(world)) == "G"
    revs = [e.rev for e in world.ledger.events if e.subject == live(world).id]
    assert revs == list(range(1, len(revs) + 1)), "one record of the point, without a gap"


def test_it_comes_back_by_itself_when_a_time_was_named_and_the_time_must_lie_ahead():
    world = World()
    for wrong in (world.now_ms, "tomorrow", True, 1.5):
        refused = world.asks(LEAD, "alarm.out_of_service", KEY, reason="x", until_ms=wrong)
        assert (refused.ok, refused.code) == (False, "bad_data")
    world.does(LEAD, "alarm.out_of_service", KEY, reason="works", until_ms=world.now_ms + HOUR_MS)
    world.raises(level=YELLOW)
    world.restart()
    world.wait(3599)
    assert letter(world.alarm()) == "G"
    world.wait(1)
    assert letter(world.alarm()) == "B"
    assert world.ledger.notices


def test_who_may_and_what_it_takes():
    world = World()
    assert world.asks(LEAD, "alarm.out_of_service", KEY).code == "bad_data", "a reason is needed"
    assert world.asks(LEAD, "alarm.out_of_service", "flood-depth|nowhere", reason="x").code == "not_found"
    assert world.asks(LEAD, "alarm.in_service", KEY).code == "not_found"
    assert world.asks(LEAD, "alarm.shelve", KEY, reason="x", until_ms=world.now_ms + HOUR_MS).code == "not_found"
    assert world.asks(DUTY, "alarm.out_of_service", GAS, reason="calibration").code == "forbidden"
    assert world.ledger.events == []
    world.does(ENGINEER, "alarm.out_of_service", GAS, reason="calibration")
    assert letter(live(world, GAS)) == "G"
    assert alarm_verbs(live(world, GAS), "engineer") == ("in_service", "comment")
    refused = world.asks(LEAD, "alarm.out_of_service", GAS, reason="twice")
    assert (refused.ok, refused.code) == (False, "not_allowed")


def test_a_point_is_no_alarm_in_any_count():
    world = World()
    world.does(LEAD, "alarm.out_of_service", KEY, reason="works")
    assert situations([live(world)]) == ()
    assert not any(i.value for i in of_alarms([live(world)], 0, world.now_ms + 1) if i.id == "alarms")


def test_a_shelved_gas_alarm_that_turns_red_leaves_its_shelf():
    world = World()
    world.raises("well.ch4", YELLOW, "gas")
    number = world.alarm(GAS).id
    world.does(DUTY, "alarm.shelve", number, reason="works", until_ms=world.now_ms + HOUR_MS)
    world.levels(RED, "well.ch4", "gas")
    assert letter(world.alarm(GAS)) == "B"
    assert [n for n in world.ledger.notices if n.level is RED and n.subject == number]


def test_a_gas_alarm_that_comes_back_red_is_not_on_the_shelf_of_the_last_one():
    world = World()
    world.raises("well.ch4", YELLOW, "gas")
    number = world.alarm(GAS).id
    world.does(DUTY, "alarm.shelve", number, reason="works", until_ms=world.now_ms + HOUR_MS)
    world.clears("well.ch4", "gas")
    world.raises("well.ch4", RED, "gas")
    assert letter(world.alarm(GAS)) == "B"


def test_the_ledger_lists_it_keeps_it_and_gives_the_next_alarm_the_number_one(tmp_path: Path):
    world = World()
    effects: Effects = world.tick()
    with_point = World()
    with_point.does(LEAD, "alarm.out_of_service", KEY, reason="works")
    effects.alarms = {a.id: a for a in with_point.ledger.alarms.values()}
    ledger = Ledger.open(tmp_path)
    ledger.commit(Tick(number=1, now_ms=world.now_ms, effects=effects))
    (found,) = ledger.alarms(state="out_of_service")
    assert (found.dedup_key, found.is_out_of_service) == (KEY, True)
    opened = ledger.load_open()
    assert (opened.occurrences, opened.raises) == ({KEY: 0}, {})
    assert [a.id for a in opened.alarms] == [found.id]
    ledger.close()


def test_a_rule_test_walks_from_a_to_g_and_back(tmp_path: Path):
    passes(tmp_path, """    series: {isa-1.depth: "0x2 40x5 0x5"}
    do:
      - {at: 30s, out_of_service: isa-1.depth, reason: swapped}
      - {at: 4m, restart: true}
      - {at: 5m, in_service: isa-1.depth}
    expect:
      - {at: 10s, isa: A}
      - {at: 1m, isa: G, occurrence: 0}
      - {at: 3m, isa: G, occurrence: 1}
      - {at: 6m, isa: B}
    notices: {raised: 1, cleared: 1, reminder: 1}
""")  # fmt: skip
    passes(tmp_path, """    series: {isa-1.depth: "0x9"}
    do:
      - {at: 30s, out_of_service: isa-1.depth, for: 2m}
      - {at: 4m, out_of_service: isa-1.depth}
      - {at: 5m, in_service: isa-1.depth}
    expect:
      - {at: 1m, isa: G}
      - {at: 3m, isa: A}
      - {at: 4m30s, isa: G}
      - {at: 6m, isa: A}
    raises: 0
""")  # fmt: skip
