"""The load alarms put on people, by ISA-18.2's measures (IEC 62682, EEMUA 191), and a budget for it.

Sources of the numbers: ISA-18.2 chapter 16 as told in alarms.md section 1: about 1 alarm per 10 minutes and officer is
acceptable, more than 10 in 10 minutes is a flood that ends below 5, floods in less than 1 % of the time, no alarm that
comes three times in a minute, fewer than 5 that stand for more than 24 h.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from citypulse.model import Priority

from .backtest import DAY_MS, Occurrence

PERIOD_MS = 600_000
FLOOD_BEGINS = 10  # more than this many in a period
FLOOD_ENDS = 5  # fewer than this many
CHATTER_TIMES, CHATTER_MS = 3, 60_000
TOP_SOURCES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Alarms that called somebody, per officer where said so.

    periods: of ten minutes from first to last reading · per_period: mean and peak for one officer · flood_share: of
    all periods, 0 … 1 · chattering: (rule, scope) that came CHATTER_TIMES within CHATTER_MS, and how often ·
    standing: alarms that stood longer than a day · top_share: of the ten busiest (rule, scope), 0 … 1.
    """

    alarms: int
    hidden: int
    days: float
    periods: int
    mean_per_period: float
    peak_per_period: float
    peak_start_ms: int
    flood_share: float
    chattering: tuple[tuple[str, str, int], ...]
    standing: int
    top_share: float
    by_level: tuple[tuple[Priority, int], ...]
    officers: int
    by_day: tuple[int, ...]

    @property
    def per_day(self) -> float:
        """Alarms a day, all officers together."""
        return self.alarms / self.days if self.days else 0.0


def load(occurrences: Sequence[Occurrence], *, since_ms: int, until_ms: int, officers: int = 1) -> Load:
    """Measure the load of what called somebody between two instants; hidden and historical alarms call nobody."""
    calling = sorted((o for o in occurrences if not o.is_hidden and not o.is_late), key=lambda o: o.start_ms)
    span_ms = max(1, until_ms - since_ms)
    periods = -(-span_ms // PERIOD_MS)
    counts = Counter(min(periods - 1, max(0, o.start_ms - since_ms) // PERIOD_MS) for o in calling)
    peak_at, peak = max(counts.items(), key=lambda item: (item[1], -item[0]), default=(0, 0))
    keys = Counter((o.rule, o.scope) for o in calling)
    levels = Counter(o.level for o in calling)
    days = [0] * -(-span_ms // DAY_MS)
    for o in calling:
        days[min(len(days) - 1, max(0, o.start_ms - since_ms) // DAY_MS)] += 1
    return Load(
        alarms=len(calling),
        hidden=sum(o.is_hidden for o in occurrences),
        days=span_ms / DAY_MS,
        periods=periods,
        mean_per_period=len(calling) / (span_ms / PERIOD_MS) / officers if span_ms >= PERIOD_MS else len(calling),
        peak_per_period=peak / officers,
        peak_start_ms=since_ms + peak_at * PERIOD_MS,
        flood_share=_flood_periods(counts, officers) / periods,
        chattering=_chattering(calling),
        standing=sum(o.lasted_ms(until_ms) > DAY_MS for o in calling),
        top_share=sum(n for _, n in keys.most_common(TOP_SOURCES)) / len(calling) if calling else 0.0,
        by_level=tuple((level, levels[level]) for level in Priority),
        officers=officers,
        by_day=tuple(days),
    )


def _flood_periods(counts: Counter[int], officers: int) -> int:
    """Count periods in a flood: from one above FLOOD_BEGINS up to the one below FLOOD_ENDS, which is not part of it."""
    flooded = 0
    is_flood = False
    last = -2
    for period in sorted(counts):
        if period != last + 1:
            is_flood = False  # a period without alarms lay between
        each = counts[period] / officers
        is_flood = each > FLOOD_BEGINS or (is_flood and each >= FLOOD_ENDS)
        flooded += is_flood
        last = period
    return flooded


def _chattering(calling: Sequence[Occurrence]) -> tuple[tuple[str, str, int], ...]:
    starts: dict[tuple[str, str], list[int]] = defaultdict(list)
    for o in calling:
        starts[o.rule, o.scope].append(o.start_ms)
    found = []
    for (rule, scope), at in starts.items():
        times = sum(at[k] - at[k - CHATTER_TIMES + 1] <= CHATTER_MS for k in range(CHATTER_TIMES - 1, len(at)))
        if times:
            found.append((rule, scope, times))
    return tuple(sorted(found, key=lambda c: (-c[2], c[0], c[1])))
