"""Reads the `budget:` section: the desks it names must exist, and every entry must bound something."""

from __future__ import annotations

from citypulse.model import AlarmBudget, Origin

from .budget_schema import BudgetIn
from .files import Reading
from .inventory import unknown
from .nodes import Report, step, walk
from .scalars import read_share

BOUNDS = ("per_10min", "peak_10min", "flood", "per_day", "chattering", "standing", "missed")


def take_budgets(reading: Reading, report: Report) -> tuple[AlarmBudget, ...]:
    """Return the budgets of all documents; problems are noted."""
    desks = {
        name for document in reading.documents for name, team in document.model.teams.items() if team.kind == "duty"
    }
    found: dict[str, AlarmBudget] = {}
    for document in reading.documents:
        for index, said in enumerate(document.model.budget):
            node = walk(document.root, ["budget", index])
            desk = said.desk or ""
            where = step(node, "desk") or node
            if desk in found:
                what = f"a budget of desk `{desk}`" if desk else "a budget of all alarms"
                report.add("E301", where, f"{what} is given twice", "keep one")
                continue
            if desk and desk not in desks:
                unknown(report, where, "duty desk", desk, desks)
            if all(getattr(said, name) is None for name in BOUNDS):
                report.add("E101", node, "this budget bounds nothing", f"give one of {', '.join(BOUNDS)}")
            share = step(node, "flood")
            found[desk] = _made(said, None if share is None else read_share(report, share), node.origin)
    return tuple(found.values())


def _made(said: BudgetIn, flood: float | None, origin: Origin) -> AlarmBudget:
    return AlarmBudget(
        desk=said.desk or "",
        officers=said.officers,
        per_10min=said.per_10min,
        peak_10min=said.peak_10min,
        flood_share=flood,
        per_day=said.per_day,
        chattering=said.chattering,
        standing=said.standing,
        missed=said.missed,
        origin=origin,
    )
