"""How alarms, orders and their records look as JSON: one shape for the HTTP API, the CLI and the pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from citypulse.clock import iso
from citypulse.contacts import with_masked
from citypulse.model import Alarm, Event, Priority, WorkOrder


def plain(value: Any) -> Any:
    """Turn a noun into JSON-ready data: enums by value, tuples as lists, instants `x_ms` with an ISO `x_at`."""
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:  # nearly every value: no search of bases
        return value
    if kind is dict:
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        out: dict[str, Any] = {}
        for f in fields(value):
            item = getattr(value, f.name)
            out[f.name] = plain(item)
            if f.name.endswith("_ms") and isinstance(item, int) and item:  # 0 stands for never, not for 1970
                out[f.name.removesuffix("_ms") + "_at"] = iso(item)
        return out
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(v) for v in value]
    if isinstance(value, float) and value != value:  # noqa: PLR0124 - NaN has no JSON form
        return None
    return value


def alarm_view(alarm: Alarm, *, isa: str, allowed: Sequence[str] = ()) -> dict[str, Any]:
    """One alarm for people and programs: its ISA-18.2 letter, colours, and what may be done with it now."""
    peak = Priority(alarm.peak_level)
    view: dict[str, Any] = plain(alarm)
    return view | {
        "isa": isa,
        "colour": Priority(alarm.level).colour,
        "peak_colour": peak.colour,
        "allowed": list(allowed),
    }


def order_view(order: WorkOrder, *, allowed: Sequence[str] = ()) -> dict[str, Any]:
    """One work order, with the verbs its state accepts now and how many lamps of its worst clock have lit."""
    view: dict[str, Any] = plain(order)
    view["data"] = with_masked(view["data"])  # a citizen's contact is shown only by the command `order.contact`
    lamps = max((clock.get("lamps", 0) for clock in order.data.get("clocks", {}).values()), default=0)
    return view | {"colour": Priority(order.level).colour, "allowed": list(allowed), "lamps": lamps}


def event_view(event: Event, *, seq: int | None = None) -> dict[str, Any]:
    """One line of the record."""
    view: dict[str, Any] = plain(event)
    if seq is not None:
        view["seq"] = seq
    return view
