"""What the steps of a rule test say to the desk: the data of an alarm's verbs and of mutes, and the names of mutes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from alerts.lifecycle import ALARM_VERBS
from rules.ruletest import read_duration

from .shape import StepIn, TestIn

SHELF_S: Final = 2 * 3600  # of a `shelve` that says no end
ALARM_NAMES: Final = {"ack": "acknowledge", "unack": "unacknowledge"}  # short words for the desk's
SILENCE_S: Final = 2 * 3600  # of a mute that says no end
MUTE_VERBS: Final = {"mute": "mute.new", "window": "mute.window", "extend": "mute.extend", "unmute": "mute.cancel"}
TERMS: Final = (
    *("rules", "domains", "areas", "sites", "scopes", "at_most", "begins", "rrule", "lasts", "days", "timezone"),
)
"""Keys of a step that only mutes understand."""

_MATCHERS: Final = ("rules", "domains", "areas", "sites", "scopes")


def named_mutes(test: TestIn, windows: Iterable[str]) -> list[str]:
    """Return the names by which a test may speak of mutes: those it gives, and the configuration's windows."""
    given = [step.mute or step.window for step in test.do]
    return sorted({name for name in given if name} | set(windows))


def mute_role(model: StepIn, verb: str) -> str:
    """Return who usually does it: whoever may."""
    is_grave = model.at_most in {"red", "orange"}
    return "lead" if is_grave or verb in {"window", "extend", "unmute"} else "duty"


def mute_data(model: StepIn, verb: str, at_ms: int, rule: str) -> dict[str, Any]:
    """Return the data of a mute's command; instants are `{"at": ms of the test}` until the test is played."""
    data: dict[str, Any] = {"reason": model.reason or "a rule test"}
    if verb == "unmute":
        return data
    begins_ms = read_duration(model.begins) if model.begins else at_ms
    lasts_ms = read_duration(model.for_) if model.for_ else SILENCE_S * 1000
    data["ends_ms"] = {"at": read_duration(model.until) if model.until else begins_ms + lasts_ms}
    if verb == "extend":
        return data
    if model.begins:
        data["starts_ms"] = {"at": begins_ms}
    for name in _MATCHERS:
        if words := getattr(model, name):
            data[name] = list(words)
    if rule and not any(name in data for name in _MATCHERS):
        data["rules"] = [rule]
    for name in ("at_most", "rrule", "days", "timezone"):
        if (word := getattr(model, name)) is not None:
            data[name] = word
    if model.lasts:
        data["duration_s"] = read_duration(model.lasts) / 1000
    return data


def alarm_data(model: StepIn, verb: str, at_ms: int) -> dict[str, Any]:
    """Return what the data of an alarm's verb are, from the step's own keys."""
    data: dict[str, Any] = {}
    if "reason" in ALARM_VERBS[ALARM_NAMES.get(verb, verb)].needs or model.reason:
        data["reason"] = model.reason or "a rule test"
    if verb == "comment" or model.note:
        data["note"] = model.note or "a rule test"
    if verb == "shelve":
        until = read_duration(model.until) if model.until else at_ms + _shelf_ms(model)
        data["until_ms"] = {"at": until}
    if verb == "out_of_service" and (model.until or model.for_):
        data["until_ms"] = {"at": read_duration(model.until) if model.until else at_ms + _shelf_ms(model)}
    return data


def _shelf_ms(model: StepIn) -> int:
    return read_duration(model.for_) if model.for_ else SHELF_S * 1000


def instant(key: str, value: Any, at_ms: int) -> Any:
    """Return `until_ms: 2h` as an instant two hours after the step, relative to the start of the test."""
    if key.endswith("_ms") and isinstance(value, str):
        return {"at": at_ms + read_duration(value)}
    return value
