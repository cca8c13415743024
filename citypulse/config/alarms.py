"""Reads the `alarms:` section: what it names must exist, and nothing in it may hide red or gas alarms for longer.

A value for the whole city or a level is kept under the ceilings of red and gas silently, as `citypulse explain` shows;
one that is said for red or for gas by name and lies beyond them is an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from citypulse.domains import DOMAINS
from citypulse.model import AlarmPlan, AlarmTerms, Flap, Priority, TermLayer, TermSaid
from citypulse.model.terms import GAS, KEYS, built_in, kept_under
from citypulse.units import spell_duration

from .binding import Binding
from .files import Reading
from .inventory import unknown
from .nodes import Listing, Node, Report, Scalar, Table, step, walk
from .scalars import read_duration

NEVER: Final = "never"
HOUR: Final = 3_600.0
DAY: Final = 86_400.0
# section, key → the term, and the bounds of a duration in seconds
DURATIONS: Final[dict[tuple[str, str], tuple[str, float, float]]] = {
    ("chatter", "calm"): ("quiet_s", 10.0, DAY),
    ("shelf", "longest"): ("shelf_s", 60.0, 7 * DAY),
    ("shelf", "warn"): ("shelf_warn_s", 0.0, DAY),
    ("realarm", "after"): ("realarm_s", 60.0, 7 * DAY),
    ("mutes", "longest"): ("silence_s", 60.0, 30 * DAY),
    ("mutes", "warn"): ("mute_warn_s", 0.0, DAY),
    ("stale", "after"): ("stale_s", HOUR, 30 * DAY),
}
NEVERS: Final = {"shelf_s": 0.0, "realarm_s": None}
WITHIN_S: Final = (1.0, 2 * HOUR)  # the desk remembers raises for two hours (alerts.state.RECENT_S)


def take_alarms(reading: Reading, report: Report) -> AlarmPlan:
    """Return the plan of all documents: at most one section; problems are noted."""
    layers: list[TermLayer] = []
    is_given = False
    for document in reading.documents:
        if document.model.alarms is None:
            continue
        if is_given:
            report.add("E301", document.root.key("alarms"), "`alarms` is given twice", "keep it in one file")
            continue
        is_given = True
        section = walk(document.root, ["alarms"])
        layers += _levelled(section, report)
        for name, node in _entries(section, "domains"):
            if name.data() not in DOMAINS:
                unknown(report, name, "domain", str(name.data()), DOMAINS)
            else:
                layers += _levelled(node, report, domain=str(name.data()))
        rules = reading.declared.get("rules", set())
        for name, node in _entries(section, "rules"):
            if name.data() not in rules:
                unknown(report, name, "rule", str(name.data()), rules)
            else:
                layers += _levelled(node, report, rule=str(name.data()))
    return AlarmPlan(layers=tuple(layer for layer in layers if layer.said))


def check_ceilings(reading: Reading, plan: AlarmPlan, bindings: list[Binding], report: Report) -> None:
    """Note what is said for red or for gas by name beyond its ceilings, and ends that would never be announced."""
    domain_of = {b.rule.id: b.rule.domain for b in bindings}
    places = _places(reading)
    for layer in plan.layers:
        domain = layer.domain or domain_of.get(layer.rule, "")
        for name, said in layer.said.items():
            node = places.get((layer.rule, layer.domain, layer.level, name))
            if node is None:
                continue
            level = layer.level or Priority.P4
            if layer.level is not Priority.P1 and domain != GAS:
                continue
            most = built_in(domain, level)
            wanted = AlarmTerms(**{key: getattr(most, key) for key in KEYS} | {name: said.value})
            kept = getattr(kept_under(wanted, domain, level), name)
            if kept != said.value:
                whom = " ".join(part for part in ("red" if level is Priority.P1 else "", domain) if part)
                message = f"{shown(name, said.value)} is beyond what {whom} alarms allow: {shown(name, kept)}"
                report.add("E321", node, message, "red and gas alarms may be made stricter, never laxer")
    _check_leads(plan, places, report)


def _check_leads(plan: AlarmPlan, places: dict[Any, Node], report: Report) -> None:
    for layer in plan.layers:
        for warn, longest in (("shelf_warn_s", "shelf_s"), ("mute_warn_s", "silence_s")):
            if warn not in layer.said:
                continue
            levels = [layer.level] if layer.level is not None else list(Priority)
            terms = [plan.terms(layer.rule, layer.domain, level) for level in levels]
            if all(0 < getattr(t, longest) <= getattr(t, warn) for t in terms):
                node = places[layer.rule, layer.domain, layer.level, warn]
                length = shown(longest, getattr(terms[-1], longest))
                report.add("W231", node, f"the longest lasts {length}: its end would never be announced",
                           "announce it later, nearer to the end")  # fmt: skip


def shown(name: str, value: Any) -> str:
    """Write a term's value for people."""
    if name == "flaps":
        return " or ".join(f"{f.raises} raises in {spell_duration(f.within_s)}" for f in value) or NEVER
    if name == "shelf_roles":
        return ", ".join(value) or "nobody"
    if name == "realarm_max":
        return f"{value} times" if value else "without end"
    if value is None or (name == "shelf_s" and not value):
        return NEVER
    return str(spell_duration(value))


def _entries(section: Node, key: str) -> Iterator[tuple[Scalar, Node]]:
    table = step(section, key)
    if isinstance(table, Table):
        yield from table.entries.values()


def _levelled(node: Node, report: Report, *, rule: str = "", domain: str = "") -> list[TermLayer]:
    said = {name: TermSaid(value=value, origin=at.origin) for name, value, at in _read(node, report)}
    layers = [TermLayer(rule=rule, domain=domain, said=said)]
    for key, below in _entries(node, "levels"):
        level = Priority.from_colour(str(key.data()))
        said = {name: TermSaid(value=value, origin=at.origin) for name, value, at in _read(below, report)}
        layers.append(TermLayer(rule=rule, domain=domain, level=level, said=said))
    return layers


def _read(node: Node, report: Report) -> Iterator[tuple[str, Any, Node]]:
    """Yield each term said at a node: its name, value in the house's units, and place."""
    for (section, key), (name, low, high) in DURATIONS.items():
        place = _at(node, section, key)
        if place is None:
            continue
        if isinstance(place, Scalar) and place.value == NEVER and name in NEVERS:
            yield name, NEVERS[name], place
        elif (value := _duration(report, place, low, high)) is not None:
            yield name, value, place
    counts = _at(node, "chatter", "counts")
    if isinstance(counts, Listing):
        flaps = [_flap(item, report) for item in counts.items]
        if None not in flaps:
            yield "flaps", tuple(flaps), counts
    roles = _at(node, "shelf", "by")
    if roles is not None:
        words = roles.data()
        yield "shelf_roles", tuple(dict.fromkeys([words] if isinstance(words, str) else words)), roles
    times = _at(node, "realarm", "at_most")
    if times is not None:
        yield "realarm_max", times.data(), times


def _at(node: Node, section: str, key: str) -> Node | None:
    part = step(node, section)
    return None if part is None else step(part, key)


def _flap(node: Node, report: Report) -> Flap | None:
    raises, within = step(node, "raises"), step(node, "within")
    if raises is None or within is None:
        return None
    within_s = _duration(report, within, *WITHIN_S)
    return None if within_s is None else Flap(raises=raises.data(), within_s=within_s)


def _duration(report: Report, node: Node, low: float, high: float) -> float | None:
    value = read_duration(report, node)
    if value is not None and not low <= value <= high:
        report.add("E105", node, f"this lasts from {spell_duration(low)} to {spell_duration(high)}", "")
        return None
    return value


def _places(reading: Reading) -> dict[Any, Node]:
    """Return where each term was said, by rule, domain, level and term."""
    found: dict[Any, Node] = {}
    silent = Report()

    def note(node: Node, rule: str, domain: str) -> None:
        for name, _, at in _read(node, silent):
            found[rule, domain, None, name] = at
        for key, below in _entries(node, "levels"):
            for name, _, at in _read(below, silent):
                found[rule, domain, Priority.from_colour(str(key.data())), name] = at

    for document in reading.documents:
        if document.model.alarms is not None:
            section = walk(document.root, ["alarms"])
            note(section, "", "")
            for name, node in _entries(section, "domains"):
                note(node, "", str(name.data()))
            for name, node in _entries(section, "rules"):
                note(node, str(name.data()), "")
    return found


# ── what holds, for people ──────────────────────────────────────────────────────────────────────

WORDS: Final = {
    "flaps": "chatter counts", "quiet_s": "chatter calm", "shelf_s": "shelf longest", "shelf_roles": "shelf by",
    "shelf_warn_s": "shelf warn", "realarm_s": "realarm after", "realarm_max": "realarm at_most",
    "silence_s": "mutes longest", "mute_warn_s": "mutes warn", "stale_s": "stale after",
}  # fmt: skip
BUILT_IN_AT: Final = "built in: citypulse/model/terms.py"


def said_of(plan: AlarmPlan, rule: str, domain: str, levels: Sequence[Priority]) -> Iterator[tuple[str, str, str]]:
    """Yield (what, value, where it was said) of every term at these levels; levels that agree share a line."""
    for name, what in WORDS.items():
        rows: dict[tuple[str, str], list[Priority]] = {}
        for level in levels:
            # How long a silence may last is a matter of the level alone, and of gas.
            value, at = plan.said(rule if name not in CITY_ONLY else "", domain, level)[name]
            kept = getattr(plan.terms(rule, domain, level), name)
            where = BUILT_IN_AT if at is None else str(at)
            if kept != value:
                where = f"ceiling of {'red' if level is Priority.P1 else 'gas'}, over {shown(name, value)} at {where}"
            rows.setdefault((shown(name, kept), where), []).append(level)
        for (value, where), those in rows.items():
            head = "" if len(rows) == 1 else " ".join(level.colour for level in those) + " "
            yield f"{head}{what}", value, where


CITY_ONLY: Final = frozenset({"silence_s", "mute_warn_s"})
