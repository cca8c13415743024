"""Suggestions for a limit: what each candidate would cost in alarms a day and catch of labelled incidents.

Pure parts: candidates from what was measured, the curve, its confidence, the choice. citypulse/backtest/suggest.py
runs the live engine over all candidates at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from citypulse.model import Limit, Rule, Side

from .backtest import Label, Occurrence, Verdict, hours_in_alarm, score

Z95 = 1.959964  # two-sided 95 % of a normal
CANDIDATES = 24
SAMPLE_MAX = 2_000_000
RISING = (Side.AT_LEAST, Side.ABOVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One candidate: alarms a day with a 95 % interval (Poisson), and k of n incidents caught with Wilson's.

    caught, incidents: 0 of 0 without labels · unlabelled: alarms that no label explains.
    """

    value: float
    alarms: int
    per_day: float
    per_day_low: float
    per_day_high: float
    caught: int
    incidents: int
    caught_low: float
    caught_high: float
    unlabelled: int
    hours_per_day: float  # in alarm, all scopes together: a limit too mild has few alarms, but they never end
    is_current: bool


def wilson(k: int, n: int) -> tuple[float, float]:
    """Return the 95 % score interval of a share k/n (Wilson 1927); nothing known, (0, 1), when n is 0."""
    if n == 0:
        return 0.0, 1.0
    p, z2 = k / n, Z95 * Z95
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    # At 0 and n the ends are the share itself but for rounding; an interval must hold what it is about.
    return max(0.0, min(p, middle - half)), min(1.0, max(p, middle + half))


def poisson(count: int) -> tuple[float, float]:
    """Return an interval of about 95 % for the mean of a count (Byar's approximation; within 1 % from 1 on)."""
    low = 0.0
    if count:
        low = count * (1 - 1 / (9 * count) - Z95 / (3 * math.sqrt(count))) ** 3
    c = count + 1
    return low, c * (1 - 1 / (9 * c) + Z95 / (3 * math.sqrt(c))) ** 3


def candidates(
    features: NDArray[np.float64],
    limit: Limit,
    count: int = CANDIDATES,
    *,
    between: tuple[float, float] = (-math.inf, math.inf),
) -> tuple[float, ...]:
    """Return limits to try, the mild ones first: quantiles of what was measured on the limit's side, and itself.

    features: the rule's own feature (value, slope …) as it was, a sample of any length · between: where a limit of
    this level may stand, the limits of other levels and of the other side being where they are.
    """
    there = features[np.isfinite(features)]
    found = {limit.value}
    if len(there):
        # Evenly in the logarithm of the share beyond: half, a tenth, … one in a million.
        shares = np.logspace(math.log10(0.5), -6, count)
        towards = 1 - shares if limit.side in RISING else shares
        found |= {_neat(float(q)) for q in np.quantile(there, towards)}
        near = min(float(there.max()), between[1]) if limit.side in RISING else max(float(there.min()), between[0])
        found |= {_neat(limit.value + (near - limit.value) * step) for step in (0.25, 0.5, 0.75)}
    found = {v for v in found if between[0] < v < between[1]} | {limit.value}
    return tuple(sorted(found, reverse=limit.side not in RISING))


def room(limit: Limit, limits: Sequence[Limit]) -> tuple[float, float]:
    """Return the open interval in which `limit` may move past none of the others: milder ones, worse ones, other side.

    Those of the other side keep their dead bands: between the two there must be values that are good for both.
    """
    low, high = -math.inf, math.inf
    is_rising = limit.side in RISING
    for other in limits:
        if (other.side in RISING) is not is_rising:
            if is_rising:
                low = max(low, other.value + other.deadband + limit.deadband)
            else:
                high = min(high, other.value - other.deadband - limit.deadband)
        elif other.level != limit.level:
            if (other.level < limit.level) is is_rising:  # a worse level: lies beyond
                high = min(high, other.value)
            else:
                low = max(low, other.value)
    return low, high


def _neat(value: float) -> float:
    """Round to two digits, three from 100 on: nobody sets a limit of 26.837 cm."""
    return float(f"{value:.{3 if abs(value) >= 100 else 2}g}")


def variants(rules: Sequence[Rule], limit_number: int, values: Sequence[float]) -> tuple[Rule, ...]:
    """Return, for each value, the rules with only that limit, moved there, under ids of their own (`<id>#<k>`)."""
    made = []
    for k, value in enumerate(values):
        for rule in rules:
            moved = replace(rule.limits[limit_number], value=value)
            made.append(replace(rule, id=f"{rule.id}#{k}", limits=(moved,), inhibited_by=(), order=None))
    return tuple(made)


def curve(
    found: Sequence[Sequence[Occurrence]],
    values: Sequence[float],
    *,
    current: float,
    labels: Sequence[Label] | None,
    days: float,
    early_ms: int,
    until_ms: int,
) -> tuple[Point, ...]:
    """Return the points; found[k]: the alarms of values[k]. days: length of the history, > 0."""
    points = []
    for value, occurrences in zip(values, found, strict=True):
        judged = score(occurrences, labels or (), early_ms=early_ms, until_ms=until_ms)
        caught, n = judged.count(Verdict.CAUGHT), len(judged.findings)
        low, high = poisson(len(occurrences))
        caught_low, caught_high = wilson(caught, n)
        points.append(
            Point(
                value=value,
                alarms=len(occurrences),
                per_day=len(occurrences) / days,
                per_day_low=low / days,
                per_day_high=high / days,
                caught=caught,
                incidents=n,
                caught_low=caught_low,
                caught_high=caught_high,
                unlabelled=len(judged.unlabelled),
                hours_per_day=hours_in_alarm(occurrences, until_ms=until_ms) / days,
                is_current=value == current,
            )
        )
    return tuple(points)


def choose(points: Sequence[Point], *, per_day_max: float | None) -> int | None:
    """Return the number of the suggested point.

    With labels: most incidents caught (within `per_day_max` where given), then fewest alarms. Without labels: the
    mildest limit that stays within `per_day_max`, beyond the one with most alarms (before that, alarms are few only
    because they never end); None when there is no such bound or nothing keeps it.
    """
    allowed = [k for k, p in enumerate(points) if per_day_max is None or p.per_day <= per_day_max]
    if not allowed:
        return None
    if points[0].incidents:
        best = max(allowed, key=lambda k: (points[k].caught, -points[k].alarms, points[k].is_current))
        return best if points[best].caught else None
    busiest = max(range(len(points)), key=lambda k: points[k].alarms)
    return None if per_day_max is None else next((k for k in allowed if k >= busiest), None)
