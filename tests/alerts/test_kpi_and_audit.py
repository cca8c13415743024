"""Indicators and integrity findings over a small history played on the real desk."""

from __future__ import annotations

import pytest

from alerts.audit import Record, findings
from alerts.chatter import Chatter
from alerts.kpi import Indicator, courses, of_alarms, of_orders, report
from citypulse.model import Command, OrderState
from tests.alerts.cast import ADA, CHEN, DUTY, LEAD, RED, REPAIR, T0, YELLOW, World, photo


def closed_order(world: World) -> str:
    world.raises(level=YELLOW)
    order = world.order().id
    world.wait(60)
    world.repaired(order)
    world.clears()
    world.does(CHEN, "order.check", order)
    world.readings("mill.depth", 36)
    world.does(CHEN, "order.close", order)
    return order


def order_figures(world: World) -> dict[str, Indicator]:
    found = courses(world.ledger.orders.values(), world.ledger.events, T0, world.now_ms + 1)
    return {i.id: i for i in of_orders(found)}


def asked(world: World) -> dict[str, list[str]]:
    record = Record.of(world.ledger.alarms.values(), world.ledger.orders.values(), world.ledger.events)
    rules: dict[str, list[str]] = {}
    for finding in findings(record):
        rules.setdefault(finding.rule, []).append(finding.subject)
    return rules


@pytest.fixture
def no_chatter(monkeypatch):
    """A city in which nothing counts as chatter: every raise is an occurrence of its own."""
    monkeypatch.setattr(Chatter, "counts", lambda *_: None)


def test_every_figure_lists_the_orders_it_was_computed_from():
    world = World()
    good = closed_order(world)
    world.raises("weir.do", YELLOW, "low-oxygen")
    waiting = world.order().id
    figures = order_figures(world)
    assert figures["closed"].value == 0.5
    assert figures["closed"].numerator == (good,)
    assert figures["closed"].denominator == (good, waiting)
    assert figures["handled_on_time"].value == 1.0
    assert figures["proven_by_sensor"].numerator == (good,)
    assert figures["time_to_site"].value == 360
    assert figures["time_to_repair"].value == 960


def test_nothing_to_divide_by_is_no_figure_rather_than_a_hundred_percent():
    for indicator in report([], [], [], T0, T0 + 3_600_000)["orders"]:
        assert indicator.value is None


def test_a_rework_counts_against_the_first_fix_and_is_given_no_time_beyond_the_original_deadline():
    world = World()
    world.raises(level=RED)
    order = world.order().id
    world.repaired(order)
    assert order_figures(world)["handled_on_time"].numerator == (order,), "the first report was in time"
    world.readings("mill.depth", 40)
    world.wait(3 * 3600)
    assert world.order().state is OrderState.HANDLING
    world.does(ADA, "order.report", order, **REPAIR)
    figures = order_figures(world)
    assert figures["reworked"].numerator == (order,)
    assert figures["handled_on_time"].numerator == (), "the repair that held came after the original deadline"
    assert figures["supervised"].value == 1.0


def test_a_pause_is_excused_in_one_figure_and_shown_in_the_other():
    world = World()
    world.raises(level=YELLOW)
    order = world.order().id
    world.does(ADA, "order.accept", order)
    world.does(LEAD, "order.defer", order, reason="flooded", review_ms=world.now_ms + 2 * 86_400_000)
    world.wait(2 * 86_400)
    world.does(ADA, "order.report", order, **REPAIR)
    figures = order_figures(world)
    assert figures["handled_on_time"].value == 1.0
    assert figures["handled_on_time_strict"].value == 0.0


def test_false_alarms_are_those_rejected_as_such():
    world = World()
    order = world.does(DUTY, "order.new", "", site="mill", cause="smell", level="blue").subject
    world.does(DUTY, "order.reject", order, code="false_alarm")
    assert order_figures(world)["false_alarm"].numerator == (order,)


def test_the_alarm_load_is_counted_in_ten_minutes_as_isa_18_2_does(no_chatter):
    world = World()
    for _ in range(12):
        world.raises("weir.do", YELLOW, "low-oxygen")
        world.clears("weir.do", "low-oxygen")
        world.now_ms += 20_000
    world.late()
    figures = {i.id: i for i in of_alarms(world.ledger.alarms.values(), T0, T0 + 3_600_000)}
    assert figures["alarm_rate"].value == 2.0
    assert figures["alarm_rate_peak"].value == 12
    assert figures["flood_share"].value == pytest.approx(1 / 6)
    assert figures["chatter_share"].value == 1.0
    assert figures["red_share"].value == 0.0
    assert len(figures["alarm_rate"].numerator) == 12, "what came late loaded nobody"


def test_an_honest_loop_raises_no_question():
    world = World()
    closed_order(world)
    assert asked(world) == {}


def test_a_closing_without_sensors_is_shown():
    world = World()
    world.raises(level=YELLOW)
    order = world.order().id
    world.repaired(order)
    world.clears()
    world.does(CHEN, "order.check", order)
    world.wait(3 * 3600)
    world.does(CHEN, "order.close", order, proof={"photo": photo("proof"), "lat": 30.0, "lon": 120.0})
    assert asked(world) == {"closed_without_sensors": [order]}


def test_an_extension_in_the_last_minutes_and_a_repair_in_no_time_are_shown():
    world = World()
    world.raises(level=YELLOW)
    order = world.order().id
    world.does(ADA, "order.accept", order)
    world.wait((world.order().due_ms - world.now_ms) / 1000 - 300)
    world.does(LEAD, "order.extend", order, reason="parts")
    world.does(ADA, "order.arrive", order, position=[30.2, 120.1])
    world.wait(5)
    world.does(ADA, "order.report", order, **REPAIR)
    assert asked(world) == {"late_extension": [order], "too_quick_a_repair": [order]}


def test_putting_aside_what_then_got_worse_is_shown():
    world = World()
    world.raises("mill.depth", YELLOW)
    number = world.alarm().id
    world.does(DUTY, "alarm.shelve", number, reason="noisy", until_ms=world.now_ms + 3_600_000)
    world.wait(1800)
    world.raises("mill.depth2", RED)
    assert asked(world) == {"put_aside_before_it_got_worse": [number]}


def test_acknowledging_faster_than_anybody_reads_is_shown(no_chatter):
    world = World()
    for n in range(25):
        world.raises("well.ch4", YELLOW, "gas")
        number = world.alarm("gas|well.ch4").id
        ack = Command(id=f"a{n}", verb="alarm.acknowledge", target=number, actor=DUTY, at_ms=world.now_ms)
        reset = Command(id=f"r{n}", verb="alarm.reset", target=number, actor=DUTY, at_ms=0, data={"reason": "x"})
        world.tick(commands=[ack])
        world.clears("well.ch4", "gas")
        world.tick(commands=[reset])
        world.now_ms += 1_000
    assert list(asked(world)) == ["acknowledged_unread"]
