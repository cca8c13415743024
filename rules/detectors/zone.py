"""The city's time zone as a table a compiled loop can read: from when on which offset, summer time included."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from rules.detector import LaneSpec

Offsets = tuple[NDArray[np.int64], NDArray[np.int64]]

_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
_LOOK = timedelta(days=7)  # no zone has changed its offset and back within a week since 1970
_FINEST = timedelta(minutes=1)


@lru_cache(maxsize=64)
def _changes(timezone: str) -> tuple[tuple[int, int], ...]:
    """Return (epoch ms, offset in ms from then on) of every change, the first one for 1970."""
    zone = ZoneInfo(timezone)

    def offset(moment: datetime) -> timedelta:
        return moment.astimezone(zone).utcoffset() or timedelta()

    changes = [(_FIRST, offset(_FIRST))]
    moment = _FIRST
    while moment < _LAST:
        following = moment + _LOOK
        after = offset(following)
        if after != changes[-1][1]:
            low, high = moment, following
            while high - low > _FINEST:
                middle = low + (high - low) / 2 // _FINEST * _FINEST
                low, high = (middle, high) if offset(middle) != after else (low, middle)
            changes.append((high, after))
        moment = following
    return tuple((round(m.timestamp() * 1000), round(o.total_seconds() * 1000)) for m, o in changes)


def offsets(timezone: str = "UTC") -> Offsets:
    """Return (since_ms, offset_ms), ascending: from since_ms[k] on, local time is UTC plus offset_ms[k].

    For 1970 to 2099, to the minute. Raises ZoneInfoNotFoundError for a name that is not an IANA zone.
    """
    table = np.array(_changes(timezone), np.int64)
    return table[:, 0].copy(), table[:, 1].copy()


def zone_of(lanes: Iterable[LaneSpec]) -> str:
    """Return the city's zone; all lanes of an engine stand in one city."""
    return next((lane.timezone for lane in lanes), "UTC")
