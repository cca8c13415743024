"""Ticks as they were committed, for those who follow (stores) and for recovery; and snapshots of the parts' state.

Promise: what `Ledger.commit` made durable is read back here bit for bit or not at all (every blob has a checksum), and
nothing is forgotten that a follower or a restart still needs. The journal lives in the ledger's own database.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import msgspec
import sqlalchemy as sa
import structlog

from citypulse.ledger import DamagedError, Ledger
from citypulse.ledger import schema as s
from citypulse.ledger.packing import dump, load, pack, unpack
from citypulse.ledger.sqlite import bytes_used, give_back, upsert
from citypulse.model import Command, ReadingBatch

__all__ = ["DamagedError", "Journal", "JournalEntry", "Pruned", "Snapshot", "Usage", "UsageState", "pack", "unpack"]

BUDGET_BYTES = 8 << 30  # about three days of a whole city's 1,400 readings/s while a store is down
NEAR = 0.8  # share of the budget from which the journal says so
SNAPSHOTS_KEPT = 2  # the second newest is there for the day the newest turns out damaged
# Slices are short transactions between two commits of the heart: each holds it up for a few milliseconds at most.
SNAPSHOT_SLICE_BYTES = 256 << 10
SNAPSHOT_DROP_MAX = 8  # slices of an old snapshot deleted at a time
PRUNE_TICKS_MAX = 200
PRUNE_BYTES_MAX = 2 << 20
VACUUM_PAGES = 256  # 2 MiB returned to the disk per slice
FREE_BYTES_KEPT = 256 << 20  # free pages up to this much stay for reuse

log = structlog.get_logger()
_j, _c = s.journal.c, s.sink_cursor.c


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """One committed tick."""

    tick: int
    now_ms: int
    batch: ReadingBatch  # empty when the tick had no readings
    amendments: ReadingBatch | None = None  # (sensor, time_ms, quality) of earlier readings, later verdicts
    messages: Any = None  # as handed to Tick.messages; tuples have become lists
    commands: tuple[Command, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """State of every named part just after `tick` was committed."""

    tick: int
    now_ms: int
    parts: dict[str, Any]


class UsageState(Enum):
    """How the journal stands to its disk budget."""

    OK = "ok"
    NEAR = "near"  # over 80 %: say so loudly, mend the slow store
    OVER = "over"  # stop taking readings from the broker; gateways keep theirs


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What the journal holds and why."""

    bytes: int
    readings: int
    first_tick: int  # 0 when empty
    last_tick: int
    budget_bytes: int
    slowest_sink: str  # whose cursor holds the rest back, "" when none does
    state: UsageState


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What one slice of pruning forgot; call again while `is_more`."""

    ticks: int
    bytes: int
    is_more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkCursor:
    """How far a follower has come: `tick` written, `durable_tick` written and old enough to be believed durable."""

    sink: str
    tick: int = 0
    durable_tick: int = 0
    at_ms: int = 0


@dataclass(slots=True)
class _Told:
    """What has been said already, so that each turn is said once."""

    state: UsageState = UsageState.OK
    damaged: set[int] = field(default_factory=set)


class Journal:
    """The journal of one ledger. Reading is thread-safe; snapshots, cursors and pruning go through the one writer."""

    def __init__(self, ledger: Ledger, *, budget_bytes: int = BUDGET_BYTES) -> None:
        """Follow `ledger`; budget_bytes is the disk the journal may fill while a store is down."""
        self._ledger = ledger
        self._reader = ledger.reader
        self._budget_bytes = budget_bytes
        self._told = _Told()

    @property
    def id(self) -> str:
        """Identity of this journal: cursors kept elsewhere are only good for the journal they were made with."""
        return self._ledger.journal_id

    # ── following ───────────────────────────────────────────────────────────────────────────────

    def entries(self, after_tick: int, *, readings_max: int = 500_000, ticks_max: int = 64) -> list[JournalEntry]:
        """Return committed ticks after `after_tick`, in order: at most ticks_max, and the first that fill readings_max.

        Empty when there is nothing new. Raises DamagedError when a blob is not what was written.
        """
        query = sa.select(s.journal).where(_j.tick > after_tick).order_by(_j.tick).limit(ticks_max)
        found, readings = [], 0
        with self._reader.connection() as connection:
            # A page at a time: sixty-four big ticks must not be in memory when the first five are enough.
            rows = connection.execute(query, execution_options={"yield_per": 8})
            for row in rows:
                found.append(_entry(row))
                readings += row.readings
                if readings >= readings_max:
                    break
            rows.close()
        return found

    def lag(self, after_tick: int) -> int:
        """Return how many readings were committed after `after_tick`."""
        with self._reader.connection() as connection:
            last = connection.execute(sa.select(sa.func.max(_j.readings_sum))).scalar() or 0
            mark = connection.execute(
                sa.select(_j.readings_sum).where(_j.tick <= after_tick).order_by(_j.tick.desc()).limit(1)
            ).scalar()
            if mark is None:  # already pruned: everything that is left lies after it
                first = connection.execute(sa.select(_j.readings_sum - _j.readings).order_by(_j.tick).limit(1)).scalar()
                mark = first or 0
        return int(last - mark)

    @property
    def last_tick(self) -> int:
        """Number of the last committed tick, 0 before the first."""
        return self._ends()[1]

    def _ends(self) -> tuple[int, int]:
        with self._reader.connection() as connection:
            first = connection.execute(sa.select(sa.func.min(_j.tick))).scalar()
            last = connection.execute(sa.select(sa.func.max(_j.tick))).scalar()
        return first or 0, last or 0

    def follow(self, sink: str) -> SinkCursor:
        """Register a follower (at the beginning, when new) and return where it stands: nothing it needs is pruned."""
        with self._ledger.writer.transaction() as connection:
            row = connection.execute(sa.select(s.sink_cursor).where(_c.sink == sink)).first()
            if row is None:
                connection.execute(sa.insert(s.sink_cursor).values(sink=sink, tick=0, durable_tick=0, at_ms=0))
                return SinkCursor(sink=sink)
        return SinkCursor(sink=row.sink, tick=row.tick, durable_tick=row.durable_tick, at_ms=row.at_ms)

    def advance(self, sink: str, *, tick: int, durable_tick: int, now_ms: int) -> None:
        """Write down how far a follower has come."""
        row = {"sink": sink, "tick": tick, "durable_tick": durable_tick, "at_ms": now_ms}
        with self._ledger.writer.transaction() as connection:
            connection.execute(upsert(s.sink_cursor), row)

    def forget(self, sink: str) -> None:
        """Drop a follower that is no longer configured; it holds nothing back any more."""
        with self._ledger.writer.transaction() as connection:
            connection.execute(sa.delete(s.sink_cursor).where(_c.sink == sink))

    def cursors(self) -> list[SinkCursor]:
        """Return every follower, slowest first."""
        with self._reader.connection() as connection:
            rows = connection.execute(sa.select(s.sink_cursor).order_by(_c.durable_tick)).all()
        return [SinkCursor(sink=r.sink, tick=r.tick, durable_tick=r.durable_tick, at_ms=r.at_ms) for r in rows]

    # ── snapshots ───────────────────────────────────────────────────────────────────────────────

    def save_snapshot(self, tick: int, now_ms: int, parts: Mapping[str, Mapping[str, Any]]) -> int:
        """Keep the state of the named parts as it was after `tick`; return its bytes. May run off the heart's thread.

        `parts` holds dicts of numbers, text, bools, None, lists, dicts and numpy arrays (copies: packing happens here).
        """
        blob = dump(parts)
        slices = [blob[i : i + SNAPSHOT_SLICE_BYTES] for i in range(0, len(blob), SNAPSHOT_SLICE_BYTES)]
        writer = self._ledger.writer
        part, head = s.snapshot_part, s.snapshot
        with writer.transaction() as connection:  # what an earlier try under this number may have left
            connection.execute(sa.delete(head).where(head.c.tick == tick))
            connection.execute(sa.delete(part).where(part.c.tick == tick))
        for number, piece in enumerate(slices):
            with writer.transaction() as connection:
                connection.execute(sa.insert(part).values(tick=tick, part=number, blob=piece))
        with writer.transaction() as connection:
            connection.execute(
                sa.insert(head).values(
                    tick=tick, now_ms=now_ms, parts=len(slices), bytes=len(blob), crc32=zlib.crc32(blob)
                )
            )
        self._drop_old_snapshots()
        return len(blob)

    def _drop_old_snapshots(self) -> None:
        part, head = s.snapshot_part, s.snapshot
        newest = sa.select(head.c.tick).order_by(head.c.tick.desc()).limit(SNAPSHOTS_KEPT)
        with self._ledger.writer.transaction() as connection:
            kept = connection.execute(newest).scalars().all()
            connection.execute(sa.delete(head).where(head.c.tick.not_in(kept)))
        # Parts without a head, also those of a save that was cut short.
        old = sa.select(part.c.tick, part.c.part).where(part.c.tick.not_in(kept)).limit(SNAPSHOT_DROP_MAX)
        key = sa.tuple_(part.c.tick, part.c.part)
        is_more = True
        while is_more:
            with self._ledger.writer.transaction() as connection:
                is_more = connection.execute(sa.delete(part).where(key.in_(old))).rowcount == SNAPSHOT_DROP_MAX

    def load_snapshot(self) -> Snapshot | None:
        """Return the newest snapshot that is whole; None when none was ever saved.

        A damaged one is said loudly and passed over. Raises DamagedError when none of those kept is whole: the
        ticks before them are gone, and to start from nothing would raise every standing alarm anew.
        """
        head = s.snapshot
        with self._reader.connection() as connection:
            heads = connection.execute(sa.select(head).order_by(head.c.tick.desc())).all()
        for row in heads:
            try:
                return Snapshot(tick=row.tick, now_ms=row.now_ms, parts=self._parts(row))
            except DamagedError as problem:
                if row.tick not in self._told.damaged:
                    self._told.damaged.add(row.tick)
                    log.error(  # noqa: TRY400 - a trace would say nothing more
                        "journal.snapshot_damaged", tick=row.tick, problem=str(problem)
                    )
        if heads:
            raise DamagedError(
                f"{self._ledger.path}: none of the {len(heads)} snapshots kept is whole; check the disk, and restore "
                "the newest backup: the gateways send again what is younger"
            )
        return None

    def _parts(self, head: sa.Row[Any]) -> dict[str, Any]:
        part = s.snapshot_part.c
        with self._reader.connection() as connection:
            pieces = connection.execute(
                sa.select(part.blob).where(part.tick == head.tick).order_by(part.part)
            ).scalars()
            blob = b"".join(pieces)
        if len(blob) != head.bytes or zlib.crc32(blob) != head.crc32:
            raise DamagedError(f"snapshot of tick {head.tick}: {len(blob)} bytes do not match its checksum")
        parts = load(blob)
        if not isinstance(parts, dict):
            raise DamagedError(f"snapshot of tick {head.tick} holds no named parts")
        return parts

    # ── size ────────────────────────────────────────────────────────────────────────────────────

    def usage(self) -> Usage:
        """Return what the journal holds against its budget, and say each turn for the worse or better once."""
        edge = sa.select(_j.tick, _j.bytes_sum, _j.readings_sum, _j.readings)
        with self._reader.connection() as connection:
            first = connection.execute(edge.order_by(_j.tick).limit(1)).first()
            last = connection.execute(edge.order_by(_j.tick.desc()).limit(1)).first()
            held = connection.execute(sa.select(_c.sink, _c.durable_tick).order_by(_c.durable_tick).limit(1)).first()
        size = readings = first_tick = last_tick = 0
        if first is not None and last is not None:
            size, readings = last.bytes_sum - first.bytes_sum, last.readings_sum - first.readings_sum + first.readings
            first_tick, last_tick = first.tick, last.tick
        state = UsageState.OK
        if size > self._budget_bytes:
            state = UsageState.OVER
        elif size > NEAR * self._budget_bytes:
            state = UsageState.NEAR
        slowest = held.sink if held is not None and held.durable_tick < last_tick else ""
        if state is not self._told.state:
            self._told.state = state
            say = log.info if state is UsageState.OK else log.error
            say("journal.budget", state=state.value, bytes=size, budget_bytes=self._budget_bytes, slowest_sink=slowest)
        return Usage(
            bytes=size,
            readings=readings,
            first_tick=first_tick,
            last_tick=last_tick,
            budget_bytes=self._budget_bytes,
            slowest_sink=slowest,
            state=state,
        )

    def prune(self, up_to_tick: int | None = None) -> Pruned:
        """Forget one bounded slice of the oldest ticks nobody needs any more: at most PRUNE_TICKS_MAX of them.

        Kept are: everything after the slowest follower's durable tick, everything after the oldest kept snapshot
        (before there are two nothing is forgotten: one may turn out damaged), the newest tick, and everything after
        `up_to_tick` when given.
        """
        writer = self._ledger.writer
        with writer.transaction() as connection:
            snapshots = connection.execute(sa.select(s.snapshot.c.tick).order_by(s.snapshot.c.tick)).scalars().all()
            slowest = connection.execute(sa.select(sa.func.min(_c.durable_tick))).scalar()
            newest = connection.execute(sa.select(sa.func.max(_j.tick))).scalar()
            if len(snapshots) < SNAPSHOTS_KEPT or newest is None:
                return Pruned(ticks=0, bytes=0, is_more=False)
            bounds = [snapshots[0], newest - 1, slowest, up_to_tick]
            limit = min(bound for bound in bounds if bound is not None)
            old = sa.select(_j.tick, _j.bytes_sum).where(_j.tick <= limit).order_by(_j.tick).limit(PRUNE_TICKS_MAX + 1)
            rows = connection.execute(old).all()
            ends = [r for r in rows[:PRUNE_TICKS_MAX] if r.bytes_sum - rows[0].bytes_sum <= PRUNE_BYTES_MAX]
            if not ends:
                return Pruned(ticks=0, bytes=0, is_more=False)
            connection.execute(sa.delete(s.journal).where(_j.tick <= ends[-1].tick))
            _size, free = bytes_used(connection)
        if free > FREE_BYTES_KEPT:
            give_back(writer, pages=VACUUM_PAGES)
        return Pruned(ticks=len(ends), bytes=ends[-1].bytes_sum - ends[0].bytes_sum, is_more=len(rows) > len(ends))


def _entry(row: sa.Row[Any]) -> JournalEntry:
    try:
        batch = ReadingBatch.empty() if row.columns is None else unpack(row.columns)
        extra = load(row.extra) if row.extra is not None else {}
        amendments = extra.get("amendments")
        return JournalEntry(
            tick=row.tick,
            now_ms=row.now_ms,
            batch=batch,
            amendments=None if amendments is None else unpack(amendments),
            messages=extra.get("messages"),
            commands=tuple(msgspec.convert(extra.get("commands", []), list[Command])),
            note=extra.get("note", ""),
        )
    except (DamagedError, msgspec.ValidationError, AttributeError) as problem:
        raise DamagedError(f"journal tick {row.tick}: {problem}") from problem
