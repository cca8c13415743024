"""The QARTOD tests as pure verdicts on one reading (IOOS definitions, as ioos_qc 3.0.0 fixes them).

Each function reads like its test's definition and returns a flag: 1 good, 2 not evaluated, 3 suspect,
4 fail, 9 missing. State (previous readings, windows) is handed in; `kernel.py` keeps it. NaN is a missing
value or a threshold that is switched off: no comparison with NaN is ever true.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .calendar import period_part
from .catalogue import FAIL, GOOD, MISSING, NO_TIME, NOT_EVALUATED, SUSPECT

SPIKE_AVERAGE = 1
SPIKE_DIFFERENTIAL = 2
STATISTIC_STD = 1
STATISTIC_RANGE = 2


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def gross_range(x: float, fail_low: float, fail_high: float, suspect_low: float, suspect_high: float) -> int:
    """Outside the fail span fails, outside the suspect span is suspect; the bounds themselves are good."""
    if math.isnan(x):
        return MISSING
    if x < fail_low or x > fail_high:
        return FAIL
    if x < suspect_low or x > suspect_high:
        return SUSPECT
    return GOOD


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def climatology(time_ms: int, x: float, depth: float, members: NDArray[np.float64], start: int, stop: int) -> int:
    """Judge by every member that holds this time and depth; later members overwrite earlier ones.

    members: one row each, [period code, t low, t high, z low, z high, fail low, fail high, suspect low,
    suspect high]; period 0 means t is epoch ms; z low NaN means any depth. No member: not evaluated.
    """
    if math.isnan(x):
        return MISSING
    k = member_of(time_ms, depth, members, start, stop)
    return NOT_EVALUATED if k < 0 else gross_range(x, members[k, 5], members[k, 6], members[k, 7], members[k, 8])


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def member_of(time_ms: int, depth: float, members: NDArray[np.float64], start: int, stop: int) -> int:
    """Return the last of a sensor's members that holds this time and depth, -1 if none does: none a missing time."""
    found = -1
    if time_ms == NO_TIME:
        return found
    known, part = 0, 0.0  # members of one sensor mostly share their period
    for k in range(start, stop):
        period = int(members[k, 0])
        if period != known:
            known, part = period, float(period_part(time_ms, period))
        when = float(time_ms) if period == 0 else part
        if when < members[k, 1] or when > members[k, 2]:
            continue
        if not math.isnan(members[k, 3]) and not (members[k, 3] <= depth <= members[k, 4]):
            continue
        found = k
    return found


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def spike(before: float, x: float, after: float, method: int, suspect: float, fail: float) -> int:
    """Judge the middle one of three successive readings; a missing neighbour means not evaluated.

    average: distance from the mean of the neighbours. differential: the smaller of the two steps if they
    go opposite ways, else nothing. Strictly above the threshold is a spike.
    """
    if math.isnan(x):
        return MISSING
    if math.isnan(before) or math.isnan(after):
        return NOT_EVALUATED
    if method == SPIKE_AVERAGE:
        height = abs(x - (before + after) / 2)
    else:
        up, down = x - before, after - x
        height = min(abs(up), abs(down)) if up * down < 0 else 0.0
    if height > fail:
        return FAIL
    return SUSPECT if height > suspect else GOOD


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def rate_of_change(
    previous_ms: int, previous: float, time_ms: int, x: float, suspect_per_s: float, fail_per_s: float
) -> int:
    """Change per second since the previous reading, the step cut to whole seconds; strictly above is raised.

    Without a previous value the rate is undefined and the reading stays good. Two readings of one instant count as
    one second apart, and a step from or to a missing time as endless: only a threshold of 0 sees a change across it.
    """
    if math.isnan(x):
        return MISSING
    if math.isnan(previous):
        return GOOD
    seconds = NO_TIME if NO_TIME in (previous_ms, time_ms) else (time_ms - previous_ms) // 1000
    rate = abs((x - previous) / (seconds if seconds != 0 else 1))
    if rate > fail_per_s:
        return FAIL
    return SUSPECT if rate > suspect_per_s else GOOD


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def window_is_flat(ring: NDArray[np.float64], first: int, size: int, newest: int, count: int, tolerance: float) -> bool:
    """Whether the newest `count` + 1 readings (missing ones ignored) range over less than `tolerance`.

    ring: values of all sensors; this sensor's part starts at `first` and holds `size` places; `newest` is
    the running number of the newest reading. The first `count` readings of a series are never flat.
    """
    if newest < count:
        return False
    low, high = math.inf, -math.inf
    place = first + newest % size
    for _ in range(count + 1):
        x = ring[place]
        place -= 1
        if place < first:
            place += size
        if math.isnan(x):
            continue
        low, high = min(low, x), max(high, x)
        if high - low >= tolerance:
            return False
    return high >= low and high - low < tolerance


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def attenuation(value: float, suspect_below: float, fail_below: float) -> int:
    """Flag a window's standard deviation or range: too small means the signal is dying. NaN: not evaluated."""
    if math.isnan(value):
        return NOT_EVALUATED
    if value < fail_below:
        return FAIL
    return SUSPECT if value < suspect_below else GOOD


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def window_statistic(
    times: NDArray[np.int64],
    ring: NDArray[np.float64],
    first: int,
    size: int,
    newest: int,
    period_ms: int,
    readings_min: int,
    statistic: int,
) -> float:
    """Return the population standard deviation or the range of the readings in (now - period, now].

    NaN when fewer than `readings_min` readings in the window have a value, or, for the range, when one of them
    is missing. One reading alone has a standard deviation of 0.
    """
    start = first + newest % size
    oldest_ms = times[start] - period_ms
    count, total = 0, 0.0
    low, high = math.inf, -math.inf
    has_missing = False
    held = min(newest + 1, size)
    width, place = 0, start
    while width < held and times[place] > oldest_ms:
        x = ring[place]
        if math.isnan(x):
            has_missing = True
        else:
            count += 1
            total += x
            low, high = min(low, x), max(high, x)
        width += 1
        place = place - 1 if place > first else first + size - 1
    if count < readings_min or count == 0:
        return math.nan
    if statistic == STATISTIC_RANGE:
        return math.nan if has_missing else high - low
    if low == high:
        return 0.0
    mean = total / count
    squares = 0.0
    place = start
    for _ in range(width):
        x = ring[place]
        if not math.isnan(x):
            squares += (x - mean) * (x - mean)
        place = place - 1 if place > first else first + size - 1
    return math.sqrt(squares / count)


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def time_gap(previous_ms: int, time_ms: int, fail_ms: int) -> int:
    """A step from the previous reading longer than `fail_ms` fails; after a missing time it is not evaluated."""
    if time_ms == NO_TIME:
        return MISSING
    if previous_ms == NO_TIME:
        return NOT_EVALUATED
    return FAIL if time_ms - previous_ms > fail_ms else GOOD


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def reception(time_ms: int, now_ms: int, fail_ms: int) -> int:
    """Received more than `fail_ms` after its own time fails; a time in the future is good."""
    if time_ms == NO_TIME:
        return MISSING
    return FAIL if now_ms - time_ms > fail_ms else GOOD


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def impossible_date(time_ms: int, now_ms: int, earliest_ms: int, latest_ms: int) -> int:
    """A time after now, before `earliest_ms` or after `latest_ms` fails."""
    if time_ms == NO_TIME:
        return MISSING
    return FAIL if time_ms > now_ms or time_ms < earliest_ms or time_ms > latest_ms else GOOD


def syntax(line: str, expected: float, *, counts: str = "char", delimiter: str | None = None) -> int:
    """Judge one raw line by its number of characters, bytes (pairs of hex digits) or delimited fields.

    counts: `char` or `byte`, else ValueError. An odd number of hex digits always fails.
    """
    if counts not in ("char", "byte"):
        raise ValueError(f"syntax test counts char or byte, not {counts!r}")
    length = float(len(line))
    if counts == "byte":
        if len(line) % 2:
            return FAIL
        length /= 2
    if delimiter:
        length = float(len(line.split(delimiter)))
    return GOOD if length == expected else FAIL
