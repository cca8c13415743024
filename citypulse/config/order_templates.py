"""Reads `order_templates:`: what an order tells the crew, its own time limits by level, and its steps.

A limit is natural time (`90 min`), working hours (`4 working hours`, `4 工作时`) or working days (`7 working days`,
`7 工作日`).
"""

from __future__ import annotations

import re
from typing import Final

from citypulse.model import WORKDAY_S, OrderStep, OrderTemplate, Priority, TimeLimit

from .files import Document
from .forms import CLOCK_KEYS
from .inventory import text_of
from .nodes import Node, Report, Scalar, did_you_mean, walk
from .scalars import read_duration
from .schema import OrderTemplateIn

_WORK: Final = re.compile(r"(\d+(?:\.\d+)?) *(?:working *(hours?|days?)|工作(时|小时|日))")
_YEARS_S: Final = 2 * 366 * 86_400.0  # no order may take longer
ALL: Final = "all"


def read_limit(report: Report, node: Node) -> TimeLimit | None:
    """Read a time limit; None with the problem noted."""
    text = node.value if isinstance(node, Scalar) and isinstance(node.value, str) else ""
    found = _WORK.fullmatch(text.strip())
    if found:
        is_day = (found[2] or "").startswith("day") or found[3] == "日"
        limit = TimeLimit(seconds=float(found[1]) * (WORKDAY_S if is_day else 3_600.0), is_work=True)
    else:
        natural_s = read_duration(report, node)
        if natural_s is None:
            return None
        limit = TimeLimit(seconds=natural_s)
    if 0 < limit.seconds <= _YEARS_S:
        return limit
    report.add("E105", node, "a limit must be above nought and at most two years", "for example `4 working hours`")
    return None


def template_of(document: Document, key: str, model: OrderTemplateIn, report: Report) -> OrderTemplate:
    """Return one template; problems are noted."""
    node = walk(document.root, ["order_templates", key])
    timers: dict[Priority, dict[str, TimeLimit]] = {}
    words = {ALL: tuple(Priority), **{p.colour: (p,) for p in Priority}}
    for word in sorted(model.timers, key=lambda w: w != ALL):  # what is said of one level goes before what is of all
        for clock in model.timers[word]:
            limit = read_limit(report, walk(node, ["timers", word, clock]))
            for level in words[word] if limit is not None else ():
                timers.setdefault(level, {})[CLOCK_KEYS[clock]] = limit  # type: ignore[assignment] # not None here
    steps = _steps(node, model, report)
    handle = CLOCK_KEYS["handle"]
    if steps and (bare := [p.colour for p in Priority if handle not in timers.get(p, {})]):
        what = f"an order of several steps says how long all of it may take: `handle` is missing for {', '.join(bare)}"
        report.add("E101", walk(node, ["steps"]), what, "add `timers: {all: {handle: 20 working days}}`")
    if model.checklist_required and not model.checklist:
        report.add(
            "E101", walk(node, ["checklist_required"]), "there is no checklist to be required", "add `checklist:`"
        )
    return OrderTemplate(
        id=key,
        name=text_of(model.name),
        checklist=tuple(text_of(t) for t in model.checklist),
        safety=tuple(text_of(t) for t in model.safety),
        profile=model.profile or "",
        is_checklist_required=model.checklist_required,
        timers=timers,
        steps=steps,
    )


def _steps(node: Node, model: OrderTemplateIn, report: Report) -> tuple[OrderStep, ...]:
    found: dict[str, OrderStep] = {}
    for index, one in enumerate(model.steps):
        here = walk(node, ["steps", index])
        if one.id in found:
            report.add("E301", walk(here, ["id"]), f"step `{one.id}` is given twice", "ids are unique within an order")
            continue
        if one.after is not None and one.after not in found:
            hint = did_you_mean(one.after, list(found), several="steps above it are") or "steps stand in their order"
            report.add("E302", walk(here, ["after"]), f"there is no step `{one.after}` above this one", hint)
        limit = read_limit(report, walk(here, ["within"]))
        if limit is not None:
            found[one.id] = OrderStep(id=one.id, name=text_of(one.name), within=limit, after=one.after or "")
    return tuple(found.values())
