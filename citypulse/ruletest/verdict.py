"""Plays a rule test on its stage and judges it: every expectation that does not hold, and what was instead."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from citypulse.model import CityConfig, Event, Lane, Transition, TransitionKind
from rules.because import duration
from rules.ruletest import RuleTest, Series, Step, Told

from .facts import colour_of, ed_of, judge, notices_of, tally, where_of
from .stage import Arrival, Stage

MOMENTS_MAX: Final = 500_000  # of one test: a year of minutes

_LEVEL_KINDS: Final = (TransitionKind.RAISE, TransitionKind.LEVEL, TransitionKind.CLEAR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a test: no failures is a pass. `transitions` and `events` tell the story of what happened."""

    test: RuleTest
    failures: tuple[str, ...]
    transitions: tuple[Transition, ...]
    events: tuple[Event, ...] = ()


def play(test: RuleTest, config: CityConfig, configs: Mapping[str, CityConfig] | None = None) -> Outcome:
    """Run one test from an empty city; `configs` are those its reloads name. Time is the test's own."""
    keeps = any(step.verb in {"restart", "reload"} for step in test.steps)
    with Stage(config, keeps=keeps, start_ms=test.start_ms) as stage:
        player = _Player(test, stage, configs or {})
        player.run()
        failures = [*player.failures, *_of_the_whole(test, stage)]
        return Outcome(
            test=test,
            failures=tuple(failures),
            transitions=tuple(stage.record.transitions),
            events=tuple(stage.record.events),
        )


class _Player:
    """Walks through the moments of a test: readings first, then what people do, then what must hold."""

    def __init__(self, test: RuleTest, stage: Stage, configs: Mapping[str, CityConfig]) -> None:
        self._test, self._stage, self._configs = test, stage, configs
        self._down_until_ms = -1
        self.failures: list[str] = []

    def run(self) -> None:
        test = self._test
        arrivals = sorted(itertools.chain.from_iterable(_arrivals(s, test.start_ms) for s in test.series),
                          key=lambda a: a.at_ms)  # fmt: skip
        steps, expect = list(test.steps), list(test.expect)
        at = 0
        for moment in _moments(test, arrivals):
            upto = at
            while upto < len(arrivals) and arrivals[upto].at_ms <= test.start_ms + moment:
                upto += 1
            if moment >= self._down_until_ms:  # while we are away the broker keeps what arrives
                now_ms = test.start_ms + moment
                waited = [a if a.at_ms == now_ms else _received(a, now_ms) for a in arrivals[at:upto]]
                self._stage.tick(now_ms, waited)
                at = upto
            while steps and steps[0].at_ms == moment:
                self._do(steps.pop(0), moment)
            while expect and expect[0].at_ms == moment:
                self.failures += judge(self._stage, expect.pop(0))

    def _do(self, step: Step, moment: int) -> None:
        now_ms, stage = self._test.start_ms + moment, self._stage
        if step.verb == "restart":
            self._down_until_ms = moment + step.down_ms
            stage.restart(step.down_ms)
        elif step.verb == "reload":
            stage.reload(self._configs[step.config], now_ms)
        elif step.verb in {"offline", "online"}:
            stage.say(step.target, now_ms, is_offline=step.verb == "offline")
        else:
            answer = stage.act(step, now_ms)
            said = "" if answer.ok else answer.code or "refused"
            if said != step.refused:
                verb = step.verb.rpartition(".")[2]
                what = f"was done, expected {step.refused}" if answer.ok else f"was refused ({said}): {answer.message}"
                self.failures.append(f"{where_of(step.place, step.at_ms)} {verb} {what}")


def _received(arrival: Arrival, now_ms: int) -> Arrival:
    return Arrival(now_ms, arrival.sensor, arrival.time_ms, arrival.value, arrival.quality)


def _arrivals(series: Series, start_ms: int) -> Iterator[Arrival]:
    for k, item in enumerate(series.items):
        at_ms = start_ms + series.at_ms(k)
        for _ in range(item.copies):
            yield Arrival(at_ms, series.sensor, at_ms + item.off_ms, item.value, item.quality)


def _moments(test: RuleTest, arrivals: list[Arrival]) -> list[int]:
    """Return when something happens: readings, steps, expectations, ends of downtimes, and time itself."""
    moments = {0, *(a.at_ms - test.start_ms for a in arrivals), *(e.at_ms for e in test.expect)}
    moments |= {s.at_ms for s in test.steps} | {s.at_ms + s.down_ms for s in test.steps}
    moments |= {event.at_ms for event in test.events or ()}
    for series in test.series:  # places without a reading count too: the test lasts until its series end
        moments.add(series.at_ms(max(0, len(series.items) - 1)))
    last = max(moments)
    if last // test.evaluate_ms > MOMENTS_MAX:
        return sorted(moments)
    return sorted(moments | set(range(0, last + 1, test.evaluate_ms)))


# ── what holds of the whole test ────────────────────────────────────────────────────────────────


def _of_the_whole(test: RuleTest, stage: Stage) -> Iterator[str]:
    live = [t for t in stage.record.transitions if t.lane is Lane.LIVE]
    for counts, kind in ((test.raises, TransitionKind.RAISE), (test.clears, TransitionKind.CLEAR)):
        for rule, wanted in counts.items():
            n = sum(t.rule == rule and t.kind is kind for t in live)
            if n != wanted:
                yield f"rule {rule} {kind.value}{ed_of(kind)} {n} times, expected {wanted}"
    for (rule, scope), wanted_levels in test.levels.items():
        mine = [t.level for t in live if (t.rule, t.scope) == (rule, scope) and t.kind in _LEVEL_KINDS]
        if tuple(mine) != wanted_levels:
            was, should = " ".join(map(colour_of, mine)) or "none", " ".join(map(colour_of, wanted_levels))
            yield f"{rule} on {scope} went {was}, expected {should}"
    if test.notices is not None:
        counted = notices_of(stage, lambda alarm: not test.rule or alarm.rule == test.rule)
        if counted != Counter(test.notices):
            yield f"notices {tally(counted)}, expected {tally(Counter(test.notices))}"
    if test.counts:
        subjects = stage.record.subjects
        lines = Counter(
            e.kind for e in stage.record.events
            if e.subject in subjects and (not test.rule or subjects[e.subject].rule == test.rule)
        )  # fmt: skip
        for line, n in test.counts.items():
            if lines[line] != n:
                yield f"the record has {lines[line]} {line}, expected {n}"
    if test.events is not None:
        yield from _events(test, stage)


def _events(test: RuleTest, stage: Stage) -> Iterator[str]:
    subjects = stage.record.subjects
    happened = [e for e in stage.record.events if e.subject in subjects and subjects[e.subject].rule == test.rule]
    for k, (wanted, was) in enumerate(itertools.zip_longest(test.events or (), happened), 1):
        scope = "" if was is None else subjects[was.subject].scope
        if wanted is None and was is not None:
            yield f"event {k}: {_line(was, scope, test)}, expected no more"
        elif was is None and wanted is not None:
            yield f"{where_of(wanted.place, wanted.at_ms)} {wanted.event}: nothing more happened"
        elif wanted is not None and was is not None and not _is(wanted, was, scope, test):
            yield f"{where_of(wanted.place, wanted.at_ms)} {wanted.event}: event {k} is {_line(was, scope, test)}"


def _is(wanted: Told, event: Event, scope: str, test: RuleTest) -> bool:
    return (
        event.event_ms - test.start_ms == wanted.at_ms
        and event.kind == wanted.event
        and wanted.scope in {"", scope}
        and wanted.actor in {"", event.actor, event.actor_role}
    )


def _line(event: Event, scope: str, test: RuleTest) -> str:
    return f"{event.kind} of {scope} at {duration((event.event_ms - test.start_ms) / 1000)} by {event.actor}"
