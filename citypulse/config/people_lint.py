"""What is allowed in the sections about people but hardly meant: hours with nobody on, people nobody can reach."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations, pairwise, product

from citypulse.model import Chain, Person, Rota, Route, Shift

from .files import Document
from .nodes import Node, Report, Table, walk

DAY_S = 86_400
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Span = tuple[int, int, int]  # from, until, in seconds of the day; how many people at least


def lint_people(
    documents: Sequence[Document],
    people: Mapping[str, Person],
    rotas: Mapping[str, Rota],
    chains: Mapping[str, Chain],
    routes: Iterable[Route],
    report: Report,
) -> None:
    """Note what is hardly meant."""
    used = {chain for route in routes for chain in route.chains}
    for document in documents:
        for team in document.model.rotas:
            if team in rotas:
                node = walk(document.root, ["rotas", team])
                _lint_hours(report, node, rotas[team])
                _lint_twice(report, node, rotas[team])
                _lint_stand_ins(report, node, rotas[team])
        table = walk(document.root, ["chains"])
        for key in document.model.chains:
            if key in chains and key not in used and isinstance(table, Table):
                report.add("W226", table.key(key), f"no route names chain `{key}`", f"add `chain: {key}` to a route")
        _lint_contacts(report, document, people, rotas, chains)


def _spans(shifts: Iterable[Shift], weekday: int, *, is_workday: bool) -> Iterator[Span]:
    for shift in shifts:
        words = {WEEKDAYS[weekday], "workday" if is_workday else "holiday"}
        if not shift.days or words & set(shift.days):
            yield shift.starts_s, shift.ends_s, min(len(group) for group in shift.groups)


def _hours(shifts: Sequence[Shift], weekday: int, kinds: tuple[bool, bool]) -> Iterator[tuple[int, int, int]]:
    """Yield the stretches of a day with how many people are on, given what kind of day it and the day before are."""
    spans = [(a - DAY_S, b - DAY_S, n) for a, b, n in _spans(shifts, (weekday - 1) % 7, is_workday=kinds[0])]
    spans += list(_spans(shifts, weekday, is_workday=kinds[1]))
    cuts = sorted({0, DAY_S, *(at for a, b, _ in spans for at in (a, b) if 0 < at < DAY_S)})
    for start, end in pairwise(cuts):
        yield start, end, sum(n for a, b, n in spans if a <= start and end <= b)


def _lint_hours(report: Report, node: Node, rota: Rota) -> None:
    """Any weekday may be worked or free (调休), after one that was either: every one of them is looked at."""
    for weekday, before, today in product(range(7), (True, False), (True, False)):
        kinds = (before, today)
        for start, end, count in _hours(rota.shifts, weekday, kinds):
            when = f"{_clock(start)}-{_clock(end)} on a {'workday' if kinds[1] else 'holiday'} ({WEEKDAYS[weekday]})"
            if not count and not rota.fallback:
                report.add("W221", node, f"nobody of `{rota.team}` is on duty {when}", "add a shift, or a `fallback`")
                return
            if 0 < count < rota.at_least:
                message = f"only {count} of `{rota.team}` on duty {when}; `at_least` asks for {rota.at_least}"
                report.add("W223", node, message, "enlarge the groups, or lower `at_least`")
                return


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02d}:{seconds % 3600 // 60:02d}"


def _lint_twice(report: Report, node: Node, rota: Rota) -> None:
    for (_, one), (second, other) in combinations(enumerate(rota.shifts), 2):
        both = {p for g in one.groups for p in g} & {p for g in other.groups for p in g}
        is_same_day = not one.days or not other.days or set(one.days) & set(other.days)
        overlaps = is_same_day and one.starts_s < other.ends_s and other.starts_s < one.ends_s
        if both and overlaps:
            message = f"shift `{other.id}` overlaps `{one.id}`, and {', '.join(sorted(both))} may be on both at once"
            report.add("W222", walk(node, ["shifts", second]), message, "let one begin when the other ends")


def _lint_stand_ins(report: Report, node: Node, rota: Rota) -> None:
    members = {p for shift in rota.shifts for group in shift.groups for p in group}
    members |= {s.person for s in rota.stand_ins}
    for index, one in enumerate(rota.stand_ins):
        if one.instead_of and one.instead_of not in members:
            here = walk(node, ["overrides", index])
            message = f"`{one.instead_of}` is in no shift of `{rota.team}`: the override changes nothing"
            report.add("W224", here, message, "name somebody of the rota, or leave `instead_of` out to add a person")


def _lint_contacts(
    report: Report,
    document: Document,
    people: Mapping[str, Person],
    rotas: Mapping[str, Rota],
    chains: Mapping[str, Chain],
) -> None:
    called = {p for rota in rotas.values() for shift in rota.shifts for group in shift.groups for p in group}
    called |= {p for rota in rotas.values() for p in (*rota.fallback, *(s.person for s in rota.stand_ins))}
    words = [word for chain in chains.values() for s in chain.steps for word in s.to]
    called |= {word.removeprefix("person:") for word in words if word.startswith("person:")}
    levels = {word.removeprefix("level:") for word in words if word.startswith("level:")}
    table = walk(document.root, ["people"])
    for key in document.model.people:
        person = people.get(key)
        is_called = person is not None and (key in called or (person.level in levels))
        if person is not None and is_called and not person.contacts and isinstance(table, Table):
            message = f"`{key}` is to be called, but has no contact"
            report.add("W225", table.key(key), message, "give a `phone` at least")
