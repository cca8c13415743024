"""Work orders from the alarm to the proof, on a virtual clock."""

from __future__ import annotations

import pytest

from citypulse.model import Actor, Condition, NoticeKind, OrderState, Quality
from tests.alerts.cast import (
    ADA,
    BLUE,
    BOSS,
    CHEN,
    DUTY,
    LEAD,
    ORANGE,
    RED,
    REPAIR,
    SUP,
    T0,
    YELLOW,
    World,
    city,
    photo,
)

MONDAY_EVENING = T0 + 32 * 3_600_000  # the stories begin on a Sunday at ten; a yellow order has one working day


def fed_back(level=YELLOW) -> tuple[World, str]:
    world = World()
    world.raises(level=level)
    order = world.order().id
    world.wait(60)
    world.repaired(order)
    return world, order


def test_an_alarm_opens_files_and_dispatches_an_order_each_step_an_event():
    world = World()
    world.raises(level=YELLOW)
    order = world.order()
    assert order.id == "WO-20261122-0001"
    assert order.state is OrderState.DISPATCHED
    assert (order.team, order.asset, order.cause) == ("pumps", "mill", "flood-depth")
    assert world.kinds(order.id) == ["reported", "filed", "dispatched"]
    assert world.alarm().order_id == order.id
    crew = [n for n in world.ledger.notices if n.kind is NoticeKind.ORDER]
    assert [(n.channel, n.target) for n in crew] == [("phone", "pumps")]
    assert order.due_ms == order.first_due_ms == MONDAY_EVENING


def test_a_blue_alarm_below_the_plan_opens_nothing_until_it_worsens():
    world = World()
    world.raises(level=BLUE)
    assert not world.ledger.orders
    world.wait(60)
    world.levels(ORANGE)
    assert world.order().level is ORANGE


def test_where_two_crews_could_go_the_desk_decides():
    world = World()
    world.raises("weir.do", YELLOW, "low-oxygen")
    order = world.order()
    assert order.state is OrderState.FILED
    assert any("请派遣" in n.title for n in world.ledger.notices if n.target == "desk")
    refused = world.asks(DUTY, "order.dispatch", order.id, team="nobody")
    assert not refused.ok
    assert "crews are bo, pumps, waterworks" in refused.message
    world.does(DUTY, "order.dispatch", order.id, team="bo")
    assert world.order().team == "bo"


def test_the_loop_closes_on_two_witnesses():
    world, order = fed_back()
    world.clears()
    world.does(CHEN, "order.check", order)
    early = world.asks(CHEN, "order.close", order)
    assert not early.ok
    assert "have not testified yet" in early.message
    world.readings("mill.depth", 36)
    assert "sensors_proven" in world.kinds(order)
    assert world.order().state is OrderState.CHECKING, "sensors alone never close an order"
    world.does(CHEN, "order.close", order)
    closed = world.order()
    assert closed.state is OrderState.CLOSED
    assert closed.checked_by == "Chen"
    assert closed.handler == "Ada"


def test_a_check_passed_early_closes_when_the_sensors_agree():
    world, order = fed_back()
    world.clears()
    world.does(CHEN, "order.check", order)
    world.does(CHEN, "order.pass", order, photo=photo("check"))
    assert world.order().state is OrderState.CHECKING
    world.readings("mill.depth", 36)
    assert world.order().state is OrderState.CLOSED
    assert world.order().checked_by == "Chen"


def test_a_red_order_is_never_closed_without_the_lead():
    world, order = fed_back(RED)
    world.clears()
    world.does(CHEN, "order.check", order)
    world.does(CHEN, "order.pass", order)
    world.readings("mill.depth", 40)
    assert world.order().state is OrderState.CHECKING
    refused = world.asks(CHEN, "order.close", order)
    assert refused.code == "forbidden"
    assert "needs lead" in refused.message
    world.does(LEAD, "order.close", order)
    assert world.order().state is OrderState.CLOSED


def test_the_lead_cannot_close_what_nobody_has_checked():
    world, order = fed_back(RED)
    world.clears()
    world.does(DUTY, "order.check", order)
    world.readings("mill.depth", 40)
    refused = world.asks(LEAD, "order.close", order)
    assert not refused.ok
    assert "a checker who is not the fixer" in refused.message


def test_a_botched_repair_goes_back_to_the_crew_by_itself():
    world, _ = fed_back()
    world.readings("mill.depth", 40)  # the alarm never cleared
    back = world.order()
    assert back.state is OrderState.HANDLING
    assert back.rework_count == 1
    assert back.due_ms == T0 + 28 * 3_600_000  # half a working day: Monday 14:00
    assert back.first_due_ms == MONDAY_EVENING
    rework = [e for e in world.ledger.events if e.kind == "rework"]
    assert "still in alarm" in rework[0].because
    assert any("返工" in n.title for n in world.ledger.notices if n.target == "pumps")


def test_an_alarm_that_returns_while_being_checked_is_rework_at_once():
    world, order = fed_back()
    world.clears()
    world.readings("mill.depth", 10)
    world.raises(level=YELLOW)
    assert world.order().state is OrderState.HANDLING
    assert world.order().rework_count == 1
    assert world.alarm().occurrence == 2
    assert world.alarm().order_id == order
    assert len(world.ledger.orders) == 1


def test_missing_data_never_closes_an_order_and_asks_for_a_persons_proof_once():
    world, order = fed_back()
    world.clears()
    world.does(CHEN, "order.check", order)
    world.readings("mill.depth", 10)
    for _ in range(120):
        world.wait(60)  # silence
    assert world.order().state is OrderState.CHECKING
    assert world.kinds(order).count("proof_wanted") == 1
    assert len([n for n in world.ledger.notices if "人工举证" in n.title]) == 1
    refused = world.asks(CHEN, "order.close", order)
    assert 'give "proof": {photo, lat, lon}' in refused.message
    world.does(CHEN, "order.close", order, proof={"photo": photo("proof"), "lat": 30.2, "lon": 120.1})
    assert world.order().state is OrderState.CLOSED


def test_data_that_comes_back_can_still_prove_the_repair():
    world, order = fed_back()
    world.clears()
    for _ in range(60):
        world.wait(60)
    assert "proof_wanted" in world.kinds(order)
    world.readings("mill.depth", 36)
    assert "sensors_proven" in world.kinds(order)


def test_doubtful_readings_are_no_testimony():
    world, order = fed_back()
    world.clears()
    world.readings("mill.depth", 60, quality=Quality.SUSPECT)
    assert "sensors_proven" not in world.kinds(order)
    assert "proof_wanted" in world.kinds(order)


@pytest.mark.parametrize(
    ("checker", "why"),
    [
        (Actor(name="Ada", role="checker", unit="inspection"), "Ada worked on it"),
        (Actor(name="Bo", role="checker", unit="pumps"), "pumps did the work"),
    ],
)
def test_the_fixer_and_his_unit_never_check(checker, why):
    world, order = fed_back()
    refused = world.asks(checker, "order.check", order)
    assert not refused.ok
    assert why in refused.message


def test_one_order_is_open_per_cause_and_place():
    world = World()
    world.raises("mill.depth", YELLOW)
    world.wait(60)
    world.raises("mill.depth2", ORANGE)
    order = world.order()
    assert len(world.ledger.orders) == 1
    assert order.level is ORANGE
    assert set(order.watched) == {"mill.depth", "mill.depth2"}
    assert len(order.alarm_ids) == 2
    assert order.due_ms == order.opened_ms + 4 * 3_600_000, "the stricter limit counts from the start"


def test_two_rules_that_see_the_same_trouble_make_one_order():
    world = World()
    world.raises("mill.depth", YELLOW)
    world.wait(30)
    world.raises("mill.depth", ORANGE, "flood-rise")
    order = world.order()
    assert len(world.ledger.orders) == 1
    assert (order.cause, order.level, len(order.alarm_ids)) == ("flood-depth", ORANGE, 2)
    assert order.verify_for_s == 3600, "the stricter proof of the two"
    assert world.alarm("flood-rise|mill.depth").order_id == order.id
    world.repaired(order.id)
    world.clears("mill.depth")
    world.readings("mill.depth", 90)
    assert world.order().state is OrderState.HANDLING, "one of the two is still in alarm"


def test_a_new_alarm_for_the_same_work_sends_the_crew_again_without_blaming_the_repair():
    world, order = fed_back()
    world.clears()
    world.readings("mill.depth", 5)
    world.raises("mill.depth2", YELLOW)
    assert world.order().id == order
    assert world.order().state is OrderState.HANDLING
    assert world.order().rework_count == 0


def test_both_sensors_must_testify_when_both_raised():
    world = World()
    world.raises("mill.depth", YELLOW)
    world.raises("mill.depth2", YELLOW)
    order = world.order().id
    world.repaired(order)
    world.clears("mill.depth")
    world.clears("mill.depth2")
    world.readings("mill.depth", 60)
    assert "sensors_proven" not in world.kinds(order)


def closed() -> tuple[World, str]:
    world, order = fed_back()
    world.clears()
    world.does(CHEN, "order.check", order)
    world.readings("mill.depth", 36)
    world.does(CHEN, "order.close", order)
    return world, order


def test_closing_confirms_the_alarm():
    world = World()
    world.raises(level=YELLOW)
    order = world.order().id
    world.does(DUTY, "alarm.acknowledge", world.alarm().id)
    assert not world.alarm().is_confirmed
    world.repaired(order)
    world.clears()
    world.does(CHEN, "order.check", order)
    world.readings("mill.depth", 36)
    assert not world.alarm().is_confirmed
    world.does(CHEN, "order.close", order)
    assert world.alarm().is_confirmed
    assert not world.desk.alarms


def test_the_same_alarm_within_72_h_reopens_the_order_as_a_recurrence():
    world, order = closed()
    first = world.alarm().id
    world.wait(71 * 3600)
    world.raises(level=YELLOW)
    again = world.order()
    assert again.id == order
    assert again.state is OrderState.DISPATCHED
    assert again.recurrence_of == first
    assert world.kinds(order)[-4:] == ["closed", "reopened", "attached", "dispatched"]


def test_after_72_h_it_is_a_new_trouble():
    world, order = closed()
    world.wait(73 * 3600)
    world.raises(level=YELLOW)
    assert world.order().id != order
    assert world.order().recurrence_of == ""


def test_a_person_cannot_reopen_beside_a_twin():
    world, order = closed()
    world.wait(3600)
    world.raises("mill.depth2", YELLOW)
    twin = world.order().id
    assert twin != order
    refused = world.asks(SUP, "order.reopen", order, reason="not satisfied")
    assert not refused.ok
    assert twin in refused.message


def test_refusals_say_the_state_and_what_is_allowed():
    world, order = closed()
    refused = world.asks(ADA, "order.accept", order)
    said = f'工单 WorkOrder {order} 现为结案 is CLOSED; "accept" 须在 needs DISPATCHED. 现在可做 Allowed now: reopen'
    assert refused.message == said
    assert refused.code == "not_allowed"


def test_a_report_without_evidence_is_refused():
    world = World()
    world.raises(level=YELLOW)
    order = world.order().id
    world.does(ADA, "order.accept", order)
    world.does(ADA, "order.arrive", order, position=[30.2, 120.1])
    refused = world.asks(ADA, "order.report", order, photo_before="x")
    assert refused.code == "bad_data"
    assert "needs photo_after, action" in refused.message


def test_another_units_crew_cannot_accept():
    world = World()
    world.raises(level=YELLOW)
    refused = world.asks(Actor(name="Bo", role="crew", unit="bo"), "order.accept", world.order().id)
    assert "belongs to pumps" in refused.message


def test_a_red_order_runs_in_natural_time_sunday_or_not():
    world = World()
    world.raises(level=RED)
    assert world.order().due_ms == T0 + 2 * 3_600_000


def test_deferring_pauses_the_clock_and_the_review_date_resumes_it():
    world = World()
    world.raises(level=YELLOW)
    order = world.order()
    world.does(ADA, "order.accept", order.id)
    world.wait(3600)
    review = world.now_ms + 2 * 86_400_000
    world.does(LEAD, "order.defer", order.id, reason="river too high", review_ms=review)
    world.wait(2 * 86_400 - 1)
    assert world.order().state is OrderState.DEFERRED
    world.wait(1)
    back = world.order()
    assert back.state is OrderState.HANDLING
    assert back.paused_s == pytest.approx(2 * 86_400)
    assert order.due_ms == MONDAY_EVENING
    assert back.due_ms == T0 + 73 * 3_600_000, "from Tuesday 11:00 the whole working day is left: Wednesday 11:00"
    assert not [e for e in world.ledger.events if e.kind == "supervised"]


def test_a_worse_alarm_ends_the_deferral():
    world = World()
    world.raises(level=YELLOW)
    order = world.order().id
    world.does(ADA, "order.accept", order)
    world.does(LEAD, "order.defer", order, reason="dry season", review_ms=world.now_ms + 86_400_000)
    world.wait(60)
    world.levels(RED)
    assert world.order().state is OrderState.HANDLING
    assert world.order().level is RED


def test_suspending_needs_the_boss_a_plan_and_a_date():
    world = World()
    world.raises(level=YELLOW)
    order = world.order().id
    world.does(ADA, "order.accept", order)
    assert world.asks(LEAD, "order.suspend", order).code == "forbidden"
    said = world.asks(BOSS, "order.suspend", order, plan="rebuild the drain", interim="fence",
                      review_ms=world.now_ms + 91 * 86_400_000)  # fmt: skip
    assert "within 90 days" in said.message
    world.does(BOSS, "order.suspend", order, plan="rebuild the drain", interim="fence",
               review_ms=world.now_ms + 60 * 86_400_000)  # fmt: skip
    assert world.order().state is OrderState.SUSPENDED


def test_extensions_one_preset_by_the_lead_one_more_by_the_boss_and_no_third():
    world = World()
    world.raises(level=YELLOW)
    order = world.order()
    world.does(ADA, "order.accept", order.id)
    world.does(ADA, "order.extend", order.id, reason="parts")
    assert world.order().extensions == 0, "asking is not getting"
    world.does(LEAD, "order.extend", order.id, reason="parts")
    assert world.order().due_ms == T0 + 52 * 3_600_000  # half a working day more: Tuesday 14:00
    assert world.order().first_due_ms == order.first_due_ms
    assert "second needs boss" in world.asks(LEAD, "order.extend", order.id, reason="more").message
    later = world.order().due_ms + 3_600_000
    world.does(BOSS, "order.extend", order.id, reason="more", until_ms=later)
    assert world.order().due_ms == later
    third = world.asks(BOSS, "order.extend", order.id, reason="more", until_ms=later + 1000)
    assert "2 is the most" in third.message


def test_a_return_is_asked_by_the_unit_granted_by_the_lead_and_keeps_the_clock():
    world = World()
    world.raises(level=YELLOW)
    order = world.order()
    world.wait(600)
    world.does(ADA, "order.return", order.id, reason="not ours")
    assert world.order().state is OrderState.DISPATCHED
    world.does(LEAD, "order.return", order.id, reason="not theirs")
    assert world.order().state is OrderState.RETURNED
    world.does(DUTY, "order.redispatch", order.id, team="bo")
    assert world.order().due_ms == order.due_ms, "a crew that changes does not give the city more time"


def test_a_mis_dispatch_gives_the_new_crew_its_whole_time():
    world = World()
    world.raises(level=YELLOW)
    order = world.order()
    world.wait(600)
    world.does(LEAD, "order.return", order.id, reason="wrong crew", mis_dispatch=True)
    world.does(DUTY, "order.redispatch", order.id, team="bo")
    assert world.order().due_ms == MONDAY_EVENING
    assert world.order().data["clocks"]["T4"]["start_ms"] == world.now_ms


def test_lamps_light_once_each_and_red_puts_the_order_under_supervision():
    world = World()
    world.raises(level=RED)  # T3 is 5 min
    order = world.order().id
    for _ in range(20):
        world.wait(30)
    lamps = [(e.data["clock"], e.data["lamp"], e.kind) for e in world.ledger.events if e.kind in {"lamp", "supervised"}]
    assert lamps[:3] == [("T3", 0, "lamp"), ("T3", 1, "lamp"), ("T3", 2, "supervised")]
    assert len(lamps) == len(set(lamps))
    assert world.order().is_supervised
    reminded = [n for n in world.ledger.notices if n.kind is NoticeKind.REMINDER and n.subject == order]
    assert [n.target for n in reminded if n.step == 0] == ["pumps"]
    assert {n.target for n in reminded if n.step == 1} == {"pumps", "desk"}


def test_cancelling_needs_the_right_rank_and_tells_the_crew():
    world = World()
    world.raises(level=RED)
    order = world.order().id
    assert world.asks(LEAD, "order.cancel", order, reason="drill").code == "forbidden"
    world.does(BOSS, "order.cancel", order, reason="drill")
    assert world.order().state is OrderState.CANCELLED
    assert any("作废" in n.title for n in world.ledger.notices if n.target == "pumps")
    assert (order, "the order is CANCELLED now") in world.ledger.obsolete


def test_a_person_reports_by_hand_and_a_twin_is_refused():
    world = World()
    answer = world.does(DUTY, "order.new", "", site="mill", cause="manhole", level="yellow", note="cover is gone")
    order = answer.subject
    assert world.order().state is OrderState.REPORTED
    again = world.asks(LEAD, "order.new", "", site="mill", cause="manhole")
    assert (again.ok, again.code, again.subject) == (False, "exists", order)
    world.does(DUTY, "order.file", order)
    world.does(DUTY, "order.dispatch", order, team="pumps")
    world.repaired(order)
    world.does(CHEN, "order.check", order)
    world.does(CHEN, "order.close", order)
    assert world.order().state is OrderState.CLOSED


def test_a_command_that_comes_twice_is_done_once():
    world = World()
    world.raises(level=YELLOW)
    from citypulse.model import Command

    command = Command(id="same", verb="order.accept", target=world.order().id, actor=ADA, at_ms=world.now_ms)
    first = world.tick(commands=[command]).answers[0]
    second = world.tick(commands=[command])
    assert second.answers == [first]
    assert not second.events


def test_a_hidden_alarm_opens_its_order_when_it_comes_out():
    world = World()
    world.raises("gw-1", YELLOW, "gateway-silent", value=float("nan"))
    world.raises(level=RED)
    assert not world.ledger.orders
    world.clears("gw-1", "gateway-silent")
    assert world.order().state is OrderState.DISPATCHED


def test_an_offline_phone_keeps_the_time_at_which_the_crew_acted():
    world = World()
    world.raises(level=YELLOW)
    order = world.order().id
    acted = world.now_ms + 60_000
    world.wait(1800)
    world.does(ADA, "order.accept", order, acted_ms=acted)
    event = next(e for e in world.ledger.events if e.kind == "accepted")
    assert (event.event_ms, event.wall_ms) == (acted, world.now_ms)


def test_an_order_survives_the_end_of_its_rule():
    world = World()
    world.raises(level=YELLOW)
    order = world.order().id
    world.restart(city(rules=()))
    world.wait(1)
    assert world.alarm().condition is Condition.NORMAL
    assert "withdrawn" in world.kinds(world.alarm().id)
    assert world.order().state is OrderState.DISPATCHED
    world.does(ADA, "order.accept", order)


def test_a_slow_sensor_is_given_a_window_of_three_readings():
    world = World()
    world.raises("weir.do", YELLOW, "low-oxygen")
    order = world.order().id
    world.does(DUTY, "order.dispatch", order, team="waterworks")
    who = Actor(name="Wu", role="crew", unit="waterworks")
    world.does(who, "order.accept", order)
    world.does(who, "order.arrive", order, position=[30.2, 120.1])
    world.does(who, "order.report", order, **REPAIR)
    world.clears("weir.do", "low-oxygen")
    world.readings("weir.do", 40, every_s=300)
    assert "sensors_proven" in world.kinds(order)
