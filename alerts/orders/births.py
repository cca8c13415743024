"""How an order begins and grows: from an alarm or a report, and by the further alarms that join it.

Pure. One order stands for one trouble: the kind of work (or the cause) at one place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from alerts.people.workdays import WorkCalendar
from citypulse.model import Alarm, OrderPlan, OrderState, OrderTemplate, Priority, WorkOrder

from .sla import clocks_of, due_ms, limit_of, with_clocks


@dataclass(frozen=True, slots=True, kw_only=True)
class Birth:
    """What a new order starts from: an alarm with its rule's plan, or a person's report."""

    level: Priority
    cause: str
    asset: str
    area: str
    domain: str
    note: str
    template: str = ""
    kind: str = "dispatch"
    team: str = ""  # of a notice: whom it is sent to
    recurrence_of: str = ""  # the order last closed for the same trouble
    intake: dict[str, Any] = field(default_factory=dict)  # who reported it: source, contact, confidence, photo …
    plan: OrderPlan | None = None
    alarm: Alarm | None = None
    watched: tuple[str, ...] = ()
    exercise: str = ""  # id of the drill it belongs to


EXERCISE_VERIFY_S: Final = 60.0  # no sensor proves a drill's repair: its script ends, and a minute of quiet is enough


def born(number: str, birth: Birth, now_ms: int) -> WorkOrder:
    """Return the order before its first step (rev 0)."""
    plan, alarm, is_exercise = birth.plan, birth.alarm, bool(birth.exercise)
    data: dict[str, Any] = {"keys": [alarm.dedup_key] if alarm is not None else []}
    if birth.intake:
        data["intake"] = birth.intake
    return WorkOrder(
        id=number,
        kind=birth.kind,
        state=OrderState.REPORTED,
        cause=birth.cause,
        asset=birth.asset,
        area=birth.area,
        domain=birth.domain,
        level=birth.level,
        template=plan.template if plan is not None else birth.template,
        alarm_ids=(alarm.id,) if alarm is not None else (),
        watched=() if is_exercise else birth.watched,
        verify_for_s=EXERCISE_VERIFY_S if is_exercise else plan.verify_for_s if plan is not None else 0.0,
        coverage=plan.coverage if plan is not None else 0.0,
        team=birth.team,
        unit="",
        handler="",
        opened_ms=now_ms,
        state_ms=now_ms,
        due_ms=None,
        first_due_ms=None,
        fed_back_ms=None,
        checked_by="",
        rework_count=0,
        recurrence_of=birth.recurrence_of,
        extensions=0,
        paused_s=0.0,
        paused_since_ms=None,
        is_supervised=False,
        is_exercise=is_exercise,
        note=birth.note,
        rev=0,
        data=data | {"exercise": birth.exercise} if is_exercise else data,
    )


Trouble = tuple[str, str]


def trouble_of(template: str, cause: str, asset: str, exercise: str = "", *, told: str = "") -> Trouble:
    """Return what one order stands for: the kind of work (or, where none is planned, the cause) at one place.

    A drill's trouble is its own: it joins no real order, and no real alarm joins its. A notice stands only for
    having told the team `told`.
    """
    what = f"work:{template}" if template else cause
    if told:
        what = f"told:{told}|{what}"
    return (f"{exercise}|{what}" if exercise else what, asset)


def joined(
    order: WorkOrder,
    alarm: Alarm,
    watched: tuple[str, ...],
    plan: OrderPlan | None,
    template: OrderTemplate | None,
    calendar: WorkCalendar,
) -> dict[str, Any]:
    """Return what changes when a further alarm joins an order; `watched` are the sensors that must prove its end."""
    level = min(order.level, alarm.level)
    clocks = clocks_of(order)
    if level < order.level and "T4" in clocks:
        # Retroactive: the stricter limit counts from when the clock was started.
        old, allowed = clocks["T4"], limit_of(template, level, "T4")
        new = old.with_limit(allowed)
        was, becomes = due_ms(order, old, calendar), due_ms(order, new, calendar)
        if was is None or becomes is None or becomes < was:
            clocks["T4"] = new
    keys = list(dict.fromkeys((*order.data.get("keys", ()), alarm.dedup_key)))
    changes: dict[str, Any] = {
        "level": level,
        "alarm_ids": tuple(dict.fromkeys((*order.alarm_ids, alarm.id))),
        "watched": () if order.is_exercise else tuple(dict.fromkeys((*order.watched, *watched))),
        "data": {**with_clocks(order.data, clocks), "keys": keys},
    }
    if plan is not None and not order.is_exercise:  # the stricter proof of the two
        changes["verify_for_s"] = max(order.verify_for_s, plan.verify_for_s)
        changes["coverage"] = max(order.coverage, plan.coverage)
    if "T4" in clocks and (due := due_ms(order, clocks["T4"], calendar)) is not None:
        changes["due_ms"] = due
    return changes
