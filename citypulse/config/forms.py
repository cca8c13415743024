"""The small forms a configuration is written in: ids, texts, durations, lists of words."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler, StrictStr, WithJsonSchema
from pydantic_core import PydanticCustomError

from citypulse.domains import DOMAINS, SITE_KINDS

from .values import Strict

ID_PATTERN = r"^[a-z0-9][a-z0-9_-]*$"

Id = Annotated[StrictStr, Field(pattern=ID_PATTERN, max_length=64)]
Line = Annotated[StrictStr, Field(min_length=1, max_length=2000)]
Number = Annotated[float, Field(strict=True)]
LevelName = Literal["red", "orange", "yellow", "blue"]
LimitLevel = Literal["all", "red", "orange", "yellow", "blue"]
CLOCK_KEYS = {  # as written in YAML → the clock's name (domain.md 2.5)
    "file": "T1", "verify": "T1b", "dispatch": "T2", "accept": "T3", "arrive": "Tsite", "handle": "T4", "check": "T5",
    "acknowledge": "Tack", "close": "Tclose",
}  # fmt: skip
ClockKey = Literal["file", "verify", "dispatch", "accept", "arrive", "handle", "check", "acknowledge", "close"]


def _amount(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise PydanticCustomError("E102", "expected a number with its unit")
    return value


Amount = Annotated[
    Any,
    BeforeValidator(_amount),
    WithJsonSchema({"type": ["string", "number"], "description": "a number with its unit, e.g. `15 cm`"}),
]
TimeLimitText = Annotated[
    Any,
    BeforeValidator(_amount),
    WithJsonSchema({"type": "string", "description": "e.g. `90 min`, `4 working hours`, `7 working days`"}),
]
Duration = Annotated[
    Any,
    BeforeValidator(_amount),
    WithJsonSchema({"type": "string", "description": "e.g. `60 s`, `5 min`, `2 h`, `1 d`, `3 * cadence`"}),
]


@dataclass(frozen=True, slots=True)
class ShortForm:
    """Tells editors of the short form that a validator before this one also takes."""

    schema: str  # of the short form, as JSON text: frozen data needs a hash

    def __get_pydantic_json_schema__(self, core: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Offer both forms."""
        return {"anyOf": [json.loads(self.schema), handler(core)]}


def several(value: Any) -> Any:
    """Let one word stand for a list of one."""
    return [value] if isinstance(value, str) else value


def words_schema(items: dict[str, Any]) -> Any:
    """Return the schema of a list that may be written as one word."""
    both = [items, {"type": "array", "items": items, "minItems": 1}]
    return WithJsonSchema({"anyOf": both})


Words = Annotated[tuple[Line, ...], BeforeValidator(several), Field(min_length=1), words_schema({"type": "string"})]
DomainWords = Annotated[
    tuple[Line, ...], BeforeValidator(several), Field(min_length=1), words_schema({"enum": sorted(DOMAINS)})
]
KindWords = Annotated[
    tuple[Line, ...], BeforeValidator(several), Field(min_length=1), words_schema({"enum": sorted(SITE_KINDS)})
]


class TextIn(Strict):
    """A text people see, in both languages."""

    what: ClassVar[str] = "text"
    zh: Line
    en: Line
