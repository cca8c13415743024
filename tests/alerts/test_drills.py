"""Drills: the whole loop from a script, marked, told only to those who take part, apart from everything real."""

from __future__ import annotations

from dataclasses import replace

from alerts.kpi import courses, of_alarms
from alerts.scoring import score
from citypulse.model import Condition, Drills, OrderState, Person, Route, StormPlan
from tests.alerts.cast import ADA, CHEN, DUTY, HERE, LEAD, T0, YELLOW, World, city, text

OUTSIDER = Person(id="desk", name=text("outside"), role="duty", is_outside=True)


def a_city(**more):
    return city(**({"drills": Drills(channels=("board",), longest_s=7_200.0)} | more))


def start(world: World, **more) -> str:
    terms = {"reason": "spring muster", "sites": ["mill"], "level": "yellow", "minutes": 60}
    return world.does(LEAD, "exercise.start", "", **(terms | more)).subject


def key(number: str, point: str = "flood-depth|mill.depth") -> str:
    return f"{number}|{point}"


def test_a_drill_runs_the_whole_loop_and_ends_when_all_is_done():
    world = World(a_city())
    number = start(world)
    alarm = world.alarm(key(number))
    assert alarm.exercise == number
    order = world.order()
    assert order.is_exercise
    assert order.state is OrderState.DISPATCHED
    world.does(DUTY, "alarm.acknowledge", alarm.id)
    world.repaired(order.id)
    assert world.alarm(key(number)).condition is Condition.NORMAL, "the script ends what the crew has reported"
    world.does(CHEN, "order.check", order.id)
    world.wait(120)
    world.does(CHEN, "order.close", order.id)
    assert world.order().state is OrderState.CLOSED
    world.tick()
    assert world.ledger.exercises[number].ended_ms is not None
    assert not world.desk.alarms
    for notice in world.ledger.notices:
        assert notice.title.startswith("[演练]")
        assert notice.channel == "board"


def test_a_drill_ends_by_itself_and_leaves_the_board_clear():
    world = World(a_city())
    number = start(world, minutes=10)
    world.restart()
    world.wait(599)
    assert world.alarm(key(number)).condition is Condition.ACTIVE
    world.wait(1)
    assert world.alarm(key(number)).condition is Condition.NORMAL
    assert world.order().state is OrderState.CANCELLED
    assert not world.desk.alarms
    assert world.kinds(number) == ["started", "played", "ended"]
    ends = [n for n in world.ledger.notices if n.kind.value == "cleared"]
    assert ends, "who heard of it hears that it is over"


def test_nothing_leaves_the_drills_channels_or_reaches_somebody_outside():
    world = World(a_city(people={"desk": OUTSIDER}))
    start(world, level="red")
    world.wait(3_000)
    assert world.ledger.notices == []
    assert world.kinds(next(a.id for a in world.ledger.alarms.values())).count("reminded") > 0
    assert all(a.told == () for a in world.ledger.alarms.values())


def test_a_drill_and_a_real_alarm_at_the_same_place_know_nothing_of_each_other():
    world = World(a_city())
    number = start(world)
    world.raises(level=YELLOW)
    real = [o for o in world.ledger.orders.values() if not o.is_exercise]
    assert len(real) == 1
    assert world.alarm().order_id == real[0].id != world.alarm(key(number)).order_id
    world.does(LEAD, "exercise.stop", number, reason="a real one")
    assert world.alarm().condition is Condition.ACTIVE
    assert world.ledger.orders[real[0].id].state is OrderState.DISPATCHED


def test_a_silent_gateway_in_a_drill_neither_hides_nor_blinds_anything_real():
    world = World(a_city())
    world.raises(level=YELLOW)
    steps = [{"at_s": 0, "rule": "gateway-silent", "scope": "gw-1", "level": "yellow"}]
    start(world, sites=None, script=steps)
    assert world.alarm().suppressed_by == ()
    assert world.alarm().stale_by == ()
    number = start(world)
    world.does(LEAD, "mute.new", "", reason="r", ends_ms=T0 + 3_600_000, sites=["mill"])
    assert world.alarm(key(number)).suppressed_by == (), "a mute is for what is real"
    assert world.alarm().suppressed_by


def test_drills_count_in_no_indicator():
    world = World(a_city())
    number = start(world)
    world.does(ADA, "order.accept", world.order().id)
    assert courses(world.ledger.orders.values(), world.ledger.events, T0 - 1, T0 + 10**8) == []
    figures = {i.id: i for i in of_alarms(world.ledger.alarms.values(), T0 - 1, T0 + 3_600_000)}
    assert figures["alarm_rate"].value == 0
    assert world.alarm(key(number)).exercise


def test_a_script_is_played_in_time_and_a_restart_repeats_nothing():
    calm, shaken = World(a_city()), World(a_city())
    steps = [
        {"at_s": 0, "rule": "flood-depth", "scope": "mill.depth", "level": "yellow", "value": 12},
        {"at_s": 60, "kind": "level", "rule": "flood-depth", "scope": "mill.depth", "level": "red", "value": 30},
        {"at_s": 120, "rule": "gas", "scope": "well.ch4", "level": "orange", "value": 20},
        {"at_s": 180, "kind": "clear", "rule": "flood-depth", "scope": "mill.depth"},
    ]
    for world in (calm, shaken):
        start(world, script=steps)
        for _ in range(8):
            world.wait(30)
            if world is shaken:
                world.restart()
    assert calm.ledger.events == shaken.ledger.events
    assert calm.ledger.notices == shaken.ledger.notices
    kinds = [e.kind for e in calm.ledger.events]
    assert {"raised", "worsened", "cleared"} <= set(kinds)
    assert kinds.count("raised") == 2


def test_a_drill_is_scored_step_by_step():
    world = World(a_city())
    number = start(world)
    world.wait(60)
    world.does(DUTY, "alarm.acknowledge", world.alarm(key(number)).id)
    world.does(ADA, "order.accept", world.order().id)
    world.wait(4 * 3600)

    def sheet():
        ledger = world.ledger
        alarms = [a for a in ledger.alarms.values() if a.exercise == number]
        by_subject = {s: [e for e in ledger.events if e.subject == s] for s in (*ledger.alarms, *ledger.orders)}
        return score(ledger.exercises[number], alarms, ledger.orders, by_subject, world.now_ms, world.config)

    found = sheet()
    verdicts = {m.step: m.verdict for m in found.sheets[0].marks}
    assert verdicts["acknowledge"] == verdicts["dispatch"] == verdicts["accept"] == "met"
    assert verdicts["arrive"] == verdicts["report"] == verdicts["close"] == "missed", "the drill ended before"
    assert (found.met, found.late, found.missed, found.open) == (3, 0, 4, 0)
    assert found.value == 3 / 7
    assert not found.is_running


def test_what_cannot_be_drilled_is_refused_with_a_reason():
    world = World(a_city())
    for data, words in (
        ({"sites": ["mill"]}, "reason"),
        ({"reason": "r"}, "sites"),
        ({"reason": "r", "sites": ["moon"]}, "not configured"),
        ({"reason": "r", "sites": ["mill"], "minutes": 999}, "minutes"),
        ({"reason": "r", "sites": ["mill"], "channels": ["phone"]}, "channels"),
        ({"reason": "r", "sites": ["mill"], "level": "pink"}, "level"),
        ({"reason": "r", "script": [{"rule": "x", "scope": "y"}]}, "does not apply"),
        ({"reason": "r", "script": [{"rule": "gas", "scope": "well.ch4", "at": 3}]}, "'at'"),
        ({"reason": "r", "script": []}, "script"),
        ({"reason": "r", "script": [7]}, "object"),
    ):
        answer = world.asks(LEAD, "exercise.start", "", **data)
        assert not answer.ok
        assert words in answer.message, (data, answer.message)
    assert world.asks(DUTY, "exercise.start", "", reason="r", sites=["mill"]).code == "forbidden"
    assert world.asks(LEAD, "exercise.stop", "EX-none").code == "not_found"
    assert world.asks(LEAD, "exercise.dance", "").code == "bad_data"
    bare = World()
    assert "exercises:" in bare.asks(LEAD, "exercise.start", "", reason="r", sites=["mill"]).message


def test_a_crew_takes_part_by_the_drills_channel():
    crew_way = Route(id="drill-crew", to="pumps", channel="board", domains=("flood",), origin=HERE)
    base = a_city()
    world = World(replace(base, routes=(*base.routes, crew_way)))
    start(world)
    assert {n.target for n in world.ledger.notices} == {"desk", "pumps"}


def test_what_a_drill_says_is_marked_and_kept_to_the_drills_channels():
    world = World(a_city(drills=Drills(channels=("board", "phone"), longest_s=7_200.0)))
    start(world)
    world.raises(level=YELLOW)
    drilled = [n for n in world.ledger.notices if n.title.startswith("[演练]")]
    real = [n for n in world.ledger.notices if not n.title.startswith("[演练]")]
    assert {n.subject_kind for n in drilled} == {"alarm", "order"}
    assert all(n.is_exercise and n.only_by == ("board", "phone") for n in drilled)
    assert real
    assert not any(n.is_exercise or n.only_by for n in real)


def test_in_a_storm_a_drill_is_told_at_once_and_by_itself_and_counts_for_nothing():
    world = World(a_city(storm=StormPlan(starts_above=1, ends_below=1, officers=(("desk", 1),))))
    world.raises("mill.depth2", level=YELLOW)
    world.raises("weir.do", level=YELLOW, rule_id="low-oxygen")
    assert world.ledger.storms["desk"].is_on
    assert any(n.may_wait for n in world.ledger.notices)
    counted = world.ledger.storms["desk"]
    start(world)
    drilled = [n for n in world.ledger.notices if n.is_exercise]
    assert drilled
    assert not any(n.may_wait or n.group for n in drilled)
    assert world.ledger.storms["desk"] == counted
