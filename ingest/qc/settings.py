"""What an engineer may say about quality control, per quantity and per sensor: the `quality:` section.

Plain numbers only: values in the quantity's canonical unit, durations in seconds, rates per second. The
loader resolves units before it builds these models, by the markers `value`, `difference`, `rate` and `duration`
(citypulse/config/quality.py). Unknown keys are errors.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from .calendar import PERIODS

COMPANY_MAX = 2  # channels that may explain a jump
NO_VALUES_MAX = 2  # numbers that may mean "no value"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


def _ascending(span: tuple[float, float]) -> tuple[float, float]:
    return (min(span), max(span))


Span = Annotated[tuple[float, float], AfterValidator(_ascending)]
ValueSpan = Annotated[Span, "value"]
Positive = Annotated[float, Field(gt=0)]
AtLeastZero = Annotated[float, Field(ge=0)]
Value = Annotated[float, "value"]
Difference = Annotated[float, "difference"]  # of two values: a unit's zero point does not count
Distance = Annotated[Positive, "difference"]
Rate = Annotated[float, "rate"]
Seconds = Annotated[Positive, "duration"]
SecondsFromZero = Annotated[AtLeastZero, "duration"]


class GrossRange(_Section):
    """Outside `fail` fails; outside `suspect`, which must lie within `fail`, is suspect. Bounds are good."""

    fail: ValueSpan
    suspect: ValueSpan | None = None

    @model_validator(mode="after")
    def _suspect_lies_within_fail(self) -> GrossRange:
        if self.suspect and (self.suspect[0] < self.fail[0] or self.suspect[1] > self.fail[1]):
            raise ValueError(f"the suspect span {self.suspect} must lie within the fail span {self.fail}")
        return self


class ClimatologyMember(_Section):
    """One expectation for a span of time (of epoch ms, or of a calendar period) and, optionally, of depth."""

    tspan: Span
    vspan: ValueSpan
    fspan: ValueSpan | None = None
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

    suspect: Difference | None = None
    fail: Difference | None = None
    method: Literal["average", "differential"] = "average"


class RateOfChange(_Section):
    """Change per second since the previous reading."""

    suspect: Rate
    fail: Rate | None = None


class FlatLine(_Section):
    """The last readings, for so many seconds of the sensor's cadence, range over less than `tolerance`."""

    tolerance: Difference
    suspect_after_s: SecondsFromZero
    fail_after_s: SecondsFromZero


class Attenuated(_Section):
    """The standard deviation or range within the last `over_s` seconds is too small to be alive."""

    over_s: Seconds
    suspect_below: Difference
    fail_below: Difference
    statistic: Literal["std", "range"] = "std"
    min_readings: Annotated[int, Field(ge=0)] | None = None
    min_s: SecondsFromZero | None = None  # turned into readings with the cadence; min_readings goes first


class TimeGap(_Section):
    """More than so long since the previous reading."""

    fail_after_s: SecondsFromZero = 7200.0


class Reception(_Section):
    """Received more than so long after its own time."""

    fail_after_s: SecondsFromZero = 21_600.0


class ImpossibleDate(_Section):
    """A time after now, before the first or after the second of two in epoch ms: in the wrong order nothing passes."""

    fail_span: tuple[float, float] | None = None


class Step(_Section):
    """How far one reading may step: beyond max(floor, scales × usual step) × √age, and by `factor`, is a jump."""

    floor: Distance
    scales: Positive
    factor: Annotated[float, Field(ge=1)] = 1.0  # the step must also be this ratio; 1 asks for none


class Company(_Section):
    """Another channel at the site whose step of at least `moves` at the same time makes a jump natural (a flood)."""

    quantity: str
    moves: Positive
    scales: AtLeastZero = 0.0  # … and of so many of its own usual steps, when it has a jump test to know them by


class Jump(_Section):
    """Distance from the last good value, each way. A direction left out is natural and never raises.

    memory: weight of one reading in the usual step (a robust moving average). baseline: weight of one reading
    in the slow level; given, only the part of a step beyond that level counts (a salt pulse may fall back to
    where it came from). hold: readings that may be rejected in a row before the new level is believed.
    natural_with: channels, heard before this one, that tell a flood from a fault.
    """

    rise: Step | None = None
    fall: Step | None = None
    memory: Annotated[float, Field(gt=0, le=1)] = 0.1
    baseline: Annotated[float, Field(gt=0, le=1)] | None = None
    hold: Annotated[int, Field(ge=1, le=100)] = 2
    natural_with: Annotated[tuple[Company, ...], Field(max_length=COMPANY_MAX)] = ()

    @model_validator(mode="after")
    def _has_a_direction(self) -> Jump:
        if self.rise is None and self.fall is None:
            raise ValueError("a jump test needs `rise`, `fall` or both")
        return self


class Returned(_Section):
    """One reading away and back, whatever the natural direction; known one reading later.

    Raised when both steps exceed `floor`, the reading is `factor` times above or below its neighbours' mean,
    and the neighbours differ by less than `within` of the smaller step.
    """

    floor: Distance
    factor: Annotated[float, Field(ge=1)] = 1.0
    within: Annotated[float, Field(gt=0, lt=1)] = 0.3


class Frozen(_Section):
    """Exactly the same value for so long; below `except_below` it is ice, not a fault."""

    after_s: Seconds
    except_below: Value | None = None


class Companion(_Section):
    """A channel of the same instrument that this one depends on (temperature compensates the others).

    out_after_s: raised while the companion has been missing or out of range for so long. service_step: the
    companion's short absence is a service visit; a step across it beyond this is a cleaning or calibration
    offset, raised on the first reading after.
    """

    quantity: str
    out_after_s: Seconds | None = None
    service_step: Distance | None = None


class Oversaturated(_Section):
    """Dissolved oxygen (mg/L) above `above` times saturation without a break for `for_s`: not even at night.

    Needs a companion of °C. Saturation after Benson and Krause (USGS TM 2011.03) at the pressure of `altitude_m`.
    """

    above: Positive
    altitude_m: float
    for_s: Seconds = 86_400.0


class Settling(_Section):
    """After a raised reading the sensor must be quiet for `each` readings per offence, at most `most`."""

    each: Annotated[int, Field(ge=1)] = 4
    most: Annotated[int, Field(ge=1)] = 32


class Shifted(_Section):
    """Two readings in a row beyond all of the last `readings` undoubted ones, by a factor and by `floor`.

    Raised on the second. A direction left out is natural. A company named in `jump.natural_with` explains it.
    """

    readings: Annotated[int, Field(ge=4, le=100_000)] = 20
    rise: Annotated[float, Field(gt=1)] | None = None
    fall: Annotated[float, Field(gt=1)] | None = None
    floor: Annotated[AtLeastZero, "difference"] = 0.0

    @model_validator(mode="after")
    def _has_a_direction(self) -> Shifted:
        if self.rise is None and self.fall is None:
            raise ValueError("a shift test needs `rise`, `fall` or both")
        return self


class SensorQuality(_Section):
    """All tests of one quantity or sensor; a test that is not named does not run."""

    missing: Annotated[tuple[float, ...], Field(max_length=NO_VALUES_MAX)] = ()  # e.g. -9999 means "no value"
    interval_s: Seconds | None = None  # the usual step between readings; the sensor's cadence when not given
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
    jump: Jump | None = None
    returned: Returned | None = None
    frozen: Frozen | None = None
    companion: Companion | None = None
    oversaturated: Oversaturated | None = None
    settling: Settling | None = None
    shifted: Shifted | None = None

    @model_validator(mode="after")
    def _oxygen_needs_a_temperature(self) -> SensorQuality:
        if self.oversaturated and not self.companion:
            raise ValueError("`oversaturated` needs a `companion` that measures temperature in °C")
        return self


def readings_in(seconds: float, interval_s: float) -> int:
    """Return how many whole intervals fit into a duration, both cut to whole seconds as QARTOD does."""
    interval = math.floor(interval_s)
    return int(math.floor(seconds) / interval) if interval > 0 else 0


class QualitySettings(_Section):
    """The whole `quality:` section: tests by quantity id, then whole sections or single tests replaced by sensor id."""

    quantities: dict[str, SensorQuality] = Field(default_factory=dict)
    sensors: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _overrides_are_sound(self) -> QualitySettings:
        for sensor_id in self.sensors:
            self.of(sensor_id, sensor_id.rpartition(".")[2])
        return self

    def of(self, sensor_id: str, quantity: str) -> SensorQuality | None:
        """Return what holds for one sensor: its quantity's tests, those named for the sensor itself replaced.

        A test set to null for a sensor is switched off there. ValueError (pydantic) when the result is unsound.
        """
        base = self.quantities.get(quantity)
        override = self.sensors.get(sensor_id)
        if override is None:
            return base
        named = {} if base is None else base.model_dump(exclude_unset=True)
        override = {test: None if said is False else said for test, said in override.items()}
        return SensorQuality.model_validate({**named, **override})
