"""The sensors as witness: how much good live data a repaired place has sent since the crew said it was done.

Readings are counted per order and sensor in time buckets since the report. What is counted depends only on the
reading and the order (both its times lie after the report), so re-running the journal after a restart gives the same
counts. A ring keeps the newest buckets: a window that fails for missing data can still be filled later.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from citypulse.model import Lane, Quality, ReadingBatch, SensorTable, WorkOrder

from .table import VERIFIED_STATES

BUCKETS_MAX = 24  # a window is judged in at most this many parts; finer would not change a verdict
READINGS_MIN = 3  # a window holds at least this many expected readings, however slow the sensor is
RING = 2  # windows kept: the one that is filling and the one before


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the sensors say: `is_proven` needs a whole window after `since` with enough readings of every sensor."""

    is_proven: bool
    share: float  # good readings of the worst sensor in the newest whole window, over those expected; 0..1
    from_ms: int  # the window, epoch ms, event time
    until_ms: int


@dataclass(slots=True, kw_only=True)
class _Watch:
    """The counters of one order: counts and bucket numbers are [sensor, slot], newest_ms is [sensor]."""

    order: str
    fed_back_ms: int
    window_ms: int
    buckets: int  # per window
    sensors: NDArray[np.int32]
    expected: NDArray[np.float64]  # readings per bucket
    counts: NDArray[np.int64]
    numbers: NDArray[np.int64]
    newest_ms: NDArray[np.int64]

    @property
    def bucket_ms(self) -> int:
        return max(1, self.window_ms // self.buckets)


class Witness:
    """Counts good readings for the orders that wait for proof; costs nothing while there are none."""

    def __init__(self, table: SensorTable) -> None:
        """Watch nothing yet."""
        self._table = table
        self._watches: dict[str, _Watch] = {}
        self._by_sensor: dict[int, list[tuple[str, int]]] = {}
        self._is_watched = np.zeros(len(table), dtype=np.bool_)

    def follow(self, order: WorkOrder) -> None:
        """Watch an order while it waits for proof, and no longer; a new report starts its counters anew."""
        is_wanted = order.state in VERIFIED_STATES and order.fed_back_ms is not None and bool(order.watched)
        watch = self._watches.get(order.id)
        if watch is not None and (not is_wanted or watch.fed_back_ms != order.fed_back_ms):
            self._drop(watch)
            watch = None
        if is_wanted and watch is None:
            self._watches[order.id] = watch = self._new(order)
            for place, index in enumerate(watch.sensors.tolist()):
                if index >= 0:
                    self._by_sensor.setdefault(index, []).append((order.id, place))
                    self._is_watched[index] = True

    def _drop(self, watch: _Watch) -> None:
        del self._watches[watch.order]
        for index in watch.sensors.tolist():
            if index >= 0:
                left = [pair for pair in self._by_sensor[index] if pair[0] != watch.order]
                self._by_sensor[index] = left
                self._is_watched[index] = bool(left)

    def count(self, batch: ReadingBatch) -> set[str]:
        """Count a batch's good live readings; return the orders whose counters moved."""
        if not self._watches or not len(batch):
            return set()
        chosen = np.flatnonzero(
            self._is_watched[batch.sensor] & (batch.lane == Lane.LIVE) & (batch.quality == Quality.GOOD)
        )
        if not len(chosen):
            return set()
        sensor, time_ms, received_ms = batch.sensor[chosen], batch.time_ms[chosen], batch.received_ms[chosen]
        touched: set[str] = set()
        for index in np.unique(sensor).tolist():
            mine = sensor == index
            for name, place in self._by_sensor[index]:
                if _add(self._watches[name], place, time_ms[mine], received_ms[mine]):
                    touched.add(name)
        return touched

    def verdict(self, order: WorkOrder, since_ms: int) -> Verdict:
        """Judge the newest whole window; it must begin at or after `since_ms` (event time, epoch ms)."""
        watch = self._watches.get(order.id)
        if watch is None:
            return Verdict(is_proven=False, share=0.0, from_ms=since_ms, until_ms=since_ms)
        width, n = watch.bucket_ms, watch.buckets
        end = int((watch.newest_ms.min() - watch.fed_back_ms) // width) if watch.newest_ms.min() > 0 else 0
        first = max(0, -(-(since_ms - watch.fed_back_ms) // width))
        start = end - n
        slots = np.arange(max(start, 0), max(end, 0)) % watch.counts.shape[1]
        is_current = watch.numbers[:, slots] == np.arange(max(start, 0), max(end, 0))
        counted = np.where(is_current, np.minimum(watch.counts[:, slots], watch.expected[:, None]), 0.0).sum(axis=1)
        share = float((counted / (watch.expected * n)).min())
        return Verdict(
            is_proven=start >= first and share >= order.coverage,
            share=share,
            from_ms=watch.fed_back_ms + max(start, 0) * width,
            until_ms=watch.fed_back_ms + max(end, 0) * width,
        )

    def window_s(self, order: WorkOrder) -> float:
        """Return how long the sensors of an order must stay normal, seconds: never less than three readings take."""
        cadences = [s.cadence_s for i in order.watched if (s := self._sensor(i)) is not None]
        return max(order.verify_for_s, READINGS_MIN * max(cadences, default=0))

    def patience_s(self, order: WorkOrder) -> float:
        """Return how much longer than the window we wait for late readings before we ask a person, seconds."""
        cadences = [s.cadence_s for i in order.watched if (s := self._sensor(i)) is not None]
        return 2.0 * max(cadences, default=0) + 60.0

    def state(self) -> dict[str, Any]:
        """Return the counters for a snapshot: order id → numbers and arrays."""
        return {
            name: {
                "fed_back_ms": w.fed_back_ms,
                "sensors": w.sensors.copy(),
                "counts": w.counts.copy(),
                "numbers": w.numbers.copy(),
                "newest_ms": w.newest_ms.copy(),
            }
            for name, w in self._watches.items()
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take counters back for orders still watched with the same report; others start from nothing."""
        for name, kept in state.items():
            watch = self._watches.get(name)
            if watch is None or watch.fed_back_ms != kept["fed_back_ms"]:
                continue
            counts, sensors = np.asarray(kept["counts"]), np.asarray(kept["sensors"])
            if counts.shape == watch.counts.shape and np.array_equal(sensors, watch.sensors):
                watch.counts = counts.astype(np.int64)
                watch.numbers = np.asarray(kept["numbers"]).astype(np.int64)
                watch.newest_ms = np.asarray(kept["newest_ms"]).astype(np.int64)

    def _sensor(self, sensor_id: str) -> Any:
        index = self._table.index.get(sensor_id)
        return None if index is None else self._table.sensors[index]

    def _new(self, order: WorkOrder) -> _Watch:
        window_ms = round(self.window_s(order) * 1000)
        sensors = [self._sensor(i) for i in order.watched]
        cadence_s = [s.cadence_s if s is not None else order.verify_for_s for s in sensors]
        slowest = max(1.0, *(float(c) for c in cadence_s))
        buckets = int(min(BUCKETS_MAX, max(1, window_ms / 1000 / slowest // 2)))
        n, ring = len(order.watched), RING * buckets + 2
        return _Watch(
            order=order.id,
            fed_back_ms=order.fed_back_ms or 0,
            window_ms=window_ms,
            buckets=buckets,
            # A sensor that is no longer configured (-1) can never testify: somebody else has to.
            sensors=np.array(
                [self._table.index[i] if s is not None else -1 for i, s in zip(order.watched, sensors, strict=True)],
                np.int32,
            ),
            expected=np.array([window_ms / 1000 / buckets / max(1.0, c) for c in cadence_s]),
            counts=np.zeros((n, ring), np.int64),
            numbers=np.full((n, ring), -1, np.int64),
            newest_ms=np.zeros(n, np.int64),
        )


def _add(watch: _Watch, place: int, time_ms: NDArray[np.int64], received_ms: NDArray[np.int64]) -> bool:
    is_after = (time_ms > watch.fed_back_ms) & (received_ms > watch.fed_back_ms)
    if not is_after.any():
        return False
    times = time_ms[is_after]
    numbers, counts = np.unique((times - watch.fed_back_ms) // watch.bucket_ms, return_counts=True)
    ring = watch.counts.shape[1]
    for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
        slot = number % ring
        if watch.numbers[place, slot] < number:
            watch.numbers[place, slot], watch.counts[place, slot] = number, count
        elif watch.numbers[place, slot] == number:
            watch.counts[place, slot] += count
    watch.newest_ms[place] = max(int(watch.newest_ms[place]), int(times.max()))
    return True
