"""Rules as configured, and what they say: limits, causes, order plans, budgets, and the transitions that result."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from citypulse.model.basics import Origin, Priority, Text
from citypulse.model.readings import Lane


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
