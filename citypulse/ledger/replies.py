"""Reply codes: what a plain phone answers with. A code is given once for each phone, and never again for another alarm.

The last number given is kept beside the codes, so forgetting old codes frees none of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from . import schema as s
from .sqlite import Reader, Writer, upsert

COUNTER: Final = "reply_code."
_r = s.reply_code.c


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyCode:
    """What a code of one phone means: which alarm, and who was called."""

    phone: str
    code: int
    subject: str
    target: str
    created_ms: int


class ReplyCodes:
    """Gives out codes and finds what they mean. Thread-safe."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        """Write through the process's one writer, look through its readers."""
        self._writer = writer
        self._reader = reader

    def code_for(self, phones: Sequence[str], subject: str, target: str, now_ms: int) -> int:
        """Return the code by which all of `phones` mean `subject`: the one they have, or a new one for all of them."""
        wanted = list(dict.fromkeys(phones))
        query = sa.select(_r.code).where(_r.subject == subject, _r.phone.in_(wanted))
        query = query.group_by(_r.code).having(sa.func.count() == len(wanted)).limit(1)
        with self._reader.connection() as connection:
            known = connection.execute(query).scalar()
        if known is not None:
            return int(known)
        with self._writer.transaction() as connection:
            known = connection.execute(query).scalar()  # somebody may have been quicker
            if known is not None:
                return int(known)
            names = [COUNTER + phone for phone in wanted]
            last = connection.execute(
                sa.select(sa.func.max(s.counter.c.value)).where(s.counter.c.name.in_(names))
            ).scalar()
            code = int(last or 0) + 1
            connection.execute(upsert(s.counter), [{"name": name, "value": code} for name in names])
            rows = [
                {"phone": phone, "code": code, "subject": subject, "target": target, "created_ms": now_ms}
                for phone in wanted
            ]
            connection.execute(sa.insert(s.reply_code), rows)
        return code

    def find(self, phone: str, code: int) -> ReplyCode | None:
        """Return what `code` means from `phone`, or None when it was never given to it, or long ago."""
        query = sa.select(s.reply_code).where(_r.phone == phone, _r.code == code)
        with self._reader.connection() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        return ReplyCode(
            phone=row.phone, code=row.code, subject=row.subject, target=row.target, created_ms=row.created_ms
        )

    def prune(self, *, before_ms: int, limit: int = 1000) -> int:
        """Forget at most `limit` codes given before `before_ms`; return how many went. Their numbers stay used."""
        old = sa.select(_r.phone, _r.code).where(_r.created_ms < before_ms).limit(limit)
        with self._writer.transaction() as connection:
            return connection.execute(sa.delete(s.reply_code).where(sa.tuple_(_r.phone, _r.code).in_(old))).rowcount
