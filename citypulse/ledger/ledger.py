"""The ledger: one database file with everything the city has decided, and the one way to add to it.

Open it once per process for writing. The heart commits; pages and the CLI read through the functions of `Reads`.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import sqlalchemy as sa

from . import schema as s
from .anchors import Anchor
from .chain import GENESIS
from .commit import DEAD_BYTES_MAX, DEAD_ROWS_MAX, Committer
from .erase import contacts_due
from .outbox import Outbox
from .reads import Reads
from .replies import ReplyCodes
from .rows import to_json
from .sqlite import (
    LedgerError,
    Reader,
    Writer,
    checkpoint,
    claim,
    identify,
    identify_read_only,
    prepare_file,
    upsert,
)
from .tick import Fault, Tick, no_fault

FILE = "city.db"
LOCK_FILE = "city.lock"
IDENTITY_KEY = "journal_id"


class Ledger(Reads):
    """An open ledger. Reading is thread-safe; `commit` belongs to the heart's thread."""

    def __init__(self, path: Path, reader: Reader, writer: Writer | None, committer: Committer | None) -> None:
        """Use `Ledger.open`."""
        super().__init__(reader)
        self.path = path
        self._writer = writer
        self._committer = committer
        self._lock: int | None = None
        self.journal_id = self.meta(IDENTITY_KEY)

    @classmethod
    def open(
        cls,
        data_dir: Path,
        *,
        read_only: bool = False,
        fault: Fault = no_fault,
        dead_rows_max: int = DEAD_ROWS_MAX,
        dead_bytes_max: int = DEAD_BYTES_MAX,
    ) -> Ledger:
        """Open DATA/city.db, made on first use (mode 0600); `read_only` opens it beside a running service.

        Raises LedgerError when another process writes it, or when the file is not ours, from another version, damaged
        or (read_only) not there. Every message says what to do.
        """
        path = Path(data_dir) / FILE
        if read_only:
            return cls._open_read_only(path)
        return cls._open_for_writing(path, fault, dead_rows_max, dead_bytes_max)

    @classmethod
    def _open_read_only(cls, path: Path) -> Ledger:
        if not path.exists():
            raise LedgerError(f"{path}: there is no ledger here; name the data folder of a city that has run")
        reader = Reader(path, is_read_only_file=True)
        identify_read_only(reader)
        return cls(path, reader, None, None)

    @classmethod
    def _open_for_writing(cls, path: Path, fault: Fault, dead_rows_max: int, dead_bytes_max: int) -> Ledger:
        prepare_file(path)
        lock = hold(path.parent)
        try:
            writer = Writer(path)
            is_new = identify(writer, path)
            with writer.transaction() as connection:
                if is_new:
                    s.METADATA.create_all(connection)
                    connection.execute(sa.insert(s.meta).values(key=IDENTITY_KEY, value=uuid.uuid4().hex))
                    claim(connection)
                else:
                    s.METADATA.create_all(connection)
                    s.add_missing_columns(connection)
            committer = Committer(writer, fault=fault, dead_rows_max=dead_rows_max, dead_bytes_max=dead_bytes_max)
            ledger = cls(path, Reader(path, is_read_only_file=False), writer, committer)
        except BaseException:
            os.close(lock)
            raise
        ledger._lock = lock
        ledger.outbox.end_leases()  # nobody else is alive to hold one
        return ledger

    @property
    def writer(self) -> Writer:
        """The process's one writing connection. Raises LedgerError when opened read-only."""
        if self._writer is None:
            raise LedgerError(f"{self.path}: opened for reading only; changes go through the running service")
        return self._writer

    @property
    def reader(self) -> Reader:
        """The pool of read-only connections."""
        return self._reader

    @property
    def outbox(self) -> Outbox:
        """Notices on their way out."""
        return Outbox(self.writer, self._reader)

    @property
    def reply_codes(self) -> ReplyCodes:
        """What plain phones answer with."""
        return ReplyCodes(self.writer, self._reader)

    def commit(self, tick: Tick) -> None:
        """Make one tick durable, whole or not at all: journal row, effects, dead letters, gateways, answers.

        Raises LedgerError (disk full, file held, tick number not rising); nothing of the tick is kept then, and
        the same tick may be offered again.
        """
        if self._committer is None:
            raise LedgerError(f"{self.path}: opened for reading only; only the service commits")
        self._committer.commit(tick)

    @property
    def last_tick(self) -> int:
        """Number of the last committed tick, 0 before the first."""
        return self._committer.last_tick if self._committer else self.counts().last_tick

    def sensor_ids(self, configured_ids: Sequence[str]) -> tuple[str, ...]:
        """Return all sensor ids by index; ids not seen before get the next indexes, once and for ever."""
        known = self.known_sensor_ids()
        seen = set(known)
        fresh = [name for name in dict.fromkeys(configured_ids) if name not in seen]
        if fresh:
            with self.writer.transaction() as connection:
                rows = [{"idx": len(known) + i, "id": name} for i, name in enumerate(fresh)]
                connection.execute(sa.insert(s.sensor_index), rows)
        return (*known, *fresh)

    def record_config(self, fingerprint: str, files: Mapping[str, str], *, now_ms: int) -> None:
        """Keep the text of the configuration in force, once per fingerprint, so that old decisions can be explained."""
        c = s.config_version.c
        with self.writer.transaction() as connection:
            known = connection.execute(sa.select(c.first_ms).where(c.fingerprint == fingerprint)).scalar()
            row = {
                "fingerprint": fingerprint,
                "first_ms": now_ms if known is None else known,
                "last_ms": now_ms,
                "files": to_json(dict(files)),
            }
            connection.execute(upsert(s.config_version), row)

    def anchor(self, now_ms: int) -> Anchor:
        """Return where the record stands: its last line's number and hash."""
        last = self.events(limit=1, newest=True)
        seq, digest = (last[0].seq, last[0].hash) if last else (0, GENESIS)
        return Anchor(seq=seq, hash=digest, at_ms=now_ms, record=self.journal_id)

    def mark_replayed(self, ids: Iterable[int], *, now_ms: int) -> int:
        """Mark dead letters as put back into the inbox; return how many were there."""
        d = s.dead_letter.c
        with self.writer.transaction() as connection:
            return connection.execute(
                sa.update(s.dead_letter).where(d.id.in_(list(ids))).values(replayed_ms=now_ms)
            ).rowcount

    def prune_answers(self, *, before_ms: int, limit: int = 1000) -> int:
        """Forget at most `limit` answers older than `before_ms`; a command id may be used again after that."""
        c = s.command_answer.c
        old = sa.select(c.command).where(c.at_ms < before_ms).limit(limit)
        with self.writer.transaction() as connection:
            return connection.execute(sa.delete(s.command_answer).where(c.command.in_(old))).rowcount

    def contacts_due(self, *, now_ms: int, kept_s: float) -> list[str]:
        """Return orders that ended more than `kept_s` ago and still hold a citizen's contact."""
        return contacts_due(self.reader, now_ms=now_ms, kept_s=kept_s)

    def checkpoint(self) -> int:
        """Move the write-ahead log into the file: housekeeping, off the heart's thread. Return pages left."""
        return checkpoint(self.path)

    def close(self) -> None:
        """Close every connection and let another process open the ledger."""
        self._reader.close()
        if self._writer is not None:
            self._writer.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def hold(data_dir: Path) -> int:
    """Take the data folder for this process; return the lock's descriptor. Raises LedgerError when it is taken."""
    descriptor = os.open(data_dir / LOCK_FILE, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as problem:
        os.close(descriptor)
        raise LedgerError(
            f"{data_dir}: another citypulse is running on this data folder; stop it, or open the ledger for reading"
        ) from problem
    return descriptor
