"""Drills at the edges: in a digest under a channel's rate, in a storm, under a mute, and scored by their own limits."""

from __future__ import annotations

from typing import Any

from alerts.delivery.digest import compose, key_of, plan
from alerts.scoring import Score, score
from citypulse.model import Chain, ChainStep, Drills, OrderTemplate, Priority, Route, StormPlan, TimeLimit
from tests.alerts.cast import ADA, DUTY, HERE, LEAD, RED, T0, YELLOW, World, city, text
from tests.alerts.test_digest import Waits
from tests.ledger.ledger_cast import a_notice
from tests.support.posting import PostRoom


def a_city(**more: Any) -> Any:
    return city(**({"drills": Drills(channels=("board",), longest_s=7_200.0)} | more))


def start(world: World, **more: Any) -> str:
    terms = {"reason": "muster", "sites": ["mill"], "level": "yellow", "minutes": 60}
    return world.does(LEAD, "exercise.start", "", **(terms | more)).subject


def test_a_red_alarm_never_waits_for_a_drill_and_a_drill_takes_no_room_from_it() -> None:
    drilled = [Waits(id=n, level=RED, drill='["robot"]') for n in range(10)]
    real = [Waits(id=10, level=RED), Waits(id=11, level=Priority.P4)]
    chosen = plan([*drilled, *real], 2, 18, 0, is_probing=False)
    assert [s.ids for s in chosen] == [(10,)], "the rest of the room is kept for what is real and red"


def test_a_digest_of_a_drill_says_so_and_keeps_to_its_channels() -> None:
    notices = [
        a_notice(f"k{n}", f"alarm-{n}", title=f"[演练] T{n}", is_exercise=True, only_by=("robot",)) for n in range(9)
    ]
    one = compose(notices, key=key_of(n.idem_key for n in notices), channel="robot")
    assert one.title.startswith("[演练] 【汇总】9 条通知")
    assert "not a real alarm" in one.body.splitlines()[0]
    assert (one.is_exercise, one.only_by) == (True, ("robot",))


def test_under_a_channels_rate_a_drill_and_real_news_come_in_messages_of_their_own(tmp_path) -> None:
    room = PostRoom(tmp_path, "robot", limits={"robot": 6})
    for number in range(12):
        room.raises(f"real-{number}", ("robot", "desk"), level=YELLOW)
        room.raises(
            f"drill-{number}", ("robot", "desk"), level=YELLOW, is_exercise=True, only_by=("robot",), title="[演练] T"
        )
    room.after(0)
    took = room.phones["robot"].took
    assert sorted(n.title[:4] for n in took) == ["[演练]", "【汇总】"]
    for notice in took:
        assert "digest of 12 notices" in notice.title
        named = [line for line in notice.body.splitlines() if line.startswith("- ")]
        assert {"[演练]" in line for line in named} == {notice.is_exercise}
    room.ledger.close()


def test_a_drill_under_a_mute_and_in_a_storm_is_told_at_once_and_moves_neither() -> None:
    storm = StormPlan(starts_above=1, ends_below=1, officers=(("desk", 1),))
    world = World(a_city(storm=storm))
    world.does(LEAD, "mute.new", "", reason="r", ends_ms=T0 + 3_600_000, areas=["north"], at_most="red")
    world.raises("mill.depth2", level=YELLOW)
    assert world.alarm("flood-depth|mill.depth2").suppressed_by
    world.raises("well.ch4", RED, "gas")
    world.raises("weir.do", YELLOW, "low-oxygen")
    number = start(world)
    storms = dict(world.ledger.storms)
    drilled = [n for n in world.ledger.notices if n.is_exercise]
    assert drilled
    assert not any(n.may_wait or n.group for n in drilled)
    alarm = world.alarm(f"{number}|flood-depth|mill.depth")
    assert alarm.suppressed_by == ()
    world.restart()
    world.does(LEAD, "exercise.stop", number, reason="enough")
    assert world.alarm("flood-depth|mill.depth2").suppressed_by, "its end releases nothing real"
    assert world.ledger.storms == storms
    told = {n.subject for n in world.ledger.notices if n.is_exercise and n.kind.value == "cleared"}
    assert told == {alarm.id}


def test_a_drill_that_chatters_ends_told_once() -> None:
    world = World(a_city())
    point = {"rule": "flood-depth", "scope": "mill.depth"}
    steps = [
        {"at_s": 4 * k + 2 * half, "kind": ("raise", "clear")[half], **point} | ({} if half else {"level": "orange"})
        for k in range(6)
        for half in range(2)
    ]
    number = start(world, sites=None, script=steps, minutes=10)
    for _ in range(700):
        world.wait(1)
    alarms = [a for a in world.ledger.alarms.values() if a.exercise == number]
    assert not any(a.is_chattering for a in alarms)
    assert not world.desk.alarms
    last = {}
    for notice in world.ledger.notices:
        if notice.subject_kind == "alarm":
            last[notice.subject] = notice.kind.value
    assert set(last.values()) == {"cleared"}


def scored(world: World, number: str) -> Score:
    ledger = world.ledger
    alarms = [a for a in ledger.alarms.values() if a.exercise == number]
    by_subject = {s: [e for e in ledger.events if e.subject == s] for s in (*ledger.alarms, *ledger.orders)}
    return score(ledger.exercises[number], alarms, ledger.orders, by_subject, world.now_ms, world.config)


def test_a_drill_is_scored_by_its_templates_limits_and_its_alarms_chain() -> None:
    timers = {YELLOW: {"T3": TimeLimit(seconds=60.0)}}
    pump = OrderTemplate(id="pump", name=text("pump"), timers=timers)
    chain = Chain(
        id="slow", name=text("slow"), steps=(ChainStep(after_s=900, to=("routes",), origin=HERE),), origin=HERE
    )
    routes = (
        Route(id="all-to-desk", to="desk", channel="board", chains=("slow",), origin=HERE),
        Route(id="crew", to="pumps", channel="board", domains=("flood",), origin=HERE),
    )
    own = World(a_city(templates={"pump": pump}, chains={"slow": chain}, routes=routes))
    plain = World(a_city())
    verdicts = []
    for world in (own, plain):
        number = start(world)
        world.wait(120)
        world.does(ADA, "order.accept", world.order().id)
        world.wait(680)
        world.does(DUTY, "alarm.acknowledge", next(iter(world.desk.alarms)))
        marks = {m.step: m for m in scored(world, number).sheets[0].marks}
        verdicts.append((marks["accept"].verdict, marks["accept"].limit_s, marks["acknowledge"].limit_s))
    assert verdicts[0] == ("late", 60.0, 900.0)
    assert verdicts[1] == ("met", 3_600.0, 3_600.0)
