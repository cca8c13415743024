"""What people read: titles and bodies of notices, Chinese first, then English, with local times."""

from __future__ import annotations

import math
from datetime import timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from alerts.orders.table import STATE_NAMES
from citypulse.clock import utc
from citypulse.model import Alarm, NoticeKind, Rule, Side, Site, Text, WorkOrder

from .routes import NoticeReason

ALARM_HEADS: Final = {
    NoticeReason.FIRST: Text(zh="告警", en="alarm"),
    NoticeReason.WORSENED: Text(zh="升级", en="worse"),
    NoticeReason.AGAIN: Text(zh="仍在告警", en="still in alarm"),
    NoticeReason.CHATTER: Text(zh="频繁抖动, 静止后再通知", en="chattering, told again when it has settled"),
    NoticeReason.STANDS: Text(zh="已确认但久未恢复", en="acknowledged, still standing"),
    NoticeReason.REMINDED: Text(zh="仍无人确认", en="still not acknowledged"),
    NoticeReason.ENDED: Text(zh="恢复", en="back to normal"),
}
KINDS: Final = {
    NoticeReason.FIRST: NoticeKind.RAISED,
    NoticeReason.WORSENED: NoticeKind.WORSENED,
    NoticeReason.AGAIN: NoticeKind.RAISED,
    NoticeReason.CHATTER: NoticeKind.RAISED,
    NoticeReason.STANDS: NoticeKind.RAISED,
    NoticeReason.REMINDED: NoticeKind.REMINDER,
    NoticeReason.ENDED: NoticeKind.CLEARED,
}


EXERCISE_MARK: Final = "[演练] "
EXERCISE_WORDS: Final = "[演练] 演练, 非真实告警 · exercise, not a real alarm"


def number(value: float) -> str:
    """Write a value shortly; a dash where there is none."""
    return f"{value:.4g}" if math.isfinite(value) else "—"


def span(seconds: float) -> str:
    """Write a duration for people: 45 s, 12 min, 3.5 h, 2 d."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7_200:
        return f"{seconds / 60:.0f} min"
    if seconds < 172_800:
        return f"{seconds / 3600:.3g} h"
    return f"{seconds / 86_400:.3g} d"


def local(ms: int, zone: ZoneInfo) -> str:
    """Write an instant as local time at the glass, e.g. `11-22 10:11:07`."""
    return _written(ms // 1000, zone, "%m-%d %H:%M:%S")


def local_day(ms: int, zone: ZoneInfo) -> str:
    """Return the local calendar day, `yyyymmdd`."""
    return _written(ms // 1000, zone, "%Y%m%d")


@lru_cache(maxsize=4_096)  # a storm writes the same few seconds thousands of times
def _written(second: int, zone: ZoneInfo, form: str) -> str:
    return utc(second * 1000).astimezone(zone).strftime(form)


def is_rising(rule: Rule | None) -> bool:
    """True when larger is worse for this rule."""
    return rule is None or not rule.limits or rule.limits[0].side in {Side.AT_LEAST, Side.ABOVE}


def alarm_notice(
    alarm: Alarm, reason: NoticeReason, rule: Rule | None, site: Site | None, zone: ZoneInfo
) -> tuple[str, str]:
    """Return title and body of a notice about an alarm."""
    head = ALARM_HEADS[reason]
    name = rule.name if rule is not None else Text(zh=alarm.rule, en=alarm.rule)
    place = site.name if site is not None else Text(zh=alarm.scope, en=alarm.scope)
    level = f"【{alarm.level.colour_zh}{alarm.level.value}级】"
    mark = EXERCISE_MARK if alarm.exercise else ""
    title = f"{mark}{level}{head.zh} {place.zh} {name.zh} · {alarm.level.colour} {head.en}: {place.en}, {name.en}"
    lines = [f"{alarm.because_zh}", f"{alarm.because_en}"]
    if alarm.exercise:
        lines.insert(0, EXERCISE_WORDS)
    if reason is NoticeReason.ENDED and alarm.cleared_ms is not None:
        lasted = span(max(0, alarm.cleared_ms - alarm.raised_ms) / 1000)
        lines.append(f"历时 {lasted} · lasted {lasted}")
    lines.append(f"{local(alarm.raised_ms, zone)} · {alarm.scope} · {alarm.area} · {alarm.rule_origin}")
    if alarm.quality.value == "stale":
        lines.append("数据中断, 现状未知 · no data, present state unknown")
    if rule is not None and rule.advice is not None and reason is not NoticeReason.ENDED:
        lines.append(f"{rule.advice.zh} · {rule.advice.en}")
    return title, "\n".join(lines)


def order_notice(
    order: WorkOrder, what: Text, site: Site | None, zone: ZoneInfo, due_ms: int | None = None
) -> tuple[str, str]:
    """Return title and body of a notice about a work order; `what` says what happened or what is asked.

    `due_ms` is when the step it speaks of has to be done, where that is not the handling itself.
    """
    place = site.name if site is not None else Text(zh=order.asset, en=order.asset)
    mark = EXERCISE_MARK if order.is_exercise else ""
    title = f"{mark}【{order.level.colour_zh}{order.level.value}级】工单 {order.id} {what.zh} · {what.en}"
    lines = [
        f"{place.zh} ({order.area}) · {place.en}",
        f"{STATE_NAMES[order.state]} · {order.state.value}",
        order.note,
    ]
    if order.is_exercise:
        lines.insert(0, EXERCISE_WORDS)
    if due_ms is not None:
        lines.append(f"本步时限 {local(due_ms, zone)} · this step is due {local(due_ms, zone)}")
    if order.due_ms is not None:
        lines.append(f"处置时限 {local(order.due_ms, zone)} · due {local(order.due_ms, zone)}")
    return title, "\n".join(line for line in lines if line)


def days(count: float) -> float:
    """Return `count` days in milliseconds."""
    return timedelta(days=count).total_seconds() * 1000
