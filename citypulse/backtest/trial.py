"""One configuration on trial: its live grader, engine and desk over recorded readings, with time as an argument.

Promise: the same readings give the same alarms as `City.tick`, however they are cut into portions. A recorded reading
counts as received at its own time; it is calibrated already.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import msgspec
import numpy as np

from alerts.desk import Desk
from alerts.follower import Follower
from citypulse.errors import CityError
from citypulse.model import (
    Alarm,
    CityConfig,
    Effects,
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

from .history import Columns

ALARMS_MAX = 1_000_000
NOTHING = ReadingBatch.empty()
BEAT_MS = 300_000  # how often the desk looks at its clocks when no rule has anything to say


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one configuration made of it.

    orders, notices: how many the desk would have opened and sent; None where that was not run.
    """

    config: CityConfig
    occurrences: tuple[Occurrence, ...]
    orders: int | None
    notices: int | None


def calibrated(config: CityConfig) -> CityConfig:
    """Return the configuration for readings that are in canonical units already: scale 1, offset 0."""
    return replace(config, sensors=tuple(replace(s, scale=1.0, offset=0.0) for s in config.sensors))


class Trial:
    """One configuration with its live parts, standing where the readings taken so far have brought it."""

    def __init__(
        self,
        config: CityConfig,
        *,
        sensors: Collection[str] | None = None,
        alarms_only: bool = False,
        keeps: bool = False,
    ) -> None:
        """Begin in a city where nothing has happened yet.

        sensors: only their readings count · alarms_only: no orders, no notices, which is quicker · keeps: remember
        all transitions, so that `state` can be asked for.
        """
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
        self._alarms_only = alarms_only
        self._follower = Follower(config, self.table) if alarms_only else None
        self.desk = self._follower or Desk(config, self.table)
        self._grader = Grader(Registry(config, self.table), QualityControl.of_config(config, self.table))
        self._wanted = sensors
        self._grading = ([(s.id, s.low, s.high, s.cadence_s) for s in config.sensors], config.quality)
        self._keeps = keeps
        self._transitions: list[Transition] = []
        self.is_begun = False  # whether watchdogs' grace has begun
        self._beat_ms: int | None = None
        self._alarms: dict[str, Alarm] = {}
        self._hidden: set[str] = set()
        self._orders: set[str] = set()
        self._notices = 0
        self._now_ms = -(2**62)
        self._lut = np.empty(0, np.int32)
        self._is_configured = np.empty(0, np.bool_)

    @property
    def alarms(self) -> int:
        """How many alarms there have been."""
        return len(self._alarms)

    def grades_like(self, other: Trial) -> bool:
        """Whether `batch` is the same for both, so that one of them need not grade."""
        return self._grading == other._grading and self._wanted == other._wanted

    def begin(self, first_ms: int) -> None:
        """Let watchdogs' grace begin at the first reading of any configured sensor, also one that is not read."""
        if not self.is_begun:
            self.engine.begin(first_ms)
            self.is_begun = True

    def _learn(self, names: Sequence[str]) -> None:
        known = [self.table.index.get(name, -1) for name in names[len(self._lut) :]]
        wanted = [
            -1 if self._wanted is not None and name not in self._wanted else k
            for k, name in zip(known, names[len(self._lut) :], strict=True)
        ]
        self._lut = np.concatenate([self._lut, np.array(wanted, np.int32)])
        self._is_configured = np.concatenate([self._is_configured, np.array(known, np.int32) >= 0])

    def first_ms(self, columns: Columns) -> int | None:
        """Return the instant of the first reading of a configured sensor; None when there is none here."""
        if len(self._lut) < len(columns.names):
            self._learn(columns.names)
        mine = self._is_configured[columns.code]
        return int(columns.time_ms[np.argmax(mine)]) if mine.any() else None

    def batch(self, columns: Columns) -> ReadingBatch:
        """Grade the readings of configured sensors as they would have been live; a worse recorded flag stays."""
        if len(self._lut) < len(columns.names):
            self._learn(columns.names)
        sensor, time_ms, value, given = self._lut[columns.code], columns.time_ms, columns.value.copy(), columns.quality
        mine = sensor >= 0
        if not mine.all():
            sensor, time_ms, value, given = sensor[mine], time_ms[mine], value[mine], given[mine]
        graded = self._grader.grade(sensor, time_ms, value, time_ms).batch
        is_judged = given >= Quality.SUSPECT
        if is_judged.any():
            quality = np.where(is_judged, np.maximum(graded.quality, given), graded.quality)
            return replace(graded, quality=quality)
        return graded

    def take(self, columns: Columns) -> list[Transition]:
        """Take readings in order of time; return the rules' transitions."""
        if not len(columns):
            return []
        if not self.is_begun and (first_ms := self.first_ms(columns)) is not None:
            self.begin(first_ms)
        return self.step(self.batch(columns), int(columns.time_ms[-1]))

    def step(self, batch: ReadingBatch, now_ms: int) -> list[Transition]:
        """Step engine and desk; the desk hears of each transition at the time it would have."""
        if not self.is_begun and not len(batch):
            return []  # nothing of ours has been heard yet: no grace runs
        transitions = self.judge(batch, now_ms)
        self.tell(transitions, now_ms, batch)
        return transitions

    def judge(self, batch: ReadingBatch, now_ms: int) -> list[Transition]:
        """Step the engine alone: its transitions are still to be told, in this order, on whatever thread."""
        if not self.is_begun and len(batch):
            self.begin(int(batch.received_ms[0]))
        transitions = self.engine.step(batch, now_ms) if self.is_begun else []
        if self._keeps:
            self._transitions += transitions
        return transitions

    def tell(self, transitions: Sequence[Transition], now_ms: int, batch: ReadingBatch = NOTHING) -> None:
        """Tell the desk, which is given the time at fixed instants, however the readings were cut.

        `batch`: what the transitions came from, so that active alarms keep their worst value.
        """
        told = 0
        if self._follower is not None:
            self._follow(self._follower, transitions, now_ms, batch)
            return
        for stamp_ms, group in groupby(transitions, key=lambda t: t.received_ms):
            self._pass_time(stamp_ms)
            until = int(np.searchsorted(batch.received_ms, stamp_ms, side="right"))
            self._receive(list(group), stamp_ms, _part(batch, told, until))
            told = until
        self._note(self.desk.see(_part(batch, told, len(batch)), now_ms))
        self._pass_time(now_ms)

    def _follow(self, desk: Follower, transitions: Sequence[Transition], now_ms: int, batch: ReadingBatch) -> None:
        """Have only alarms followed, which takes no clock beside the transitions' own."""
        desk.begin(batch, transitions)
        for stamp_ms, group in groupby(transitions, key=lambda t: t.received_ms):
            self._note(desk.follow(group, stamp_ms))
            self._look_at_number()
        self._note(desk.end(now_ms))
        self._now_ms = max(self._now_ms, now_ms)

    def _pass_time(self, now_ms: int) -> None:
        if self._beat_ms is None:
            self._beat_ms = -(-now_ms // BEAT_MS) * BEAT_MS
        while self._beat_ms <= now_ms:
            if self._alarms:  # before the first alarm the desk has nothing to watch
                self._receive([], self._beat_ms)
            self._beat_ms += BEAT_MS
        self._now_ms = max(self._now_ms, now_ms)

    def _receive(self, transitions: Sequence[Transition], now_ms: int, batch: ReadingBatch = NOTHING) -> None:
        self._note(self.desk.receive(transitions, batch, (), now_ms))
        self._look_at_number()

    def _look_at_number(self) -> None:
        if len(self._alarms) > ALARMS_MAX:
            raise CityError(f"more than {ALARMS_MAX:,} alarms: a limit of this configuration is surely wrong")

    def _note(self, effects: Effects) -> None:
        for number, alarm in effects.alarms.items():
            if number not in self._alarms and alarm.suppressed_by:
                self._hidden.add(number)
            self._alarms[number] = alarm
        self._orders.update(effects.orders)
        self._notices += len(effects.notices)

    def finish(self, until_ms: int) -> Outcome:
        """Let deadlines up to `until_ms` pass and return what came of it all."""
        if until_ms > self._now_ms:
            self.step(NOTHING, until_ms)
        found = [occurrence_of(a, is_hidden=number in self._hidden) for number, a in self._alarms.items()]
        return Outcome(
            config=self.config,
            occurrences=tuple(sorted(found, key=lambda o: (o.start_ms, o.rule, o.scope))),
            orders=None if self._alarms_only else len(self._orders),
            notices=None if self._alarms_only else self._notices,
        )

    # ── standing still and going on ─────────────────────────────────────────────────────────────

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs. Only for a trial that keeps its transitions."""
        return {
            "engine": self.engine.state(),
            "grader": self._grader.state(),
            "is_begun": self.is_begun,
            "now_ms": self._now_ms,
            "transitions": msgspec.msgpack.encode(self._transitions),
            "peaks": {number: alarm.peak_value for number, alarm in self._alarms.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Stand where a trial of the same configuration stood; only for one that has not begun.

        The desk is told all transitions again: it is quick, and leaves nothing out but the worst values, which came
        from readings.
        """
        self.engine.restore(state["engine"])
        self._grader.restore(state["grader"])
        self.is_begun = state["is_begun"]
        self._transitions = msgspec.msgpack.decode(state["transitions"], type=list[Transition])
        if self.is_begun:
            self.tell(self._transitions, state["now_ms"])
        for number, peak in state["peaks"].items():
            self._alarms[number] = replace(self._alarms[number], peak_value=peak)
            if number in self.desk.alarms:
                self.desk.alarms[number] = replace(self.desk.alarms[number], peak_value=peak)


def _part(batch: ReadingBatch, first: int, end: int) -> ReadingBatch:
    if first == end:
        return NOTHING
    return batch if end - first == len(batch) else batch.take(slice(first, end))


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
