"""Backtest: the live grader, engine and desk over recorded readings, with time as an argument.

Promise: the same readings give the same alarms as `City.tick`, however they are cut into portions. A recorded reading
counts as received at its own time; it is calibrated already.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from alerts.desk import Desk
from citypulse.errors import CityError
from citypulse.history import Columns, FileHistory, History, OutOfOrderError
from citypulse.model import (
    Alarm,
    CityConfig,
    Quality,
    ReadingBatch,
    SensorTable,
    Text,
    Transition,
)
from citypulse.scores import ScoreFile
from ingest.qc.controller import QualityControl
from ingest.quality import Grader
from ingest.registry import Registry
from rules.backtest import Occurrence
from rules.engine import Engine

ALARMS_MAX = 1_000_000
Show = Callable[[float, int, int], None]
"""show(share done 0 … 1, readings so far, alarms so far)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """What was read: how many readings from when to when, of unknown sensors, and a digest of all of them."""

    readings: int
    since_ms: int
    until_ms: int
    unknown: dict[str, int]
    digest: str


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


@dataclass(slots=True)
class _Tally:
    """Counts and a digest of everything read; how it was cut into portions makes no difference."""

    readings: int = 0
    since_ms: int = 2**62
    until_ms: int = -(2**62)
    seen: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    digests: tuple[hashlib.blake2b, ...] = field(default_factory=lambda: tuple(hashlib.blake2b() for _ in range(3)))

    def add(self, columns: Columns) -> None:
        self.readings += len(columns)
        self.since_ms = min(self.since_ms, int(columns.time_ms[0]))
        self.until_ms = max(self.until_ms, int(columns.time_ms[-1]))
        counts = np.bincount(columns.code, minlength=max(len(columns.names), len(self.seen)))
        counts[: len(self.seen)] += self.seen
        self.seen = counts
        for digest, column in zip(self.digests, (columns.code, columns.time_ms, columns.value), strict=True):
            digest.update(np.ascontiguousarray(column).data)

    def span(self, names: Sequence[str], known: Callable[[str], bool]) -> Span:
        whole = hashlib.blake2b(b"".join(d.digest() for d in self.digests), digest_size=16)
        unknown = {names[k]: int(self.seen[k]) for k in np.flatnonzero(self.seen).tolist() if not known(names[k])}
        return Span(
            readings=self.readings,
            since_ms=self.since_ms,
            until_ms=self.until_ms,
            unknown=unknown,
            digest=whole.hexdigest(),
        )


def backtest(
    configs: Sequence[CityConfig],
    history: History,
    *,
    until_ms: int | None = None,
    show: Show = lambda *_: None,
    scores: ScoreFile | None = None,
) -> tuple[Span, tuple[Outcome, ...], History]:
    """Run all configurations over the same readings in one pass; return what was read, the outcomes, and the history.

    until_ms: how far time goes on after the last reading (watchdogs bark on the way); by default not at all. Files
    that turn out not to be in order of time are read again, sorted in memory: that is the history returned. scores: hears
    what the first configuration's detectors say. Raises CityError when there are no readings, or none of a
    configured sensor.
    """
    try:
        span, outcomes = _run(configs, history, until_ms, show, scores)
    except OutOfOrderError:
        assert isinstance(history, FileHistory)  # noqa: S101 - only they can be
        history = history.in_memory()
        span, outcomes = _run(configs, history, until_ms, show, scores)
    return span, outcomes, history


def _run(
    configs: Sequence[CityConfig], history: History, until_ms: int | None, show: Show, scores: ScoreFile | None
) -> tuple[Span, tuple[Outcome, ...]]:
    trials = [Trial(config) for config in configs]
    if scores is not None:
        scores.attach(trials[0].engine)
    tally = _Tally()
    names: Sequence[str] = ()
    for columns in history:
        if not len(columns):
            continue
        names = columns.names
        tally.add(columns)
        for trial in trials:
            trial.take(columns)
        show(columns.share_done, tally.readings, trials[0].alarms)
    if not tally.readings:
        raise CityError("没有读数 no readings between these instants")
    span = tally.span(names, lambda name: any(name in trial.table.index for trial in trials))
    if len(span.unknown) == int((tally.seen > 0).sum()):
        some = ", ".join(list(span.unknown)[:3])
        raise CityError(f"none of the readings is of a configured sensor ({some} …): is this the right configuration?")
    end_ms = span.until_ms if until_ms is None else max(until_ms, span.until_ms)
    return replace(span, until_ms=end_ms), tuple(trial.finish(end_ms) for trial in trials)


# ── readings around an alarm ────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A piece of one sensor's history."""

    sensor: str
    since_ms: int
    until_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The readings in a window, at most `POINTS_MAX` of them, extremes kept."""

    time_ms: NDArray[np.int64]
    value: NDArray[np.float64]


POINTS_MAX = 400


def readings_in(windows: Sequence[Window], history: History) -> dict[Window, Series]:
    """Read the history once more and return the readings of these windows."""
    wanted = tuple(dict.fromkeys(windows))
    parts: dict[Window, list[tuple[NDArray[np.int64], NDArray[np.float64]]]] = {w: [] for w in wanted}
    if not wanted:
        return {}
    narrowed = history.between(min(w.since_ms for w in wanted), max(w.until_ms for w in wanted) + 1)
    for columns in narrowed:
        if not len(columns):
            continue
        code = {name: k for k, name in enumerate(columns.names)}
        for w in wanted:
            first, last = np.searchsorted(columns.time_ms, [w.since_ms, w.until_ms + 1])
            if first < last and w.sensor in code:
                piece = slice(int(first), int(last))
                mine = columns.code[piece] == code[w.sensor]
                parts[w].append((columns.time_ms[piece][mine], columns.value[piece][mine]))
    return {w: _series(found) for w, found in parts.items()}


def _series(parts: Sequence[tuple[NDArray[np.int64], NDArray[np.float64]]]) -> Series:
    time_ms = np.concatenate([np.empty(0, np.int64), *(t for t, _ in parts)])
    value = np.concatenate([np.empty(0), *(v for _, v in parts)])
    if len(time_ms) > POINTS_MAX:
        groups = np.array_split(np.arange(len(time_ms)), POINTS_MAX // 2)
        kept = sorted({i for group in groups for i in _ends(group, value)})
        time_ms, value = time_ms[kept], value[kept]
    return Series(time_ms=time_ms, value=value)


def _ends(group: NDArray[np.int64], value: NDArray[np.float64]) -> Iterator[int]:
    """Yield the places of the smallest and the largest of a group of values."""
    there = group[~np.isnan(value[group])]
    if len(there):
        yield int(there[np.argmin(value[there])])
        yield int(there[np.argmax(value[there])])
    else:
        yield int(group[0])
