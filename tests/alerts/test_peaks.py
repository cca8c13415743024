"""The worst value an alarm has seen: kept in its row, the same however readings fall into ticks, across restarts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.desk import Desk
from citypulse.model import Lane, Limit, Origin, Priority, Quality, ReadingBatch, Side, Transition, TransitionKind
from tests.alerts.cast import RED, RULES, T0, TABLE, YELLOW, World, city

DEPTH, OXYGEN = TABLE.index["mill.depth"], TABLE.index["weir.do"]
MIN = 60_000


def batch(*readings: tuple[int, float], sensor: int = DEPTH, quality: Any = None) -> ReadingBatch:
    times = [T0 + minute * MIN for minute, _ in readings]
    return ReadingBatch.of([sensor] * len(times), times, [v for _, v in readings], quality=quality)


def tell(world: World, minute: int, *changes: Transition, batch: ReadingBatch | None = None) -> None:
    world.now_ms = T0 + minute * MIN
    world.tick(*changes, batch=batch)


def test_the_worst_reading_while_active_is_kept_without_a_line_of_its_own() -> None:
    world = World()
    world.raises(level=YELLOW, value=12.0)
    lines = len(world.ledger.events)
    tell(world, 1, batch=batch((1, 18.5)))
    tell(world, 2, batch=batch((2, 14.0)))
    assert world.alarm().peak_value == 18.5
    assert len(world.ledger.events) == lines
    world.now_ms = T0 + 3 * MIN
    world.clears()
    assert world.ledger.events[-1].data["peak_value"] == 18.5
    tell(world, 4, batch=batch((4, 60.0)))
    assert world.alarm().peak_value == 18.5, "what comes after its end is not its own"


def test_where_low_is_bad_the_lowest_reading_is_kept() -> None:
    here = Origin(file="r.yaml", line=3)
    low = Limit(level=YELLOW, side=Side.BELOW, value=5.0, deadband=1.0, off_delay_s=60.0, origin=here)
    rules = tuple(replace(r, limits=(low,)) if r.id == "low-oxygen" else r for r in RULES)
    world = World(city(rules))
    world.raises("weir.do", YELLOW, "low-oxygen", value=4.0)
    tell(world, 1, batch=batch((1, 2.5), (2, 6.0), sensor=OXYGEN))
    assert world.alarm("low-oxygen|weir.do").peak_value == 2.5


def test_bad_late_and_foreign_readings_are_no_peak() -> None:
    world = World()
    world.raises(level=YELLOW, value=12.0)
    grades = np.array([Quality.FAIL, Quality.SUSPECT, Quality.MISSING, Quality.GOOD], np.uint8)
    tell(world, 4, batch=batch((1, 90.0), (2, 80.0), (3, float("nan")), (4, 13.0), quality=grades))
    late = replace(batch((1, 99.0)), lane=np.array([Lane.HISTORY], np.uint8))
    tell(world, 5, batch=late)
    tell(world, 6, batch=batch((6, 99.0), sensor=TABLE.index["mill.depth2"]))
    assert world.alarm().peak_value == 13.0


def test_a_drill_and_a_rate_keep_what_was_said_of_them() -> None:
    world = World()
    world.raises(level=YELLOW, rule_id="flood-rise", value=3.0)
    tell(world, 1, batch=batch((1, 50.0)))
    assert world.alarm("flood-rise|mill.depth").peak_value == 3.0


STEP = st.tuples(st.sampled_from(["read", "raise", "level", "clear"]), st.integers(1, 60))
LEVELS = list(Priority)


def history(steps: list[tuple[str, int]]) -> list[tuple[int, str, Any]]:
    """A minute each: readings that come, and what the rules say at a reading."""
    return [(minute, kind, float(value)) for minute, (kind, value) in enumerate(steps, 1)]


def lived(steps: list[tuple[str, int]], cuts: set[int], restarts: set[int]) -> World:
    """Live a history, a tick ending at each minute of `cuts`; restart after those of `restarts`."""
    world = World()
    readings: list[tuple[int, float]] = []
    changes: list[Transition] = []
    for minute, kind, value in history(steps):
        readings.append((minute, value))
        world.now_ms = T0 + minute * MIN
        if kind != "read":
            what = {"raise": TransitionKind.RAISE, "level": TransitionKind.LEVEL, "clear": TransitionKind.CLEAR}[kind]
            level = None if kind == "clear" else LEVELS[int(value) % 4]
            changes.append(world.change(what, level=level, value=value))
        if minute in cuts or minute == len(steps):
            world.tick(*changes, batch=batch(*readings))
            readings, changes = [], []
            if minute in restarts:
                world.restart()
    return world


@settings(max_examples=150, deadline=None)
@given(st.lists(STEP, min_size=1, max_size=30), st.sets(st.integers(1, 30)), st.sets(st.integers(1, 30)))
def test_peaks_are_the_same_in_any_batching_and_across_restarts(steps, cuts, restarts) -> None:
    whole = lived(steps, set(), set())
    fine = lived(steps, set(range(1, 31)), set())
    other = lived(steps, cuts, restarts)

    def peaks(world: World) -> dict[str, Any]:
        return {a.id: (a.peak_value, a.condition, a.level) for a in world.ledger.alarms.values()}

    def said(world: World) -> list[Any]:
        return [(e.kind, e.event_ms, e.data.get("peak_value")) for e in world.ledger.events if e.subject_kind == "alarm"
                and e.kind in {"raised", "raised_again", "worsened", "eased", "cleared"}]  # fmt: skip

    assert peaks(whole) == peaks(fine) == peaks(other)
    assert said(whole) == said(fine) == said(other)


@settings(max_examples=100, deadline=None)
@given(st.lists(STEP, min_size=1, max_size=30))
def test_peaks_equal_looking_at_every_reading(steps) -> None:
    world = lived(steps, set(range(1, 31)), set())
    worst: float | None = None
    for _, kind, value in history(steps):
        if kind == "raise" and worst is None:
            worst = value
        elif kind == "clear" and worst is not None:
            newest = world.alarm()
            if newest.occurrence == 1:
                assert newest.peak_value == max(worst, value)
            return
        elif worst is not None:
            worst = max(worst, value)
    if worst is not None:
        assert world.alarm().peak_value == worst


def test_following_a_thousand_alarms_costs_little() -> None:
    """Every sensor in alarm and every reading worse than the last: the row moves once a tick, whatever the readings."""
    world = World()
    world.raises(level=RED, value=30.0)
    desk: Desk = world.desk
    many = batch(*[(1, 30.0 + k / 100) for k in range(1_000)])
    world.now_ms = T0 + MIN
    effects = desk.receive([], many, [], world.now_ms)
    assert len(effects.alarms) == 1
    assert effects.events == []
