"""The city as configured: quantities, sites, gateways, sensors, and everything declared about them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from citypulse.model.alarms import Mute
from citypulse.model.basics import Origin, Text
from citypulse.model.orders import OrderTemplate
from citypulse.model.people import (
    Chain,
    ChannelConfig,
    Drills,
    Person,
    Profile,
    Rota,
    Route,
    StormPlan,
    Team,
    WatchdogPlan,
    WorkdayYear,
)
from citypulse.model.rules import AlarmBudget, Rule
from citypulse.model.terms import AlarmPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A kind of thing measured (深度 depth, 溶解氧 dissolved oxygen …); declared once per domain."""

    id: str  # last part of a sensor id: depth, do, ch4 …
    domain: str
    name: Text
    unit: str  # canonical unit; all values inside the house are in it
    low: float  # physical range of a believable instrument, canonical unit, inclusive
    high: float
    cadence_s: int  # usual time between readings
    direction: int = 0  # natural direction of sudden change: +1 may jump up, -1 may jump down, 0 either
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A place with sensors: a monitoring point, a well, an underpass; also the asset that orders are raised for."""

    id: str
    name: Text
    domain: str
    kind: str  # river, outfall, road-segment, gas-well, underpass, road …
    area: str  # grid or street, used for routing
    lat: float  # WGS 84
    lon: float
    gateway: str
    upstream: tuple[str, ...] = ()  # ids of sites directly upstream
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A field gateway: what it speaks and how often it is expected to be heard."""

    id: str
    codec: str
    silent_after_s: int  # no message of any kind for this long means the gateway is silent
    area: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensor:
    """One measuring channel. `value = raw * scale + offset` brings a raw reading to the canonical unit, calibrated."""

    id: str  # <site>.<quantity>
    site: str
    gateway: str
    quantity: str
    domain: str
    site_kind: str
    area: str
    unit: str  # canonical unit of its quantity
    scale: float
    offset: float
    low: float  # physical range, canonical unit
    high: float
    cadence_s: int
    direction: int = 0
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorTable:
    """Sensors by index. The index of a sensor id is given once and for ever (ledger), so old journals stay readable.

    ids[i] is the id of index i; sensors[i] is None for a sensor that is no longer configured.
    """

    ids: tuple[str, ...]
    sensors: tuple[Sensor | None, ...]
    index: dict[str, int] = field(compare=False)

    @classmethod
    def build(cls, ids: tuple[str, ...], sensors: tuple[Sensor, ...]) -> SensorTable:
        """Order `sensors` by `ids`; ids without a sensor are retired."""
        by_id = {s.id: s for s in sensors}
        return cls(ids=ids, sensors=tuple(by_id.get(i) for i in ids), index={s: k for k, s in enumerate(ids)})

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class CityConfig:
    """The whole configured city, resolved and checked: every reference in it exists."""

    name: Text
    timezone: str
    broker_url: str
    sites: dict[str, Site]
    gateways: dict[str, Gateway]
    quantities: dict[str, Quantity]
    sensors: tuple[Sensor, ...]
    rules: tuple[Rule, ...]
    teams: dict[str, Team]
    routes: tuple[Route, ...]
    channels: dict[str, ChannelConfig]
    templates: dict[str, OrderTemplate]
    fingerprint: str  # sha256 over all loaded files
    files: tuple[str, ...]
    areas: dict[str, Text] = field(default_factory=dict)  # streets and towns by id, as sites and gateways name them
    quality: Any = None  # the `quality:` section as ingest.qc understands it
    people: dict[str, Person] = field(default_factory=dict)
    windows: tuple[Mute, ...] = ()  # maintenance windows of the `windows:` section
    drills: Drills = field(default_factory=Drills)
    storm: StormPlan = field(default_factory=StormPlan)
    alarms: AlarmPlan = field(default_factory=AlarmPlan)  # chatter, shelves, re-alarms, mutes, by level, domain, rule
    workdays: tuple[WorkdayYear, ...] = ()  # years of the `workdays:` section; each replaces the shipped one
    calendar_warn_days: int = 45  # before the workday calendar ends
    watchdog: WatchdogPlan = field(default_factory=WatchdogPlan)
    contacts_kept_s: float = 180 * 86_400.0  # how long a citizen's contact is kept after its order has ended
    budget: tuple[AlarmBudget, ...] = ()  # what rules may ask of the duty desks, checked by a backtest
    rotas: dict[str, Rota] = field(default_factory=dict)  # by team
    chains: dict[str, Chain] = field(default_factory=dict)
    profiles: dict[str, Profile] = field(default_factory=dict)
    public_url: str = ""  # the console's address as phones see it; "": notices carry no links
