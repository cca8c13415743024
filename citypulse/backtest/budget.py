"""The lint that needs a history: which bounds of the `budget:` section the rules exceed over recorded readings."""

from __future__ import annotations

from citypulse.config.check import Loaded
from citypulse.config.diagnostics import Diagnostic
from citypulse.config.nodes import Report, step, walk

from .desk_load import overruns
from .history import History
from .run import Show, backtest

NAMES = {"flood_share": "flood"}  # where the section's word differs from the measure's


def over_budget(loaded: Loaded, history: History, *, show: Show = lambda *_: None) -> tuple[Diagnostic, ...]:
    """Return a W230 for each bound that is exceeded, at the bound itself; nothing is run when there is no budget."""
    city = loaded.city
    if city is None or not city.budget:
        return ()
    span, (outcome,), _ = backtest([city], history, show=show)
    instants = {"since_ms": span.since_ms, "until_ms": span.until_ms}
    over = overruns(city, outcome.occurrences, None, early_ms=0, **instants)
    nodes = {
        str(node.origin): node
        for document in loaded.reading.documents
        for index in range(len(document.model.budget))
        for node in [walk(document.root, ["budget", index])]
    }
    report = Report()
    for found in over:
        node = nodes[found.origin]
        where = step(node, NAMES.get(found.name, found.name)) or node
        desk = f"{found.desk}: " if found.desk else ""
        said = f"{desk}{found.what.zh} {found.what.en}: {found.is_:.4g}, budget {found.bound:.4g}"
        report.add("W230", where, said, "`citypulse backtest` shows which rules")
    return tuple(report.found)
