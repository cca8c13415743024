"""Where one rule stands, or stood, on one scope, as JSON: the rules' own view, joined by its alarm's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from alerts.lifecycle import letter
from citypulse.clock import iso
from citypulse.ledger import Ledger
from citypulse.model import Alarm, CityConfig, Event
from citypulse.store import ReadingStore
from citypulse.views import event_view, plain
from rules.why import LatchView, Why

from .hindsight import Standing, look_back, standing

HISTORY_S = 30 * 86_400  # how far back readings are re-run for a look at the past, unless told otherwise
LINES_SHOWN = 50  # of an alarm's record, the newest ones


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
        "inhibited_by": [str(cause) for cause in rule.inhibited_by],
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


def why_then(
    ledger: Ledger,
    store: ReadingStore,
    config_at: Callable[[int], CityConfig | None],
    *,
    rule: str,
    scope: str,
    at_ms: int,
    since_ms: int,
) -> dict[str, Any] | None:
    """Explain one rule on one scope as it stood at `at_ms` of our clock; None when it did not apply there.

    `config_at` gives the configuration that was in force at an instant, or None when it is lost; readings count from
    `since_ms` on. Raises TooMuchError, StoreError.
    """
    config = config_at(at_ms)
    if config is None:
        return None
    try:
        then = look_back(config, store, ledger.known_sensor_ids(), rule, scope, at_ms, since_ms=since_ms)
    except KeyError:
        return None
    found = next(iter(ledger.alarms(state="all", rule=rule, scope=scope, until_ms=at_ms + 1, limit=1)), None)
    lines = [] if found is None else [row.event for row in ledger.events(subject=found.id, limit=100_000)]
    view = why_view(then.why, None)
    view["alarm"] = None if found is None else _alarm_then(found, lines, standing(lines, at_ms), at_ms)
    return view | {
        "at_ms": at_ms,
        "at": iso(at_ms),
        "since_ms": since_ms,
        "since_at": iso(since_ms),
        "readings": then.readings,
        "config": config.fingerprint,
    }


def _alarm_then(alarm: Alarm, lines: list[Event], then: Standing, at_ms: int) -> dict[str, Any]:
    return {
        "id": alarm.id,
        "isa": then.isa,
        "is_acked": bool(then.acked_by),
        "acked_by": then.acked_by,
        "raised_at": iso(alarm.raised_ms),
        "suppressed_by": then.suppressed_by,
        "stale_by": then.stale_by,
        "shelved_until_ms": then.shelved_until_ms,
        "shelved_until_at": _at(then.shelved_until_ms),
        "is_out_of_service": then.is_out_of_service,
        "order_id": then.order_id,
        "events": [event_view(e, seq=0) for e in lines if e.wall_ms <= at_ms][-LINES_SHOWN:],
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
