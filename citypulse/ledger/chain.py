"""The record's hash chain: each event carries the hash of the one before it, so an edit anywhere shows.

hash = sha256 of the canonical JSON array [seq, prev_hash, every column of the event as it is kept]. The head
(last seq and hash) is kept beside the table, so that cutting off the end shows too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .rows import to_json
from .tick import Verdict

GENESIS = "0" * 64


@dataclass(frozen=True, slots=True)
class Head:
    """The last line of the record."""

    seq: int
    hash: str

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"

    @classmethod
    def parse(cls, text: str) -> Head:
        """Read what `str` wrote."""
        seq, _, digest = text.partition(":")
        return cls(int(seq), digest)


START = Head(0, GENESIS)


def link(seq: int, prev_hash: str, columns: Sequence[Any]) -> str:
    """Return the hash of one event, given its columns as kept in the table (text, integers, None)."""
    return hashlib.sha256(to_json([seq, prev_hash, *columns]).encode()).hexdigest()


def verify(rows: Iterable[Sequence[Any]], *, since: Head, head: Head | None) -> Verdict:
    """Walk rows (seq, *columns, prev_hash, hash) in order of seq, starting after `since`; stop at the first misfit.

    `head` is what the last row must be, or None when the walk stops before the end of the record.
    """
    last, checked = since, 0
    for seq, *columns, prev_hash, digest in rows:
        if seq != last.seq + 1:
            return Verdict(checked=checked, first_broken=last.seq + 1, why=f"line {last.seq + 1} is missing")
        if prev_hash != last.hash:
            return Verdict(checked=checked, first_broken=seq, why=f"line {seq} does not follow line {last.seq}")
        if link(seq, prev_hash, columns) != digest:
            return Verdict(checked=checked, first_broken=seq, why=f"line {seq} was changed after it was written")
        last = Head(seq, digest)
        checked += 1
    if head is not None and last != head:
        broken = last.seq + 1 if last.seq < head.seq else last.seq
        return Verdict(checked=checked, first_broken=broken, why=f"the record ends at {last.seq}, it was {head.seq}")
    return Verdict(checked=checked, first_broken=None)
