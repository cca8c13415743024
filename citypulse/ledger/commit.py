"""The one transaction of a tick: journal row and everything it caused, whole or not at all.

Promise: when `commit` returns, all of the tick is on the disk; when it raises, none of it is (a failure of the COMMIT
itself excepted, after which the truth is read back from the file). Statements are compiled once and handed to the
driver as they are: a tick without effects is a BEGIN, one INSERT and a COMMIT.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from citypulse.model import DeadLetter, Effects

from . import schema as s
from .chain import START, Head, link
from .packing import dump, pack
from .rows import to_json
from .sqlite import LedgerError, Writer, insert_new, upsert
from .tick import Fault, GatewayRow, Tick, no_fault

HEAD_KEY = "record_head"
DEAD_ROWS, DEAD_BYTES = "dead_letter.rows", "dead_letter.bytes"
PUSHED_OUT_ROWS, PUSHED_OUT_BYTES = "dead_letter.pushed_out_rows", "dead_letter.pushed_out_bytes"
# A flood of rubbish may fill this much and no more; the oldest make room and are counted.
DEAD_ROWS_MAX = 100_000
DEAD_BYTES_MAX = 256 << 20

FAULTS = (
    "ledger.after_begin",
    "ledger.after_journal",
    "ledger.after_alarms",
    "ledger.after_orders",
    "ledger.after_events",
    "ledger.after_outbox",
    "ledger.after_answers",
    "ledger.after_dead_letters",
    "ledger.after_gateways",
    "ledger.after_commit",  # the only one after which the tick is there
)


class _Statement:
    """A statement compiled once; `run` hands rows straight to the driver."""

    def __init__(self, statement: sa.Executable, dialect: sa.Dialect, names: Sequence[str]) -> None:
        compiled: Any = statement.compile(dialect=dialect, column_keys=list(names))  # type: ignore[attr-defined]
        self.sql = str(compiled)
        order = list(compiled.positiontup)
        self._pick = None if order == list(names) else [list(names).index(name) for name in order]

    def run(self, connection: sa.Connection, rows: list[tuple[Any, ...]]) -> None:
        if self._pick is not None:
            rows = [tuple(row[i] for i in self._pick) for row in rows]
        connection.exec_driver_sql(self.sql, rows if len(rows) > 1 else rows[0])


class Committer:
    """Writes ticks. One per process; the heart's thread is its only caller."""

    def __init__(
        self,
        writer: Writer,
        *,
        fault: Fault = no_fault,
        dead_rows_max: int = DEAD_ROWS_MAX,
        dead_bytes_max: int = DEAD_BYTES_MAX,
    ) -> None:
        """Compile the statements and read where the journal and the record stand."""
        self._writer = writer
        self._fault = fault
        self._dead_rows_max = dead_rows_max
        self._dead_bytes_max = dead_bytes_max
        dialect = writer.engine.dialect

        def compiled(statement: sa.Executable, names: Sequence[str]) -> _Statement:
            return _Statement(statement, dialect, names)

        journal = [c.name for c in s.journal.columns]
        self._journal = compiled(sa.insert(s.journal), journal)
        self._alarm = compiled(upsert(s.alarm), s.ALARMS.names)
        self._order = compiled(upsert(s.work_order), s.ORDERS.names)
        self._mute = compiled(upsert(s.mute), s.MUTES.names)
        self._storm = compiled(upsert(s.storm), s.STORMS.names)
        self._exercise = compiled(upsert(s.exercise), s.EXERCISES.names)
        self._event = compiled(sa.insert(s.event), ["seq", *s.EVENTS.names, "prev_hash", "hash"])
        self._notice = compiled(insert_new(s.outbox, "idem_key"), [*s.NOTICES.names, "next_at_ms", "via"])
        self._drop = compiled(
            sa.text(
                "UPDATE outbox SET state = 'obsolete', last_error = :why"
                " WHERE subject = :whose AND state IN ('pending', 'leased')"
            ),
            ["why", "whose"],
        )
        self._dead = compiled(sa.insert(s.dead_letter), [*s.LETTERS.names, "tick"])
        self._gateway = compiled(upsert(s.gateway), s.GATEWAYS.names)
        self._answer = compiled(insert_new(s.command_answer, "command"), ["command", "at_ms", "answer"])
        self._meta = compiled(upsert(s.meta), ["key", "value"])
        self._counter = compiled(upsert(s.counter), ["name", "value"])
        self._read_back()

    def _read_back(self) -> None:
        """Take the truth from the file: at the start, and after any commit that failed."""
        with self._writer.transaction() as connection:
            last = connection.execute(
                sa.select(s.journal.c.tick, s.journal.c.now_ms, s.journal.c.readings_sum, s.journal.c.bytes_sum)
                .order_by(s.journal.c.tick.desc())
                .limit(1)
            ).first()
            head = connection.execute(sa.select(s.meta.c.value).where(s.meta.c.key == HEAD_KEY)).scalar()
            counters = {row.name: row.value for row in connection.execute(sa.select(s.counter))}
        self.last_tick: int = last.tick if last else 0
        self.last_now_ms: int = last.now_ms if last else 0
        self._readings_sum: int = last.readings_sum if last else 0
        self._bytes_sum: int = last.bytes_sum if last else 0
        self._head = Head.parse(head) if head else START
        self._dead_rows = counters.get(DEAD_ROWS, 0)
        self._dead_bytes = counters.get(DEAD_BYTES, 0)
        self._pushed_rows = counters.get(PUSHED_OUT_ROWS, 0)
        self._pushed_bytes = counters.get(PUSHED_OUT_BYTES, 0)
        self._is_sure = True

    def commit(self, tick: Tick) -> None:
        """Make the tick durable. Raises LedgerError when the disk is full or the file is held; nothing is kept then."""
        if not self._is_sure:
            self._read_back()
        if tick.number <= self.last_tick:
            raise LedgerError(f"tick {tick.number} was offered after tick {self.last_tick}: ticks only rise")
        row = self._journal_row(tick)  # packed before the lock is taken
        self._is_sure = False  # until COMMIT has returned, only the file knows
        try:
            with self._writer.transaction() as connection:
                self._fault("ledger.after_begin")
                self._journal.run(connection, [row])
                self._fault("ledger.after_journal")
                head = self._write_effects(connection, tick)
                self._write_dead(connection, tick)
                self._fault("ledger.after_dead_letters")
                self._write_gateways(connection, tick.gateways)
                self._fault("ledger.after_gateways")
        except LedgerError as problem:
            raise LedgerError(
                f"tick {tick.number} could not be written ({problem}); nothing of it was acknowledged: "
                "free disk space or stop the other writer, then the tick can be tried again"
            ) from problem
        self._head = head
        self.last_tick, self.last_now_ms = tick.number, tick.now_ms
        self._readings_sum, self._bytes_sum = row[3], row[4]
        self._is_sure = True
        self._fault("ledger.after_commit")

    def _journal_row(self, tick: Tick) -> tuple[Any, ...]:
        columns = extra = None
        readings = 0
        if tick.batch is not None and len(tick.batch):
            readings = len(tick.batch)
            columns = pack(tick.batch)
        if tick.messages is not None or tick.commands or tick.note or tick.amendments is not None:
            extra = dump(
                {
                    "messages": tick.messages,
                    "commands": list(tick.commands),
                    "note": tick.note,
                    "amendments": None if tick.amendments is None else pack(tick.amendments),
                }
            )
        size = (len(columns) if columns else 0) + (len(extra) if extra else 0)
        return (
            tick.number,
            tick.now_ms,
            readings,
            self._readings_sum + readings,
            self._bytes_sum + size,
            columns,
            extra,
        )

    def _write_effects(self, connection: sa.Connection, tick: Tick) -> Head:
        effects: Effects = tick.effects
        if effects.alarms:
            self._alarm.run(connection, [s.ALARMS.row(alarm) for alarm in effects.alarms.values()])
        self._fault("ledger.after_alarms")
        if effects.orders:
            self._order.run(connection, [s.ORDERS.row(order) for order in effects.orders.values()])
        self._fault("ledger.after_orders")
        if effects.mutes:
            self._mute.run(connection, [s.MUTES.row(mute) for mute in effects.mutes.values()])
        if effects.storms:
            self._storm.run(connection, [s.STORMS.row(storm) for storm in effects.storms.values()])
        if effects.exercises:
            self._exercise.run(connection, [s.EXERCISES.row(one) for one in effects.exercises.values()])
        head = self._write_events(connection, effects)
        self._fault("ledger.after_events")
        self._write_outbox(connection, effects)
        self._fault("ledger.after_outbox")
        if effects.answers:
            self._answer.run(connection, [(a.command, tick.now_ms, to_json(a)) for a in effects.answers])
        self._fault("ledger.after_answers")
        return head

    def _write_events(self, connection: sa.Connection, effects: Effects) -> Head:
        head = self._head
        if not effects.events:
            return head
        rows = []
        for event in effects.events:
            columns = s.EVENTS.row(event)
            seq = head.seq + 1
            digest = link(seq, head.hash, columns)
            rows.append((seq, *columns, head.hash, digest))
            head = Head(seq, digest)
        self._event.run(connection, rows)
        self._meta.run(connection, [(HEAD_KEY, str(head))])
        return head

    def _write_outbox(self, connection: sa.Connection, effects: Effects) -> None:
        # Obsolete first: what this very tick announces about the same subject is wanted.
        if effects.obsolete:
            self._drop.run(connection, [(reason, subject) for subject, reason in effects.obsolete])
        if effects.notices:
            self._notice.run(connection, [(*s.NOTICES.row(n), n.not_before_ms, n.channel) for n in effects.notices])

    def _write_dead(self, connection: sa.Connection, tick: Tick) -> None:
        if not tick.dead:
            return
        kept = self._newest_that_fit(tick.dead)
        offered = sum(len(letter.payload) for letter in tick.dead)
        kept_bytes = sum(len(letter.payload) for letter in kept)
        pushed_rows, pushed_bytes = len(tick.dead) - len(kept), offered - kept_bytes
        rows, size = self._dead_rows + len(kept), self._dead_bytes + kept_bytes
        if rows > self._dead_rows_max or size > self._dead_bytes_max:
            out_rows, out_bytes = self._push_out(connection, rows - self._dead_rows_max, size - self._dead_bytes_max)
            rows, size = rows - out_rows, size - out_bytes
            pushed_rows, pushed_bytes = pushed_rows + out_rows, pushed_bytes + out_bytes
        if kept:
            self._dead.run(connection, [(*s.LETTERS.row(letter), tick.number) for letter in kept])
        totals = (rows, size, self._pushed_rows + pushed_rows, self._pushed_bytes + pushed_bytes)
        names = (DEAD_ROWS, DEAD_BYTES, PUSHED_OUT_ROWS, PUSHED_OUT_BYTES)
        self._counter.run(connection, list(zip(names, totals, strict=True)))
        self._dead_rows, self._dead_bytes, self._pushed_rows, self._pushed_bytes = totals

    def _newest_that_fit(self, dead: Sequence[DeadLetter]) -> list[DeadLetter]:
        """Keep the newest letters of one tick that fit the bounds by themselves, in order."""
        kept: list[DeadLetter] = []
        room = self._dead_bytes_max
        for letter in reversed(dead):
            room -= len(letter.payload)
            if room < 0 or len(kept) == self._dead_rows_max:
                break
            kept.append(letter)
        return kept[::-1]

    def _push_out(self, connection: sa.Connection, rows: int, size: int) -> tuple[int, int]:
        """Delete the oldest letters until at least `rows` rows and `size` payload bytes are free; return what went."""
        letter = s.dead_letter.c
        oldest = connection.execute(
            sa.select(letter.id, sa.func.length(letter.payload)).order_by(letter.id).execution_options(yield_per=500)
        )
        gone_rows = gone_bytes = last = 0
        for number, length in oldest:
            if gone_rows >= rows and gone_bytes >= size:
                break
            gone_rows, gone_bytes, last = gone_rows + 1, gone_bytes + length, number
        oldest.close()
        connection.execute(sa.delete(s.dead_letter).where(letter.id <= last))
        return gone_rows, gone_bytes

    def _write_gateways(self, connection: sa.Connection, rows: Sequence[GatewayRow]) -> None:
        if rows:
            self._gateway.run(connection, [s.GATEWAYS.row(row) for row in rows])
