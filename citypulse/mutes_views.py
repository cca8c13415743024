"""Mutes and drills as views for people and programs: lists, what a mute would have hidden, how a drill went."""

from __future__ import annotations

from typing import Any

from alerts.hindsight import DAYS, preview
from alerts.lifecycle import mute_state
from alerts.mutes import drafted, next_open_ms, terms_of, unfit_terms, words, wrong
from alerts.scoring import score
from citypulse.errors import CityError
from citypulse.ledger import Ledger
from citypulse.model import Actor, CityConfig, Exercise, Mute, Priority
from citypulse.views import plain

ALARMS_MAX = 50_000  # looked through by one preview; the answer says when there were more


class TermsError(CityError):
    """A mute's terms cannot be taken; says all that is wrong."""


def mute_view(mute: Mute, now_ms: int) -> dict[str, Any]:
    """Return one mute with its state and when it opens next."""
    upcoming = None if mute.is_over else next_open_ms(mute, now_ms)
    view: dict[str, Any] = plain(mute)
    return view | {
        "state": mute_state(mute),
        "colour": Priority(mute.at_most).colour,
        "hides": words(mute),
        "next_open_ms": upcoming,
    }


def mutes(ledger: Ledger, *, with_past: bool, limit: int, now_ms: int) -> list[dict[str, Any]]:
    """Return silences and windows, newest first; without `with_past` only those that are not over."""
    found = ledger.mutes(is_over=None if with_past else False, limit=limit)
    return [mute_view(m, now_ms) for m in found]


def would_hide(ledger: Ledger, data: dict[str, Any], *, who: Actor, config: CityConfig, now_ms: int) -> dict[str, Any]:
    """Return what a mute of these terms would have hidden in the last days. TermsError when they cannot be taken."""
    data = {"reason": "preview", **data}
    if isinstance(minutes := data.pop("minutes", None), int) and "ends_ms" not in data:
        data["ends_ms"] = now_ms + minutes * 60_000
    kind = "window" if data.get("rrule") or data.get("kind") == "window" else "silence"
    if "ends_ms" not in data:
        data["ends_ms"] = now_ms + 3_600_000
    if said := unfit_terms(data):
        raise TermsError(said)
    mute = drafted(data, kind, number="preview", actor=who, now_ms=now_ms, zone=config.timezone)
    if said := wrong(mute, terms_of(mute, config).silence_s):
        raise TermsError(said)
    since_ms = now_ms - DAYS * 86_400_000
    alarms = ledger.alarms(state="all", since_ms=since_ms, limit=ALARMS_MAX)
    standing = ledger.alarms(state="open", until_ms=since_ms, limit=ALARMS_MAX)
    sightings = preview(mute, [*alarms, *standing], since_ms, now_ms)
    rows = [
        {
            "id": s.alarm.id,
            "rule": s.alarm.rule,
            "scope": s.alarm.scope,
            "site": s.alarm.site,
            "level": int(s.alarm.peak_level),
            "colour": s.alarm.peak_level.colour,
            "raised_ms": s.alarm.raised_ms,
            "lasted_s": s.lasted_s,
            "hidden_s": s.hidden_s,
            "refused": None if s.refused is None else plain(s.refused),
        }
        for s in sightings
    ]
    return {
        "hides": words(mute),
        "days": DAYS,
        "hidden": sum(r["refused"] is None for r in rows),
        "refused": sum(r["refused"] is not None for r in rows),
        "is_cut": len(alarms) == ALARMS_MAX,
        "alarms": rows,
    }


def exercises(ledger: Ledger, *, limit: int) -> list[dict[str, Any]]:
    """Return drills, newest first."""
    return [_exercise_view(e) for e in ledger.exercises(limit=limit)]


def _exercise_view(one: Exercise) -> dict[str, Any]:
    view: dict[str, Any] = plain(one)
    return view | {"state": "running" if one.ended_ms is None else "ended"}


def exercise(ledger: Ledger, number: str, *, config: CityConfig, now_ms: int) -> dict[str, Any] | None:
    """Return one drill with its score, or None."""
    found = ledger.exercises(exercise_id=number, limit=1)
    if not found:
        return None
    one = found[0]
    alarms = ledger.alarms_of_exercise(number)
    orders = {o.id: o for a in alarms if a.order_id and (o := ledger.order(a.order_id)) is not None}
    subjects = [*(a.id for a in alarms), *orders]
    events = {s: [row.event for row in ledger.events(subject=s, limit=10_000)] for s in subjects}
    marks = score(one, alarms, orders, events, now_ms, config)
    return _exercise_view(one) | {"score": plain(marks)}
