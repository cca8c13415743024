"""One configuration on trial: its live grader, engine and desk over recorded readings, with time as an argument.

Promise: the same readings give the same alarms as `City.tick`, however they are cut into portions. A recorded reading
counts as received at its own time; it is calibrated already.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alerts.desk import Desk
from citypulse.errors import CityError
from citypulse.history import Columns
from citypulse.model import (
    Alarm,
    CityConfig,
    Quality,
    ReadingBatch,
    SensorTable,
    Text,
    Transition,
)
from ingest.qc.controller import QualityControl
from ingest.quality import Grader
from ingest.registry import Registry
from rules.backtest import Occurrence
from rules.engine import Engine

ALARMS_MAX = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one configuration made of it. orders, notices: how many the desk would have opened and sent."""

    config: CityConfig
    occurrences: tuple[Occurrence, ...]
    orders: int
    notices: int


def calibrated(config: CityConfig) -> CityConfig:
    """Return the configuration for readings that are in canonical units already: scale 1, offset 0."""
    return replace(config, sensors=tuple(replace(s, scale=1.0, offset=0.0) for s in config.sensors))


class Trial:
    """One configuration with its live parts, standing where the readings taken so far have brought it."""

    def __init__(self, config: CityConfig) -> None:
        """Begin in a city where nothing has happened yet."""
        config = calibrated(config)
        self.config = config
        self.table = SensorTable.build(tuple(s.id for s in config.sensors), config.sensors)
        self.engine = Engine(
            config.rules,
            self.table,
            config.sites,
            config.gateways,
            quantities=config.quantities,
            timezone=config.timezone,
        )
        self.desk = Desk(config, self.table)
        self._grader = Grader(Registry(config, self.table), QualityControl.of_config(config, self.table))
        self._alarms: dict[str, Alarm] = {}
        self._hidden: set[str] = set()
        self._orders: set[str] = set()
        self._notices = 0
        self._now_ms = -(2**62)
        self._lut = np.empty(0, np.int32)

    @property
    def alarms(self) -> int:
        """How many alarms there have been."""
        return len(self._alarms)

    def batch(self, columns: Columns) -> ReadingBatch:
        """Grade the readings of configured sensors as they would have been live; a worse recorded flag stays."""
        if len(self._lut) < len(columns.names):
            fresh = [self.table.index.get(name, -1) for name in columns.names[len(self._lut) :]]
            self._lut = np.concatenate([self._lut, np.array(fresh, np.int32)])
        sensor = self._lut[columns.code]
        mine = sensor >= 0
        time_ms = columns.time_ms[mine]
        graded = self._grader.grade(sensor[mine], time_ms, columns.value[mine], time_ms).batch
        given = columns.quality[mine]
        is_judged = given >= Quality.SUSPECT
        if is_judged.any():
            quality = np.where(is_judged, np.maximum(graded.quality, given), graded.quality)
            return replace(graded, quality=quality)
        return graded

    def take(self, columns: Columns) -> list[Transition]:
        """Take readings in order of time; return the rules' transitions."""
        if not len(columns):
            return []
        return self.step(self.batch(columns), int(columns.time_ms[-1]))

    def step(self, batch: ReadingBatch, now_ms: int) -> list[Transition]:
        """Step engine and desk; the desk hears of each transition at the time it would have."""
        transitions = self.engine.step(batch, now_ms)
        at = 0
        for stamp_ms, group in groupby(transitions, key=lambda t: t.received_ms):
            upto = int(np.searchsorted(batch.received_ms, stamp_ms, side="right"))
            self._now_ms = max(self._now_ms, stamp_ms)
            self._receive(list(group), batch.take(slice(at, upto)))
            at = max(at, upto)
        self._now_ms = max(self._now_ms, now_ms)
        self._receive([], batch.take(slice(at, None)))
        return transitions

    def _receive(self, transitions: Sequence[Transition], batch: ReadingBatch) -> None:
        effects = self.desk.receive(transitions, batch, (), self._now_ms)
        for number, alarm in effects.alarms.items():
            if number not in self._alarms and alarm.suppressed_by:
                self._hidden.add(number)
            self._alarms[number] = alarm
        if len(self._alarms) > ALARMS_MAX:
            raise CityError(f"more than {ALARMS_MAX:,} alarms: a limit of this configuration is surely wrong")
        self._orders.update(effects.orders)
        self._notices += len(effects.notices)

    def finish(self, until_ms: int) -> Outcome:
        """Let deadlines up to `until_ms` pass and return what came of it all."""
        if until_ms > self._now_ms:
            self.step(ReadingBatch.empty(), until_ms)
        found = [occurrence_of(a, is_hidden=number in self._hidden) for number, a in self._alarms.items()]
        return Outcome(
            config=self.config,
            occurrences=tuple(sorted(found, key=lambda o: (o.start_ms, o.rule, o.scope))),
            orders=len(self._orders),
            notices=self._notices,
        )


def occurrence_of(alarm: Alarm, *, is_hidden: bool = False) -> Occurrence:
    """Return what a backtest keeps of an alarm."""
    return Occurrence(
        rule=alarm.rule,
        scope=alarm.scope,
        site=alarm.site or alarm.scope,
        level=alarm.peak_level,
        start_ms=alarm.raised_ms,
        end_ms=alarm.cleared_ms,
        peak=alarm.peak_value,
        because=Text(zh=alarm.because_zh, en=alarm.because_en),
        origin=alarm.rule_origin,
        is_diagnostic=alarm.is_diagnostic,
        is_hidden=is_hidden,
        is_late=alarm.is_historical,
    )
