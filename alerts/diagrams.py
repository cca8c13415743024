"""The reference page of the life of alarms and work orders, drawn from the tables: docs/reference/lifecycle.md.

`python -m alerts.diagrams` prints the page; a test fails when the file is not what the tables say.
"""

from __future__ import annotations

import itertools
import sys
from typing import Final

from alerts.orders.sla import CLOCK_NAMES, LAMPS, LIMITS, lamp_name, limit_text
from alerts.orders.table import ENDS, NOTICE_ROWS, OPEN_STATES, ORDER_ROWS, STATE_NAMES, OrderRow
from alerts.people.escalation import WAITS_S
from citypulse.model import Condition, InhibitScope, OrderState, Priority

from .guards import REJECT_CODES
from .lifecycle import ALARM_ROWS, ALARM_VERBS, LETTERS, Regions, letter, step_alarm
from .texts import span

GUARD_WORDS: Final = {
    "is_crew": "the team is a configured crew",
    "is_exercise": "the order belongs to an exercise",
    "own_unit": "the actor belongs to the order's unit",
    "not_the_fixer": "another person and another unit than the fixer's",
    "before_deadline": "the deadline has not passed",
    "first_extension": "no extension yet",
    "extensions_left": "fewer than two extensions, and a later deadline",
    "review_within_30_d": "a review date within 30 days",
    "review_within_90_d": "a review date within 90 days",
    "evidence": "photos before and after and an action are in the report",
    "not_active": "no raising alarm that we can see is active",
    "sensor_witness": "the sensors have proven it, or a manual proof where they cannot",
    "person_witness": "a checker has passed it",
    "no_twin": "no other open order for the same cause and place",
    "acted_after_dispatch": "`acted_ms`, if given, neither in the future nor before the dispatch",
    "is_item": "an item of the template's checklist",
    "checklist_done": "every item ticked, where the template asks for it",
    "is_open_step": "a step of the template that is not finished, whose predecessor is",
    "steps_done": "every step of the template finished",
}
_WALK: Final = ("raise", "clear", "acknowledge", "reset", "shelve", "unshelve", "suppress", "release",
                "out_of_service", "in_service", "worsen")  # fmt: skip


def alarm_diagram() -> str:
    """Return the ISA-18.2 letters and the steps between them as a mermaid state diagram, walked from the table."""
    edges: dict[tuple[str, str], set[str]] = {}
    seen, todo = set(), [Regions()]
    while todo:
        at = todo.pop()
        if at in seen:
            continue
        seen.add(at)
        for event, latches in itertools.product(_WALK, (False, True)):
            after = step_alarm(at, event, latches=latches)
            if after is None or (event == "raise" and at.condition is Condition.ACTIVE):
                continue
            todo.append(after)
            if letter(after) != letter(at):
                edges.setdefault((letter(at), letter(after)), set()).add(event)
    lines = ["stateDiagram-v2", "    [*] --> A"]
    lines += [f"    {name}: {name} {text.zh} {text.en}" for name, text in LETTERS.items()]
    lines += [f"    {a} --> {b}: {', '.join(sorted(events))}" for (a, b), events in sorted(edges.items())]
    return "\n".join(lines)


def order_diagram() -> str:
    """Return the states of a work order and its transitions as a mermaid state diagram."""
    lines = ["stateDiagram-v2"]
    lines += [f"    {s.value}: {STATE_NAMES[s]} {s.name}" for s in OrderState]
    drawn: dict[tuple[str, str], list[str]] = {}
    for row in ORDER_ROWS:
        if row.to is None or row.sources == OPEN_STATES:
            continue
        for source in row.sources or (None,):
            label = f"{row.number} {row.verb}"
            here = drawn.setdefault((source.value if source is not None else "[*]", row.to.value), [])
            if label not in here:
                here.append(label)
    lines += [f"    {a} --> {b}: {', '.join(labels)}" for (a, b), labels in drawn.items()]
    lines += [f"    {s.value} --> [*]" for s in OrderState if s in ENDS]
    return "\n".join(lines)


def order_dot() -> str:
    """Return the same graph for Graphviz."""
    lines = ["digraph orders {", "  rankdir=LR; node [shape=box, style=rounded];"]
    lines += [
        f'  {s.value} [label="{STATE_NAMES[s]}\\n{s.name}"{", peripheries=2" if s in ENDS else ""}];'
        for s in OrderState
    ]
    for row in ORDER_ROWS:
        if row.to is not None and row.sources != OPEN_STATES:
            lines += [f'  {s.value} -> {row.to.value} [label="{row.number} {row.verb}"];' for s in row.sources]
    return "\n".join([*lines, "}"])


def _order_line(row: OrderRow) -> str:
    sources = "any open" if row.sources == OPEN_STATES else ", ".join(s.name for s in row.sources) or "–"
    to = row.to.name if row.to is not None else "(no change)"
    who = ", ".join(row.roles) + ("" if row.levels == "any" else f" ({row.levels})")
    asks = [f"`{n}`" for n in row.needs] + [GUARD_WORDS[g] for g in row.guards]
    clocks = ", ".join([f"starts {c}" for c in row.starts] + [f"stops {c}" for c in row.stops])
    cells = (
        str(row.number),
        f"{row.name.zh} {row.name.en}",
        f"`{row.verb}`",
        sources,
        to,
        who,
        "; ".join(asks),
        clocks,
    )
    return f"| {' | '.join(cells)} |"


def page() -> str:
    """Return the whole reference page as Markdown."""
    alarm_rows = [
        f"| `{r.event}` | {', '.join(f'{k} = {_plain(v)}' for k, v in r.given) or 'always'} "
        f"| {', '.join(f'{k} := {_plain(v)}' for k, v in r.sets) or 'nothing'} |"
        for r in ALARM_ROWS
    ]
    verbs = [
        f"| `{v.verb}` | {v.name.zh} {v.name.en} | {', '.join(v.roles)} | {', '.join(v.letters)} "
        f"| {', '.join(f'`{n}`' for n in v.needs) or '–'} |"
        for v in ALARM_VERBS.values()
    ]
    clocks = [
        f"| {name} {text.zh} {text.en} | " + " | ".join(limit_text(LIMITS[p][name]) for p in Priority) + " |"
        for name, text in CLOCK_NAMES.items()
    ]
    lamps = [f"| {share:.0%} | {lamp_name(n).zh} | {lamp_name(n).en} |" for n, share in enumerate(LAMPS)]
    return "\n".join(
        [
            "# The life of an alarm and of a work order",
            "",
            "Drawn from `alerts/lifecycle.py` and `alerts/orders/table.py` by `python -m alerts.diagrams`;",
            "do not edit by hand.",
            "The tables are what runs: a step that is not in them does not happen.",
            "",
            "## Alarms",
            "",
            "An alarm has independent regions: condition, acknowledgement, confirmation, three overlays (shelved,",
            "suppressed, out of service) and quality. The ISA-18.2 letter is derived; an overlay is shown before what",
            "lies under it (G > F > E > B, C, D, A). Missing data changes only the quality.",
            "",
            "```mermaid",
            alarm_diagram(),
            "```",
            "",
            "| Event | If | Then |",
            "|---|---|---|",
            *alarm_rows,
            "",
            "An alarm is *suppressed* while a declared cause is active within its reach ("
            + ", ".join(f"`{scope.value}`" for scope in InhibitScope)
            + "),",
            "or while a mute is open over it; it is *released* in the tick in which the last of them ends. A red gas",
            "alarm never is. Reach, storm mode and situations: [storm.md](storm.md).",
            "",
            "What people may ask (roles are enforced by the desk, not by pages):",
            "",
            "| Verb | | Roles | In | Needs |",
            "|---|---|---|---|---|",
            *verbs,
            "",
            "An unacknowledged alarm calls again, by wall time since it asked for attention; from the third reminder",
            "on, every duty desk hears it.",
            "",
            "| Level | Reminders after |",
            "|---|---|",
            *(f"| {p.colour_zh} {p.colour} | {', '.join(map(span, WAITS_S[p])) or 'none'} |" for p in Priority),
            "",
            "## Work orders",
            "",
            "Fourteen states and twenty transitions, after the stages of GB/T 30428.8. *Serious* is red or orange,",
            "*ordinary* is yellow or blue. Cancelling (18) and supervision (20) are possible in any open state.",
            "",
            "```mermaid",
            order_diagram(),
            "```",
            "",
            "| # | | Verb | From | To | Roles | Asks for | Clocks |",
            "|---|---|---|---|---|---|---|---|",
            *(_order_line(row) for row in ORDER_ROWS),
            "",
            "A *notice* (抄告) must only be acknowledged; its table is short:",
            "",
            "| # | | Verb | From | To | Roles | Asks for | Clocks |",
            "|---|---|---|---|---|---|---|---|",
            *(_order_line(row) for row in NOTICE_ROWS),
            "",
            f"Reasons for not filing: {', '.join(f'`{c}`' for c in REJECT_CODES)}.",
            "",
            "### Clocks",
            "",
            "Our proposal; no national figures exist. A working day has eight hours; `alerts/people/workdays.py` holds",
            "the public holidays. T4 and the clocks of an order's own steps stand still while it is deferred or",
            "suspended; a rework gets half of T4, at most a day of its own kind; on-time figures use the original",
            "deadline.",
            "A template may set other limits, and steps with clocks of their own: [orders.md](orders.md).",
            "",
            "| Clock | red | orange | yellow | blue |",
            "|---|---|---|---|---|",
            *clocks,
            "",
            "| Share used | | |",
            "|---|---|---|",
            *lamps,
            "",
        ]
    )


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(getattr(value, "value", value))


if __name__ == "__main__":
    sys.stdout.write(page())
