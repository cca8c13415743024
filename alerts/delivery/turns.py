"""In which order notices get a channel's room when there is not enough for all: by what they say, then by age.

First the first calls of red and gas alarms, then what says they have become worse, then calls to more people, their
orders, their ends, and last everything else. Nothing starves: of every LATE_SHARE messages of a channel one goes to
what has waited longest, once that is more than LATE_MS. All pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import IntEnum
from typing import Final, Protocol

from citypulse.model import NoticeKind, Priority

LATE_MS: Final = 180_000  # what has waited longer than this has a share of the room, whatever it says
LATE_SHARE: Final = 4  # one message of so many
_CALLS_FIRST: Final = {NoticeKind.RAISED: 0, NoticeKind.WORSENED: 1, NoticeKind.REMINDER: 2, NoticeKind.ORDER: 3}


class Turn(IntEnum):
    """What a waiting notice says, the most urgent first."""

    FIRST_CALL = 0  # red or gas: nobody knows yet
    WORSE = 1
    CALL_AGAIN = 2  # nobody has answered: escalation
    ORDER = 3
    END = 4
    REST = 5  # neither red nor gas, or a drill's


class Candidate(Protocol):
    """What is known of a waiting notice when it is decided how it goes."""

    @property
    def id(self) -> int:
        """Its number."""
        ...

    @property
    def level(self) -> Priority:
        """How serious it is."""
        ...

    @property
    def kind(self) -> NoticeKind:
        """What it says."""
        ...

    @property
    def target(self) -> str:
        """Whom it is for."""
        ...

    @property
    def created_ms(self) -> int:
        """Since when it waits."""
        ...

    @property
    def may_wait(self) -> bool:
        """Whether it may be collected."""
        ...

    @property
    def digest(self) -> str:
        """Key of the message that has already been tried with it, or ""."""
        ...

    @property
    def domain(self) -> str:
        """The domain of what it is about, or ""."""
        ...

    @property
    def drill(self) -> str:
        """Of a drill's notice the channels it may go by, as text; "" when it is real."""
        ...


def is_urgent(one: Candidate) -> bool:
    """Say whether it goes alone whatever happens: red, or about gas, and real: a drill takes no room from those."""
    return not one.drill and (one.level is Priority.P1 or one.domain == "gas")


def turn_of(one: Candidate) -> Turn:
    """Return the class of a waiting notice."""
    return Turn(_CALLS_FIRST.get(one.kind, Turn.END)) if is_urgent(one) else Turn.REST


def is_late_turn(served: int) -> bool:
    """Say whether the next message of a channel that has had `served` of them goes to what has waited longest."""
    return served % LATE_SHARE == LATE_SHARE - 1


def is_late(created_ms: int, now_ms: int) -> bool:
    """Say whether something has waited long enough for a share of the room."""
    return now_ms - created_ms > LATE_MS


def counted(waiting: Iterable[Candidate]) -> dict[str, int]:
    """Return how many wait in each class, every class named."""
    found = Counter(turn_of(one) for one in waiting)
    return {turn.name.lower(): found[turn] for turn in Turn}
