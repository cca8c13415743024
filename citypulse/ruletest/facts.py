"""What a rule test may expect of a moment: how each key is looked up, and what is said when it does not hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from alerts.lifecycle import LETTERS, alarm_verbs, is_retained, letter, mute_state
from citypulse.model import Alarm, AlarmQuality, Condition, Lane, TransitionKind
from rules.because import duration
from rules.ruletest import Expectation

from .stage import Stage

_WORDS: Final = {"A": "acked", "B": "unack", "C": "acked", "D": "unack", "E": "hidden", "F": "hidden", "G": "hidden"}
_STATES: Final = {"A": "normal", "B": "unacked", "C": "acked", "D": "returned_unacked", "E": "shelved",
                  "F": "suppressed", "G": "out_of_service"}  # fmt: skip
_SHORT: Final = {"acknowledge": "ack", "unacknowledge": "unack"}


def said_state(alarm: Alarm) -> str:
    """Return the ISA-18.2 state in words: a latched alarm is one that is over, and held."""
    word = _STATES[letter(alarm)]
    return f"latched_{word}" if alarm.condition is Condition.LATCHED and word in {"unacked", "acked"} else word


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
    "state": lambda a: _of(a, "normal", said_state),
    "chattering": lambda a: _of(a, False, lambda x: x.is_chattering),
    "turns": lambda a: _of(a, 0, lambda x: x.chatter_turns),
    "peak": lambda a: _of(a, "none", lambda x: x.peak_level.colour),
    "peak_value": lambda a: _of(a, None, lambda x: x.peak_value),
    "acked_by": lambda a: _of(a, "none", lambda x: x.acked_by or "none"),
    "allowed": lambda a: _of(a, ("none",), lambda x: tuple(_SHORT.get(v, v) for v in alarm_verbs(x)) or ("none",)),
    "retained": lambda a: _of(a, False, is_retained),
    "occurrence": lambda a: _of(a, 0, lambda x: x.occurrence),
}
"""What can be said of an alarm, by the key that expects it; None is an alarm that has never been."""


def judge(stage: Stage, expected: Expectation) -> list[str]:
    """Return every part of an expectation that does not hold now."""
    key = f"{expected.rule}|{expected.scope}"
    where = where_of(expected.place, expected.at_ms)
    if expected.scope:
        where = f"{where} {expected.rule} on {expected.scope}"
    alarm, found = stage.record.alarms.get(key), []
    for name, wanted in expected.wants.items():
        if name in _FACTS:
            was = _FACTS[name](alarm)
            if was != wanted and not (name == "allowed" and sorted(was) == sorted(wanted)):
                found.append(f"{where}: {_fact(name, was)}, expected {plain(wanted)}")
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
    return (
        f"{where} is {colour_of(why.level)}, expected {colour_of(wanted)}: {why.subject.en} {why.feature.en}; {latches}"
    )


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
        return "" if n == wanted else f"{where} has {kind.value}{ed_of(kind)} {n} times so far, expected {wanted}"

    return check


def ed_of(kind: TransitionKind) -> str:
    """Return the ending of `raised` and `cleared`."""
    return "d" if kind is TransitionKind.RAISE else "ed"


def _historical(stage: Stage, expected: Expectation, where: str, wanted: Any) -> str:
    has = f"{expected.rule}|{expected.scope}" in stage.record.historical
    return "" if has == wanted else f"{where}: {'a' if has else 'no'} dated occurrence, expected {plain(wanted)}"


def _notices_so_far(stage: Stage, expected: Expectation, where: str, wanted: Any) -> str:
    key = f"{expected.rule}|{expected.scope}"
    counted = notices_of(stage, lambda alarm: alarm.dedup_key == key)
    return "" if counted == Counter(wanted) else f"{where}: notices {tally(counted)}, expected {tally(Counter(wanted))}"


def _lines_so_far(stage: Stage, expected: Expectation) -> Counter[str]:
    key = f"{expected.rule}|{expected.scope}"
    subjects = stage.record.subjects
    return Counter(
        e.kind for e in stage.record.events if e.subject in subjects and subjects[e.subject].dedup_key == key
    )


def _counts(stage: Stage, expected: Expectation, where: str, wanted: Any) -> str:
    counted = _lines_so_far(stage, expected)
    wrong = {kind: counted[kind] for kind, n in wanted.items() if counted[kind] != n}
    return (
        f"{where}: its record has {', '.join(f'{n} {k}' for k, n in wrong.items())}, expected {_pairs(wanted)}"
        if wrong
        else ""
    )


def _lines(kind: str, word: str) -> Callable[[Stage, Expectation, str, Any], str]:
    def check(stage: Stage, expected: Expectation, where: str, wanted: Any) -> str:
        n = _lines_so_far(stage, expected)[kind]
        return "" if n == wanted else f"{where} has {word} {n} times so far, expected {wanted}"

    return check


def _told(stage: Stage, expected: Expectation, where: str, wanted: Any) -> str:
    key = f"{expected.rule}|{expected.scope}"
    meant = {number for number, alarm in stage.record.subjects.items() if alarm.dedup_key == key}
    found = sorted({n.target for n in stage.record.notices if n.subject in meant}) or ["none"]
    return "" if found == sorted(wanted) else f"{where}: told were {', '.join(found)}, expected {', '.join(wanted)}"


def _hidden_by(stage: Stage, expected: Expectation, where: str, wanted: Any) -> str:
    alarm = stage.record.alarms.get(f"{expected.rule}|{expected.scope}")
    found = sorted(alarm.suppressed_by) if alarm is not None else []
    named = sorted(stage.mute_of(word) for word in wanted if word != "none")
    is_so = len(found) == len(named) and all(
        was == name or ("|" not in name and was.startswith(f"{name}|")) for was, name in zip(found, named, strict=True)
    )
    said = ", ".join(found) or "nothing"
    return "" if is_so else f"{where}: it is hidden by {said}, expected {', '.join(wanted)}"


def _readings(lane: Lane, word: str) -> Callable[[Stage, Expectation, str, Any], str]:
    def check(stage: Stage, expected: Expectation, where: str, wanted: Any) -> str:
        sensors = stage.sensors_of(expected.rule, expected.scope)
        n = sum(stage.record.lanes[sensor, lane] for sensor in sensors)
        return "" if n == wanted else f"{where}: {n} readings {word} so far, expected {wanted}"

    return check


def _storm(stage: Stage, expected: Expectation, where: str, wanted: Any) -> str:  # noqa: ARG001 - asks of no alarm
    storms = stage.record.storms
    wrong = [desk for desk, is_on in wanted.items() if (desk in storms and storms[desk].is_on) != is_on]
    return "; ".join(f"{where}: {desk} is {'not ' if wanted[desk] else ''}in a storm" for desk in wrong)


def _mutes(stage: Stage, expected: Expectation, where: str, wanted: Any) -> str:  # noqa: ARG001 - asks of no alarm
    found = {name: stage.record.mutes.get(stage.mute_of(name)) for name in wanted}
    states = {name: "none" if mute is None else mute_state(mute) for name, mute in found.items()}
    return "; ".join(
        f"{where}: mute {name} is {states[name]}, expected {state}"
        for name, state in wanted.items()
        if states[name] != state
    )


def _pairs(counts: Any) -> str:
    return ", ".join(f"{n} {kind}" for kind, n in counts.items())


_SPECIAL: Final[dict[str, Callable[[Stage, Expectation, str, Any], str]]] = {
    "level": _level,
    "sight": _sight,
    "alarm": _alarm,
    "order": _order,
    "raises": _times(TransitionKind.RAISE),
    "clears": _times(TransitionKind.CLEAR),
    "historical": _historical,
    "notices": _notices_so_far,
    "counts": _counts,
    "reminders": _lines("reminded", "reminded"),
    "realarms": _lines("realarmed", "asked again"),
    "told": _told,
    "hidden_by": _hidden_by,
    "duplicates": _readings(Lane.DUPLICATE, "came again"),
    "late": _readings(Lane.HISTORY, "were late"),
    "quarantined": _readings(Lane.QUARANTINED, "are from the future"),
    "storm": _storm,
    "mutes": _mutes,
}


def notices_of(stage: Stage, is_meant: Callable[[Alarm], bool]) -> Counter[str]:
    """Count the notices about alarms, and about the orders they opened, by kind."""
    meant = {number for number, alarm in stage.record.subjects.items() if is_meant(alarm)}
    meant |= {order.id for order in stage.record.orders.values() if meant & set(order.alarm_ids)}
    return Counter(notice.kind.value for notice in stage.record.notices if notice.subject in meant)


def tally(counts: Counter[str]) -> str:
    """Say counts by kind: `1 cleared, 1 raised`."""
    return ", ".join(f"{n} {kind}" for kind, n in sorted(counts.items()) if n) or "none"


def where_of(place: str, at_ms: int) -> str:
    """Say where an expectation stands, and for when."""
    return (f"{place}: " if place else "") + f"at {duration(at_ms / 1000)}"


def colour_of(level: Any) -> str:
    """Return a level's word; None is normal."""
    return level.colour if level is not None else "normal"


def plain(value: Any) -> str:
    """Return a value as a test writes it."""
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _fact(name: str, was: Any) -> str:
    if name == "isa":
        return f"its ISA-18.2 state is {was} ({LETTERS[was].en})"
    return f"{name} is {plain(was)}"
