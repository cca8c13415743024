"""The nouns of durability: what one tick commits, and what a restart finds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from citypulse.model import (
    Alarm,
    Command,
    DeadLetter,
    Effects,
    Event,
    Exercise,
    Mute,
    Notice,
    OrderState,
    Priority,
    ReadingBatch,
    Storm,
    WorkOrder,
)

Fault = Callable[[str], None]
"""Called by name between the effects of a commit; crash tests raise from it."""


def no_fault(_name: str) -> None:
    """Let the commit go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayRow:
    """Numbering of one gateway since one boot: what is durable here, what is missing, when it was last heard."""

    gateway: str
    boot: str  # "" for gateways that do not number their messages
    durable_upto: int  # every seq up to this one is durable; -1 when none is
    missing: tuple[tuple[int, int], ...] = ()  # closed ranges of seqs above durable_upto not seen yet
    heard_ms: int = 0
    state: str = ""  # online | offline | silent | unknown
    data: dict[str, Any] = field(default_factory=dict)  # counters and clock offset, for people


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """All that one tick makes durable, in one transaction. `number` rises by at least one per tick.

    batch: readings with their lanes and grades · amendments: (sensor, time_ms, quality) of earlier readings whose
    verdict came one reading late · messages: what the intake needs to re-run numbering in recovery; opaque here,
    anything msgpack can hold, arrays included.
    """

    number: int
    now_ms: int
    batch: ReadingBatch | None = None
    amendments: ReadingBatch | None = None
    messages: Any = None
    commands: Sequence[Command] = ()
    effects: Effects = field(default_factory=Effects)
    dead: Sequence[DeadLetter] = ()
    gateways: Sequence[GatewayRow] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenState:
    """What the desk needs to go on after a restart."""

    alarms: tuple[Alarm, ...]  # active, latched, unacknowledged, or with a repair that is not proven yet
    orders: tuple[WorkOrder, ...]  # not ended, and those closed within 72 h (a relapse reopens them)
    occurrences: Mapping[str, int]  # dedup_key → last occurrence number, of all alarms ever
    order_serials: Mapping[str, int]  # yyyymmdd → last serial given out that day
    last_tick: int  # 0 when nothing was ever committed
    last_now_ms: int
    rota_events: tuple[Event, ...] = ()  # stand-ins and hand-overs, in order
    mutes: tuple[Mute, ...] = ()  # not over, or declared by a configuration
    exercises: tuple[Exercise, ...] = ()  # not ended
    storms: tuple[Storm, ...] = ()  # by duty desk
    # dedup_key → (event time, our time) of the raises of the last two hours, in order of occurrence
    raises: Mapping[str, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    past_order: Callable[[str], WorkOrder | None] = lambda _number: None  # one that ended longer ago, by id


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """A line of the record with its place in the hash chain."""

    seq: int
    event: Event
    prev_hash: str
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRow:
    """A notice and how far its delivery has come. state: pending|leased|delivered|failed|dead|obsolete."""

    id: int
    notice: Notice
    state: str
    attempts: int
    next_at_ms: int
    lease_until_ms: int | None
    provider_code: str
    delivered_ms: int | None
    last_error: str
    via: str = ""  # the channel it is sent by; another than the notice's own after a fail-over
    path: str = ""  # the channels it was handed on by, joined by ">"
    digest: str = ""  # key of the message that covers it together with others
    tried_ms: int = 0
    maybe_by: str = ""  # a channel whose try ended without a clear no: it may have been heard there


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadRow:
    """A dead letter with its number; replayed_ms says when it was put back into the inbox."""

    id: int
    letter: DeadLetter
    tick: int
    replayed_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What checking the record found: `first_broken` is the seq of the first line that does not fit, or None."""

    checked: int
    first_broken: int | None
    why: str = ""
    head_seq: int = 0  # the last line of the record, as kept beside it: note it elsewhere, and nobody can shorten
    head_hash: str = ""  # or rewrite the record unseen


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How much of everything the ledger holds, for the overview page and the metrics."""

    alarms_open: int
    alarms_unacked: int
    alarms_open_by_level: Mapping[Priority, int]
    orders_by_state: Mapping[OrderState, int]
    outbox_by_state: Mapping[str, int]
    events: int
    dead_letters: int
    dead_letters_bytes: int
    dead_letters_pushed_out: int  # rows that had to make room for newer ones, ever
    dead_letters_pushed_out_bytes: int
    last_tick: int
    last_now_ms: int
