"""The worst value each alarm has seen while it was active: the highest or the lowest, as the crossed limit looks.

Followed for `threshold` rules, where the reading is what the limit judges. Alarms of other detectors keep the worst of
what their transitions carry: a rate or a forecast is no reading. The alarm's row moves in the tick in which a worse
reading is committed, without a line of its own in the record; the lines of the next change carry it. So there is no
state beside the ledger, and how readings fall into ticks changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from citypulse.by_sensor import READINGS_MIN, SENSORS_MAX, sorted_by_sensor
from citypulse.model import (
    Alarm,
    Condition,
    Lane,
    Quality,
    ReadingBatch,
    Rule,
    SensorTable,
    Side,
    Transition,
)

from .facts import Atlas
from .pen import Pen
from .revise import revised

FOLLOWED: Final = "threshold"
RISING: Final = frozenset({Side.AT_LEAST, Side.ABOVE})
USABLE_MAX: Final = int(Quality.SUSPECT)
Rows = NDArray[np.intp]


class Peaks:
    """Which sensors active alarms look at, and the readings of one tick."""

    def __init__(self, atlas: Atlas, table: SensorTable) -> None:
        """No alarm is active yet."""
        self._atlas, self._index = atlas, table.index
        self._sides: dict[tuple[str, str, str], bool] = {}  # whether larger is worse, by rule, scope and limit
        self._is_watched = np.zeros(len(table), np.bool_)
        self._by_sensor: dict[int, set[str]] = {}
        self._batch = ReadingBatch.empty()
        self._groups: dict[int, Rows] | None = None
        self._late: set[int] = set()  # watched since this tick's readings were grouped
        self._expected: set[int] = set()  # grouped besides those that are watched
        self._floor: dict[str, int] = {}  # alarms that came again in this tick: their own readings begin then

    def keep(self, alarm: Alarm, *, is_retained: bool) -> None:
        """Take note of an alarm's newest version."""
        sensor = self._sensor_of(alarm)
        if sensor is None:
            return
        if is_retained and alarm.condition is Condition.ACTIVE:
            if sensor not in self._by_sensor:
                if sensor not in self._expected:
                    self._late.add(sensor)
                self._is_watched[sensor] = True
            self._by_sensor.setdefault(sensor, set()).add(alarm.id)
        elif alarm.id in (those := self._by_sensor.get(sensor, set())):
            those.discard(alarm.id)
            if not those:
                del self._by_sensor[sensor]
                self._is_watched[sensor] = False

    def begin(self, batch: ReadingBatch) -> None:
        """Begin a tick."""
        self._batch, self._groups = batch, None
        self._expected = set()
        self._floor.clear()

    def expect(self, lanes: Iterable[tuple[str, str]]) -> None:
        """Group the readings of these too, rules and scopes: their alarms may begin within a long tick."""
        found = (self._sensor_at(rule, scope) for rule, scope in lanes)
        self._expected = {sensor for sensor in found if sensor is not None}

    def came_again(self, alarm: Alarm, event_ms: int) -> None:
        """A chattering alarm is active again: what was read since its last end is not its own."""
        self._floor[alarm.id] = event_ms

    def until(self, alarm: Alarm, t: Transition) -> float:
        """Return the worst value up to a change: of the alarm so far, of this tick's readings, and of the change."""
        rule = self._atlas.rule_of(alarm)
        worst = self._worst(alarm, rule, until_ms=t.event_ms, received_ms=t.received_ms)
        return _worse(worst, t.value, is_rising=self._rises(alarm))

    def fold(self, pen: Pen, alarms: dict[str, Alarm]) -> None:
        """Move the rows of active alarms that have seen worse in this tick; `alarms` are the desk's, by id."""
        if not self._by_sensor or not len(self._batch):
            return
        if self._late:
            self._groups = None
        batch = self._batch
        for sensor, rows in self._rows().items():
            if sensor not in self._by_sensor:
                continue
            seen = batch.value[rows]
            if not len(seen):
                continue
            high, low = float(seen.max()), float(seen.min())
            first_ms, grade = None, 0
            for number in sorted(self._by_sensor.get(sensor, ())):
                alarm = alarms[number]
                old = alarm.peak_value
                is_rising = self._rises(alarm)
                if (high <= old) if is_rising else (low >= old):
                    continue  # nearly always; NaN goes on
                if first_ms is None:
                    first_ms, grade = int(batch.time_ms[rows].min()), int(batch.quality[rows].max())
                is_all_own = first_ms >= max(alarm.raised_ms, self._floor.get(number, 0))
                if is_all_own and grade <= Quality.NOT_EVALUATED:
                    worst = high if is_rising else low
                else:
                    worst = self._worst(alarm, self._atlas.rule_of(alarm))
                if worst != old and not math.isnan(worst):
                    alarms[number] = pen.effects.alarms[number] = revised(alarm, {"peak_value": worst})

    # ── readings ────────────────────────────────────────────────────────────────────────────────

    def _worst(self, alarm: Alarm, rule: Rule | None, *, until_ms: int = 2**62, received_ms: int = 2**62) -> float:
        sensor = self._sensor_of(alarm)
        rows = None if sensor is None else self._rows_of(sensor)
        if rows is None or rule is None:
            return alarm.peak_value
        batch = self._batch
        most = Quality.SUSPECT if rule.accepts_suspect else Quality.NOT_EVALUATED
        since_ms = max(alarm.raised_ms, self._floor.get(alarm.id, 0))
        if batch.received_ms is batch.time_ms:  # recorded readings, in order of time: most need not be looked at
            ends = np.searchsorted(batch.time_ms, [since_ms, min(until_ms, received_ms) + 1])
            first, last = np.searchsorted(rows, ends)
            rows = rows[first:last]
        own = rows[
            (batch.quality[rows] <= most)
            & (batch.time_ms[rows] >= since_ms)
            & (batch.time_ms[rows] <= until_ms)
            & (batch.received_ms[rows] <= received_ms)
        ]
        if not len(own):
            return alarm.peak_value
        is_rising = self._rises(alarm)
        seen = batch.value[own]
        return _worse(alarm.peak_value, float(seen.max() if is_rising else seen.min()), is_rising=is_rising)

    def _rows_of(self, sensor: int) -> Rows | None:
        groups = self._rows()
        if sensor in self._late:
            self._late.discard(sensor)
            groups[sensor] = self._usable(np.flatnonzero(self._batch.sensor == sensor))
        return groups.get(sensor)

    def _usable(self, rows: Rows) -> Rows:
        batch = self._batch
        is_live = (batch.lane[rows] == Lane.LIVE) & (batch.quality[rows] <= USABLE_MAX)
        return np.asarray(rows[is_live & ~np.isnan(batch.value[rows])], np.intp)

    def _rows(self) -> dict[int, Rows]:
        """Return where this tick's usable live readings of watched sensors stand, by sensor."""
        if self._groups is None:
            batch = self._batch
            is_meant = self._is_watched
            if self._expected:
                is_meant = is_meant.copy()
                is_meant[list(self._expected)] = True
            rows = self._usable(np.flatnonzero(is_meant[batch.sensor]))
            self._late.clear()
            # Live ticks are short, and the heart must not wait for a kernel to be loaded.
            order = rows[(_by_sensor if self._expected else _by_sensor_in_numpy)(batch.sensor[rows])]
            sorted_ = batch.sensor[order]
            starts = np.flatnonzero(np.diff(sorted_, prepend=-1))
            sensors, parts = sorted_[starts], np.split(order, starts[1:]) if len(starts) else []
            self._groups = dict(zip(sensors.tolist(), parts, strict=True))
        return self._groups

    def _rises(self, alarm: Alarm) -> bool:
        key = (alarm.rule, alarm.scope, alarm.rule_origin)
        found = self._sides.get(key)
        if found is None:
            found = self._sides[key] = rises(self._atlas.rule_of(alarm), alarm)
        return found

    def _sensor_of(self, alarm: Alarm) -> int | None:
        rule = self._atlas.rule_of(alarm)
        if rule is None or rule.detector != FOLLOWED or alarm.exercise:
            return None
        return self._sensor_at(alarm.rule, alarm.scope)

    def _sensor_at(self, rule: str, scope: str) -> int | None:
        watched = self._atlas.watched(rule, scope)
        return self._index.get(watched[0]) if len(watched) == 1 else None


def rises(rule: Rule | None, alarm: Alarm) -> bool:
    """True when larger is worse for this alarm: as the limit looks that decided, else the rule's first one."""
    limits: Any = rule.limits if rule is not None else ()
    decided = next((limit for limit in limits if str(limit.origin) == alarm.rule_origin), None)
    limit = decided or next(iter(limits), None)
    return limit is None or limit.side in RISING


def _by_sensor(sensor: NDArray[np.int32]) -> Rows:
    """Return the order by sensor, of one sensor by place."""
    is_for_kernel = len(sensor) >= READINGS_MIN and int(sensor.max()) < SENSORS_MAX
    return sorted_by_sensor(sensor) if is_for_kernel else _by_sensor_in_numpy(sensor)


def _by_sensor_in_numpy(sensor: NDArray[np.int32]) -> Rows:
    return np.argsort(sensor, kind="stable")


def _worse(old: float, new: float, *, is_rising: bool) -> float:
    if math.isnan(new):
        return old
    if math.isnan(old):
        return new
    return max(old, new) if is_rising else min(old, new)
