"""The lanes: every sample runs through its lane's latches here, and what changes a lane's level is told.

How one latch moves is in rules.latch. Everything that can change the condition of a rule is in these two files,
and what must not (a reading of a healthy lane) is let past by rules.quiet and rules.doors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .detector import GOOD, HISTORY, LOSS, OVERDUE, SKIP, SUSPECT
from .latch import ACTIVE, NORMAL, breaches, judge, lose_sight

Array = NDArray[Any]

NEVER = -(2**62)  # an instant before all others
TRACE_POINTS = 16  # samples kept of a lane that is not at rest, to explain it

# what is emitted, as in model.TransitionKind
RAISE, LEVEL, CLEAR, DATA_LOSS, DATA_BACK = 0, 1, 2, 3, 4

# bits of LANE.unrest: why the quick path may not be taken
LATCHED, LATE_RUN, BLIND, STALE = 1, 2, 4, 8
NOT_LATCHED, NOT_LATE_RUN, SEEING = 15 - LATCHED, 15 - LATE_RUN, 15 - BLIND - STALE

LIMIT = np.dtype(
    [
        ("value", np.float64),
        ("deadband", np.float64),
        ("on_ms", np.int64),
        ("off_ms", np.int64),
        ("side", np.uint8),
        ("level", np.uint8),
    ],
    align=True,
)
RULE = np.dtype(
    [
        ("calm_low", np.float64),  # features strictly between these two are good for every limit
        ("calm_high", np.float64),
        ("first_limit", np.int32),
        ("limits", np.int32),
        ("gap", np.uint8),
    ],
    align=True,
)
LANE = np.dtype(
    [
        ("last_ms", np.int64),  # the lane's clock: newest event time it has evaluated
        ("last_x", np.float64),  # the feature then
        ("late_ms", np.int64),  # newest sample of the late run
        ("gap_ms", np.int64),  # more event time than this between two samples is a loss of data
        ("rule", np.int32),
        ("first_latch", np.int32),
        ("first_member", np.int32),
        ("members", np.int32),  # lanes it counts (composite), 0 for the others
        ("trace", np.int32),  # its row in the traces, or -1
        (
            "turn",
            np.int32,
        ),  # slice of work in which it has samples waiting: its quiet path is closed until they are done
        ("level", np.uint8),  # highest latched: 1 red … 4 blue, 0 none
        ("late_level", np.uint8),
        ("unrest", np.uint8),
    ],
    align=True,
)
LATCH = np.dtype(
    [
        ("since_ms", np.int64),  # first breach (PENDING, ACTIVE, CLEARING)
        ("good_ms", np.int64),  # first good sample of the run (CLEARING)
        ("late_ms", np.int64),  # first breach of the late run, or NEVER
        ("state", np.uint8),
    ],
    align=True,
)
TRACE = np.dtype([("time_ms", np.int64), ("x", np.float64), ("seen", np.uint8)], align=True)
OUTCOME = np.dtype(
    [
        ("x", np.float64),
        ("event_ms", np.int64),
        ("breach_ms", np.int64),
        ("crossed", np.uint64),  # bit j: limit j of the rule is met by this sample
        ("sample", np.int32),
        ("limit", np.int32),  # which limit of the rule decided, or -1
        ("kind", np.uint8),
        ("level", np.uint8),
        ("was", np.uint8),  # the level before
        ("late", np.uint8),
    ],
    align=True,
)
TOUCH_AHEAD = 256  # samples
LIMITS_MAX = 64  # bits of `crossed`
OUTCOMES_MAX = 4  # of one sample; it has three at most


@njit(cache=True, nogil=True)
def grown(rows: Array) -> Any:
    """Return an array of twice the length that begins with `rows`."""
    bigger = np.empty(2 * len(rows), rows.dtype)
    for k in range(len(rows)):  # not a slice assignment: that would compile numpy's error texts for three seconds
        bigger[k] = rows[k]
    return bigger


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def emit(
    out: Array,
    n: int,
    k: int,
    kind: int,
    lane: Any,
    was: int,
    x: float,
    event_ms: int,
    breach_ms: int,
    limit: int,
    crossed: int,
) -> int:
    """Write one outcome; return how many there are."""
    row = out[n]
    row["sample"] = k
    row["kind"] = kind
    row["level"] = lane["level"]
    row["was"] = was
    row["x"] = x
    row["event_ms"] = event_ms
    row["breach_ms"] = breach_ms
    row["limit"] = limit
    row["crossed"] = crossed
    row["late"] = 0
    return n + 1


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def settle(
    out: Array, n: int, k: int, lane: Any, rule: Any, limits: Array, latches: Array, x: float, time_ms: int
) -> int:
    """After the latches have moved: find the lane's level, and emit RAISE, LEVEL or CLEAR if it changed."""
    was = lane["level"]
    level = 0
    decided = -1
    unrest = 0
    crossed = np.uint64(0)
    for j in range(rule["limits"]):
        limit, latch = limits[rule["first_limit"] + j], latches[lane["first_latch"] + j]
        if latch["state"] != NORMAL:
            unrest = LATCHED
        if latch["state"] >= ACTIVE and (level == 0 or limit["level"] < level):
            level = limit["level"]
            decided = j
        if breaches(x, limit["side"], limit["value"]):
            crossed |= np.uint64(1) << np.uint64(j)
    lane["unrest"] = (lane["unrest"] & NOT_LATCHED) | unrest
    if level == was:
        return n
    lane["level"] = level
    if level != 0 and (was == 0 or level < was):
        breach_ms = latches[lane["first_latch"] + decided]["since_ms"]
        kind = RAISE if was == 0 else LEVEL
        return int(emit(out, n, k, kind, lane, was, x, time_ms, breach_ms, decided, crossed))
    # It fell: of the limits of the level it had, the one that let go last.
    good_ms = NEVER
    for j in range(rule["limits"]):
        latch = latches[lane["first_latch"] + j]
        if limits[rule["first_limit"] + j]["level"] == was and latch["good_ms"] > good_ms:
            decided = j
            good_ms = latch["good_ms"]
    kind = CLEAR if level == 0 else LEVEL
    return int(emit(out, n, k, kind, lane, was, x, time_ms, good_ms, decided, crossed))


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def judge_late(
    out: Array, n: int, k: int, lane: Any, rule: Any, limits: Array, latches: Array, x: float, time_ms: int
) -> int:
    """Note what a late sample shows, without touching the live latches: once per run, and again if the run worsens."""
    goes_on = (lane["unrest"] & LATE_RUN) != 0 and lane["late_ms"] < time_ms <= lane["late_ms"] + lane["gap_ms"]
    was = lane["late_level"] if goes_on else 0
    level = 0
    decided = -1
    is_breached = False
    crossed = np.uint64(0)
    for j in range(rule["limits"]):
        limit, latch = limits[rule["first_limit"] + j], latches[lane["first_latch"] + j]
        if not breaches(x, limit["side"], limit["value"]):
            latch["late_ms"] = NEVER
            continue
        is_breached = True
        crossed |= np.uint64(1) << np.uint64(j)
        if not goes_on or latch["late_ms"] == NEVER:
            latch["late_ms"] = time_ms
        if time_ms - latch["late_ms"] >= limit["on_ms"] and (level == 0 or limit["level"] < level):
            level = limit["level"]
            decided = j
    lane["late_ms"] = time_ms
    lane["unrest"] = (lane["unrest"] & NOT_LATE_RUN) | (LATE_RUN if is_breached else 0)
    lane["late_level"] = was if is_breached else 0
    if level != 0 and (was == 0 or level < was):
        lane["late_level"] = level
        breach_ms = latches[lane["first_latch"] + decided]["late_ms"]
        n = emit(out, n, k, RAISE if was == 0 else LEVEL, lane, was, x, time_ms, breach_ms, decided, crossed)
        out[n - 1]["level"] = level
        out[n - 1]["late"] = 1
    return n


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def trace(lane: Any, traces: Array, counts: Array, free: Array, x: float, time_ms: int, seen: int) -> None:
    """Keep the last samples of lanes that are not at rest. `free` is a stack: free[0] rows lie in free[1:]."""
    row = lane["trace"]
    if (lane["unrest"] & LATCHED) == 0:
        if row >= 0:
            free[0] += 1
            free[free[0]] = row
            lane["trace"] = -1
        return
    if row < 0:
        if free[0] == 0:
            return  # every row is in use: this lane goes unexplained, nothing else depends on it
        row = free[free[0]]
        free[0] -= 1
        lane["trace"] = row
        counts[row] = 0
    point = traces[row, counts[row] % TRACE_POINTS]
    point["time_ms"] = time_ms
    point["x"] = x
    point["seen"] = seen
    counts[row] += 1


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def count_members(lane: Any, lanes: Array, members: Array) -> tuple[float, int, bool]:
    """Return how many of a composite's members are in alarm now, how that counts as a sample, and if one is blind.

    A member that is blind and not in alarm might be: the count is then evidence for the composite, never against.
    """
    x = 0.0
    seen = GOOD
    is_dim = False
    for m in range(lane["first_member"], lane["first_member"] + lane["members"]):
        member = lanes[members[m]]
        is_blind = (member["unrest"] & BLIND) != 0
        is_dim = is_dim or is_blind
        if member["level"] != 0:
            x += 1.0
        elif is_blind:
            seen = SUSPECT
    return x, seen, is_dim


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def latch_some(
    samples: Array,
    n_samples: int,
    lanes: Array,
    latches: Array,
    rules: Array,
    limits: Array,
    members: Array,
    traces: Array,
    counts: Array,
    free: Array,
    out: Array,
    begin: int,
    n: int,
) -> tuple[int, int, int]:
    """Run samples from `begin` on through their lanes' latches until `out`, with `n` in it, is nearly full.

    Returns (next sample, outcomes, _).
    """
    total = 0
    for k in range(begin, n_samples):
        if n + OUTCOMES_MAX > len(out):
            return k, n, total
        if k % TOUCH_AHEAD == 0 or k == begin:  # fetch the coming lanes' rows all at once (rules.fanout.touch)
            for ahead in range(k, min(k + TOUCH_AHEAD, n_samples)):
                total += int(lanes[samples[ahead]["lane"]]["unrest"])
        sample = samples[k]
        seen = sample["seen"]
        if seen == SKIP:
            continue
        lane = lanes[sample["lane"]]
        rule = rules[lane["rule"]]
        x = sample["x"]
        if seen == GOOD and lane["unrest"] == 0 and rule["calm_low"] < x < rule["calm_high"] and lane["members"] == 0:
            lane["last_ms"] = max(sample["time_ms"], lane["last_ms"])
            lane["last_x"] = x
            continue

        first, last = lane["first_latch"], lane["first_latch"] + rule["limits"]
        if seen >= OVERDUE:  # a watchdog: its deadline is its on-delay, being heard its recovery
            latches[first]["state"] = ACTIVE if seen == OVERDUE else NORMAL
            latches[first]["since_ms"] = latches[first]["good_ms"] = sample["time_ms"]
            n = settle(out, n, k, lane, rule, limits, latches, x, sample["time_ms"])
            continue
        if seen == HISTORY:
            if lane["members"] == 0:
                n = judge_late(out, n, k, lane, rule, limits, latches, x, sample["time_ms"])
            continue

        is_dim = False
        if lane["members"] > 0:
            x, seen, is_dim = count_members(lane, lanes, members)

        time_ms = sample["time_ms"]
        if lane["last_ms"] != NEVER and (sample["reading"] < 0 or time_ms < lane["last_ms"]):
            time_ms = lane["last_ms"]  # a deadline is not event time; a site's inputs may come out of order
        lane["unrest"] &= NOT_LATE_RUN
        if seen == LOSS:
            for j in range(first, last):
                lose_sight(latches[j], rule["gap"])
            told_ms = sample["time_ms"]
            n = settle(out, n, k, lane, rule, limits, latches, lane["last_x"], told_ms)
            if lane["level"] != 0 and (lane["unrest"] & STALE) == 0:
                lane["unrest"] |= STALE
                n = emit(out, n, k, DATA_LOSS, lane, lane["level"], np.nan, told_ms, lane["last_ms"], -1, 0)
            lane["unrest"] |= BLIND
            trace(lane, traces, counts, free, np.nan, told_ms, seen)
            continue
        if np.isnan(x):
            continue
        if seen == GOOD and not is_dim:
            if lane["unrest"] & STALE:
                n = emit(out, n, k, DATA_BACK, lane, lane["level"], x, time_ms, time_ms, -1, 0)
            lane["unrest"] &= SEEING
        if lane["last_ms"] != NEVER and time_ms - lane["last_ms"] > lane["gap_ms"]:
            for j in range(first, last):
                lose_sight(latches[j], rule["gap"])
        for j in range(rule["limits"]):
            judge(latches[first + j], limits[rule["first_limit"] + j], x, time_ms, seen)
        lane["last_ms"] = time_ms
        lane["last_x"] = x
        n = settle(out, n, k, lane, rule, limits, latches, x, time_ms)
        if is_dim and lane["level"] != 0 and (lane["unrest"] & STALE) == 0:
            lane["unrest"] |= BLIND | STALE
            n = emit(out, n, k, DATA_LOSS, lane, lane["level"], np.nan, time_ms, time_ms, -1, 0)
        trace(lane, traces, counts, free, x, time_ms, seen)
    return n_samples, n, total


@njit(cache=True, nogil=True)
def latch_samples(
    samples: Array,
    n_samples: int,
    lanes: Array,
    latches: Array,
    rules: Array,
    limits: Array,
    members: Array,
    traces: Array,
    counts: Array,
    free: Array,
    out: Array,
) -> Any:
    """Run `samples[:n_samples]` through their lanes' latches, in order; return (outcomes, how many).

    `out` is scratch to write into; a longer one comes back when it did not suffice.
    """
    k = n = 0
    while True:
        k, n, _ = latch_some(
            samples, n_samples, lanes, latches, rules, limits, members, traces, counts, free, out, k, n
        )
        if k == n_samples:
            return out, n
        out = grown(out)
