"""The shape of the `alarms:` section: chatter, shelves, re-alarms and mutes, for city, level, domain and rule."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, StrictInt

from .forms import Duration, LevelName, Line, several, words_schema
from .values import Strict

Officer = Literal["duty", "lead", "dispatcher", "supervisor", "boss"]


class FlapIn(Strict):
    """So many raises of one source within so long make it chatter."""

    what: ClassVar[str] = "count of raises"
    raises: StrictInt = Field(ge=2, le=50)
    within: Duration


class ChatterIn(Strict):
    """When a source counts as chattering, so that its turns are recorded and not told; red gas never does."""

    what: ClassVar[str] = "chatter"
    counts: tuple[FlapIn, ...] | None = Field(
        default=None, max_length=5, description="any of them; an empty list: never"
    )
    calm: Duration | None = Field(default=None, description="it settles after so long without a turn")


class ShelfIn(Strict):
    """How long an alarm may be put aside, and by whom. Red gas never is."""

    what: ClassVar[str] = "shelf"
    longest: Duration | None = Field(default=None, description="`never`: these alarms are not shelved")
    by: Annotated[
        tuple[Officer, ...] | None,
        BeforeValidator(several),
        words_schema({"enum": ["duty", "lead", "dispatcher", "supervisor", "boss"]}),
    ] = None
    warn: Duration | None = Field(default=None, description="its end is announced so long before")


class RealarmIn(Strict):
    """When an alarm that was acknowledged and still stands asks again."""

    what: ClassVar[str] = "re-alarm"
    after: Duration | None = Field(default=None, description="or `never`")
    at_most: StrictInt | None = Field(default=None, ge=1, le=100, description="how often in one occurrence")


class MutesIn(Strict):
    """How long a silence over alarms of a level may last, and when the end of a silence or window is announced."""

    what: ClassVar[str] = "mutes"
    longest: Duration | None = None
    warn: Duration | None = None


class StaleIn(Strict):
    """When a standing alarm counts as stale (ISA-18.2: 24 h)."""

    what: ClassVar[str] = "stale"
    after: Duration | None = None


class TermsIn(Strict):
    """What may be said for a rule, a domain or a level."""

    what: ClassVar[str] = "alarms"
    chatter: ChatterIn | None = None
    shelf: ShelfIn | None = None
    realarm: RealarmIn | None = None
    stale: StaleIn | None = None


class LevelTermsIn(TermsIn):
    """What may be said for a level of the whole city."""

    mutes: MutesIn | None = None


class LevelledTermsIn(TermsIn):
    """What may be said for a domain or a rule, and for its levels."""

    levels: dict[LevelName, TermsIn] = Field(default_factory=dict)


class AlarmsIn(LevelTermsIn):
    """How alarms behave beside their limits. What is said for a rule beats its domain, that the level, that the city.

    Red alarms and gas alarms have ceilings that nothing here lifts.
    """

    levels: dict[LevelName, LevelTermsIn] = Field(default_factory=dict)
    domains: dict[Line, LevelledTermsIn] = Field(default_factory=dict)
    rules: dict[Line, LevelledTermsIn] = Field(default_factory=dict)
