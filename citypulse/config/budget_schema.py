"""The shape of the `budget:` section: how many alarms the duty desks are asked to bear."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from .forms import Amount, Id, Number
from .values import Strict

Bound = Annotated[Number, Field(ge=0)]
Count = Annotated[int, Field(strict=True, ge=0)]


class BudgetIn(Strict):
    """Upper bounds for one duty desk, or for all alarms together where no desk is named."""

    what: ClassVar[str] = "budget"
    desk: Id | None = Field(default=None, description="a duty team; without it all alarms count together")
    officers: Annotated[int, Field(strict=True, ge=1, le=100, description="who share the load")] = 1
    per_10min: Bound | None = Field(default=None, description="alarms per 10 min and officer on average; guide 1 to 2")
    peak_10min: Bound | None = Field(default=None, description="in the busiest 10 minutes; guide 10")
    flood: Amount | None = Field(default=None, description="share of time in an alarm flood; guide 1 %")
    per_day: Bound | None = Field(default=None, description="alarms a day, all officers together")
    chattering: Count | None = Field(default=None, description="sources that come three times in a minute; guide 0")
    standing: Count | None = Field(default=None, description="alarms standing for more than 24 h; guide 5")
    missed: Count | None = Field(default=None, description="labelled incidents missed; judged where labels are given")
