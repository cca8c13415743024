"""Silences and maintenance windows: when one is open, and what it hides. Pure functions over `Mute`; nothing else.

A mute never extends past its end, never hides red gas, and says nothing about what has ended: whoever heard the raise
hears the end.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final

from alerts.people.workdays import is_workday, when_changed
from citypulse.model import Actor, Alarm, AlarmTerms, CityConfig, Mute, Priority
from citypulse.recurrence import OPEN_S_MAX, SERIES_S_MAX, instant_ms, local, starts, wrong_rule, zone_of

from .texts import span

MUTES_MAX: Final = 500  # not over yet, at one time
NAMES_MAX: Final = 50  # in one list of matchers
MATCHERS: Final = ("rules", "domains", "areas", "sites", "scopes")
INSTANT_MS_MAX: Final = 32_503_680_000_000  # the year 3000: a mistake beyond, and calendars still reach it
DAY_KINDS: Final = ("", "workday", "holiday")

Span = tuple[int, int]


def may_hide(alarm: Alarm) -> bool:
    """False for what must always be seen: gas at the red level."""
    return not (alarm.domain == "gas" and alarm.level is Priority.P1)


def selects(mute: Mute, alarm: Alarm) -> bool:
    """True when the mute's matchers name this alarm, whatever its level. A drill's alarm is never named."""
    return (
        not alarm.exercise
        and (not mute.rules or alarm.rule in mute.rules)
        and (not mute.domains or alarm.domain in mute.domains)
        and (not mute.areas or alarm.area in mute.areas)
        and (not mute.sites or alarm.site in mute.sites)
        and (not mute.scopes or alarm.scope in mute.scopes)
    )


def matches(mute: Mute, alarm: Alarm) -> bool:
    """True when the mute hides this alarm while it is open."""
    return alarm.level >= mute.at_most and selects(mute, alarm) and may_hide(alarm)


def spans(mute: Mute) -> tuple[Span, ...]:
    """Return when the mute is open: sorted, disjoint [start, end) in epoch ms, all within its own start and end."""
    until_ms = mute.ends_ms if mute.cancelled_ms is None else min(mute.ends_ms, mute.cancelled_ms)
    found = _series(mute.starts_ms, mute.ends_ms, mute.rrule, mute.timezone, mute.duration_s, mute.days)
    return tuple((a, min(b, until_ms)) for a, b in found if a < min(b, until_ms))


@lru_cache(maxsize=2 * MUTES_MAX)
def _series(starts_ms: int, ends_ms: int, rrule: str, zone_name: str, duration_s: float, days: str) -> tuple[Span, ...]:
    if not rrule:
        return ((starts_ms, ends_ms),) if starts_ms < ends_ms else ()
    zone, length = zone_of(zone_name), timedelta(seconds=duration_s)
    found: list[Span] = []
    for at in starts(rrule, local(starts_ms, zone), local(ends_ms, zone) + timedelta(days=1)):
        # The kind of the day on which it opens decides for the whole stretch, past midnight too.
        if days and is_workday(at.date()) != (days == "workday"):
            continue
        start_ms, end_ms = max(instant_ms(at, zone), starts_ms), min(instant_ms(at + length, zone), ends_ms)
        if start_ms >= end_ms:
            continue
        if found and start_ms <= found[-1][1]:
            found[-1] = (found[-1][0], max(end_ms, found[-1][1]))
        else:
            found.append((start_ms, end_ms))
    return tuple(found)


when_changed(_series.cache_clear)


def open_at(mute: Mute, at_ms: int) -> Span | None:
    """Return the stretch in which the mute is open at an instant, or None."""
    found = spans(mute)
    place = bisect_right(found, (at_ms, 2**63)) - 1
    return found[place] if place >= 0 and found[place][1] > at_ms else None


def next_open_ms(mute: Mute, after_ms: int) -> int | None:
    """Return when it opens next after an instant; None when it does not."""
    return next((start for start, _ in spans(mute) if start > after_ms), None)


def warn_ms(stretch: Span, lead_s: float) -> int | None:
    """Return when the end of a stretch is to be announced, `lead_s` before; None for one too short for that."""
    start_ms, end_ms = stretch
    at_ms = end_ms - round(lead_s * 1000)
    return at_ms if at_ms > start_ms else None


def terms_of(mute: Mute, config: CityConfig) -> AlarmTerms:
    """Return what holds for the most serious alarms it may hide; the ceilings of gas, wherever it may reach gas."""
    domains: list[set[str]] = []  # each matcher must match, so one that names no gas keeps all gas out
    if mute.domains:
        domains.append(set(mute.domains))
    if mute.rules:
        domains.append({rule.domain for rule in config.rules if rule.id in mute.rules})
    if mute.sites:
        domains.append({config.sites[name].domain for name in mute.sites if name in config.sites})
    if mute.scopes:
        domains.append({sensor.domain for sensor in config.sensors if sensor.id in mute.scopes} or {"gas"})
    return config.alarms.terms("", "gas" if all("gas" in found for found in domains) else "", mute.at_most)


def unfit_terms(data: dict[str, Any]) -> str:
    """Return which of a mute's terms, as JSON, has the wrong form; "" when `drafted` can read them."""
    for name in MATCHERS:
        given = data.get(name, [])
        if not isinstance(given, (list, tuple)) or not all(isinstance(w, str) for w in given):
            return f"{name} 须为名称列表 must be a list of names"
        if len(given) > NAMES_MAX:
            return f"{name} 过多 may hold at most {NAMES_MAX} names"
    if data.get("at_most", "yellow") not in {p.colour for p in Priority}:
        return "at_most 须为 must be red, orange, yellow or blue"
    for name in ("reason", "rrule", "timezone", "days"):
        if not isinstance(data.get(name, ""), str):
            return f"{name} 须为文字 must be a text"
    length = data.get("duration_s", 0)
    if isinstance(length, bool) or not isinstance(length, (int, float)) or not 0 <= length <= SERIES_S_MAX:
        return "duration_s 须为秒数 must be a number of seconds"
    for name in ("starts_ms", "ends_ms"):
        at = data.get(name, 1)
        if isinstance(at, bool) or not isinstance(at, int) or not 0 < at < INSTANT_MS_MAX:
            return f"{name} 须为毫秒时间戳 must be an instant in epoch milliseconds"
    return ""


def drafted(data: dict[str, Any], kind: str, *, number: str, actor: Actor, now_ms: int, zone: str) -> Mute:
    """Build a mute from terms that `unfit_terms` passes; a silence begins now at the earliest."""
    starts_ms = data.get("starts_ms", now_ms)
    names: dict[str, Any] = {name: tuple(data.get(name, ())) for name in MATCHERS}
    return Mute(
        id=number,
        kind=kind,
        reason=data["reason"],
        creator=actor.name,
        creator_role=actor.role,
        created_ms=now_ms,
        starts_ms=max(starts_ms, now_ms) if kind == "silence" else starts_ms,
        ends_ms=data["ends_ms"],
        at_most=Priority.from_colour(data.get("at_most", "yellow")),
        rrule=data.get("rrule", ""),
        timezone=data.get("timezone") or zone,
        duration_s=float(data.get("duration_s", 0.0)),
        days=data.get("days", ""),
        **names,
    )


def wrong(mute: Mute, silence_s: float) -> str:
    """Return why this mute cannot be taken, all of it in one sentence; "" when it can. Formats, bounds and sense.

    `silence_s` is the longest a silence over its most serious level may last in all, extensions included.
    """
    said = []
    if not any(getattr(mute, name) for name in MATCHERS):
        said.append(f"须写明静默对象 it must name what it hides: at least one of {', '.join(MATCHERS)}")
    if mute.days not in DAY_KINDS:
        said.append("days 须为 is workday, holiday or nothing")
    if mute.starts_ms >= mute.ends_ms:
        said.append("结束须晚于开始 it must end after it starts")
    length_s = (mute.ends_ms - mute.starts_ms) / 1000
    if mute.kind == "silence":
        if length_s > silence_s:
            level = mute.at_most.colour
            most = f"最长 {span(silence_s)} a silence over {level} alarms lasts at most {span(silence_s)}"
            said.append(f"{most}, not {span(length_s)}")
        if mute.rrule or mute.days or mute.duration_s:
            said.append("静默不可重复，请用维护窗口 a silence does not recur; ask for a window")
    elif length_s > SERIES_S_MAX:
        said.append(f"窗口过长 a window ends within {span(SERIES_S_MAX)} of its start")
    elif not mute.rrule:
        if length_s > OPEN_S_MAX:
            said.append(f"单次窗口过长 a window that does not recur lasts at most {span(OPEN_S_MAX)}")
        if mute.days:
            said.append("按工作日须有重复规则 a window for workdays or holidays needs a recurrence, such as FREQ=DAILY")
    else:
        said += _wrong_series(mute)
    return "; ".join(said)


def _wrong_series(mute: Mute) -> list[str]:
    said = [why for why in (wrong_rule(mute.rrule),) if why]
    if not 60 <= mute.duration_s <= OPEN_S_MAX:
        said.append(f"每次开放时长不对 a recurring window is open for 1 min to {span(OPEN_S_MAX)} at a time")
    try:
        zone_of(mute.timezone)
    except (KeyError, ValueError, OSError):
        said.append(f"没有此时区 time zone {mute.timezone!r} is not known")
    if not said and mute.starts_ms < mute.ends_ms and not spans(mute):
        said.append("起止之间从不开放 it never opens between its start and its end")
    return said


def words(mute: Mute) -> str:
    """Say in a few words what a mute is about, for messages and the record."""
    named = [f"{name} {', '.join(getattr(mute, name))}" for name in MATCHERS if getattr(mute, name)]
    return f"{'; '.join(named)}; up to {mute.at_most.colour}"


def same_terms(one: Mute, other: Mute) -> bool:
    """True when two mutes promise the same: everything but what has become of them."""
    return _terms(one) == _terms(other)


def _terms(mute: Mute) -> tuple[Any, ...]:
    return (mute.kind, mute.reason, mute.creator, mute.starts_ms, mute.ends_ms, mute.at_most, mute.rrule,
            mute.timezone, mute.duration_s, mute.days, *(getattr(mute, name) for name in MATCHERS))  # fmt: skip
