"""The embedded store: DATA/readings.duckdb. The only file that imports duckdb.

Promise: readings and the journal's cursor become durable in one transaction, so each (sensor, time) is stored once
whatever dies when. One process at a time may hold the file. Writing, checkpoints and compaction happen on the caller's
thread, which is a sink's, never the heart's.
"""

# ruff: noqa: S608 - what is put into SQL text here is this file's own names and integers
from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np

from citypulse.errors import StoreError
from citypulse.model import ReadingBatch

from . import EMBEDDED, QUERY_MAX, Cursor, Extent, Readings, StoreSpec
from .columns import Newest, sort_out

if TYPE_CHECKING:
    import pyarrow as pa

FILE = "readings.duckdb"
SCHEMA_VERSION = 1
MEMORY_LIMIT = "1GB"
SCAN_ROWS = 100_000
WINDOW_ROWS = 1_000_000  # readings that are fetched and sorted at once, about; never more than WINDOW_ROWS_MAX
WINDOW_ROWS_MAX = 4 * WINDOW_ROWS

_COLUMNS = "sensor, time_ms, value, quality, received_ms"
_TYPES = """(sensor INTEGER NOT NULL, time_ms BIGINT NOT NULL, value DOUBLE NOT NULL, quality UTINYINT NOT NULL,
             received_ms BIGINT NOT NULL)"""
# No index on (sensor, time): it would cost more than the column store itself. `Newest` says which readings may have
# an earlier copy, and only those are compared, within their own span of time (ADR 0002).
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS reading {_TYPES};
CREATE TABLE IF NOT EXISTS quarantine {_TYPES};
CREATE TABLE IF NOT EXISTS sensor_name (idx INTEGER PRIMARY KEY, id VARCHAR NOT NULL);
CREATE TABLE IF NOT EXISTS journal_cursor (journal VARCHAR PRIMARY KEY, tick BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS store_version (version INTEGER NOT NULL);
"""


class DuckStore:
    """Readings in one DuckDB file."""

    promises = EMBEDDED

    def __init__(self, path: Path) -> None:
        """Open the file, made on first use. Raises StoreError when another process holds it."""
        self._path = path
        self._writing = threading.RLock()
        self._newest: Newest | None = None  # found at the first write: who only reads does not wait for it
        self._broken = False
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._connection = self._connect()

    @classmethod
    def open(cls, spec: StoreSpec) -> DuckStore:
        """Open DATA/readings.duckdb."""
        return cls(spec.data_dir / FILE)

    def _connect(self) -> duckdb.DuckDBPyConnection:
        config = {
            "memory_limit": MEMORY_LIMIT,
            "threads": max(1, (os.cpu_count() or 2) // 2),  # the heart keeps the other half
            "temp_directory": str(self._path.with_suffix(".tmp")),
            "autoinstall_known_extensions": False,  # an intranet: nothing is ever fetched
            "autoload_known_extensions": False,
        }
        try:
            connection = duckdb.connect(str(self._path), config=config)
        except duckdb.Error as problem:
            raise self._cannot_open(problem) from problem
        self._path.chmod(0o600)  # its log file lives in the folder, which is the owner's alone
        connection.execute(_SCHEMA)
        version = connection.execute("SELECT version FROM store_version").fetchone()
        if version is None:
            connection.execute("INSERT INTO store_version VALUES (?)", [SCHEMA_VERSION])
        elif version[0] != SCHEMA_VERSION:
            connection.close()
            raise StoreError(
                f"{self._path}: written by another citypulse (store version {version[0]}; this one knows "
                f"{SCHEMA_VERSION}); install that one, or export with it and import here",
                permanent=True,
            )
        self._newest = None
        return connection

    def _found_newest(self, connection: duckdb.DuckDBPyConnection) -> Newest:
        if self._newest is None:
            found = connection.execute("SELECT sensor, max(time_ms) AS time_ms FROM reading GROUP BY sensor")
            columns = found.fetchnumpy()
            self._newest = Newest()
            self._newest.note(_column(columns["sensor"], np.int32), _column(columns["time_ms"], np.int64))
        return self._newest

    def _cannot_open(self, problem: duckdb.Error) -> StoreError:
        text = str(problem)
        if "lock" in text.lower():
            return StoreError(
                f"{self._path}: held by another process, most likely the running service; read through its HTTP "
                "export (/api/v1/readings.csv), or stop the service first",
                permanent=True,
            )
        return StoreError(
            f"{self._path}: cannot be opened ({text}); check its owner, the disk, or restore a backup", permanent=True
        )

    @contextmanager
    def _transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """All of it, or none. DuckDB declares itself unusable after some disk errors: then the file is reopened."""
        with self._writing:
            if self._broken:
                self._connection.close()
                self._connection = self._connect()
                self._broken = False
            connection = self._connection
            try:
                connection.begin()
                yield connection
                connection.commit()
            except duckdb.Error as problem:
                self._undo(connection, problem)
                raise StoreError(f"{self._path}: {problem}", permanent=False) from problem
            except BaseException as problem:
                self._undo(connection, problem)
                raise

    def _undo(self, connection: duckdb.DuckDBPyConnection, problem: BaseException) -> None:
        try:
            connection.rollback()
        except duckdb.Error:
            self._broken = True
        self._broken |= isinstance(problem, (duckdb.FatalException, duckdb.InternalException))

    def learn(self, ids: Sequence[str]) -> None:
        """Take the names of the sensors."""
        import pyarrow as pa  # noqa: PLC0415 - for writing; who only reads does without

        names = pa.table({"idx": pa.array(np.arange(len(ids), dtype=np.int32)), "id": pa.array(list(ids), pa.string())})
        with self._transaction() as connection:
            _insert(connection, names, "INSERT OR REPLACE INTO sensor_name SELECT idx, id FROM fresh")

    def names(self) -> tuple[str, ...]:
        """Return the sensor names by index, as last learnt."""
        return tuple(row[0] for row in self._fetch("SELECT id FROM sensor_name ORDER BY idx").fetchall())

    def cursor(self, journal: str) -> int:
        """Return the tick up to which this journal has been written here."""
        found = self._fetch("SELECT tick FROM journal_cursor WHERE journal = ?", [journal]).fetchone()
        return int(found[0]) if found else 0

    def write(self, batch: ReadingBatch, *, amendments: ReadingBatch | None = None, upto: Cursor | None = None) -> int:
        """Store readings, amend qualities and move the cursor in one transaction; return new rows."""
        ready = sort_out(batch)
        believed = ready.believed
        with self._transaction() as connection:
            newest = self._found_newest(connection)
            is_new = newest.is_new(believed.sensor, believed.time_ms)
            stored = 0
            if is_new.any():
                fresh = believed if is_new.all() else believed.take(is_new)
                _insert(connection, _table(fresh), f"INSERT INTO reading SELECT {_COLUMNS} FROM fresh")
                stored += len(fresh)
            if not is_new.all():
                stored += self._insert_absent(connection, "reading", believed.take(~is_new))
            if len(ready.quarantined):
                self._insert_absent(connection, "quarantine", ready.quarantined)
            if amendments is not None and len(amendments):
                _insert(
                    connection,
                    _table(amendments),
                    "UPDATE reading SET quality = fresh.quality FROM fresh "
                    "WHERE reading.sensor = fresh.sensor AND reading.time_ms = fresh.time_ms "
                    f"AND reading.time_ms BETWEEN {amendments.time_ms.min()} AND {amendments.time_ms.max()}",
                )
            if upto is not None:
                connection.execute("INSERT OR REPLACE INTO journal_cursor VALUES (?, ?)", [upto.journal, upto.tick])
        newest.note(believed.sensor, believed.time_ms)
        return stored

    @staticmethod
    def _insert_absent(connection: duckdb.DuckDBPyConnection, table: str, batch: ReadingBatch) -> int:
        """Insert the readings whose (sensor, time) is not there; the span of time keeps the comparison small."""
        span = (
            f"SELECT sensor, time_ms FROM {table} WHERE time_ms BETWEEN {batch.time_ms.min()} AND {batch.time_ms.max()}"
        )
        return _insert(
            connection,
            _table(batch),
            f"INSERT INTO {table} SELECT {_COLUMNS} FROM fresh ANTI JOIN ({span}) AS there USING (sensor, time_ms)",
        )

    def amend(self, sensor: int, time_ms: int, quality: int) -> bool:
        """Change the quality of one stored reading; False when it is not there."""
        with self._transaction() as connection:
            changed = connection.execute(
                "UPDATE reading SET quality = ? WHERE sensor = ? AND time_ms = ?", [quality, sensor, time_ms]
            ).fetchone()
        return bool(changed and changed[0])

    def _fetch(self, sql: str, parameters: Sequence[Any] = ()) -> duckdb.DuckDBPyConnection:
        """Run a query on a cursor of its own, so that any thread may."""
        try:
            return self._connection.cursor().execute(sql, list(parameters))
        except duckdb.Error as problem:
            raise StoreError(f"{self._path}: {problem}", permanent=False) from problem

    def query(self, sensor: int, since_ms: int, until_ms: int, limit: int = QUERY_MAX) -> Readings:
        """Return readings of one sensor in order of time; the newest `limit` of those with since <= time < until."""
        newest = (
            f"SELECT {_COLUMNS} FROM reading WHERE sensor = ? AND time_ms >= ? AND time_ms < ? "
            "ORDER BY time_ms DESC LIMIT ?"
        )
        found = self._fetch(f"SELECT * FROM ({newest}) ORDER BY time_ms", [sensor, since_ms, until_ms, limit])
        return _readings(found.fetchnumpy())

    def latest(self, sensors: Sequence[int] | None = None) -> Readings:
        """Return the newest reading of each sensor, in order of sensor index."""
        where, parameters = _among(sensors)
        newest = "arg_max(value, time_ms) AS value, arg_max(quality, time_ms) AS quality"
        found = self._fetch(
            f"SELECT sensor, max(time_ms) AS time_ms, {newest}, arg_max(received_ms, time_ms) AS received_ms "
            f"FROM reading WHERE {where} GROUP BY sensor ORDER BY sensor",
            parameters,
        )
        return _readings(found.fetchnumpy())

    def scan(self, sensors: Sequence[int] | None, since_ms: int, until_ms: int) -> Iterator[Readings]:
        """Yield readings with since <= time < until in order of (time, sensor), in bounded chunks of one state."""
        from .ordering import in_order  # noqa: PLC0415 - a compiler, which a service needs no second earlier

        for window in self._windows(_COLUMNS, sensors, since_ms, until_ms):
            order = in_order(window["time_ms"], window["sensor"])
            for start in range(0, len(window["sensor"]), SCAN_ROWS):
                rows = slice(start, start + SCAN_ROWS)
                index = rows if order is None else order[rows]
                yield Readings(**{name: column[index] for name, column in window.items()})

    def extent(self, sensors: Sequence[int] | None, since_ms: int, until_ms: int) -> Extent:
        """Return how many readings there are with since <= time < until, and the first and last instant."""
        where, parameters = _among(sensors)
        found = self._fetch(
            "SELECT count(*), coalesce(min(time_ms), 0), coalesce(max(time_ms), 0) FROM reading "
            f"WHERE {where} AND time_ms >= ? AND time_ms < ?",
            [*parameters, since_ms, until_ms],
        ).fetchone()
        assert found is not None  # noqa: S101 - an aggregate always has one row
        return Extent(readings=found[0], first_ms=found[1], last_ms=found[2])

    def recall(self, sensors: Sequence[int] | None, since_ms: int, until_ms: int) -> Iterator[Readings]:
        """Yield large windows of time, unsorted within, for a backtest: received_ms is the reading's own time.

        They are sorted by who takes them: this loop waits for the file most of the time, and can run well ahead.
        """
        for window in self._windows("sensor, time_ms, value, quality", sensors, since_ms, until_ms):
            yield Readings(**window, received_ms=window["time_ms"])

    def _windows(
        self, columns: str, sensors: Sequence[int] | None, since_ms: int, until_ms: int
    ) -> Iterator[dict[str, Any]]:
        """Yield columns window of time after window of time, unsorted within; all of one state of the file.

        Rows lie nearly in order of time, so a window is a few row groups, and sorting it is cheap; sorting the whole
        in DuckDB takes longer than everything a backtest does with it (tests/bench/bench_whatif.py).
        """
        where, parameters = _among(sensors)
        sql = f"SELECT {columns} FROM reading WHERE {where} AND time_ms >= ? AND time_ms < ?"
        cursor = self._connection.cursor()
        try:
            cursor.begin()
            whole = cursor.execute(
                "SELECT count(*), min(time_ms), max(time_ms) FROM reading WHERE time_ms >= ? AND time_ms < ?",
                [since_ms, until_ms],
            ).fetchall()
            total, first_ms, last_ms = whole[0]
            if not total:
                return
            start_ms, end_ms = first_ms, last_ms + 1
            span_ms = max(1, (end_ms - start_ms) * WINDOW_ROWS // total)
            while start_ms < end_ms:
                window = _fetched(cursor, sql, [*parameters, start_ms, min(end_ms, start_ms + span_ms)])
                if window is None:  # a crowded spell
                    span_ms = max(1, span_ms // 8)
                    continue
                start_ms += span_ms
                if len(window["sensor"]):
                    yield window
                if len(window["sensor"]) < WINDOW_ROWS // 4:  # a thin one, or few sensors asked for
                    span_ms *= 2
        except duckdb.Error as problem:
            raise StoreError(f"{self._path}: {problem}", permanent=False) from problem
        finally:
            cursor.close()

    def count(self, *, quarantined: bool = False) -> int:
        """Return how many readings are stored (or kept apart)."""
        found = self._fetch(f"SELECT count(*) FROM {'quarantine' if quarantined else 'reading'}").fetchone()
        return int(found[0]) if found else 0

    def retain(self, before_ms: int) -> int:
        """Delete readings with time < before_ms; return how many."""
        with self._transaction() as connection:
            gone = connection.execute("DELETE FROM reading WHERE time_ms < ?", [before_ms]).fetchone()
            connection.execute("DELETE FROM quarantine WHERE received_ms < ?", [before_ms])
        return int(gone[0]) if gone else 0

    def incarnation(self) -> str:
        """Return "": there is no server that could restart by itself."""
        return ""

    def close(self) -> None:
        """Checkpoint and close the file."""
        with self._writing:
            self._connection.close()


def _among(sensors: Sequence[int] | None) -> tuple[str, list[Any]]:
    if sensors is None:
        return "true", []
    return "sensor IN (SELECT unnest(?::INTEGER[]))", [[int(i) for i in sensors]]


def _insert(connection: duckdb.DuckDBPyConnection, table: pa.Table, sql: str) -> int:
    """Run `sql` over `table` under the name fresh; return how many rows it changed."""
    connection.register("fresh", table)
    try:
        done = connection.execute(sql).fetchone()
    finally:
        connection.unregister("fresh")
    return int(done[0]) if done else 0


def _table(batch: ReadingBatch) -> pa.Table:
    import pyarrow as pa  # noqa: PLC0415

    return pa.table(
        {
            "sensor": pa.array(batch.sensor),
            "time_ms": pa.array(batch.time_ms),
            "value": pa.array(batch.value),  # NaN stays NaN: from_pandas is off
            "quality": pa.array(batch.quality),
            "received_ms": pa.array(batch.received_ms),
        }
    )


_KINDS = {
    "sensor": np.int32,
    "time_ms": np.int64,
    "value": np.float64,
    "quality": np.uint8,
    "received_ms": np.int64,
}


def _fetched(cursor: duckdb.DuckDBPyConnection, sql: str, parameters: list[Any]) -> dict[str, Any] | None:
    """Return a query's columns; None when it has more than WINDOW_ROWS_MAX rows and its time can be cut further."""
    reader = cursor.sql(sql, params=parameters).to_arrow_reader(SCAN_ROWS)
    chunks: list[Any] = []
    total = 0
    is_single_instant = parameters[-1] - parameters[-2] == 1
    for chunk in reader:
        chunks.append(chunk)
        total += chunk.num_rows
        if total > WINDOW_ROWS_MAX and not is_single_instant:
            return None
    names = reader.schema.names
    columns = ([np.empty(0, _KINDS[n]), *(c.column(i).to_numpy() for c in chunks)] for i, n in enumerate(names))
    return {name: np.concatenate(parts) for name, parts in zip(names, columns, strict=True)}


def _column(values: Any, dtype: Any) -> Any:
    return np.ma.getdata(values).astype(dtype, copy=False)


def _readings(columns: Any) -> Readings:
    return Readings(
        sensor=_column(columns["sensor"], np.int32),
        time_ms=_column(columns["time_ms"], np.int64),
        value=_column(columns["value"], np.float64),
        quality=_column(columns["quality"], np.uint8),
        received_ms=_column(columns["received_ms"], np.int64),
    )
