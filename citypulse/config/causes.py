"""Reads declared causes and the `storm:` section: what they name must exist, and no two may hide each other."""

from __future__ import annotations

from citypulse.model import Inhibition, InhibitScope, StormPlan
from citypulse.units import UnitError, parse

from .causes_schema import StormIn
from .desk import Desk
from .files import Reading
from .inventory import unknown
from .nodes import Listing, Node, Report, Table, step, walk
from .scalars import read_duration


def causes_of(node: Node | None) -> list[tuple[Node, Inhibition]]:
    """Return the causes said under `inhibited_by`, each with the node that names its rule. `within` may be unsound."""
    if node is None:
        return []
    items = node.items if isinstance(node, Listing) else (node,)
    return [_cause(item) for item in items]


def _cause(node: Node) -> tuple[Node, Inhibition]:
    said = node.data()
    if not isinstance(said, dict):
        return node, Inhibition(rule=str(said))
    name = step(node, "rule") or node
    scope = InhibitScope(said.get("scope", "place"))
    within = said.get("within")
    return name, Inhibition(rule=str(said["rule"]), scope=scope, within_m=_metres(within) or 0.0)


def check_reach(node: Node | None, report: Report) -> None:
    """Note every `within` that is not a length."""
    items = node.items if isinstance(node, Listing) else (node,)
    for item in items:
        within = step(item, "within") if isinstance(item, Table) else None
        if within is not None and not (_metres(within.data()) or 0.0) > 0:
            report.add("E123", within, "`within` is not a distance", "for example `500 m`")


def _metres(said: object) -> float | None:
    try:
        return float(parse(str(said)).to("m"))
    except UnitError:
        return None


def as_data(cause: Inhibition) -> object:
    """Return a cause as it counts for a rule's version; a plain one is its rule's id, as it always was."""
    if cause.scope is InhibitScope.PLACE:
        return cause.rule
    return [cause.rule, cause.scope.value, cause.within_m]


def hides_its_like(cause: Inhibition, rule: str) -> bool:
    """Say whether a rule names itself other than along the river: like does not hide like."""
    return cause.rule == rule and cause.scope is not InhibitScope.UPSTREAM


def storm_plan(reading: Reading, desk: Desk, report: Report) -> StormPlan:
    """Return the storm limits of all documents: at most one section; what it names must exist."""
    plan = StormPlan()
    for document in reading.documents:
        said: StormIn | None = document.model.storm
        node = walk(document.root, ["storm"])
        if said is None:
            continue
        if plan.origin:
            report.add("E301", document.root.key("storm"), "`storm` is given twice", "keep it in one file")
            continue
        window = step(node, "window")
        window_s = 600.0 if window is None else read_duration(report, window)
        known = reading.declared.get("rules", set())
        for position, word in enumerate(said.starts_on):
            if word not in known:
                unknown(report, walk(node, ["starts_on", position]), "rule", word, known)
        for team in said.officers:
            if team not in desk.teams or desk.teams[team].kind != "duty":
                duty = {t.id for t in desk.teams.values() if t.kind == "duty"}
                unknown(report, walk(node, ["officers", team]), "duty desk", team, duty)
        plan = StormPlan(
            starts_above=said.starts_above,
            ends_below=said.ends_below,
            window_s=window_s or 600.0,
            starts_on=said.starts_on,
            officers=tuple(sorted(said.officers.items())),
            origin=str(document.root.key("storm").origin),
        )
    return plan
