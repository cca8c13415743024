"""Photographs kept by their content: the name of each is its sha256, so what an order cites can never be exchanged.

Only pictures are taken (JPEG, PNG, WebP, judged by their first bytes), of bounded size, into a folder of bounded size.
A picture is on the disk before its name is given out. Nothing here ever runs, renders or resizes one.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from citypulse.errors import CityError

FOLDER: Final = "evidence"
PREFIX: Final = "sha256:"
BYTES_MAX: Final = 10 << 20  # of one picture
TOTAL_BYTES_MAX: Final = 20 << 30  # of all; then none is taken until somebody makes room
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_KINDS: Final = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n\x1a\n", "image/png"))


class EvidenceError(CityError):
    """A picture that is not taken; `code` is stable: not_a_picture, too_large, no_room."""

    def __init__(self, message: str, code: str) -> None:
        """Say what is wrong, and its code."""
        super().__init__(message)
        self.code = code


def kind_of(content: bytes) -> str:
    """Return the media type of a picture by its first bytes, or ""."""
    for head, kind in _KINDS:
        if content.startswith(head):
            return kind
    return "image/webp" if content[:4] == b"RIFF" and content[8:12] == b"WEBP" else ""


def references(value: Any) -> Iterable[str]:
    """Yield the digests of all pictures that a command's data names, wherever they stand in it."""
    if isinstance(value, dict):
        for item in value.values():
            yield from references(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from references(item)
    elif isinstance(value, str) and value.startswith(PREFIX):
        yield value.removeprefix(PREFIX)


class EvidenceStore:
    """The pictures of one data folder. Thread-safe."""

    def __init__(self, data_dir: Path, *, bytes_max: int = BYTES_MAX, total_bytes_max: int = TOTAL_BYTES_MAX) -> None:
        """Keep pictures below `data_dir`; nothing is made before the first one comes."""
        self._folder = data_dir / FOLDER
        self.bytes_max, self._total_max = bytes_max, total_bytes_max
        self._lock = threading.Lock()
        self._total: int | None = None

    def put(self, content: bytes) -> str:
        """Keep a picture durably and return its name, `sha256:…`. The same picture twice is kept once.

        Raises EvidenceError.
        """
        if not kind_of(content):
            raise EvidenceError("只收 JPEG、PNG、WebP | only JPEG, PNG and WebP pictures are taken", "not_a_picture")
        if len(content) > self.bytes_max:
            said = f"图片过大 the picture is larger than {self.bytes_max >> 20} MiB ({len(content):,} bytes)"
            raise EvidenceError(said, "too_large")
        digest = hashlib.sha256(content).hexdigest()
        path = self._path(digest)
        with self._lock:
            if path.exists():
                return PREFIX + digest
            if self._used() + len(content) > self._total_max:
                said = f"证据库已满 the folder of pictures holds {self._used() >> 20} MiB and takes no more; make room"
                raise EvidenceError(said, "no_room")
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(path, content)
            self._total = self._used() + len(content)
        return PREFIX + digest

    def get(self, digest: str) -> bytes | None:
        """Return the picture of a digest (64 hex digits), or None. One that was changed on the disk is None too."""
        if not _DIGEST.fullmatch(digest):
            return None
        try:
            content = self._path(digest).read_bytes()
        except FileNotFoundError:
            return None
        return content if hashlib.sha256(content).hexdigest() == digest else None

    def lacks(self, digests: Iterable[str]) -> list[str]:
        """Return those that are not here."""
        return [d for d in digests if not (_DIGEST.fullmatch(d) and self._path(d).exists())]

    def _path(self, digest: str) -> Path:
        return self._folder / digest[:2] / digest

    def _used(self) -> int:
        if self._total is None:
            self._total = sum(p.stat().st_size for p in self._folder.glob("??/*")) if self._folder.exists() else 0
        return self._total


def _write(path: Path, content: bytes) -> None:
    """Write whole or not at all: under another name first, then to its own."""
    draft = path.with_name(f".{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
