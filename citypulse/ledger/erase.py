"""Erases what must not be kept for ever: citizens' contacts of orders that ended long ago (PIPL, article 47)."""

from __future__ import annotations

import json
from typing import Final

import sqlalchemy as sa

from citypulse.contacts import without_contacts

from . import schema as s
from .rows import to_json
from .sqlite import Writer

ENDED: Final = ("closed", "rejected", "cancelled")
AT_HAND_MS: Final = 4 * 86_400_000
"""An order that ended less than this long ago may still be in the heart's hands (72 h), which would write it anew."""


def erase_contacts(writer: Writer, *, now_ms: int, kept_s: float, limit: int = 500) -> int:
    """Erase the contacts of at most `limit` orders that ended more than `kept_s` ago; return how many orders changed.

    Never sooner than AT_HAND_MS after the end. What else is known of the order stays; the record never had them.
    """
    o = s.work_order.c
    before_ms = now_ms - max(round(kept_s * 1000), AT_HAND_MS)
    old = (
        sa.select(o.id, o.data)
        .where(o.state.in_(ENDED), o.state_ms < before_ms, o.data.contains('"contact":', autoescape=True))
        .limit(limit)
    )
    with writer.transaction() as connection:
        rows = connection.execute(old).all()
        for number, data in rows:
            cleared = to_json(without_contacts(json.loads(data)))
            connection.execute(sa.update(s.work_order).where(o.id == number).values(data=cleared))
        return len(rows)
