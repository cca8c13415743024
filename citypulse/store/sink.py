"""A sink carries the journal into a store, on its own thread, at the store's own pace.

Promise: every committed reading reaches the store, in order, however often either side dies. Where the store keeps the
cursor in its own transaction this is exactly once. Elsewhere the cursor kept beside the journal is a soft one: after a
restart or an outage the sink writes again from the last tick that is older than the store's durability lag.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import structlog

from citypulse.clock import Clock
from citypulse.errors import StoreError
from citypulse.journal import DamagedError, Journal, JournalEntry
from citypulse.ledger import LedgerError
from citypulse.model import ReadingBatch

from . import Cursor, ReadingStore

READINGS_MAX = 500_000  # per step
TICKS_MAX = 64  # per step
IDLE_S = 0.25  # between looks while there is nothing much to do: a store likes few, larger writes
BACKOFF_FIRST_S = 0.5
BACKOFF_MAX_S = 60.0
LOOK_EVERY_MS = 5_000  # whether the server was restarted; well within any durability lag
ADVANCE_EVERY_MS = 1_000  # the cursor beside the journal costs an fsync; once a second is enough

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkStats:
    """How a sink is doing, for metrics and the console."""

    name: str
    tick: int  # written up to here
    durable_tick: int
    lag_readings: int  # committed, not written yet
    written: int  # readings stored since the start; a second copy does not count where the store can tell
    steps: int
    failures: int  # failed attempts since the start
    problem: str  # what is wrong now, "" when nothing is
    is_permanent: bool  # whether waiting alone cannot mend it


class Sink:
    """One follower of the journal. `step` belongs to one thread; `stats` may be asked from any."""

    def __init__(
        self,
        store: ReadingStore,
        journal: Journal,
        *,
        name: str,
        sensor_ids: Callable[[], Sequence[str]],
        clock: Clock,
        readings_max: int = READINGS_MAX,
        ticks_max: int = TICKS_MAX,
    ) -> None:
        """Follow `journal` under `name`, where this store left off; sensor_ids() gives the names by index."""
        self._store, self._journal, self._clock, self._name = store, journal, clock, name
        self._sensor_ids = sensor_ids
        self._learnt = 0
        self._readings_max, self._ticks_max = readings_max, ticks_max
        self._waiting: deque[tuple[int, int]] = deque()  # (written at ms, tick): not yet believed durable
        self._advanced = (0, 0, 0)  # tick, durable tick, when: as last written beside the journal
        self._incarnation: str | None = None
        self._looked_ms = 0
        self._backoff_s = 0.0
        self._written = self._steps = self._failures = 0
        self._problem, self._is_permanent = "", False
        self._tick = self._durable = journal.follow(name).durable_tick
        self._is_begun = False

    def _begin(self) -> None:
        """Ask the store where it stands, at the first step: it may have to be opened for that."""
        if self._store.promises.keeps_cursor:
            self._tick = self._durable = self._store.cursor(self._journal.id)
        last = self._journal.last_tick
        if self._tick > last:
            # The ledger was restored from a backup: its ticks run again. Stores keep one reading per (sensor, time).
            log.warning("sink.ahead_of_journal", sink=self._name, sink_tick=self._tick, journal_tick=last)
            self._tick = self._durable = last
        self._is_begun = True

    def step(self) -> int:
        """Carry the next entries over; return how many ticks. 0: nothing new, or the store is not taking any.

        Never raises for what a store or a damaged blob does: it says so once, remembers, and tries the same again.
        """
        try:
            if not self._is_begun:
                self._begin()
            entries = self._journal.entries(self._tick, readings_max=self._readings_max, ticks_max=self._ticks_max)
            if entries:
                self._carry(entries)
            self._advance()
        except (StoreError, DamagedError, LedgerError) as problem:
            self._failed(problem)
            return 0
        self._healed()
        return len(entries)

    def _carry(self, entries: Sequence[JournalEntry]) -> None:
        ids = self._sensor_ids()
        if len(ids) != self._learnt:
            self._store.learn(ids)
            self._learnt = len(ids)
        last = entries[-1].tick
        batch = _joined([e.batch for e in entries if len(e.batch)])
        late = [e.amendments for e in entries if e.amendments is not None]
        keeps = self._store.promises.keeps_cursor
        if len(batch) or late:  # ticks without readings are not worth a transaction: they are read again, once
            self._written += self._store.write(
                batch,
                amendments=_joined(late) if late else None,
                upto=Cursor(journal=self._journal.id, tick=last),
            )
        self._steps += 1
        self._tick = last
        if keeps:
            self._durable = last
        else:
            self._waiting.append((self._clock.now_ms(), last))

    def _advance(self) -> None:
        """Believe in what is old enough, and write the cursor beside the journal now and then."""
        now_ms = self._clock.now_ms()
        self._look_for_a_restart(now_ms)
        lag_ms = self._store.promises.durability_lag_s * 1000
        while self._waiting and self._waiting[0][0] + lag_ms <= now_ms:
            self._durable = self._waiting.popleft()[1]
        tick, durable, at_ms = self._advanced
        if (tick, durable) != (self._tick, self._durable) and now_ms - at_ms >= ADVANCE_EVERY_MS:
            self._journal.advance(self._name, tick=self._tick, durable_tick=self._durable, now_ms=now_ms)
            self._advanced = (self._tick, self._durable, now_ms)

    def _look_for_a_restart(self, now_ms: int) -> None:
        """A server that restarted may have lost what it took last, even if no write of ours failed meanwhile."""
        if self._store.promises.keeps_cursor or now_ms - self._looked_ms < LOOK_EVERY_MS:
            return
        found = self._store.incarnation()
        if self._incarnation is not None and found != self._incarnation:
            log.warning("sink.store_restarted", sink=self._name, tick=self._tick, again_from=self._durable)
            self._rewind()
        self._incarnation, self._looked_ms = found, now_ms

    def _rewind(self) -> None:
        self._tick = self._durable
        self._waiting.clear()

    def _failed(self, problem: StoreError | DamagedError | LedgerError) -> None:
        self._failures += 1
        self._backoff_s = min(BACKOFF_MAX_S, max(BACKOFF_FIRST_S, 2 * self._backoff_s))
        self._is_permanent = isinstance(problem, DamagedError) or (
            isinstance(problem, StoreError) and problem.permanent
        )
        if self._is_permanent:
            self._backoff_s = BACKOFF_MAX_S
        if not self._problem:
            log.error(
                "sink.stuck", sink=self._name, tick=self._tick, problem=str(problem), permanent=self._is_permanent
            )
        self._problem = str(problem)

    def _healed(self) -> None:
        self._backoff_s = 0.0
        if not self._problem:
            return
        self._problem, self._is_permanent = "", False
        log.info("sink.healed", sink=self._name, tick=self._tick)
        if not self._store.promises.keeps_cursor:
            self._rewind()  # the server may have lost its last seconds with whatever ailed it

    @property
    def name(self) -> str:
        """The name this sink follows the journal under."""
        return self._name

    @property
    def tick(self) -> int:
        """The last tick written to the store."""
        return self._tick

    @property
    def pause_s(self) -> float:
        """How long to wait before the next step: the backoff after a failure, else a moment."""
        return self._backoff_s or IDLE_S

    def run(self, stop: threading.Event) -> None:
        """Step until `stop`; then carry over what is there, once, and write the cursor down."""
        while not stop.is_set():
            if self.step() < self._ticks_max:
                self._clock.wait(stop, self.pause_s)
        self.finish()

    def finish(self) -> None:
        """Carry over what is committed as long as the store takes it, and write the cursor down."""
        while self.step():
            pass
        if not self._is_begun:
            return  # the store never told where it stands
        now_ms = self._clock.now_ms()
        self._journal.advance(self._name, tick=self._tick, durable_tick=self._durable, now_ms=now_ms)

    def stats(self) -> SinkStats:
        """Return how this sink is doing."""
        return SinkStats(
            name=self._name,
            tick=self._tick,
            durable_tick=self._durable,
            lag_readings=self._journal.lag(self._tick),
            written=self._written,
            steps=self._steps,
            failures=self._failures,
            problem=self._problem,
            is_permanent=self._is_permanent,
        )


def _joined(batches: Sequence[ReadingBatch]) -> ReadingBatch:
    if not batches:
        return ReadingBatch.empty()
    if len(batches) == 1:
        return batches[0]
    return ReadingBatch(
        sensor=np.concatenate([b.sensor for b in batches]),
        time_ms=np.concatenate([b.time_ms for b in batches]),
        value=np.concatenate([b.value for b in batches]),
        quality=np.concatenate([b.quality for b in batches]),
        lane=np.concatenate([b.lane for b in batches]),
        received_ms=np.concatenate([b.received_ms for b in batches]),
    )
