"""Final flags of a stream: quality control over portions of columns, each reading given out once, amended.

A sensor's newest reading is kept back until its next one (or the end) has settled its verdict; all others go
out with their portion. So memory is one portion plus one reading a sensor, however long the files are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from citypulse.model import Lane, ReadingBatch

from .controller import QualityControl


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """Settled readings as columns: sensor index, time (epoch ms), `Quality` and the `QcTest` bits that raised it."""

    sensor: NDArray[np.int32]
    time_ms: NDArray[np.int64]
    quality: NDArray[np.uint8]
    tests: NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.sensor)

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Verdicts:
        """Return the rows selected by a mask or index array."""
        return Verdicts(
            sensor=self.sensor[index], time_ms=self.time_ms[index], quality=self.quality[index], tests=self.tests[index]
        )


class QualityStream:
    """Runs quality control over batches and settles verdicts. Late and repeated readings are history, never memory."""

    def __init__(self, control: QualityControl, sensors: int) -> None:
        """`sensors`: how many there are; `control` must know as many."""
        self._control = control
        self._newest_ms = np.full(sensors, np.iinfo(np.int64).min, np.int64)
        self._kept = Verdicts(
            sensor=np.zeros(0, np.int32),
            time_ms=np.zeros(0, np.int64),
            quality=np.zeros(0, np.uint8),
            tests=np.zeros(0, np.uint32),
        )

    def push(self, batch: ReadingBatch) -> Verdicts:
        """Judge a batch in its order and return what is settled, kept-back readings first."""
        lane = self._lanes(batch)
        graded = self._control.apply(
            ReadingBatch(
                sensor=batch.sensor,
                time_ms=batch.time_ms,
                value=batch.value,
                quality=batch.quality,
                lane=lane,
                received_ms=batch.received_ms,
            )
        )
        kept, n_kept = self._kept, len(self._kept)
        rows = Verdicts(
            sensor=np.concatenate([kept.sensor, batch.sensor]),
            time_ms=np.concatenate([kept.time_ms, batch.time_ms]),
            quality=np.concatenate([kept.quality, graded.flags]),
            tests=np.concatenate([kept.tests, graded.tests]),
        )
        live = np.concatenate([np.arange(n_kept), n_kept + np.flatnonzero(lane == Lane.LIVE)])
        order = live[np.argsort(rows.sensor[live], kind="stable")]
        has_next = np.zeros(len(order), np.bool_)
        has_next[:-1] = rows.sensor[order[1:]] == rows.sensor[order[:-1]]
        before = np.full(len(rows), -1, np.intp)
        before[order[1:]] = np.where(has_next[:-1], order[:-1], -1)
        target = before[graded.amendments.by + n_kept]
        rows.quality[target] = graded.amendments.quality
        rows.tests[target] = graded.amendments.tests
        is_last = np.zeros(len(rows), np.bool_)
        is_last[order[~has_next]] = True
        self._kept = rows.take(is_last)
        return rows.take(~is_last)

    def finish(self) -> Verdicts:
        """Return the readings still kept back, as they stand."""
        rest = self._kept
        self._kept = rest.take(np.zeros(len(rest), np.bool_))
        return rest

    def _lanes(self, batch: ReadingBatch) -> NDArray[np.uint8]:
        """LIVE when newer than all before of its sensor, DUPLICATE when equal to the newest, else HISTORY."""
        lane = np.zeros(len(batch), np.uint8)
        order = np.argsort(batch.sensor, kind="stable")
        starts = np.flatnonzero(np.diff(batch.sensor[order], prepend=-1))
        for first, stop in zip(starts, [*starts[1:], len(order)], strict=True):
            rows = order[first:stop]
            times = batch.time_ms[rows]
            sensor = batch.sensor[rows[0]]
            newest = np.maximum.accumulate(np.concatenate([self._newest_ms[sensor : sensor + 1], times]))
            lane[rows] = np.where(
                times > newest[:-1], Lane.LIVE, np.where(times == newest[:-1], Lane.DUPLICATE, Lane.HISTORY)
            )
            self._newest_ms[sensor] = newest[-1]
        return lane
