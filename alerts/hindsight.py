"""What a mute would have hidden: its terms laid over the alarms of the last days, before anybody saves it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from citypulse.model import Alarm, Mute, Text
from citypulse.recurrence import instant_ms, local, zone_of

from .mutes import may_hide, selects, spans

DAYS: Final = 30
NEVER: Final = Text(zh="红色燃气告警不得隐藏", en="red gas is never hidden")
WORSE: Final = Text(zh="超出允许隐藏的级别", en="more serious than it may hide")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """One alarm a mute names. hidden_s is how long it would have been hidden; `refused` says why it would not."""

    alarm: Alarm
    lasted_s: float
    hidden_s: float
    refused: Text | None = None


def as_if(mute: Mute, since_ms: int, until_ms: int) -> Mute:
    """Return the mute as if it had begun `since_ms`: open all the time, or by its recurrence at its own time of day."""
    if not mute.rrule:
        return replace(mute, starts_ms=since_ms, ends_ms=until_ms, cancelled_ms=None)
    zone = zone_of(mute.timezone)
    first = datetime.combine(local(since_ms, zone).date() - timedelta(days=1), local(mute.starts_ms, zone).time())
    return replace(mute, starts_ms=instant_ms(first, zone), ends_ms=until_ms, cancelled_ms=None)


def preview(mute: Mute, alarms: Iterable[Alarm], since_ms: int, until_ms: int) -> list[Sighting]:
    """Return the alarms of [since, until) that the mute names and that stood while it would have been open.

    A silence, or a window that does not recur, is taken as open all the time. Newest first; drills are left out.
    """
    stretches = spans(as_if(mute, since_ms, until_ms))
    found = []
    for alarm in alarms:
        if alarm.is_historical or not selects(mute, alarm):
            continue
        start_ms, end_ms = alarm.raised_ms, max(alarm.raised_ms + 1, alarm.cleared_ms or until_ms)
        hidden_ms = sum(max(0, min(end_ms, b) - max(start_ms, a, since_ms)) for a, b in stretches)
        if not hidden_ms:
            continue
        worst = replace(alarm, level=alarm.peak_level)
        refused = None if may_hide(worst) else NEVER
        if refused is None and alarm.peak_level < mute.at_most:
            refused = WORSE
        found.append(
            Sighting(
                alarm=alarm,
                lasted_s=(end_ms - start_ms) / 1000,
                hidden_s=0.0 if refused is not None else hidden_ms / 1000,
                refused=refused,
            )
        )
    return sorted(found, key=lambda s: (-s.alarm.raised_ms, s.alarm.id))
