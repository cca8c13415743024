"""The shape of a configuration file: what may be written where. What refers to what is checked in check.py.

Numbers with units stay as written here (`Amount`): only a rule that is bound to a sensor knows the unit meant.
Sections of detectors are checked by the detector's own model, also when bound.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, StrictBool, StrictInt, StrictStr, field_validator, model_validator
from pydantic_core import PydanticCustomError

from .alarms_schema import AlarmsIn
from .budget_schema import BudgetIn
from .causes_schema import Causes, StormIn
from .forms import (
    Amount,
    ClockKey,
    DomainWords,
    Duration,
    Id,
    KindWords,
    LevelName,
    LimitLevel,
    Line,
    Number,
    ShortForm,
    TextIn,
    TimeLimitText,
    Words,
    several,
    words_schema,
)
from .people_schema import ChainIn, PersonIn, ProfileIn, RotaIn
from .records_schema import PrivacyIn, WatchdogIn, WorkdaysIn, Year
from .values import LEVELS, Strict
from .windows_schema import ExercisesIn, WindowIn

SIDES = ("at_least", "above", "below", "at_most")


class BoundsIn(Strict):
    """The district's bounding box, WGS 84 degrees."""

    what: ClassVar[str] = "bounds"
    south: Number = Field(ge=-90, le=90)
    north: Number = Field(ge=-90, le=90)
    west: Number = Field(ge=-180, le=180)
    east: Number = Field(ge=-180, le=180)

    @model_validator(mode="after")
    def _has_an_inside(self) -> BoundsIn:
        if self.south >= self.north or self.west >= self.east:
            raise PydanticCustomError("E105", "bounds enclose nothing: south must be below north, west below east")
        return self


class CityIn(Strict):
    """The city as a whole."""

    what: ClassVar[str] = "city"
    name: TextIn
    timezone: Line
    bounds: BoundsIn | None = None
    public_url: Annotated[StrictStr, Field(pattern=r"^https?://[^\s@?#]+$", max_length=200)] | None = Field(
        default=None, description="the console's address as phones see it; with it notices carry a link to acknowledge"
    )
    calendar_warning_days: StrictInt = Field(default=45, ge=0, le=366, description="before the workday calendar ends")


class BrokerIn(Strict):
    """The MQTT broker gateways publish to. Credentials come from CITYPULSE_MQTT_* or a file, never from here."""

    what: ClassVar[str] = "broker"
    url: Line = Field(pattern=r"^(mqtt|mqtts)://[^/\s]+$")

    @field_validator("url", mode="before")
    @classmethod
    def _without_credentials(cls, url: Any) -> Any:
        if isinstance(url, str) and "@" in url:
            raise PydanticCustomError("E116", "credentials must not stand in this file: give them in the environment")
        return url


class GatewayIn(Strict):
    """One gateway (`id`) or several alike (`ids`)."""

    what: ClassVar[str] = "gateway"
    id: Id | None = None
    ids: tuple[Id, ...] = ()
    codec: Line
    silent_after: Duration
    area: Id | None = None


class TemplateSensorIn(Strict):
    """A sensor of a template, where more than its quantity must be said."""

    what: ClassVar[str] = "template sensor"
    quantity: Line
    cadence: Duration | None = None
    unit: Line | None = Field(default=None, description="unit the gateway reports in, when not the canonical one")
    scale: Number = 1.0
    offset: Number = 0.0
    range: tuple[Amount, Amount] | None = None


def _template_sensor(value: Any) -> Any:
    return {"quantity": value} if isinstance(value, str) else value


class TemplateIn(Strict):
    """What a kind of site carries."""

    what: ClassVar[str] = "template"
    domain: Line
    kind: Line
    sensors: tuple[
        Annotated[
            TemplateSensorIn,
            BeforeValidator(_template_sensor),
            ShortForm('{"type": "string"}'),
        ],
        ...,
    ] = Field(min_length=1)


class PlaceIn(Strict):
    """One place: [中文, English, latitude, longitude], or a mapping when it has more to say."""

    what: ClassVar[str] = "place"
    zh: Line
    en: Line
    lat: Number = Field(ge=-90, le=90)
    lon: Number = Field(ge=-180, le=180)
    gateway: Line | None = None
    upstream: Words = ()
    labels: dict[Line, Line] = Field(default_factory=dict)


def _place(value: Any) -> Any:
    if isinstance(value, list):
        if len(value) != 4:
            raise PydanticCustomError(
                "E102", "a place is [中文, English, latitude, longitude], not {n} items", {"n": len(value)}
            )
        return dict(zip(("zh", "en", "lat", "lon"), value, strict=True))
    return value


Place = Annotated[
    PlaceIn,
    BeforeValidator(_place),
    ShortForm('{"type": "array", "minItems": 4, "maxItems": 4}'),
]


class PatternIn(Strict):
    """Numbered sites that differ in nothing but number and place: {n} in the names counts from 1."""

    what: ClassVar[str] = "pattern"
    first: Annotated[StrictStr, Field(pattern=r"^[a-z0-9_-]*[a-z_-][0-9]+$")]
    count: StrictInt = Field(ge=1, le=1000)
    zh: Line
    en: Line
    lat: Number = Field(ge=-90, le=90, description="middle of the group")
    lon: Number = Field(ge=-180, le=180)
    spacing: Amount = Field(default="150 m", description="usual distance between neighbours")

    @model_validator(mode="after")
    def _names_differ(self) -> PatternIn:
        if self.count > 1 and not ("{n}" in self.zh and "{n}" in self.en):
            raise PydanticCustomError("E106", "names of a numbered group need {n}", {"n": "{n}"})
        return self


class SitesIn(Strict):
    """A group of sites of one template, area and gateway: `places` by id, or a numbered `pattern`, or both."""

    what: ClassVar[str] = "group of sites"
    template: Line
    area: Line
    gateway: Line
    places: dict[Id, Place] = Field(default_factory=dict)
    pattern: PatternIn | None = None

    @model_validator(mode="after")
    def _has_a_site(self) -> SitesIn:
        if not self.places and self.pattern is None:
            raise PydanticCustomError("E101", "a group of sites needs `places` or `pattern`")
        return self


class SensorIn(Strict):
    """What one sensor has that its template does not say."""

    what: ClassVar[str] = "sensor"
    sensor: Line
    cadence: Duration | None = None
    unit: Line | None = None
    scale: Number | None = None
    offset: Number | None = None
    range: tuple[Amount, Amount] | None = None
    note: Line | None = None


class TeamIn(Strict):
    """People who get notices."""

    what: ClassVar[str] = "team"
    name: TextIn
    kind: Literal["duty", "crew"]
    domains: DomainWords = ()
    areas: Words = ()
    unit: Line
    work: Words = Field(default=(), description="a crew's lines of business: order templates; all, when left out")


class ChannelIn(Strict):
    """A way out; `settings` belong to the kind of channel."""

    what: ClassVar[str] = "channel"
    kind: Line
    settings: dict[str, Any] = Field(default_factory=dict)


class RouteIn(Strict):
    """Which team hears of which alarms, by which channel."""

    what: ClassVar[str] = "route"
    id: Id
    to: Line
    channel: Line
    domains: DomainWords = ()
    areas: Words = ()
    at_least: LevelName = "blue"
    chain: Words = Field(default=(), description="escalation chains; the first that wants an alarm takes it")


class OrderStepIn(Strict):
    """One of several limits in one order, e.g. stop the works in 4 working hours, demolish in 20 working days."""

    what: ClassVar[str] = "order step"
    id: Id
    name: TextIn
    within: TimeLimitText
    after: Id | None = Field(default=None, description="its clock starts when this step is finished; else at dispatch")


class OrderTemplateIn(Strict):
    """What an order tells the crew."""

    what: ClassVar[str] = "order template"
    name: TextIn
    checklist: tuple[TextIn, ...] = ()
    safety: tuple[TextIn, ...] = ()
    profile: Line | None = None
    checklist_required: StrictBool = False
    timers: dict[LimitLevel, dict[ClockKey, TimeLimitText]] = Field(default_factory=dict)
    steps: tuple[OrderStepIn, ...] = Field(default=(), max_length=20)


class SelectorIn(Strict):
    """Which sensors, sites or gateways: every key given must match; a list means any of them."""

    what: ClassVar[str] = "applies_to"
    domain: DomainWords = ()
    quantity: Words = ()
    site_kind: KindWords = ()
    area: Words = ()
    gateway: Words = ()
    site: Words = ()
    sensor: Words = ()


class LimitIn(Strict):
    """One limit: a level, exactly one side, and its dead band and delays. In an override keys may be missing."""

    what: ClassVar[str] = "limit"
    level: LevelName
    at_least: Amount | None = None
    above: Amount | None = None
    below: Amount | None = None
    at_most: Amount | None = None
    deadband: Amount | None = None
    on_delay: Duration | None = None
    off_delay: Duration | None = None
    disabled: StrictBool = False


class OrderIn(Strict):
    """What kind of order the alarm opens and how its repair is proven."""

    what: ClassVar[str] = "order"
    template: Line
    verify_for: Duration
    coverage: Amount = "80 %"
    opens_at: LevelName = "yellow"


class RuleBodyIn(Strict):
    """What a rule and an override of it may both say."""

    what: ClassVar[str] = "rule"
    name: TextIn | None = None
    source: Line | None = None
    limits: tuple[LimitIn, ...] | None = Field(default=None, min_length=1)
    level: LevelName | None = None
    gap: Literal["reset", "hold", "raise"] | None = None
    latch: StrictBool | None = None
    accepts: Literal["good", "suspect"] | None = None
    diagnostic: StrictBool | None = None
    inhibited_by: Causes | None = None
    order: OrderIn | Literal["none"] | None = None
    advice: TextIn | None = None


class RuleIn(RuleBodyIn):
    """One rule."""

    id: Id
    name: TextIn
    applies_to: SelectorIn
    source: Line


class OverrideIn(RuleBodyIn):
    """A change to a rule for some of the sensors it applies to; the more specific `applies_to` wins."""

    what: ClassVar[str] = "override"
    rule: Line
    applies_to: SelectorIn = SelectorIn()
    disabled: StrictBool = False


class FileIn(Strict):
    """A configuration file. An included file may hold any part of it."""

    what: ClassVar[str] = "file"
    version: Literal[1]
    include: Annotated[tuple[Line, ...], BeforeValidator(several), words_schema({"type": "string"})] = ()
    city: CityIn | None = None
    broker: BrokerIn | None = None
    areas: dict[Id, TextIn] = Field(default_factory=dict)
    gateways: tuple[GatewayIn, ...] = ()
    templates: dict[Id, TemplateIn] = Field(default_factory=dict)
    sites: tuple[SitesIn, ...] = ()
    sensors: tuple[SensorIn, ...] = ()
    teams: dict[Id, TeamIn] = Field(default_factory=dict)
    people: dict[Id, PersonIn] = Field(default_factory=dict)
    rotas: dict[Id, RotaIn] = Field(default_factory=dict)
    chains: dict[Id, ChainIn] = Field(default_factory=dict)
    profiles: dict[Id, ProfileIn] = Field(default_factory=dict)
    channels: dict[Id, ChannelIn] = Field(default_factory=dict)
    routes: tuple[RouteIn, ...] = ()
    order_templates: dict[Id, OrderTemplateIn] = Field(default_factory=dict)
    rules: tuple[RuleIn, ...] = ()
    overrides: tuple[OverrideIn, ...] = ()
    storm: StormIn | None = None
    alarms: AlarmsIn | None = None
    privacy: PrivacyIn | None = None
    watchdog: WatchdogIn | None = None
    workdays: dict[Year, WorkdaysIn] = Field(default_factory=dict)
    budget: tuple[BudgetIn, ...] = ()
    windows: tuple[WindowIn, ...] = ()
    exercises: ExercisesIn | None = None


__all__ = ["LEVELS", "SIDES", "FileIn", "ShortForm"]
