"""The shape of the `windows:` and `exercises:` sections: when works are planned, and what drills may use."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StrictStr

from .forms import DomainWords, Duration, Id, LevelName, Line, Words
from .values import Strict

WindowTime = Annotated[
    StrictStr, Field(pattern=r"^\d{4}-\d\d-\d\d \d\d:\d\d$", description='local time, "2026-12-01 22:00"')
]


class HidesIn(Strict):
    """What a window hides: every key given must match; a list means any of them."""

    what: ClassVar[str] = "hides"
    domains: DomainWords = ()
    areas: Words = ()
    sites: Words = ()
    sensors: Words = ()
    rules: Words = ()


class WindowIn(Strict):
    """A maintenance window: hides matching alarms while it is open. Red gas is never hidden; it always ends."""

    what: ClassVar[str] = "window"
    id: Id
    reason: Line
    by: Line = Field(description="who answers for it")
    starts: WindowTime = Field(description="first opening; its time of day holds for every later one")
    ends: WindowTime
    repeat: Line | None = Field(default=None, description="RFC 5545, e.g. FREQ=WEEKLY;BYDAY=MO,TH")
    open_for: Duration | None = Field(default=None, description="with `repeat`: how long at a time, past midnight too")
    days: Literal["workday", "holiday"] | None = Field(default=None, description="of the Chinese calendar, with 调休")
    timezone: Line | None = Field(default=None, description="default: the city's")
    hides: HidesIn
    at_most: LevelName = Field(default="yellow", description="the most serious level it may hide")


class ExercisesIn(Strict):
    """What drills may use. Without it there are none."""

    what: ClassVar[str] = "exercises"
    channels: Annotated[Words, Field(min_length=1, description="the only ways out of a drill")]
    longest: Duration = "2 h"
