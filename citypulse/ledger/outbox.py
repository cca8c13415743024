"""Notices on their way out. Only this file and the commit write the outbox.

A sender looks at what waits, takes rows for a while, asks what has become of them just before it sends, and says what
came of it. A lease that runs out means "try again", never "failed": the sender may have died. A retry carries the same
idem_key, and a digest its own key with the same rows, so that a provider or a person can tell a repeat from news.

States: pending → leased → delivered | failed (the provider refused for good) | dead (given up) | obsolete (no longer
wanted); leased → pending for a retry or when another channel takes over; pending → split (each person has a row now).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from citypulse.model import Notice, NoticeKind, Priority

from . import outbox_parts
from . import schema as s
from .outbox_rows import EARLIER, WAITING, LeasedNotice, Standing, Waiting, in_turn, is_free, overtaken, unwanted
from .sqlite import Reader, Writer, insert_new

OLDEST_SHARE: Final = 10  # one part in this many of a long list is for the oldest
OLD_MS: Final = 60_000
PASSES_MAX: Final = 4  # of one lease over rows that turn out to be overtaken
_o = s.outbox.c


class Outbox:
    """Leases notices to senders and writes down what the providers answered. Thread-safe."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        """Write through the process's one writer, look through its readers."""
        self._writer = writer
        self._reader = reader

    # ── taking ──────────────────────────────────────────────────────────────────────────────────

    def waiting(self, now_ms: int, channel: str, limit: int) -> list[Waiting]:
        """Return at most `limit` notices that `channel` may send now, most serious and oldest first; writes nothing.

        Of more red ones than `limit` calls come first, then orders and ends. Where more wait than `limit`, a tenth of
        it is for the oldest of those that have waited OLD_MS, so that a sender knows of what is late.
        """
        w = WAITING
        alarm, order = s.alarm.c, s.work_order.c
        domain = sa.func.coalesce(
            sa.select(alarm.domain).where(alarm.id == w.c.subject).scalar_subquery(),
            sa.select(order.domain).where(order.id == w.c.subject).scalar_subquery(),
            "",
        )
        query = sa.select(
            w.c.id,
            w.c.level,
            w.c.target,
            w.c.kind,
            w.c.created_ms,
            w.c.may_wait,
            w.c.idem_key,
            w.c.digest,
            domain,
            sa.case((w.c.is_exercise, w.c.only_by), else_=""),
        ).where(w.c.via == channel, *is_free(w.c, now_ms))
        with self._reader.connection() as connection:
            rows = list(connection.execute(query.order_by(w.c.level, w.c.id).limit(limit)))
            if len(rows) == limit and rows[-1][1] == int(Priority.P1):  # not even the red ones fit: what do they say?
                rows = list(connection.execute(query.order_by(*in_turn(w.c)).limit(limit)))
            if len(rows) == limit and (few := limit // OLDEST_SHARE):
                old = query.where(w.c.created_ms <= now_ms - OLD_MS)
                oldest = connection.execute(old.order_by(w.c.id).limit(few)).all()
                known = {row[0] for row in rows[: limit - len(oldest)]}
                rows = [*rows[: limit - len(oldest)], *(row for row in oldest if row[0] not in known)]
        return [
            Waiting(
                id=row[0],
                level=Priority(row[1]),
                target=row[2],
                kind=NoticeKind(row[3]),
                created_ms=row[4],
                may_wait=row[5],
                idem_key=row[6],
                digest=row[7],
                domain=row[8],
                drill=row[9],
            )
            for row in rows
        ]

    def take(self, ids: Sequence[int], *, now_ms: int, lease_ms: int, digest: str = "") -> list[LeasedNotice]:
        """Take those of `ids` that are still free, for `lease_ms`; under `digest` they go out as one message.

        A call about an alarm that a later one to the same target has overtaken is dropped, if nobody tried to send it.
        """
        if not ids:
            return []
        with self._writer.transaction() as connection:
            connection.execute(overtaken(list(ids)))
            return self._lease(connection, list(ids), now_ms, lease_ms, digest)

    def lease(
        self, now_ms: int, limit: int, lease_ms: int, *, channels: Sequence[str] | None = None
    ) -> list[LeasedNotice]:
        """Take at most `limit` due notices for `lease_ms`, most serious and oldest first.

        Of several notices to one target about one subject only the first unfinished is given out: nobody hears
        "cleared" while "raised" may still be on its way. `channels` limits the choice, so that one dead channel does
        not hold the others up.
        """
        w = WAITING
        chosen = sa.select(w.c.id).where(*is_free(w.c, now_ms)).order_by(*in_turn(w.c)).limit(limit)
        if channels is not None:
            chosen = chosen.where(w.c.via.in_(list(channels)))
        if not self._finds(chosen.limit(1)):  # look before writing: an idle outbox must not cost a commit each time
            return []
        with self._writer.transaction() as connection:
            ids: list[int] = []
            for _ in range(PASSES_MAX):
                ids = list(connection.execute(chosen).scalars())
                if not ids or not connection.execute(overtaken(ids)).rowcount:
                    break
            return self._lease(connection, ids, now_ms, lease_ms, "")

    def _lease(
        self, connection: sa.Connection, ids: list[int], now_ms: int, lease_ms: int, digest: str
    ) -> list[LeasedNotice]:
        w = WAITING
        free = sa.select(w.c.id).where(w.c.id.in_(ids), *is_free(w.c, now_ms))
        take = (
            sa.update(s.outbox)
            .where(_o.id.in_(free))
            .values(
                # Still leased: whoever had it died with it in hand, and may have sent it.
                maybe_by=sa.case((_o.state == "leased", _o.via), else_=_o.maybe_by),
                state="leased",
                lease_until_ms=now_ms + lease_ms,
                attempts=_o.attempts + 1,
                tried_ms=now_ms,
                **({"digest": digest} if digest else {}),
            )
            .returning(
                _o.id,
                *(_o[name] for name in s.NOTICES.names),
                *(_o.attempts, _o.via, _o.path, _o.attempts_before, _o.digest),
            )
        )
        leased = [
            LeasedNotice(
                id=row[0],
                notice=s.NOTICES.noun(row[1:-5]),
                attempt=row[-5],
                lease_until_ms=now_ms + lease_ms,
                via=row[-4],
                path=tuple(row[-3].split(">")) if row[-3] else (),
                tries=row[-5] - row[-2],
                digest=row[-1],
            )
            for row in connection.execute(take).all()
        ]
        return sorted(leased, key=lambda one: (one.notice.level, one.id))

    def end_leases(self) -> int:
        """Let every lease run out now; return how many there were.

        For the one process that has just opened the file: whoever held them is gone, and what they may have sent goes
        out again at once, with its old key.
        """
        with self._writer.transaction() as connection:
            ended = sa.update(s.outbox).where(_o.state == "leased").values(lease_until_ms=0)
            return connection.execute(ended).rowcount

    # ── asking ──────────────────────────────────────────────────────────────────────────────────

    def standing(self, leased: Sequence[LeasedNotice]) -> dict[int, Standing]:
        """Say what has become of leased notices, by id: whose they are, whether they are wanted, who heard before.

        A call about an alarm that somebody has acknowledged, shelved or taken out of service, or that its cause hides
        by now, would only wake people for nothing. `heard_by` is the channel by which an earlier notice about the same
        subject reached, or may have reached, the same target: its own one where possible; "" when none did.
        """
        if not leased:
            return {}
        e, a = EARLIER, s.alarm.c
        same = (e.c.subject == _o.subject, e.c.channel == _o.channel, e.c.target == _o.target, e.c.id < _o.id)

        def reached(by: Any, *where: Any) -> Any:
            found = sa.select(by).where(*same, *where).order_by(e.c.id.desc()).limit(1)
            return found.correlate(s.outbox).scalar_subquery()

        is_delivered = e.c.state.in_(("delivered", "split"))
        heard_by = sa.func.coalesce(
            reached(e.c.via, is_delivered, e.c.via == _o.channel),
            reached(e.c.via, is_delivered),
            reached(e.c.maybe_by, e.c.maybe_by != ""),
            "",
        )
        hidden = sa.or_(a.shelved_until_ms.is_not(None), a.is_out_of_service.is_(True), a.suppressed_by != "[]")
        query = sa.select(
            _o.id, _o.state, _o.attempts, _o.subject_kind, _o.kind, a.is_acked, hidden, a.condition, heard_by
        ).select_from(s.outbox.outerjoin(s.alarm, a.id == _o.subject))
        with self._reader.connection() as connection:
            rows = connection.execute(query.where(_o.id.in_([one.id for one in leased]))).all()
        attempts = {one.id: one.attempt for one in leased}
        return {
            row[0]: Standing(
                is_mine=row[1] == "leased" and row[2] == attempts[row[0]],
                unwanted=unwanted(row[3], NoticeKind(row[4]), row[5], row[6], row[7]),
                heard_by=row[8],
            )
            for row in rows
        }

    def is_wanted(self, leased: LeasedNotice) -> bool:
        """Say whether it should still be sent: the lease stands, and what it calls for is not seen to or hidden."""
        found = self.standing([leased]).get(leased.id)
        return found is not None and found.is_wanted

    def has_heard(self, leased: LeasedNotice) -> bool:
        """Say whether an earlier notice about the subject may have reached the same target."""
        found = self.standing([leased]).get(leased.id)
        return found is not None and bool(found.heard_by)

    def overdue(self, channel: str, now_ms: int, waits_ms: dict[Priority, int], limit: int) -> list[LeasedNotice]:
        """Return notices that have waited for `channel` longer than their level allows; nobody holds them just now."""
        since = sa.case((_o.created_ms > _o.not_before_ms, _o.created_ms), else_=_o.not_before_ms)
        too_long = sa.or_(
            *(sa.and_(_o.level == int(level), since <= now_ms - wait) for level, wait in waits_ms.items())
        )
        query = (
            sa.select(s.outbox)
            .where(sa.text(s.WAITING), _o.via == channel, _o.state == "pending", too_long)
            .order_by(_o.level, _o.id)
            .limit(limit)
        )
        with self._reader.connection() as connection:
            rows = connection.execute(query).all()
        n = 1 + len(s.NOTICES.names)
        return [
            LeasedNotice(
                id=row[0],
                notice=s.NOTICES.noun(row[1:n]),
                attempt=row.attempts,
                lease_until_ms=0,
                via=row.via,
                path=tuple(row.path.split(">")) if row.path else (),
                tries=row.attempts - row.attempts_before,
                digest=row.digest,
            )
            for row in rows
        ]

    def is_told_by(self, notice: Notice, channel: str, *, each: bool = False) -> bool:
        """Say whether the same news is told to the same target by `channel` anyway: handed there it would be double.

        `each`: the channel tells everybody of a team for himself.
        """
        return self._finds(outbox_parts.is_told(notice, channel, each=each))

    def sent_since(self, channel: str, since_ms: int) -> list[int]:
        """Return the instants after `since_ms` at which `channel` was used: what a restart must not forget."""
        message = sa.case((_o.digest != "", _o.digest), else_=_o.idem_key)
        query = sa.select(sa.func.max(_o.tried_ms)).where(_o.via == channel, _o.tried_ms > since_ms).group_by(message)
        with self._reader.connection() as connection:
            return sorted(connection.execute(query).scalars())

    def open_troubles(self) -> dict[str, int]:
        """Return the channels whose failing was announced and whose healing was not, with the instant announced."""
        last = sa.select(sa.func.max(_o.id)).where(_o.subject_kind == "channel").group_by(_o.subject)
        query = sa.select(_o.subject, _o.created_ms).where(_o.id.in_(last), _o.kind != NoticeKind.CLEARED.value)
        with self._reader.connection() as connection:
            return {row[0].partition(":")[2]: row[1] for row in connection.execute(query)}

    def told_of(self, subject: str, *, since_ms: int) -> list[tuple[str, str]]:
        """Return (channel, target) of everybody who was to hear of `subject` since `since_ms`."""
        query = sa.select(_o.channel, _o.target).where(_o.subject == subject, _o.created_ms >= since_ms).distinct()
        with self._reader.connection() as connection:
            return [(row[0], row[1]) for row in connection.execute(query)]

    def _finds(self, query: sa.Select[Any]) -> bool:
        with self._reader.connection() as connection:
            return connection.execute(query).first() is not None

    # ── writing down ────────────────────────────────────────────────────────────────────────────

    def put(self, notices: Sequence[Notice]) -> None:
        """Put out notices that the deliverer itself has to tell; a key that is there already changes nothing."""
        if notices:
            columns = [*s.NOTICES.names, "next_at_ms", "via"]
            rows = [dict(zip(columns, (*s.NOTICES.row(n), n.not_before_ms, n.channel), strict=True)) for n in notices]
            with self._writer.transaction() as connection:
                connection.execute(insert_new(s.outbox, "idem_key"), rows)

    def part(self, number: int, targets: Sequence[str], *, now_ms: int, apart_ms: int = 0) -> int:
        """Split a waiting notice into one for each of `targets`; return how many, 0 when it cannot be split now."""
        with self._writer.transaction() as connection:
            return outbox_parts.part(connection, number, targets, now_ms, apart_ms)

    def next_part(self, one: LeasedNotice, *, now_ms: int) -> bool:
        """Let the next person of the same team be told now; False when nobody is left."""
        with self._writer.transaction() as connection:
            return outbox_parts.next_part(connection, one, now_ms)

    def end_parts(self, one: LeasedNotice, *, reason: str) -> int:
        """Drop what is waiting for the people after this one; return how many."""
        with self._writer.transaction() as connection:
            return outbox_parts.end_parts(connection, one, reason)

    def obsolete(self, leased: LeasedNotice, *, reason: str, is_unsent: bool = False) -> bool:
        """Record that it need not be sent; False when the lease no longer stands.

        `is_unsent`: what speaks against it spoke against it in every try, so that no message has covered it.
        """
        # In its first try it was taken out before the digest was put together: no message has covered it then either.
        out = {"digest": ""} if leased.attempt == 1 or is_unsent else {}
        out |= {"maybe_by": ""} if is_unsent else {}
        return self._set(self._mine(leased), state="obsolete", lease_until_ms=None, last_error=reason, **out)

    def delivered(self, leased: LeasedNotice | Sequence[LeasedNotice], *, now_ms: int, provider_code: str = "") -> None:
        """Record that the provider took it, or all that one message covered. A fact: it holds even without the lease.

        What somebody else has handed on meanwhile keeps the way it really went.
        """
        several = [leased] if isinstance(leased, LeasedNotice) else list(leased)
        self._set(
            (_o.id.in_([one.id for one in several]),),
            state="delivered",
            delivered_ms=now_ms,
            provider_code=provider_code,
            lease_until_ms=None,
            last_error="",
            **({"via": several[0].via} if several and several[0].via else {}),
        )

    def retry(
        self,
        leased: LeasedNotice,
        *,
        next_at_ms: int,
        error: str,
        provider_code: str = "",
        may_be_taken: bool = False,
    ) -> bool:
        """Put it back to be tried at `next_at_ms`; False when the lease no longer stands (then nothing changes)."""
        return self._set(
            self._mine(leased),
            state="pending",
            next_at_ms=next_at_ms,
            lease_until_ms=None,
            last_error=error,
            provider_code=provider_code,
            **_heard(leased.via if may_be_taken else ""),
        )

    def put_back(self, leased: LeasedNotice, *, next_at_ms: int, reason: str) -> bool:
        """Put back what was leased but not tried: the attempt does not count."""
        return self._set(
            self._mine(leased),
            state="pending",
            attempts=_o.attempts - 1,
            next_at_ms=next_at_ms,
            lease_until_ms=None,
            last_error=reason,
        )

    def hand_over(
        self, one: LeasedNotice, channel: str, *, now_ms: int, reason: str, may_be_taken: bool = False
    ) -> bool:
        """Let `channel` send it from now on; False when it has moved on meanwhile. Its key goes along.

        What goes out with others in one digest moves with all of them: the key stands for that message. Give it with
        `digest=""` to take it out.
        """
        path = ">".join((*one.path, one.via))
        is_open = _o.state.in_(("pending", "leased"))
        where = (_o.id == one.id, _o.attempts == one.attempt, is_open)
        if one.digest:
            where = (_o.digest == one.digest, _o.via == one.via, is_open)
        return self._set(
            where,
            state="pending",
            via=channel,
            path=path,
            attempts_before=_o.attempts,
            digest=one.digest,
            next_at_ms=now_ms,
            lease_until_ms=None,
            last_error=reason,
            **_heard(one.via if may_be_taken else ""),
        )

    def failed(self, leased: LeasedNotice, *, error: str, provider_code: str = "", may_be_taken: bool = False) -> bool:
        """Record a permanent refusal by the provider; False when the lease no longer stands."""
        return self._set(
            self._mine(leased),
            state="failed",
            lease_until_ms=None,
            last_error=error,
            provider_code=provider_code,
            **_heard(leased.via if may_be_taken else ""),
        )

    def give_up(self, leased: LeasedNotice, *, error: str, provider_code: str = "", may_be_taken: bool = False) -> bool:
        """Record that the retries are used up; False when the lease no longer stands."""
        return self._set(
            self._mine(leased),
            state="dead",
            lease_until_ms=None,
            last_error=error,
            provider_code=provider_code,
            **_heard(leased.via if may_be_taken else ""),
        )

    def revive(self, notice_id: int, *, now_ms: int) -> bool:
        """Put a failed or dead notice back to be sent by its own channel, because somebody has mended it."""
        return self._set(
            (_o.id == notice_id, _o.state.in_(("failed", "dead"))),
            state="pending",
            next_at_ms=now_ms,
            attempts=0,
            attempts_before=0,
            via=_o.channel,
            path="",
        )

    def prune(self, *, before_ms: int, limit: int = 500) -> int:
        """Forget at most `limit` finished notices created before `before_ms`; return how many went."""
        old = (
            sa.select(_o.id)
            .where(_o.created_ms < before_ms, _o.state.in_(("delivered", "failed", "dead", "obsolete", "split")))
            .limit(limit)
        )
        with self._writer.transaction() as connection:
            return connection.execute(sa.delete(s.outbox).where(_o.id.in_(old))).rowcount

    @staticmethod
    def _mine(leased: LeasedNotice) -> tuple[sa.ColumnElement[bool], ...]:
        return _o.id == leased.id, _o.state == "leased", _o.attempts == leased.attempt

    def _set(self, where: tuple[sa.ColumnElement[bool], ...], **values: Any) -> bool:
        with self._writer.transaction() as connection:
            return connection.execute(sa.update(s.outbox).where(*where).values(**values)).rowcount > 0


def _heard(by: str) -> dict[str, Any]:
    return {"maybe_by": by} if by else {}


__all__ = ["LeasedNotice", "Outbox", "Standing", "Waiting"]
