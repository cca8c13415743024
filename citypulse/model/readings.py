"""Readings as they arrive: messages, columns of readings, gateways heard, and what could not be taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Quality(IntEnum):
    """What quality control thinks of a reading: the QARTOD flags (IOOS), as integers."""

    GOOD = 1
    NOT_EVALUATED = 2
    SUSPECT = 3
    FAIL = 4
    MISSING = 9


class Lane(IntEnum):
    """Which way a reading goes: LIVE may move alarms; the others never do."""

    LIVE = 0
    HISTORY = 1  # older than its sensor's newest: stored, may make a dated historical occurrence, never pages
    QUARANTINED = 2  # more than five minutes in the future: stored, flagged, never believed
    DUPLICATE = 3  # the same sensor and time as one already taken: counted, not stored again


@dataclass(frozen=True, slots=True, kw_only=True)
class RawMessage:
    """One message as it came from the broker, before anybody has looked inside."""

    topic: str
    payload: bytes
    received_ms: int
    token: Any = None  # what the source needs to acknowledge it; opaque to everyone else


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingBatch:
    """Readings as columns of one length n, in order of arrival.

    sensor: int32 index into the sensor table · time_ms: int64, the sensor's own claim · value: float64 in
    the quantity's canonical unit, calibrated · quality: uint8 `Quality` · lane: uint8 `Lane` ·
    received_ms: int64, our witness (never decreasing within a batch).
    """

    sensor: NDArray[np.int32]
    time_ms: NDArray[np.int64]
    value: NDArray[np.float64]
    quality: NDArray[np.uint8]
    lane: NDArray[np.uint8]
    received_ms: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.sensor)

    @classmethod
    def empty(cls) -> ReadingBatch:
        """Return a batch of no readings."""
        return cls.of([], [], [])

    @classmethod
    def of(cls, sensor: Any, time_ms: Any, value: Any, received_ms: Any = None, quality: Any = None) -> ReadingBatch:
        """Build a batch from array-likes; received defaults to the reading's time, quality to GOOD, lane to LIVE."""
        times = np.asarray(time_ms, dtype=np.int64)
        n = len(times)
        return cls(
            sensor=np.asarray(sensor, dtype=np.int32),
            time_ms=times,
            value=np.asarray(value, dtype=np.float64),
            quality=np.full(n, Quality.GOOD, np.uint8) if quality is None else np.asarray(quality, dtype=np.uint8),
            lane=np.zeros(n, np.uint8),
            received_ms=times.copy() if received_ms is None else np.asarray(received_ms, dtype=np.int64),
        )

    def take(self, index: Any) -> ReadingBatch:
        """Return the readings selected by a slice, mask or index array, in that order."""
        return ReadingBatch(
            sensor=self.sensor[index],
            time_ms=self.time_ms[index],
            value=self.value[index],
            quality=self.quality[index],
            lane=self.lane[index],
            received_ms=self.received_ms[index],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayHeard:
    """Gateways heard of other than by their readings, as columns of one length, in order of arrival.

    Readings count as heard by themselves; these are births, wills, and messages without usable readings.
    gateway: ids · received_ms: int64, never decreasing · is_offline: True where the gateway said goodbye.
    """

    gateway: Sequence[str] = ()
    received_ms: Sequence[int] | NDArray[np.int64] = ()
    is_offline: Sequence[bool] | NDArray[np.bool_] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A message, or part of one, that could not be taken, kept whole with the reason until somebody looks."""

    topic: str
    payload: bytes
    reason: str  # stable short code: json_syntax, unknown_sensor, foreign_sensor, …
    detail: str
    gateway: str  # "" when the topic names none
    received_ms: int
