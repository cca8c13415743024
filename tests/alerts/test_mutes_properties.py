"""I9, I10, I12, I13, I14 and I21 over random histories of alarms, people, mutes, chatter, reloads and restarts."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alerts.lifecycle import is_retained, letter
from alerts.mutes import may_hide, spans
from citypulse.model import Condition, NoticeKind, Priority, TransitionKind
from citypulse.model.terms import BUILT_IN
from tests.alerts.cast import LEAD, RULES, World, city
from tests.alerts.test_desk_properties import POINT, STEP, play

MUTE = st.tuples(
    st.just("mute"),
    st.sampled_from([{"sites": ["mill"]}, {"domains": ["gas"]}, {"rules": ["low-oxygen"]}, {"areas": ["north"]}]),
    st.sampled_from(["red", "orange", "yellow", "blue"]),
    st.sampled_from([1, 10, 11, 60, 600, 4_000]),
)
WINDOW = st.tuples(
    st.just("window"), st.sampled_from(["FREQ=DAILY", "FREQ=WEEKLY;BYDAY=SU,MO"]), st.sampled_from([30, 600, 1_500])
)
END = st.tuples(st.sampled_from(["cancel", "extend"]), st.integers(0, 5))
FLUTTER = st.tuples(st.just("flutter"), POINT, st.integers(1, 6), st.sampled_from(list(Priority)))
RELOAD = st.tuples(st.just("reload"), st.sampled_from(sorted({r.id for r in RULES})))
HISTORY = st.lists(st.one_of(STEP, MUTE, WINDOW, END, FLUTTER, RELOAD), max_size=25)
CALM = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def move(world: World, step: tuple[Any, ...]) -> None:
    match step:
        case "mute", names, level, minutes:
            ends = world.now_ms + minutes * 60_000
            world.asks(LEAD, "mute.new", "", reason="r", ends_ms=ends, at_most=level, **names)
        case "window", rule, minutes:
            world.asks(
                LEAD, "mute.window", "", reason="r", starts_ms=world.now_ms, ends_ms=world.now_ms + 10 * 86_400_000,
                rrule=rule, duration_s=minutes * 60, sites=["mill"], at_most="red",
            )  # fmt: skip
        case ("cancel" | "extend") as verb, place:
            known = sorted(world.ledger.mutes)
            if known:
                ends = world.now_ms + 3_600_000
                world.asks(LEAD, f"mute.{verb}", known[place % len(known)], reason="r", ends_ms=ends)
        case "flutter", (rule, scope), times, level:
            for _ in range(times):
                world.tick(world.change(TransitionKind.RAISE, rule, scope, level))
                world.wait(3)
                world.tick(world.change(TransitionKind.CLEAR, rule, scope, None))
                world.wait(3)
        case "reload", gone:
            world.restart(city(tuple(r for r in RULES if r.id != gone)))
            world.tick()
            world.restart(city())
            world.tick()
        case _:
            play(world, step)


def check(world: World) -> None:
    ledger = world.ledger
    by_subject = defaultdict(list)
    for event in ledger.events:
        by_subject[event.subject].append(event)
    for alarm in ledger.alarms.values():
        _check_alarm(world, alarm, by_subject[alarm.id])
    for mute in ledger.mutes.values():
        for start_ms, end_ms in spans(mute):
            assert mute.starts_ms <= start_ms < end_ms <= mute.ends_ms  # I21
        if mute.open_until_ms is not None:
            assert world.now_ms < mute.open_until_ms <= mute.ends_ms
        kinds = [e.kind for e in by_subject[mute.id] if e.kind in {"opened", "closed"}]
        assert kinds == ["opened", "closed"] * (len(kinds) // 2) + ["opened"] * (len(kinds) % 2)


def _check_alarm(world: World, alarm: Any, events: list[Any]) -> None:
    told = [n for n in world.ledger.notices if n.subject == alarm.id and n.subject_kind == "alarm"]
    by_way = defaultdict(list)
    for notice in told:
        by_way[notice.channel, notice.target].append(notice.kind)
    for kinds in by_way.values():
        assert kinds[0] is not NoticeKind.CLEARED  # I14
        if alarm.condition is not Condition.ACTIVE and not alarm.is_chattering:
            assert NoticeKind.CLEARED in kinds  # I13
            if alarm.condition is Condition.NORMAL:
                assert kinds[-1] is not NoticeKind.RAISED, "its end is what they hear last"
    if alarm.shelved_until_ms is not None:  # I9
        longest_ms = BUILT_IN.shelf_s * 1000
        assert world.now_ms < alarm.shelved_until_ms <= world.now_ms + longest_ms
    for cause in alarm.suppressed_by:
        mute = world.ledger.mutes.get(cause)
        if mute is not None:
            assert mute.open_until_ms is not None, "nothing hides behind a mute that is closed"
            assert may_hide(alarm)
            assert alarm.level >= mute.at_most
    if not may_hide(alarm) and alarm.condition is Condition.ACTIVE:
        assert not alarm.suppressed_by
    for event in events:
        if event.kind == "acknowledged":
            assert event.from_state in "BD"  # I12
        if event.kind in {"unshelved", "released", "in_service"} and event.to_state == "B":  # I10
            if any(e.wall_ms == event.wall_ms and e.rev > event.rev and e.to_state in "EFG" for e in events):
                continue  # put aside once more before anybody could be told
            calls = [n for n in told if n.kind is not NoticeKind.CLEARED and n.created_ms == event.wall_ms]
            assert any(n.rev >= event.rev for n in calls), [e.kind for e in events]
    assert letter(alarm) in "ABCDEFG"
    assert is_retained(alarm) == (alarm.id in world.desk.alarms)


@CALM
@given(HISTORY)
def test_the_invariants_hold_with_mutes_and_chatter(history):
    world = World()
    for step in history:
        move(world, step)
        check(world)
    world.wait(BUILT_IN.quiet_s + 12 * 86_400)  # everything that hides or holds back has ended by now
    world.wait(1)
    check(world)
    assert all(m.is_over for m in world.ledger.mutes.values())
    assert not any(a.is_chattering or a.shelved_until_ms for a in world.ledger.alarms.values())


@CALM
@given(HISTORY, st.sets(st.integers(0, 25)), st.sets(st.integers(0, 25)))
def test_killing_and_restarting_anywhere_changes_nothing_with_mutes_and_chatter(history, kills, snapshots):
    calm, shaken = World(), World()
    for number, step in enumerate(history):
        move(calm, step)
        move(shaken, step)
        if number in snapshots:
            shaken.snapshot()
        if number in kills:
            shaken.restart()
    for part in ("alarms", "orders", "mutes", "events", "notices", "obsolete"):
        assert getattr(shaken.ledger, part) == getattr(calm.ledger, part), part  # I17
