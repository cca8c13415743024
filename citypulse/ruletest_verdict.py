"""Plays a rule test on its stage and judges it: every expectation that does not hold, and what was instead."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from alerts.lifecycle import LETTERS, is_retained, letter
from citypulse.model import Alarm, AlarmQuality, CityConfig, Condition, Event, Lane, Transition, TransitionKind
from rules.because import duration
from rules.ruletest import Expectation, RuleTest, Series, Step, Told

from .ruletest_stage import Arrival, Stage

MOMENTS_MAX: Final = 500_000  # of one test: a year of minutes

_WORDS: Final = {"A": "acked", "B": "unack", "C": "acked", "D": "unack", "E": "hidden", "F": "hidden", "G": "hidden"}
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
                self.failures.append(f"{_where(step.place, step.at_ms)} {verb} {what}")


def _received(arrival: Arrival, now_ms: int) -> Arrival:
    return Arrival(now_ms, arrival.sensor, arrival.time_ms, arrival.value, arrival.quality)


def _arrivals(series: Series, start_ms: int) -> Iterator[Arrival]:
    for k, item in enumerate(series.items):
        at_ms = start_ms + series.start_ms + k * series.every_ms
        for _ in range(item.copies):
            yield Arrival(at_ms, series.sensor, at_ms + item.off_ms, item.value, item.quality)


def _moments(test: RuleTest, arrivals: list[Arrival]) -> list[int]:
    """Return when something happens: readings, steps, expectations, ends of downtimes, and time itself."""
    moments = {0, *(a.at_ms - test.start_ms for a in arrivals), *(e.at_ms for e in test.expect)}
    moments |= {s.at_ms for s in test.steps} | {s.at_ms + s.down_ms for s in test.steps}
    moments |= {event.at_ms for event in test.events or ()}
    for series in test.series:  # places without a reading count too: the test lasts until its series end
        moments.add(series.start_ms + max(0, len(series.items) - 1) * series.every_ms)
    last = max(moments)
    if last // test.evaluate_ms > MOMENTS_MAX:
        return sorted(moments)
    return sorted(moments | set(range(0, last + 1, test.evaluate_ms)))


# ── what holds at a moment ──────────────────────────────────────────────────────────────────────


def _of(alarm: Alarm | None, rest: Any, value: Callable[[Alarm], Any]) -> Any:
    return rest if alarm is None else value(alarm)


_FACTS: Final[dict[str, Callable[[Alarm | None], Any]]] = {
    "isa": lambda a: _of(a, "A", letter),
    "quality": lambda a: _of(a, "good", lambda x: "stale" if x.quality is AlarmQuality.STALE else "good"),
    "active": lambda a: _of(a, False, lambda x: x.condition is Condition.ACTIVE),
    "latched": lambda a: _of(a, False, lambda x: x.condition is Condition.LATCHED),
    "acked": lambda a: _of(a, True, lambda x: x.is_acked),
    "confirmed": lambda a: _of(a, True, lambda x: x.is_confirmed),
    "shelved": lambda a: _of(a, False, lambda x: x.shelved_until_ms is not None),
    "suppressed": lambda a: _of(a, False, lambda x: bool(x.suppressed_by)),
    "out_of_service": lambda a: _of(a, False, lambda x: x.is_out_of_service),
    "retained": lambda a: _of(a, False, is_retained),
    "occurrence": lambda a: _of(a, 0, lambda x: x.occurrence),
}
"""What can be said of an alarm, by the key that expects it; None is an alarm that has never been."""


def judge(stage: Stage, expected: Expectation) -> list[str]:
    """Return every part of an expectation that does not hold now."""
    key = f"{expected.rule}|{expected.scope}"
    where = f"{_where(expected.place, expected.at_ms)} {expected.rule} on {expected.scope}"
    alarm, found = stage.record.alarms.get(key), []
    for name, wanted in expected.wants.items():
        if name in _FACTS:
            was = _FACTS[name](alarm)
            if was != wanted:
                found.append(f"{where}: {_fact(name, was)}, expected {_plain(wanted)}")
        elif said := _SPECIAL[name](stage, expected, where, wanted):
            found.append(said)
    return found


def _level(stage: Stage, expected: Expectation, where: str, wanted: Any) -> str:
    try:
        why = stage.engine.why(expected.rule, expected.scope)
    except KeyError:  # a reload has taken the rule away
        return f"{where}: there is no such rule any more" if wanted is not None else ""
    if why.level == wanted:
        return ""
    latches = ", ".join(
        f"{v.limit.level.colour} {v.limit.side.sign} {v.limit.value:g} is {v.state}" for v in why.latches
    )
    return f"{where} is {_colour(why.level)}, expected {_colour(wanted)}: {why.subject.en} {why.feature.en}; {latches}"


def _sight(stage: Stage, expected: Expectation, where: str, wanted: Any) -> str:
    sight = stage.engine.why(expected.rule, expected.scope).sight
    return "" if sight == wanted else f"{where} sees {sight}, expected {wanted}"


def _alarm(stage: Stage, expected: Expectation, where: str, wanted: Any) -> str:
    alarm = stage.live(f"{expected.rule}|{expected.scope}")
    word = "none" if alarm is None else _WORDS[letter(alarm)]
    return "" if word == wanted else f"{where}: its alarm is {word}, expected {wanted}"


def _order(stage: Stage, expected: Expectation, where: str, wanted: Any) -> str:
    order = stage.order_of(f"{expected.rule}|{expected.scope}")
    state = "none" if order is None else order.state.value
    return "" if state == wanted else f"{where}: its work order is {state}, expected {wanted}"


def _times(kind: TransitionKind) -> Callable[[Stage, Expectation, str, Any], str]:
    def check(stage: Stage, expected: Expectation, where: str, wanted: Any) -> str:
        n = sum(
            (t.rule, t.scope, t.kind, t.lane) == (expected.rule, expected.scope, kind, Lane.LIVE)
            for t in stage.record.transitions
        )
        return "" if n == wanted else f"{where} has {kind.value}{_ed(kind)} {n} times so far, expected {wanted}"

    return check


def _ed(kind: TransitionKind) -> str:
    return "d" if kind is TransitionKind.RAISE else "ed"


def _historical(stage: Stage, expected: Expectation, where: str, wanted: Any) -> str:
    has = f"{expected.rule}|{expected.scope}" in stage.record.historical
    return "" if has == wanted else f"{where}: {'a' if has else 'no'} dated occurrence, expected {_plain(wanted)}"


def _notices_so_far(stage: Stage, expected: Expectation, where: str, wanted: Any) -> str:
    key = f"{expected.rule}|{expected.scope}"
    counted = _notices(stage, lambda alarm: alarm.dedup_key == key)
    return (
        "" if counted == Counter(wanted) else f"{where}: notices {_tally(counted)}, expected {_tally(Counter(wanted))}"
    )


_SPECIAL: Final[dict[str, Callable[[Stage, Expectation, str, Any], str]]] = {
    "level": _level,
    "sight": _sight,
    "alarm": _alarm,
    "order": _order,
    "raises": _times(TransitionKind.RAISE),
    "clears": _times(TransitionKind.CLEAR),
    "historical": _historical,
    "notices": _notices_so_far,
}


# ── what holds of the whole test ────────────────────────────────────────────────────────────────


def _of_the_whole(test: RuleTest, stage: Stage) -> Iterator[str]:
    live = [t for t in stage.record.transitions if t.lane is Lane.LIVE]
    for counts, kind in ((test.raises, TransitionKind.RAISE), (test.clears, TransitionKind.CLEAR)):
        for rule, wanted in counts.items():
            n = sum(t.rule == rule and t.kind is kind for t in live)
            if n != wanted:
                yield f"rule {rule} {kind.value}{_ed(kind)} {n} times, expected {wanted}"
    for (rule, scope), wanted_levels in test.levels.items():
        mine = [t.level for t in live if (t.rule, t.scope) == (rule, scope) and t.kind in _LEVEL_KINDS]
        if tuple(mine) != wanted_levels:
            was, should = " ".join(map(_colour, mine)) or "none", " ".join(map(_colour, wanted_levels))
            yield f"{rule} on {scope} went {was}, expected {should}"
    if test.notices is not None:
        counted = _notices(stage, lambda alarm: not test.rule or alarm.rule == test.rule)
        if counted != Counter(test.notices):
            yield f"notices {_tally(counted)}, expected {_tally(Counter(test.notices))}"
    if test.events is not None:
        yield from _events(test, stage)


def _notices(stage: Stage, is_meant: Callable[[Alarm], bool]) -> Counter[str]:
    """Count the notices about alarms, and about the orders they opened, by kind."""
    meant = {number for number, alarm in stage.record.subjects.items() if is_meant(alarm)}
    meant |= {order.id for order in stage.record.orders.values() if meant & set(order.alarm_ids)}
    return Counter(notice.kind.value for notice in stage.record.notices if notice.subject in meant)


def _tally(counts: Counter[str]) -> str:
    return ", ".join(f"{n} {kind}" for kind, n in sorted(counts.items()) if n) or "none"


def _events(test: RuleTest, stage: Stage) -> Iterator[str]:
    subjects = stage.record.subjects
    happened = [e for e in stage.record.events if e.subject in subjects and subjects[e.subject].rule == test.rule]
    for k, (wanted, was) in enumerate(itertools.zip_longest(test.events or (), happened), 1):
        scope = "" if was is None else subjects[was.subject].scope
        if wanted is None and was is not None:
            yield f"event {k}: {_line(was, scope, test)}, expected no more"
        elif was is None and wanted is not None:
            yield f"{_where(wanted.place, wanted.at_ms)} {wanted.event}: nothing more happened"
        elif wanted is not None and was is not None and not _is(wanted, was, scope, test):
            yield f"{_where(wanted.place, wanted.at_ms)} {wanted.event}: event {k} is {_line(was, scope, test)}"


def _is(wanted: Told, event: Event, scope: str, test: RuleTest) -> bool:
    return (
        event.event_ms - test.start_ms == wanted.at_ms
        and event.kind == wanted.event
        and wanted.scope in {"", scope}
        and wanted.actor in {"", event.actor, event.actor_role}
    )


def _line(event: Event, scope: str, test: RuleTest) -> str:
    return f"{event.kind} of {scope} at {duration((event.event_ms - test.start_ms) / 1000)} by {event.actor}"


# ── words ───────────────────────────────────────────────────────────────────────────────────────


def _where(place: str, at_ms: int) -> str:
    return (f"{place}: " if place else "") + f"at {duration(at_ms / 1000)}"


def _colour(level: Any) -> str:
    return level.colour if level is not None else "normal"


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _fact(name: str, was: Any) -> str:
    if name == "isa":
        return f"its ISA-18.2 state is {was} ({LETTERS[was].en})"
    return f"{name} is {_plain(was)}"
