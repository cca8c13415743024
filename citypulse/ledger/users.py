"""People and their tokens: DATA/users.json, readable by its owner only, replaced whole so that it is never half.

Beside the database on purpose: an administrator may add or remove somebody while the service holds the
ledger; the service looks again when the file has changed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from citypulse.errors import CityError
from citypulse.model import Actor

FILE = "users.json"
TOKEN_BYTES = 32
NAME = re.compile(r"[\w.@-]{1,64}")


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


class Users:
    """Who may act, by name; tokens are kept as sha256 of 256 random bits."""

    def __init__(self, path: Path) -> None:
        """Use `Users.open`."""
        self._path = path
        self._lock = threading.Lock()
        self._seen: tuple[int, int] = (0, 0)
        self._by_hash: dict[str, Actor] = {}

    @classmethod
    @contextmanager
    def open(cls, data_dir: Path) -> Iterator[Users]:
        """Open the people of a data folder, making the folder when it is not there."""
        yield cls.at(data_dir)

    @classmethod
    def at(cls, data_dir: Path) -> Users:
        """Return the people of a data folder, making the folder when it is not there."""
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        return cls(data_dir / FILE)

    def add(self, name: str, *, role: str, unit: str = "") -> str:
        """Add a person, or give them a new token and role; return the token, which is not kept."""
        if not NAME.fullmatch(name):
            raise CityError(f"name {name!r} is not usable: letters, digits, . _ - @, at most 64")
        token = secrets.token_urlsafe(TOKEN_BYTES)
        with self._changing() as rows:
            rows[name] = {"role": role, "unit": unit, "token_sha256": _hash(token)}
        return token

    def remove(self, name: str) -> bool:
        """Remove a person; their token stops working at once. Return whether there was one."""
        with self._changing() as rows:
            return rows.pop(name, None) is not None

    def all(self) -> list[Actor]:
        """Return everybody, by name."""
        rows = self._read()
        return [Actor(name=n, role=r["role"], unit=r["unit"]) for n, r in sorted(rows.items())]

    def actor_of(self, token: str) -> Actor | None:
        """Return who holds `token`; the lookup is by hash, so its time tells nothing of any token."""
        with self._lock:
            try:
                stat = self._path.stat()
            except FileNotFoundError:
                return None
            seen = (stat.st_mtime_ns, stat.st_ino)
            if seen != self._seen:
                self._by_hash = {
                    r["token_sha256"]: Actor(name=n, role=r["role"], unit=r["unit"]) for n, r in self._read().items()
                }
                self._seen = seen
            return self._by_hash.get(_hash(token))

    def _read(self) -> dict[str, dict[str, str]]:
        try:
            rows: dict[str, dict[str, str]] = json.loads(self._path.read_text())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise CityError(f"{self._path}: not readable as JSON ({error}); restore it from a backup") from error
        return rows

    @contextmanager
    def _changing(self) -> Iterator[dict[str, dict[str, str]]]:
        lock = os.open(self._path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            rows = self._read()
            yield rows
            fresh = self._path.with_suffix(".new")
            handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "w") as file:
                json.dump(rows, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
        finally:
            os.close(lock)
