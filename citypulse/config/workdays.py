"""The `workdays:` section: a year's public holidays and the weekend days worked in their stead (调休), checked.

A year given here replaces the one that is shipped. One file a year, named in `include:`, is all it takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

from citypulse.model import WorkdayYear

from .files import Reading
from .nodes import Node, Report, step, walk
from .records_schema import WorkdaysIn

OFF_MAX = 60  # days off in a year beside weekends; more is a slip of the pen


def take_workdays(reading: Reading, report: Report) -> tuple[WorkdayYear, ...]:
    """Return the years of all documents, in order; problems are noted."""
    found: dict[int, WorkdayYear] = {}
    for document in reading.documents:
        for name, said in document.model.workdays.items():
            node, year = walk(document.root, ["workdays", name]), int(name)
            if year in found:
                report.add("E301", node, f"the workdays of {year} are given twice", "keep one")
                continue
            off = set(_off(said, year, node, report))
            days = [_day(year, text, _at(node, "worked", k), report) for k, text in enumerate(said.worked)]
            worked = {day for day in days if day is not None}
            _check(year, off, worked, node, report)
            found[year] = WorkdayYear(
                year=year,
                source=said.source,
                off=tuple(sorted(d.isoformat() for d in off)),
                worked=tuple(sorted(d.isoformat() for d in worked)),
                origin=node.origin,
            )
    return tuple(found[year] for year in sorted(found))


def _at(node: Node, key: str, place: int) -> Node:
    inner = step(node, key)
    return node if inner is None else step(inner, place) or inner


def _day(year: int, text: str, node: Node, report: Report) -> date | None:
    try:
        return date.fromisoformat(f"{year}-{text}")
    except ValueError:
        report.add("E105", node, f"{year}-{text} is no day", "month-day, such as `10-01`")
        return None


def _off(said: WorkdaysIn, year: int, node: Node, report: Report) -> Iterator[date]:
    for place, text in enumerate(said.holidays):
        here = _at(node, "holidays", place)
        first_text, _, last_text = text.partition(" to ")
        first, last = _day(year, first_text, here, report), _day(year, last_text or first_text, here, report)
        if first is None or last is None:
            continue
        if last < first:
            report.add("E105", here, f"{text} ends before it begins", "a span over New Year stands in both years")
            continue
        yield from (first + timedelta(days=k) for k in range((last - first).days + 1))


def _check(year: int, off: set[date], worked: set[date], node: Node, report: Report) -> None:
    if both := sorted(off & worked):
        report.add("E105", node, f"{both[0]} is both off and worked", "it can only be one of the two")
    if plain := sorted(d for d in worked if d.weekday() < 5):
        report.add("E105", node, f"{plain[0]} is worked anyway: it is no weekend day", "`worked` names weekend days")
    if len(off) > OFF_MAX:
        report.add("E105", node, f"{len(off)} days off in {year} are too many", "name holidays only, not every weekend")
