"""What people may do to an alarm: acknowledge, undo, reset, shelve, take out of service, comment.

Roles are enforced here, not in pages. A refusal says the alarm's state and what is allowed now.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, Protocol

from citypulse.model import Alarm, AlarmTerms, Answer, Command, Condition, Priority

from .guards import missing
from .lifecycle import ALARM_VERBS, LETTERS, AlarmVerb, alarm_verbs, letter
from .pen import TEXT_MAX, Pen
from .points import Points, may_not_keep, no_end
from .texts import span

UNDO_S: Final = 10.0  # an acknowledgement can be taken back this long (ux.md 1.5)


class Desk(Protocol):
    """What the verbs need of the desk."""

    alarms: dict[str, Alarm]

    def live(self, dedup_key: str) -> Alarm | None:
        """Return the retained alarm of a key, or None."""
        ...

    def terms(self, alarm: Alarm) -> AlarmTerms:
        """Return what holds for this alarm now beside its limits."""
        ...

    def step(self, pen: Pen, alarm: Alarm, event: str, kind: str, why: str, **more: Any) -> Alarm:
        """Move an alarm by the table and write it."""
        ...

    def uncover(self, pen: Pen, alarm: Alarm, event: str, kind: str, why: str, **more: Any) -> Alarm:
        """End an overlay, re-announcing what is still active."""
        ...


class AlarmDesk:
    """Answers people's commands on alarms."""

    def __init__(self, desk: Desk, points: Points) -> None:
        """Serve the alarms of `desk`, and the points that are at rest."""
        self._desk, self._points = desk, points

    def command(self, pen: Pen, command: Command, verb: str) -> Answer:
        """Do what a person asks, or say why not and what is allowed."""
        alarm = self._desk.alarms.get(command.target) or self._desk.live(command.target)
        if alarm is None and verb == "out_of_service":
            alarm = self._points.resting(command.target, pen.now_ms)
        row = ALARM_VERBS.get(verb)
        if row is None:
            return _no(command, "bad_data", f'没有此操作 no verb "{verb}"; there are {", ".join(ALARM_VERBS)}')
        if alarm is None:
            said = f"没有此告警或已结束 no open alarm {command.target!r}; one that has ended takes no {verb}"
            return _no(command, "not_found", said)
        terms = self._desk.terms(alarm)
        if no := _refusal(command, alarm, row, terms, pen.now_ms):
            return replace(_no(command, *no), allowed=alarm_verbs(alarm, command.actor.role, terms))
        said = command.data.get("reason") or command.data.get("note") or row.name.en
        why = f"{command.actor.name} ({command.actor.role}): {said}"
        new = _DO[verb](self._desk, pen, alarm, command, why)
        at = LETTERS[letter(new)]
        message = f"{row.name.zh} {row.name.en}: {new.dedup_key} 现为{at.zh} is {letter(new)} ({at.en})"
        allowed = alarm_verbs(new, terms=self._desk.terms(new))
        return Answer(command=command.id, ok=True, message=message, subject=new.id, allowed=allowed)


def _refusal(command: Command, alarm: Alarm, row: AlarmVerb, terms: AlarmTerms, now_ms: int) -> tuple[str, str] | None:
    actor, at = command.actor, letter(alarm)
    state = LETTERS[at]
    head = f"告警 Alarm {alarm.dedup_key} #{alarm.occurrence} 现为{state.zh} is {at} ({state.en})"
    allowed = ", ".join(alarm_verbs(alarm, actor.role, terms)) or "无 nothing"
    now = f"现在可做 Allowed now: {allowed}"
    if actor.role not in row.roles:
        who = f'"{row.verb}" 限 is for {", ".join(row.roles)}; 您是 you are {actor.role}'
        return "forbidden", f"{head}; {who}. 您现在可做 Allowed to you now: {allowed}"
    if at not in row.letters or (row.verb == "reset" and alarm.condition is not Condition.LATCHED):
        by = (
            f", 已由 since {alarm.acked_by} acknowledged it"
            if row.verb == "acknowledge" and alarm.is_acked and alarm.acked_by
            else ""
        )
        return "not_allowed", f'{head}{by}; "{row.verb}" 须为 needs {" or ".join(row.letters)}. {now}'
    if wrong := missing(row.needs, command.data):
        return "bad_data", f'{head}: "{row.verb}": {wrong}'
    if row.verb == "unacknowledge" and (alarm.acked_ms is None or now_ms - alarm.acked_ms > UNDO_S * 1000):
        said = f"确认只可在 {UNDO_S:.0f} s 内撤销 an acknowledgement can be undone for {UNDO_S:.0f} s"
        return "not_allowed", f"{head}; {said}. {now}"
    if row.verb == "shelve" and (no := _no_shelf(command, alarm, terms, now_ms)):
        code, said = no
        return code, f"{head}; {said}. {now}"
    if row.verb == "out_of_service" and (said := may_not_keep(alarm, actor)):
        return "forbidden", f"{head}; {said}; 您是 you are {actor.role}. {now}"
    if row.verb == "out_of_service" and (said := no_end(command.data.get("until_ms"), now_ms)):
        return "bad_data", f"{head}; {said}. {now}"
    if row.verb == "out_of_service" and alarm.domain == "gas" and alarm.level is Priority.P1:
        return "not_allowed", f"{head}; 红色燃气告警不得隐藏 a red gas alarm is never hidden. {now}"
    return None


def _no_shelf(command: Command, alarm: Alarm, terms: AlarmTerms, now_ms: int) -> tuple[str, str] | None:
    """Return why this alarm may not be put on this shelf by this person; None when it may."""
    colour = alarm.level.colour
    if alarm.domain == "gas" and alarm.level is Priority.P1:
        return "not_allowed", "红色燃气告警不得搁置 a red gas alarm is never shelved"
    if not terms.shelf_s:
        said = f"此类告警不得搁置 {colour} alarms of {alarm.rule} are never shelved (`alarms:` in sensors.yaml)"
        return "not_allowed", said
    if command.actor.role not in terms.shelf_roles:
        who = ", ".join(terms.shelf_roles) or "nobody"
        said = f"搁置限 {colour} alarms of {alarm.rule} are shelved by {who}; you are {command.actor.role}"
        return "forbidden", said
    if not now_ms < command.data["until_ms"] <= now_ms + terms.shelf_s * 1000:
        most = span(terms.shelf_s)
        return "bad_data", f"搁置最长 {most} until_ms must lie ahead, within {most} for {colour}"
    return None


def _acknowledge(desk: Desk, pen: Pen, alarm: Alarm, command: Command, why: str) -> Alarm:
    if alarm.condition is not Condition.NORMAL:
        pen.obsolete(alarm.id, f"acknowledged by {command.actor.name}")
    return desk.step(pen, alarm, "acknowledge", "acknowledged", why, actor=command.actor,
                     changes={"acked_by": command.actor.name, "acked_ms": pen.now_ms})  # fmt: skip


def _unacknowledge(desk: Desk, pen: Pen, alarm: Alarm, command: Command, why: str) -> Alarm:
    return desk.step(pen, alarm, "unacknowledge", "unacknowledged", why, actor=command.actor,
                     changes={"acked_by": "", "acked_ms": None, "called_ms": pen.now_ms, "reminded": 0})  # fmt: skip


def _reset(desk: Desk, pen: Pen, alarm: Alarm, command: Command, why: str) -> Alarm:
    return desk.step(pen, alarm, "reset", "reset", why, actor=command.actor)


def _shelve(desk: Desk, pen: Pen, alarm: Alarm, command: Command, why: str) -> Alarm:
    until_ms = command.data["until_ms"]
    is_short = until_ms - pen.now_ms <= desk.terms(alarm).shelf_warn_s * 1000  # too short to announce its end
    pen.obsolete(alarm.id, f"shelved by {command.actor.name}")
    return desk.step(pen, alarm, "shelve", "shelved", why, actor=command.actor, data={"until_ms": until_ms},
                     changes={"shelved_until_ms": until_ms, "acked_by": "", "acked_ms": None,
                              "shelf_warned_ms": until_ms if is_short else 0})  # fmt: skip


def _unshelve(desk: Desk, pen: Pen, alarm: Alarm, command: Command, why: str) -> Alarm:
    return desk.uncover(pen, alarm, "unshelve", "unshelved", why, actor=command.actor,
                        changes={"shelved_until_ms": None})  # fmt: skip


def _out_of_service(desk: Desk, pen: Pen, alarm: Alarm, command: Command, why: str) -> Alarm:
    if alarm.condition is not Condition.NORMAL:  # else its end may be on the way, and must arrive
        pen.obsolete(alarm.id, f"taken out of service by {command.actor.name}")
    until_ms = command.data.get("until_ms")
    changes: dict[str, Any] = {"is_out_of_service": True, "service_until_ms": until_ms}
    changes |= {"acked_by": "", "acked_ms": None}
    if alarm.is_point:
        reason = str(command.data["reason"])[:TEXT_MAX]
        changes |= {"because_zh": f"{alarm.because_zh}: {reason}", "because_en": f"{alarm.because_en}: {reason}"}
    return desk.step(pen, alarm, "out_of_service", "out_of_service", why, actor=command.actor,
                     data={} if until_ms is None else {"until_ms": until_ms}, changes=changes)  # fmt: skip


def _in_service(desk: Desk, pen: Pen, alarm: Alarm, command: Command, why: str) -> Alarm:
    return desk.uncover(pen, alarm, "in_service", "in_service", why, actor=command.actor,
                        changes={"is_out_of_service": False, "service_until_ms": None})  # fmt: skip


def _comment(desk: Desk, pen: Pen, alarm: Alarm, command: Command, why: str) -> Alarm:
    return desk.step(pen, alarm, "comment", "commented", why, actor=command.actor)


_DO: Final[dict[str, Callable[[Desk, Pen, Alarm, Command, str], Alarm]]] = {
    "acknowledge": _acknowledge,
    "unacknowledge": _unacknowledge,
    "reset": _reset,
    "shelve": _shelve,
    "unshelve": _unshelve,
    "out_of_service": _out_of_service,
    "in_service": _in_service,
    "comment": _comment,
}


def _no(command: Command, code: str, said: str) -> Answer:
    return Answer(command=command.id, ok=False, message=said, code=code, subject=command.target)
