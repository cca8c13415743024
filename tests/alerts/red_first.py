"""The rule of a storm, as a check: no red alarm is told later than five seconds after it became red."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from citypulse.ledger import OutboxRow
from citypulse.model import NoticeKind, Priority
from tests.alerts.cast import T0

P1_WITHIN_MS = 5_000
SAYS_RED = {NoticeKind.RAISED, NoticeKind.WORSENED, NoticeKind.REMINDER}


def red_spells(events: Sequence[Any]) -> list[tuple[int, int | None, str]]:
    """Return when an alarm asked for attention as a red one: from, until (None: still), and what ended it."""
    spells: list[tuple[int, int | None, str]] = []
    since: int | None = None
    for event in events:
        is_red = event.data.get("level") == "red" and event.kind in {"raised", "worsened", "raised_again"}
        if since is None and is_red and event.to_state == "B":
            since = event.wall_ms
        elif since is not None and event.to_state != "B":
            spells.append((since, event.wall_ms, event.kind))
            since = None
    return [*spells, *([(since, None, "")] if since is not None else [])]


def untold(rows: Iterable[OutboxRow], events_of: Mapping[str, Sequence[Any]]) -> tuple[int, list[str]]:
    """Count red spells, and list those whose first red message came too late though they had not ended by then."""
    told: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        n = row.notice
        is_call = n.subject_kind == "alarm" and n.kind in SAYS_RED and n.level is Priority.P1
        if is_call and row.state == "delivered" and row.delivered_ms is not None:
            told[n.subject].append(row.delivered_ms)
    spells, late = 0, []
    for subject, events in events_of.items():
        for since_ms, until_ms, ended_by in red_spells(events):
            spells += 1
            due_ms = since_ms + P1_WITHIN_MS
            is_over = until_ms is not None and until_ms <= due_ms and ended_by in {"cleared", "acknowledged"}
            if not is_over and not any(since_ms <= at <= due_ms for at in told[subject]):
                late.append(f"{subject}: red at +{since_ms - T0} ms, told {[at - T0 for at in told[subject]]}")
    return spells, late
