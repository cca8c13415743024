"""The nouns of the house. Everything that passes between packages is one of these; nothing is a bare dict.

Frozen, slotted, keyword-only. Instants are epoch milliseconds UTC and end in `_ms`; durations end in
`_s`. Readings travel as columns (`ReadingBatch`), never as one object each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

# ── readings ────────────────────────────────────────────────────────────────────────────────────


class Quality(IntEnum):
    """What quality control thinks of a reading: the QARTOD flags (IOOS), as integers."""

    GOOD = 1
    NOT_EVALUATED = 2
    SUSPECT = 3
    FAIL = 4
    MISSING = 9


class Lane(IntEnum):
    """Which way a reading goes: LIVE may move alarms; the others never do."""

    LIVE = 0
    HISTORY = 1  # older than its sensor's newest: stored, may make a dated historical occurrence, never pages
    QUARANTINED = 2  # more than five minutes in the future: stored, flagged, never believed
    DUPLICATE = 3  # the same sensor and time as one already taken: counted, not stored again


@dataclass(frozen=True, slots=True, kw_only=True)
class RawMessage:
    """One message as it came from the broker, before anybody has looked inside."""

    topic: str
    payload: bytes
    received_ms: int
    token: Any = None  # what the source needs to acknowledge it; opaque to everyone else


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingBatch:
    """Readings as columns of one length n, in order of arrival.

    sensor: int32 index into the sensor table · time_ms: int64, the sensor's own claim · value: float64 in
    the quantity's canonical unit, calibrated · quality: uint8 `Quality` · lane: uint8 `Lane` ·
    received_ms: int64, our witness (never decreasing within a batch).
    """

    sensor: NDArray[np.int32]
    time_ms: NDArray[np.int64]
    value: NDArray[np.float64]
    quality: NDArray[np.uint8]
    lane: NDArray[np.uint8]
    received_ms: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.sensor)

    @classmethod
    def empty(cls) -> ReadingBatch:
        """Return a batch of no readings."""
        return cls.of([], [], [])

    @classmethod
    def of(cls, sensor: Any, time_ms: Any, value: Any, received_ms: Any = None, quality: Any = None) -> ReadingBatch:
        """Build a batch from array-likes; received defaults to the reading's time, quality to GOOD, lane to LIVE."""
        times = np.asarray(time_ms, dtype=np.int64)
        n = len(times)
        return cls(
            sensor=np.asarray(sensor, dtype=np.int32),
            time_ms=times,
            value=np.asarray(value, dtype=np.float64),
            quality=np.full(n, Quality.GOOD, np.uint8) if quality is None else np.asarray(quality, dtype=np.uint8),
            lane=np.zeros(n, np.uint8),
            received_ms=times.copy() if received_ms is None else np.asarray(received_ms, dtype=np.int64),
        )

    def take(self, index: Any) -> ReadingBatch:
        """Return the readings selected by a slice, mask or index array, in that order."""
        return ReadingBatch(
            sensor=self.sensor[index],
            time_ms=self.time_ms[index],
            value=self.value[index],
            quality=self.quality[index],
            lane=self.lane[index],
            received_ms=self.received_ms[index],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayHeard:
    """Gateways heard of other than by their readings, as columns of one length, in order of arrival.

    Readings count as heard by themselves; these are births, wills, and messages without usable readings.
    gateway: ids · received_ms: int64, never decreasing · is_offline: True where the gateway said goodbye.
    """

    gateway: Sequence[str] = ()
    received_ms: Sequence[int] | NDArray[np.int64] = ()
    is_offline: Sequence[bool] | NDArray[np.bool_] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A message, or part of one, that could not be taken, kept whole with the reason until somebody looks."""

    topic: str
    payload: bytes
    reason: str  # stable short code: json_syntax, unknown_sensor, foreign_sensor, …
    detail: str
    gateway: str  # "" when the topic names none
    received_ms: int


# ── the city as configured ──────────────────────────────────────────────────────────────────────


class Priority(IntEnum):
    """The four warning levels, red to blue (突发事件 I-IV). A smaller number matters more."""

    P1 = 1  # 红 red, I
    P2 = 2  # 橙 orange, II
    P3 = 3  # 黄 yellow, III
    P4 = 4  # 蓝 blue, IV

    @property
    def colour(self) -> str:
        """The level's English colour name, as written in YAML."""
        return ("red", "orange", "yellow", "blue")[self - 1]

    @property
    def colour_zh(self) -> str:
        """The level's Chinese colour name."""
        return "红橙黄蓝"[self - 1]

    @classmethod
    def from_colour(cls, colour: str) -> Priority:
        """Return the level named red, orange, yellow or blue."""
        return cls(("red", "orange", "yellow", "blue").index(colour) + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A name people see, in both languages."""

    zh: str
    en: str

    def __str__(self) -> str:
        return self.zh


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where in the configuration a thing was said."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


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


class Side(Enum):
    """How a value is compared with a limit; equality is part of the word, so nobody has to guess."""

    AT_LEAST = "at_least"  # value >= limit breaches
    ABOVE = "above"  # value >  limit
    BELOW = "below"  # value <  limit
    AT_MOST = "at_most"  # value <= limit

    @property
    def sign(self) -> str:
        """The mathematical sign, for people."""
        return {"at_least": "≥", "above": ">", "below": "<", "at_most": "≤"}[self.value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One latch of a rule: raise on breach held for on_delay_s, clear on good held for off_delay_s.

    A value is good when it would not breach even if moved towards the limit by `deadband`.
    """

    level: Priority
    side: Side
    value: float
    deadband: float = 0.0
    on_delay_s: float = 0.0
    off_delay_s: float = 0.0
    origin: Origin


class Gap(Enum):
    """What missing data does to a breach that is still waiting for its on-delay."""

    RESET = "reset"  # start counting again
    HOLD = "hold"  # keep counting as if nothing had been missed
    RAISE = "raise"  # raise at once: for gas, a probe that dies in a rising leak is itself the alarm


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderPlan:
    """What kind of work order a rule's alarms open, and how its repair is proven."""

    template: str
    verify_for_s: float  # the raising sensors must stay normal this long
    coverage: float = 0.8  # share of expected good readings needed in that time
    opens_at: Priority = Priority.P3  # only alarms at least this serious open an order


class InhibitScope(Enum):
    """How far the alarm of a cause reaches: which alarms of the inhibited rule it hides."""

    PLACE = "place"  # of the same sensor, site or gateway
    SENSOR = "sensor"  # of the same sensor (or, for rules about a site or gateway, the same one)
    SITE = "site"
    GATEWAY = "gateway"  # of sensors that speak through the same gateway
    AREA = "area"
    UPSTREAM = "upstream"  # of sites downstream of the cause's, however far
    NEAR = "near"  # of sites within `within_m` of the cause's


@dataclass(frozen=True, slots=True, kw_only=True)
class Inhibition:
    """A declared cause: while an alarm of `rule` is active within `scope`, it explains and hides the effect."""

    rule: str
    scope: InhibitScope = InhibitScope.PLACE
    within_m: float = 0.0  # for NEAR, metres

    def __str__(self) -> str:
        if self.scope is InhibitScope.PLACE:
            return self.rule
        return f"{self.rule} ({self.scope.value}{f' {self.within_m:g} m' if self.within_m else ''})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule as it applies to `scopes`. The same id may stand in several Rules, one per set of overrides."""

    id: str
    name: Text
    version: str  # first 12 hex digits of the sha256 of its effective content
    origin: Origin
    detector: str  # a key of rules.detectors.DETECTORS
    settings: Any  # that detector's own frozen settings model
    limits: tuple[Limit, ...]
    scopes: tuple[str, ...]  # sensor ids; site ids for site-wide detectors; gateway ids for gateway watchdogs
    sensors: tuple[tuple[str, ...], ...]  # for each scope, the sensors it looks at
    domain: str
    unit: str  # unit of the limits, for people
    is_diagnostic: bool = False  # about the instrument, not about the city
    gap: Gap = Gap.RESET
    is_latching: bool = False
    accepts_suspect: bool = False  # whether SUSPECT readings may raise (they never clear)
    order: OrderPlan | None = None
    inhibited_by: tuple[Inhibition, ...] = ()  # causes whose active alarm hides this one
    source: str = ""
    advice: Text | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """People who get notices: a duty desk or a crew."""

    id: str
    name: Text
    kind: str  # duty | crew
    domains: tuple[str, ...] = ()
    areas: tuple[str, ...] = ()
    unit: str = ""  # the responsible unit it belongs to; the unit that fixes never verifies
    work: tuple[str, ...] = ()  # a crew's lines of business: ids of order templates; empty: all


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who can be reached. Contacts are kept as `(kind, address)`: phone, mail, dingtalk, wecom, feishu."""

    id: str
    name: Text
    role: str  # duty, lead, dispatcher, unit, crew, checker, supervisor, boss, admin
    teams: tuple[str, ...] = ()
    unit: str = ""
    contacts: tuple[tuple[str, str], ...] = ()
    is_outside: bool = False  # not of the bureau: never called by a drill
    level: str = ""  # of the responsibility chain: person, unit, street, district or city; "": not of it
    domains: tuple[str, ...] = ()  # answered for at that level; empty: all
    areas: tuple[str, ...] = ()

    def address(self, kind: str) -> str:
        """Return the address of a kind of contact, or ""."""
        return dict(self.contacts).get(kind, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """A watch that comes round: on each of its days from `starts_s` to `ends_s`, seconds of the local clock.

    `ends_s` beyond 86 400 is on the next day. Groups take turns: each is on for `turn_days` days, counted from the
    rota's first day.
    """

    id: str
    starts_s: int
    ends_s: int
    groups: tuple[tuple[str, ...], ...]  # ids of people
    turn_days: int = 1
    days: tuple[str, ...] = ()  # mon … sun, workday, holiday (with 调休); empty: every day; any of them is enough
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class StandIn:
    """`person` stands in for `instead_of` in [starts, ends); without a name on one side, somebody more or one less."""

    id: str
    team: str
    instead_of: str
    person: str
    starts_ms: int
    ends_ms: int
    reason: str = ""
    origin: str = ""  # file:line, or who said so and when


@dataclass(frozen=True, slots=True, kw_only=True)
class Rota:
    """Who of a team is on duty when. Before its first day nobody is."""

    team: str
    timezone: str
    first_day: str  # ISO date, local: the first day of every shift's first turn
    shifts: tuple[Shift, ...]
    at_least: int = 1  # people who should be on at any time
    stand_ins: tuple[StandIn, ...] = ()  # in the order of the file; a later one acts on what earlier ones left
    fallback: tuple[str, ...] = ()  # people called when nobody is on
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainStep:
    """Whom an alarm calls `after_s` seconds after it asked for attention, if nobody has acknowledged it by then.

    to: `routes` (the desks it was told to), `every-desk`, `on-duty`, `lead-on-duty` (of the desk, or of another team:
    `on-duty:crew-gas`), `team:…`, `person:…`, `level:street` … · by: ids of channels; empty: those of its routes.
    """

    after_s: int
    to: tuple[str, ...]
    by: tuple[str, ...] = ()
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """An escalation chain: steps, and how often they come again. Empty selectors take everything."""

    id: str
    name: Text
    steps: tuple[ChainStep, ...]
    every_s: int = 0  # between the beginnings of two rounds
    rounds: int = 1
    levels: tuple[Priority, ...] = ()
    domains: tuple[str, ...] = ()
    areas: tuple[str, ...] = ()
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Milestone:
    """Something an order has to have reached `within_s` after it was opened; else those in `to` are told."""

    id: str
    name: Text
    within_s: float
    reached: tuple[str, ...]  # kinds of the order's events, any of which reaches it: accepted, arrived, fed_back …
    to: tuple[str, ...]  # crew, desk, or a target as in ChainStep.to
    is_work: bool = False  # counted in working time
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A named set of milestones that order templates may ask for."""

    id: str
    name: Text
    milestones: tuple[Milestone, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Which team hears of which alarms, by which channel."""

    id: str
    to: str  # team id
    channel: str  # id of a configured channel
    domains: tuple[str, ...] = ()  # empty: all
    areas: tuple[str, ...] = ()
    at_least: Priority = Priority.P4
    chains: tuple[str, ...] = ()  # escalation chains, the first that wants an alarm takes it
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelConfig:
    """A configured way out: `kind` is a key of alerts.channels.CHANNELS, settings its own frozen model."""

    id: str
    kind: str
    settings: Any
    origin: Origin


WORKDAY_S = 28_800.0  # a working day (工作日) has eight working hours (工作时)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeLimit:
    """How long something may take: seconds of natural time, or of working time (工作时, 工作日)."""

    seconds: float
    is_work: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderStep:
    """One of several limits in one order: its clock runs from the dispatch, or from the end of step `after`."""

    id: str
    name: Text
    within: TimeLimit
    after: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderTemplate:
    """What an order of this kind tells the crew, and where its time limits differ from the built-in ones."""

    id: str
    name: Text
    checklist: tuple[Text, ...] = ()
    safety: tuple[Text, ...] = ()
    profile: str = ""  # its milestones
    is_checklist_required: bool = False  # every item ticked before the repair can be reported
    timers: dict[Priority, dict[str, TimeLimit]] = field(default_factory=dict)  # by level, then by clock: T1 … T5
    steps: tuple[OrderStep, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmBudget:
    """Upper bounds on the alarms of one duty desk ("": of all together); None is no bound. flood_share: 0 … 1."""

    desk: str
    officers: int = 1  # who share the load
    per_10min: float | None = None
    peak_10min: float | None = None
    flood_share: float | None = None
    per_day: float | None = None
    chattering: int | None = None
    standing: int | None = None
    missed: int | None = None
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class StormPlan:
    """When a duty desk is in an alarm flood: ISA-18.2 says above 10 new alarms in 10 min an operator, until under 5."""

    starts_above: int = 10  # new alarms within the window for each officer
    ends_below: int = 5
    window_s: float = 600.0
    starts_on: tuple[str, ...] = ()  # rules whose alarm begins a storm at once and holds it: gateway loss, heavy rain
    officers: tuple[tuple[str, int], ...] = ()  # by desk; else the people of its team who are on duty or lead
    origin: str = ""  # file:line; "" for the built-in limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Drills:
    """What drills may do: the only channels they may use, and how long one may run. No channels: no drills."""

    channels: tuple[str, ...] = ()
    longest_s: float = 7_200.0


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
    budget: tuple[AlarmBudget, ...] = ()  # what rules may ask of the duty desks, checked by a backtest
    rotas: dict[str, Rota] = field(default_factory=dict)  # by team
    chains: dict[str, Chain] = field(default_factory=dict)
    profiles: dict[str, Profile] = field(default_factory=dict)
    public_url: str = ""  # the console's address as phones see it; "": notices carry no links


# ── rules → alerts ──────────────────────────────────────────────────────────────────────────────


class TransitionKind(Enum):
    """What a rule says about one scope."""

    RAISE = "raise"
    LEVEL = "level"  # already active; its highest latched level changed
    CLEAR = "clear"
    DATA_LOSS = "data_loss"  # the rule can no longer see: condition unchanged, quality stale
    DATA_BACK = "data_back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """One limit met by one sample: a jump over several levels records every one of them."""

    level: Priority
    limit: float
    side: Side
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """A change of one rule on one scope, in event time, with its reason."""

    rule: str
    rule_version: str
    scope: str
    kind: TransitionKind
    level: Priority | None  # highest latched level after the change; None when cleared
    event_ms: int  # the sample's time, or the watchdog's deadline
    received_ms: int  # when we could first know
    value: float  # NaN where there is none (watchdogs)
    crossed: tuple[Crossing, ...] = ()
    breach_ms: int = 0  # first sample of the breach (raise) or of the good run (clear)
    lane: Lane = Lane.LIVE  # HISTORY: a dated occurrence that never pages
    because: Text
    parent: str = ""  # dedup key of a cause that explains it (a silent gateway)
    exercise: str = ""  # id of the drill that scripted it; "" when it is real

    @property
    def dedup_key(self) -> str:
        """The key of the alarm it concerns: a drill's alarms never meet real ones."""
        key = f"{self.rule}|{self.scope}"
        return f"{self.exercise}|{key}" if self.exercise else key


# ── alerts ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who did it: a person with a role, or the system itself."""

    name: str
    role: str  # duty, lead, dispatcher, unit, crew, checker, supervisor, boss, admin, system
    unit: str = ""


SYSTEM = Actor(name="citypulse", role="system")


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Something a person asks of the heart: acknowledge, dispatch, report … Answered after the commit."""

    id: str  # idempotency key: the same id twice is done once
    verb: str
    target: str  # alarm id or order id, or "" where the verb makes a new thing
    actor: Actor
    at_ms: int  # when the person acted, by our clock
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of a command, known durable."""

    command: str
    ok: bool
    message: str
    code: str = ""
    allowed: tuple[str, ...] = ()
    subject: str = ""  # id of the alarm or order it concerns


class Condition(Enum):
    """The alarm's condition region: is it true out there?"""

    ACTIVE = "active"
    LATCHED = "latched"  # returned to normal, but held until somebody resets it
    NORMAL = "normal"


class AlarmQuality(Enum):
    """How well we can see the alarm's cause."""

    GOOD = "good"
    STALE = "stale"  # the sensors have gone quiet: unknown since `stale_ms`, never "recovered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One occurrence of one rule on one scope. Regions are orthogonal; the ISA-18.2 letter is derived from them."""

    id: str  # uuid5(dedup_key|occurrence): a replay gives the same id
    dedup_key: str  # <rule>|<scope>
    occurrence: int  # rises by exactly one per raise of a dedup_key
    rule: str
    rule_version: str
    rule_origin: str  # file:line
    scope: str
    site: str
    area: str
    domain: str
    is_diagnostic: bool
    condition: Condition
    is_acked: bool
    is_confirmed: bool  # OPC UA: a corrective action has been proven (order closed)
    quality: AlarmQuality
    level: Priority  # highest latched now, or the last one before clearing
    peak_level: Priority
    peak_value: float
    breach_ms: int
    raised_ms: int  # event time
    raised_wall_ms: int  # when we knew
    cleared_ms: int | None
    stale_ms: int | None
    acked_by: str
    acked_ms: int | None
    shelved_until_ms: int | None
    suppressed_by: tuple[str, ...]  # dedup keys or mute ids that hide it
    is_out_of_service: bool
    is_historical: bool
    parent: str
    order_id: str
    because_zh: str
    because_en: str
    rev: int
    told: tuple[str, ...] = ()  # "<channel>|<target>" of each notice of this occurrence: the same hear of its end
    stale_by: tuple[str, ...] = ()  # what stops us from seeing: dedup keys of silences, or "rule" for its own data loss
    called_ms: int = 0  # when it last asked for attention (our time): reminders count from here; 0 while hidden
    reminded: int = 0  # how many reminders have gone out since
    chatter_since_ms: int | None = None  # it comes and goes too often: told once, not turn by turn (our time)
    chatter_last_ms: int = 0  # when it last turned, our time: quiet counts from here
    chatter_turns: int = 0  # raises and clears that were recorded and not told
    chatter_level: Priority | None = None  # the most serious level told since it chatters
    shelf_warned_ms: int = 0  # the end of a shelf that has been announced
    exercise: str = ""  # id of the drill it belongs to; "" when it is real

    @property
    def is_chattering(self) -> bool:
        """True while its turns are recorded and not told one by one."""
        return self.chatter_since_ms is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One append-only line of the record: what changed on an alarm or an order, who did it and why."""

    subject: str  # alarm or order id
    subject_kind: str  # alarm | order | mute | exercise | storm
    rev: int
    kind: str  # raised, level, cleared, acknowledged, dispatched, …
    event_ms: int  # time in the world
    wall_ms: int  # our time
    actor: str
    actor_role: str
    from_state: str
    to_state: str
    because: str  # a sentence with value, limit, duration, rule file:line
    data: dict[str, Any] = field(default_factory=dict)


class OrderState(Enum):
    """The fourteen resting states of a work order (GB/T 30428; domain.md 2.5)."""

    REPORTED = "reported"  # 上报
    VERIFYING = "verifying"  # 核实
    FILED = "filed"  # 立案
    DISPATCHED = "dispatched"  # 派遣
    ACCEPTED = "accepted"  # 接单
    HANDLING = "handling"  # 处置中
    DEFERRED = "deferred"  # 缓办
    SUSPENDED = "suspended"  # 挂账
    RETURNED = "returned"  # 回退
    FED_BACK = "fed_back"  # 处理反馈
    CHECKING = "checking"  # 核查
    CLOSED = "closed"  # 结案, end
    REJECTED = "rejected"  # 不予立案, end
    CANCELLED = "cancelled"  # 作废, end


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkOrder:
    """A work order: one open per (cause, asset). Times are epoch ms; `data` holds evidence references."""

    id: str  # WO-<yyyymmdd>-<serial>
    kind: str  # dispatch (must act) | notice (must acknowledge)
    state: OrderState
    cause: str  # rule id, or a manual category
    asset: str  # site id
    area: str
    domain: str
    level: Priority
    template: str
    alarm_ids: tuple[str, ...]
    watched: tuple[str, ...]  # sensor ids whose normality proves the repair
    verify_for_s: float
    coverage: float
    team: str  # crew it is dispatched to
    unit: str
    handler: str  # person who reported the repair: never the one who checks it
    opened_ms: int
    state_ms: int  # since when in this state
    due_ms: int | None  # handling deadline in force
    first_due_ms: int | None  # the original deadline, which on-time metrics use
    fed_back_ms: int | None
    checked_by: str
    rework_count: int
    recurrence_of: str
    extensions: int
    paused_s: float
    paused_since_ms: int | None
    is_supervised: bool
    is_exercise: bool
    note: str
    rev: int
    data: dict[str, Any] = field(default_factory=dict)  # evidence references, witnesses, stage clocks; JSON only


class NoticeKind(Enum):
    """Why somebody is told."""

    RAISED = "raised"
    WORSENED = "worsened"
    CLEARED = "cleared"
    ORDER = "order"  # an order step concerns this team
    REMINDER = "reminder"
    DIGEST = "digest"  # several of the others in one message; made by the deliverer, never kept in the outbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One message to one target by one channel, written in the same transaction as what it tells of."""

    idem_key: str  # sha256(subject|rev|kind|channel|target|step): a retry carries the same key
    subject: str
    subject_kind: str
    rev: int
    kind: NoticeKind
    step: int  # escalation step, 0 for the first
    channel: str
    target: str  # team or person id
    level: Priority
    title: str
    body: str
    reason: str  # why this one is told: route file:line
    created_ms: int
    not_before_ms: int
    group: str = ""  # what it may be collected under in a digest: a cause, an asset or an area
    may_wait: bool = False  # may go into a digest; red and gas never may
    is_exercise: bool = False  # of a drill's alarm or order: goes out by `only_by` alone, whatever fails
    only_by: tuple[str, ...] = ()  # the channels it may ever go by; empty: any that reaches its target


@dataclass(frozen=True, slots=True, kw_only=True)
class Mute:
    """A silence or a maintenance window: hides matching alarms while it runs, never red gas, and always ends.

    Empty matchers match everything of their kind. With `rrule` (RFC 5545, local to `timezone`) the window opens at
    each recurrence for `duration_s`, between `starts_ms` and `ends_ms`; without it runs from start to end.
    """

    id: str
    kind: str  # silence | window
    reason: str
    creator: str
    created_ms: int
    starts_ms: int
    ends_ms: int  # never open-ended
    rules: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    areas: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    at_most: Priority = Priority.P1  # the most serious level it may hide
    rrule: str = ""
    timezone: str = ""
    duration_s: float = 0.0
    days: str = ""  # "" any | workday | holiday: of the Chinese calendar
    cancelled_ms: int | None = None
    rev: int = 0
    creator_role: str = ""
    open_since_ms: int | None = None  # the window now open: when it opened
    open_until_ms: int | None = None  # and when it will close; None while it is closed
    warned_ms: int = 0  # the end that has been announced
    is_over: bool = False  # it will never open again
    origin: str = ""  # file:line of a window of the configuration; "" when a person asked for it


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillStep:
    """One line of a drill's script: what a rule would say about a scope `at_s` seconds after the start."""

    at_s: float
    kind: TransitionKind  # RAISE, LEVEL or CLEAR
    rule: str
    scope: str
    level: Priority | None = None
    value: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Exercise:
    """A drill: scripted alarms that run the whole loop, marked as such, told only to those who take part."""

    id: str  # EX-<twelve hex digits of the command's hash>
    name: str
    reason: str
    creator: str
    creator_role: str
    started_ms: int
    ends_ms: int  # ends by itself at the latest then
    channels: tuple[str, ...]  # the only ways out
    steps: tuple[DrillStep, ...]
    taken: int = 0  # how many steps have been played
    ended_ms: int | None = None
    ended_by: str = ""
    rev: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Storm:
    """Whether a duty desk is in an alarm flood, and what decides it; written whenever it hears of a new alarm."""

    desk: str  # team id
    is_on: bool = False
    since_ms: int = 0  # when it last began or ended; 0: never yet
    recent_ms: tuple[int, ...] = ()  # our times of the newest new alarms, ascending; no more than a start needs
    causes: tuple[str, ...] = ()  # dedup keys of active alarms that hold it
    number: int = 0  # storms so far
    alarms: int = 0  # new alarms of this storm, or of the last one
    rev: int = 0  # events written about it

    @property
    def subject(self) -> str:
        """Its name in the record."""
        return f"storm:{self.desk}"


@dataclass(slots=True, kw_only=True)
class Effects:
    """What one tick changed: to be committed whole, in one transaction, or not at all. Filled while the tick runs."""

    alarms: dict[str, Alarm] = field(default_factory=dict)  # by id; the last version wins
    orders: dict[str, WorkOrder] = field(default_factory=dict)
    mutes: dict[str, Mute] = field(default_factory=dict)
    storms: dict[str, Storm] = field(default_factory=dict)  # by desk
    exercises: dict[str, Exercise] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    obsolete: list[tuple[str, str]] = field(default_factory=list)  # (subject, reason): unsent notices to drop
