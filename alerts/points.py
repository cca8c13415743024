"""Alarm points at rest: taken out of service although nothing rings, as ISA-18.2 has it (A → G), and put back (G → A).

What is known of a point between two alarms stands in one row with occurrence 0. It is no alarm: it rings for nobody,
counts in no indicator, and gives way to the first alarm of its key, which stays out of service as the point was.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from citypulse.model import Actor, Alarm, AlarmQuality, Priority

from .facts import Atlas, alarm_id
from .lifecycle import Regions

GAS_KEEPERS: Final = ("lead", "boss", "engineer", "admin")
"""Who may take a point of the gas network out of service: whatever rises there then is told to nobody."""


class Points:
    """The points that were ever taken out of service at rest, by dedup key."""

    def __init__(self, atlas: Atlas, alarms: Iterable[Alarm]) -> None:
        """`alarms`: what the ledger had kept; those of occurrence 0 are remembered."""
        self._atlas = atlas
        self._known = {a.dedup_key: a for a in alarms if a.is_point}

    def keep(self, alarm: Alarm) -> None:
        """Remember the newest version of a point."""
        if alarm.is_point:
            self._known[alarm.dedup_key] = alarm

    def resting(self, key: str, now_ms: int) -> Alarm | None:
        """Return the point of a key at rest, as of `now_ms`; None when no rule looks at it."""
        rule_id, _, scope = key.partition("|")
        rule = self._atlas.rules.get((rule_id, scope))
        if rule is None:
            return None
        before = self._known.get(key)
        site, area, domain = self._atlas.place(rule_id, scope)
        at_rest = Regions()
        return Alarm(
            id=alarm_id(key, 0),
            dedup_key=key,
            occurrence=0,
            rule=rule_id,
            rule_version=rule.version,
            rule_origin=str(rule.origin),
            scope=scope,
            site=site,
            area=area,
            domain=domain,
            is_diagnostic=rule.is_diagnostic,
            condition=at_rest.condition,
            is_acked=at_rest.is_acked,
            is_confirmed=at_rest.is_confirmed,
            quality=AlarmQuality.GOOD,
            level=Priority.P4,
            peak_level=Priority.P4,
            peak_value=math.nan,
            breach_ms=now_ms,
            raised_ms=now_ms,
            raised_wall_ms=now_ms,
            cleared_ms=now_ms,
            stale_ms=None,
            acked_by="",
            acked_ms=None,
            shelved_until_ms=None,
            suppressed_by=(),
            is_out_of_service=False,
            is_historical=False,
            parent="",
            order_id="",
            because_zh="点位停用, 当前无告警",
            because_en="the point is out of service; it is not in alarm",
            rev=0 if before is None else before.rev,
        )


def may_not_keep(alarm: Alarm, actor: Actor) -> str:
    """Return why somebody may not take a point at rest out of service; "" when they may."""
    if not alarm.is_point or alarm.domain != "gas" or actor.role in GAS_KEEPERS:
        return ""
    return f"燃气点位停用限 a point of the gas network is taken out of service by {', '.join(GAS_KEEPERS)}"


def no_end(until_ms: object, now_ms: int) -> str:
    """Return why this is no instant at which a point can come back by itself; "" when it is, or none is named."""
    if until_ms is None:
        return ""
    if isinstance(until_ms, bool) or not isinstance(until_ms, int):
        return "until_ms 须为毫秒时刻 must be an instant, epoch ms"
    return "" if until_ms > now_ms else "until_ms 须在将来 must lie ahead"
