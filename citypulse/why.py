"""Where one rule stands on one scope, as JSON for people and programs: the rules' own view, joined by its alarm's."""

from __future__ import annotations

from typing import Any

from alerts.lifecycle import letter
from citypulse.clock import iso
from citypulse.model import Alarm
from citypulse.views import plain
from rules.why import LatchView, Why


def why_view(why: Why, alarm: Alarm | None) -> dict[str, Any]:
    """Join what the engine knows with the alarm that stands for it, which says what hides or blinds it."""
    rule = why.rule
    return {
        "rule": rule.id,
        "name": plain(rule.name),
        "version": rule.version,
        "origin": str(rule.origin),
        "source": rule.source,
        "detector": rule.detector,
        "unit": rule.unit,
        "gap": rule.gap.value,
        "accepts_suspect": rule.accepts_suspect,
        "is_latching": rule.is_latching,
        "inhibited_by": list(rule.inhibited_by),
        "scope": why.scope,
        "level": plain(why.level),
        "colour": None if why.level is None else why.level.colour,
        "sight": why.sight,
        "last_ms": why.last_ms,
        "last_at": _at(why.last_ms),
        "last_x": plain(why.last_x),
        "feature": plain(why.feature),
        "subject": plain(why.subject),
        "latches": [_latch_view(view, rule.unit) for view in why.latches],
        "samples": [{"time_ms": t, "time_at": iso(t), "x": plain(x), "seen": seen} for t, x, seen in why.samples],
        "alarm": None if alarm is None else _alarm_view(alarm),
    }


def _latch_view(view: LatchView, unit: str) -> dict[str, Any]:
    limit = view.limit
    return {
        "level": int(limit.level),
        "colour": limit.level.colour,
        "side": limit.side.value,
        "sign": limit.side.sign,
        "limit": limit.value,
        "unit": unit,
        "deadband": limit.deadband,
        "on_delay_s": limit.on_delay_s,
        "off_delay_s": limit.off_delay_s,
        "origin": str(limit.origin),
        "state": view.state,
        "since_ms": view.since_ms,
        "since_at": _at(view.since_ms),
        "good_ms": view.good_ms,
        "good_at": _at(view.good_ms),
        "due_ms": view.due_ms,
        "due_at": _at(view.due_ms),
    }


def _alarm_view(alarm: Alarm) -> dict[str, Any]:
    return {
        "id": alarm.id,
        "isa": letter(alarm),
        "condition": alarm.condition.value,
        "quality": alarm.quality.value,
        "is_acked": alarm.is_acked,
        "acked_by": alarm.acked_by,
        "raised_at": iso(alarm.raised_ms),
        "suppressed_by": list(alarm.suppressed_by),
        "stale_by": list(alarm.stale_by),
        "shelved_until_ms": alarm.shelved_until_ms,
        "shelved_until_at": _at(alarm.shelved_until_ms),
        "is_out_of_service": alarm.is_out_of_service,
        "order_id": alarm.order_id,
    }


def _at(ms: int | None) -> str | None:
    return None if ms is None else iso(ms)
