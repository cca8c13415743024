"""Silences and maintenance windows at the desk: what they hide, what they never hide, and how they end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alerts.lifecycle import letter
from alerts.mutes import MUTES_MAX
from citypulse.model import Actor, Mute, NoticeKind, Priority
from tests.alerts.cast import ADA, DUTY, LEAD, ORANGE, RED, T0, YELLOW, World, city

HOUR = 3_600_000
ENGINEER = Actor(name="Engineer Eve", role="engineer", unit="desk")


def silence(world: World, minutes: int = 60, **more: object) -> str:
    terms = {"reason": "pump test", "ends_ms": world.now_ms + minutes * 60_000, "sites": ["mill"]}
    return world.does(LEAD, "mute.new", "", **(terms | more)).subject


def told(world: World, key: str = "flood-depth|mill.depth") -> list[str]:
    number = world.alarm(key).id
    return [n.kind.value for n in world.ledger.notices if n.subject == number and n.subject_kind == "alarm"]


def test_a_matching_alarm_is_hidden_and_announced_when_the_silence_ends():
    world = World()
    mute = silence(world)
    world.raises(level=YELLOW)
    assert world.alarm().suppressed_by == (mute,)
    assert told(world) == []
    assert not world.ledger.orders
    world.wait(3_599)
    assert letter(world.alarm()) == "F"
    world.wait(1)
    assert letter(world.alarm()) == "B"
    assert told(world) == ["raised"]
    assert world.order().alarm_ids == (world.alarm().id,)
    assert world.kinds(mute) == ["created", "opened", "ending", "closed", "ended"]


def test_what_stands_already_is_hidden_too_and_its_end_is_still_told():
    world = World()
    world.raises(level=YELLOW)
    mute = silence(world)
    assert world.alarm().suppressed_by == (mute,)
    world.wait(600)
    world.clears()
    assert told(world) == ["raised", "cleared"], "who heard the raise hears the end"


def test_red_gas_is_never_hidden_and_a_worsening_to_it_breaks_out():
    world = World()
    world.does(LEAD, "mute.new", "", reason="r", ends_ms=world.now_ms + HOUR, domains=["gas"], at_most="red")
    world.raises("well.ch4", ORANGE, "gas")
    assert letter(world.alarm("gas|well.ch4")) == "F"
    world.levels(RED, "well.ch4", "gas")
    assert letter(world.alarm("gas|well.ch4")) == "B"
    assert told(world, "gas|well.ch4")
    world.clears("well.ch4", "gas")
    world.raises("well.ch4", RED, "gas")
    assert letter(world.alarm("gas|well.ch4")) == "B"


def test_an_alarm_that_becomes_worse_than_a_silence_may_hide_breaks_out():
    world = World()
    silence(world, at_most="yellow")
    world.raises(level=YELLOW)
    assert letter(world.alarm()) == "F"
    world.levels(ORANGE)
    assert letter(world.alarm()) == "B"
    world.raises("mill.depth2", ORANGE)
    assert letter(world.alarm("flood-depth|mill.depth2")) == "B"


def test_the_desk_is_told_before_a_silence_ends_once():
    world = World()
    mute = silence(world)
    world.wait(3_000)
    world.wait(300)
    said = [n for n in world.ledger.notices if n.subject == mute]
    assert [(n.kind, n.target, n.subject_kind) for n in said] == [(NoticeKind.REMINDER, "desk", "mute")]
    assert "静默" in said[0].title


def test_cancelling_releases_at_once_and_extending_moves_the_end():
    world = World()
    mute = silence(world)
    world.raises(level=YELLOW)
    world.does(LEAD, "mute.extend", mute, reason="longer", ends_ms=T0 + 2 * HOUR)
    world.wait(3_601)
    assert letter(world.alarm()) == "F"
    world.does(DUTY, "mute.cancel", mute, reason="done")
    assert letter(world.alarm()) == "B"
    assert world.ledger.mutes[mute].is_over


def test_what_cannot_be_asked_is_refused_with_a_reason():
    world = World()
    ends = world.now_ms + HOUR
    for data, words in (
        ({"ends_ms": ends, "sites": ["mill"]}, "reason"),
        ({"reason": "r", "sites": ["mill"]}, "ends_ms"),
        ({"reason": "r", "ends_ms": ends}, "at least one of"),
        ({"reason": "r", "ends_ms": ends, "sites": ["moon"]}, "not configured"),
        ({"reason": "r", "ends_ms": ends + 100 * HOUR, "sites": ["mill"]}, "at most 3 d"),
        ({"reason": "r", "ends_ms": T0 - 1, "sites": ["mill"]}, "ahead"),
        ({"reason": "r", "ends_ms": ends, "sites": ["mill"], "at_most": "pink"}, "red, orange, yellow or blue"),
        ({"reason": "r", "ends_ms": ends, "sites": ["mill"], "rrule": "FREQ=DAILY"}, "window"),
        ({"reason": "r", "ends_ms": ends, "sites": "mill"}, "list"),
    ):
        answer = world.asks(LEAD, "mute.new", "", **data)
        assert not answer.ok
        assert words in answer.message, data
    assert not world.ledger.mutes


def test_roles_are_enforced_in_the_desk():
    world = World()
    terms = {"reason": "r", "ends_ms": world.now_ms + HOUR, "sites": ["mill"]}
    assert world.asks(ADA, "mute.new", "", **terms).code == "forbidden"
    assert world.asks(DUTY, "mute.new", "", **terms, at_most="red").code == "forbidden"
    assert world.asks(DUTY, "mute.window", "", **terms).code == "forbidden"
    assert world.asks(ENGINEER, "mute.window", "", **terms).ok
    assert world.asks(DUTY, "mute.new", "", **terms).ok
    assert world.asks(DUTY, "mute.sing", "", **terms).code == "bad_data"
    assert world.asks(DUTY, "mute.cancel", "MU-none", reason="r").code == "not_found"


def test_there_are_only_so_many_mutes():
    world = World()
    for _ in range(MUTES_MAX):
        silence(world)
    assert world.asks(LEAD, "mute.new", "", reason="r", ends_ms=T0 + HOUR, sites=["mill"]).code == "not_allowed"


def test_a_window_opens_every_night_past_midnight_and_a_restart_changes_nothing():
    """T0 is a Sunday, ten in the morning; the window is 22:00 to 06:00 on workdays."""
    world = World()
    mute = world.does(
        LEAD, "mute.window", "", reason="works", sites=["mill"], starts_ms=T0 + 12 * HOUR, ends_ms=T0 + 14 * 24 * HOUR,
        rrule="FREQ=DAILY", duration_s=8 * 3600, days="workday",
    ).subject  # fmt: skip
    world.wait(13 * 3600)
    world.raises(level=YELLOW)
    assert letter(world.alarm()) == "B", "it is Sunday"
    world.restart()
    world.wait(24 * 3600)
    assert letter(world.alarm()) == "F", "Monday, 23:00"
    world.restart()
    world.wait(6 * 3600 + 3_599)
    assert letter(world.alarm()) == "F"
    world.wait(1)
    assert letter(world.alarm()) == "B", "Tuesday, 06:00"
    assert world.kinds(mute) == ["created", "opened", "ending", "closed"]


DECLARED = Mute(
    id="WIN-works", kind="window", reason="works", creator="Lea", created_ms=0, starts_ms=T0, ends_ms=T0 + 24 * HOUR,
    sites=("mill",), at_most=Priority.P3, timezone="Asia/Shanghai", origin="sensors.yaml:9",
)  # fmt: skip


def test_a_window_of_the_configuration_is_taken_over_changed_and_withdrawn_with_it():
    world = World(city(windows=(DECLARED,)))
    world.raises(level=YELLOW)
    assert world.alarm().suppressed_by == ("WIN-works",)
    world.restart()
    world.tick()
    assert world.kinds("WIN-works") == ["declared", "opened"], "an unchanged file leaves no line"
    world.restart(city(windows=(replace(DECLARED, sites=("weir",)),)))
    world.tick()
    assert letter(world.alarm()) == "B"
    world.restart(city())
    world.tick()
    assert world.kinds("WIN-works")[-2:] == ["closed", "cancelled"]
    assert world.ledger.mutes["WIN-works"].is_over


@pytest.mark.parametrize("verb", ["extend", "cancel"])
def test_a_reason_is_always_needed(verb):
    world = World()
    mute = silence(world)
    assert "reason" in world.asks(LEAD, f"mute.{verb}", mute, ends_ms=T0 + 2 * HOUR).message


def test_a_shelf_says_before_it_ends_and_has_a_longest_time_by_level():
    world = World()
    world.raises(level=RED)
    number = world.alarm().id
    answer = world.asks(DUTY, "alarm.shelve", number, reason="r", until_ms=world.now_ms + 3 * HOUR)
    assert "within 2 h" in answer.message
    world.does(DUTY, "alarm.shelve", number, reason="r", until_ms=world.now_ms + 2 * HOUR)
    world.wait(2 * 3600 - 600)
    world.wait(60)
    said = [n for n in world.ledger.notices if n.subject_kind == "shelf"]
    assert {n.target for n in said} == {"desk"}
    assert world.kinds(number).count("shelf_ending") == 1


def test_an_acknowledged_red_alarm_that_stands_asks_again():
    world = World()
    world.raises(level=RED)
    world.does(DUTY, "alarm.acknowledge", world.alarm().id)
    world.wait(2 * 3600 - 1)
    assert letter(world.alarm()) == "C"
    world.restart()
    world.wait(1)
    assert letter(world.alarm()) == "B"
    assert world.kinds(world.alarm().id).count("realarmed") == 1
    world.raises("weir.do", ORANGE, "low-oxygen")
    world.does(DUTY, "alarm.acknowledge", world.alarm("low-oxygen|weir.do").id)
    world.wait(48 * 3600)
    assert letter(world.alarm("low-oxygen|weir.do")) == "C", "off by default for the others"
