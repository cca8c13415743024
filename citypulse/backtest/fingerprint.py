"""A fingerprint of readings: equal for equal columns however they are cut, and quick enough to take along.

Two 64-bit chains of multiply and rotate. It tells whether two runs saw the same readings; it is no seal against
somebody who wants to deceive (that is what the audit chain is for).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]

SEEDS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _mix(chain: Array, code: Array, time_ms: Array, value_bits: Array) -> None:
    """Advance both chains by the readings, in order."""
    a, b = chain[0], chain[1]
    for i in range(len(code)):
        x = np.uint64(time_ms[i]) ^ (np.uint64(code[i]) << np.uint64(44))
        y = value_bits[i]
        a = (a ^ x) * np.uint64(0xFF51AFD7ED558CCD)
        a = ((a << np.uint64(31)) | (a >> np.uint64(33))) ^ y
        b = (b ^ y) * np.uint64(0xC4CEB9FE1A85EC53)
        b = ((b << np.uint64(29)) | (b >> np.uint64(35))) ^ x
    chain[0], chain[1] = a, b


class Fingerprint:
    """The fingerprint of all readings given so far."""

    def __init__(self, state: tuple[int, int] = SEEDS) -> None:
        """Go on from a `state`."""
        self._chain = np.array(state, np.uint64)

    def add(self, code: NDArray[np.int32], time_ms: NDArray[np.int64], value: NDArray[np.float64]) -> None:
        """Take columns of one length."""
        # Plain copies where need be: read-only columns would compile the loop once more.
        columns = (np.require(c, None, ("C", "W")) for c in (code, time_ms, value))
        codes, times, values = columns
        _mix(self._chain, codes, times, values.view(np.uint64))

    @property
    def state(self) -> tuple[int, int]:
        """What to go on from."""
        return int(self._chain[0]), int(self._chain[1])

    def __str__(self) -> str:
        """Return 32 hex digits."""
        return "".join(f"{part:016x}" for part in self.state)
