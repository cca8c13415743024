"""Alarms that come and go: told once, recorded turn by turn, and their end always told (I13)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alerts.lifecycle import letter
from citypulse.model import Condition, TransitionKind
from citypulse.model.terms import BUILT_IN
from tests.alerts.cast import DUTY, ORANGE, RED, RULES, YELLOW, World, city

KEY = "flood-depth|mill.depth"


def told(world: World) -> list[str]:
    """Every notice about any occurrence of the key, in order."""
    ids = {a.id for a in world.ledger.alarms.values() if a.dedup_key == KEY}
    return [n.kind.value for n in world.ledger.notices if n.subject in ids and n.subject_kind == "alarm"]


def flutter(world: World, times: int, *, every_s: float = 5, level: object = YELLOW) -> None:
    for _ in range(times):
        world.raises(level=level)
        world.wait(every_s)
        world.clears()
        world.wait(every_s)


def test_the_third_raise_within_a_minute_is_told_as_chatter_and_nothing_after_it_until_it_settles():
    world = World()
    flutter(world, 20)
    assert told(world) == ["raised", "cleared", "raised", "cleared", "raised"]
    alarm = world.alarm()
    assert alarm.occurrence == 3
    assert alarm.is_chattering
    assert "抖动" in [n for n in world.ledger.notices if n.subject == alarm.id][-1].title
    assert world.kinds(alarm.id).count("raised_again") == 17
    assert world.kinds(alarm.id).count("cleared") == 18
    world.wait(BUILT_IN.quiet_s + 10)
    assert told(world)[-1] == "cleared", "the last recovery is never the one that is left out"
    assert told(world).count("cleared") == 3
    assert not world.alarm().is_chattering


def test_what_is_in_alarm_when_it_settles_is_told_so_and_its_own_end_later():
    world = World()
    flutter(world, 4)
    world.raises(level=YELLOW)
    world.wait(BUILT_IN.quiet_s)
    assert told(world)[-1] == "raised"
    assert letter(world.alarm()) == "B"
    world.clears()
    assert told(world)[-1] == "cleared"


def test_an_acknowledgement_holds_through_the_chatter():
    world = World()
    flutter(world, 3)
    world.raises(level=YELLOW)
    world.does(DUTY, "alarm.acknowledge", world.alarm().id)
    flutter(world, 3)
    assert world.alarm().is_acked
    world.wait(7_200)
    assert "reminder" not in told(world)
    assert told(world)[-1] == "cleared"


def test_getting_worse_than_anything_told_is_told():
    world = World()
    flutter(world, 4)
    before = len(told(world))
    world.raises(level=ORANGE)
    assert told(world)[before:] == ["worsened"] * len(told(world)[before:]) != []
    before = len(told(world))
    world.levels(YELLOW)
    world.levels(ORANGE)
    assert len(told(world)) == before


def test_red_gas_is_told_turn_by_turn():
    world = World(city(tuple(replace(r, is_latching=False) for r in RULES)))
    for _ in range(6):
        world.raises("well.ch4", RED, "gas")
        world.wait(2)
        world.clears("well.ch4", "gas")
        world.wait(2)
    phones = [n.kind.value for n in world.ledger.notices if n.level is RED and n.channel == "board"]
    assert phones == ["raised", "cleared"] * 6
    for _ in range(4):
        world.raises("well.ch4", YELLOW, "gas")
        world.wait(2)
        world.clears("well.ch4", "gas")
    assert world.alarm("gas|well.ch4").is_chattering
    world.raises("well.ch4", RED, "gas")
    assert not world.alarm("gas|well.ch4").is_chattering
    assert world.alarm("gas|well.ch4").occurrence > 6


@pytest.mark.parametrize("is_up", [True, False])
def test_the_end_is_told_when_the_rule_goes_while_it_chatters(is_up):
    world = World()
    flutter(world, 4)
    if is_up:
        world.raises(level=YELLOW)
    world.restart(city(tuple(r for r in RULES if r.id != "flood-depth")))
    world.tick()
    assert told(world)[-1] == "cleared"
    assert world.alarm().condition is Condition.NORMAL
    assert not world.alarm().is_chattering


def test_a_restart_amid_chatter_changes_nothing():
    calm, shaken = World(), World()
    for world in (calm, shaken):
        for n in range(9):
            world.raises(level=YELLOW)
            world.wait(9)
            world.clears()
            if world is shaken and n % 2:
                world.restart()
        world.wait(BUILT_IN.quiet_s)
    assert calm.ledger.events == shaken.ledger.events
    assert calm.ledger.notices == shaken.ledger.notices


def test_chatter_behind_a_shelf_is_told_when_it_comes_out():
    world = World()
    world.raises(level=YELLOW)
    world.does(DUTY, "alarm.shelve", world.alarm().id, reason="r", until_ms=world.now_ms + 120_000)
    world.clears()
    flutter(world, 5)
    assert letter(world.alarm()) == "E"
    before = len(told(world))
    world.wait(80)
    world.tick(world.change(TransitionKind.RAISE, level=YELLOW))
    assert told(world)[before:] == ["raised"]
    world.clears()
    world.wait(BUILT_IN.quiet_s)
    assert told(world)[-1] == "cleared"


def test_slow_raises_are_no_chatter():
    world = World()
    flutter(world, 5, every_s=400)
    assert told(world) == ["raised", "cleared"] * 5
