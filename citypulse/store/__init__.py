"""Where readings rest: the promises every reading store makes, and the table of those there are.

A new store is one file here, one line in STORES, and passes tests/contracts/test_stores.py (docs/extend/store.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable
from urllib.parse import parse_qsl, urlsplit

import numpy as np
from numpy.typing import NDArray

from citypulse.errors import StoreError
from citypulse.model import ReadingBatch

__all__ = [
    "STORES",
    "Archive",
    "Cursor",
    "Extent",
    "Promises",
    "ReadingStore",
    "Readings",
    "StoreError",
    "StoreKind",
    "StoreSpec",
    "open_late",
    "open_store",
    "parse_spec",
]

QUERY_MAX = 1_000_000  # readings one query may return; more is what `scan` is for


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """A place in one journal: everything up to `tick` of the journal named `journal` is in the store."""

    journal: str
    tick: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """Stored readings as columns of one length: sensor index, time_ms, value, quality, received_ms."""

    sensor: NDArray[np.int32]
    time_ms: NDArray[np.int64]
    value: NDArray[np.float64]
    quality: NDArray[np.uint8]
    received_ms: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.sensor)

    @classmethod
    def empty(cls) -> Readings:
        """Return no readings."""
        none = np.empty(0, np.int64)
        return cls(
            sensor=none.astype(np.int32),
            time_ms=none,
            value=none.astype(np.float64),
            quality=none.astype(np.uint8),
            received_ms=none,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Promises:
    """What a store can be relied on for. The battery holds it to every word."""

    is_durable: bool  # what `write` has taken is there after a reopening
    keeps_cursor: bool  # readings and cursor become durable together: exactly once, whatever dies when
    durability_lag_s: float  # how long after `write` a crash of the store may still lose what it took
    can_read: bool = True  # query, latest, scan, count work


EMBEDDED = Promises(is_durable=True, keeps_cursor=True, durability_lag_s=0.0)


class ReadingStore(Protocol):
    """A store of readings, one row per (sensor, time). Every function may be called from any thread.

    Any of them raises StoreError; permanent=False means that the same call may succeed later.
    """

    promises: Promises

    def learn(self, ids: Sequence[str]) -> None:
        """Take the names of the sensors: ids[i] is the sensor of index i. Names are only ever added at the end."""
        ...

    def names(self) -> tuple[str, ...]:
        """Return the names by index, as last learnt; a durable store remembers them, one behind a server need not."""
        ...

    def cursor(self, journal: str) -> int:
        """Return the tick up to which this journal has been written here; 0 when never, or when not kept here."""
        ...

    def write(self, batch: ReadingBatch, *, amendments: ReadingBatch | None = None, upto: Cursor | None = None) -> int:
        """Store readings, then amend qualities, then move the cursor, all at once where promised; return new rows.

        The first reading of a (sensor, time) stays. DUPLICATE ones are not stored. QUARANTINED ones are kept apart:
        reading functions do not return them. Without `upto` (an import) the cursor stays.
        """
        ...

    def amend(self, sensor: int, time_ms: int, quality: int) -> bool:
        """Change the quality of one stored reading; False when it is not there."""
        ...

    def query(self, sensor: int, since_ms: int, until_ms: int, limit: int = QUERY_MAX) -> Readings:
        """Return readings of one sensor with since <= time < until in order of time; the newest `limit` of them."""
        ...

    def latest(self, sensors: Sequence[int] | None = None) -> Readings:
        """Return the newest reading of each sensor (of all), in order of sensor index."""
        ...

    def scan(self, sensors: Sequence[int] | None, since_ms: int, until_ms: int) -> Iterator[Readings]:
        """Yield all readings with since <= time < until in order of (time, sensor), in bounded chunks."""
        ...

    def count(self, *, quarantined: bool = False) -> int:
        """Return how many readings are stored (or kept apart)."""
        ...

    def retain(self, before_ms: int) -> int:
        """Delete readings with time < before_ms, quarantined ones by when they were received; return how many."""
        ...

    def incarnation(self) -> str:
        """Return what changes when the store's server is restarted; "" for a store in this process."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How many readings there are, and the instants of the first and the last; 0 where there are none."""

    readings: int
    first_ms: int
    last_ms: int


@runtime_checkable
class Archive(Protocol):
    """What a store may offer besides, for those who read it whole: a survey, and large chunks."""

    def extent(self, sensors: Sequence[int] | None, since_ms: int, until_ms: int) -> Extent:
        """Survey the readings of these sensors (of all) with since <= time < until."""
        ...

    def recall(self, sensors: Sequence[int] | None, since_ms: int, until_ms: int) -> Iterator[Readings]:
        """Yield the readings window of time after window of time, in no order within one: `ordering.arranged` sorts.

        received_ms is not what was stored but the reading's own time.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSpec:
    """Which store, where: `duckdb`, `memory`, or `influx+http://host:8086?org=city&bucket=readings`."""

    kind: str
    data_dir: Path
    url: str = ""
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreKind:
    """An entry of the table: how a store of this kind is opened.

    late: what it promises, where opening takes so long that a service leaves it to the sink's thread.
    """

    open: Callable[[StoreSpec], ReadingStore]
    summary: str
    late: Promises | None = None


def _duckdb(spec: StoreSpec) -> ReadingStore:
    from .duck import DuckStore  # noqa: PLC0415 - 60 MB of engine, only for those who use it

    return DuckStore.open(spec)


def _influx(spec: StoreSpec) -> ReadingStore:
    from .influx import InfluxStore  # noqa: PLC0415

    return InfluxStore.open(spec)


def _memory(spec: StoreSpec) -> ReadingStore:
    from .memory import MemoryStore  # noqa: PLC0415

    return MemoryStore.open(spec)


STORES: Mapping[str, StoreKind] = {
    "duckdb": StoreKind(
        open=_duckdb,
        summary="DATA/readings.duckdb; embedded, exactly once, the default",
        late=EMBEDDED,
    ),
    "influx": StoreKind(open=_influx, summary="InfluxDB 2, or what speaks its write API (VictoriaMetrics: write only)"),
    "memory": StoreKind(open=_memory, summary="gone when the process ends; for tests and trials"),
}


def parse_spec(text: str, data_dir: Path) -> StoreSpec:
    """Read `kind` or `kind+url?option=value`. Raises StoreError (permanent) for a kind that is not in the table."""
    kind, _, url = text.partition("+")
    if kind not in STORES:
        raise StoreError(f"store {kind!r} is not known; use one of {', '.join(STORES)}", permanent=True)
    parts = urlsplit(url)
    bare = parts._replace(query="").geturl()
    return StoreSpec(kind=kind, data_dir=Path(data_dir), url=bare, options=dict(parse_qsl(parts.query)))


def open_store(text: str, data_dir: Path) -> ReadingStore:
    """Open the store that `text` names; see StoreSpec. Raises StoreError."""
    spec = parse_spec(text, data_dir)
    return STORES[spec.kind].open(spec)


def open_late(text: str, data_dir: Path) -> ReadingStore:
    """Return the store that `text` names, opened now or, where that takes long, by its first user.

    Raises StoreError for what `text` gets wrong; a file that cannot be opened is its first user's to hear of.
    """
    from .late import LateStore  # noqa: PLC0415 - it stands for what this file declares

    spec = parse_spec(text, data_dir)
    kind = STORES[spec.kind]
    return kind.open(spec) if kind.late is None else LateStore(lambda: kind.open(spec), kind.late)
