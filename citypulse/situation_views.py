"""Situations as JSON for people and programs: one shape for the HTTP API and the CLI."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from alerts.groups import KIND_NAMES, Situation
from alerts.lifecycle import letter
from citypulse.clock import iso
from citypulse.model import Alarm, Storm
from citypulse.views import plain


def situations_view(found: Sequence[Situation], alarms: Iterable[Alarm], storms: Iterable[Storm]) -> dict[str, Any]:
    """Return `{storms: […], situations: […]}`, in the order in which they want attention."""
    by_id = {a.id: a for a in alarms}
    return {
        "storms": [storm_view(storm) for storm in storms],
        "situations": [_situation(s, by_id) for s in found],
    }


def storm_view(storm: Storm) -> dict[str, Any]:
    """Return how one desk stands: whether it is in a storm, since when, and what holds it."""
    return {
        "desk": storm.desk,
        "is_on": storm.is_on,
        "since_ms": storm.since_ms or None,
        "since_at": iso(storm.since_ms) if storm.since_ms else None,
        "causes": list(storm.causes),
        "alarms": storm.alarms,
        "number": storm.number,
        "subject": storm.subject,
    }


def _situation(s: Situation, by_id: dict[str, Alarm]) -> dict[str, Any]:
    view: dict[str, Any] = plain(s)
    return view | {
        "kind_name": plain(KIND_NAMES[s.kind]),
        "colour": s.level.colour,
        "count": s.count,
        "alarms": [_member(by_id[i], s) for i in s.alarms],
        "hidden": [_member(by_id[i], s) for i in s.hidden],
    }


def _member(alarm: Alarm, situation: Situation) -> dict[str, Any]:
    return {
        "id": alarm.id,
        "rule": alarm.rule,
        "scope": alarm.scope,
        "site": alarm.site,
        "colour": alarm.level.colour,
        "isa": letter(alarm),
        "quality": alarm.quality.value,
        "raised_ms": alarm.raised_ms,
        "raised_at": iso(alarm.raised_ms),
        "because": {"zh": alarm.because_zh, "en": alarm.because_en},
        "hidden_by": list(alarm.suppressed_by),
        "is_root": alarm.id == situation.root,
        "is_first_out": alarm.id == situation.first_out,
        "order_id": alarm.order_id,
    }
