"""What an engineer may say about quality control, per quantity and per sensor: the `quality:` section.

Plain numbers only: values in the quantity's canonical unit, durations in seconds, rates per second. The
loader resolves units before it builds these models. Unknown keys are errors.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from .calendar import PERIODS


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _ascending(span: tuple[float, float]) -> tuple[float, float]:
    return (min(span), max(span))


Span = Annotated[tuple[float, float], AfterValidator(_ascending)]
Positive = Annotated[float, Field(gt=0)]
AtLeastZero = Annotated[float, Field(ge=0)]


class GrossRange(_Section):
    """Outside `fail` fails; outside `suspect`, which must lie within `fail`, is suspect. Bounds are good."""

    fail: Span
    suspect: Span | None = None

    @model_validator(mode="after")
    def _suspect_lies_within_fail(self) -> GrossRange:
        if self.suspect and (self.suspect[0] < self.fail[0] or self.suspect[1] > self.fail[1]):
            raise ValueError(f"the suspect span {self.suspect} must lie within the fail span {self.fail}")
        return self


class ClimatologyMember(_Section):
    """One expectation for a span of time (of epoch ms, or of a calendar period) and, optionally, of depth."""

    tspan: Span
    vspan: Span
    fspan: Span | None = None
    zspan: Span | None = None
    period: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _dates_become_epoch_ms(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("period") is None and isinstance(data.get("tspan"), list | tuple):
            return {**data, "tspan": [_epoch_ms(t) for t in data["tspan"]]}
        return data

    @model_validator(mode="after")
    def _period_is_known(self) -> ClimatologyMember:
        if self.period is not None and self.period not in PERIODS:
            raise ValueError(f"period {self.period!r} is not known; choose one of {', '.join(PERIODS)}")
        return self


def _epoch_ms(when: Any) -> Any:
    if isinstance(when, str):
        moment = datetime.fromisoformat(when)
        return moment.timestamp() * 1000 if moment.tzinfo else (moment - datetime(1970, 1, 1)).total_seconds() * 1000
    return when


class Spike(_Section):
    """A single reading that sticks out; judged one reading late. A threshold of 0 or nothing is off."""

    suspect: float | None = None
    fail: float | None = None
    method: Literal["average", "differential"] = "average"


class RateOfChange(_Section):
    """Change per second since the previous reading."""

    suspect: float
    fail: float | None = None


class FlatLine(_Section):
    """The last readings, for so many seconds of the sensor's cadence, range over less than `tolerance`."""

    tolerance: float
    suspect_after_s: AtLeastZero
    fail_after_s: AtLeastZero


class Attenuated(_Section):
    """The standard deviation or range within the last `over_s` seconds is too small to be alive."""

    over_s: Positive
    suspect_below: float
    fail_below: float
    statistic: Literal["std", "range"] = "std"
    min_readings: Annotated[int, Field(ge=0)] | None = None
    min_s: AtLeastZero | None = None  # turned into readings with the cadence; min_readings goes first


class TimeGap(_Section):
    """More than so long since the previous reading."""

    fail_after_s: AtLeastZero = 7200.0


class Reception(_Section):
    """Received more than so long after its own time."""

    fail_after_s: AtLeastZero = 21_600.0


class ImpossibleDate(_Section):
    """A time after now, or outside a span of epoch ms."""

    fail_span: Span | None = None


class SensorQuality(_Section):
    """All tests of one quantity or sensor; a test that is not named does not run."""

    missing: tuple[float, ...] = ()  # values that mean "no value", e.g. -9999
    interval_s: Positive | None = None  # the usual step between readings; the sensor's cadence when not given
    window_max: Annotated[int, Field(ge=2, le=1_000_000)] | None = None  # places kept for window tests
    gross_range: GrossRange | None = None
    climatology: tuple[ClimatologyMember, ...] = ()
    spike: Spike | None = None
    rate_of_change: RateOfChange | None = None
    flat_line: FlatLine | None = None
    attenuated: Attenuated | None = None
    time_gap: TimeGap | None = None
    reception: Reception | None = None
    impossible_date: ImpossibleDate | None = None


def readings_in(seconds: float, interval_s: float) -> int:
    """Return how many whole intervals fit into a duration, both cut to whole seconds as QARTOD does."""
    interval = math.floor(interval_s)
    return int(math.floor(seconds) / interval) if interval > 0 else 0
