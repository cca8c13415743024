"""QualityControl: columns of readings in, columns of flags out, with what was learned of earlier readings.

Promise: the same readings in the same order give the same flags and amendments however they are cut into
batches. A verdict that needs the next reading (a spike) comes as an amendment of the previous one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from citypulse.model import ReadingBatch

from .columns import Memory, blank_memory, compile_limits
from .kernel import grade
from .settings import SensorQuality

_NO_DEPTH = np.zeros(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Amendments:
    """New verdicts on readings graded before, in the order they were learned; columns of one length.

    sensor: int32 · time_ms: int64, the amended reading's own time · quality: uint8 · tests: uint32 bits.
    """

    sensor: NDArray[np.int32]
    time_ms: NDArray[np.int64]
    quality: NDArray[np.uint8]
    tests: NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.sensor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """What quality control says of a batch, before amendments.

    flags: uint8 `Quality`, one a reading · tests: uint32 `QcTest` bits that raised it (why) · amendments.
    """

    flags: NDArray[np.uint8]
    tests: NDArray[np.uint32]
    amendments: Amendments


class QualityControl:
    """Streaming quality control over all sensors of a city. One object, one thread."""

    def __init__(self, settings: Sequence[SensorQuality | None], cadence_s: Sequence[float]) -> None:
        """Settings and cadence (seconds) by sensor index; None leaves a sensor's readings as they came."""
        if len(settings) != len(cadence_s):
            raise ValueError(f"{len(settings)} settings but {len(cadence_s)} cadences")
        self._limits = compile_limits(settings, cadence_s)
        self._memory = blank_memory(self._limits)

    def apply(self, batch: ReadingBatch, depth: NDArray[np.float64] | None = None) -> Graded:
        """Grade a batch in its order. `batch.quality` is rolled in (0 means it has none).

        depth: metres, one a reading (NaN unknown), for climatologies by depth.
        """
        n = len(batch)
        flags = np.empty(n, np.uint8)
        tests = np.empty(n, np.uint32)
        amended = np.empty((n, 4), np.int64)
        count = grade(
            batch.sensor, batch.time_ms, batch.value, _NO_DEPTH if depth is None else depth, batch.received_ms,
            batch.quality, batch.lane, self._limits, self._memory, flags, tests, amended,
        )  # fmt: skip
        amended = amended[:count]
        return Graded(
            flags=flags,
            tests=tests,
            amendments=Amendments(
                sensor=amended[:, 0].astype(np.int32),
                time_ms=amended[:, 1].copy(),
                quality=amended[:, 2].astype(np.uint8),
                tests=amended[:, 3].astype(np.uint32),
            ),
        )

    @property
    def window_overflow(self) -> NDArray[np.int64]:
        """By sensor: readings that left a full window before their time; raise `window_max` if this grows."""
        return self._memory.overflow.copy()

    def state(self) -> dict[str, Any]:
        """Return all memory as named arrays."""
        return {name: array.copy() for name, array in self._memory._asdict().items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `state()` of the same settings; ValueError when shapes differ."""
        for name, mine in self._memory._asdict().items():
            theirs = np.asarray(state[name])
            if theirs.shape != mine.shape:
                raise ValueError(
                    f"quality-control state {name} has shape {theirs.shape}, these settings need {mine.shape}"
                )
        self._memory = Memory(**{k: np.asarray(state[k], v.dtype).copy() for k, v in self._memory._asdict().items()})
