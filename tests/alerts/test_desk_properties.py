"""The invariants I1-I17, I23 and I24 over random histories of raises, silences, people, crews and restarts."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alerts.lifecycle import is_retained, letter
from alerts.orders.sla import SlaClock, due_ms, elapsed_s
from alerts.orders.table import ENDS
from citypulse.model import Actor, Condition, Lane, NoticeKind, OrderState, Priority, TransitionKind
from tests.alerts.cast import ADA, BOSS, CHEN, DUTY, LEAD, REPAIR, SUP, World
from tests.alerts.test_workdays import HANGZHOU

NAN = float("nan")
POINTS = [
    ("flood-depth", "mill.depth"), ("flood-depth", "mill.depth2"), ("gas", "well.ch4"), ("low-oxygen", "weir.do"),
    ("no-data", "mill.depth"), ("gateway-silent", "gw-1"),
]  # fmt: skip
POINT = st.sampled_from(POINTS)
LEVEL = st.sampled_from(list(Priority))
KIND = st.sampled_from(list(TransitionKind))
WU = Actor(name="Wu", role="crew", unit="waterworks")
WHO = st.sampled_from([DUTY, LEAD, BOSS, ADA, WU, CHEN, SUP])
ALARM_VERB = st.sampled_from(
    ["acknowledge", "unacknowledge", "reset", "shelve", "unshelve", "out_of_service", "in_service", "comment"]
)
ORDER_VERB = st.sampled_from(
    ["dispatch", "accept", "arrive", "report", "check", "pass", "close", "rework", "return", "redispatch", "extend",
     "defer", "suspend", "resume", "cancel", "reopen", "supervise", "comment"]
)  # fmt: skip
STEP = st.one_of(
    st.tuples(st.just("change"), POINT, KIND, LEVEL),
    st.tuples(st.just("change"), POINT, st.sampled_from([TransitionKind.RAISE, TransitionKind.CLEAR]), LEVEL),
    st.tuples(st.just("late"), POINT, LEVEL),
    st.tuples(st.just("alarm"), ALARM_VERB, POINT, WHO),
    st.tuples(st.just("order"), ORDER_VERB, WHO),
    st.tuples(st.just("repair")),
    st.tuples(st.just("mended"), LEVEL),
    st.tuples(st.just("shelved"), POINT, st.sampled_from([60, 3_600, 90_000])),
    st.tuples(st.just("readings"), st.sampled_from(["mill.depth", "weir.do"]), st.integers(1, 40)),
    st.tuples(st.just("wait"), st.sampled_from([1, 30, 600, 7_200, 90_000, 300_000])),
)
HISTORY = st.lists(STEP, max_size=30)
CALM = settings(max_examples=70, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def play(world: World, step: tuple[Any, ...]) -> None:
    """Play one step of a history; refusals are part of life."""
    match step:
        case "change", (rule, scope), kind, level:
            is_up = kind in {TransitionKind.RAISE, TransitionKind.LEVEL}
            value = NAN if rule in {"no-data", "gateway-silent"} else 30.0
            world.tick(world.change(kind, rule, scope, level if is_up else None, value=value))
        case "late", (rule, scope), level:
            change = world.change(TransitionKind.RAISE, rule, scope, level, lane=Lane.HISTORY)
            world.tick(replace(change, event_ms=world.now_ms - 3_600_000))
        case "alarm", verb, (rule, scope), who:
            alarm = world.desk.live(f"{rule}|{scope}")
            if alarm is not None:
                until = {"until_ms": world.now_ms + 3_600_000} if verb == "shelve" else {}
                world.asks(who, f"alarm.{verb}", alarm.id, reason="r", note="n", **until)
        case "order", verb, who:
            if world.ledger.orders:
                data = {
                    "reason": "r", "note": "n", "plan": "p", "interim": "i", "team": "waterworks",
                    "review_ms": world.now_ms + 86_400_000, "position": [30.2, 120.1], **REPAIR,
                }  # fmt: skip
                world.asks(who, f"order.{verb}", world.order().id, **data)
        case ("repair",):
            if world.ledger.orders:
                for verb in ("accept", "arrive", "report"):
                    world.asks(ADA, f"order.{verb}", world.order().id, position=[30.2, 120.1], **REPAIR)
                world.asks(CHEN, "order.check", world.order().id)
        case "shelved", (rule, scope), seconds:
            world.tick(world.change(TransitionKind.RAISE, rule, scope, Priority.P3))
            play(world, ("alarm", "shelve", (rule, scope), DUTY))
            world.wait(seconds)
        case "mended", level:
            world.tick(world.change(TransitionKind.RAISE, "flood-depth", "mill.depth", level))
            play(world, ("repair",))
            world.tick(world.change(TransitionKind.CLEAR, "flood-depth", "mill.depth"))
            world.readings("mill.depth", 20)
        case "readings", name, minutes:
            world.readings(name, minutes)
        case "wait", seconds:
            world.wait(seconds)


def check(world: World) -> None:
    """Check every invariant of the ledger as it stands."""
    ledger = world.ledger
    by_subject = defaultdict(list)
    for event in ledger.events:
        by_subject[event.subject].append(event)
    for subject, events in by_subject.items():
        assert [e.rev for e in events] == list(range(1, len(events) + 1)), "every change has its event"
        assert (ledger.alarms.get(subject) or ledger.orders[subject]).rev == len(events)
    _check_alarms(world, by_subject)
    _check_notices(world, by_subject)
    _check_orders(world, by_subject)


def _check_alarms(world: World, by_subject: dict[str, list[Any]]) -> None:
    numbers, kinds = defaultdict(list), defaultdict(list)
    for alarm in world.ledger.alarms.values():
        assert letter(alarm) in "ABCDEFG"  # I1
        numbers[alarm.dedup_key].append(alarm.occurrence)
        if alarm.rule == "gas":
            _check_latch([(e.kind, e.to_state) for e in by_subject[alarm.id]])
        if alarm.shelved_until_ms is not None:  # I9
            assert world.now_ms < alarm.shelved_until_ms <= world.now_ms + 24 * 3_600_000
        assert is_retained(alarm) == (alarm.id in world.desk.alarms)  # I11
        for event in by_subject[alarm.id]:
            if event.kind == "acknowledged":
                assert event.from_state in "BD"  # I12
            if event.kind in {"stale", "data_back", "amended"}:
                assert event.from_state == event.to_state  # I6, I7
    for event in world.ledger.events:
        if event.kind in {"raised", "raised_again", "cleared", "withdrawn", "reset"}:  # again: while it chatters
            kinds[world.ledger.alarms[event.subject].dedup_key].append(event.kind.removesuffix("_again"))
    for seen in numbers.values():
        assert sorted(seen) == list(range(1, len(seen) + 1))  # I3
    for key, seen in kinds.items():
        turns = [k for k in seen if k != "reset"]
        assert turns[::2] == ["raised"] * len(turns[::2]), key  # I2, I4
        assert set(turns[1::2]) <= {"cleared", "withdrawn"}, key
    live = [a.dedup_key for a in world.desk.alarms.values()]
    assert len(live) == len(set(live)), "one retained alarm per key"


def _check_latch(turns: list[tuple[str, str]]) -> None:
    """I8: what latches stays in alarm after it cleared, until somebody resets it or a newer occurrence carries on."""
    is_held = False
    for kind, to_state in turns:
        is_held = kind == "cleared" or (is_held and kind not in {"reset", "superseded", "withdrawn"})
        assert not is_held or to_state not in {"A", "D"}, turns


def _check_notices(world: World, by_subject: dict[str, list[Any]]) -> None:
    notices = world.ledger.notices
    assert len({n.idem_key for n in notices}) == len(notices)  # I16
    heard = defaultdict(list)
    for notice in notices:
        if notice.subject_kind == "alarm":
            heard[notice.subject, notice.channel, notice.target].append(notice)
    for (subject, *_), told in heard.items():
        alarm = world.ledger.alarms[subject]
        assert told[0].kind is not NoticeKind.CLEARED  # I14
        if alarm.condition is not Condition.ACTIVE and not alarm.is_chattering:  # else it is told when it settles
            assert NoticeKind.CLEARED in [n.kind for n in told], by_subject[subject]  # I13
        for notice in told:
            at = by_subject[subject][notice.rev - 1].to_state
            if notice.kind is not NoticeKind.CLEARED:
                assert at in "BD", "nobody is paged about what is acknowledged or hidden"  # I15
    paged = {(n.subject, n.rev) for n in notices if n.kind is NoticeKind.RAISED}
    for subject, events in by_subject.items():
        for event in events:
            if event.kind in {"unshelved", "released", "in_service"} and event.to_state == "B":
                nearby = {(subject, event.rev), (subject, event.rev + 1)}  # an order may be attached in between
                alarm = world.ledger.alarms[subject]
                assert paged & nearby or not world.desk._caller._routes.of_alarm(alarm)  # I10


def _check_orders(world: World, by_subject: dict[str, list[Any]]) -> None:
    open_ones = [(o.template or o.cause, o.asset) for o in world.ledger.orders.values() if o.state not in ENDS]
    assert len(open_ones) == len(set(open_ones))  # I24
    for order in world.ledger.orders.values():
        assert order.paused_s >= 0
        assert (order.paused_since_ms is not None) == (order.state in {OrderState.DEFERRED, OrderState.SUSPENDED})
        if order.state is OrderState.CLOSED:
            assert "sensors_ok" in order.data or "proof" in order.data
            assert order.checked_by
            assert order.checked_by not in order.data["hands"]
            assert order.data["repair"]["photo_after"]
            if order.level <= Priority.P2:
                assert by_subject[order.id][-1].actor_role in {"lead", *world.config.teams} or any(
                    e.kind == "closed" and e.actor_role == "lead" for e in by_subject[order.id]
                )


@CALM
@given(HISTORY)
def test_the_invariants_hold_in_every_history(history):
    world = World()
    for step in history:
        play(world, step)
    check(world)


@CALM
@given(HISTORY, st.sets(st.integers(0, 30)), st.sets(st.integers(0, 30)))
def test_killing_and_restarting_anywhere_changes_nothing(history, kills, snapshots):
    calm, shaken = World(), World()
    for number, step in enumerate(history):
        play(calm, step)
        play(shaken, step)
        if number in snapshots:
            shaken.snapshot()
        if number in kills:
            shaken.restart()
    for part in ("alarms", "orders", "events", "notices", "obsolete", "storms"):
        assert getattr(shaken.ledger, part) == getattr(calm.ledger, part), part  # I17


@CALM
@given(st.lists(st.tuples(POINT, KIND, LEVEL), max_size=15), st.lists(st.booleans(), min_size=15, max_size=15))
def test_how_transitions_fall_into_ticks_changes_nothing(changes, cuts):
    together, apart = World(), World()
    waiting = []
    for (point, kind, level), is_cut in zip(changes, cuts, strict=False):
        is_up = kind in {TransitionKind.RAISE, TransitionKind.LEVEL}
        change = apart.change(kind, *point, level if is_up else None)
        apart.tick(change)
        waiting.append(change)
        if is_cut:
            together.tick(*waiting)
            waiting = []
    together.tick(*waiting)
    for part in ("alarms", "orders", "events", "notices", "storms"):
        assert getattr(together.ledger, part) == getattr(apart.ledger, part), part  # I18, at the desk


@given(st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 5_000)), max_size=20), st.integers(0, 5_000))
def test_elapsed_is_wall_minus_the_union_of_pauses(pauses, tail):
    """I23: never negative, never running while paused, and the deadline moves by exactly what was paused."""
    world = World()
    world.raises(level=Priority.P3)
    order = world.order()
    clock = SlaClock(name="T4", start_ms=world.now_ms, limit_s=86_400.0)
    now, wall, paused, last = world.now_ms, 0, 0, 0.0
    for run_s, pause_s in pauses:
        now, wall = now + run_s * 1000, wall + run_s
        order = replace(order, paused_since_ms=now)
        frozen = elapsed_s(order, clock, now, HANGZHOU)
        now, wall, paused = now + pause_s * 1000, wall + pause_s, paused + pause_s
        assert elapsed_s(order, clock, now, HANGZHOU) == frozen
        assert due_ms(order, clock, HANGZHOU) is None
        order = replace(order, paused_since_ms=None, paused_s=order.paused_s + pause_s)
        assert elapsed_s(order, clock, now, HANGZHOU) == wall - paused >= last >= 0
        last = elapsed_s(order, clock, now, HANGZHOU)
    assert elapsed_s(order, clock, now + tail * 1000, HANGZHOU) == wall - paused + tail
    assert due_ms(order, clock, HANGZHOU) == clock.start_ms + round((clock.limit_s + paused) * 1000)
