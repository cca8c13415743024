"""The desk on a virtual clock: what becomes of transitions, silences, overlays and what people do."""

from __future__ import annotations

import pytest

from alerts.lifecycle import letter
from citypulse.model import Actor, AlarmQuality, Condition, NoticeKind, Route, Team, TransitionKind
from tests.alerts.cast import ADA, BLUE, DUTY, HERE, LEAD, ORANGE, RED, T0, YELLOW, World, city, text

NAN = float("nan")
ENGINEER = Actor(name="Eva", role="engineer")


def sent(world: World, subject: str) -> list[tuple[str, str, str]]:
    return [(n.kind.value, n.channel, n.target) for n in world.ledger.notices if n.subject == subject]


# ── raising and ending ──────────────────────────────────────────────────────────────────────────


def test_a_raise_is_one_alarm_one_event_and_one_notice_per_route():
    world = World()
    world.raises(level=RED, value=31.0)
    alarm = world.alarm()
    assert letter(alarm) == "B"
    assert alarm.rule_origin == "rules.yaml:11", "the line of the red limit"
    assert sent(world, alarm.id) == [("raised", "board", "desk"), ("raised", "phone", "desk")]
    event = next(e for e in world.ledger.events if e.kind == "raised")
    assert (event.from_state, event.to_state) == ("", "B")
    assert "31.0 cm" in event.because
    assert "rules.yaml:11" in event.because
    assert [c["level"] for c in event.data["crossed"]] == ["blue", "yellow", "orange", "red"]


def test_the_singapore_case_a_jump_over_every_band_pages_once_at_the_highest():
    """PUB, 5 Jun 2011: 50 % to over 100 % in two minutes; rules on bands stayed silent. Ours is one red alarm."""
    world = World()
    world.raises(level=BLUE, value=5.0)
    world.wait(120)
    world.levels(RED)
    alarm = world.alarm()
    assert (alarm.level, alarm.occurrence, alarm.peak_level) == (RED, 1, RED)
    assert letter(alarm) == "B"
    assert sent(world, alarm.id)[-2:] == [("worsened", "board", "desk"), ("worsened", "phone", "desk")]
    worse = next(e for e in world.ledger.events if e.kind == "worsened")
    assert {c["level"] for c in worse.data["crossed"]} == {"blue", "yellow", "orange", "red"}


def test_ids_are_the_same_in_every_replay():
    first, second = World(), World()
    for world in (first, second):
        world.raises()
        world.clears()
        world.raises()
    assert list(first.ledger.alarms) == list(second.ledger.alarms)
    assert [n.idem_key for n in first.ledger.notices] == [n.idem_key for n in second.ledger.notices]


def test_a_second_raise_of_an_active_key_makes_no_second_alarm():
    world = World()
    world.raises(level=YELLOW)
    world.raises(level=YELLOW)
    assert len(world.ledger.alarms) == 1
    assert world.kinds(world.alarm().id) == ["raised", "order_attached"]


def test_easing_is_an_event_and_no_notice():
    world = World()
    world.raises(level=RED)
    world.does(DUTY, "alarm.acknowledge", world.alarm().id)
    before = len(world.ledger.notices)
    world.levels(YELLOW)
    assert letter(world.alarm()) == "C"
    assert world.alarm().level is YELLOW
    assert len(world.ledger.notices) == before


def test_worsening_takes_the_acknowledgement_back():
    world = World()
    world.raises(level=YELLOW)
    world.does(DUTY, "alarm.acknowledge", world.alarm().id)
    world.levels(ORANGE)
    assert letter(world.alarm()) == "B"
    assert world.alarm().acked_by == ""


def test_the_end_goes_to_all_who_heard_the_beginning_even_where_routes_changed():
    world = World()
    world.raises(level=RED)
    world.restart(city(routes=()))
    world.clears()
    alarm = world.alarm()
    assert sent(world, alarm.id)[-2:] == [("cleared", "board", "desk"), ("cleared", "phone", "desk")]


def test_a_clear_without_a_raise_is_no_news():
    world = World()
    effects = world.clears()
    assert not effects.events
    assert not effects.alarms


def test_an_alarm_that_came_and_went_in_one_tick_is_still_told_with_its_end():
    world = World()
    world.tick(
        world.change(TransitionKind.RAISE, level=RED), world.change(TransitionKind.CLEAR, value=1.0),
    )  # fmt: skip
    alarm = world.alarm()
    assert letter(alarm) == "D"
    assert [k for k, channel, _ in sent(world, alarm.id) if channel == "board"] == ["raised", "cleared"]


def test_how_changes_fall_into_ticks_makes_no_difference_to_what_is_told():
    together, apart = World(), World()
    changes = [
        (TransitionKind.RAISE, YELLOW), (TransitionKind.LEVEL, RED), (TransitionKind.CLEAR, None),
        (TransitionKind.RAISE, ORANGE),
    ]  # fmt: skip
    together.tick(*[together.change(kind, level=level) for kind, level in changes])
    for kind, level in changes:
        apart.tick(apart.change(kind, level=level))
    for part in ("alarms", "orders", "events", "notices"):
        assert getattr(together.ledger, part) == getattr(apart.ledger, part), part


def test_a_new_occurrence_carries_on_from_one_that_was_never_acknowledged():
    world = World()
    world.raises(level=YELLOW)
    first = world.alarm()
    world.clears()
    world.raises(level=YELLOW)
    assert world.alarm().occurrence == 2
    assert letter(world.ledger.alarms[first.id]) == "A"
    assert world.kinds(first.id)[-1] == "superseded"
    assert [a.occurrence for a in world.desk.alarms.values()] == [2]


# ── acknowledging ───────────────────────────────────────────────────────────────────────────────


def test_an_acknowledgement_drops_unsent_notices_and_can_be_undone_for_ten_seconds():
    world = World()
    world.raises("weir.do", YELLOW, "low-oxygen")
    number = world.alarm("low-oxygen|weir.do").id
    world.does(DUTY, "alarm.acknowledge", number)
    assert (number, "acknowledged by Duty Dan") in world.ledger.obsolete
    world.wait(9)
    world.does(DUTY, "alarm.unacknowledge", number)
    assert letter(world.alarm("low-oxygen|weir.do")) == "B"
    world.does(DUTY, "alarm.acknowledge", number)
    world.wait(11)
    late = world.asks(DUTY, "alarm.unacknowledge", number)
    assert "undone for 10 s" in late.message


def test_two_officers_at_once_one_wins_and_the_other_sees_who():
    world = World()
    world.raises()
    number = world.alarm().id
    world.does(DUTY, "alarm.acknowledge", number)
    second = world.asks(LEAD, "alarm.acknowledge", number)
    assert not second.ok
    assert "Duty Dan acknowledged it" in second.message
    assert "shelve" in second.message


def test_a_crew_may_comment_and_not_acknowledge():
    world = World()
    world.raises()
    refused = world.asks(ADA, "alarm.acknowledge", world.alarm().id)
    assert refused.code == "forbidden"
    assert refused.allowed == ("comment",)
    world.does(ADA, "alarm.comment", world.alarm().id, note="I can see it from here")
    assert world.kinds(world.alarm().id)[-1] == "commented"


@pytest.mark.parametrize("verb", ["alarm.explode", "alarm.", "acknowledge.twice"])
def test_unknown_verbs_are_named(verb):
    world = World()
    world.raises()
    answer = world.asks(DUTY, verb, world.alarm().id)
    assert (answer.ok, answer.code) == (False, "bad_data")


def test_an_unknown_target_is_not_found():
    world = World()
    assert world.asks(DUTY, "alarm.acknowledge", "nobody").code == "not_found"
    assert world.asks(DUTY, "order.accept", "WO-1").code == "not_found"


# ── latching ────────────────────────────────────────────────────────────────────────────────────


def test_a_latched_alarm_stands_until_it_is_acknowledged_and_reset_with_a_reason():
    world = World()
    world.raises("well.ch4", RED, "gas")
    world.clears("well.ch4", "gas")
    alarm = world.alarm("gas|well.ch4")
    assert (alarm.condition, letter(alarm)) == (Condition.LATCHED, "B")
    assert not world.asks(DUTY, "alarm.reset", alarm.id, reason="aired").ok
    world.does(DUTY, "alarm.acknowledge", alarm.id)
    assert world.asks(DUTY, "alarm.reset", alarm.id).code == "bad_data"
    world.does(DUTY, "alarm.reset", alarm.id, reason="aired")
    assert letter(world.alarm("gas|well.ch4")) == "A"
    assert not world.desk.alarms


# ── silence ─────────────────────────────────────────────────────────────────────────────────────


def test_silence_never_clears_it_marks():
    world = World()
    world.raises()
    world.raises("mill.depth", YELLOW, "no-data", value=NAN)
    alarm = world.alarm()
    assert (alarm.condition, alarm.quality) == (Condition.ACTIVE, AlarmQuality.STALE)
    assert alarm.stale_by == ("no-data|mill.depth",)
    world.wait(86_400)
    assert world.alarm().condition is Condition.ACTIVE
    world.clears("mill.depth", "no-data", event_ms=world.now_ms)
    assert world.alarm().quality is AlarmQuality.GOOD
    assert world.alarm().stale_ms is None


def test_a_silent_gateway_blinds_every_alarm_of_its_sensors():
    world = World()
    world.raises("mill.depth")
    world.raises("mill.depth2")
    world.raises("well.ch4", RED, "gas")
    world.raises("gw-1", YELLOW, "gateway-silent", value=NAN)
    quality = {a.scope: a.quality.value for a in world.desk.alarms.values()}
    assert quality == {"mill.depth": "stale", "mill.depth2": "stale", "well.ch4": "good", "gw-1": "good"}


def test_sight_returns_only_when_every_cause_is_gone():
    world = World()
    world.raises()
    world.tick(world.change(TransitionKind.DATA_LOSS))
    world.raises("mill.depth", YELLOW, "no-data", value=NAN)
    world.tick(world.change(TransitionKind.DATA_BACK))
    assert world.alarm().quality is AlarmQuality.STALE
    world.clears("mill.depth", "no-data")
    assert world.alarm().quality is AlarmQuality.GOOD


def test_an_alarm_raised_by_a_gap_is_born_blind():
    world = World()
    world.raises("well.ch4", YELLOW, "no-data", value=NAN)
    world.raises("well.ch4", RED, "gas", value=NAN)
    assert world.alarm("gas|well.ch4").quality is AlarmQuality.STALE


# ── late data ───────────────────────────────────────────────────────────────────────────────────


def test_a_late_breach_is_a_dated_occurrence_that_pages_nobody():
    world = World()
    world.late()
    alarm = world.alarm()
    assert alarm.is_historical
    assert (letter(alarm), alarm.raised_ms) == ("A", T0 - 3_600_000)
    assert not world.ledger.notices
    assert not world.ledger.orders
    assert not world.desk.alarms
    world.raises()
    assert world.alarm().occurrence == 2


def test_a_late_breach_amends_the_record_of_an_open_alarm_and_moves_nothing():
    world = World()
    world.raises(level=YELLOW)
    before = world.alarm()
    world.late(level=RED)
    after = world.alarm()
    assert (after.level, after.condition, after.is_acked) == (before.level, before.condition, before.is_acked)
    assert after.breach_ms == T0 - 3_600_000
    assert after.peak_level is RED
    assert world.kinds(after.id)[-1] == "amended"


# ── shelving and service ────────────────────────────────────────────────────────────────────────


def test_a_shelf_ends_by_itself_and_the_active_alarm_is_announced_again():
    world = World()
    world.raises(level=YELLOW)
    number = world.alarm().id
    world.does(DUTY, "alarm.shelve", number, reason="road works", until_ms=world.now_ms + 3_600_000)
    assert letter(world.alarm()) == "E"
    world.wait(3599)
    assert letter(world.alarm()) == "E"
    before = len(sent(world, number))
    world.wait(1)
    assert letter(world.alarm()) == "B"
    assert sent(world, number)[before:] == [("raised", "board", "desk")]


def test_a_shelved_alarm_that_clears_still_tells_those_who_heard():
    world = World()
    world.raises(level=YELLOW)
    number = world.alarm().id
    world.does(DUTY, "alarm.shelve", number, reason="works", until_ms=world.now_ms + 3_600_000)
    world.clears()
    assert sent(world, number)[-1] == ("cleared", "board", "desk")
    world.wait(3600)
    assert letter(world.alarm()) == "A"


def test_a_shelf_outlasts_one_peak():
    world = World()
    world.raises(level=YELLOW)
    world.does(DUTY, "alarm.shelve", world.alarm().id, reason="works", until_ms=world.now_ms + 3_600_000)
    world.clears()
    before = len(world.ledger.notices)
    world.raises(level=YELLOW)
    assert world.alarm().occurrence == 2
    assert letter(world.alarm()) == "E"
    assert len(world.ledger.notices) == before


@pytest.mark.parametrize("hours", [0, -1, 24.001])
def test_a_shelf_lies_ahead_and_within_a_day(hours):
    world = World()
    world.raises(level=YELLOW)
    until = world.now_ms + int(hours * 3_600_000)
    refused = world.asks(DUTY, "alarm.shelve", world.alarm().id, reason="x", until_ms=until)
    assert (refused.ok, refused.code) == (False, "bad_data")


def test_a_red_gas_alarm_is_never_put_aside():
    world = World()
    world.raises("well.ch4", RED, "gas")
    number = world.alarm("gas|well.ch4").id
    shelf = world.asks(LEAD, "alarm.shelve", number, reason="x", until_ms=world.now_ms + 1000)
    assert "never shelved" in shelf.message
    assert not world.asks(LEAD, "alarm.out_of_service", number, reason="x").ok


def test_out_of_service_covers_everything_until_somebody_puts_it_back():
    world = World()
    world.raises(level=YELLOW)
    number = world.alarm().id
    world.does(ENGINEER, "alarm.out_of_service", number, reason="sensor swapped")
    assert letter(world.alarm()) == "G"
    assert not world.asks(DUTY, "alarm.acknowledge", number).ok
    world.clears()
    assert letter(world.alarm()) == "G"
    world.does(ENGINEER, "alarm.in_service", number)
    assert letter(world.alarm()) == "A"


# ── inhibition ──────────────────────────────────────────────────────────────────────────────────


def test_a_cause_hides_its_consequences_and_its_end_brings_them_out():
    world = World()
    world.raises("gw-1", YELLOW, "gateway-silent", value=NAN)
    world.raises("mill.depth", YELLOW)
    alarm = world.alarm()
    assert letter(alarm) == "F"
    assert alarm.suppressed_by == ("gateway-silent|gw-1",)
    assert not sent(world, alarm.id)
    world.clears("gw-1", "gateway-silent")
    assert letter(world.alarm()) == "B"
    assert sent(world, alarm.id) == [("raised", "board", "desk")]


def test_a_cause_that_comes_later_hides_what_is_there():
    world = World()
    world.raises("mill.depth", YELLOW)
    world.raises("gw-1", YELLOW, "gateway-silent", value=NAN)
    assert letter(world.alarm()) == "F"
    world.clears("mill.depth")
    world.clears("gw-1", "gateway-silent")
    assert letter(world.alarm()) == "A", "an inactive alarm comes out settled"


def test_what_is_hidden_before_it_was_sent_is_dropped():
    world = World()
    world.raises("mill.depth", YELLOW)
    world.raises("gw-1", YELLOW, "gateway-silent", value=NAN)
    assert (world.alarm().id, "hidden by gateway-silent|gw-1") in world.ledger.obsolete


def test_a_cause_on_another_gateway_hides_nothing():
    world = World()
    world.raises("gw-2", YELLOW, "gateway-silent", value=NAN)
    world.raises("mill.depth", YELLOW)
    assert letter(world.alarm()) == "B"


def test_a_red_gas_alarm_is_never_hidden_and_comes_out_when_it_turns_red():
    world = World()
    world.raises("gw-2", YELLOW, "gateway-silent", value=NAN)
    world.raises("well.ch4", YELLOW, "gas")
    assert letter(world.alarm("gas|well.ch4")) == "F"
    world.levels(RED, "well.ch4", "gas")
    assert letter(world.alarm("gas|well.ch4")) == "B"
    assert sent(world, world.alarm("gas|well.ch4").id)


def test_a_restart_tells_nothing_hidden():
    world = World()
    world.raises("gw-1", YELLOW, "gateway-silent", value=NAN)
    world.raises("mill.depth", YELLOW)
    before = len(world.ledger.notices)
    world.restart()
    world.wait(1)
    assert len(world.ledger.notices) == before
    world.clears("gw-1", "gateway-silent")
    assert letter(world.alarm()) == "B"


def test_a_transition_names_its_own_cause():
    world = World()
    world.raises("gw-1", YELLOW, "gateway-silent", value=NAN)
    world.raises("weir.do", YELLOW, "low-oxygen", parent="gateway-silent|gw-1")
    assert letter(world.alarm("low-oxygen|weir.do")) == "F"


# ── reminding ───────────────────────────────────────────────────────────────────────────────────


def reminders(world: World, number: str) -> list[tuple[int, str, str]]:
    kind = NoticeKind.REMINDER
    return [(n.step, n.channel, n.target) for n in world.ledger.notices if n.subject == number and n.kind is kind]


def test_a_red_alarm_that_nobody_acknowledges_calls_again_until_somebody_does():
    world = World()
    world.raises("well.ch4", RED, "gas")
    number = world.alarm("gas|well.ch4").id
    world.wait(119)
    assert not reminders(world, number)
    world.wait(1)
    assert reminders(world, number) == [(1, "board", "desk"), (1, "phone", "desk")]
    world.restart()
    world.wait(180)
    assert reminders(world, number)[2:] == [(2, "board", "desk"), (2, "phone", "desk")]
    world.does(DUTY, "alarm.acknowledge", number)
    world.wait(86_400)
    assert len(reminders(world, number)) == 4


def test_reminders_missed_while_we_were_down_are_one_reminder():
    world = World()
    world.raises("well.ch4", RED, "gas")
    number = world.alarm("gas|well.ch4").id
    world.restart()
    world.wait(700)
    assert {step for step, *_ in reminders(world, number)} == {3}
    assert world.kinds(number).count("reminded") == 1


def test_from_the_third_reminder_on_every_desk_hears_it():
    night = Team(id="night", name=text("night desk"), kind="duty")
    config = city()
    routes = (*config.routes, Route(id="night", to="night", channel="phone", domains=("road",), origin=HERE))
    world = World(city(teams={**config.teams, "night": night}, routes=routes))
    world.raises("well.ch4", RED, "gas")
    number = world.alarm("gas|well.ch4").id
    world.wait(120)
    world.wait(180)
    assert "night" not in {target for *_, target in reminders(world, number)}
    world.wait(300)
    assert (3, "phone", "night") in reminders(world, number)
    world.clears("well.ch4", "gas")
    assert ("cleared", "phone", "night") in sent(world, number), "and hears of its end"


@pytest.mark.parametrize("how", ["shelved", "hidden", "cleared"])
def test_what_is_hidden_or_over_does_not_call(how):
    world = World()
    world.raises("mill.depth", YELLOW)
    number = world.alarm().id
    if how == "shelved":
        world.does(DUTY, "alarm.shelve", number, reason="x", until_ms=world.now_ms + 20 * 3_600_000)
    elif how == "hidden":
        world.raises("gw-1", BLUE, "gateway-silent", value=NAN)
    else:
        world.clears()
    world.wait(10 * 3600)
    assert not reminders(world, number)


# ── reload ──────────────────────────────────────────────────────────────────────────────────────


def test_an_identical_configuration_changes_nothing():
    world = World()
    world.raises()
    world.restart(city())
    effects = world.tick()
    assert not effects.events
    assert not effects.notices


def test_the_alarms_of_a_rule_that_is_gone_end_with_a_reason():
    world = World()
    world.raises(level=YELLOW)
    world.restart(city(rules=()))
    world.wait(1)
    event = next(e for e in world.ledger.events if e.kind == "withdrawn")
    assert "no longer covers mill.depth" in event.because
    assert ("cleared", "board", "desk") in sent(world, world.alarm().id)
    assert any(n.kind is NoticeKind.CLEARED for n in world.ledger.notices)
