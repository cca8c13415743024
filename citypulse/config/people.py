"""Who can be reached, who is on duty when and who is called after whom: people, rotas, chains and profiles."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime

from citypulse.domains import DOMAINS
from citypulse.model import (
    Chain,
    ChainStep,
    Milestone,
    Person,
    Priority,
    Profile,
    Rota,
    Shift,
    StandIn,
)

from .desk import Desk, check_words
from .files import Document, Reading
from .inventory import Inventory, text_of, unknown
from .nodes import Node, Report, Table, did_you_mean, step, walk
from .people_lint import lint_people
from .people_schema import CONTACT_KINDS, LADDER, REACHES, ChainIn, ChainStepIn, RotaIn, ShiftIn, StandInIn
from .scalars import read_duration

PLAIN_TARGETS = ("routes", "every-desk", "on-duty", "lead-on-duty")
ORDER_TARGETS = ("crew", "desk")  # of a milestone: the crew it is with, the desks of its place
PREFIXES = ("on-duty", "lead-on-duty", "team", "person", "level")
_SECRETS = ("password", "secret", "token", "key", "credential")
DAY_S = 86_400
_ONCE = "ids are unique over all included files"


@dataclass(slots=True)
class Crowd:
    """What the configuration says of people."""

    people: dict[str, Person] = field(default_factory=dict)
    rotas: dict[str, Rota] = field(default_factory=dict)
    chains: dict[str, Chain] = field(default_factory=dict)
    profiles: dict[str, Profile] = field(default_factory=dict)


def take_people(reading: Reading, inventory: Inventory, desk: Desk, timezone: str, report: Report) -> Crowd:
    """Return the people, rotas, chains and profiles of all documents; problems are noted."""
    crowd = Crowd()
    for document in reading.documents:
        _take_persons(document, crowd, reading, inventory, report)
    for document in reading.documents:
        _take_rotas(document, crowd, reading, timezone, report)
        _take_chains(document, crowd, reading, inventory, report)
        _take_profiles(document, crowd, reading, report)
    lint_people(reading.documents, crowd.people, crowd.rotas, crowd.chains, desk.routes.values(), report)
    return crowd


def _is_new(report: Report, taken: Iterable[str], table: Node, what: str, key: str) -> bool:
    if key not in taken:
        return True
    place = table.key(key) if isinstance(table, Table) else table
    report.add("E301", place, f"{what} `{key}` is defined twice", _ONCE)
    return False


def _known(report: Report, node: Node, key: str | int, words: Iterable[str], known: Iterable[str], what: str) -> None:
    value, names = step(node, key), set(known)
    for position, word in enumerate(words):
        if value is not None and word not in names:
            unknown(report, step(value, position) or value, what, word, names)


# ── people ──────────────────────────────────────────────────────────────────────────────────────


def _take_persons(document: Document, crowd: Crowd, reading: Reading, inventory: Inventory, report: Report) -> None:
    table = walk(document.root, ["people"])
    for key, model in document.model.people.items():
        node = walk(table, [key])
        check_words(report, node, "domains", model.domains, DOMAINS, "domain")
        check_words(report, node, "areas", model.areas, inventory.areas, "area")
        _known(report, node, "teams", model.teams, reading.declared.get("teams", ()), "team")
        _check_contacts(report, walk(node, ["contacts"]), model.contacts)
        if not _is_new(report, crowd.people, table, "person", key):
            continue
        crowd.people[key] = Person(
            id=key,
            name=text_of(model.name),
            role=model.role,
            teams=model.teams,
            unit=model.unit or "",
            contacts=tuple(model.contacts.items()),
            is_outside=model.outside,
            level=model.level or "",
            domains=model.domains,
            areas=model.areas,
        )


def _check_contacts(report: Report, node: Node, contacts: dict[str, str]) -> None:
    for kind in contacts:
        place = node.key(kind) if isinstance(node, Table) else node
        if any(word in kind for word in _SECRETS):
            message = f"`{kind}` is a secret and must not stand in this file"
            report.add("E116", place, message, "a contact is an address, never what opens it")
        elif kind not in CONTACT_KINDS:
            unknown(report, place, "kind of contact", kind, CONTACT_KINDS)


# ── rotas ───────────────────────────────────────────────────────────────────────────────────────


def _take_rotas(document: Document, crowd: Crowd, reading: Reading, timezone: str, report: Report) -> None:
    table = walk(document.root, ["rotas"])
    teams, people = reading.declared.get("teams", set()), reading.declared.get("people", set())
    for key, model in document.model.rotas.items():
        node = walk(table, [key])
        place = table.key(key) if isinstance(table, Table) else table
        if key not in teams:
            unknown(report, place, "team", key, teams)
        _known(report, node, "fallback", model.fallback, people, "person")
        zone = _zone(report, walk(node, ["timezone"]), model.timezone or timezone)
        first = _day(report, walk(node, ["starts"]), model.starts)
        shifts = tuple(_shifts(report, walk(node, ["shifts"]), model, people))
        stand_ins = _stand_ins(report, walk(node, ["overrides"]), key, model, zone, people)
        if _is_new(report, crowd.rotas, table, "rota", key) and first is not None and zone is not None and shifts:
            crowd.rotas[key] = Rota(
                team=key,
                timezone=str(zone),
                first_day=first.isoformat(),
                shifts=shifts,
                at_least=model.at_least,
                stand_ins=stand_ins,
                fallback=model.fallback,
                origin=place.origin,
            )


def _zone(report: Report, node: Node, name: str) -> zoneinfo.ZoneInfo | None:
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        hint = did_you_mean(name, zoneinfo.available_timezones(), several="for example")
        report.add("E103", node, f"time zone `{name}` does not exist", hint)
        return None


def _day(report: Report, node: Node, text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        report.add("E109", node, f"`{text}` is not a day of the calendar", "for example `2026-11-02`")
        return None


def _clock_s(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 3600 + int(minutes) * 60


def _shifts(report: Report, node: Node, model: RotaIn, people: set[str]) -> Iterable[Shift]:
    seen: set[str] = set()
    for index, shift in enumerate(model.shifts):
        here = walk(node, [index])
        if shift.id in seen:
            report.add("E301", walk(here, ["id"]), f"shift `{shift.id}` is defined twice", "ids are unique in a rota")
        seen.add(shift.id)
        for number, group in enumerate(shift.groups):
            _check_group(report, walk(here, ["groups", number]), group, people)
        yield _shift(shift, here)


def _check_group(report: Report, node: Node, group: tuple[str, ...], people: set[str]) -> None:
    if not group:
        report.add("E108", node, "a group of nobody", "name somebody, or leave the group out")
    for position, word in enumerate(group):
        if word not in people:
            unknown(report, step(node, position) or node, "person", word, people)


def _shift(model: ShiftIn, node: Node) -> Shift:
    starts_s, ends_s = _clock_s(model.from_), _clock_s(model.until)
    return Shift(
        id=model.id,
        starts_s=starts_s,
        ends_s=ends_s if ends_s > starts_s else ends_s + DAY_S,
        groups=model.groups,
        turn_days=model.turn,
        days=model.days,
        origin=node.origin,
    )


def _stand_ins(
    report: Report, node: Node, team: str, model: RotaIn, zone: zoneinfo.ZoneInfo | None, people: set[str]
) -> tuple[StandIn, ...]:
    found = []
    for index, one in enumerate(model.overrides):
        here = walk(node, [index])
        for key, word in (("instead_of", one.instead_of), ("person", one.person)):
            if word is not None and word not in people:
                unknown(report, walk(here, [key]), "person", word, people)
        if one.instead_of is None and one.person is None:
            report.add("E101", here, "an override needs `person`, `instead_of` or both", "say who stands in for whom")
        span = _span(report, here, one, zone)
        if span is None:
            continue
        found.append(
            StandIn(
                id=f"{team}-{here.line}",
                team=team,
                instead_of=one.instead_of or "",
                person=one.person or "",
                starts_ms=span[0],
                ends_ms=span[1],
                reason=one.reason or "",
                origin=str(here.origin),
            )
        )
    return tuple(found)


def _span(report: Report, node: Node, one: StandInIn, zone: zoneinfo.ZoneInfo | None) -> tuple[int, int] | None:
    ends: list[int] = []
    for key, text in (("from", one.from_), ("until", one.until)):
        try:
            local = datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=zone)
        except ValueError:
            report.add("E109", walk(node, [key]), f"`{text}` is not a local time", 'for example `"2026-12-01 08:00"`')
            return None
        ends.append(round(local.timestamp() * 1000))
    if ends[0] >= ends[1]:
        report.add("E105", walk(node, ["until"]), "the override ends before it begins", "`until` must be after `from`")
        return None
    return ends[0], ends[1]


# ── chains ──────────────────────────────────────────────────────────────────────────────────────


def _check_targets(
    report: Report, node: Node, words: Iterable[str], reading: Reading, *, more: tuple[str, ...] = ()
) -> None:
    value = step(node, "to")
    for position, word in enumerate(words):
        place = (step(value, position) if value is not None else None) or value or node
        kind, colon, name = word.partition(":")
        if not colon and word in (*PLAIN_TARGETS, *more):
            continue
        if not colon or kind not in PREFIXES:
            ways = [*PLAIN_TARGETS, *more, *(f"{p}:…" for p in PREFIXES)]
            report.add("E312", place, f"`{word}` says nobody who could be told", did_you_mean(word, ways, several=""))
        elif kind == "level":
            if name not in LADDER:
                unknown(report, place, "level of the responsibility chain", name, LADDER)
        else:
            section = {"person": "people", "team": "teams"}.get(kind, "rotas")
            known = reading.declared.get(section, set())
            if name not in known:
                unknown(report, place, {"people": "person", "teams": "team", "rotas": "rota"}[section], name, known)


def _take_chains(document: Document, crowd: Crowd, reading: Reading, inventory: Inventory, report: Report) -> None:
    table = walk(document.root, ["chains"])
    for key, model in document.model.chains.items():
        node = walk(table, [key])
        place = table.key(key) if isinstance(table, Table) else table
        check_words(report, node, "domains", model.domains, DOMAINS, "domain")
        check_words(report, node, "areas", model.areas, inventory.areas, "area")
        steps = _steps(report, node, model, reading)
        every_s = _every_s(report, walk(node, ["repeat", "every"]), model, steps)
        if not _is_new(report, crowd.chains, table, "chain", key) or steps is None or every_s is None:
            continue
        crowd.chains[key] = Chain(
            id=key,
            name=text_of(model.name),
            steps=steps,
            every_s=every_s,
            rounds=1 + (model.repeat.times if model.repeat is not None else 0),
            levels=tuple(Priority.from_colour(level) for level in model.levels),
            domains=model.domains,
            areas=model.areas,
            origin=place.origin,
        )


def _steps(report: Report, node: Node, model: ChainIn, reading: Reading) -> tuple[ChainStep, ...] | None:
    found: list[ChainStep] = []
    for index, one in enumerate(model.steps):
        here = walk(node, ["steps", index])
        made = _chain_step(report, here, one, reading)
        if made is None:
            return None
        if found and made.after_s <= found[-1].after_s:
            message = f"step {index + 1} comes no later than step {index}"
            report.add("E311", walk(here, ["after"]), message, "`after` counts from when the alarm called; let it rise")
        found.append(made)
    return tuple(found)


def _chain_step(report: Report, node: Node, model: ChainStepIn, reading: Reading) -> ChainStep | None:
    _check_targets(report, node, model.to, reading)
    _known(report, node, "by", model.by, reading.declared.get("channels", ()), "channel")
    after_s = read_duration(report, walk(node, ["after"]))
    return None if after_s is None else ChainStep(after_s=round(after_s), to=model.to, by=model.by, origin=node.origin)


def _every_s(report: Report, node: Node, model: ChainIn, steps: tuple[ChainStep, ...] | None) -> int | None:
    if model.repeat is None:
        return 0
    every_s = read_duration(report, node)
    if every_s is None:
        return None
    if steps and every_s <= steps[-1].after_s - steps[0].after_s:
        hint = f"every must be longer than the {steps[-1].after_s} s the steps take"
        report.add("E311", node, "the chain would begin again before it has ended", hint)
    return round(every_s)


# ── profiles ────────────────────────────────────────────────────────────────────────────────────


def _take_profiles(document: Document, crowd: Crowd, reading: Reading, report: Report) -> None:
    table = walk(document.root, ["profiles"])
    for key, model in document.model.profiles.items():
        found, seen = [], set()
        for index, one in enumerate(model.milestones):
            here = walk(table, [key, "milestones", index])
            if one.id in seen:
                report.add("E301", walk(here, ["id"]), f"milestone `{one.id}` is defined twice", "one of each name")
            seen.add(one.id)
            _check_targets(report, here, one.to, reading, more=ORDER_TARGETS)
            within_s = read_duration(report, walk(here, ["within"]))
            if within_s is not None:
                found.append(
                    Milestone(
                        id=one.id,
                        name=text_of(one.name),
                        within_s=within_s,
                        reached=_from_there_on(one.reached),
                        to=one.to,
                        is_work=one.working_time,
                        origin=here.origin,
                    )
                )
        if _is_new(report, crowd.profiles, table, "profile", key):
            crowd.profiles[key] = Profile(id=key, name=text_of(model.name), milestones=tuple(found))
    for key, template in document.model.order_templates.items():
        declared = reading.declared.get("profiles", set())
        if template.profile is not None and template.profile not in declared:
            node = walk(document.root, ["order_templates", key, "profile"])
            unknown(report, node, "profile", template.profile, declared)


def _from_there_on(reached: str) -> tuple[str, ...]:
    """A milestone that was skipped over is reached as well: closed without `arrived` is not late for ever."""
    return REACHES[REACHES.index(reached) :]
