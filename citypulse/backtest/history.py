"""Recorded readings as one stream of columns in order of time, from files or from the store, to be read many times.

Shared by backtest and suggestions. Promise: whatever the files' sizes, only a few portions are in memory, unless a file
is not in order of time; then all are, up to a limit with a name.
"""

from __future__ import annotations

import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from citypulse.errors import CityError
from citypulse.store import Archive, Extent, Readings, ReadingStore

if TYPE_CHECKING:
    from citypulse.readings_files import RowProblem

SORTED_MAX = 60_000_000  # readings that are sorted in memory: about 1.3 GB
EVER_MS = 2**62
AHEAD_MAX = 2  # portions read while an earlier one is judged
EARLY_MAX = 12  # windows of a store read before anybody asks: a million readings and 21 MB each

T = TypeVar("T")


class OutOfOrderError(CityError):
    """A file is not in order of time: it has to be read whole and sorted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Readings in order of time. code: index into `names` (which only ever grows) · share_done: of all, 0 … 1."""

    names: Sequence[str]
    code: NDArray[np.int32]
    time_ms: NDArray[np.int64]
    value: NDArray[np.float64]
    quality: NDArray[np.uint8]
    share_done: float

    def __len__(self) -> int:
        return len(self.code)

    def cut(self, first: int) -> Columns:
        """Return the columns without their first readings."""
        return _taken(self, slice(first, None))

    def upto(self, many: int) -> Columns:
        """Return the first readings."""
        return _taken(self, slice(0, many))


class History(ABC):
    """A stream of Columns; iterate as often as needed. is_sorted: read whole into memory and sorted there."""

    is_sorted = False

    def __init__(self, *, since_ms: int = -EVER_MS, until_ms: int = EVER_MS) -> None:
        """Only readings with since <= time < until."""
        self.since_ms, self.until_ms = since_ms, until_ms
        self.problems: list[RowProblem] = []

    def __iter__(self) -> Iterator[Columns]:
        for columns in self._columns():
            inside = (columns.time_ms >= self.since_ms) & (columns.time_ms < self.until_ms)
            if inside.all():
                yield columns
            else:
                yield _taken(columns, inside)

    @abstractmethod
    def _columns(self) -> Iterator[Columns]:
        """Yield all there is, in order of time."""

    @abstractmethod
    def between(self, since_ms: int, until_ms: int) -> History:
        """Return the same history, narrowed further."""

    def only(self, sensors: Collection[str]) -> History:  # noqa: ARG002 - for those who can
        """Return a history that need not give the readings of other sensors; it may."""
        return self

    def extent(self, sensors: Collection[str] | None = None) -> Extent | None:  # noqa: ARG002 - for those who can
        """Return how many readings of these sensors (of all) there are, and from when to when; None: not known."""
        return None

    def identity(self) -> str:
        """Return a text that differs when what can be read here has changed."""
        return ""


class StoreHistory(History):
    """The readings of a store, which gives them in order itself."""

    def __init__(
        self,
        store: ReadingStore,
        ids: Sequence[str],
        *,
        since_ms: int,
        until_ms: int,
        sensors: Sequence[int] | None = None,
        early: Ahead[Readings] | None = None,
    ) -> None:
        """`ids[i]` names the store's sensor i; sensors: only these indexes.

        early: the same readings, being read already: who goes through all of them first gets these; who wants less,
        or wants them again, reads anew.
        """
        super().__init__(since_ms=since_ms, until_ms=until_ms)
        self._store, self._ids, self._sensors, self._early = store, ids, sensors, early

    def _columns(self) -> Iterator[Columns]:
        from citypulse.store.ordering import arranged  # noqa: PLC0415 - a compiler: reading begins while it is loaded

        early, self._early = self._early, None
        try:
            chunks: Iterable[Readings]
            if isinstance(self._store, Archive):
                total = max(1, self._store.extent(self._sensors, self.since_ms, self.until_ms).readings)
                chunks = map(arranged, early or self._store.recall(self._sensors, self.since_ms, self.until_ms))
            else:
                total = max(1, self._store.count())
                chunks = self._store.scan(self._sensors, self.since_ms, self.until_ms)
            done = 0
            for chunk in chunks:
                done += len(chunk)
                yield Columns(
                    names=self._ids,
                    code=chunk.sensor,
                    time_ms=chunk.time_ms,
                    value=chunk.value,
                    quality=chunk.quality,
                    share_done=min(1.0, done / total),
                )
        finally:
            if early is not None:  # nobody may go on reading a store that its owner is about to close
                early.close()

    def between(self, since_ms: int, until_ms: int) -> History:
        """Return the same history, narrowed further."""
        return StoreHistory(
            self._store,
            self._ids,
            since_ms=max(since_ms, self.since_ms),
            until_ms=min(until_ms, self.until_ms),
            sensors=self._sensors,
        )

    def _among(self, sensors: Collection[str]) -> Sequence[int] | None:
        wanted = [k for k, name in enumerate(self._ids) if name in sensors]
        return None if len(wanted) == len(self._ids) else wanted

    def only(self, sensors: Collection[str]) -> History:
        """Return the same history of these sensors, where the store can survey the rest."""
        if not isinstance(self._store, Archive) or (among := self._among(sensors)) is None:
            return self
        if self._early is not None:
            self._early.close()
        return StoreHistory(self._store, self._ids, since_ms=self.since_ms, until_ms=self.until_ms, sensors=among)

    def extent(self, sensors: Collection[str] | None = None) -> Extent | None:
        """Return how many readings of these sensors (of all) there are, and from when to when, if the store can."""
        if not isinstance(self._store, Archive):
            return None
        among = None if sensors is None else self._among(sensors)
        return self._store.extent(among, self.since_ms, self.until_ms)

    def identity(self) -> str:
        """Return span, count and number of sensors."""
        return f"{self.since_ms}-{self.until_ms} {self.extent()} {len(self._ids)}"


class FileHistory(History):
    """Readings files, merged by time. `sort` reads all of them into memory first."""

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        since_ms: int = -EVER_MS,
        until_ms: int = EVER_MS,
        sort: bool = False,
    ) -> None:
        """Nothing is opened before the first reading is asked for."""
        super().__init__(since_ms=since_ms, until_ms=until_ms)
        self._paths, self.is_sorted = tuple(paths), sort
        self._names: list[str] = []
        self._codes: dict[str, int] = {}

    def between(self, since_ms: int, until_ms: int) -> History:
        """Return the same history, narrowed further."""
        narrowed = FileHistory(
            self._paths,
            since_ms=max(since_ms, self.since_ms),
            until_ms=min(until_ms, self.until_ms),
            sort=self.is_sorted,
        )
        narrowed._names, narrowed._codes = self._names, self._codes
        return narrowed

    def identity(self) -> str:
        """Return span, and every file's size and time of change."""
        files = [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in self._paths]
        return f"{self.since_ms}-{self.until_ms} {files}"

    def in_memory(self) -> FileHistory:
        """Return the same history, read whole and sorted."""
        return FileHistory(self._paths, since_ms=self.since_ms, until_ms=self.until_ms, sort=True)

    def _columns(self) -> Iterator[Columns]:
        self.problems.clear()
        streams = [self._portions(path) for path in self._paths]
        if self.is_sorted:
            yield from _sorted(streams)
        elif len(streams) == 1:
            yield from _checked(streams[0], self._paths[0])
        else:
            yield from _merged([_checked(s, p) for s, p in zip(streams, self._paths, strict=True)])

    def _portions(self, path: Path) -> Iterator[Columns]:
        from citypulse.readings_files import read_readings  # noqa: PLC0415 - pyarrow, which a store is read without

        for portion in read_readings(path):
            self.problems += portion.problems[: max(0, 1000 - len(self.problems))]
            for name in portion.names:
                if name not in self._codes:
                    self._codes[name] = len(self._names)
                    self._names.append(name)
            lut = np.array([self._codes[name] for name in portion.names], np.int32)
            yield Columns(
                names=self._names,
                code=lut[portion.name] if len(lut) else np.empty(0, np.int32),
                time_ms=portion.time_ms,
                value=portion.value,
                quality=portion.quality,
                share_done=portion.share_done,
            )


def _taken(columns: Columns, index: NDArray[np.bool_] | NDArray[np.int64] | slice) -> Columns:
    return Columns(
        names=columns.names,
        code=columns.code[index],
        time_ms=columns.time_ms[index],
        value=columns.value[index],
        quality=columns.quality[index],
        share_done=columns.share_done,
    )


def _joined(parts: Sequence[Columns], share_done: float) -> Columns:
    return Columns(
        names=parts[0].names,
        code=np.concatenate([p.code for p in parts]),
        time_ms=np.concatenate([p.time_ms for p in parts]),
        value=np.concatenate([p.value for p in parts]),
        quality=np.concatenate([p.quality for p in parts]),
        share_done=share_done,
    )


def _checked(stream: Iterator[Columns], path: Path) -> Iterator[Columns]:
    """Pass on what is in order of time; OutOfOrderError at the first that is not."""
    last_ms = -EVER_MS
    for columns in stream:
        if not len(columns):
            continue
        if columns.time_ms[0] < last_ms or (np.diff(columns.time_ms) < 0).any():
            raise OutOfOrderError(f"{path}: 时间不递增 not in order of time")
        last_ms = int(columns.time_ms[-1])
        yield columns


def _sorted(streams: Sequence[Iterator[Columns]], portion: int = 500_000) -> Iterator[Columns]:
    parts: list[Columns] = []
    total = 0
    for stream in streams:
        for columns in stream:
            total += len(columns)
            if total > SORTED_MAX:
                raise CityError(
                    f"more than {SORTED_MAX:,} readings that are not in order of time: sort the file by time, or "
                    "import it and export it again"
                )
            parts.append(columns)
    if not parts:
        return
    whole = _joined(parts, 1.0)
    order = np.argsort(whole.time_ms, kind="stable")
    for start in range(0, total, portion):
        columns = _taken(whole, order[start : start + portion])
        yield Columns(
            names=columns.names,
            code=columns.code,
            time_ms=columns.time_ms,
            value=columns.value,
            quality=columns.quality,
            share_done=min(1.0, (start + portion) / total),
        )


def _merged(streams: Sequence[Iterator[Columns]]) -> Iterator[Columns]:
    """Merge ordered streams: emit up to the earliest of the last instants held, so nothing older can still come."""
    heads: list[Columns | None] = [next(s, None) for s in streams]
    shares = [0.0] * len(streams)
    while any(head is not None for head in heads):
        horizon_ms = min(int(head.time_ms[-1]) for head in heads if head is not None)
        parts = []
        for k, head in enumerate(heads):
            if head is None:
                continue
            cut = int(np.searchsorted(head.time_ms, horizon_ms, side="right"))
            if cut:
                parts.append(_taken(head, slice(0, cut)))
            if cut == len(head):
                shares[k] = head.share_done
                heads[k] = next(streams[k], None)
                if heads[k] is None:
                    shares[k] = 1.0
            else:
                heads[k] = _taken(head, slice(cut, None))
        joined = _joined(parts, sum(shares) / len(shares))
        yield _taken(joined, np.argsort(joined.time_ms, kind="stable"))


# ── reading ahead ───────────────────────────────────────────────────────────────────────────────


class Ahead(Iterator[T]):
    """Yields what `stream` yields, which runs on a thread of its own from now on, at most `most` items ahead."""

    def __init__(self, stream: Iterable[T], most: int) -> None:
        """Begin."""
        self._items: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(most)
        self._stop = threading.Event()
        self._stream = stream
        self._reader = threading.Thread(target=self._read, name="history", daemon=True)
        self._reader.start()

    def _give(self, item: tuple[T | None, BaseException | None]) -> bool:
        while not self._stop.is_set():
            try:
                self._items.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def _read(self) -> None:
        try:
            for item in self._stream:
                if not self._give((item, None)):
                    return
        except BaseException as error:  # noqa: BLE001 - told to the one who reads
            self._give((None, error))
        else:
            self._give((None, None))

    def __next__(self) -> T:
        """Return the next item; raises what the stream raised."""
        if self._stop.is_set():
            raise StopIteration
        item, error = self._items.get()
        if item is None:
            self.close()
            raise error if error is not None else StopIteration
        return item

    def close(self) -> None:
        """Let go of the stream; what was read ahead is dropped."""
        self._stop.set()
        if self._reader is not threading.current_thread():
            self._reader.join()


def read_early(store: ReadingStore, since_ms: int, until_ms: int) -> Ahead[Readings] | None:
    """Begin to read all of a store, up to EARLY_MAX windows, while the caller still loads what judges them.

    None where the store would not gain by it.
    """
    return Ahead(store.recall(None, since_ms, until_ms), EARLY_MAX) if isinstance(store, Archive) else None


def ahead(stream: Iterable[T]) -> Iterator[T]:
    """Yield what `stream` yields, read AHEAD_MAX items ahead on a thread of its own."""
    reading = Ahead(stream, AHEAD_MAX)
    try:
        yield from reading
    finally:
        reading.close()
