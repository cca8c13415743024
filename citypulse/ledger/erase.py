"""Finds what must not be kept for ever: citizens' contacts of orders that ended long ago (PIPL, article 47)."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from . import schema as s
from .sqlite import Reader

ENDED: Final = ("closed", "rejected", "cancelled")
AT_HAND_MS: Final = 4 * 86_400_000
"""An order that ended less than this long ago may still be reopened (72 h), and its citizen called back."""


def contacts_due(reader: Reader, *, now_ms: int, kept_s: float, limit: int = 500) -> list[str]:
    """Return at most `limit` orders with contacts that ended more than `kept_s` ago, the longest ended first.

    Never sooner than AT_HAND_MS after the end. The heart erases them (`order.forget`), so that each is on record.
    """
    o = s.work_order.c
    before_ms = now_ms - max(round(kept_s * 1000), AT_HAND_MS)
    old = (
        sa.select(o.id)
        .where(o.state.in_(ENDED), o.state_ms < before_ms, o.data.contains('"contact":', autoescape=True))
        .order_by(o.state_ms, o.id)
        .limit(limit)
    )
    with reader.connection() as connection:
        return list(connection.execute(old).scalars())
