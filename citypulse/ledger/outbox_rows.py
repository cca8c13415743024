"""What is said of notices on their way out: the nouns a sender holds, and the conditions under which one is free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from citypulse.model import Condition, Notice, NoticeKind, Priority

from . import schema as s

CALLS: Final = (NoticeKind.RAISED.value, NoticeKind.WORSENED.value)
_IN_TURN: Final = (*CALLS, NoticeKind.REMINDER.value, NoticeKind.ORDER.value)
_o = s.outbox.c
# Made once: an alias lists its columns anew each time it is made, which cost more than the queries.
WAITING: Final = s.outbox.alias("waiting")
EARLIER: Final = s.outbox.alias("earlier")
LATER: Final = s.outbox.alias("later")
_IS_WAITING: Final = "waiting." + s.WAITING


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasedNotice:
    """A notice in the hands of one sender until `lease_until_ms`.

    attempt counts from 1 over all channels, tries over the present one · via: the channel it is sent by · path: the
    channels it was handed on by · digest: key of the message it goes out in with others, or "".
    """

    id: int
    notice: Notice
    attempt: int
    lease_until_ms: int
    via: str = ""
    path: tuple[str, ...] = ()
    tries: int = 1
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A notice whose turn may come: what a sender needs for choosing, without its words."""

    id: int
    level: Priority
    target: str
    kind: NoticeKind
    created_ms: int
    may_wait: bool
    idem_key: str
    digest: str
    domain: str  # of the alarm or order it is about; "" when it is about neither
    drill: str = ""  # of a drill's notice the channels it may go by, as JSON; "" when it is real


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What has become of a leased notice. unwanted: why it need not be sent, or "" · heard_by: see `standing`."""

    is_mine: bool
    unwanted: str
    heard_by: str

    @property
    def is_wanted(self) -> bool:
        """True when the lease stands and there is no reason against sending."""
        return self.is_mine and not self.unwanted


def unwanted(subject_kind: str, kind: NoticeKind, is_acked: Any, is_hidden: Any, condition: Any) -> str:
    """Return why a notice need not be sent any more; "" when it should."""
    if subject_kind != "alarm" or kind not in (NoticeKind.RAISED, NoticeKind.WORSENED, NoticeKind.REMINDER):
        return ""
    if is_acked:
        return "acknowledged before its turn came"
    if is_hidden:
        return "hidden before its turn came"
    if kind is NoticeKind.REMINDER and condition == Condition.NORMAL.value:
        return "over before its turn came"
    return ""


def is_free(w: Any, now_ms: int) -> tuple[sa.ColumnElement[bool], ...]:
    """The rows of `waiting` that are due, and first of their subject for their channel and target.

    An earlier call that nobody has tried to send does not hold a later one up: it is dropped when that is taken.
    """
    earlier = EARLIER.c
    is_call = sa.and_(w.subject_kind == "alarm", w.kind.in_(CALLS))
    is_untried_call = sa.and_(earlier.kind.in_(CALLS), earlier.state == "pending", earlier.attempts == 0)
    is_first = ~sa.exists().where(
        ~sa.and_(is_call, is_untried_call),
        earlier.subject == w.subject,
        earlier.channel == w.channel,
        earlier.target == w.target,
        earlier.id < w.id,
        earlier.state.in_(("pending", "leased")),
    )
    is_due = sa.or_(
        sa.and_(w.state == "pending", w.next_at_ms <= now_ms),
        sa.and_(w.state == "leased", w.lease_until_ms <= now_ms),
    )
    return sa.text(_IS_WAITING), is_due, is_first  # type: ignore[return-value]


def in_turn(w: Any) -> tuple[sa.ColumnElement[Any], ...]:
    """The order of what waits: most serious first, red by what they say (delivery/turns.py), then oldest first."""
    says = sa.case({kind: place for place, kind in enumerate(_IN_TURN)}, value=w.kind, else_=len(_IN_TURN))
    return w.level, sa.case((w.level == int(Priority.P1), says), else_=0), w.id


def overtaken(ids: list[int]) -> sa.Update:
    """Drop unsent calls about an alarm that a later call to the same target has overtaken: after an outage, one each.

    Of `ids` those that were overtaken, and those that one of `ids` overtakes. An end overtakes nothing: what came and
    went unseen still has to be acknowledged, so it is told whole.
    """
    later, taken = LATER, WAITING.c
    same = (EARLIER.c.subject == taken.subject, EARLIER.c.channel == taken.channel, EARLIER.c.target == taken.target)
    before = sa.select(EARLIER.c.id).where(taken.id.in_(ids), *same, EARLIER.c.id <= taken.id)
    is_overtaken = sa.exists().where(
        later.c.subject == _o.subject,
        later.c.channel == _o.channel,
        later.c.target == _o.target,
        later.c.id > _o.id,
        later.c.state == "pending",
        later.c.kind.in_(CALLS),
    )
    return (
        sa.update(s.outbox)
        # By number: the index by state would look at all that waits.
        .where(_o.id.in_(before), _o.subject_kind == "alarm", _o.kind.in_(CALLS), _o.state.concat("") == "pending")
        .where(_o.attempts == 0, is_overtaken)
        .values(state="obsolete", last_error="overtaken by later news before it was sent")
    )
