"""What each step changes in a work order beside its state: one small pure function per kind of step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from alerts.people.workdays import WorkCalendar
from alerts.revise import revised
from citypulse.model import Actor, OrderTemplate, Priority, Team, TimeLimit, WorkOrder

from .sla import (
    STEP,
    SlaClock,
    can_pause,
    clocks_of,
    due_ms,
    extended,
    limit_of,
    rework_limit,
    started,
    with_clocks,
)
from .table import ENDS, OrderRow

PROOFS: Final = ("sensors_ok", "proof_asked_ms", "passed", "proof")  # what a rework or a reopening makes void


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step that the table and the guards have allowed."""

    row: OrderRow
    order: WorkOrder
    actor: Actor
    data: dict[str, Any]
    now_ms: int
    teams: dict[str, Team]
    calendar: WorkCalendar
    template: OrderTemplate | None = None  # of the order's kind of work
    alarm_level: Priority | None = None  # of the worst alarm of the order that is active now


@dataclass(slots=True, kw_only=True)
class Change:
    """Fields of the order to set, keys of its data to set and to drop."""

    fields: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    drop: tuple[str, ...] = ()


def _sent(step: Step) -> Change:
    team = step.teams[step.data["team"]]
    return Change(fields={"team": team.id, "unit": team.unit or team.id}, data={"sent_ms": step.now_ms})


def _returned(step: Step) -> Change:
    wrong = step.data.get("mis_dispatch") is True
    return Change(fields={"team": "", "unit": ""}, data={"mis_dispatch": wrong}, drop=("return_asked",))


def _hands(step: Step) -> list[str]:
    return sorted({*step.order.data.get("hands", ()), step.actor.name})


def _arrived(step: Step) -> Change:
    arrival = {"at_ms": step.now_ms, "by": step.actor.name, "position": step.data["position"]}
    return Change(data={"arrival": arrival, "hands": _hands(step)})


def _asked(step: Step) -> Change:
    return Change(data={step.row.done: {"by": step.actor.name, "reason": step.data["reason"]}})


def _extended(step: Step) -> Change:
    order = step.order
    until_ms = step.data["until_ms"] if "until_ms" in step.row.needs else None
    clock = extended(order, clocks_of(order)["T4"], until_ms, step.now_ms, step.calendar)
    old = [*order.data.get("old_due_ms", ()), order.due_ms]
    return Change(
        fields={"extensions": order.extensions + 1},
        data={"clocks": with_clocks({}, {**clocks_of(order), "T4": clock})["clocks"], "old_due_ms": old},
        drop=("extension_asked",),
    )


def _put_off(step: Step) -> Change:
    keys = ("reason", "plan", "interim", "review_ms")
    kept: dict[str, Any] = {k: step.data[k] for k in keys if k in step.data}
    kept["level"] = step.alarm_level.colour if step.alarm_level is not None else None
    return Change(fields={"paused_since_ms": step.now_ms}, data={"waiting": kept})


def _unpaused(order: WorkOrder, now_ms: int, calendar: WorkCalendar) -> Change:
    """Add the pause that ends now to the totals, in natural and in working seconds."""
    since = order.paused_since_ms
    if since is None:
        return Change()
    work_s = order.data.get("paused_work_s", 0.0) + calendar.worked_s(since, now_ms)
    total_s = order.paused_s + max(0, now_ms - since) / 1000
    return Change(fields={"paused_s": total_s, "paused_since_ms": None}, data={"paused_work_s": work_s})


def _resumed(step: Step) -> Change:
    change = _unpaused(step.order, step.now_ms, step.calendar)
    change.drop = ("waiting",)
    return change


def _fed_back(step: Step) -> Change:
    keys = ("photo_before", "photo_after", "action", "materials", "note", "position")
    repair = {k: step.data[k] for k in keys if step.data.get(k) is not None}
    return Change(
        fields={"handler": step.actor.name, "fed_back_ms": step.now_ms, "checked_by": ""},
        data={"repair": repair, "hands": _hands(step), **_ticks(step, step.data.get("checklist") or ())},
        drop=PROOFS,
    )


def _ticks(step: Step, items: Iterable[int]) -> dict[str, Any]:
    """Return the checklist with these items ticked; who ticked one first stays."""
    mark = {"by": step.actor.name, "at_ms": step.now_ms}
    if step.data.get("photo") is not None:
        mark["photo"] = step.data["photo"]
    new = {str(n): mark for n in items}
    return {"checklist": {**new, **step.order.data.get("checklist", {})}} if new else {}


def _ticked(step: Step) -> Change:
    return Change(data=_ticks(step, (step.data["item"],)))


def _step_finished(step: Step) -> Change:
    mark = {"by": step.actor.name, "at_ms": step.now_ms}
    return Change(data={"steps": {**step.order.data.get("steps", {}), step.data["step"]: mark}})


def _read(step: Step) -> Change:
    return Change(data={"read": {"by": step.actor.name, "at_ms": step.now_ms}, "hands": _hands(step)})


def _acknowledged(step: Step) -> Change:
    return Change(fields={"handler": step.actor.name}, data={"hands": _hands(step)})


def _passed(step: Step) -> Change:
    said = {k: step.data[k] for k in ("photo", "note", "position") if step.data.get(k) is not None}
    return Change(
        fields={"checked_by": step.actor.name}, data={"passed": {"by": step.actor.name, "at_ms": step.now_ms, **said}}
    )


def _closed(step: Step) -> Change:
    order = step.order
    checker = order.checked_by if "passed" in order.data else step.actor.name
    closing = {"at_ms": step.now_ms, "by": step.actor.name, "checked_by": checker}
    data: dict[str, Any] = {"closings": [*order.data.get("closings", ()), closing]}
    if step.data.get("proof") is not None:
        data["proof"] = step.data["proof"]
    return Change(fields={"checked_by": checker}, data=data)


def _rework(step: Step) -> Change:
    # Only the system can tell that it was another alarm; a checker who sends it back says that it was botched.
    botched = int(step.actor.role != "system" or step.data.get("is_botched", True))
    return Change(
        fields={"rework_count": step.order.rework_count + botched, "fed_back_ms": None, "checked_by": ""}, drop=PROOFS
    )


def _reopened(step: Step) -> Change:
    order = step.order
    previous = order.alarm_ids[-1] if order.alarm_ids else order.id
    return Change(
        fields={
            "recurrence_of": previous,
            "fed_back_ms": None,
            "checked_by": "",
            "handler": "",
            "team": "",
            "unit": "",
            "due_ms": None,
            "first_due_ms": None,
            "extensions": 0,
        },
        data={"reopened": order.data.get("reopened", 0) + 1},
        drop=(*PROOFS, "original", "mis_dispatch", "checklist", "steps"),
    )


def _ended(step: Step) -> Change:
    keys = ("code", "reason", "duplicate_of")
    return Change(data={"ending": {k: step.data[k] for k in keys if step.data.get(k) is not None}})


def _supervised(_: Step) -> Change:
    return Change(fields={"is_supervised": True})


CHANGES: Final[dict[str, Callable[[Step], Change]]] = {
    "dispatched": _sent,
    "redispatched": _sent,
    "returned": _returned,
    "return_asked": _asked,
    "arrived": _arrived,
    "extension_asked": _asked,
    "extended": _extended,
    "deferred": _put_off,
    "suspended": _put_off,
    "resumed": _resumed,
    "fed_back": _fed_back,
    "check_passed": _passed,
    "closed": _closed,
    "rework": _rework,
    "reopened": _reopened,
    "rejected": _ended,
    "cancelled": _ended,
    "supervised": _supervised,
    "sent": _sent,
    "read": _read,
    "acknowledged": _acknowledged,
    "ticked": _ticked,
    "step_finished": _step_finished,
}


def _clocks(step: Step, order: WorkOrder) -> dict[str, SlaClock]:
    """Return the clocks that run after the step."""
    row = step.row
    clocks = {} if row.to in ENDS else clocks_of(order)
    for name in row.stops:
        clocks.pop(name, None)
    keeps = row.done == "redispatched" and not order.data.get("mis_dispatch")
    for name, limit in _begins(step, order):
        if keeps and can_pause(name) and name in clocks:
            continue  # a crew that changes does not give the city more time
        clocks[name] = started(order, name, limit, step.now_ms)
    if row.done == "step_finished":
        del clocks[STEP + step.data["step"]]
    return clocks


def _begins(step: Step, order: WorkOrder) -> Iterable[tuple[str, TimeLimit]]:
    """Yield the clocks that the step starts, with their limits: those of its row, and the order's own steps."""
    row, steps = step.row, step.template.steps if step.template is not None else ()
    for name in row.starts:
        limit = limit_of(step.template, order.level, name)
        yield name, rework_limit(limit) if row.done == "rework" else limit
    done = order.data.get("steps", {})
    for one in steps:
        is_first = not one.after and row.done in {"dispatched", "redispatched"}
        is_next = one.after and row.done == "step_finished" and one.after == step.data["step"]
        if (is_first or is_next) and one.id not in done:
            yield STEP + one.id, one.within


def changes_of(step: Step) -> dict[str, Any]:
    """Return every field of the order that the step changes, clocks and deadlines included."""
    order, row = step.order, step.row
    change = CHANGES[row.done](step) if row.done in CHANGES else Change()
    fields: dict[str, Any] = dict(change.fields)
    if row.to is not None:
        fields["state"] = row.to
        fields["state_ms"] = step.now_ms
    if row.to in ENDS and order.paused_since_ms is not None:
        ended = _unpaused(order, step.now_ms, step.calendar)
        fields |= ended.fields
        change.data |= ended.data
    data = {k: v for k, v in order.data.items() if k not in change.drop} | change.data
    draft = revised(order, {**fields, "data": data})
    clocks = _clocks(step, draft)
    data = with_clocks(data, clocks)
    if "T4" in clocks:
        _set_deadline(step, draft, clocks["T4"], fields, data)
    fields["data"] = data
    return fields


def _set_deadline(step: Step, draft: WorkOrder, clock: SlaClock, fields: dict[str, Any], data: dict[str, Any]) -> None:
    """Set the deadline in force, and the original one: of the first dispatch, or the first after a mis-dispatch.

    The original clock goes on beside the one in force, with the same pauses but without extensions and reworks:
    on-time figures are those of this clock.
    """
    due = due_ms(draft, clock, step.calendar)
    if due is None:
        return
    fields["due_ms"] = due
    is_first = draft.first_due_ms is None or "original" not in data
    if is_first or (step.row.done == "redispatched" and draft.data.get("mis_dispatch")):
        fields["first_due_ms"] = due
        data["original"] = {**clock.as_data(), "due_ms": due}
    elif step.row.done == "resumed":
        kept = {k: v for k, v in data["original"].items() if k != "due_ms"}
        moved = due_ms(draft, SlaClock(name="T4", **kept), step.calendar)
        data["original"] = {**kept, "due_ms": moved}
