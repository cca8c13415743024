"""The shape of the sections about people: who they are, when they are on duty, and who is called after whom."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, StrictBool, StrictInt, StrictStr, WithJsonSchema
from pydantic_core import PydanticCustomError

from .forms import DomainWords, Duration, Id, LevelName, Line, TextIn, Words, several, words_schema
from .values import LEVELS, Strict

LADDER = ("person", "unit", "street", "district", "city")
"""The five-level responsibility chain (五级责任体系), as it is climbed."""
ROLES = ("duty", "lead", "dispatcher", "unit", "crew", "checker", "supervisor", "boss", "engineer", "admin")
DAY_WORDS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun", "workday", "holiday")
CONTACT_KINDS = ("phone", "mail", "dingtalk", "wecom", "feishu", "webhook")
REACHES = ("filed", "dispatched", "accepted", "arrived", "fed_back", "checking", "check_passed", "closed")
"""Events of an order that a milestone may wait for, in the order in which they come."""

Clock = Annotated[StrictStr, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$|^24:00$", description='local time, "08:00"')]
LocalDay = Annotated[StrictStr, Field(pattern=r"^\d{4}-\d\d-\d\d$", description="a local day, 2026-11-02")]
LocalTime = Annotated[
    StrictStr, Field(pattern=r"^\d{4}-\d\d-\d\d \d\d:\d\d$", description='local time, "2026-12-01 08:00"')
]
LevelWords = Annotated[
    tuple[LevelName, ...], BeforeValidator(several), Field(min_length=1), words_schema({"enum": list(LEVELS)})
]
DayWords = Annotated[
    tuple[Literal[DAY_WORDS], ...],  # type: ignore[valid-type] # the table above is the one place
    BeforeValidator(several),
    Field(min_length=1),
    words_schema({"enum": list(DAY_WORDS)}),
]


_NAMES_SCHEMA: dict[str, Any] = {"type": "array", "items": {"type": "string"}, "minItems": 1}
_GROUPS_SCHEMA: dict[str, Any] = {
    "type": "array",
    "items": {"anyOf": [{"type": "string"}, _NAMES_SCHEMA]},
    "minItems": 1,
    "description": "who is on together; the groups take turns",
}


def _group(value: Any) -> Any:
    """Let a list of names stand for groups of one."""
    if not isinstance(value, list):
        return value
    return [[item] if isinstance(item, str) else item for item in value]


def _turn(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise PydanticCustomError("E102", "expected daily, weekly or a number of days")
    days = {"daily": 1, "weekly": 7}.get(value, value) if isinstance(value, str) else value
    if isinstance(days, str) and days.endswith(" d") and days[:-2].isdigit():
        days = int(days[:-2])
    if not isinstance(days, int) or not 1 <= days <= 366:
        raise PydanticCustomError("E103", "a turn is `daily`, `weekly`, or from 1 d to 366 d")
    return days


class PersonIn(Strict):
    """Somebody who can be reached. Passwords and tokens never stand here."""

    what: ClassVar[str] = "person"
    name: TextIn
    role: Literal[ROLES]  # type: ignore[valid-type] # the table above is the one place
    unit: Line | None = None
    teams: Words = ()
    contacts: dict[Id, Line] = Field(default_factory=dict, description="by kind: " + ", ".join(CONTACT_KINDS))
    level: Literal[LADDER] | None = Field(default=None, description="of the responsibility chain")  # type: ignore[valid-type]
    domains: DomainWords = ()
    areas: Words = ()
    outside: StrictBool = False


class ShiftIn(Strict):
    """A watch that comes round; `until` not after `from` is on the next day."""

    what: ClassVar[str] = "shift"
    id: Id
    from_: Clock = Field(alias="from")
    until: Clock
    days: DayWords = ()
    turn: Annotated[
        int,
        BeforeValidator(_turn),
        Field(json_schema_extra={"anyOf": [{"enum": ["daily", "weekly"]}, {"pattern": r"^\d+ d$"}], "type": "string"}),
    ] = Field(default=1, description="how long a group is on before the next one is: daily, weekly, `4 d`")
    groups: Annotated[
        tuple[tuple[Line, ...], ...], BeforeValidator(_group), Field(min_length=1), WithJsonSchema(_GROUPS_SCHEMA)
    ]


class StandInIn(Strict):
    """Somebody stands in for somebody else, from–until in the rota's local time."""

    what: ClassVar[str] = "override"
    from_: LocalTime = Field(alias="from")
    until: LocalTime
    instead_of: Line | None = None
    person: Line | None = None
    reason: Line | None = None


class RotaIn(Strict):
    """Who of a team is on duty when; the section's key is the team."""

    what: ClassVar[str] = "rota"
    starts: LocalDay
    timezone: Line | None = None
    at_least: StrictInt = Field(default=1, ge=1, le=100)
    shifts: tuple[ShiftIn, ...] = Field(min_length=1)
    overrides: tuple[StandInIn, ...] = ()
    fallback: Words = ()


class ChainStepIn(Strict):
    """Whom to call when nobody has acknowledged for this long."""

    what: ClassVar[str] = "step"
    after: Duration
    to: Words
    by: Words = ()


class RepeatIn(Strict):
    """How often the whole chain is gone through again."""

    what: ClassVar[str] = "repeat"
    every: Duration
    times: StrictInt = Field(ge=1, le=100)


class ChainIn(Strict):
    """An escalation chain. Empty selectors take every alarm."""

    what: ClassVar[str] = "chain"
    name: TextIn
    levels: LevelWords = ()
    domains: DomainWords = ()
    areas: Words = ()
    steps: tuple[ChainStepIn, ...] = Field(min_length=1, max_length=100)
    repeat: RepeatIn | None = None


class MilestoneIn(Strict):
    """Something an order must have reached in time."""

    what: ClassVar[str] = "milestone"
    id: Id
    name: TextIn
    within: Duration
    working_time: StrictBool = False
    reached: Literal[REACHES]  # type: ignore[valid-type]
    to: Words


class ProfileIn(Strict):
    """A named set of milestones; a name such as 1315 has no meaning beyond what stands here."""

    what: ClassVar[str] = "profile"
    name: TextIn
    milestones: tuple[MilestoneIn, ...] = Field(min_length=1, max_length=50)
