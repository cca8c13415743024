"""Alarms that come and go: a chattering source is told once, turn by turn only recorded, and ends for certain.

While an alarm chatters it stays one occurrence; its turns are lines of its record. When it has kept quiet, or its rule
is gone, it settles: those who heard hear what it settled in. The last recovery is never the one that is left out.
Red gas is never part of it: each of its raises is told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol

from citypulse.model import Alarm, AlarmPlan, AlarmTerms, Condition, Flap, Priority, Transition

from .lifecycle import regions_of
from .pen import Pen
from .routes import NoticeReason
from .state import RECENT_S
from .texts import span


def is_exempt(domain: str, level: Priority | None) -> bool:
    """True for what is always told turn by turn: red gas."""
    return domain == "gas" and level is Priority.P1


def settle_ms(alarm: Alarm, terms: AlarmTerms) -> int | None:
    """Return when a chattering alarm settles if nothing turns before, epoch ms; None when it does not chatter."""
    if alarm.chatter_since_ms is None:
        return None
    return alarm.chatter_last_ms + round(terms.quiet_s * 1000)


class Desk(Protocol):
    """What chatter needs of the desk."""

    def step(self, pen: Pen, alarm: Alarm, event: str, kind: str, why: str, **more: Any) -> Alarm:
        """Move an alarm by the table and write it."""
        ...

    def want(self, alarm: Alarm, reason: NoticeReason) -> None:
        """Have an alarm told of at the end of this change."""
        ...


class Chatter:
    """Counts raises by source and takes alarms into chatter and out of it."""

    def __init__(self, desk: Desk, plan: AlarmPlan, raises: Mapping[str, tuple[tuple[int, int], ...]]) -> None:
        """`raises` are those of the last `RECENT_S` by source: event time and our time."""
        self._desk, self._plan = desk, plan
        self._most = plan.raises_max  # remembered of each source
        self._raises = {key: deque(found, maxlen=self._most) for key, found in raises.items()}

    def counts(self, alarm: Alarm, now_ms: int) -> Flap | None:
        """Count a raise; return the row it fills, if it does."""
        seen = self._raises.setdefault(alarm.dedup_key, deque(maxlen=self._most))
        seen.append((alarm.raised_ms, alarm.raised_wall_ms))
        if is_exempt(alarm.domain, alarm.level):
            return None
        recent = [event_ms for event_ms, wall_ms in seen if wall_ms > now_ms - RECENT_S * 1000]
        for flap in self._plan.terms(alarm.rule, alarm.domain, alarm.level).flaps:
            since_ms = alarm.raised_ms - flap.within_s * 1000
            if sum(since_ms < at_ms <= alarm.raised_ms for at_ms in recent) >= flap.raises:
                return flap
        return None

    def begin(self, pen: Pen, alarm: Alarm, flap: Flap) -> Alarm:
        """An alarm begins to chatter."""
        quiet = span(self._plan.terms(alarm.rule, alarm.domain, alarm.level).quiet_s)
        why = (
            f"{flap.raises} raises within {span(flap.within_s)}; its turns are recorded and not told until it has kept "
            f"quiet for {quiet} | {span(flap.within_s)} 内 {flap.raises} 次告警, 频繁抖动; 静止 {quiet} 后再通知"
        )
        return self._desk.step(pen, alarm, "chatter", "chattering", why,
                               data={"raises": flap.raises, "within_s": flap.within_s},
                               changes={"chatter_since_ms": pen.now_ms, "chatter_last_ms": pen.now_ms,
                                        "chatter_turns": 0, "chatter_level": alarm.level})  # fmt: skip

    def settle(self, pen: Pen, alarm: Alarm, why: str) -> Alarm:
        """It has kept quiet, or its rule is gone: it chatters no more, and what it ended in is told."""
        changes: dict[str, Any] = {"chatter_since_ms": None, "chatter_level": None}
        is_active = alarm.condition is Condition.ACTIVE
        if is_active and not alarm.is_acked and not regions_of(alarm).overlays:
            changes |= {"called_ms": pen.now_ms, "reminded": 0}
        since_s = (pen.now_ms - (alarm.chatter_since_ms or pen.now_ms)) / 1000
        said = f"{why}; {alarm.chatter_turns} turns in {span(since_s)} | 抖动结束, 其间变化 {alarm.chatter_turns} 次"
        new = self._desk.step(pen, alarm, "settle", "settled", said, data={"turns": alarm.chatter_turns},
                              changes=changes)  # fmt: skip
        if not is_active:
            self._desk.want(new, NoticeReason.ENDED)
        elif not new.is_acked:
            self._desk.want(new, NoticeReason.AGAIN)
        return new


def turned(alarm: Alarm, pen: Pen) -> dict[str, Any]:
    """Return what changes in a chattering alarm when it turns; nothing in another one."""
    if not alarm.is_chattering:
        return {}
    return {"chatter_last_ms": pen.now_ms, "chatter_turns": alarm.chatter_turns + 1}


def is_news(alarm: Alarm, t: Transition) -> bool:
    """True when a chattering alarm has become worse than anything told since it chatters."""
    level = t.level or alarm.level
    return alarm.chatter_level is None or level < alarm.chatter_level
