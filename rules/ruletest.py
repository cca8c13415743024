"""Unit tests for rules, written in YAML beside them, run on the live engine: what passes here is what runs.

    tests:
      - name: silence does not clear a flood
        interval: 20 s
        series: {mill-underpass.depth: "2x3 30x4 _x30 30 1x40"}
        expect:
          - {at: 1m40s, rule: flood-depth-underpass, mill-underpass.depth: red}
          - {at: 8m, rule: flood-depth-underpass, mill-underpass.depth: red, sight: stale}
          - {at: 25m, rule: flood-depth-underpass, mill-underpass.depth: normal}

A level may name what an officer sees of the alarm as well: `red/unack`, `normal/unack` (over, nobody has looked),
`red/hidden` (a cause explains it), `normal/none`; that needs the desk, which `citypulse test` brings.

A series is promtool's notation, one item per interval: `5` is one reading, `5x3` that value and three more,
`5+2x3` is 5 7 9 11, `5-2x3` is 5 3 1 -1, `_` is no reading, `_x3` three of them. `5?` is SUSPECT and `5!` FAIL.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from citypulse.model import (
    Gateway,
    Lane,
    Priority,
    Quality,
    Quantity,
    ReadingBatch,
    Rule,
    SensorTable,
    Site,
    Transition,
    TransitionKind,
)

from .because import duration
from .engine import Engine

START_MS = 1_767_542_400_000  # midnight in Hangzhou, Monday 5 January 2026
READINGS_MAX = 1_000_000  # per test: a series is written by hand, so more is a slip of the pen

ALARM_WORDS = ("none", "unack", "acked", "hidden")
"""What an officer sees: no alarm kept, one to acknowledge, an acknowledged one, one hidden behind its cause."""

_COLOURS = {p.colour: p for p in Priority}
_SIGHTS = ("good", "blind", "stale")
_UNIT_MS = {"ms": 1, "s": 1000, "min": 60_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|min|s|m|h|d)")
_NUMBER = r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"
_ITEM = re.compile(rf"(?P<value>{_NUMBER})(?P<step>[+-]\d+(?:\.\d+)?)?(?P<grade>[?!])?(?:x(?P<times>\d+))?")


class Onlooker(Protocol):
    """Follows a test: the desk, seen from here."""

    def step(self, transitions: Sequence[Transition], batch: ReadingBatch, now_ms: int) -> None:
        """Take one step's changes."""
        ...

    def alarm(self, rule: str, scope: str) -> str:
        """Return the word of ALARM_WORDS for a rule's alarm now."""
        ...


class RuleTestError(ValueError):
    """A test that cannot be run as written; says which part and what would be right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """At `at_ms` after the start, `rule` on `scope` is at `level` (None: normal), and sees as `sight` says."""

    at_ms: int
    rule: str
    scope: str
    level: Priority | None
    sight: str | None = None
    alarm: str | None = None  # a key of ALARM_WORDS
    place: str = ""  # file:line


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleTest:
    """One test: readings by sensor (NaN with quality MISSING is no reading), and what must hold when."""

    name: str
    interval_ms: int
    series: Mapping[str, tuple[tuple[float, Quality], ...]]
    expect: tuple[Expectation, ...]
    raises: Mapping[str, int]  # rule → how often it raises over the whole test


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a test: no failures is a pass. `transitions` tell the story of what happened instead."""

    test: RuleTest
    failures: tuple[str, ...]
    transitions: tuple[Transition, ...]


def read_duration(text: str) -> int:
    """Return `1m40s`, `8m`, `20 s` or `1 h 30 min` in milliseconds."""
    compact = text.strip()
    parts = _DURATION.findall(compact)
    if not parts or _DURATION.sub("", compact).strip():
        raise RuleTestError(f"{text!r} is not a duration; write 20 s, 1m40s or 2 h")
    return round(sum(float(value) * _UNIT_MS[unit] for value, unit in parts))


def read_series(text: str) -> tuple[tuple[float, Quality], ...]:
    """Return the readings of a series, one per interval."""
    readings: list[tuple[float, Quality]] = []
    for item in text.split():
        if missing := re.fullmatch(r"_(?:x(\d+))?", item):
            readings += [(float("nan"), Quality.MISSING)] * int(missing[1] or 1)
        elif found := _ITEM.fullmatch(item):
            times = int(found["times"] or 0)
            if found["step"] and found["times"] is None:
                raise RuleTestError(f"{item!r}: a step needs a count, as in {item}x5")
            grade = {"?": Quality.SUSPECT, "!": Quality.FAIL}.get(found["grade"] or "", Quality.GOOD)
            step = float(found["step"] or 0)
            readings += [(float(found["value"]) + k * step, grade) for k in range(times + 1)]
        else:
            raise RuleTestError(
                f"{item!r} is not a series item; write 5, 5x3, 5+2x3, _ or _x3, with ? or ! for quality"
            )
        if len(readings) > READINGS_MAX:
            raise RuleTestError(f"a series of more than {READINGS_MAX} readings")
    return tuple(readings)


def _known(word: str, words: Sequence[str], what: str) -> str:
    if word in words:
        return word
    near = difflib.get_close_matches(word, words, n=1)
    raise RuleTestError(f"{what} {word!r} is not known" + (f"; did you mean {near[0]!r}?" if near else ""))


def read_test(
    node: Mapping[str, Any], rules: Sequence[Rule], table: SensorTable, places: Sequence[str] = ()
) -> RuleTest:
    """Turn one parsed YAML test into a RuleTest; RuleTestError says what is wrong with it.

    places: file:line of each of its expectations, for the failures.
    """
    for key in node:
        _known(key, ["name", "rule", "interval", "series", "expect", "raises"], "key")
    ids = sorted({rule.id for rule in rules})
    usual = str(node.get("rule", ""))
    name = str(node.get("name", usual or "unnamed"))
    if not node.get("series"):
        raise RuleTestError(f"test {name!r} has no series: nothing would happen")
    series = {_known(str(s), table.ids, "sensor"): read_series(str(text)) for s, text in node["series"].items()}
    expect: list[Expectation] = []
    for k, line in enumerate(node.get("expect", ())):
        rest = {str(key): value for key, value in line.items()}
        if "at" not in rest:
            raise RuleTestError(f"test {name!r}: an expectation needs `at`")
        at_ms = read_duration(str(rest.pop("at")))
        rule = _known(str(rest.pop("rule", usual)), ids, "rule")
        sight = rest.pop("sight", None)
        if sight is not None:
            _known(str(sight), _SIGHTS, "sight")
        scopes = sorted({scope for r in rules if r.id == rule for scope in r.scopes})
        for scope, level in rest.items():
            colour, _, alarm = str(level).partition("/")
            word = _known(colour, [*_COLOURS, "normal"], "level")
            expect.append(
                Expectation(
                    at_ms=at_ms,
                    rule=rule,
                    scope=_known(scope, scopes, f"scope of rule {rule!r}"),
                    level=_COLOURS.get(word),
                    sight=sight,
                    alarm=_known(alarm, ALARM_WORDS, "alarm state") if alarm else None,
                    place=places[k] if k < len(places) else "",
                )
            )
    raises = {_known(str(r), ids, "rule"): int(n) for r, n in (node.get("raises") or {}).items()}
    if not expect and not raises:
        raise RuleTestError(f"test {name!r} expects nothing: it would always pass")
    return RuleTest(
        name=name,
        interval_ms=read_duration(str(node.get("interval", "1 min"))),
        series=series,
        expect=tuple(sorted(expect, key=lambda e: e.at_ms)),
        raises=raises,
    )


def run_test(
    test: RuleTest,
    rules: Sequence[Rule],
    table: SensorTable,
    sites: Mapping[str, Site],
    gateways: Mapping[str, Gateway],
    quantities: Mapping[str, Quantity] | None = None,
    onlooker: Onlooker | None = None,
) -> Outcome:
    """Run one test on a fresh engine of all the city's rules; time is the test's own."""
    engine = Engine(rules, table, sites, gateways, quantities=quantities)
    engine.begin(START_MS)
    failures: list[str] = []
    transitions: list[Transition] = []
    ticks = max((len(readings) for readings in test.series.values()), default=0)
    moments = sorted({k * test.interval_ms for k in range(ticks)} | {e.at_ms for e in test.expect})
    waiting = list(test.expect)
    for moment in moments:
        tick, between = divmod(moment, test.interval_ms)
        readings = [
            (table.index[sensor], *values[tick])
            for sensor, values in test.series.items()
            if between == 0 and tick < len(values) and values[tick][1] is not Quality.MISSING
        ]
        batch = _batch(readings, START_MS + moment)
        changed = engine.step(batch, START_MS + moment)
        transitions += changed
        if onlooker is not None:
            onlooker.step(changed, batch, START_MS + moment)
        while waiting and waiting[0].at_ms == moment:
            failures += _check(engine, waiting.pop(0), onlooker)
    for rule, count in test.raises.items():
        raised = sum(t.rule == rule and t.kind is TransitionKind.RAISE for t in transitions)
        if raised != count:
            failures.append(f"rule {rule} raised {raised} times, expected {count}")
    return Outcome(test=test, failures=tuple(failures), transitions=tuple(transitions))


def _batch(readings: Sequence[tuple[int, float, Quality]], at_ms: int) -> ReadingBatch:
    n = len(readings)
    return ReadingBatch(
        sensor=np.array([r[0] for r in readings], np.int32),
        time_ms=np.full(n, at_ms, np.int64),
        value=np.array([r[1] for r in readings], np.float64),
        quality=np.array([r[2] for r in readings], np.uint8),
        lane=np.full(n, Lane.LIVE, np.uint8),
        received_ms=np.full(n, at_ms, np.int64),
    )


def _check(engine: Engine, expected: Expectation, onlooker: Onlooker | None) -> list[str]:
    why = engine.why(expected.rule, expected.scope)
    where = f"{expected.place}: " if expected.place else ""
    where += f"at {duration(expected.at_ms / 1000)} {expected.rule} on {expected.scope}"
    colour = why.level.colour if why.level is not None else "normal"
    wanted = expected.level.colour if expected.level is not None else "normal"
    found = []
    if why.level != expected.level:
        latches = ", ".join(
            f"{v.limit.level.colour} {v.limit.side.sign} {v.limit.value:g} is {v.state}" for v in why.latches
        )
        found.append(f"{where} is {colour}, expected {wanted}: {why.subject.en} {why.feature.en}; {latches}")
    if expected.sight is not None and why.sight != expected.sight:
        found.append(f"{where} sees {why.sight}, expected {expected.sight}")
    if expected.alarm is not None:
        if onlooker is None:
            raise RuleTestError(f"{where}: `/{expected.alarm}` needs the desk: run it with `citypulse test`")
        word = onlooker.alarm(expected.rule, expected.scope)
        if word != expected.alarm:
            found.append(f"{where}: its alarm is {word}, expected {expected.alarm}")
    return found
