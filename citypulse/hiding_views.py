"""What hides what, as views: a parent lists the alarms it hides, a child says by whom."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from alerts.lifecycle import letter
from citypulse.ledger import Ledger
from citypulse.model import Alarm, Condition

HIDDEN_MAX: Final = 20_000  # hidden alarms looked at: as many as a situation may hold
SHOWN_MAX: Final = 1_000  # listed under one parent; `hides_count` counts all


def with_hiding(ledger: Ledger, pairs: Sequence[tuple[Alarm, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the views of these alarms, each with `hides`, `hides_count` and `hidden_by`.

    Only an active alarm hides. `hidden_by` names each cause: `kind` alarm (with the id of the parent) or mute.
    """
    hidden = ledger.alarms(state="suppressed", limit=HIDDEN_MAX)
    children: dict[str, list[Alarm]] = {}
    for child in hidden:
        for cause in child.suppressed_by:
            children.setdefault(cause, []).append(child)
    parents = _Parents(ledger, (alarm for alarm, _ in pairs))
    views = []
    for alarm, view in pairs:
        own = children.get(alarm.dedup_key, []) if alarm.condition is Condition.ACTIVE else []
        own = sorted(own, key=lambda a: (a.level, a.raised_wall_ms, a.id))
        more = {
            "hides": [_child(a) for a in own[:SHOWN_MAX]],
            "hides_count": len(own),
            "hidden_by": [parents.cause(c) for c in alarm.suppressed_by],
        }
        views.append(view | more)
    return views


def _child(alarm: Alarm) -> dict[str, Any]:
    return {
        "id": alarm.id,
        "rule": alarm.rule,
        "scope": alarm.scope,
        "site": alarm.site,
        "level": int(alarm.level),
        "colour": alarm.level.colour,
        "isa": letter(alarm),
        "raised_ms": alarm.raised_ms,
        "because": {"zh": alarm.because_zh, "en": alarm.because_en},
        "order_id": alarm.order_id,
    }


class _Parents:
    """Finds the alarm that stands behind a dedup key; each is looked for once."""

    def __init__(self, ledger: Ledger, known: Iterable[Alarm]) -> None:
        self._ledger = ledger
        self._found = {a.dedup_key: a for a in known if a.condition is Condition.ACTIVE}

    def cause(self, cause: str) -> dict[str, Any]:
        """Return what a cause is: an alarm by its key, else a mute by its id."""
        rule, bar, scope = cause.rpartition("|")
        if not bar:
            return {"cause": cause, "kind": "mute", "id": cause}
        if cause not in self._found:
            rule = rule.rpartition("|")[2]  # a drill's key begins with the drill
            standing = self._ledger.alarms(state="open", rule=rule, scope=scope, limit=10)
            self._found |= {a.dedup_key: a for a in standing}
        parent = self._found.get(cause)
        return {"cause": cause, "kind": "alarm", "id": parent.id if parent is not None else ""}
