"""Weighing the sensors' testimony after a repair: proven, not repaired, cannot be seen, or not yet (promise 7)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from alerts.texts import span
from citypulse.model import Alarm, AlarmQuality, Condition, Rule, WorkOrder

from .verification import Witness


class Ruling(Enum):
    """What the testimony amounts to now."""

    WAIT = "wait"
    PROVEN = "proven"
    NOT_REPAIRED = "not_repaired"
    NOT_SEEN = "not_seen"  # data is missing: a person has to prove it


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """A ruling with its reason; `until_ms` is when to weigh again, whatever comes before."""

    ruling: Ruling
    because: str = ""
    data: dict[str, Any] | None = None
    until_ms: int | None = None


def weigh(
    order: WorkOrder,
    alarms: tuple[Alarm, ...],
    witness: Witness,
    rule_of: Callable[[Alarm], Rule | None],
    now_ms: int,
) -> Weighed:
    """Weigh an order that was fed back. `alarms` are the live alarms that raised it."""
    fed_back_ms = order.fed_back_ms or 0
    window_s, patience_s = witness.window_s(order), witness.patience_s(order)
    active = [a for a in alarms if a.condition is Condition.ACTIVE]
    seen = [a for a in active if a.quality is AlarmQuality.GOOD]
    if seen:
        # A clear comes off_delay after the value is good: a repair must be given that time to show.
        slack_s = max([window_s] + [_off_delay_s(rule_of(a)) + patience_s for a in seen])
        until_ms = fed_back_ms + round(slack_s * 1000)
        if now_ms < until_ms:
            return Weighed(ruling=Ruling.WAIT, until_ms=until_ms)
        why = f"{span(slack_s)} after the report still in alarm | 反馈后仍在告警: {seen[0].because_en}"
        return Weighed(ruling=Ruling.NOT_REPAIRED, because=why)
    since_ms = max([fed_back_ms] + [a.cleared_ms for a in alarms if a.cleared_ms is not None])
    if not order.watched:
        return _without_sensors(order, since_ms, window_s, now_ms)
    verdict = witness.verdict(order, since_ms)
    if not active and verdict.is_proven:
        got = percent(verdict.share)
        why = (
            f"normal for {span(window_s)} with {got} of the expected readings | "
            f"传感器已持续正常 {span(window_s)}, 收到应有读数的 {got}"
        )
        fact = {"share": round(verdict.share, 3), "from_ms": verdict.from_ms, "until_ms": verdict.until_ms}
        return Weighed(ruling=Ruling.PROVEN, because=why, data=fact)
    until_ms = since_ms + round((window_s + patience_s) * 1000)
    if now_ms < until_ms:
        return Weighed(ruling=Ruling.WAIT, until_ms=until_ms)
    why = _unseen(verdict.share, order.coverage, window_s, is_active=bool(active))
    return Weighed(ruling=Ruling.NOT_SEEN, because=why, data={"share": round(verdict.share, 3)})


def percent(share: float) -> str:
    """Write a share in whole percent, rounded down: 100 % only where nothing is missing, 0 % only where all is."""
    if 0 < share < 0.01:
        return "<1 %"
    return f"{min(100, math.floor(share * 100 + 1e-9))} %"


def percent_needed(share: float) -> str:
    """Write a share that is asked for, rounded up: what is shown as enough is enough."""
    return f"{min(100, math.ceil(share * 100 - 1e-9))} %"


def _unseen(share: float, needed: float, window_s: float, *, is_active: bool) -> str:
    """Say why the sensors prove nothing: too few readings, or the last thing that was seen is the alarm itself."""
    if share + 1e-9 >= needed:
        zh = "告警尚未解除且测点当前读数不可信" if is_active else "恢复后可信读数未持续满规定时长"
        en = (
            "the alarm has not ended and its sensor cannot be trusted now"
            if is_active
            else "good readings do not cover the whole time since"
        )
        return f"not proven by sensors: {en}; manual proof is needed | 传感器不能证明: {zh}, 需人工举证"
    return (
        f"not proven by sensors: {percent(share)} of the expected readings came in {span(window_s)}, "
        f"{percent_needed(needed)} are needed; missing data is no proof, manual proof is needed | "
        f"传感器不能证明: {span(window_s)} 内收到应有读数的 {percent(share)}, 需 {percent_needed(needed)}; "
        "缺数据不能作为恢复证明, 需人工举证"
    )


def _without_sensors(order: WorkOrder, since_ms: int, window_s: float, now_ms: int) -> Weighed:
    """A silent gateway, or trouble that a person reported: the alarm's own end and time are all the proof there is."""
    until_ms = since_ms + round(window_s * 1000)
    if now_ms < until_ms:
        return Weighed(ruling=Ruling.WAIT, until_ms=until_ms)
    why = (
        f"normal for {span(window_s)} | 已持续正常 {span(window_s)}"
        if order.alarm_ids
        else "no sensor watches this | 无传感器可证"
    )
    return Weighed(ruling=Ruling.PROVEN, because=why, data={"share": None, "from_ms": since_ms, "until_ms": until_ms})


def _off_delay_s(rule: Rule | None) -> float:
    return max((limit.off_delay_s for limit in rule.limits), default=0.0) if rule is not None else 0.0
