"""What was committed, as views for people and programs: shared by the console and by commands beside the service."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alerts.groups import situations
from alerts.lifecycle import alarm_verbs, letter
from alerts.orders.replay import clocks_view
from alerts.orders.table import order_verbs
from citypulse.contacts import contacts_of
from citypulse.hiding_views import with_hiding
from citypulse.ledger import Ledger
from citypulse.model import Actor, Alarm, AlarmPlan, OrderState, Text
from citypulse.situation_views import situations_view
from citypulse.views import alarm_view, event_view, order_view, plain

SITUATION_ALARMS_MAX = 20_000  # more open alarms than that are one situation: the city
FAR_MS = 4_102_444_800_000  # the year 2100
_TIMEZONE = re.compile(r"^\s+timezone:\s*[\"']?([A-Za-z][\w/+-]*)", re.MULTILINE)
ORDER_EVENTS_MAX = 100_000  # of one order: a lamp or a step each
CONTACT_SHOWN_MS = 60_000  # after the look was recorded; asking again leaves a line of its own
CONTACT_LOOKS = 200  # newest lines of one order that are searched for it
PAYLOAD_SHOWN = 2_000  # characters of a dead letter's payload that a list shows
_BUILT_IN = AlarmPlan()
Key = tuple[int | str, ...]  # where a page begins: see ledger.paging


class ReadingRoom:
    """Views over one ledger. Thread-safe; cannot change anything."""

    def __init__(self, ledger: Ledger, alarms: Callable[[], AlarmPlan] = lambda: _BUILT_IN) -> None:
        """Read from `ledger`, writing or only reading; `alarms` says how alarms behave, where that is known."""
        self._ledger = ledger
        self._plan = alarms

    @classmethod
    @contextmanager
    def beside(cls, data_dir: Path) -> Iterator[ReadingRoom]:
        """Open the ledger of a data folder for reading, whether or not a service runs on it."""
        ledger = Ledger.open(data_dir, read_only=True)
        try:
            yield cls(ledger)
        finally:
            ledger.close()

    def timezone(self) -> str:
        """Return the time zone of the newest configuration that was in force, or UTC: how people are told times."""
        for text in self._ledger.config_files(self._ledger.config_at(FAR_MS)).values():
            if found := _TIMEZONE.search(text):
                return found[1]
        return "UTC"

    def alarms(
        self,
        *,
        open_only: bool,
        limit: int,
        domain: str,
        since_ms: int | None,
        after: Key = (),
        newest: bool = False,
        state: str = "",
    ) -> list[dict[str, Any]]:
        """Return alarms that still need eyes, or all, most serious and newest first, or just newest; `after` a key.

        `state`: a key of ledger.ALARM_STATES instead.
        """
        found = self._ledger.alarms(
            state=state or ("retained" if open_only else "all"),
            domain=domain,
            since_ms=since_ms,
            limit=limit,
            serious_first=not newest,
            after=after,
        )
        return with_hiding(self._ledger, [(a, self._view(a)) for a in found])

    def alarm(self, alarm_id: str) -> dict[str, Any] | None:
        """Return one alarm with what it hides and what hides it, or None."""
        found = self._ledger.alarm(alarm_id)
        if found is None:
            return None
        return with_hiding(self._ledger, [(found, self._view(found))])[0]

    def _view(self, alarm: Alarm) -> dict[str, Any]:
        terms = self._plan().terms(alarm.rule, alarm.domain, alarm.level)
        return alarm_view(alarm, isa=letter(alarm), allowed=alarm_verbs(alarm, terms=terms))

    def situations(
        self,
        *,
        areas: Mapping[str, Text] | None = None,
        sites: Mapping[str, Text] | None = None,
        rules: Mapping[str, Text] | None = None,
    ) -> dict[str, Any]:
        """Return what is going on: open alarms grouped by cause, asset and area, worst first, and who is in a storm.

        The names are for titles; beside the service, where no configuration is read, ids stand for themselves.
        """
        found = self._ledger.alarms(state="retained", limit=SITUATION_ALARMS_MAX)
        return situations_view(situations(found, areas=areas, sites=sites, rules=rules), found, self._ledger.storms())

    def orders(
        self, *, open_only: bool, limit: int, team: str, state: str, after: Key = (), newest: bool = False
    ) -> list[dict[str, Any]]:
        """Return work orders, most serious and newest first, or just newest; an unknown state matches none."""
        if state and state not in {s.value for s in OrderState}:
            return []
        found = self._ledger.orders(
            is_open=True if open_only and not state else None,
            state=OrderState(state) if state else None,
            team=team,
            limit=limit,
            serious_first=not newest,
            after=after,
        )
        return [order_view(o, allowed=order_verbs(o.state, o.level, kind=o.kind)) for o in found]

    def order(self, order_id: str, *, now_ms: int | None = None) -> dict[str, Any] | None:
        """Return one work order with its clocks at `now_ms` (else at its last event), or None."""
        found = self._ledger.order(order_id)
        if found is None:
            return None
        events = [row.event for row in self._ledger.events(subject=order_id, limit=ORDER_EVENTS_MAX)]
        at_ms = now_ms if now_ms is not None else events[-1].wall_ms if events else found.state_ms
        view = order_view(found, allowed=order_verbs(found.state, found.level, kind=found.kind))
        return view | {"sla": clocks_view(events, at_ms) if events else None}

    def last_ms(self) -> int:
        """Return the last instant that was committed, epoch ms; 0 before the first."""
        return self._ledger.counts().last_now_ms

    def contacts(self, order_id: str, who: Actor, *, now_ms: int) -> list[str]:
        """Return an order's contacts to somebody who has just asked the heart (`order.contact`); else nothing.

        Every other view masks them. The record holds who looked: without that line there is nothing to see.
        """
        found = self._ledger.order(order_id)
        rows = self._ledger.events(subject=order_id, limit=CONTACT_LOOKS, newest=True)
        since_ms = now_ms - CONTACT_SHOWN_MS
        is_on_record = any(
            row.event.kind == "contact_seen" and row.event.actor == who.name and row.event.wall_ms >= since_ms
            for row in rows
        )
        return contacts_of(found.data) if found is not None and is_on_record else []

    def events(self, *, subject: str, after_seq: int, limit: int) -> list[dict[str, Any]]:
        """Return lines of the record in order, with their hashes."""
        rows = self._ledger.events(subject=subject, since_seq=after_seq, limit=limit)
        return [event_view(r.event, seq=r.seq) | {"hash": r.hash} for r in rows]

    def dead_letters(self, *, limit: int) -> list[dict[str, Any]]:
        """Return the newest dead letters; payloads as text, what is not UTF-8 escaped."""
        views = []
        for row in self._ledger.dead_letters(limit=limit):
            payload = row.letter.payload.decode("utf-8", "backslashreplace")[:PAYLOAD_SHOWN]
            view: dict[str, Any] = plain(row.letter)
            views.append(view | {"id": row.id, "payload": payload, "replayed_ms": row.replayed_ms})
        return views

    def notices(
        self, *, subject: str, limit: int, state: str = "", channel: str = "", before: int | None = None
    ) -> list[dict[str, Any]]:
        """Return notices with what came of them, newest first; `before` a number."""
        rows = self._ledger.outbox_rows(subject=subject, state=state, channel=channel, limit=limit, before=before)
        return [plain(row) for row in rows]

    def notice(self, number: int) -> dict[str, Any] | None:
        """Return one notice with what came of it, and the others that its digest covers; None when there is none."""
        rows = self._ledger.outbox_rows(number=number)
        if not rows:
            return None
        view: dict[str, Any] = plain(rows[0])
        return view

    def gateways(self) -> list[dict[str, Any]]:
        """Return gateways with numbering, watermark, liveness and clock offset."""
        return [plain(row) for row in self._ledger.gateways()]
