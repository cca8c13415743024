"""How a drill went: which steps were taken in time, late, or missed. Pure, from what the record holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

from alerts.orders.sla import limit_of
from alerts.people.escalation import Escalation
from alerts.people.workdays import WorkCalendar
from citypulse.model import Alarm, CityConfig, Event, Exercise, OrderTemplate, Priority, Text, WorkOrder

ACK_S: Final = 600.0  # where a chain has no later step: seen within ten minutes


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One step expected of people: verdict is met, late, missed, or open while there is still time."""

    step: str
    name: Text
    limit_s: float
    took_s: float | None
    verdict: str
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """The marks of one alarm of a drill and of the order it opened."""

    alarm: str
    key: str
    level: Priority
    order: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A whole drill. `value` is the share of steps met among those whose time has come; None when there is none."""

    exercise: str
    is_running: bool
    value: float | None
    met: int
    late: int
    missed: int
    open: int
    sheets: tuple[Sheet, ...]


# step, name, kinds of event that take it, what it counts from, its clock (alerts.orders.sla)
ORDER_STEPS: Final[tuple[tuple[str, Text, tuple[str, ...], tuple[str, ...], str], ...]] = (
    ("dispatch", Text(zh="派遣", en="dispatched"), ("dispatched", "redispatched"), ("filed",), "T2"),
    ("accept", Text(zh="接单", en="accepted"), ("accepted",), ("dispatched",), "T3"),
    ("arrive", Text(zh="到场", en="arrived"), ("arrived",), ("accepted",), "Tsite"),
    ("report", Text(zh="处理反馈", en="reported"), ("fed_back",), ("dispatched",), "T4"),
    ("check", Text(zh="核查通过", en="checked"), ("check_passed", "closed"), ("fed_back",), "T5"),
    ("close", Text(zh="结案", en="closed"), ("closed",), ("fed_back",), "T5"),
)


def score(
    exercise: Exercise,
    alarms: Iterable[Alarm],
    orders: Mapping[str, WorkOrder],
    events: Mapping[str, Sequence[Event]],
    now_ms: int,
    config: CityConfig,
) -> Score:
    """Score a drill. `events` are those of its alarms and orders by subject, in order; `now_ms` is now or its end.

    The limits are those a real one would have: of the order's template at its level, and of the alarm's chain.
    """
    until_ms = exercise.ended_ms if exercise.ended_ms is not None else now_ms
    calendar, chains = WorkCalendar(ZoneInfo(config.timezone)), Escalation(config)
    sheets = []
    for alarm in alarms:
        waits_ms = chains.plan_for(alarm.domain, alarm.area, alarm.peak_level).waits_ms
        within_s = waits_ms[0] / 1000 if waits_ms else ACK_S
        marks = [_acknowledged(alarm, events.get(alarm.id, ()), exercise, until_ms, within_s)]
        order = orders.get(alarm.order_id)
        if order is not None:
            template = config.templates.get(order.template)
            marks += _of_order(order, template, events.get(order.id, ()), exercise, until_ms, calendar)
        sheets.append(Sheet(alarm=alarm.id, key=alarm.dedup_key.partition("|")[2], level=alarm.peak_level,
                            order=alarm.order_id, marks=tuple(marks)))  # fmt: skip
    seen: set[tuple[str, str]] = set()
    count = dict.fromkeys(("met", "late", "missed", "open"), 0)
    for sheet in sheets:
        for mark in sheet.marks:  # two alarms of one order share its steps: each counts once
            place = (sheet.alarm if mark.step == "acknowledge" else sheet.order, mark.step)
            if place not in seen:
                seen.add(place)
                count[mark.verdict] += 1
    due = count["met"] + count["late"] + count["missed"]
    return Score(exercise=exercise.id, is_running=exercise.ended_ms is None, value=count["met"] / due if due else None,
                 sheets=tuple(sheets), **count)  # fmt: skip


def _acknowledged(alarm: Alarm, events: Sequence[Event], exercise: Exercise, until_ms: int, limit_s: float) -> Mark:
    done = next((e for e in events if e.kind == "acknowledged"), None)
    took_s = None if done is None else (done.wall_ms - alarm.raised_wall_ms) / 1000
    spent_s = (until_ms - alarm.raised_wall_ms) / 1000
    return _mark("acknowledge", Text(zh="确认", en="acknowledged"), limit_s, took_s, spent_s, exercise,
                 done.actor if done is not None else "")  # fmt: skip


def _of_order(
    order: WorkOrder,
    template: OrderTemplate | None,
    events: Sequence[Event],
    exercise: Exercise,
    until_ms: int,
    calendar: WorkCalendar,
) -> list[Mark]:
    marks = []
    for step, name, kinds, after, clock in ORDER_STEPS:
        allowed = limit_of(template, order.level, clock)
        start = next((e for e in events if e.kind in after), None)
        done = next((e for e in events if e.kind in kinds), None)

        def spent_s(until: int, start: Event | None = start, *, is_work: bool = allowed.is_work) -> float:
            since = start.wall_ms if start is not None else order.opened_ms
            return calendar.worked_s(since, until) if is_work else (until - since) / 1000

        took_s = None if done is None else spent_s(done.wall_ms)
        # A step whose beginning never came has not been given its time: it is missed only with the drill itself.
        waited_s = spent_s(until_ms) if start is not None else 0.0
        by = done.actor if done is not None else ""
        marks.append(_mark(step, name, allowed.seconds, took_s, waited_s, exercise, by))
    return marks


def _mark(
    step: str, name: Text, limit_s: float, took_s: float | None, waited_s: float, exercise: Exercise, by: str
) -> Mark:
    if took_s is not None:
        verdict = "met" if took_s <= limit_s else "late"
    elif exercise.ended_ms is not None or waited_s > limit_s:
        verdict = "missed"
    else:
        verdict = "open"
    return Mark(step=step, name=name, limit_s=limit_s, took_s=took_s, verdict=verdict, by=by)
