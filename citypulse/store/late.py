"""A store that is opened by whoever first needs it: its sink's thread, so that alarms do not wait for it at a start.

Loading an embedded engine and opening its file takes a tenth of a second and more. A file that cannot be opened stops
no alarm either: the sink says so, tries again, and the journal keeps what is committed meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

from citypulse.model import ReadingBatch

from . import QUERY_MAX, Cursor, Promises, Readings, ReadingStore


class LateStore:
    """Stands for a store that `opener` opens at the first call of anything but `promises` and `close`."""

    def __init__(self, opener: Callable[[], ReadingStore], promises: Promises) -> None:
        """`promises` are what the opened store will promise."""
        self.promises = promises
        self._opener = opener
        self._opening = threading.Lock()
        self._opened: ReadingStore | None = None

    def _store(self) -> ReadingStore:
        if self._opened is None:
            with self._opening:
                if self._opened is None:
                    self._opened = self._opener()
        return self._opened

    def learn(self, ids: Sequence[str]) -> None:
        """Take the names of the sensors."""
        self._store().learn(ids)

    def names(self) -> tuple[str, ...]:
        """Return the sensor names by index, as last learnt."""
        return self._store().names()

    def cursor(self, journal: str) -> int:
        """Return the tick up to which this journal has been written here."""
        return self._store().cursor(journal)

    def write(self, batch: ReadingBatch, *, amendments: ReadingBatch | None = None, upto: Cursor | None = None) -> int:
        """Store readings, amend qualities and move the cursor; return new rows."""
        return self._store().write(batch, amendments=amendments, upto=upto)

    def amend(self, sensor: int, time_ms: int, quality: int) -> bool:
        """Change the quality of one stored reading; False when it is not there."""
        return self._store().amend(sensor, time_ms, quality)

    def query(self, sensor: int, since_ms: int, until_ms: int, limit: int = QUERY_MAX) -> Readings:
        """Return readings of one sensor in order of time; the newest `limit` of those with since <= time < until."""
        return self._store().query(sensor, since_ms, until_ms, limit)

    def latest(self, sensors: Sequence[int] | None = None) -> Readings:
        """Return the newest reading of each sensor, in order of sensor index."""
        return self._store().latest(sensors)

    def scan(self, sensors: Sequence[int] | None, since_ms: int, until_ms: int) -> Iterator[Readings]:
        """Yield readings with since <= time < until in order of (time, sensor), in bounded chunks."""
        return self._store().scan(sensors, since_ms, until_ms)

    def count(self, *, quarantined: bool = False) -> int:
        """Return how many readings are stored (or kept apart)."""
        return self._store().count(quarantined=quarantined)

    def retain(self, before_ms: int) -> int:
        """Delete readings with time < before_ms; return how many."""
        return self._store().retain(before_ms)

    def incarnation(self) -> str:
        """Return what changes when the store's server is restarted."""
        return self._store().incarnation()

    def close(self) -> None:
        """Close the store if it was opened."""
        with self._opening:
            if self._opened is not None:
                self._opened.close()
