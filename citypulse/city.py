"""THE HEART. Read `City.tick` first: everything that changes the city happens there, in this order, in one commit.

Promises kept here: a message is acknowledged only after the commit that contains it; commands are answered
only after the commit; a tick that cannot be committed is tried again whole and nothing after it runs; a
restart re-runs the journaled ticks with effects off and stands exactly where the last commit left it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from alerts.desk import Desk
from citypulse.clock import monotonic_s
from citypulse.journal import Journal, JournalEntry
from citypulse.ledger import Ledger, LedgerError, Tick
from citypulse.mailbox import Mailbox
from citypulse.metrics import Metrics
from citypulse.model import Answer, Command, Effects, Lane, RawMessage, ReadingBatch
from ingest.inbox import Inbox
from ingest.intake import Intake
from rules.engine import Engine

MESSAGES_PER_TICK = 5_000  # bounds a tick's length: about 50 ms of single readings, 0.3 s of full batches
SNAPSHOT_EVERY_MS = 30_000
PULSE_EVERY_MS = 10_000  # an idle city still commits now and then, so a restart knows how long it was away
COMMIT_RETRY_S = (0.1, 5.0)  # first and longest wait between attempts to commit one tick

log = structlog.get_logger()


class Source(Protocol):
    """Where messages come from, as the heart sees it."""

    def acknowledge(self, messages: Sequence[RawMessage]) -> None:
        """Tell the broker that these messages are durable here."""
        ...

    def publish(self, topic: str, payload: bytes) -> bool:
        """Publish without waiting; False when the bounded queue is full."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TickReport:
    """What one tick did, for metrics and tests."""

    number: int
    messages: int
    readings: int
    is_committed: bool
    effects: Effects


class City:
    """One city: ingest, rules and alerts around one ledger. Single-threaded; owned by the heart's thread."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        journal: Journal,
        intake: Intake,
        engine: Engine,
        desk: Desk,
        inbox: Inbox,
        mailbox: Mailbox,
        source: Source,
        metrics: Metrics,
        save_snapshot: Callable[[int, int, dict[str, Any]], object] | None = None,
        wait: Callable[[float], bool] = lambda _s: False,
        fault: Callable[[str], None] = lambda _name: None,
    ) -> None:
        """`save_snapshot` may hand the writing to another thread; by default it is done in place.

        `wait(seconds)` pauses between commit attempts and returns True to give up; `fault` is for crash tests.
        """
        self._ledger = ledger
        self._journal = journal
        self._intake = intake
        self.engine = engine
        self._desk = desk
        self._inbox = inbox
        self._mailbox = mailbox
        self._source = source
        self._metrics = metrics
        self._save_snapshot = save_snapshot or journal.save_snapshot
        self._wait = wait
        self._fault = fault
        self._number = 0
        self._committed_ms = 0
        self._snapshot_ms = 0
        self._away_ms = 0  # our own downtime, to be declared in the next committed tick

    # ── the tick ────────────────────────────────────────────────────────────────────────────────

    def tick(self, now_ms: int) -> TickReport:
        """Take what waits, think, commit, answer. `now_ms` is cut back to the oldest message still waiting."""
        began_s = monotonic_s()
        messages = self._inbox.drain(MESSAGES_PER_TICK)
        commands, repeated = self._fresh(self._mailbox.drain())
        now_ms = max(self._horizon(now_ms), self._committed_ms)
        number = self._number + 1

        taken = self._intake.take(messages, now_ms)
        if self._away_ms:
            self.engine.resume(self._away_ms)
        transitions = self.engine.step(taken.batch, now_ms, taken.heard)
        effects = self._desk.receive(transitions, taken.batch, commands, now_ms)
        self._fault("city.thought")

        has_news = bool(messages or commands or repeated or effects.events or self._away_ms)
        is_due = has_news or now_ms - self._committed_ms >= PULSE_EVERY_MS
        if is_due:
            self._commit(
                Tick(
                    number=number,
                    now_ms=now_ms,
                    batch=taken.batch if len(taken.batch) else None,
                    amendments=taken.amendments,
                    messages={"away_ms": self._away_ms, "intake": taken.journal},
                    commands=commands,
                    effects=effects,
                    dead=taken.dead,
                    gateways=self._intake.gateways.rows_changed(),
                )
            )
            self._number = number
            self._committed_ms = now_ms
            self._away_ms = 0
            self._fault("city.committed")
            self._source.acknowledge(messages)
            self._mailbox.answer([*effects.answers, *repeated])
            self._fault("city.answered")
            if now_ms - self._snapshot_ms >= SNAPSHOT_EVERY_MS:
                self.snapshot()
        # Whatever was heard up to here is committed: an idle tick hears nothing.
        for topic, payload in self._intake.gateways.watermarks_due(now_ms):
            self._source.publish(topic, payload)
        self._count(len(messages), taken, transitions, effects, monotonic_s() - began_s)
        return TickReport(
            number=self._number,
            messages=len(messages),
            readings=len(taken.batch),
            is_committed=is_due,
            effects=effects,
        )

    def _fresh(self, commands: Sequence[Command]) -> tuple[list[Command], list[Answer]]:
        """Part what is asked for the first time from repeats: a phone that asks again gets its first answer."""
        fresh: dict[str, Command] = {}
        repeated = []
        for command in commands:
            before = self._ledger.answer_of(command.id)
            if before is not None:
                repeated.append(before)
            else:
                fresh.setdefault(command.id, command)
        return list(fresh.values()), repeated

    def _horizon(self, now_ms: int) -> int:
        """Time advances only as far as what has been read: no watchdog may bark at data that waits in the inbox."""
        oldest_ms = self._inbox.oldest_ms()
        return now_ms if oldest_ms is None else min(now_ms, oldest_ms)

    def _commit(self, tick: Tick) -> None:
        """Commit, or wait and try the same tick again: nothing is acknowledged meanwhile, so nothing is lost."""
        began_s = monotonic_s()
        pause_s, longest_s = COMMIT_RETRY_S
        while True:
            try:
                self._ledger.commit(tick)
            except LedgerError as error:  # disk full, or held by somebody else: both may pass
                self._metrics.commit_retries.inc()
                log.warning("city.commit_failed", tick=tick.number, retry_s=pause_s, why=str(error))
                if self._wait(pause_s):
                    raise
                pause_s = min(2 * pause_s, longest_s)
            else:
                self._metrics.commit_seconds.observe(monotonic_s() - began_s)
                return

    # ── restart ─────────────────────────────────────────────────────────────────────────────────

    def recover(self, now_ms: int) -> int:
        """Load the newest snapshot, re-run the ticks after it with effects off; return how many."""
        found = self._journal.load_snapshot()
        if found is not None:
            self._restore(found.parts)
            self._number, self._committed_ms = found.tick, found.now_ms
        replayed = 0
        while entries := self._journal.entries(self._number):
            for entry in entries:
                self._replay(entry)
            replayed += len(entries)
        if self._committed_ms:
            self._away_ms = max(0, now_ms - self._committed_ms)
        self._snapshot_ms = now_ms
        log.info("city.recovered", tick=self._number, replayed=replayed, away_s=self._away_ms / 1000)
        return replayed

    def _replay(self, entry: JournalEntry) -> None:
        """Re-run one committed tick with effects off: only the state moves."""
        heard = self._intake.replay(entry.batch, entry.messages["intake"], entry.now_ms)
        if entry.messages["away_ms"]:
            self.engine.resume(entry.messages["away_ms"])
        self.engine.step(entry.batch, entry.now_ms, heard)
        self._desk.replay(entry.batch, entry.tick)
        self._number, self._committed_ms = entry.tick, entry.now_ms

    def snapshot(self) -> None:
        """Save the state of every part beside the ledger, so that a restart has little to re-run."""
        self._save_snapshot(self._number, self._committed_ms, self.state())
        self._snapshot_ms = self._committed_ms

    def state(self) -> dict[str, Any]:
        """Return the state of every part by name."""
        return {"intake": self._intake.state(), "rules": self.engine.state(), "desk": self._desk.state()}

    def _restore(self, state: dict[str, Any]) -> None:
        self._intake.restore(state["intake"])
        self.engine.restore(state["rules"])
        self._desk.restore(state["desk"])

    # ── counting ────────────────────────────────────────────────────────────────────────────────

    def _count(self, messages: int, taken: Any, transitions: Sequence[Any], effects: Effects, took_s: float) -> None:
        metrics = self._metrics
        metrics.inbox_depth.set(self._inbox.depth)
        if messages:
            metrics.messages.inc(messages)
            metrics.tick_seconds.observe(took_s)
        batch: ReadingBatch = taken.batch
        if len(batch):
            for lane in Lane:
                n = int((batch.lane == lane).sum())
                if n:
                    metrics.readings.labels(lane.name.lower()).inc(n)
        for letter in taken.dead:
            metrics.dead_letters.labels(letter.reason).inc()
        for transition in transitions:
            metrics.transitions.labels(transition.kind.value).inc()
        for answer in effects.answers:
            metrics.commands.labels("done" if answer.ok else "refused").inc()
        metrics.ticks.inc()
