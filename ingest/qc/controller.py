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

from citypulse.by_sensor import by_sensor
from citypulse.model import CityConfig, ReadingBatch, SensorTable

from .columns import ALONE, MEMORY, Compiled, Neighbours, blank_memory, blank_rings, compile_rules
from .kernel import grade
from .quick import blank_clues
from .settings import COMPANY_MAX, QualitySettings, SensorQuality
from .verdicts import PLACES

_NO_DEPTH = np.zeros(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Amendments:
    """New verdicts on readings graded before, in the order they were learned; columns of one length.

    sensor: int32 · time_ms: int64, the amended reading's own time · quality: uint8 · tests: uint32 bits ·
    by: int64, position in the batch of the reading that brought the news (the sensor's next after the amended one).
    """

    sensor: NDArray[np.int32]
    time_ms: NDArray[np.int64]
    quality: NDArray[np.uint8]
    tests: NDArray[np.uint32]
    by: NDArray[np.int64]

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

    def __init__(
        self,
        settings: Sequence[SensorQuality | None],
        cadence_s: Sequence[float],
        neighbours: Sequence[Neighbours] | None = None,
    ) -> None:
        """Settings, cadence (seconds) and neighbours by sensor index.

        None as settings leaves a sensor's readings as they came; without neighbours every sensor stands alone.
        ValueError when the columns differ in length.
        """
        neighbours = [lonely(quality) for quality in settings] if neighbours is None else neighbours
        if not len(settings) == len(cadence_s) == len(neighbours):
            raise ValueError(f"{len(settings)} settings, {len(cadence_s)} cadences, {len(neighbours)} neighbours")
        intervals = [(q.interval_s if q else None) or c for q, c in zip(settings, cadence_s, strict=True)]
        self._compiled = compile_rules(settings, intervals, neighbours)
        self._memory = blank_memory(self._compiled)
        self._ring_ms, self._ring = blank_rings(self._compiled)
        self._clues, self._spans = blank_clues(self._compiled)
        self._verdicts = np.zeros(PLACES, np.int64)  # scratch of the kernel
        self._groups = _in_turn(self._compiled)

    @classmethod
    def of_sensors(cls, settings: QualitySettings, ids: Sequence[str], cadence_s: Sequence[float]) -> QualityControl:
        """Build for sensors named `<site>.<quantity>`; neighbours are those of the same site."""
        index = {sensor_id: i for i, sensor_id in enumerate(ids)}
        chosen: list[SensorQuality | None] = []
        neighbours: list[Neighbours] = []
        named: dict[int, set[str]] = {}  # by identity of the settings, which many sensors share
        for sensor_id in ids:
            site, _, quantity = sensor_id.rpartition(".")
            quality = settings.of(sensor_id, quantity)
            chosen.append(quality)
            if id(quality) not in named:
                named[id(quality)] = named_beside(quality)
            beside = {q: index.get(f"{site}.{q}", -1) for q in named[id(quality)]}
            neighbours.append(beside_of(quality, beside) if beside else ALONE)
        return cls(chosen, cadence_s, neighbours)

    @classmethod
    def of_table(cls, settings: QualitySettings, table: SensorTable) -> QualityControl:
        """Build for a city's sensors by their index; retired sensors are left alone."""
        ids = [sensor.id if sensor else "" for sensor in table.sensors]
        return cls.of_sensors(settings, ids, [float(sensor.cadence_s) if sensor else 60.0 for sensor in table.sensors])

    @classmethod
    def of_config(cls, config: CityConfig, table: SensorTable) -> QualityControl | None:
        """Build what the configuration's `quality:` section asks for, None where it asks for nothing."""
        return None if config.quality is None else cls.of_table(config.quality, table)

    def apply(self, batch: ReadingBatch, depth: NDArray[np.float64] | None = None) -> Graded:
        """Grade a batch in its order. `batch.quality` is rolled in (0 means it has none).

        depth: metres, one a reading (NaN unknown), for climatologies by depth.
        """
        columns = (
            _plain(batch.sensor, np.int32),
            _plain(batch.time_ms, np.int64),
            _plain(batch.value, np.float64),
            _NO_DEPTH if depth is None else _plain(depth, np.float64),
            _plain(batch.received_ms, np.int64),
            _plain(batch.quality, np.uint8),
            _plain(batch.lane, np.uint8),
        )
        order = self._order(columns[0])
        if order is None:
            flags, tests, amended = self._grade(columns)
        else:  # columns are put in order once: finding each reading in its place costs more than all it gains
            of_sensor = self._grade(tuple(column if column is _NO_DEPTH else column.take(order) for column in columns))
            flags, tests = np.empty_like(of_sensor[0]), np.empty_like(of_sensor[1])
            flags[order], tests[order], amended = of_sensor
            amended[:, 4] = order[amended[:, 4]]
            amended = amended[np.argsort(amended[:, 4])]  # a reading brings one at most
        return Graded(
            flags=flags,
            tests=tests,
            amendments=Amendments(
                sensor=amended[:, 0].astype(np.int32),
                time_ms=amended[:, 1].copy(),
                quality=amended[:, 2].astype(np.uint8),
                tests=amended[:, 3].astype(np.uint32),
                by=amended[:, 4].copy(),
            ),
        )

    def _grade(
        self, columns: tuple[NDArray[Any], ...]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint32], NDArray[np.int64]]:
        """Run the kernel over columns in their order; return flags, tests and amendments."""
        n = len(columns[0])
        flags, tests, amended = np.empty(n, np.uint8), np.empty(n, np.uint32), np.empty((n, 5), np.int64)
        c = self._compiled
        count, _ = grade(
            *columns,
            c.rules,
            c.members,
            self._memory,
            self._clues,
            self._spans,
            self._ring_ms,
            self._ring,
            flags,
            tests,
            amended,
            self._verdicts,
        )
        return flags, tests, amended[:count]

    def _order(self, sensor: NDArray[np.int32]) -> NDArray[np.intp] | None:
        """Return in which order to take a batch: sensor by sensor, or None where order of arrival is as quick."""
        if self._groups is None:
            return by_sensor(sensor, len(self._memory))
        return by_sensor(self._groups[sensor], len(self._memory) + 1)

    @property
    def window_overflow(self) -> NDArray[np.int64]:
        """By sensor: readings that left a full window before their time; raise `window_max` if this grows."""
        overflow: NDArray[np.int64] = self._memory["overflow"].copy()
        return overflow

    def state(self) -> dict[str, Any]:
        """Return all memory as named arrays."""
        columns = {name: self._memory[name].copy() for name in MEMORY.names or ()}
        return {**columns, "ring_ms": self._ring_ms.copy(), "ring": self._ring.copy()}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `state()` of the same settings; ValueError when shapes differ."""
        mine = self.state()
        for name, array in mine.items():
            if np.shape(state[name]) != array.shape:
                raise ValueError(f"quality-control state {name} is {np.shape(state[name])}, not {array.shape}")
        for name in MEMORY.names or ():
            self._memory[name] = state[name]
        self._ring_ms[:], self._ring[:] = state["ring_ms"], state["ring"]
        self._clues, self._spans = blank_clues(self._compiled)


def _in_turn(compiled: Compiled) -> NDArray[np.int32] | None:
    """Return a number by sensor, one for all sensors that look at another or are looked at, or None: nobody does."""
    rules, n = compiled.rules, len(compiled.rule_of)
    seen = np.stack([rules["companion"], *(rules[f"company_{k}"] for k in range(COMPANY_MAX))])
    if not np.any(seen >= 0):
        return None
    groups = np.arange(n, dtype=np.int32)
    groups[np.any(seen >= 0, axis=0)[compiled.rule_of]] = n
    groups[seen[seen >= 0]] = n
    return groups


def _plain(column: NDArray[Any], kind: Any) -> NDArray[Any]:
    """Return a column in the one layout the kernel is compiled for: another would be compiled for seconds, live."""
    return np.require(column, kind, ("C", "W"))


def named_beside(quality: SensorQuality | None) -> set[str]:
    """Return the quantities whose sensors at the same site a sensor's tests look at."""
    if quality is None:
        return set()
    company = {c.quantity for c in quality.jump.natural_with} if quality.jump else set()
    return company | ({quality.companion.quantity} if quality.companion else set())


def beside_of(quality: SensorQuality | None, index: dict[str, int]) -> Neighbours:
    """Return a sensor's neighbours from quantity → sensor index (-1: there is none)."""
    if quality is None:
        return ALONE
    return Neighbours(
        companion=index[quality.companion.quantity] if quality.companion else -1,
        company=tuple(index[c.quantity] for c in quality.jump.natural_with) if quality.jump else (),
    )


def lonely(quality: SensorQuality | None) -> Neighbours:
    """Return the neighbours of a sensor that stands alone."""
    return beside_of(quality, dict.fromkeys(named_beside(quality), -1))
