"""The shape of what is said about causes and floods of alarms: `inhibited_by:` of a rule, and the `storm:` section."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, StrictInt, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from .forms import Amount, Duration, Line, several, words_schema
from .values import Strict


class InhibitionIn(Strict):
    """A cause: the rule whose active alarm hides this one, and how far it reaches."""

    what: ClassVar[str] = "inhibited_by"
    rule: Line
    scope: Literal["place", "sensor", "site", "gateway", "area", "upstream", "near"] = "place"
    within: Amount | None = None

    @model_validator(mode="after")
    def _near_says_how_near(self) -> InhibitionIn:
        if (self.scope == "near") != (self.within is not None):
            raise PydanticCustomError("E109", "`within` (e.g. `500 m`) belongs to `scope: near`, and it needs one")
        return self


def _cause(value: Any) -> Any:
    return {"rule": value} if isinstance(value, str) else value


def _causes(value: Any) -> Any:
    return [value] if isinstance(value, str | dict) else value


_CAUSE_SCHEMA = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "additionalProperties": False,
            "required": ["rule"],
            "properties": {
                "rule": {"type": "string"},
                "scope": {"enum": ["place", "sensor", "site", "gateway", "area", "upstream", "near"]},
                "within": {"type": ["string", "number"], "description": "for `scope: near`, e.g. `500 m`"},
            },
        },
    ]
}
Causes = Annotated[
    tuple[Annotated[InhibitionIn, BeforeValidator(_cause)], ...],
    BeforeValidator(_causes),
    WithJsonSchema({"anyOf": [_CAUSE_SCHEMA, {"type": "array", "items": _CAUSE_SCHEMA}]}),
]


class StormIn(Strict):
    """When a duty desk is in a flood of alarms, so that what can wait comes as a digest (ISA-18.2: 10 and 5)."""

    what: ClassVar[str] = "storm"
    starts_above: StrictInt = Field(default=10, ge=1, le=1000, description="new alarms within `window` per officer")
    ends_below: StrictInt = Field(default=5, ge=1, le=1000)
    window: Duration = "10 min"
    starts_on: Annotated[tuple[Line, ...], BeforeValidator(several), words_schema({"type": "string"})] = Field(
        default=(), description="rules whose alarm begins a storm at once: gateway loss, heavy rain"
    )
    officers: dict[Line, Annotated[StrictInt, Field(ge=1, le=1000)]] = Field(
        default_factory=dict, description="officers at work at a desk, where that is not everybody of its team"
    )

    @model_validator(mode="after")
    def _ends_below_its_start(self) -> StormIn:
        if self.ends_below > self.starts_above:
            raise PydanticCustomError("E109", "a storm must end below where it starts: `ends_below` ≤ `starts_above`")
        return self
