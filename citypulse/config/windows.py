"""Reads the `windows:` and `exercises:` sections: what they name must exist, and every window must open and end."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from citypulse.domains import DOMAINS
from citypulse.model import Drills, Mute, Priority
from citypulse.recurrence import OPEN_S_MAX, SERIES_S_MAX, instant_ms, starts, wrong_rule, zone_of

from .desk import check_words
from .files import Reading
from .inventory import Inventory, unknown
from .nodes import Node, Report, step, walk
from .scalars import read_duration
from .windows_schema import ExercisesIn, WindowIn

DRILL_S_MAX = 86_400.0


def take_windows(reading: Reading, inventory: Inventory, timezone: str, report: Report) -> tuple[Mute, ...]:
    """Return the windows of all documents; problems are noted."""
    found: dict[str, Mute] = {}
    for document in reading.documents:
        for index, model in enumerate(document.model.windows):
            node = walk(document.root, ["windows", index])
            _check_names(model, walk(node, ["hides"]), reading, inventory, report)
            if f"WIN-{model.id}" in found:
                message = f"window `{model.id}` is defined twice"
                report.add("E301", walk(node, ["id"]), message, "ids are unique over all included files")
                continue
            mute = _mute(model, node, timezone, report)
            if mute is not None:
                found[mute.id] = mute
    return tuple(found.values())


def take_drills(reading: Reading, report: Report) -> Drills:
    """Return what drills may use: at most one section over all documents."""
    drills = Drills()
    for document in reading.documents:
        said: ExercisesIn | None = document.model.exercises
        if said is None:
            continue
        node = walk(document.root, ["exercises"])
        if drills.channels:
            report.add("E301", document.root.key("exercises"), "`exercises` is given twice", "keep it in one file")
            continue
        known = reading.declared.get("channels", set())
        _known(report, node, "channels", said.channels, known, "channel")
        longest = step(node, "longest")
        longest_s = 7_200.0 if longest is None else read_duration(report, longest) or 7_200.0
        if longest is not None and not 60 <= longest_s <= DRILL_S_MAX:
            report.add("E105", longest, "an exercise lasts from 1 min to 1 d", "for example `2 h`")
        drills = Drills(channels=said.channels, longest_s=longest_s)
    return drills


def _known(report: Report, node: Node, key: str, words: tuple[str, ...], known: set[str], what: str) -> None:
    value = step(node, key)
    for position, word in enumerate(words):
        if word not in known and value is not None:
            unknown(report, step(value, position) or value, what, word, known)


def _check_names(model: WindowIn, node: Node, reading: Reading, inventory: Inventory, report: Report) -> None:
    check_words(report, node, "domains", model.hides.domains, DOMAINS, "domain")
    check_words(report, node, "areas", model.hides.areas, inventory.areas, "area")
    _known(report, node, "sites", model.hides.sites, set(inventory.sites), "site")
    _known(report, node, "sensors", model.hides.sensors, set(inventory.sensors), "sensor")
    _known(report, node, "rules", model.hides.rules, reading.declared.get("rules", set()), "rule")
    if not any((model.hides.domains, model.hides.areas, model.hides.sites, model.hides.sensors, model.hides.rules)):
        help_ = "a window never hides everything: name sites, sensors, rules …"
        report.add("E101", node, "`hides` names nothing", help_)


def _mute(model: WindowIn, node: Node, timezone: str, report: Report) -> Mute | None:
    before = len(report.found)
    zone = _zone(model, node, timezone, report)
    first, last = (_instant(report, node, key, getattr(model, key)) for key in ("starts", "ends"))
    open_for = step(node, "open_for")
    open_s = 0.0 if open_for is None else read_duration(report, open_for) or 0.0
    if zone is None or first is None or last is None:
        return None
    length_s = (last - first).total_seconds()
    if length_s <= 0:
        report.add("E109", walk(node, ["ends"]), "the window ends before it starts", "a window always ends, later")
    elif length_s > SERIES_S_MAX:
        report.add("E109", walk(node, ["ends"]), "the window ends more than a year after its start", "renew it yearly")
    _check_series(model, node, open_s, length_s, report)
    if len(report.found) > before:
        return None
    mute = Mute(
        id=f"WIN-{model.id}",
        kind="window",
        reason=model.reason,
        creator=model.by,
        created_ms=0,
        starts_ms=instant_ms(first, zone),
        ends_ms=instant_ms(last, zone),
        rules=model.hides.rules,
        domains=model.hides.domains,
        areas=model.hides.areas,
        sites=model.hides.sites,
        scopes=model.hides.sensors,
        at_most=Priority.from_colour(model.at_most),
        rrule=model.repeat or "",
        timezone=model.timezone or timezone,
        duration_s=open_s,
        days=model.days or "",
        creator_role="config",
        origin=str(node.origin),
    )
    if model.repeat and next(starts(model.repeat, first, last), None) is None:
        report.add("E109", walk(node, ["repeat"]), "the window never opens before it ends", "check `repeat` and `ends`")
        return None
    return mute


def _check_series(model: WindowIn, node: Node, open_s: float, length_s: float, report: Report) -> None:
    if model.repeat is None:
        if model.open_for is not None or model.days is not None:
            key = "open_for" if model.open_for is not None else "days"
            report.add("E109", walk(node, [key]), f"`{key}` needs `repeat`", "for example `repeat: FREQ=DAILY`")
        elif length_s > OPEN_S_MAX:
            report.add("E109", walk(node, ["ends"]), "a window is open for at most 7 d at a time", "or give `repeat`")
        return
    if said := wrong_rule(model.repeat):
        report.add("E109", walk(node, ["repeat"]), f"`repeat`: {said}")
    if model.open_for is None:
        report.add("E101", node, "`open_for` is missing", "say how long it is open at a time: `open_for: 8 h`")
    elif not 60 <= open_s <= OPEN_S_MAX:
        report.add("E109", walk(node, ["open_for"]), "a window is open for 1 min to 7 d at a time")


def _zone(model: WindowIn, node: Node, timezone: str, report: Report) -> ZoneInfo | None:
    name = model.timezone or timezone
    try:
        return zone_of(name)
    except (KeyError, ValueError, OSError):
        if model.timezone is not None:
            message = f"time zone `{name}` does not exist"
            report.add("E103", walk(node, ["timezone"]), message, "such as `Asia/Shanghai`")
        return None


def _instant(report: Report, node: Node, key: str, text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        report.add("E109", walk(node, [key]), f"`{text}` is not a day and time", 'write `"2026-12-01 22:00"`')
        return None
