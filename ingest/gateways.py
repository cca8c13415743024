"""What we know of each gateway: which of its messages are here, whether it is online, how wrong its clock is.

Promises: a whole message received twice is told apart exactly, also after a restart; a watermark names only
what has been committed (ask for it after the commit); a will of an old boot never hides a new birth.
"""

from __future__ import annotations

from collections import deque
from statistics import median
from typing import Any

import msgspec
import structlog

from citypulse.ledger import GatewayRow

from .intervals import SeqSet

log = structlog.get_logger()

BOOTS_MAX = 8  # per gateway; older ones are forgotten
WATERMARK_EVERY_MS = 5_000
WATERMARK_EVERY_MESSAGES = 1_000
SWEEP_MS = 1_000  # how often the changed ones are looked through
ROW_EVERY_MS = 5_000  # the ledger's rows are for people; what counts is in the journal
MISSING_MAX = 100  # ranges named in one watermark; the next names the next
# As long as a backfill may take. A gap that never fills would make its gateway keep everything after it for ever.
GAP_KEEP_MS = 7 * 86_400_000
CLOCK_SAMPLES = 101

ONLINE, OFFLINE, UNKNOWN = "online", "offline", "unknown"


class Boot:
    """The numbering of one gateway since one of its starts."""

    __slots__ = ("gap_since_ms", "heard_ms", "name", "pending", "seqs", "told_ms")

    def __init__(self, name: str) -> None:
        self.name = name
        self.seqs = SeqSet()
        self.heard_ms = 0
        self.gap_since_ms = 0  # since when the lowest gap has been the lowest; 0 without a gap
        self.pending = 0  # messages since the last watermark
        self.told_ms = 0


class GatewayRecord:
    """One gateway. Written by `Gateways` only."""

    __slots__ = ("boots", "clock_ms", "current", "duplicates", "heard_ms", "id", "messages", "row_ms", "status")

    def __init__(self, gateway: str) -> None:
        self.id = gateway
        self.status = UNKNOWN
        self.current = ""  # the newest boot we know of
        self.boots: dict[str, Boot] = {}
        self.heard_ms = 0
        self.messages = 0
        self.duplicates = 0
        self.clock_ms: deque[int] = deque(maxlen=CLOCK_SAMPLES)  # received - sent
        self.row_ms = 0

    @property
    def clock_offset_ms(self) -> float | None:
        """How far the gateway's clock is behind ours, travel time included (median); None without a sample."""
        return float(median(self.clock_ms)) if self.clock_ms else None


class Gateways:
    """All gateways by id."""

    def __init__(self) -> None:
        self._records: dict[str, GatewayRecord] = {}
        self._owed: dict[tuple[str, str], Boot] = {}  # boots whose watermark has news
        self._hot = False  # one of them has enough messages not to wait
        self._owed_at_ms = 0
        self._changed: dict[str, GatewayRecord] = {}
        self._urgent: dict[str, GatewayRecord] = {}  # those of them whose status or boot people wait to see
        self._rows_at_ms = 0
        self._now_ms = 0
        self.boots_forgotten = 0
        self.numbers_given_up = 0

    def record(self, gateway: str) -> GatewayRecord:
        """Return what is known of a gateway, from now on something."""
        found = self._records.get(gateway)
        if found is None:
            found = self._records[gateway] = GatewayRecord(gateway)
        return found

    def records(self) -> tuple[GatewayRecord, ...]:
        """Return all gateways ever heard of."""
        return tuple(self._records.values())

    def advance(self, now_ms: int) -> None:
        """Let time pass: rows and watermarks fall due by it."""
        self._now_ms = max(self._now_ms, now_ms)

    # ── what is heard ───────────────────────────────────────────────────────────────────────────

    def hear(
        self, record: GatewayRecord, received_ms: int, boot: str | None = None, seq: int = -1, lag_ms: int | None = None
    ) -> bool:
        """Note a message; return whether it is new (always, when it is not numbered).

        lag_ms: received minus sent by the gateway's clock.
        """
        record.messages += 1
        record.heard_ms = received_ms
        if lag_ms is not None:
            record.clock_ms.append(lag_ms)
        self._changed[record.id] = record
        if boot is None or seq < 0:
            self._is_speaking(record)
            return True
        numbering = record.boots.get(boot) or self._first_of(record, boot)
        numbering.heard_ms = received_ms
        is_new = numbering.seqs.add(seq)
        if is_new:
            self._is_speaking(record)
        else:
            record.duplicates += 1  # it does not know that we have it: tell it again
        numbering.pending += 1
        if numbering.pending == 1:
            self._owed[record.id, boot] = numbering
        elif numbering.pending == WATERMARK_EVERY_MESSAGES:
            self._hot = True
        return is_new

    def _is_speaking(self, record: GatewayRecord) -> None:
        # News after a will came over a new connection, whether or not its birth was published.
        if record.status == OFFLINE:
            record.status = ONLINE
            self._urgent[record.id] = record

    def _first_of(self, record: GatewayRecord, boot: str) -> Boot:
        if len(record.boots) >= BOOTS_MAX:
            oldest = min(record.boots.values(), key=lambda b: b.heard_ms)
            del record.boots[oldest.name]
            self._owed.pop((record.id, oldest.name), None)
            self.boots_forgotten += 1
        record.boots[boot] = numbering = Boot(boot)
        record.current = boot
        self._urgent[record.id] = record
        return numbering

    def hear_state(
        self, record: GatewayRecord, received_ms: int, status: str, boot: str = "", first: int | None = None
    ) -> bool:
        """Note a birth or a will; return whether it changed the gateway's status.

        first: the lowest number the gateway still holds: nothing below it will ever come.
        """
        record.heard_ms = received_ms
        self._changed[record.id] = record
        if boot and status == ONLINE and boot not in record.boots:
            self._first_of(record, boot).heard_ms = received_ms
        if boot and first is not None and boot in record.boots:
            self._give_up(record, record.boots[boot], first)
        if status == OFFLINE and boot and record.current and boot != record.current:
            return False  # an old boot's will, overtaken by a new birth
        if boot and status == ONLINE:
            record.current = boot
        if status == record.status:
            return False
        record.status = status
        self._urgent[record.id] = record
        return True

    def _give_up(self, record: GatewayRecord, boot: Boot, first: int) -> None:
        lost = boot.seqs.give_up_below(first)
        if lost:
            self.numbers_given_up += lost
            boot.pending += 1
            self._owed[record.id, boot.name] = boot
            log.warning("ingest.messages_given_up", gateway=record.id, boot=boot.name, count=lost)

    # ── what is told ────────────────────────────────────────────────────────────────────────────

    def watermarks_due(self, now_ms: int) -> list[tuple[str, bytes]]:
        """Return (topic, payload) of what gateways should hear now. Call after the commit of what was heard."""
        if not self._owed or (now_ms < self._owed_at_ms and not self._hot):
            return []
        self._owed_at_ms, self._hot = now_ms + SWEEP_MS, False
        due = []
        for (gateway, name), boot in list(self._owed.items()):
            if boot.pending < WATERMARK_EVERY_MESSAGES and now_ms - boot.told_ms < WATERMARK_EVERY_MS:
                continue
            self._mind_gap(self._records[gateway], boot, now_ms)
            body = {"boot": name, "durable_upto": boot.seqs.upto, "missing": boot.seqs.missing(MISSING_MAX)}
            due.append((f"city/v1/{gateway}/ack", msgspec.json.encode(body)))
            boot.pending, boot.told_ms = 0, now_ms
            del self._owed[gateway, name]
        return due

    def _mind_gap(self, record: GatewayRecord, boot: Boot, now_ms: int) -> None:
        if not boot.seqs.has_gap:
            boot.gap_since_ms = 0
        elif boot.gap_since_ms == 0:
            boot.gap_since_ms = now_ms
        elif now_ms - boot.gap_since_ms > GAP_KEEP_MS:
            boot.gap_since_ms = 0
            self._give_up(record, boot, boot.seqs.missing(1)[0][1] + 1)

    def rows_changed(self) -> list[GatewayRow]:
        """Return the ledger's rows that are new: at once when a status or boot changed, else every few seconds."""
        now_ms = self._now_ms
        due, self._urgent = self._urgent, {}
        if self._changed and now_ms >= self._rows_at_ms:
            self._rows_at_ms = now_ms + SWEEP_MS
            due |= {k: r for k, r in self._changed.items() if now_ms - r.row_ms >= ROW_EVERY_MS}
        rows: list[GatewayRow] = []
        for record in due.values():
            record.row_ms = now_ms
            self._changed.pop(record.id, None)
            rows.extend(_rows(record))
        return rows

    # ── snapshots ───────────────────────────────────────────────────────────────────────────────

    def state(self) -> dict[str, Any]:
        """Return all that is known, as lists and numbers."""
        return {
            record.id: [
                record.status,
                record.current,
                record.heard_ms,
                record.messages,
                record.duplicates,
                [*record.clock_ms],
                [[b.name, b.heard_ms, b.gap_since_ms, b.seqs.state()] for b in record.boots.values()],
            ]
            for record in self._records.values()
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `state()`. Every boot is owed a watermark: the last one may not have gone out."""
        self.__init__()  # type: ignore[misc]
        for gateway, (status, current, heard_ms, messages, duplicates, clock, boots) in state.items():
            record = self.record(gateway)
            record.status, record.current, record.heard_ms = status, current, heard_ms
            record.messages, record.duplicates = messages, duplicates
            record.clock_ms.extend(clock)
            for name, boot_heard_ms, gap_since_ms, seqs in boots:
                boot = record.boots[name] = Boot(name)
                boot.heard_ms, boot.gap_since_ms = boot_heard_ms, gap_since_ms
                boot.seqs = SeqSet.restore(seqs)
                boot.pending = 1
                self._owed[gateway, name] = boot
            self._changed[gateway] = self._urgent[gateway] = record


def _rows(record: GatewayRecord) -> list[GatewayRow]:
    about: dict[str, Any] = {
        "messages": record.messages,
        "duplicates": record.duplicates,
        "clock_offset_ms": record.clock_offset_ms,
        "current_boot": record.current,
    }
    if not record.boots:
        return [
            GatewayRow(
                gateway=record.id, boot="", durable_upto=-1, heard_ms=record.heard_ms, state=record.status, data=about
            )
        ]
    return [
        GatewayRow(
            gateway=record.id,
            boot=boot.name,
            durable_upto=boot.seqs.upto,
            missing=tuple(boot.seqs.missing()),
            heard_ms=record.heard_ms if boot.name == record.current else boot.heard_ms,
            state=record.status if boot.name == record.current else "",
            data=about | {"given_up": boot.seqs.given_up},
        )
        for boot in record.boots.values()
    ]
