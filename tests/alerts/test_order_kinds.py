"""Notices, several limits in one order, a template's own limits, reports by hand, put off and resumed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alerts.orders.replay import replay
from citypulse.model import Actor, NoticeKind, OrderState, OrderStep, OrderTemplate, Priority, TimeLimit
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
    YELLOW,
    World,
    city,
    photo,
    text,
)

H, WD = 3_600_000, 28_800.0
PUBLIC = Actor(name="12345", role="public")
HERE_NOW = [30.2, 120.1]
BUILD = OrderTemplate(
    id="build", name=text("build"), checklist=(text("fence"), text("measure")), is_checklist_required=True,
    timers={
        level: {"T4": TimeLimit(seconds=20 * WD, is_work=True), "T3": TimeLimit(seconds=60.0)} for level in Priority
    },
    steps=(
        OrderStep(id="stop", name=text("stop"), within=TimeLimit(seconds=4 * 3600.0, is_work=True)),
        OrderStep(id="fine", name=text("fine"), within=TimeLimit(seconds=7 * WD, is_work=True), after="stop"),
    ),
)  # fmt: skip


def builder() -> tuple[World, str]:
    world = World(city(templates={"build": BUILD}))
    order = world.does(DUTY, "order.new", "", site="mill", cause="illegal-works", template="build").subject
    world.does(DUTY, "order.file", order)
    world.does(DUTY, "order.dispatch", order, team="pumps")
    return world, order


def clocks(world: World, order: str) -> dict:
    return world.ledger.orders[order].data["clocks"]


def course(world: World, order: str):
    return replay(e for e in world.ledger.events if e.subject == order)


def test_a_notice_must_only_be_acknowledged_and_its_lamps_remind():
    world = World()
    sent = world.does(DUTY, "order.new", "", kind="notice", site="mill", cause="litter", team="pumps").subject
    assert world.order().state is OrderState.DISPATCHED
    assert [n.target for n in world.ledger.notices if n.subject == sent] == ["pumps"]
    assert world.asks(ADA, "order.report", sent, **REPAIR).code == "bad_data"
    world.does(ADA, "order.read", sent)
    world.wait(9 * 3600 * 24)
    assert [n for n in world.ledger.notices if n.subject == sent and n.kind is NoticeKind.REMINDER]
    assert world.order().is_supervised
    world.does(ADA, "order.acknowledge", sent)
    assert world.order().state is OrderState.ACCEPTED
    world.does(DUTY, "order.close", sent)
    assert world.order().state is OrderState.CLOSED


def test_a_notice_about_a_place_does_not_stand_in_the_way_of_work_there():
    world = World()
    one = {"site": "mill", "cause": "litter"}
    world.does(DUTY, "order.new", "", kind="notice", team="pumps", **one)
    world.does(DUTY, "order.new", "", kind="notice", team="bo", **one)
    again = world.asks(DUTY, "order.new", "", kind="notice", team="bo", **one)
    assert again.code == "exists"
    assert world.does(DUTY, "order.new", "", **one).ok


def test_each_step_of_an_order_has_its_own_clock_and_all_must_be_finished():
    world, order = builder()
    assert {"step:stop", "T4", "T3"} <= set(clocks(world, order))
    assert "step:fine" not in clocks(world, order), "it begins when the works have stopped"
    assert clocks(world, order)["T3"]["limit_s"] == 60.0, "the template's own limit"
    world.does(ADA, "order.accept", order)
    world.does(ADA, "order.arrive", order, position=HERE_NOW)
    refused = world.asks(ADA, "order.finish", order, step="fine")
    assert "stop comes before" in refused.message
    assert "its steps are stop, fine" in world.asks(ADA, "order.finish", order, step="paint").message
    world.does(ADA, "order.finish", order, step="stop")
    assert "step:stop" not in clocks(world, order)
    assert clocks(world, order)["step:fine"]["limit_s"] == 7 * WD
    said = world.asks(ADA, "order.report", order, checklist=[1, 2], **REPAIR).message
    assert "steps fine are not finished" in said
    world.does(ADA, "order.finish", order, step="fine")
    world.does(ADA, "order.report", order, checklist=[1, 2], **REPAIR)
    runs = [r for r in course(world, order).runs if r.clock.startswith("step:")]
    assert [(r.clock, r.stopped_ms is not None, r.is_breached) for r in runs] == [
        ("step:stop", True, False), ("step:fine", True, False)]  # fmt: skip


def test_the_clock_of_a_step_stands_still_while_the_order_is_deferred():
    world, order = builder()
    world.does(ADA, "order.accept", order)
    world.wait(25 * 3600)
    before = course(world, order).running()
    world.does(LEAD, "order.defer", order, reason="storm", review_ms=world.now_ms + 48 * H)
    world.wait(48 * 3600)
    assert world.order().state is OrderState.HANDLING
    run = next(r for r in course(world, order).running() if r.clock == "step:stop")
    assert before[0].due_ms is not None
    assert run.due_ms is not None
    assert run.due_ms > next(r.due_ms or 0 for r in before if r.clock == "step:stop")


def test_items_are_ticked_by_name_and_needed_where_the_template_says_so():
    world, order = builder()
    world.does(ADA, "order.accept", order)
    world.does(ADA, "order.arrive", order, position=HERE_NOW)
    for step in ("stop", "fine"):
        world.does(ADA, "order.finish", order, step=step)
    assert "items 1, 2 of the checklist" in world.asks(ADA, "order.report", order, **REPAIR).message
    world.does(ADA, "order.tick", order, item=2, photo=photo("gauge"))
    assert "has 2 items" in world.asks(ADA, "order.tick", order, item=3).message
    assert world.order().data["checklist"]["2"]["by"] == "Ada"
    world.does(ADA, "order.report", order, checklist=[1], **REPAIR)


def test_who_reported_is_kept_and_a_second_report_joins_the_first():
    world = World()
    first = world.does(PUBLIC, "order.new", "", site="mill", cause="smell", contact="138 0000", note="gas?").subject
    assert world.order().data["intake"] == {"source": "citizen", "contact": "138 0000"}
    assert "138 0000" not in str([e.data for e in world.ledger.events]), "the record can never be erased"
    needs = world.asks(DUTY, "order.new", "", site="mill", cause="smell", source="drone")
    assert "confidence" in needs.message
    again = world.asks(DUTY, "order.new", "", site="mill", cause="smell", source="drone", confidence=0.9)
    assert (again.code, again.subject) == ("exists", first)
    assert world.kinds(first)[-1] == "reported_again"
    assert world.order().data["further"][0]["confidence"] == 0.9


def test_the_same_report_soon_after_closing_is_linked_to_the_old_order():
    world = World()
    sent = {"kind": "notice", "site": "mill", "cause": "litter", "team": "pumps"}
    old = world.does(DUTY, "order.new", "", **sent).subject
    world.does(ADA, "order.acknowledge", old)
    world.does(DUTY, "order.close", old)
    world.wait(3600)
    world.does(DUTY, "order.new", "", **sent)
    assert world.order().recurrence_of == old


@pytest.mark.parametrize("level", [RED, ORANGE])
def test_an_order_put_off_comes_back_when_its_sensor_gets_a_level_worse_than_it_was_then(level):
    world = World()
    world.raises(level=RED)
    order = world.order().id
    world.does(ADA, "order.accept", order)
    world.levels(YELLOW)
    world.does(LEAD, "order.defer", order, reason="road closed", review_ms=world.now_ms + 24 * H)
    world.wait(600)
    world.levels(level)  # the order itself is red all the time
    assert world.order().state is OrderState.HANDLING


def test_one_that_only_comes_back_to_where_it_was_stays_put_off():
    world = World()
    world.raises(level=ORANGE)
    order = world.order().id
    world.does(ADA, "order.accept", order)
    world.does(LEAD, "order.defer", order, reason="road closed", review_ms=world.now_ms + 24 * H)
    world.levels(BLUE)
    world.levels(ORANGE)
    assert world.order().state is OrderState.DEFERRED


def test_a_mis_dispatch_gives_the_new_crew_a_new_deadline_and_a_mere_return_does_not():
    for is_wrong in (True, False):
        world = World()
        world.raises(level=ORANGE)
        order, due = world.order().id, world.order().due_ms
        assert due is not None
        world.wait(1800)
        world.does(LEAD, "order.return", order, reason="not ours", mis_dispatch=is_wrong)
        world.does(DUTY, "order.redispatch", order, team="bo")
        moved = due + (1_800_000 if is_wrong else 0)
        assert (world.order().due_ms, world.order().first_due_ms) == (moved, moved)


def test_the_verdict_of_a_report_uses_the_original_deadline_whatever_was_extended():
    world = World()
    world.raises(level=ORANGE)
    order, due = world.order().id, world.order().due_ms
    assert due is not None
    world.does(ADA, "order.accept", order)
    world.does(LEAD, "order.extend", order, reason="pump broke")
    world.does(BOSS, "order.extend", order, reason="again", until_ms=due + 9 * H)
    assert not world.asks(BOSS, "order.extend", order, reason="thrice", until_ms=due + 10 * H).ok
    assert world.order().data["old_due_ms"] == [due, due + 2 * H]
    world.does(ADA, "order.arrive", order, position=HERE_NOW)
    world.wait(4 * 3600 + 1)
    world.does(ADA, "order.report", order, **REPAIR)
    assert course(world, order).reports[0]["original_due_ms"] == due
    assert course(world, order).is_on_time is False


@pytest.mark.parametrize(
    ("verb", "data", "words"),
    [
        ("report", {**REPAIR, "photo_after": "sha256:ab"}, "64 hex digits"),
        ("report", {**REPAIR, "position": [91, 0]}, "latitude"),
        ("report", {**REPAIR, "acted_ms": 9_999_999_999_999}, "in the future"),
        ("report", {**REPAIR, "acted_ms": 1}, "before the dispatch"),
        ("report", {**REPAIR, "checklist": [0]}, "from 1"),
    ],
)
def test_evidence_that_cannot_be_true_is_refused_in_a_sentence(verb, data, words):
    world = World()
    world.raises(level=ORANGE)
    order = world.order().id
    world.does(ADA, "order.accept", order)
    assert "needs position" in world.asks(ADA, "order.arrive", order).message
    world.does(ADA, "order.arrive", order, position=HERE_NOW)
    refused = world.asks(ADA, f"order.{verb}", order, **data)
    assert not refused.ok
    assert words in refused.message
    assert world.order().state is OrderState.HANDLING


def test_a_crew_with_a_line_of_business_goes_before_one_that_takes_any_and_only_for_that():
    config = city()
    teams = config.teams | {"bo": replace(config.teams["bo"], work=("water",))}
    world = World(city(teams=teams))
    world.raises("weir.do", YELLOW, "low-oxygen")
    assert world.order().team == "bo"
    teams = config.teams | {"bo": replace(config.teams["bo"], work=("sewer",))}
    world = World(city(teams=teams))
    world.raises("weir.do", YELLOW, "low-oxygen")
    assert world.order().team == "waterworks"


def test_a_rework_of_five_working_days_gets_one_working_day():
    world = World()
    order = world.does(DUTY, "order.new", "", site="mill", cause="litter", level="blue").subject
    world.does(DUTY, "order.file", order)
    world.does(DUTY, "order.dispatch", order, team="pumps")
    world.repaired(order)
    world.does(CHEN, "order.check", order)
    world.does(CHEN, "order.rework", order, reason="still dirty")
    assert clocks(world, order)["T4"]["limit_s"] == WD
