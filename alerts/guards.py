"""What a step of a work order asks for beyond its state: the data it needs and the conditions that must hold.

`FIELDS` and `GUARDS` are the two tables that `lifecycle.ORDER_ROWS` names entries of. A check returns a sentence
that says what is missing, or "" when all is well.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from citypulse.model import Actor, Alarm, AlarmQuality, Condition, Team, WorkOrder

from .sla import EXTENSIONS_MAX
from .texts import days, span
from .verification import Verdict

TEXT_MAX: Final = 500  # characters of one field
DEPTH_MAX: Final = 6  # of a command's data
INT_MAX: Final = 2**53  # what every JSON reader keeps exactly
REJECT_CODES: Final = ("false_alarm", "calibration", "duplicate", "test")

# ── data ────────────────────────────────────────────────────────────────────────────────────────


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        return f"{name} must be a text that says something"
    return "" if len(value) <= TEXT_MAX else f"{name} is longer than {TEXT_MAX} characters"


def _instant(name: str, value: Any) -> str:
    is_instant = isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**53
    return "" if is_instant else f"{name} must be an instant in epoch milliseconds"


def _code(name: str, value: Any) -> str:
    return "" if value in REJECT_CODES else f"{name} must be one of {', '.join(REJECT_CODES)}"


FIELDS: Final[dict[str, Callable[[str, Any], str]]] = {
    "reason": _text,
    "note": _text,
    "code": _code,
    "site": _text,
    "cause": _text,
    "team": _text,
    "photo_before": _text,
    "photo_after": _text,
    "action": _text,
    "plan": _text,
    "interim": _text,
    "until_ms": _instant,
    "ends_ms": _instant,
    "review_ms": _instant,
}


KEPT: Final = (
    *FIELDS,
    "is_botched",
    "position",
    "materials",
    "proof",
    "photo",
    "mis_dispatch",
    "duplicate_of",
    "acted_ms",
)
"""What of a command's data goes into the record."""


def unfit(value: Any, depth: int = DEPTH_MAX) -> str:
    """Return why a command's data cannot be kept as JSON, or "". Never raises, however odd the value."""
    if value is None or isinstance(value, bool):
        return ""
    if isinstance(value, int):
        return "" if abs(value) <= INT_MAX else "a whole number is larger than 2^53"
    if isinstance(value, float):
        return "" if math.isfinite(value) else "a number is not finite"
    if isinstance(value, str):
        return "" if value.isascii() or value.encode("utf-8", "ignore").decode() == value else "a text is not Unicode"
    if depth == 0:
        return f"it is nested deeper than {DEPTH_MAX}"
    if isinstance(value, dict):
        inside = [*value.keys(), *value.values()]
    elif isinstance(value, (list, tuple)):
        inside = list(value)
    else:
        return f"{type(value).__name__} is not JSON"
    return next((said for item in inside if (said := unfit(item, depth - 1))), "")


def missing(needs: tuple[str, ...], data: dict[str, Any]) -> str:
    """Return what is wrong with the data a step needs, all of it in one sentence; "" when nothing is."""
    absent = [name for name in needs if data.get(name) is None]
    wrong = [said for name in needs if name not in absent and (said := FIELDS[name](name, data[name]))]
    return "; ".join(([f"needs {', '.join(absent)}"] if absent else []) + wrong)


# ── conditions ──────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """All a guard may look at: the order, who asks, with what, when, and what sensors and teams say."""

    order: WorkOrder
    actor: Actor
    data: dict[str, Any]
    now_ms: int
    teams: dict[str, Team]
    alarms: tuple[Alarm, ...]  # the alarms that raised it, as they are now
    verdict: Verdict | None  # what the sensors say, while the order waits for proof
    window_s: float  # how long they must say so
    twin: str  # id of another open order for the same cause and asset, or ""


def _is_crew(ask: Ask) -> str:
    team = ask.teams.get(str(ask.data.get("team", "")))
    if team is not None and team.kind == "crew":
        return ""
    crews = ", ".join(sorted(t.id for t in ask.teams.values() if t.kind == "crew")) or "none"
    return f'"{ask.data.get("team")}" is not a crew; crews are {crews}'


def _is_exercise(ask: Ask) -> str:
    return "" if ask.order.is_exercise else "it is a real order"


def _own_unit(ask: Ask) -> str:
    if not ask.actor.unit or not ask.order.unit or ask.actor.unit in {ask.order.unit, ask.order.team}:
        return ""
    return f"it belongs to {ask.order.unit}; you are of {ask.actor.unit}"


def _not_the_fixer(ask: Ask) -> str:
    hands = set(ask.order.data.get("hands", ())) | {ask.order.handler} - {""}
    if ask.actor.name in hands:
        return f"{ask.actor.name} worked on it; another person has to check"
    if ask.actor.unit and ask.actor.unit in {ask.order.unit, ask.order.team}:
        return f"{ask.actor.unit} did the work; another unit has to check"
    return ""


def _before_deadline(ask: Ask) -> str:
    if ask.order.due_ms is not None and ask.now_ms < ask.order.due_ms:
        return ""
    return "the deadline has passed; an extension is asked for before it"


def _first_extension(ask: Ask) -> str:
    return "" if ask.order.extensions == 0 else "the first extension is used; a second needs boss"


def _extensions_left(ask: Ask) -> str:
    if ask.order.extensions >= EXTENSIONS_MAX:
        return f"it has been extended {ask.order.extensions} times, and {EXTENSIONS_MAX} is the most"
    if ask.order.due_ms is not None and ask.data["until_ms"] <= ask.order.due_ms:
        return "until_ms must lie after the present deadline"
    return ""


def _review_within(limit_days: int) -> Callable[[Ask], str]:
    def guard(ask: Ask) -> str:
        is_fit = ask.now_ms < ask.data["review_ms"] <= ask.now_ms + days(limit_days)
        return "" if is_fit else f"review_ms must lie ahead, within {limit_days} days"

    return guard


def _evidence(ask: Ask) -> str:
    repair = ask.order.data.get("repair", {})
    lacking = [name for name in ("photo_before", "photo_after", "action") if not repair.get(name)]
    return f"the report lacks {', '.join(lacking)}" if lacking else ""


def _not_active(ask: Ask) -> str:
    # An active alarm that we can no longer see is no objection: then the manual proof speaks.
    active = [a.scope for a in ask.alarms if a.condition is Condition.ACTIVE and a.quality is AlarmQuality.GOOD]
    return f"still in alarm: {', '.join(active)}" if active else ""


def is_proof(proof: Any) -> bool:
    """True for a manual proof: a photo and a position, from the person who checks."""
    if not isinstance(proof, dict) or not isinstance(proof.get("photo"), str) or not proof["photo"]:
        return False
    return all(isinstance(proof.get(k), (int, float)) and not isinstance(proof.get(k), bool) for k in ("lat", "lon"))


def _sensor_witness(ask: Ask) -> str:
    if "sensors_ok" in ask.order.data:
        return ""
    if said := _not_active(ask):
        return f"the sensors object: {said}"
    if "proof_asked_ms" in ask.order.data:
        if is_proof(ask.data.get("proof")):
            return ""
        return 'the sensors cannot testify (data missing); give "proof": {photo, lat, lon}'
    share = ask.verdict.share if ask.verdict is not None else 0.0
    return (
        f"the sensors have not testified yet: they must stay normal for {span(ask.window_s)} with "
        f"{ask.order.coverage:.0%} of the expected readings (now {share:.0%})"
    )


def _no_twin(ask: Ask) -> str:
    return f"WorkOrder {ask.twin} is open for the same trouble" if ask.twin else ""


def _person_witness(ask: Ask) -> str:
    if "passed" in ask.order.data:
        return ""
    return "a checker who is not the fixer has to pass it first"


GUARDS: Final[dict[str, Callable[[Ask], str]]] = {
    "is_crew": _is_crew,
    "is_exercise": _is_exercise,
    "own_unit": _own_unit,
    "not_the_fixer": _not_the_fixer,
    "before_deadline": _before_deadline,
    "first_extension": _first_extension,
    "extensions_left": _extensions_left,
    "review_within_30_d": _review_within(30),
    "review_within_90_d": _review_within(90),
    "evidence": _evidence,
    "not_active": _not_active,
    "sensor_witness": _sensor_witness,
    "person_witness": _person_witness,
    "no_twin": _no_twin,
}
