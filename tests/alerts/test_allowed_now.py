"""What an answer calls allowed now is what would be taken; a refusal says so in Chinese first, then in English."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from alerts.lifecycle import alarm_verbs
from citypulse.model import AlarmPlan
from tests.alerts.cast import ADA, DUTY, LEAD, ORANGE, RED, World

CHINESE, ENGLISH = re.compile(r"[\u4e00-\u9fff]"), re.compile(r"[a-z]{3}")


def well(level):
    world = World()
    world.raises("well.ch4", level, "gas")
    return world, world.alarm("gas|well.ch4")


def test_what_may_never_be_done_to_red_gas_is_not_named_as_allowed():
    world, alarm = well(RED)
    refused = world.asks(DUTY, "alarm.shelve", alarm.id, reason="crew is there", until_ms=world.now_ms + 60_000)
    assert not refused.ok
    for verb in ("shelve", "out_of_service"):
        assert verb not in refused.allowed
        assert verb not in alarm_verbs(alarm)
        assert verb not in refused.message.partition("Allowed now")[2]
    assert "acknowledge" in refused.allowed


def test_every_verb_named_as_allowed_is_not_refused_for_what_the_alarm_is():
    for level in (RED, ORANGE):
        for verb in alarm_verbs(well(level)[1], "duty"):
            world, alarm = well(level)
            answer = world.asks(DUTY, f"alarm.{verb}", alarm.id, reason="r", note="n", until_ms=world.now_ms + 60_000)
            assert answer.ok, (verb, answer.message)


def test_whoever_may_not_shelve_by_the_configuration_is_not_told_that_they_may():
    _, alarm = well(ORANGE)
    terms = AlarmPlan().terms("gas", "gas", ORANGE)
    assert "shelve" in alarm_verbs(alarm, "duty", terms)
    assert "shelve" not in alarm_verbs(alarm, "duty", replace(terms, shelf_roles=("lead",)))
    assert "shelve" not in alarm_verbs(alarm, "", replace(terms, shelf_s=0.0))


@pytest.mark.parametrize(
    ("who", "verb", "data"),
    [
        (ADA, "alarm.acknowledge", {}),
        (DUTY, "alarm.reset", {"reason": "r"}),
        (DUTY, "alarm.comment", {}),
        (DUTY, "alarm.shelve", {"reason": "r", "until_ms": 1}),
        (DUTY, "alarm.paint", {}),
        (ADA, "order.close", {}),
        (ADA, "order.report", {}),
        (DUTY, "order.paint", {}),
        (ADA, "order.arrive", {"position": "here"}),
        (ADA, "order.contact", {}),
        (ADA, "order.forget", {"reason": "r"}),
        (LEAD, "order.new", {"site": "nowhere", "cause": "x", "team": "bo"}),
        (LEAD, "order.new", {"level": "purple"}),
        (DUTY, "mute.new", {"reason": "r", "ends_ms": 1}),
        (ADA, "mute.new", {}),
        (DUTY, "mute.cancel", {"reason": "r"}),
        (ADA, "exercise.start", {"reason": "r"}),
        (LEAD, "exercise.start", {"reason": "r"}),
        (LEAD, "rota.override", {"reason": "r"}),
    ],
)
def test_every_refusal_is_said_in_both_languages(who, verb, data):
    world, alarm = well(ORANGE)
    world.raises(level=RED)
    target = alarm.id if verb.startswith("alarm") else world.order().id if verb.startswith("order") else "x"
    answer = world.asks(who, verb, target, **data)
    assert not answer.ok
    assert CHINESE.search(answer.message), answer.message
    assert ENGLISH.search(answer.message), answer.message
