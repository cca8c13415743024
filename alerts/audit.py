"""Integrity rules over our own record: what an honest supervisor would ask about (domain.md 6.9).

The hash chain shows that nobody rewrote the record; these rules show what was done in it. Each finding names its
evidence. Pure functions over what the ledger holds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from alerts.orders.table import is_serious
from citypulse.model import Alarm, Event, OrderState, Text, WorkOrder

LATE_EDIT_S: Final = 600  # an extension granted this shortly before the deadline
AFTER_SHELF_S: Final = 86_400  # a worse alarm this soon after one of its place was put aside
QUICK_REPAIR_S: Final = 60  # a repair reported this soon after arriving
QUICK_ACK: Final = 20  # acknowledgements by one person within a minute: nobody reads that fast


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing to ask about. `events` are (subject, rev) of the lines of the record that show it."""

    rule: str
    subject: str
    who: str
    sentence: Text
    events: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The record of a period, by subject, in order."""

    alarms: Mapping[str, Alarm]
    orders: Mapping[str, WorkOrder]
    events: Mapping[str, Sequence[Event]]

    @classmethod
    def of(cls, alarms: Iterable[Alarm], orders: Iterable[WorkOrder], events: Iterable[Event]) -> Record:
        """Sort events by their subject."""
        found: dict[str, list[Event]] = defaultdict(list)
        for event in events:
            found[event.subject].append(event)
        return cls(alarms={a.id: a for a in alarms}, orders={o.id: o for o in orders}, events=found)


def _finding(rule: str, who: str, zh: str, en: str, *shown: Event) -> Finding:
    return Finding(
        rule=rule,
        subject=shown[0].subject,
        who=who,
        sentence=Text(zh=zh, en=en),
        events=tuple((e.subject, e.rev) for e in shown),
    )


def closed_without_sensors(record: Record) -> Iterable[Finding]:
    """A person's proof stood in for the sensors: allowed where data is missing, and always worth a look."""
    for order in record.orders.values():
        closing = next((e for e in reversed(record.events.get(order.id, ())) if e.kind == "closed"), None)
        if closing is not None and order.state is OrderState.CLOSED and "sensors_ok" not in order.data:
            yield _finding("closed_without_sensors", closing.actor, f"{order.id} 无传感器佐证, 以人工举证结案",
                           f"{order.id} was closed on manual proof alone", closing)  # fmt: skip


def late_extension(record: Record) -> Iterable[Finding]:
    """A deadline moved just before it would have passed."""
    for order in record.orders.values():
        old = [due for due in order.data.get("old_due_ms", ()) if due is not None]
        granted = [e for e in record.events.get(order.id, ()) if e.kind == "extended"]
        for due_ms, event in zip(old, granted, strict=False):
            if 0 <= due_ms - event.wall_ms <= LATE_EDIT_S * 1000:
                yield _finding("late_extension", event.actor, f"{order.id} 在到期前{LATE_EDIT_S // 60}分钟内被延期",
                               f"{order.id} was extended in its last {LATE_EDIT_S // 60} minutes", event)  # fmt: skip


def too_quick_a_repair(record: Record) -> Iterable[Finding]:
    """A repair that was reported hardly after the crew arrived."""
    for number in record.orders:
        arrived: Event | None = None
        for event in record.events.get(number, ()):
            if event.kind == "arrived":
                arrived = event
            elif event.kind == "fed_back" and arrived is not None:
                if event.event_ms - arrived.event_ms < QUICK_REPAIR_S * 1000:
                    yield _finding("too_quick_a_repair", event.actor, f"{number} 到场不足{QUICK_REPAIR_S}秒即反馈",
                                   f"{number} was reported repaired within {QUICK_REPAIR_S} s of arriving",
                                   arrived, event)  # fmt: skip
                arrived = None


def put_aside_before_it_got_worse(record: Record) -> Iterable[Finding]:
    """An alarm was shelved or taken out of service, and its place had a serious alarm within a day."""
    serious = [a for a in record.alarms.values() if is_serious(a.peak_level) and not a.is_historical]
    for alarm in record.alarms.values():
        for event in record.events.get(alarm.id, ()):
            if event.kind not in {"shelved", "out_of_service"}:
                continue
            for other in serious:
                is_same = bool(alarm.site) and other.site == alarm.site and other.id != alarm.id
                if is_same and 0 <= other.raised_wall_ms - event.wall_ms <= AFTER_SHELF_S * 1000:
                    raised = record.events[other.id][0] if record.events.get(other.id) else event
                    yield _finding("put_aside_before_it_got_worse", event.actor,
                                   f"{alarm.dedup_key} 被搁置后24小时内同点位出现{other.peak_level.colour_zh}色告警",
                                   f"{alarm.dedup_key} was put aside less than a day before a "
                                   f"{other.peak_level.colour} alarm at {alarm.site}", event, raised)  # fmt: skip
                    break


def acknowledged_unread(record: Record) -> Iterable[Finding]:
    """One person acknowledged more alarms in a minute than anybody can read."""
    by_person: dict[str, list[Event]] = defaultdict(list)
    for events in record.events.values():
        for event in events:
            if event.kind == "acknowledged":
                by_person[event.actor].append(event)
    for who, events in by_person.items():
        events.sort(key=lambda e: (e.wall_ms, e.subject))
        start = 0
        for end, event in enumerate(events):
            while event.wall_ms - events[start].wall_ms > 60_000:
                start += 1
            if end - start + 1 == QUICK_ACK:
                said = f"{who} acknowledged {QUICK_ACK} alarms within a minute"
                shown = events[start : end + 1]
                yield _finding("acknowledged_unread", who, f"{who} 一分钟内确认{QUICK_ACK}条告警", said, *shown)
                start = end + 1


RULES: Final[tuple[Callable[[Record], Iterable[Finding]], ...]] = (
    closed_without_sensors,
    late_extension,
    too_quick_a_repair,
    put_aside_before_it_got_worse,
    acknowledged_unread,
)


def findings(record: Record) -> list[Finding]:
    """Return everything worth asking about, in the order of the rules."""
    return [finding for rule in RULES for finding in rule(record)]
