"""What the desk needs to stand where it stood: alarms and orders that are open, and the last numbers given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from citypulse.model import Alarm, Event, Exercise, Mute, Storm, WorkOrder

RECENT_S = 2 * 3600  # raises longer ago, by our time, are no part of any chatter
REOPEN_WITHIN_S = 72 * 3600  # the same alarm within 72 h of closing is the same trouble again (domain.md 2.5, 19)


class Opening(Protocol):
    """What the ledger hands over at the start; `OpenState` is one, the ledger's own type may be another."""

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """Alarms for which `lifecycle.is_retained` holds, and every point that was ever out of service at rest."""
        ...

    @property
    def orders(self) -> tuple[WorkOrder, ...]:
        """Orders that have not ended, and those closed within `REOPEN_WITHIN_S`."""
        ...

    @property
    def occurrences(self) -> Mapping[str, int]:
        """The last occurrence number of each dedup key ever raised."""
        ...

    @property
    def order_serials(self) -> Mapping[str, int]:
        """The last order number of each local day, `yyyymmdd`."""
        ...

    @property
    def storms(self) -> tuple[Storm, ...]:
        """Of each duty desk that has ever heard of an alarm: whether it is in a storm, and its newest alarms."""
        ...

    @property
    def rota_events(self) -> tuple[Event, ...]:
        """The lines of the record about rotas, in order: stand-ins and hand-overs made while running."""
        ...

    @property
    def mutes(self) -> tuple[Mute, ...]:
        """Mutes that are not over, and every one that a configuration declared."""
        ...

    @property
    def exercises(self) -> tuple[Exercise, ...]:
        """Drills that have not ended."""
        ...

    @property
    def raises(self) -> Mapping[str, tuple[tuple[int, int], ...]]:
        """Of each dedup key raised within `RECENT_S`: event time and our time of its raises, in order of occurrence."""
        ...

    @property
    def past_order(self) -> Callable[[str], WorkOrder | None]:
        """Looks up an order by id, however long ago it ended."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenState:
    """A city in which nothing is open, unless told otherwise."""

    alarms: tuple[Alarm, ...] = ()
    orders: tuple[WorkOrder, ...] = ()
    occurrences: Mapping[str, int] = field(default_factory=dict)
    order_serials: Mapping[str, int] = field(default_factory=dict)
    rota_events: tuple[Event, ...] = ()
    storms: tuple[Storm, ...] = ()
    mutes: tuple[Mute, ...] = ()
    exercises: tuple[Exercise, ...] = ()
    raises: Mapping[str, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    past_order: Callable[[str], WorkOrder | None] = lambda _number: None
