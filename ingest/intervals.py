"""Which numbers of one gateway's boot have been received: a set of whole numbers kept as ranges, bounded in size.

Promise: `add` says "new" for every number it has not been given before, always; it says "seen" for every
number given before, except those it had to forget (`forgotten_upto`), and counts what it gave up waiting for.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

RANGES_MAX = 256  # ranges above the first gap; a gateway with more holes than that has lost its buffer


class SeqSet:
    """Received numbers of one boot, counted from 1. A 0 is taken and told apart too, but nobody waits for it."""

    __slots__ = ("_ends", "_starts", "forgotten_upto", "given_up", "has_zero", "upto")

    def __init__(self) -> None:
        self.upto = 0  # every number from 1 to this one has been received, or given up
        self.has_zero = False
        self.forgotten_upto = -1  # up to here "seen" and "new" can no longer be told apart
        self.given_up = 0
        self._starts: list[int] = []  # received ranges above upto + 1, ascending, never touching
        self._ends: list[int] = []

    def add(self, seq: int) -> bool:
        """Take a number (>= 0); return whether it is new."""
        starts, ends = self._starts, self._ends
        if seq == self.upto + 1:
            if starts and starts[0] == seq + 1:
                del starts[0]
                self.upto = ends.pop(0)
            else:
                self.upto = seq
            return True
        if seq <= self.upto:
            if seq == 0 and not self.has_zero:
                self.has_zero = True
                return True
            # What was forgotten is taken again rather than lost: readings remove their own duplicates.
            return seq <= self.forgotten_upto
        k = bisect_right(starts, seq)  # ranges before k start at or below seq
        if k and ends[k - 1] >= seq:
            return False
        touches_left = k > 0 and ends[k - 1] == seq - 1
        touches_right = k < len(starts) and starts[k] == seq + 1
        if touches_left and touches_right:
            ends[k - 1] = ends.pop(k)
            del starts[k]
        elif touches_left:
            ends[k - 1] = seq
        elif touches_right:
            starts[k] = seq
        else:
            starts.insert(k, seq)
            ends.insert(k, seq)
            if len(starts) > RANGES_MAX:
                self.give_up_below(starts[0])
        return True

    def give_up_below(self, first: int) -> int:
        """Stop waiting for everything below `first`; return how many numbers were missing there."""
        missing = 0
        while self._starts and self._starts[0] <= first:
            missing += self._starts[0] - self.upto - 1
            del self._starts[0]
            self.upto = self._ends.pop(0)
        if self.upto < first - 1:
            missing += first - 1 - self.upto
            self.upto = first - 1
        if missing:
            self.forgotten_upto = max(self.forgotten_upto, first - 1)
            self.given_up += missing
        return missing

    @property
    def has_gap(self) -> bool:
        """Whether a number is missing below one that has been received."""
        return bool(self._starts)

    def missing(self, limit: int = RANGES_MAX) -> list[tuple[int, int]]:
        """Return the first `limit` ranges that are missing, both ends included."""
        gaps, after = [], self.upto
        for start, end in zip(self._starts[:limit], self._ends, strict=False):
            gaps.append((after + 1, start - 1))
            after = end
        return gaps

    def state(self) -> list[Any]:
        """Return all that `restore` needs."""
        ranges = [*self._starts], [*self._ends]
        return [self.upto, self.has_zero, self.forgotten_upto, self.given_up, *ranges]

    @classmethod
    def restore(cls, state: list[Any]) -> SeqSet:
        """Return the set a `state` was taken of."""
        one = cls()
        one.upto, one.has_zero, one.forgotten_upto, one.given_up = state[:4]
        one._starts, one._ends = list(state[4]), list(state[5])
        return one
