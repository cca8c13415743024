"""Alarms and all that the desk does about them: commands, events, notices, mutes, drills, storms, effects."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from citypulse.model.basics import Priority
from citypulse.model.orders import WorkOrder
from citypulse.model.rules import TransitionKind


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
    realarmed: int = 0  # how often it has asked again though acknowledged, at this level
    service_until_ms: int | None = None  # out of service until then; None: until somebody puts it back

    @property
    def is_point(self) -> bool:
        """True for the row of a point at rest (occurrence 0): out of service or not, but no alarm."""
        return self.occurrence == 0

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
