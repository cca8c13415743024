"""Anchors: where the record stood at some instant, written down elsewhere, so that rewriting all of it shows too.

A chain that is recomputed from its first line on is whole again. An anchor that was sent to somebody else, or copied to
another machine, names a line's hash at its time; the rewritten line has another.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from citypulse.errors import CityError

LINES_MAX = 1_000_000


class AnchorError(CityError):
    """A file that holds no anchors, or no line to put one on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """Line `seq` of the record had `hash` at `at_ms` of our clock; `record` names the ledger it is of."""

    seq: int
    hash: str
    at_ms: int
    record: str


def append(path: Path, anchor: Anchor) -> None:
    """Add an anchor to a file of JSON lines, durably."""
    with path.open("ab") as file:
        file.write(msgspec.json.encode(anchor) + b"\n")
        file.flush()
        os.fsync(file.fileno())


def load(path: Path) -> list[Anchor]:
    """Return a file's anchors in order. Raises AnchorError naming the line that is none."""
    decode = msgspec.json.Decoder(Anchor).decode
    found = []
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if number > LINES_MAX:
                raise AnchorError(f"{path}: more than {LINES_MAX:,} lines; anchors are one a day")
            if not line.strip():
                continue
            try:
                found.append(decode(line))
            except msgspec.DecodeError as error:
                raise AnchorError(f"{path}:{number}: this is no anchor: {error}") from error
    return found


def misfits(anchors: Iterable[Anchor], hash_of: dict[int, str], record: str) -> list[str]:
    """Return what does not fit: a line that is gone, has another hash, or an anchor of another ledger."""
    wrong = []
    for anchor in anchors:
        there = hash_of.get(anchor.seq)
        if anchor.record != record:
            wrong.append(f"anchor of line {anchor.seq} is of another record ({anchor.record[:12]})")
        elif there is None:
            wrong.append(f"line {anchor.seq}, anchored with hash {anchor.hash[:12]}, is gone")
        elif there != anchor.hash:
            wrong.append(f"line {anchor.seq} has hash {there[:12]}, it was {anchor.hash[:12]} when anchored")
    return wrong
