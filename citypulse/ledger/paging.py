"""Where a page of a list begins: the rows behind a sort key, which no row that is added meanwhile can move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa


def behind(key: Sequence[int | str], *, level: Any, at_ms: Any, name: Any) -> sa.ColumnElement[bool]:
    """Return the rows that come after `key`: (instant, id) newest first, or (level, instant, id) most serious first."""
    newest = sa.tuple_(at_ms, name) < sa.tuple_(sa.literal(key[-2]), sa.literal(key[-1]))
    if len(key) == 2:
        return newest
    return sa.or_(level > key[0], sa.and_(level == key[0], newest))
