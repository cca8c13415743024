"""The OpenAPI schema of one alarm as the API answers it."""

from __future__ import annotations

from typing import Any, Final

_TEXT: Final[dict[str, Any]] = {"type": "string"}
_LEVEL: Final[dict[str, Any]] = {"type": "integer", "minimum": 1, "maximum": 4, "description": "1 red to 4 blue"}
_COLOUR: Final[dict[str, Any]] = {"enum": ["red", "orange", "yellow", "blue"]}
_ISA: Final[dict[str, Any]] = {"type": "string", "pattern": "^[A-G]$", "description": "ISA-18.2 state"}
_INSTANT: Final[dict[str, Any]] = {"type": "integer", "description": "epoch ms"}

_CHILD: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["id", "rule", "scope", "level", "colour", "isa", "raised_ms"],
    "properties": {
        "id": _TEXT, "rule": _TEXT, "scope": _TEXT, "site": _TEXT, "level": _LEVEL, "colour": _COLOUR, "isa": _ISA,
        "raised_ms": _INSTANT, "because": {"type": "object"}, "order_id": _TEXT,
    },
}  # fmt: skip
_CAUSE: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["cause", "kind", "id"],
    "properties": {
        "cause": {"type": "string", "description": "the dedup key of an alarm, or the id of a mute"},
        "kind": {"enum": ["alarm", "mute"]},
        "id": {"type": "string", "description": "of the alarm or mute; empty when it stands no more"},
    },
}

ALARM: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["id", "dedup_key", "rule", "scope", "level", "isa", "allowed", "hides", "hides_count", "hidden_by"],
    "properties": {
        "id": _TEXT,
        "dedup_key": _TEXT,
        "rule": _TEXT,
        "scope": _TEXT,
        "level": _LEVEL,
        "colour": _COLOUR,
        "isa": _ISA,
        "peak_value": {"type": ["number", "null"], "description": "the worst seen while active (threshold rules)"},
        "allowed": {"type": "array", "items": _TEXT},
        "hides": {"type": "array", "items": _CHILD, "maxItems": 1000, "description": "alarms that it explains"},
        "hides_count": {"type": "integer", "minimum": 0},
        "hidden_by": {"type": "array", "items": _CAUSE},
    },
    "additionalProperties": True,
}
