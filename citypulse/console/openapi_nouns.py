"""JSON Schemas of what the API answers, drawn from the nouns themselves, so that the page cannot drift from them."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

from citypulse.ledger.tick import OutboxRow
from citypulse.model import Alarm, Event, WorkOrder

from .alarm_shape import ALARM

PLAIN: Final[dict[Any, dict[str, Any]]] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    type(None): {"type": "null"},
}
_TEXTS: Final = {"type": "array", "items": {"type": "string"}}
_ALLOWED: Final = _TEXTS | {"description": "verbs that may be asked for now"}
_COLOUR: Final = {"type": "string", "enum": ["red", "orange", "yellow", "blue"]}
_LETTER: Final = {"type": "string", "enum": list("ABCDEFG"), "description": "ISA-18.2 letter, as in docs/reference"}
# What a view adds to its noun (citypulse.views).
ADDED: Final[dict[str, dict[str, Any]]] = {
    "Alarm": ALARM["properties"] | {"isa": _LETTER, "colour": _COLOUR, "peak_colour": _COLOUR, "allowed": _ALLOWED},
    "Order": {"colour": _COLOUR, "allowed": _ALLOWED, "lamps": {"type": "integer", "minimum": 0}},
    "Event": {"seq": {"type": "integer"}, "hash": {"type": "string", "pattern": "^[0-9a-f]{64}$"}},
    "Notice": {},
}
NOUNS: Final[dict[str, type]] = {"Alarm": Alarm, "Order": WorkOrder, "Event": Event, "Notice": OutboxRow}


def noun_schemas() -> dict[str, dict[str, Any]]:
    """Return the schema of each noun's view, by name."""
    found = {}
    for name, noun in NOUNS.items():
        schema = schema_of(noun)
        schema["properties"] |= ADDED[name]
        optional = () if name != "Alarm" else set(ALARM["properties"]) - set(ALARM["required"])
        schema["required"] = list(dict.fromkeys([*schema["required"], *(a for a in ADDED[name] if a not in optional)]))
        schema["description"] = (noun.__doc__ or "").partition("\n")[0]
        found[name] = schema
    return found


def schema_of(kind: Any) -> dict[str, Any]:
    """Return the schema of what `citypulse.views.plain` makes of a type."""
    if kind in PLAIN:
        # A float that is not a number has no JSON form: it is written as null.
        return {"type": ["number", "null"]} if kind is float else dict(PLAIN[kind])
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {"enum": [member.value for member in kind]}
    if isinstance(kind, type) and is_dataclass(kind):
        return _object(kind)
    origin, inside = get_origin(kind), get_args(kind)
    if origin in (types.UnionType, Union):
        return {"anyOf": [schema_of(one) for one in inside]}
    if origin in (tuple, list, set, frozenset, Sequence):
        items = [one for one in inside if one is not Ellipsis]
        alike = len(items) == 1 or len(set(items)) == 1
        return {"type": "array"} | ({"items": schema_of(items[0])} if alike else {})
    if origin in (dict, Mapping) or kind in (dict, Mapping):
        return {"type": "object"}
    return {}


def _object(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    properties: dict[str, Any] = {}
    required = []
    for one in fields(kind):
        properties[one.name] = schema_of(hints[one.name])
        required.append(one.name)
        if one.name.endswith("_ms"):
            said = f"{one.name} as ISO 8601, UTC; left out where there is none"
            properties[one.name.removesuffix("_ms") + "_at"] = {"type": "string", "description": said}
    return {"type": "object", "properties": properties, "required": required}
