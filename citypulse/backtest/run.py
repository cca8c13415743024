"""Backtest: one or two configurations over the same recorded readings, in one pass.

Everything is run, or, for a what-if, only what the difference between the two can reach (rules/whatif.py). Reading
and judging run at the same time, and so do the configurations: the compiled loops let go of the interpreter.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice, repeat
from typing import Self

import numpy as np
from numpy.typing import NDArray

from citypulse.errors import CityError
from citypulse.model import CityConfig, ReadingBatch
from rules.whatif import Selection

from .checkpoint import Checkpoint, Place
from .fingerprint import Fingerprint
from .history import Columns, FileHistory, History, OutOfOrderError, ahead
from .scores import ScoreFile
from .trial import Outcome, Trial, calibrated, occurrence_of

__all__ = ["Outcome", "Series", "Span", "Trial", "Window", "backtest", "calibrated", "occurrence_of", "readings_in"]

UNTOLD_MAX = 8  # portions that an engine may be ahead of its desk

Show = Callable[[float, int, int], None]
"""show(share done 0 … 1, readings so far, alarms so far)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """What was read: how many readings from when to when, of unknown sensors, and a fingerprint of all of them.

    skipped: readings that were left out because nothing that was run looks at them.
    """

    readings: int
    since_ms: int
    until_ms: int
    unknown: dict[str, int]
    digest: str
    skipped: int = 0


@dataclass(slots=True)
class _Tally:
    """Counts and a fingerprint of everything read; how it was cut into portions makes no difference."""

    readings: int = 0
    since_ms: int = 2**62
    until_ms: int = -(2**62)
    seen: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    fingerprint: Fingerprint = field(default_factory=Fingerprint)

    def add(self, columns: Columns) -> None:
        self.readings += len(columns)
        self.since_ms = min(self.since_ms, int(columns.time_ms[0]))
        self.until_ms = max(self.until_ms, int(columns.time_ms[-1]))
        counts = np.bincount(columns.code, minlength=max(len(columns.names), len(self.seen)))
        counts[: len(self.seen)] += self.seen
        self.seen = counts
        self.fingerprint.add(columns.code, columns.time_ms, columns.value)

    def place(self, at_last: int, *, is_sorted: bool) -> Place:
        return Place(
            is_sorted=is_sorted,
            readings=self.readings,
            since_ms=self.since_ms,
            until_ms=self.until_ms,
            seen=self.seen.tolist(),
            fingerprint=self.fingerprint.state,
            at_last=at_last,
        )

    @classmethod
    def at(cls, place: Place) -> _Tally:
        return cls(
            readings=place.readings,
            since_ms=place.since_ms,
            until_ms=place.until_ms,
            seen=np.array(place.seen, np.int64),
            fingerprint=Fingerprint(place.fingerprint),
        )

    def span(self, names: Sequence[str], known: Callable[[str], bool]) -> Span:
        unknown = {names[k]: int(self.seen[k]) for k in np.flatnonzero(self.seen).tolist() if not known(names[k])}
        return Span(
            readings=self.readings,
            since_ms=self.since_ms,
            until_ms=self.until_ms,
            unknown=unknown,
            digest=str(self.fingerprint),
        )


def backtest(
    configs: Sequence[CityConfig],
    history: History,
    *,
    until_ms: int | None = None,
    show: Show = lambda *_: None,
    scores: ScoreFile | None = None,
    selection: Selection | None = None,
    checkpoint: Checkpoint | None = None,
) -> tuple[Span, tuple[Outcome, ...], History]:
    """Run all configurations over the same readings in one pass; return what was read, the outcomes, and the history.

    until_ms: how far time goes on after the last reading (watchdogs bark on the way); by default not at all. Files
    that turn out not to be in order of time are read again, sorted in memory: that is the history returned. scores:
    hears what the first configuration's detectors say. selection: run only this, alarms only; configs are its own two.
    checkpoint: where to keep what is needed to go on after a stop, and to go on from. Raises CityError when there are
    no readings, or none of a configured sensor.
    """
    run = _Run(configs, until_ms, show, scores, selection, checkpoint)
    try:
        span, outcomes = run.through(history)
    except OutOfOrderError:
        assert isinstance(history, FileHistory)  # noqa: S101 - only they can be
        history = history.in_memory()
        span, outcomes = run.through(history)
    return span, outcomes, history


@dataclass(frozen=True, slots=True)
class _Run:
    """What to run; `through` may be called again with the same readings in another order."""

    configs: Sequence[CityConfig]
    until_ms: int | None
    show: Show
    scores: ScoreFile | None
    selection: Selection | None
    checkpoint: Checkpoint | None

    def through(self, history: History) -> tuple[Span, tuple[Outcome, ...]]:
        """Read, judge and count."""
        selection = self.selection
        trials = [
            Trial(
                config,
                sensors=None if selection is None else selection.sensors,
                alarms_only=selection is not None,
                keeps=self.checkpoint is not None,
            )
            for config in self.configs
        ]
        if self.scores is not None:
            self.scores.attach(trials[0].engine)
        whole = history
        if selection is not None:
            history = whole.only(selection.sensors)
            for trial in trials:
                if extent := whole.extent({s.id for s in trial.config.sensors}):
                    trial.begin(extent.first_ms)
        tally, stream = self._from_checkpoint(trials, history)
        names: Sequence[str] = ()
        last_ms, at_last = -(2**62), 0
        with _Judges(trials) as judges:
            for columns in ahead(stream):
                names = columns.names
                tally.add(columns)
                judges.take(columns)
                self.show(columns.share_done, tally.readings, trials[0].alarms)
                if self.checkpoint is not None:
                    first_ms, before_ms, last_ms = int(columns.time_ms[0]), last_ms, int(columns.time_ms[-1])
                    same = at_last if first_ms == before_ms == last_ms else 0
                    at_last = same + int((columns.time_ms == last_ms).sum())

                    def here(seen: int = at_last) -> Place:
                        judges.settle()  # what is kept holds for every part of a trial
                        return tally.place(seen, is_sorted=history.is_sorted)

                    self.checkpoint.offer(here, trials)
        return self._ended(trials, tally, names, whole)

    def _from_checkpoint(self, trials: Sequence[Trial], history: History) -> tuple[_Tally, Iterator[Columns]]:
        place = None if self.checkpoint is None else self.checkpoint.resume(trials, is_sorted=history.is_sorted)
        if place is None:
            return _Tally(), _without_first(history, 0)
        rest = history.between(place.until_ms, history.until_ms)
        return _Tally.at(place), _without_first(rest, place.at_last)

    def _ended(
        self, trials: Sequence[Trial], tally: _Tally, names: Sequence[str], whole: History
    ) -> tuple[Span, tuple[Outcome, ...]]:
        extent = whole.extent() if self.selection is not None else None
        if not tally.readings and not (extent and extent.readings):
            raise CityError("没有读数 no readings between these instants")
        if tally.readings:
            span = tally.span(names, lambda name: any(name in trial.table.index for trial in trials))
            if len(span.unknown) == int((tally.seen > 0).sum()):
                some = ", ".join(list(span.unknown)[:3])
                raise CityError(
                    f"none of the readings is of a configured sensor ({some} …): is this the right configuration?"
                )
        if extent is not None:  # the alarms stand against all that happened, not only what was looked at
            counted = Span(readings=0, since_ms=0, until_ms=0, unknown={}, digest=str(tally.fingerprint))
            span = replace(
                span if tally.readings else counted,
                since_ms=extent.first_ms,
                until_ms=extent.last_ms,
                skipped=extent.readings - tally.readings,
            )
        end_ms = span.until_ms if self.until_ms is None else max(self.until_ms, span.until_ms)
        outcomes = tuple(self._told(trial.finish(end_ms)) for trial in trials)
        if self.checkpoint is not None:
            self.checkpoint.drop()
        return replace(span, until_ms=end_ms), outcomes

    def _told(self, outcome: Outcome) -> Outcome:
        """Leave out the alarms of rules that only ran because others depend on them."""
        if self.selection is None:
            return outcome
        told = self.selection.told
        return replace(outcome, occurrences=tuple(o for o in outcome.occurrences if (o.rule, o.scope) in told))


class _Judges:
    """Runs the trials, each engine on a thread, and all desks on one more: engines let go of the interpreter.

    A desk follows its engine at most UNTOLD_MAX portions behind; it never runs ahead of it nor out of order.
    """

    def __init__(self, trials: Sequence[Trial]) -> None:
        self._trials = trials
        self._grades_alike = all(trials[0].grades_like(other) for other in trials[1:])
        self._engines = ThreadPoolExecutor(len(trials), thread_name_prefix="engine")
        self._desks = ThreadPoolExecutor(1, thread_name_prefix="desk")
        self._untold: deque[Future[None]] = deque()

    def take(self, columns: Columns) -> None:
        """Give a portion to every trial; what two grade alike is graded once. Raises what an earlier telling raised."""
        now_ms = int(columns.time_ms[-1])
        for trial in self._trials:
            if not trial.is_begun and (first_ms := trial.first_ms(columns)) is not None:
                trial.begin(first_ms)
        if self._grades_alike:
            batches: Iterable[ReadingBatch] = repeat(self._trials[0].batch(columns))
        else:
            batches = self._engines.map(Trial.batch, self._trials, repeat(columns))
        batches = list(islice(batches, len(self._trials)))
        found = self._engines.map(Trial.judge, self._trials, batches, repeat(now_ms))
        for trial, transitions, batch in zip(self._trials, found, batches, strict=True):
            self._untold.append(self._desks.submit(trial.tell, transitions, now_ms, batch))
        while len(self._untold) > UNTOLD_MAX * len(self._trials):
            self._untold.popleft().result()

    def settle(self) -> None:
        """Wait until every desk has been told everything."""
        while self._untold:
            self._untold.popleft().result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._engines.shutdown()
        self._desks.shutdown(cancel_futures=kind is not None)
        if kind is None:
            self.settle()


def _without_first(history: History, many: int) -> Iterator[Columns]:
    """Yield the portions of a history but for its first `many` readings, which were taken before."""
    for columns in history:
        left = columns if not many else columns.cut(many)
        many -= len(columns) - len(left)
        if len(left):
            yield left


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
