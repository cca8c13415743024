"""A changed `alarms:` section comes into force: what it says otherwise, and for which standing alarms that matters.

What runs keeps running: a shelf keeps the end that was granted, chatter goes on, and an acknowledgement stands. Only
what is still to come follows the new values, and each alarm whose next step moves has a line in its record.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from alerts.pen import Pen
from citypulse.config.alarms import WORDS, shown
from citypulse.model import Alarm, AlarmPlan, CityConfig, Condition, Origin, Priority, Text

SAID_MAX: Final = 50  # changes named in one reload; more are counted


def note_terms(pen: Pen, alarm: Alarm, before: AlarmPlan, after: AlarmPlan) -> Alarm:
    """Write on the record of an alarm what changes for the state it is in; nothing when nothing does."""
    old = before.terms(alarm.rule, alarm.domain, alarm.level)
    new = after.terms(alarm.rule, alarm.domain, alarm.level)
    said = after.said(alarm.rule, alarm.domain, alarm.level)
    found = []
    for name in _running(alarm):
        was, now = getattr(old, name), getattr(new, name)
        if was != now:
            found.append((name, shown(name, was), shown(name, now), _at(said[name][1])))
    if not found:
        return alarm
    words = "; ".join(f"{WORDS[name]} {was} → {now} ({at})" for name, was, now, at in found)
    data = {"changes": [{"what": WORDS[name], "was": was, "now": now, "at": at} for name, was, now, at in found]}
    why = f"配置变更: {words}, 已有状态保持 | configuration changed; what runs keeps running"
    return pen.alarm(alarm, "terms_changed", why, data=data)


def changed_terms(before: AlarmPlan, config: CityConfig) -> tuple[Text, ...]:
    """Return what the section says otherwise than before, in words with file:line; levels and rules that agree once."""
    after = config.alarms
    if before == after:
        return ()
    found: dict[tuple[str, str, str, str], list[str]] = {}
    for rule, domain in _kinds(before, config):
        for level in Priority:
            old, new = before.terms(rule, domain, level), after.terms(rule, domain, level)
            said = after.said(rule, domain, level)
            for name, what in WORDS.items():
                was, now = getattr(old, name), getattr(new, name)
                if was != now:
                    key = (what, shown(name, was), shown(name, now), _at(said[name][1]))
                    found.setdefault(key, []).append(f"{rule or domain or 'all'} {level.colour}")
    lines = [
        Text(zh=f"{what} {was} → {now} ({', '.join(dict.fromkeys(whose))}; {at})",
             en=f"{what} {was} → {now} for {', '.join(dict.fromkeys(whose))} ({at})")
        for (what, was, now, at), whose in found.items()
    ]  # fmt: skip
    rest = len(lines) - SAID_MAX
    more = [Text(zh=f"另有 {rest} 项", en=f"and {rest} more")] if rest > 0 else []
    return (*lines[:SAID_MAX], *more)


def _kinds(before: AlarmPlan, config: CityConfig) -> Iterator[tuple[str, str]]:
    """Yield each (rule, domain) that may be spoken of: the city, its domains, and rules that either plan names."""
    yield "", ""
    named = {layer.rule for plan in (before, config.alarms) for layer in plan.layers if layer.rule}
    domains = {layer.domain for plan in (before, config.alarms) for layer in plan.layers if layer.domain}
    yield from (("", domain) for domain in sorted(domains))
    yield from sorted({(rule.id, rule.domain) for rule in config.rules if rule.id in named})


def _running(alarm: Alarm) -> tuple[str, ...]:
    """Return the terms on which the next step of this alarm hangs."""
    names: tuple[str, ...] = ()
    if alarm.is_chattering:
        names += ("quiet_s",)
    if alarm.shelved_until_ms is not None:
        names += ("shelf_s", "shelf_warn_s")
    if alarm.condition is Condition.ACTIVE and alarm.acked_ms is not None:
        names += ("realarm_s", "realarm_max")
    return names


def _at(origin: Origin | None) -> str:
    return "built in" if origin is None else str(origin)
