"""THE HEART. Read `City.tick` first: everything that changes the city happens there, in this order, in one commit.

Promises kept here: a message is acknowledged only after the commit that contains it; commands are answered
only after the commit; a tick that cannot be committed is tried again whole and nothing after it runs; a
restart re-runs the journaled ticks with effects off and stands exactly where the last commit left it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, Protocol

import structlog

from alerts.desk import Desk
from citypulse.clock import monotonic_s
from citypulse.journal import Journal, JournalEntry
from citypulse.ledger import Ledger, LedgerError, Tick
from citypulse.mailbox import Mailbox
from citypulse.metrics import Metrics
from citypulse.model import Answer, CityConfig, Command, Effects, Lane, RawMessage, ReadingBatch, SensorTable
from citypulse.turn import Regime, Turn, turn
from ingest.inbox import Inbox
from rules.engine import Engine
from rules.why import Why

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
        regime: Regime,
        inbox: Inbox,
        mailbox: Mailbox,
        source: Source,
        metrics: Metrics,
        past: Callable[[str], CityConfig | None] = lambda _fingerprint: None,
        save_snapshot: Callable[[int, int, dict[str, Any]], object] | None = None,
        wait: Callable[[float], bool] = lambda _s: False,
        fault: Callable[[str], None] = lambda _name: None,
    ) -> None:
        """Stand as the ledger stands, under `regime`; call `recover` before the first tick.

        `past` gives a configuration that was in force before, by fingerprint. `save_snapshot` may hand the writing to
        another thread; by default it is done in place. `wait(seconds)` pauses between commit attempts and returns
        True to give up; `fault` is for crash tests.
        """
        self._ledger = ledger
        self._journal = journal
        self._regime = regime
        self._desk = Desk(regime.config, regime.table, ledger.load_open())
        self._inbox = inbox
        self._mailbox = mailbox
        self._source = source
        self._metrics = metrics
        self._past = past
        self._save_snapshot = save_snapshot or journal.save_snapshot
        self._wait = wait
        self._fault = fault
        self.commit_problem = ""  # why the tick in hand cannot be written; read by the health page's thread
        self.is_taking = True  # False while the journal is over its disk budget: the inbox fills, the broker waits
        self._number = 0
        self._committed_ms = 0
        self._snapshot_ms = 0
        self._away_ms = 0  # our own downtime, to be declared in the next committed tick
        self._in_force = ""  # fingerprint the journal's last ticks ran under
        self._turned: Turn | None = None  # a regime took over; the next tick commits what that changes
        self._thinking = threading.Lock()  # held while state moves, so that `why` sees no half of a step
        self._door = threading.Lock()
        self._offered: tuple[Regime, Future[Turn]] | None = None

    @property
    def engine(self) -> Engine:
        """The rules in force."""
        return self._regime.engine

    @property
    def config(self) -> CityConfig:
        """The configuration in force."""
        return self._regime.config

    @property
    def committed_ms(self) -> int:
        """Where the city's own time stands, epoch ms: that of the last commit, which never goes back."""
        return self._committed_ms

    # ── the tick ────────────────────────────────────────────────────────────────────────────────

    def tick(self, now_ms: int) -> TickReport:
        """Take what waits, think, commit, answer. `now_ms` is cut back to the oldest message still waiting."""
        began_s = monotonic_s()
        messages = self._inbox.drain(MESSAGES_PER_TICK if self.is_taking else 0)
        commands, repeated = self._fresh(self._mailbox.drain())
        now_ms = max(self._horizon(now_ms), self._committed_ms)
        number = self._number + 1

        with self._thinking:
            asker = self._take_offer(now_ms)
            turned = self._turned
            taken = self._regime.intake.take(messages, now_ms)
            if self._away_ms:
                self.engine.resume(self._away_ms)
            transitions = self.engine.step(taken.batch, now_ms, taken.heard)
            if turned is not None:
                transitions = [*turned.transitions, *transitions]
            effects = self._desk.receive(transitions, taken.batch, commands, now_ms)
            if turned is not None:
                effects = _joined(turned.effects, effects)
        self._fault("city.thought")

        config = self.config.fingerprint
        has_news = bool(messages or commands or repeated or effects.events or self._away_ms or turned)
        is_due = has_news or now_ms - self._committed_ms >= PULSE_EVERY_MS
        if is_due:
            self._commit(
                Tick(
                    number=number,
                    now_ms=now_ms,
                    batch=taken.batch if len(taken.batch) else None,
                    amendments=taken.amendments,
                    messages={"away_ms": self._away_ms, "intake": taken.journal}
                    | ({"config": config} if config != self._in_force else {}),
                    commands=commands,
                    effects=effects,
                    dead=taken.dead,
                    gateways=self._regime.intake.gateways.rows_changed(),
                )
            )
            self._number = number
            self._committed_ms = now_ms
            self._away_ms = 0
            self._in_force, self._turned = config, None
            self._fault("city.committed")
            self._source.acknowledge(messages)
            self._mailbox.answer([*effects.answers, *repeated])
            self._fault("city.answered")
            if turned is not None and asker is not None:
                asker.set_result(turned)
            # After a change at once: a restart then seldom needs the rules that were in force before.
            if turned is not None or now_ms - self._snapshot_ms >= SNAPSHOT_EVERY_MS:
                self.snapshot()
        # Whatever was heard up to here is committed: an idle tick hears nothing.
        for topic, payload in self._regime.intake.gateways.watermarks_due(now_ms):
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
                self.commit_problem = str(error)
                log.warning("city.commit_failed", tick=tick.number, retry_s=pause_s, why=str(error))
                if self._wait(pause_s):
                    raise
                pause_s = min(2 * pause_s, longest_s)
            else:
                self.commit_problem = ""
                self._metrics.commit_seconds.observe(monotonic_s() - began_s)
                return

    # ── a changed configuration ─────────────────────────────────────────────────────────────────

    def offer(self, regime: Regime) -> Future[Turn]:
        """Let a regime take over between two ticks; from any thread. The future resolves after the commit."""
        future: Future[Turn] = Future()
        with self._door:
            overtaken, self._offered = self._offered, (regime, future)
        if overtaken is not None:
            overtaken[1].cancel()
        return future

    def _take_offer(self, now_ms: int) -> Future[Turn] | None:
        """Turn to the regime that was offered, if any; on any failure everything stays as it was."""
        if self._offered is None or self._turned is not None:
            return None
        with self._door:
            (regime, future), self._offered = self._offered, None
        if not future.set_running_or_notify_cancel():
            return None  # whoever offered it has given up
        try:
            new = turn(regime, self.state(), self._ledger.load_open(), self.config, now_ms)
        except Exception as error:  # noqa: BLE001 - a configuration that cannot take over must not stop the city
            future.set_exception(error)
            return None
        self._regime, self._desk, self._turned = new.regime, new.desk, new
        return future

    def why(self, rule: str, scope: str) -> Why:
        """Explain one rule on one scope, from any thread, between two steps. KeyError when it does not apply."""
        with self._thinking:
            return self.engine.why(rule, scope)

    # ── restart ─────────────────────────────────────────────────────────────────────────────────

    def recover(self, now_ms: int) -> int:
        """Load the newest snapshot, re-run the ticks after it with effects off; return how many.

        Each tick runs under the configuration it ran under (docs/adr/0003-reload.md). When ours is another one, it
        takes over at the end, exactly as in a running city.
        """
        ours = self._regime.config
        spare: Regime | None = self._regime  # fresh until its first use
        found = self._journal.load_snapshot()
        state = None if found is None else found.parts
        if found is not None:
            self._number, self._committed_ms = found.tick, found.now_ms
            self._in_force = found.parts.get("city", {}).get("config", "")
        replayed = 0
        stands = is_guess = False  # whether our parts hold the state yet; whether under rules that it did not have
        while entries := self._journal.entries(self._number):
            for entry in entries:
                config = entry.messages.get("config", self._in_force)
                if not stands or config != self._in_force:
                    state = self.state() if stands else state
                    regime = self._regime_of(config or ours.fingerprint, ours, spare)
                    is_guess |= regime.config.fingerprint != (config or ours.fingerprint)
                    spare = None if regime is spare else spare
                    self._enter(regime, state)
                    stands, self._in_force = True, config
                self._replay(entry)
            replayed += len(entries)
        if self._in_force in {"", ours.fingerprint} and not is_guess:
            if not stands:
                self._enter(self._regime, state)
        else:
            state = self.state() if stands else state
            before = self.config if stands and not is_guess else self._past(self._in_force)
            new = turn(spare or self._again(ours), state, self._ledger.load_open(), before, now_ms)
            self._regime, self._desk, self._turned = new.regime, new.desk, new
            log.info("city.config_changed", alarms_changed=new.changed, alarms_withdrawn=new.withdrawn)
        if self._committed_ms:
            self._away_ms = max(0, now_ms - self._committed_ms)
        self._snapshot_ms = now_ms
        log.info("city.recovered", tick=self._number, replayed=replayed, away_s=self._away_ms / 1000)
        return replayed

    def _regime_of(self, fingerprint: str, ours: CityConfig, spare: Regime | None) -> Regime:
        """Return fresh parts for ticks that ran under this configuration."""
        if fingerprint == ours.fingerprint:
            return spare or self._again(ours)
        config = self._past(fingerprint)
        if config is None:
            log.error("city.config_lost", config=fingerprint[:12], what="its ticks are re-run under the present rules")
        return self._again(config or ours)

    def _again(self, config: CityConfig) -> Regime:
        ids = self._ledger.sensor_ids([s.id for s in config.sensors])
        return Regime.of(config, SensorTable.build(ids, config.sensors))

    def _enter(self, regime: Regime, state: dict[str, Any] | None) -> None:
        """Stand under a regime with this state, without any effects."""
        self._regime = regime
        self._desk = Desk(regime.config, regime.table, self._ledger.load_open())
        if state is not None:
            regime.intake.restore(state["intake"])
            regime.engine.restore(state["rules"])
            self._desk.restore(state["desk"])

    def _replay(self, entry: JournalEntry) -> None:
        """Re-run one committed tick with effects off: only the state moves."""
        heard = self._regime.intake.replay(entry.batch, entry.messages["intake"], entry.now_ms)
        if entry.messages["away_ms"]:
            self.engine.resume(entry.messages["away_ms"])
        self.engine.step(entry.batch, entry.now_ms, heard)
        self._desk.replay(entry.batch, entry.tick)
        self._number, self._committed_ms = entry.tick, entry.now_ms

    def snapshot(self) -> None:
        """Save the state of every part beside the ledger, so that a restart has little to re-run."""
        if self._turned is not None:
            return  # the change is not committed yet: what is kept must not run ahead of it
        self._save_snapshot(self._number, self._committed_ms, self.state())
        self._snapshot_ms = self._committed_ms

    def state(self) -> dict[str, Any]:
        """Return the state of every part by name."""
        return {
            "city": {"config": self._in_force},
            "intake": self._regime.intake.state(),
            "rules": self.engine.state(),
            "desk": self._desk.state(),
        }

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


def _joined(first: Effects, then: Effects) -> Effects:
    """Return both as one tick's effects; `first` holds events and the alarms they changed, nothing else."""
    return replace(then, alarms=first.alarms | then.alarms, events=[*first.events, *then.events])
