"""What every store does before it writes: leave out duplicates, set quarantined readings apart, sort the rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from citypulse.model import Lane, ReadingBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Sorted:
    """A batch made ready: one reading per (sensor, time), in that order; and those to be kept apart."""

    believed: ReadingBatch
    quarantined: ReadingBatch


def sort_out(batch: ReadingBatch) -> Sorted:
    """Split a batch by lane, drop DUPLICATE ones, and keep the first arrival of each (sensor, time)."""
    if not len(batch):
        return Sorted(believed=batch, quarantined=batch)
    is_quarantined = batch.lane == Lane.QUARANTINED
    is_believed = ~is_quarantined & (batch.lane != Lane.DUPLICATE)
    return Sorted(
        believed=_once(batch if is_believed.all() else batch.take(is_believed)),
        quarantined=_once(batch.take(is_quarantined)),
    )


def _once(batch: ReadingBatch) -> ReadingBatch:
    if len(batch) < 2:
        return batch
    order = np.lexsort((batch.time_ms, batch.sensor))  # stable: the first arrival stays first among equals
    sensor, time_ms = batch.sensor[order], batch.time_ms[order]
    is_first = np.empty(len(order), np.bool_)
    is_first[0] = True
    is_first[1:] = (sensor[1:] != sensor[:-1]) | (time_ms[1:] != time_ms[:-1])
    return batch.take(order[is_first])


class Newest:
    """The newest stored time of each sensor: what is newer needs no look into the store for an earlier copy."""

    def __init__(self) -> None:
        """Know of no sensor yet."""
        self._time_ms: NDArray[np.int64] = np.full(1024, np.iinfo(np.int64).min, np.int64)

    def _reach(self, sensor: NDArray[np.int32]) -> None:
        top = int(sensor.max()) + 1 if len(sensor) else 0
        if top > len(self._time_ms):
            grown = np.full(max(top, 2 * len(self._time_ms)), np.iinfo(np.int64).min, np.int64)
            grown[: len(self._time_ms)] = self._time_ms
            self._time_ms = grown

    def is_new(self, sensor: NDArray[np.int32], time_ms: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return for each reading whether it is newer than everything stored of its sensor."""
        self._reach(sensor)
        return time_ms > self._time_ms[sensor]

    def note(self, sensor: NDArray[np.int32], time_ms: NDArray[np.int64]) -> None:
        """Take stored readings into account."""
        self._reach(sensor)
        np.maximum.at(self._time_ms, sensor, time_ms)
