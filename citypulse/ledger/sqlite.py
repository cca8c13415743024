"""Everything that is SQLite's own: opening the file, its pragmas, its upsert, its triggers. No other file knows it.

The rest of the ledger is SQLAlchemy Core, so that PostgreSQL can take this file's place.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool, StaticPool

from citypulse.errors import CityError

APPLICATION_ID = 0x43504C53  # "CPLS": what `file city.db` and our own check see
SCHEMA_VERSION = 1
BUSY_TIMEOUT_MS = 5_000  # how long a writer waits for another process before it says so
# Measured on the 2-core box, fsync'd blob of 190 kB: 1.08 ms with 8 kB pages, 1.28 ms with 4 kB (ADR 0002).
PAGE_BYTES = 8_192
# The heart's commits do not checkpoint until the log is this long; housekeeping does it before, on its own thread.
WAL_PAGES_MAX = 8_192  # 64 MiB
CHECKPOINT_TRIES = 3
READERS_MAX = 16
READER_WAIT_S = 10


class LedgerError(CityError):
    """The ledger's file cannot be used as asked: what, where, and what to do."""


def prepare_file(path: Path) -> None:
    """Create `path` readable by its owner only, so that the log files SQLite makes beside it are so too."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    path.chmod(0o600)


def _engine(path: Path, *, is_writer: bool, is_read_only_file: bool) -> sa.Engine:
    mode = "ro" if is_read_only_file else "rw"
    pool: dict[str, Any] = (
        {"poolclass": StaticPool}
        if is_writer
        else {
            "poolclass": QueuePool,
            "pool_size": 4,
            "max_overflow": READERS_MAX - 4,
            "pool_timeout": READER_WAIT_S,
        }
    )
    engine = sa.create_engine(
        f"sqlite:///file:{path}?mode={mode}&uri=true",
        connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_MS / 1000},
        **pool,
    )

    @sa.event.listens_for(engine, "connect")
    def _connected(raw: Any, _record: Any) -> None:
        raw.isolation_level = None  # we say BEGIN ourselves: Python's own rules commit at surprising moments
        run = raw.execute
        run(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        run("PRAGMA foreign_keys=ON")
        if not is_writer:
            run("PRAGMA query_only=ON")
            return
        run(f"PRAGMA page_size={PAGE_BYTES}")  # both take effect only while the file is still empty
        run("PRAGMA auto_vacuum=INCREMENTAL")
        run("PRAGMA journal_mode=WAL")
        run("PRAGMA synchronous=FULL")
        run(f"PRAGMA wal_autocheckpoint={WAL_PAGES_MAX}")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writer else "BEGIN")

    return engine


@contextmanager
def _said_plainly(path: Path) -> Iterator[None]:
    """Turn the driver's errors into LedgerError: full disk, file held, file damaged."""
    try:
        yield
    except (DBAPIError, PoolTimeout, sqlite3.Error) as problem:
        raise LedgerError(f"{path}: {getattr(problem, 'orig', problem)}") from problem


class Reader:
    """A pool of connections that can only read; any thread may take one."""

    def __init__(self, path: Path, *, is_read_only_file: bool) -> None:
        """`is_read_only_file` also opens the file itself read-only, beside another process that writes it."""
        self.path = path
        self.engine = _engine(path, is_writer=False, is_read_only_file=is_read_only_file)

    @contextmanager
    def connection(self) -> Iterator[sa.Connection]:
        """Give a connection inside one transaction, which sees one state of the file."""
        with _said_plainly(self.path), self.engine.connect() as connection:
            yield connection

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


class Writer:
    """The one connection of this process that writes. Its lock makes writers queue fairly instead of polling."""

    def __init__(self, path: Path) -> None:
        """Open (not create) the file at `path` for writing."""
        self.path = path
        self.engine = _engine(path, is_writer=True, is_read_only_file=False)
        with _said_plainly(path):
            self._connection = self.engine.connect()
        self._lock = threading.Lock()
        self._door = threading.Lock()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait for one's turn. Who waits holds the door, so that a loop of small writes cannot keep the heart out."""
        with self._door:
            self._lock.acquire()
        try:
            yield
        finally:
            self._lock.release()

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """Give the connection inside one transaction: all of it becomes durable at the end, or none."""
        with _said_plainly(self.path), self._turn(), self._connection.begin():
            yield self._connection

    @contextmanager
    def bare(self) -> Iterator[Any]:
        """Give the driver's own connection outside any transaction: pragmas and checkpoints."""
        with _said_plainly(self.path), self._turn():
            yield self._connection.connection.driver_connection

    def close(self) -> None:
        """Give up the connection."""
        with self._turn():
            self._connection.close()
            self.engine.dispose()


def upsert(table: sa.Table) -> sa.Insert:
    """INSERT that replaces the other columns where the primary key is already there."""
    keys = [column.name for column in table.primary_key]
    statement = sqlite_insert(table)
    return statement.on_conflict_do_update(
        index_elements=keys,
        set_={c.name: statement.excluded[c.name] for c in table.columns if c.name not in keys},
    )


def insert_new(table: sa.Table, *unique: str) -> sa.Insert:
    """INSERT that leaves a row alone whose `unique` columns are already there."""
    return sqlite_insert(table).on_conflict_do_nothing(index_elements=list(unique))


def identify(writer: Writer, path: Path) -> bool:
    """Check whose file this is; return True when it is new. Raises LedgerError when it is not ours to use."""
    with writer.bare() as raw:
        return _identify(raw, path)


def identify_read_only(reader: Reader) -> None:
    """The same check through a reading connection; an empty file is an error here."""
    with reader.connection() as connection:
        raw: Any = connection.connection.driver_connection
        if _identify(raw, reader.path):
            raise LedgerError(f"{reader.path}: the ledger is empty; start the service once before reading from it")


def _identify(raw: Any, path: Path) -> bool:
    found = raw.execute("PRAGMA application_id").fetchone()[0]
    version = raw.execute("PRAGMA user_version").fetchone()[0]
    tables = raw.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if not tables:
        return True
    if found != APPLICATION_ID:
        raise LedgerError(
            f"{path}: not a citypulse ledger (application id {found:#x}, expected {APPLICATION_ID:#x}); "
            "name another data folder, or move this file away"
        )
    if version != SCHEMA_VERSION:
        age = "newer" if version > SCHEMA_VERSION else "older"
        raise LedgerError(
            f"{path}: written by a {age} citypulse (schema {version}; this one knows {SCHEMA_VERSION}); "
            f"install the citypulse that wrote it, or restore a backup made with schema {SCHEMA_VERSION}"
        )
    return False


def claim(connection: sa.Connection) -> None:
    """Mark the file as ours and make the record append-only for everyone who comes through SQL."""
    connection.exec_driver_sql(f"PRAGMA application_id={APPLICATION_ID}")
    connection.exec_driver_sql(f"PRAGMA user_version={SCHEMA_VERSION}")
    for verb in ("UPDATE", "DELETE"):
        connection.exec_driver_sql(
            f"CREATE TRIGGER IF NOT EXISTS event_no_{verb.lower()} BEFORE {verb} ON event "
            "BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END"
        )


def checkpoint(path: Path) -> int:
    """Move the log's pages into the file, blocking nobody; return how many pages the log still holds.

    On a connection of its own: the copying and its fsyncs take tenths of a second, and the heart writes meanwhile.
    """
    with _said_plainly(path):
        raw = sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=BUSY_TIMEOUT_MS / 1000, isolation_level=None)
        try:
            raw.execute("PRAGMA synchronous=FULL")
            left = 0
            for _ in range(CHECKPOINT_TRIES):  # once more for what was written during the first
                _busy, log, done = raw.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                left = max(0, int(log) - int(done))
                if not left:
                    break
        finally:
            raw.close()
    return left


def give_back(writer: Writer, *, pages: int) -> None:
    """Return at most `pages` free pages to the disk: a bounded slice."""
    with writer.bare() as raw:
        raw.execute(f"PRAGMA incremental_vacuum({int(pages)})").fetchall()


def bytes_used(connection: sa.Connection) -> tuple[int, int]:
    """Return (bytes of the file, bytes of it that are free pages)."""
    pages = int(connection.exec_driver_sql("PRAGMA page_count").scalar_one())
    free = int(connection.exec_driver_sql("PRAGMA freelist_count").scalar_one())
    size = int(connection.exec_driver_sql("PRAGMA page_size").scalar_one())
    return pages * size, free * size
