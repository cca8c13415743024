"""Shelves and standing alarms: how long one may be put aside, when its end is announced, when it asks again.

Everything is computed from the alarm itself, so a restart neither forgets nor repeats anything.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from citypulse.model import Alarm, Condition, Priority

from .lifecycle import letter
from .pen import Pen
from .routes import NoticeReason
from .texts import span

HOUR: Final = 3_600.0
SHELF_S_MAX: Final[dict[Priority, float]] = {
    # A shelf always ends: red within two hours, the milder ones within a day. Our proposal; ISA-18.2 asks for a limit.
    Priority.P1: 2 * HOUR,
    Priority.P2: 8 * HOUR,
    Priority.P3: 24 * HOUR,
    Priority.P4: 24 * HOUR,
}
WARN_S: Final = 600.0  # the end of a shelf is announced so long before
REALARM_S: Final[dict[Priority, float | None]] = {
    # OPC UA's ReAlarmTime: acknowledged and still standing after so long, an alarm asks again. Red: the limit of T4,
    # within which its order should have ended it (domain.md 2.5). Off for the others: their orders' lamps go on.
    Priority.P1: 2 * HOUR,
    Priority.P2: None,
    Priority.P3: None,
    Priority.P4: None,
}


class Desk(Protocol):
    """What standing alarms need of the desk."""

    def step(self, pen: Pen, alarm: Alarm, event: str, kind: str, why: str, **more: Any) -> Alarm:
        """Move an alarm by the table and write it."""
        ...

    def want(self, alarm: Alarm, reason: NoticeReason) -> None:
        """Have an alarm told of at the end of this change."""
        ...


def ask_again(desk: Desk, pen: Pen, alarm: Alarm, due_ms: int) -> None:
    """Acknowledged, and still there after a long time: it asks for attention again."""
    stood = span((pen.now_ms - (alarm.acked_ms or pen.now_ms)) / 1000)
    why = f"still in alarm {stood} after {alarm.acked_by} acknowledged it | 确认后 {stood} 仍未恢复, 再次提醒"
    changes = {"acked_by": "", "acked_ms": None, "called_ms": pen.now_ms, "reminded": 0}
    new = desk.step(pen, alarm, "realarm", "realarmed", why, event_ms=due_ms, changes=changes)
    desk.want(new, NoticeReason.STANDS)


def shelf_warn_ms(alarm: Alarm) -> int | None:
    """Return when the end of an alarm's shelf is to be announced, epoch ms; None when it has been or need not be."""
    until_ms = alarm.shelved_until_ms
    if until_ms is None or alarm.shelf_warned_ms == until_ms or alarm.condition is Condition.NORMAL:
        return None
    return until_ms - round(WARN_S * 1000)


def realarm_ms(alarm: Alarm) -> int | None:
    """Return when an acknowledged alarm that stands asks again, epoch ms; None when it does not."""
    wait_s = REALARM_S[alarm.level]
    if wait_s is None or alarm.acked_ms is None or alarm.is_chattering or alarm.condition is not Condition.ACTIVE:
        return None
    return alarm.acked_ms + round(wait_s * 1000) if letter(alarm) == "C" else None
