"""What a rule test is: series of readings, what people do meanwhile, and what must hold when. Notation and nouns only.

A series is promtool's notation, one item per interval: `5` is one reading, `5x3` that value and three more,
`5+2x3` is 5 7 9 11, `5-2x3` is 5 3 1 -1. `_` is no reading, `_x3` three of them, `stale` promtool's word for the same:
here silence is not recovery, however it begins. `NaN` is a reading that says "no value". `5?` is SUSPECT, `5!` FAIL;
`5@-15m` was measured a quarter of an hour before it arrives, `5@+10m` by a clock that runs ahead; `5*2` arrives twice.

    5?@-15m*2x3    in this order: value and step, grade, time, copies, count

A series may also name the moments at which its items arrive, and a clock that is off (`Series.moments`, `Item.off_ms`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from citypulse.model import Priority, Quality

START_MS = 1_767_542_400_000  # midnight in Hangzhou, Monday 5 January 2026
READINGS_MAX = 1_000_000  # per series: it is written by hand, so more is a slip of the pen
COPIES_MAX = 100

ALARM_WORDS = ("none", "unack", "acked", "hidden")
"""What an officer sees: no alarm kept, one to acknowledge, an acknowledged one, one hidden behind its cause."""

SIGHTS = ("good", "blind", "stale")
"""How a rule sees: the last sample was good, it was lost, it was lost while in alarm."""

_UNIT_MS = {"ms": 1, "s": 1000, "min": 60_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_UNITS = "ms|min|s|m|h|d"
_DURATION = re.compile(rf"(\d+(?:\.\d+)?)\s*({_UNITS})")
_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_ITEM = re.compile(
    rf"(?P<value>{_NUMBER}|NaN)(?P<step>[+-](?:\d+(?:\.\d+)?|\.\d+))?(?P<grade>[?!])?"
    rf"(?:@(?P<off>[+-](?:\d+(?:\.\d+)?(?:{_UNITS}))+))?(?:\*(?P<copies>\d+))?(?:x(?P<times>\d+))?"
)
_NOTHING = re.compile(r"(?:_|stale)(?:x(\d+))?")


class RuleTestError(ValueError):
    """A part of a test that cannot be read as written; says what would be right."""


@dataclass(frozen=True, slots=True)
class Item:
    """One place in a series. value NaN with `comes` is a reading without a value; off_ms: its own time, from here."""

    value: float
    quality: Quality = Quality.GOOD
    off_ms: int = 0
    copies: int = 1  # 0: no reading at all

    @property
    def comes(self) -> bool:
        """True where a reading arrives at all."""
        return self.copies > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One sensor's readings: an item every `every_ms` from `start_ms` after the start of the test.

    moments: instead, when each item arrives, ms after the start, ascending.
    """

    sensor: str
    every_ms: int
    start_ms: int
    items: tuple[Item, ...]
    moments: tuple[int, ...] = ()

    def at_ms(self, k: int) -> int:
        """Return when item `k` arrives, ms after the start of the test."""
        return self.moments[k] if self.moments else self.start_ms + k * self.every_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Something that is done at `at_ms`: a command of a person, or what happens to the service itself.

    verb: one of the desk's (`alarm.acknowledge`, `order.accept` …), or `restart`, `reload`, `online`, `offline`,
    `repair`, `confirm` · target: dedup key of the alarm meant, or the gateway · refused: the code it must be refused
    with, "" when it must be done.
    """

    at_ms: int
    verb: str
    target: str = ""
    role: str = ""
    name: str = ""
    unit: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    refused: str = ""
    down_ms: int = 0
    config: str = ""
    label: str = ""  # of a mute: what this test calls it
    place: str = ""  # file:line


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """At `at_ms` after the start, everything in `wants` holds of `rule` on `scope`."""

    at_ms: int
    rule: str
    scope: str  # "" where nothing is asked of an alarm
    wants: Mapping[str, Any]
    place: str = ""  # file:line


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One line of the record that must stand there."""

    at_ms: int
    event: str
    scope: str = ""  # "" any
    actor: str = ""  # "" any
    place: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleTest:
    """One test. evaluate_ms: how often time moves when nothing arrives.

    raises, clears: rule → how often over the whole test · levels: (rule, scope) → levels one after the other, None is
    normal · notices: kind → how many, all kinds; None when the test does not count them · counts: kind of event → how
    many, those named · events: the whole record of the alarms of `rule`; None when the test does not read it.
    """

    name: str
    rule: str
    start_ms: int
    evaluate_ms: int
    series: tuple[Series, ...]
    steps: tuple[Step, ...] = ()
    expect: tuple[Expectation, ...] = ()
    raises: Mapping[str, int] = field(default_factory=dict)
    clears: Mapping[str, int] = field(default_factory=dict)
    levels: Mapping[tuple[str, str], tuple[Priority | None, ...]] = field(default_factory=dict)
    notices: Mapping[str, int] | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    events: tuple[Told, ...] | None = None
    differs: str = ""
    source: str = ""

    @property
    def rules(self) -> tuple[str, ...]:
        """The rules it is about, sorted."""
        named = {e.rule for e in self.expect} | {*self.raises} | {*self.clears} | {rule for rule, _ in self.levels}
        return tuple(sorted(named | ({self.rule} if self.rule else set())))


def read_duration(text: str) -> int:
    """Return `1m40s`, `8m`, `20 s` or `1 h 30 min` in milliseconds. RuleTestError for anything else."""
    compact = text.strip()
    parts = _DURATION.findall(compact)
    if not parts or _DURATION.sub("", compact).strip():
        raise RuleTestError(f"{text!r} is not a duration; write 20 s, 1m40s or 2 h")
    return round(sum(float(value) * _UNIT_MS[unit] for value, unit in parts))


def read_offset(text: str) -> int:
    """Return `+7m` or `-90s` in milliseconds. RuleTestError for anything else."""
    if text[:1] not in {"+", "-"}:
        raise RuleTestError(f"{text!r} has no sign; write +7m or -90s")
    return (-1 if text[0] == "-" else 1) * read_duration(text[1:])


def read_series(text: str) -> tuple[Item, ...]:
    """Return the items of a series, one per interval. RuleTestError names the one that cannot be read."""
    items: list[Item] = []
    for word in text.split():
        if missing := _NOTHING.fullmatch(word):
            items += [Item(float("nan"), Quality.MISSING, copies=0)] * int(missing[1] or 1)
        elif found := _ITEM.fullmatch(word):
            items += _items(word, found)
        else:
            raise RuleTestError(
                f"{word!r} is not a series item; write 5, 5x3, 5+2x3, _, _x3 or NaN,"
                " with ? or ! for quality, @-15m for a late one, *2 for a repeated one"
            )
        if len(items) > READINGS_MAX:
            raise RuleTestError(f"a series of more than {READINGS_MAX} readings")
    return tuple(items)


def _items(word: str, found: re.Match[str]) -> list[Item]:
    times, copies = int(found["times"] or 0), int(found["copies"] or 1)
    if found["step"] and found["times"] is None:
        raise RuleTestError(f"{word!r}: a step needs a count, as in {word}x5")
    if not 1 <= copies <= COPIES_MAX:
        raise RuleTestError(f"{word!r}: a reading arrives once or up to {COPIES_MAX} times")
    if times >= READINGS_MAX:
        raise RuleTestError(f"a series of more than {READINGS_MAX} readings")
    is_nothing = found["value"] == "NaN"
    if is_nothing and (found["step"] or found["grade"]):
        raise RuleTestError(f"{word!r}: NaN is no value, it has neither step nor grade")
    grade = Quality.MISSING if is_nothing else {"?": Quality.SUSPECT, "!": Quality.FAIL}.get(found["grade"] or "")
    off = found["off"] or ""
    off_ms = read_offset(off) if off else 0
    first, step = float(found["value"]), float(found["step"] or 0)
    return [Item(first + k * step, grade or Quality.GOOD, off_ms, copies) for k in range(times + 1)]
