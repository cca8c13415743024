"""Notices on their way out. Only this file and the commit write the outbox.

A sender leases rows, asks `is_wanted` just before it sends, and says what came of it. A lease that runs out means
"try again", never "failed": the sender may have died. A retry carries the same idem_key, so that a provider or a
person can tell a repeat from news.

States: pending → leased → delivered | failed (the provider refused for good) | dead (given up) | obsolete (no longer
wanted); leased → pending for a retry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from citypulse.model import Notice, NoticeKind

from . import schema as s
from .sqlite import Reader, Writer

_o = s.outbox.c


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasedNotice:
    """A notice in the hands of one sender until `lease_until_ms`. attempt counts from 1."""

    id: int
    notice: Notice
    attempt: int
    lease_until_ms: int


class Outbox:
    """Leases notices to senders and writes down what the providers answered. Thread-safe."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        """Write through the process's one writer, look through its readers."""
        self._writer = writer
        self._reader = reader

    def lease(
        self, now_ms: int, limit: int, lease_ms: int, *, channels: Sequence[str] | None = None
    ) -> list[LeasedNotice]:
        """Take at most `limit` due notices for `lease_ms`, most serious and oldest first.

        A call about an alarm that a later one to the same target has overtaken is dropped, if nobody tried to send it.
        Of several notices to one target about one subject only the first unfinished is given out: nobody hears
        "cleared" while "raised" may still be on its way. `channels` limits the choice, so that one dead channel does
        not hold the others up.
        """
        waiting, earlier = s.outbox.alias("waiting").c, s.outbox.alias("earlier").c
        is_first = ~sa.exists().where(
            earlier.subject == waiting.subject,
            earlier.channel == waiting.channel,
            earlier.target == waiting.target,
            earlier.id < waiting.id,
            earlier.state.in_(("pending", "leased")),
        )
        is_due = sa.or_(
            sa.and_(waiting.state == "pending", waiting.next_at_ms <= now_ms),
            sa.and_(waiting.state == "leased", waiting.lease_until_ms <= now_ms),
        )
        chosen = sa.select(waiting.id).where(is_due, is_first).order_by(waiting.level, waiting.id).limit(limit)
        if channels is not None:
            chosen = chosen.where(waiting.channel.in_(list(channels)))
        take = (
            sa.update(s.outbox)
            .where(_o.id.in_(chosen))
            .values(state="leased", lease_until_ms=now_ms + lease_ms, attempts=_o.attempts + 1)
            .returning(_o.id, *(_o[name] for name in s.NOTICES.names), _o.attempts)
        )
        if not self._finds(chosen.limit(1)):  # look before writing: an idle outbox must not cost a commit each time
            return []
        with self._writer.transaction() as connection:
            connection.execute(_overtaken())
            rows = connection.execute(take).all()
        leased = [
            LeasedNotice(id=row[0], notice=s.NOTICES.noun(row[1:-1]), attempt=row[-1], lease_until_ms=now_ms + lease_ms)
            for row in rows
        ]
        return sorted(leased, key=lambda one: (one.notice.level, one.id))

    def is_wanted(self, leased: LeasedNotice) -> bool:
        """Say whether it should still be sent: the lease stands, and what it calls for is not seen to or hidden.

        A call about an alarm that somebody has acknowledged, shelved or taken out of service, or that its cause
        hides by now, would only wake people for nothing.
        """
        if not self._finds(sa.select(_o.id).where(*self._mine(leased))):
            return False
        n = leased.notice
        if n.subject_kind != "alarm" or n.kind not in (NoticeKind.RAISED, NoticeKind.WORSENED):
            return True
        a = s.alarm.c
        is_seen_to = sa.or_(
            a.is_acked.is_(True),
            a.shelved_until_ms.is_not(None),
            a.is_out_of_service.is_(True),
            a.suppressed_by != "[]",
        )
        return not self._finds(sa.select(a.id).where(a.id == n.subject, is_seen_to))

    def _finds(self, query: sa.Select[Any]) -> bool:
        with self._reader.connection() as connection:
            return connection.execute(query).first() is not None

    @staticmethod
    def _mine(leased: LeasedNotice) -> tuple[sa.ColumnElement[bool], ...]:
        return _o.id == leased.id, _o.state == "leased", _o.attempts == leased.attempt

    def has_heard(self, leased: LeasedNotice) -> bool:
        """Say whether an earlier notice about the subject may have reached the same target: sent, or tried."""
        n = leased.notice
        same = (_o.subject == n.subject, _o.channel == n.channel, _o.target == n.target, _o.id < leased.id)
        return self._finds(sa.select(_o.id).where(*same, _o.attempts > 0).limit(1))

    def obsolete(self, leased: LeasedNotice, *, reason: str) -> bool:
        """Record that it need not be sent; False when the lease no longer stands."""
        return self._set(self._mine(leased), state="obsolete", lease_until_ms=None, last_error=reason)

    def delivered(self, leased: LeasedNotice, *, now_ms: int, provider_code: str = "") -> None:
        """Record that the provider took it. A fact: it holds even when the lease has run out meanwhile."""
        self._set(
            (_o.id == leased.id,),
            state="delivered",
            delivered_ms=now_ms,
            provider_code=provider_code,
            lease_until_ms=None,
            last_error="",
        )

    def retry(self, leased: LeasedNotice, *, next_at_ms: int, error: str, provider_code: str = "") -> bool:
        """Put it back to be tried at `next_at_ms`; False when the lease no longer stands (then nothing changes)."""
        return self._set(
            self._mine(leased),
            state="pending",
            next_at_ms=next_at_ms,
            lease_until_ms=None,
            last_error=error,
            provider_code=provider_code,
        )

    def failed(self, leased: LeasedNotice, *, error: str, provider_code: str = "") -> bool:
        """Record a permanent refusal by the provider; False when the lease no longer stands."""
        return self._set(
            self._mine(leased), state="failed", lease_until_ms=None, last_error=error, provider_code=provider_code
        )

    def give_up(self, leased: LeasedNotice, *, error: str, provider_code: str = "") -> bool:
        """Record that the retries are used up; False when the lease no longer stands."""
        return self._set(
            self._mine(leased), state="dead", lease_until_ms=None, last_error=error, provider_code=provider_code
        )

    def revive(self, notice_id: int, *, now_ms: int) -> bool:
        """Put a failed or dead notice back to be sent, because somebody has mended the channel."""
        return self._set(
            (_o.id == notice_id, _o.state.in_(("failed", "dead"))), state="pending", next_at_ms=now_ms, attempts=0
        )

    def prune(self, *, before_ms: int, limit: int = 500) -> int:
        """Forget at most `limit` finished notices created before `before_ms`; return how many went."""
        old = (
            sa.select(_o.id)
            .where(_o.created_ms < before_ms, _o.state.in_(("delivered", "failed", "dead", "obsolete")))
            .limit(limit)
        )
        with self._writer.transaction() as connection:
            return connection.execute(sa.delete(s.outbox).where(_o.id.in_(old))).rowcount

    def _set(self, where: tuple[sa.ColumnElement[bool], ...], **values: Any) -> bool:
        with self._writer.transaction() as connection:
            return connection.execute(sa.update(s.outbox).where(*where).values(**values)).rowcount > 0


def _overtaken() -> sa.Update:
    """Drop unsent calls about an alarm that a later call to the same target has overtaken: after an outage, one each.

    An end overtakes nothing: what came and went unseen still has to be acknowledged, so it is told whole.
    """
    calls = (NoticeKind.RAISED.value, NoticeKind.WORSENED.value)
    later = s.outbox.alias("later")
    is_overtaken = sa.exists().where(
        later.c.subject == _o.subject,
        later.c.channel == _o.channel,
        later.c.target == _o.target,
        later.c.id > _o.id,
        later.c.state == "pending",
        later.c.kind.in_(calls),
    )
    return (
        sa.update(s.outbox)
        .where(_o.subject_kind == "alarm", _o.kind.in_(calls), _o.state == "pending", _o.attempts == 0, is_overtaken)
        .values(state="obsolete", last_error="overtaken by later news before it was sent")
    )
