"""Readings in memory: for tests, trials and rehearsals. Bounded; the oldest make room and are counted."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from citypulse.model import ReadingBatch

from . import QUERY_MAX, Cursor, Promises, Readings, StoreSpec
from .columns import sort_out

READINGS_MAX = 5_000_000  # 150 MB
SCAN_ROWS = 100_000


class MemoryStore:
    """All columns in memory, sorted by (sensor, time)."""

    promises = Promises(is_durable=False, keeps_cursor=True, durability_lag_s=0.0)

    def __init__(self, *, readings_max: int = READINGS_MAX) -> None:
        """Hold at most `readings_max` readings."""
        self._lock = threading.RLock()
        self._readings_max = readings_max
        self._held = ReadingBatch.empty()
        self._apart = ReadingBatch.empty()
        self._cursor: dict[str, int] = {}
        self._ids: tuple[str, ...] = ()
        self.pushed_out = 0  # readings that had to make room, ever

    @classmethod
    def open(cls, spec: StoreSpec) -> MemoryStore:
        """Open an empty store; option `readings_max`."""
        return cls(readings_max=int(spec.options.get("readings_max", READINGS_MAX)))

    def learn(self, ids: Sequence[str]) -> None:
        """Take the names of the sensors."""
        self._ids = tuple(ids)

    def names(self) -> tuple[str, ...]:
        """Return the names by index, as last learnt."""
        return self._ids

    def cursor(self, journal: str) -> int:
        """Return the tick up to which this journal has been written here."""
        return self._cursor.get(journal, 0)

    def write(self, batch: ReadingBatch, *, amendments: ReadingBatch | None = None, upto: Cursor | None = None) -> int:
        """Store readings, amend qualities, move the cursor; return new rows."""
        ready = sort_out(batch)
        with self._lock:
            before = len(self._held)
            self._held = _merged(self._held, ready.believed)
            self._apart = _merged(self._apart, ready.quarantined)
            new = len(self._held) - before
            if amendments is not None:
                for sensor, time_ms, quality in zip(
                    amendments.sensor, amendments.time_ms, amendments.quality, strict=True
                ):
                    self.amend(int(sensor), int(time_ms), int(quality))
            self._make_room()
            if upto is not None:
                self._cursor[upto.journal] = upto.tick
        return new

    def _make_room(self) -> None:
        excess = len(self._held) - self._readings_max
        if excess > 0:
            edge = np.partition(self._held.time_ms, excess - 1)[excess - 1]
            self.pushed_out += self.retain(int(edge) + 1)

    def amend(self, sensor: int, time_ms: int, quality: int) -> bool:
        """Change the quality of one stored reading; False when it is not there."""
        with self._lock:
            at = self._slice(sensor, time_ms, time_ms + 1)
            if at.start == at.stop:
                return False
            changed = self._held.quality.copy()
            changed[at] = quality
            h = self._held
            self._held = ReadingBatch(
                sensor=h.sensor,
                time_ms=h.time_ms,
                value=h.value,
                quality=changed,
                lane=h.lane,
                received_ms=h.received_ms,
            )
            return True

    def _slice(self, sensor: int, since_ms: int, until_ms: int) -> slice:
        first, last = np.searchsorted(self._held.sensor, [sensor, sensor + 1])
        times = self._held.time_ms[first:last]
        low, high = np.searchsorted(times, [since_ms, until_ms])
        return slice(int(first + low), int(first + high))

    def query(self, sensor: int, since_ms: int, until_ms: int, limit: int = QUERY_MAX) -> Readings:
        """Return readings of one sensor in order of time; the newest `limit` of those with since <= time < until."""
        with self._lock:
            at = self._slice(sensor, since_ms, max(since_ms, until_ms))
            return _readings(self._held, slice(max(at.start, at.stop - limit), at.stop))

    def latest(self, sensors: Sequence[int] | None = None) -> Readings:
        """Return the newest reading of each sensor, in order of sensor index."""
        with self._lock:
            held = self._held
            if not len(held):
                return Readings.empty()
            is_last = np.append(held.sensor[1:] != held.sensor[:-1], True)
            if sensors is not None:
                is_last &= np.isin(held.sensor, np.asarray(sensors, np.int32))
            return _readings(held, is_last)

    def scan(self, sensors: Sequence[int] | None, since_ms: int, until_ms: int) -> Iterator[Readings]:
        """Yield readings with since <= time < until in order of (time, sensor), in bounded chunks."""
        with self._lock:
            held = self._held
        is_in = (held.time_ms >= since_ms) & (held.time_ms < until_ms)
        if sensors is not None:
            is_in &= np.isin(held.sensor, np.asarray(sensors, np.int32))
        index = np.flatnonzero(is_in)
        index = index[np.lexsort((held.sensor[index], held.time_ms[index]))]
        for start in range(0, len(index), SCAN_ROWS):
            yield _readings(held, index[start : start + SCAN_ROWS])

    def count(self, *, quarantined: bool = False) -> int:
        """Return how many readings are held."""
        return len(self._apart if quarantined else self._held)

    def retain(self, before_ms: int) -> int:
        """Delete readings with time < before_ms; return how many."""
        with self._lock:
            before = len(self._held)
            self._held = self._held.take(self._held.time_ms >= before_ms)
            self._apart = self._apart.take(self._apart.received_ms >= before_ms)
            return before - len(self._held)

    def incarnation(self) -> str:
        """Return "": there is no server that could restart by itself."""
        return ""

    def close(self) -> None:
        """Nothing to let go of."""


def _merged(held: ReadingBatch, fresh: ReadingBatch) -> ReadingBatch:
    """Join two batches into one sorted by (sensor, time); where both have one, the held reading stays."""
    if not len(fresh):
        return held
    both = ReadingBatch(
        sensor=np.concatenate((held.sensor, fresh.sensor)),
        time_ms=np.concatenate((held.time_ms, fresh.time_ms)),
        value=np.concatenate((held.value, fresh.value)),
        quality=np.concatenate((held.quality, fresh.quality)),
        lane=np.zeros(len(held) + len(fresh), np.uint8),
        received_ms=np.concatenate((held.received_ms, fresh.received_ms)),
    )
    return sort_out(both).believed


def _readings(held: ReadingBatch, index: slice | NDArray[np.bool_] | NDArray[np.intp]) -> Readings:
    some = held.take(index)
    return Readings(
        sensor=some.sensor,
        time_ms=some.time_ms,
        value=some.value,
        quality=some.quality,
        received_ms=some.received_ms,
    )
