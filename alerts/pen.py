"""The one pen that writes the record: a change of an alarm or order, its event and its revision always go together."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from typing import Any, Protocol

from citypulse.model import (
    SYSTEM,
    Actor,
    Alarm,
    Effects,
    Event,
    Exercise,
    Mute,
    Notice,
    NoticeKind,
    Priority,
    Storm,
    WorkOrder,
)

from .lifecycle import letter, mute_state
from .revise import revised

TEXT_MAX = 2_000  # characters of a reason or note that are kept; a record is not a store for documents


def idem_key(subject: str, rev: int, kind: NoticeKind, channel: str, target: str, step: int) -> str:
    """Return the key that every try of one notice carries: sha256 over what makes it this notice."""
    text = "|".join((subject, str(rev), kind.value, channel, target, str(step)))
    return hashlib.sha256(text.encode()).hexdigest()


def json_ready(value: Any) -> Any:
    """Return `value` with NaN and infinities as None, so that every event can be written as strict JSON."""
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:  # nearly every value: no search of bases
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(k): json_ready(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_ready(v) for v in value]
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to tell somebody: which channel, whom, and by which rule of the routing."""

    channel: str
    target: str
    reason: str

    @property
    def key(self) -> str:
        """`channel|target`, as kept in `Alarm.told`."""
        return f"{self.channel}|{self.target}"


class Collector(Protocol):
    """Who decides that a notice may wait for a digest: storm mode."""

    def collects(self, target: str, level: Priority, domain: str, area: str) -> bool:
        """Return whether a notice to this target about this may wait now."""
        ...

    def group(self, domain: str, area: str) -> str:
        """Return the name it is collected under."""
        ...


@dataclass(slots=True, kw_only=True)
class Pen:
    """Writes one tick's effects. `now_ms` is the tick's wall time, epoch ms."""

    now_ms: int
    effects: Effects = field(default_factory=Effects)
    collector: Collector | None = None  # says which notices may wait for a digest, and under what name

    def alarm(
        self,
        old: Alarm,
        kind: str,
        because: str,
        *,
        event_ms: int | None = None,
        actor: Actor = SYSTEM,
        data: dict[str, Any] | None = None,
        changes: dict[str, Any] | None = None,
        is_new: bool = False,
    ) -> Alarm:
        """Write the next revision of an alarm with its event, and return it."""
        new = revised(old, {**(changes or {}), "rev": old.rev + 1})
        self.effects.alarms[new.id] = new
        self._event(new.id, "alarm", new.rev, kind, because, event_ms, actor, data,
                    "" if is_new else letter(old), letter(new))  # fmt: skip
        return new

    def order(
        self,
        old: WorkOrder,
        kind: str,
        because: str,
        *,
        event_ms: int | None = None,
        actor: Actor = SYSTEM,
        data: dict[str, Any] | None = None,
        changes: dict[str, Any] | None = None,
        is_new: bool = False,
    ) -> WorkOrder:
        """Write the next revision of an order with its event, and return it."""
        new = revised(old, {**(changes or {}), "rev": old.rev + 1})
        self.effects.orders[new.id] = new
        self._event(new.id, "order", new.rev, kind, because, event_ms, actor, data,
                    "" if is_new else old.state.value, new.state.value)  # fmt: skip
        return new

    def mute(
        self,
        old: Mute,
        kind: str,
        because: str,
        *,
        event_ms: int | None = None,
        actor: Actor = SYSTEM,
        data: dict[str, Any] | None = None,
        changes: dict[str, Any] | None = None,
        is_new: bool = False,
    ) -> Mute:
        """Write the next revision of a mute with its event, and return it."""
        new = revised(old, {**(changes or {}), "rev": old.rev + 1})
        self.effects.mutes[new.id] = new
        self._event(new.id, "mute", new.rev, kind, because, event_ms, actor, data,
                    "" if is_new else mute_state(old), mute_state(new))  # fmt: skip
        return new

    def exercise(
        self,
        old: Exercise,
        kind: str,
        because: str,
        *,
        actor: Actor = SYSTEM,
        data: dict[str, Any] | None = None,
        changes: dict[str, Any] | None = None,
        is_new: bool = False,
    ) -> Exercise:
        """Write the next revision of a drill with its event, and return it."""
        new = revised(old, {**(changes or {}), "rev": old.rev + 1})
        self.effects.exercises[new.id] = new
        states = ["running" if e.ended_ms is None else "ended" for e in (old, new)]
        self._event(new.id, "exercise", new.rev, kind, because, None, actor, data, "" if is_new else states[0],
                    states[1])  # fmt: skip
        return new

    def notice(
        self,
        way: Way,
        *,
        subject: str,
        subject_kind: str,
        rev: int,
        kind: NoticeKind,
        level: Priority,
        title: str,
        body: str,
        step: int = 0,
        domain: str = "",
        area: str = "",
    ) -> None:
        """Enqueue one notice; it is delivered only after the commit. What it is about decides if it may wait."""
        group, waits = "", False
        if self.collector is not None and domain:
            group = self.collector.group(domain, area)
            waits = self.collector.collects(way.target, level, domain, area)
        self.effects.notices.append(
            Notice(
                idem_key=idem_key(subject, rev, kind, way.channel, way.target, step),
                subject=subject,
                subject_kind=subject_kind,
                rev=rev,
                kind=kind,
                step=step,
                channel=way.channel,
                target=way.target,
                level=level,
                title=title,
                body=body,
                reason=way.reason,
                created_ms=self.now_ms,
                not_before_ms=self.now_ms,
                group=group,
                may_wait=waits,
            )
        )

    def storm(self, old: Storm, kind: str, because: str, *, data: dict[str, Any]) -> Storm:
        """Write a storm's beginning or end with its event, and return its next revision."""
        new = revised(old, {"rev": old.rev + 1})
        before, after = ("calm", "storm") if new.is_on else ("storm", "calm")
        self._event(new.subject, "storm", new.rev, kind, because, None, SYSTEM, data, before, after)
        return new

    def obsolete(self, subject: str, reason: str) -> None:
        """Drop what is still unsent about `subject` from earlier ticks."""
        self.effects.obsolete.append((subject, reason))

    def _event(
        self,
        subject: str,
        subject_kind: str,
        rev: int,
        kind: str,
        because: str,
        event_ms: int | None,
        actor: Actor,
        data: dict[str, Any] | None,
        from_state: str,
        to_state: str,
    ) -> None:
        self.effects.events.append(
            Event(
                subject=subject,
                subject_kind=subject_kind,
                rev=rev,
                kind=kind,
                event_ms=self.now_ms if event_ms is None else event_ms,
                wall_ms=self.now_ms,
                actor=actor.name,
                actor_role=actor.role,
                from_state=from_state,
                to_state=to_state,
                because=because[:TEXT_MAX],
                data=json_ready(data or {}),
            )
        )
