"""A notice to a team, told to each of its people by a row of its own: written here, in one transaction with its end.

The row of the team becomes `split`; each person's row has a key, an outcome and retries of its own, so that one bad
number loses nobody else. An end is told to those whom the beginning was split for, whoever is of the team now.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from citypulse.model import PART, Notice, NoticeKind, split_target

from . import schema as s
from .outbox_rows import LeasedNotice
from .sqlite import insert_new

_o = s.outbox.c
_OPEN = ("pending", "leased")


def part_key(whole: str, target: str) -> str:
    """Return the key of one person's row: sha256 over the team's key and whom it is for."""
    return hashlib.sha256(f"part|{whole}|{target}".encode()).hexdigest()


def of_team(team: str) -> sa.ColumnElement[bool]:
    """The rows of a team's people."""
    head = team + PART
    return sa.func.substr(_o.target, 1, len(head)) == head


def part(connection: sa.Connection, number: int, targets: Sequence[str], now_ms: int, apart_ms: int) -> int:
    """Split row `number` into one for each of `targets`, each `apart_ms` after the one before; return how many.

    0 when the row is no longer free to be split, or is an end whose beginning was told to the team as one.
    """
    where = (_o.id == number, _o.state == "pending", _o.digest == "")
    row = connection.execute(sa.select(s.outbox).where(*where)).first()
    if row is None:
        return 0
    n = 1 + len(s.NOTICES.names)
    notice: Notice = s.NOTICES.noun(row[1:n])
    if notice.kind is NoticeKind.CLEARED:
        apart_ms = 0
        heard = sa.select(_o.target).where(_o.subject == notice.subject, _o.channel == notice.channel)
        targets = list(dict.fromkeys(connection.execute(heard.where(of_team(notice.target)).order_by(_o.id)).scalars()))
    if not targets:
        return 0
    rows: list[dict[str, Any]] = []
    for place, target in enumerate(targets):
        at_ms = now_ms + place * apart_ms if place and apart_ms else notice.not_before_ms
        values = dict(zip(s.NOTICES.names, row[1:n], strict=True))
        values |= {"target": target, "idem_key": part_key(notice.idem_key, target), "not_before_ms": at_ms}
        rows.append(values | {"next_at_ms": max(at_ms, row.next_at_ms), "via": row.via, "path": row.path})
    connection.execute(insert_new(s.outbox, "idem_key"), rows)
    said = f"one message for each of {len(targets)}"
    connection.execute(sa.update(s.outbox).where(_o.id == number).values(state="split", last_error=said))
    return len(targets)


def _others(one: LeasedNotice) -> tuple[sa.ColumnElement[bool], ...]:
    notice = one.notice
    team, person = split_target(notice.target)
    return (
        of_team(team) if person else sa.false(),
        _o.subject == notice.subject,
        _o.channel == notice.channel,
        _o.rev == notice.rev,
        _o.kind == notice.kind.value,
        _o.step == notice.step,
        _o.via == one.via,
        _o.id > one.id,
    )


def next_part(connection: sa.Connection, one: LeasedNotice, now_ms: int) -> bool:
    """Let the next person's turn come now; False when nobody is left."""
    found = sa.select(sa.func.min(_o.id)).where(*_others(one), _o.state.in_(_OPEN))
    number = connection.execute(found).scalar()
    if number is None:
        return False
    forward = sa.case((_o.next_at_ms > now_ms, now_ms), else_=_o.next_at_ms)
    connection.execute(sa.update(s.outbox).where(_o.id == number, _o.state == "pending").values(next_at_ms=forward))
    return True


def end_parts(connection: sa.Connection, one: LeasedNotice, reason: str) -> int:
    """Drop what later people were to be told, because somebody before them has been reached; return how many."""
    waits = (*_others(one), _o.state == "pending", _o.attempts == 0)
    return connection.execute(sa.update(s.outbox).where(*waits).values(state="obsolete", last_error=reason)).rowcount


def is_told(notice: Notice, channel: str, *, each: bool) -> sa.Select[Any]:
    """The rows by which the same news goes by `channel` to the same target, or to the team it is one of.

    `each`: the channel tells every person for himself; any other tells the whole team at once.
    """
    team, person = split_target(notice.target)
    whom: sa.ColumnElement[bool] = _o.target.in_((notice.target, team) if person else (notice.target,))
    if person and not each:
        whom = sa.or_(whom, of_team(team))
    return sa.select(_o.id).where(
        whom,
        _o.subject == notice.subject,
        _o.rev == notice.rev,
        _o.kind == notice.kind.value,
        _o.step == notice.step,
        _o.via == channel,
        _o.state.in_((*_OPEN, "delivered", "split")),
    )
