"""The shape of the `privacy:`, `workdays:` and `watchdog:` sections: what is kept, a year's holidays, who watches."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, StrictStr

from .forms import Duration, Line
from .values import Strict

Day = Annotated[StrictStr, Field(pattern=r"^\d\d-\d\d$", description='month and day, "10-01"')]
Span = Annotated[
    StrictStr, Field(pattern=r"^\d\d-\d\d( to \d\d-\d\d)?$", description='days off, "10-01 to 10-07", or one day')
]
Year = Annotated[StrictStr, Field(pattern=r"^20\d\d$", description='a year, "2027"')]


class WatchdogIn(Strict):
    """Where the service says at an interval that it is well: silence there is the alarm that it cannot raise itself."""

    what: ClassVar[str] = "watchdog"
    url: Line | None = Field(default=None, description="posted to; or, where the address is a secret, `url_env`")
    url_env: Annotated[StrictStr, Field(pattern=r"^[A-Z][A-Z0-9_]*$", max_length=100)] | None = None
    every: Duration = "60 s"


class PrivacyIn(Strict):
    """Personal information: never longer than its purpose needs."""

    what: ClassVar[str] = "privacy"
    contacts_kept_for: Duration = "180 d"


class WorkdaysIn(Strict):
    """One year of the State Council's notice."""

    what: ClassVar[str] = "workdays"
    source: Line = Field(description="the notice it was taken from, with its date")
    holidays: tuple[Span, ...] = Field(min_length=1, max_length=40)
    worked: tuple[Day, ...] = Field(default=(), max_length=40)
