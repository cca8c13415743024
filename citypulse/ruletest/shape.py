"""The shape of a file of rule tests: what may be written where, for the checks and for editors.

What refers to rules, sensors and alarms is checked in ruletest_script.py, where the configuration is known.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    WithJsonSchema,
    model_validator,
)
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


def _offset(value: Any) -> Any:
    if not isinstance(value, str) or value[:1] not in {"+", "-"}:
        raise PydanticCustomError("E121", "expected a duration with its sign, such as `+7m` or `-90s`")
    _duration(value[1:])
    return value


Moment = Annotated[
    Any,
    BeforeValidator(_duration),
    WithJsonSchema({"type": "string", "description": "time since the start, or a duration: 0s · 1m40s · 2 h"}),
]
Offset = Annotated[
    Any,
    BeforeValidator(_offset),
    WithJsonSchema({"type": "string", "description": "+7m · -90s"}),
]
Notation = Annotated[
    Any,
    BeforeValidator(_notation),
    WithJsonSchema({"type": ["string", "number"], "description": "5 · 5x3 · 5+2x3 · _ · _x3 · NaN · 5? · 5@-15m"}),
]
Word = Annotated[StrictStr, Field(min_length=1, max_length=500)]
Count = Annotated[StrictInt, Field(ge=0)]
Flag = StrictBool | None
Colour = Literal["red", "orange", "yellow", "blue"]
AlarmWord = Literal[
    "normal",
    "unacked",
    "acked",
    "returned_unacked",
    "latched_unacked",
    "latched_acked",
    "shelved",
    "suppressed",
    "out_of_service",
]


def _several(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Words = Annotated[
    tuple[Word, ...], BeforeValidator(_several), Field(min_length=1), ShortForm('{"type": "string", "minLength": 1}')
]

SYNONYMS: Final = {
    # Words of other systems, and what is meant by them here.
    "acknowledge": "ack", "unacknowledge": "unack", "silence": "mute", "suppress": "mute", "inhibit": "mute",
    "unsilence": "unmute", "unsuppress": "unmute", "maintenance": "window", "return_to_service": "in_service",
    "enable": "in_service", "disable": "out_of_service", "latch_reset": "reset", "close": "order: close",
    "fix": "repair", "repaired": "repair", "verify": "confirm", "note_on": "comment", "severity": "SCOPE: red",
    "status": "state", "firing": "active", "acknowledged": "acked", "hidden": "suppressed", "flapping": "chattering",
    "chatter": "chattering", "duplicate_count": "duplicates", "values": "series", "input_series": "series",
    "eval_time": "at", "exp_alerts": "expect", "alert_rule_test": "expect", "repeats": "duplicates",
    "peak_level": "peak", "inhibited_by": "hidden_by", "suppressed_by": "hidden_by", "test": "name", "out_of_order":
    "late", "letter": "isa", "kill": "restart", "crash": "restart", "duration": "for",
}  # fmt: skip
"""For the hint beside an unknown key."""


class SeriesIn(Strict):
    """A series with its own pace or beginning."""

    what: ClassVar[str] = "series"
    values: Notation | None = Field(default=None, description="items, one each interval")
    points: dict[Word, Notation] | None = Field(
        default=None, description="instead: items by the moment at which they arrive"
    )
    every: Moment | None = Field(default=None, description="time between two items; the test's interval")
    start: Moment | None = Field(default=None, description="when its first item arrives; 0s")
    clock: Offset | None = Field(default=None, description="how far its clock is off: +7m runs ahead, -90s behind")

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.values is None) == (self.points is None):
            raise PydanticCustomError("E101", "a series has either `values` or `points`")
        for moment in self.points or {}:
            _duration(moment)
        return self


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
    mute: Word | None = Field(default=None, description="a silence, by a name of your own")
    window: Word | None = Field(default=None, description="a maintenance window, by a name of your own")
    extend: Word | None = Field(default=None, description="let a mute of that name end later")
    unmute: Word | None = Field(default=None, description="cancel a mute of that name")
    repair: Word | None = Field(default=None, description="the crew works off the alarm's order: accept … check")
    confirm: Word | None = Field(default=None, description="the checker passes its order")
    order: Word | None = Field(default=None, description="a step of the alarm's work order: accept, arrive …")
    scope: Word | None = Field(default=None, description="whose order or command; the rule's scope if it has one")
    command: Word | None = Field(default=None, description="any other command of the desk, with `data`")
    target: Word | None = Field(default=None, description="of a command: an id, or the name of a mute of this test")
    # what a mute hides (the test's rule when none is said), and when
    rules: Words | None = None
    domains: Words | None = None
    areas: Words | None = None
    sites: Words | None = None
    scopes: Words | None = None
    at_most: Colour | None = Field(default=None, description="the most serious level it hides; yellow")
    begins: Moment | None = Field(default=None, description="moment of the test at which it begins; the step's")
    rrule: Word | None = Field(default=None, description="RFC 5545 recurrence of a window")
    lasts: Moment | None = Field(default=None, description="how long a recurring window is open each time")
    days: Literal["workday", "holiday"] | None = None
    timezone: Word | None = None
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
    state: AlarmWord | None = Field(default=None, description="the ISA-18.2 state in words, latched ones apart")
    acked: Flag = None
    confirmed: Flag = None
    latched: Flag = None
    shelved: Flag = None
    suppressed: Flag = None
    out_of_service: Flag = None
    retained: Flag = None
    historical: Flag = None
    occurrence: Count | None = None
    chattering: Flag = None
    turns: Count | None = Field(default=None, description="raises and clears that were recorded while it chatters")
    peak: Colour | None = Field(default=None, description="the most serious level of this occurrence")
    peak_value: float | None = None
    acked_by: Word | None = None
    hidden_by: Words | None = Field(
        default=None, description="all that hides it: rules, `rule|scope`, or mutes by name; or `none`"
    )
    allowed: Words | None = Field(default=None, description="all that may be done to it now, or `none`")
    order: Word | None = Field(default=None, description="state of its work order, or `none`")
    reminders: Count | None = Field(default=None, description="reminders so far")
    realarms: Count | None = Field(default=None, description="how often it asked again after an acknowledgement")
    counts: dict[Word, Count] | None = Field(default=None, description="lines of its record so far, by kind")
    told: Words | None = Field(default=None, description="teams and people who have been told so far, or `none`")
    duplicates: Count | None = Field(default=None, description="readings of its sensors that came again, so far")
    late: Count | None = Field(default=None, description="readings older than their sensor's newest, so far")
    quarantined: Count | None = Field(default=None, description="readings from the future, so far")
    storm: dict[Word, StrictBool] | None = Field(default=None, description="desks that are in a storm, or are not")
    mutes: dict[Word, Literal["waiting", "open", "over"]] | None = Field(
        default=None, description="what has become of mutes"
    )
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
    counts: dict[Word, Count] | None = Field(
        default=None, description="lines of the record of the rule's alarms, by kind"
    )
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
