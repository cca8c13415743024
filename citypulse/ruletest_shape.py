"""The shape of a file of rule tests: what may be written where, for the checks and for editors.

What refers to rules, sensors and alarms is checked in ruletest_script.py, where the configuration is known.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict, Field, StrictBool, StrictInt, StrictStr, WithJsonSchema
from pydantic_core import PydanticCustomError

from citypulse.config.jsonschema import DIALECT, tidy
from citypulse.config.schema import ShortForm
from citypulse.config.values import Strict
from rules.ruletest import RuleTestError, read_duration, read_series


def _duration(value: Any) -> Any:
    if not isinstance(value, str):
        raise PydanticCustomError("E121", "expected a duration such as `1m40s`")
    try:
        read_duration(value)
    except RuleTestError as error:
        raise PydanticCustomError("E121", "{why}", {"why": str(error)}) from None
    return value


def _notation(value: Any) -> Any:
    try:
        read_series(str(value))
    except RuleTestError as error:
        raise PydanticCustomError("E401", "{why}", {"why": str(error)}) from None
    return str(value)


Moment = Annotated[
    Any,
    BeforeValidator(_duration),
    WithJsonSchema({"type": "string", "description": "time since the start, or a duration: 0s · 1m40s · 2 h"}),
]
Notation = Annotated[
    Any,
    BeforeValidator(_notation),
    WithJsonSchema({"type": ["string", "number"], "description": "5 · 5x3 · 5+2x3 · _ · _x3 · NaN · 5? · 5@-15m"}),
]
Word = Annotated[StrictStr, Field(min_length=1, max_length=500)]
Count = Annotated[StrictInt, Field(ge=0)]
Flag = StrictBool | None


class SeriesIn(Strict):
    """A series with its own pace or beginning."""

    what: ClassVar[str] = "series"
    values: Notation
    every: Moment | None = Field(default=None, description="time between two items; the test's interval")
    start: Moment | None = Field(default=None, description="when its first item arrives; 0s")


def _series(value: Any) -> Any:
    return {"values": value} if isinstance(value, str | int | float) and not isinstance(value, bool) else value


AnySeries = Annotated[SeriesIn, BeforeValidator(_series), ShortForm('{"type": ["string", "number"]}')]


class StepIn(Strict):
    """Something that is done at a moment: exactly one verb, with the scope of the alarm it is about."""

    what: ClassVar[str] = "step"
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)

    at: Moment
    rule: Word | None = Field(default=None, description="the rule whose alarm is meant; the test's rule")
    by: Word | None = Field(default=None, description="who: a role, or `name, role`, or `name, role, unit`")
    reason: Word | None = None
    note: Word | None = None
    for_: Moment | None = Field(default=None, alias="for", description="how long a shelf or a downtime lasts")
    until: Moment | None = Field(default=None, description="until which moment of the test")
    data: dict[str, Any] | None = Field(default=None, description="more data of the command; `…_ms` may be a duration")
    refused: Word | None = Field(default=None, description="the code with which it must be refused")
    # verbs of people
    ack: Word | None = None
    unack: Word | None = None
    reset: Word | None = None
    shelve: Word | None = None
    unshelve: Word | None = None
    out_of_service: Word | None = None
    in_service: Word | None = None
    comment: Word | None = None
    order: Word | None = Field(default=None, description="a step of the alarm's work order: accept, arrive …")
    scope: Word | None = Field(default=None, description="whose order or command; the rule's scope if it has one")
    command: Word | None = Field(default=None, description="any other command of the desk, with `data`")
    # what happens to the service
    restart: Literal[True] | Moment | None = Field(default=None, description="true, or how long it was down")
    reload: Word | None = Field(default=None, description="another configuration comes into force")
    offline: Word | None = Field(default=None, description="a gateway says goodbye")
    online: Word | None = Field(default=None, description="a gateway is heard without readings")


class ExpectIn(Strict):
    """What must hold at a moment. Besides these keys, a scope's name with its level: `mill.depth: red/unack`."""

    what: ClassVar[str] = "expectation"
    model_config = ConfigDict(
        frozen=True,
        extra="allow",
        json_schema_extra={
            "additionalProperties": {
                "type": "string",
                "pattern": "^(red|orange|yellow|blue|normal)(/(none|unack|acked|hidden))?$",
            }
        },
    )

    at: Moment
    rule: Word | None = None
    sight: Literal["good", "blind", "stale"] | None = None
    isa: Literal["A", "B", "C", "D", "E", "F", "G"] | None = Field(default=None, description="the ISA-18.2 letter")
    quality: Literal["good", "stale"] | None = Field(default=None, description="how well the alarm's cause is seen")
    active: Flag = None
    acked: Flag = None
    confirmed: Flag = None
    latched: Flag = None
    shelved: Flag = None
    suppressed: Flag = None
    out_of_service: Flag = None
    retained: Flag = None
    historical: Flag = None
    occurrence: Count | None = None
    order: Word | None = Field(default=None, description="state of its work order, or `none`")
    raises: Count | None = Field(default=None, description="how often it has raised so far")
    clears: Count | None = None
    notices: dict[Word, Count] | None = Field(default=None, description="notices about it so far, by kind")


class ToldIn(Strict):
    """One line of the record."""

    what: ClassVar[str] = "event"
    at: Moment
    event: Word
    scope: Word | None = None
    by: Word | None = None


Counts = Annotated[
    Any,
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0},
                {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}},
            ],
            "description": "how often the test's rule, or each rule named",
        }
    ),
]


class TestIn(Strict):
    """One test."""

    __test__: ClassVar[bool] = False  # not a class of tests, whatever its name begins with

    what: ClassVar[str] = "test"
    name: Word | None = None
    rule: Word | None = Field(default=None, description="the rule it is about; a line may name another")
    interval: Moment = Field(default="1 min", description="time between two items of a series")
    evaluate: Moment | None = Field(default=None, description="how often time moves when nothing comes; the interval")
    start: Word | None = Field(default=None, description="local time it begins: 2026-01-05 00:00")
    series: dict[Word, AnySeries] = Field(default_factory=dict)
    do: tuple[StepIn, ...] = ()
    expect: tuple[ExpectIn, ...] = ()
    raises: Counts = None
    clears: Counts = None
    levels: dict[Word, Word] | None = Field(
        default=None, description="levels of a scope, one after the other: yellow red normal"
    )
    notices: dict[Word, Count] | None = Field(default=None, description="all notices of the test, by kind")
    events: tuple[ToldIn, ...] | None = Field(default=None, description="the whole record of the rule's alarms")
    differs: Word | None = Field(default=None, description="where we mean to differ from the source, and why")
    source: Word | None = Field(default=None, description="where the case comes from")


class SuiteIn(Strict):
    """A file of rule tests."""

    what: ClassVar[str] = "file"
    config: Word | None = Field(default=None, description="the configuration whose rules are tested, beside this file")
    source: Word | None = None
    tests: tuple[TestIn, ...] = Field(min_length=1)


def tests_json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a file of rule tests."""
    schema = SuiteIn.model_json_schema(by_alias=True)
    tidy(schema)
    return {"$schema": DIALECT, "title": "citypulse rule tests", **schema}
