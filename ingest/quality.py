"""What a reading is worth: its lane, its calibrated value and its quality, from memory by sensor.

Promise: the same readings in the same order get the same grades however they are cut into batches, and
`replay` leaves the memory exactly as `grade` left it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from citypulse.model import Lane, ReadingBatch

from . import kernels
from .registry import Registry

log = structlog.get_logger()

_STATE = ("newest_ms", "newest", "newest_received_ms")


class Amendments(Protocol):
    """Later verdicts on earlier readings, as columns of one length."""

    @property
    def sensor(self) -> NDArray[np.int32]:
        """Whose reading is judged anew."""
        ...

    @property
    def time_ms(self) -> NDArray[np.int64]:
        """That reading's own time."""
        ...

    @property
    def quality(self) -> NDArray[np.uint8]:
        """Its new `Quality`."""
        ...

    @property
    def by(self) -> NDArray[np.int64]:
        """Position in the batch of the reading that brought the news."""
        ...


class Verdicts(Protocol):
    """What a quality control says of a batch (ingest.qc.controller.Graded)."""

    @property
    def flags(self) -> NDArray[np.uint8]:
        """One `Quality` a reading, rolled up with the one it came with."""
        ...

    @property
    def amendments(self) -> Amendments:
        """What was learned of earlier readings."""
        ...


class QualityControl(Protocol):
    """Further tests, run after lane and range; this is where ingest.qc plugs in.

    It is given every batch once, in order, and must remember only LIVE readings.
    """

    def apply(self, batch: ReadingBatch) -> Verdicts:
        """Judge a batch whose `quality` holds the range check's flag."""
        ...

    def state(self) -> dict[str, Any]:
        """Return its memory."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `state()`; ValueError when it was made for other settings."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """A graded batch, later verdicts on earlier readings (only sensor, time and quality count), and the conflicts."""

    batch: ReadingBatch
    amendments: ReadingBatch | None
    conflicts: int


class Grader:
    """Memory by sensor index and the tests that use it. One thread."""

    def __init__(self, registry: Registry, control: QualityControl | None = None) -> None:
        """Start without memory. `control` adds tests after the range check."""
        self._control = control
        self._known = np.zeros(len(registry.table), kernels.KNOWN)
        for name in ("scale", "offset", "low", "high"):
            self._known[name] = getattr(registry, name)
        self._known["newest_ms"], self._known["newest"] = kernels.NEVER, np.nan
        self.newest_ms: NDArray[np.int64] = self._known["newest_ms"]  # views: by sensor, as `state` names them
        self.newest: NDArray[np.float64] = self._known["newest"]
        self.newest_received_ms: NDArray[np.int64] = self._known["newest_received_ms"]
        # Compiled (or loaded from its cache) here and now, so that the first tick does not wait for it.
        nothing = ReadingBatch.empty()
        self.grade(nothing.sensor, nothing.time_ms, nothing.value, nothing.received_ms)
        self.replay(nothing)

    def grade(
        self,
        sensor: NDArray[np.int32],
        time_ms: NDArray[np.int64],
        value: NDArray[np.float64],
        received_ms: NDArray[np.int64],
    ) -> Graded:
        """Grade raw readings in order of arrival. `value` is calibrated in place.

        Against what a reading counts as future is its own receive time: that, unlike the tick's, is the
        same in a replay.
        """
        n = len(sensor)
        quality, lane = np.empty(n, np.uint8), np.empty(n, np.uint8)
        conflicts = kernels.grade(sensor, time_ms, value, received_ms, self._known, quality, lane)
        batch = ReadingBatch(
            sensor=sensor, time_ms=time_ms, value=value, quality=quality, lane=lane, received_ms=received_ms
        )
        if self._control is None:
            return Graded(batch=batch, amendments=None, conflicts=conflicts)
        verdicts = self._control.apply(batch)
        return Graded(
            batch=replace(batch, quality=verdicts.flags), amendments=_amendments(verdicts, batch), conflicts=conflicts
        )

    def replay(self, batch: ReadingBatch) -> None:
        """Advance the memory by a batch that was graded before, exactly as grading it did."""
        quality = np.empty(len(batch), np.uint8)
        kernels.regrade(batch.sensor, batch.time_ms, batch.value, batch.received_ms, batch.lane, self._known, quality)
        if self._control is not None:
            self._control.apply(replace(batch, quality=quality))

    def state(self) -> dict[str, Any]:
        """Return the memory as arrays by sensor index, and that of the control."""
        state: dict[str, Any] = {name: getattr(self, name).copy() for name in _STATE}
        if self._control is not None:
            state["control"] = self._control.state()
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `state()`, also from before the sensor table grew (it never shrinks).

        Memory of further tests that was made for other settings is dropped, and said so: those tests
        start anew, alarms do not depend on them.
        """
        for name in _STATE:
            saved = np.asarray(state[name])
            getattr(self, name)[: len(saved)] = saved
        if self._control is not None and "control" in state:
            try:
                self._control.restore(state["control"])
            except ValueError as error:
                log.warning("ingest.quality_memory_dropped", why=str(error))


def _amendments(verdicts: Verdicts, batch: ReadingBatch) -> ReadingBatch | None:
    amended = verdicts.amendments
    n = len(amended.sensor)
    if n == 0:
        return None
    return ReadingBatch(
        sensor=amended.sensor,
        time_ms=amended.time_ms,
        value=np.full(n, np.nan),
        quality=amended.quality,
        lane=np.full(n, int(Lane.LIVE), np.uint8),
        received_ms=batch.received_ms[amended.by],
    )
