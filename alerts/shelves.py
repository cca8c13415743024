"""Shelves and standing alarms: how long one may be put aside, when its end is announced, when it asks again.

Everything is computed from the alarm itself, so a restart neither forgets nor repeats anything.
"""

from __future__ import annotations

from typing import Any, Protocol

from citypulse.model import Alarm, AlarmTerms, Condition

from .lifecycle import letter
from .pen import Pen
from .routes import NoticeReason
from .texts import span


class Desk(Protocol):
    """What standing alarms need of the desk."""

    def step(self, pen: Pen, alarm: Alarm, event: str, kind: str, why: str, **more: Any) -> Alarm:
        """Move an alarm by the table and write it."""
        ...

    def uncover(self, pen: Pen, alarm: Alarm, event: str, kind: str, why: str, **more: Any) -> Alarm:
        """End an overlay, re-announcing what is still active."""
        ...

    def want(self, alarm: Alarm, reason: NoticeReason) -> None:
        """Have an alarm told of at the end of this change."""
        ...


def end_shelf(desk: Desk, pen: Pen, alarm: Alarm) -> Alarm:
    """Take an alarm off its shelf that has become one which is never hidden."""
    why = "a red gas alarm is never shelved | 红色燃气告警不得搁置"
    return desk.uncover(pen, alarm, "unshelve", "unshelved", why, changes={"shelved_until_ms": None})


def ask_again(desk: Desk, pen: Pen, alarm: Alarm, due_ms: int) -> None:
    """Acknowledged, and still there after a long time: it asks for attention again."""
    stood = span((pen.now_ms - (alarm.acked_ms or pen.now_ms)) / 1000)
    why = f"still in alarm {stood} after {alarm.acked_by} acknowledged it | 确认后 {stood} 仍未恢复, 再次提醒"
    changes: dict[str, Any] = {"acked_by": "", "acked_ms": None, "called_ms": pen.now_ms, "reminded": 0}
    changes["realarmed"] = alarm.realarmed + 1
    new = desk.step(pen, alarm, "realarm", "realarmed", why, event_ms=due_ms, changes=changes)
    desk.want(new, NoticeReason.STANDS)


def shelf_warn_ms(alarm: Alarm, terms: AlarmTerms) -> int | None:
    """Return when the end of an alarm's shelf is to be announced, epoch ms; None when it has been or need not be."""
    until_ms = alarm.shelved_until_ms
    if until_ms is None or alarm.shelf_warned_ms == until_ms or alarm.condition is Condition.NORMAL:
        return None
    return until_ms - round(terms.shelf_warn_s * 1000)


def realarm_ms(alarm: Alarm, terms: AlarmTerms) -> int | None:
    """Return when an acknowledged alarm that stands asks again, epoch ms; None when it does not."""
    wait_s = terms.realarm_s
    if wait_s is None or alarm.acked_ms is None or alarm.is_chattering or alarm.condition is not Condition.ACTIVE:
        return None
    if terms.realarm_max and alarm.realarmed >= terms.realarm_max:
        return None
    return alarm.acked_ms + round(wait_s * 1000) if letter(alarm) == "C" else None
