"""Fan out: which lanes see a reading, in which order, and how. Also where the watchdogs' findings join the stream.

A lane that can take a reading quietly (rules.quiet) does so here; only what may change a condition becomes a sample.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .detector import GOOD, HISTORY, LOSS, SUSPECT, TOUCH_AHEAD, Quiet
from .detectors.rate import POINTS_MAX
from .doors import HAS_RATE, HAS_STUCK, LET_THROUGH, OPEN, RATE_TAKEN, SHUT, hand_on, is_let_through
from .quiet import Memories, is_taken

Array = NDArray[Any]

SAMPLES_MAX = 8192  # per slice of work, so that samples stay in the cache however large the batch

# Readings in a slice once it has samples: a lane that has one waiting is closed to the quiet path until the next slice.
READINGS_MAX = 16_384

# model.Lane and model.Quality, as kernels see them
LIVE_LANE, HISTORY_LANE = 0, 1
QUIET_RATE = int(Quiet.RATE)
QUALITY_GOOD, QUALITY_NOT_EVALUATED, QUALITY_SUSPECT = 1, 2, 3

FEED = np.dtype(
    [
        ("lane", np.int32),
        ("row", np.int32),  # the lane's row in its detector's memory
        ("rule", np.int32),
        ("slot", np.int16),  # which of the lane's inputs the sensor is
        ("detector", np.uint8),
        ("accepts_suspect", np.uint8),
        ("sees_history", np.uint8),
        ("quiet", np.uint8),  # detector.Quiet
    ],
    align=True,
)
"""One lane that looks at a sensor. Feeds are sorted by sensor; those of sensor s are first[s] … first[s + 1]."""

EVENT = np.dtype(
    [
        ("stamp_ms", np.int64),  # receive time: the deadline, or when it was heard
        ("silence_ms", np.int64),
        ("before", np.int32),  # it happened just before this reading of the batch
        ("subject", np.int32),  # OVERDUE, HEARD: the watchdog's lane · LOSS: the sensor that went quiet
        ("cause", np.int32),  # LOSS: lane that explains it, or -1
        ("kind", np.uint8),
    ],
    align=True,
)
"""What a watchdog found, in the order of receive time."""


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def put(samples: Array, n: int, time_ms: int, x: float, reading: int, seen: int) -> Any:
    """Begin sample n and return it; where it goes to is the caller's to fill in."""
    sample = samples[n]
    sample["time_ms"] = time_ms
    sample["x"] = x
    sample["reading"] = reading
    sample["seen"] = seen
    return sample


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False, inline="always")
def touch(sensor: Array, doors: Array, feeds: Array, lanes: Array, memories: Memories, begin: int, end: int) -> int:
    """Read what the coming readings will need, in loops so short that the processor waits for many rows at once.

    Rows of different sensors lie apart, so each would be waited for alone in the long loop that follows. Returns
    a sum, only so that the compiler cannot leave the reading out.
    """
    total = 0
    for k in range(begin, end):
        total += int(doors[sensor[k]]["flags"])
    for k in range(begin, end):
        door = doors[sensor[k]]
        if door["flags"] & HAS_STUCK:
            total += int(memories.stuck_runs[door["stuck_row"]]["points"])
        if door["flags"] & HAS_RATE:
            total += int(memories.rate_heads[door["rate_row"]]["count"])
        asked = door["simple"] if door["flags"] & OPEN else 0
        for f in range(door["first"] + asked, door["first"] + door["count"]):
            total += int(feeds[f]["lane"])
    for k in range(begin, end):
        door = doors[sensor[k]]
        if door["flags"] & HAS_RATE:
            row = door["rate_row"]
            total += int(memories.rate_rings[row, memories.rate_heads[row]["count"] % POINTS_MAX]["time_ms"])
        asked = door["simple"] if door["flags"] & OPEN else 0
        for f in range(door["first"] + asked, door["first"] + door["count"]):
            total += int(lanes[feeds[f]["lane"]]["turn"])
    return total


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def fan_out(
    left: Array,
    sensor: Array,
    taken_ahead: Array,
    time_ms: Array,
    value: Array,
    quality: Array,
    reading_lane: Array,
    events: Array,
    n_events: int,
    doors: Array,
    feeds: Array,
    lane_detector: Array,
    lanes: Array,
    rules: Array,
    members: Array,
    memories: Memories,
    slopes: Array,
    turn: int,
    k: int,
    e: int,
    samples: Array,
    starts: Array,
    order: Array,
) -> tuple[int, int, int, int]:
    """Write samples from place k and event e on until they are full or the batch ends; return (k, e, samples, _).

    left: positions of the readings that are to be taken, in order; k counts these · sensor: theirs · taken_ahead: how
    far each reading of the batch is (rules.ahead) · turn: the number of this slice · slopes: scratch. Afterwards
    `order[starts[d]:starts[d + 1]]` are the samples of detector d, in order. The sample array must hold at least the
    widest sensor's feeds.
    """
    n = 0
    begun = k
    readings = len(left)
    starts[:] = 0
    touched = k
    total = 0
    while True:
        if k == touched:
            touched = min(k + TOUCH_AHEAD, readings)
            total += touch(sensor, doors, feeds, lanes, memories, k, touched)
        i = left[k] if k < readings else len(time_ms)
        if e < n_events and events[e]["before"] <= i:
            event = events[e]
            subject = event["subject"]
            if event["kind"] == LOSS:
                door = doors[subject]
                if n + door["count"] > len(samples):
                    break
                hand_on(door, feeds, lanes, memories.stuck_rules, memories.stuck_runs)
                door["flags"] &= ~OPEN
                for f in range(door["first"], door["first"] + door["count"]):
                    feed = feeds[f]
                    sample = put(samples, n, event["stamp_ms"], np.nan, -1, LOSS)
                    sample["lane"], sample["row"], sample["slot"] = feed["lane"], feed["row"], feed["slot"]
                    sample["rule"], sample["detector"], sample["cause"] = feed["rule"], feed["detector"], event["cause"]
                    starts[feed["detector"] + 1] += 1
                    lanes[feed["lane"]]["turn"] = turn
                    n += 1
            else:
                if n == len(samples):
                    break
                sample = put(samples, n, event["stamp_ms"], event["silence_ms"] / 1000.0, -1, event["kind"])
                sample["lane"], sample["row"], sample["slot"] = subject, 0, -1
                sample["rule"] = 0
                sample["detector"], sample["cause"] = lane_detector[subject], -1
                starts[sample["detector"] + 1] += 1
                lanes[subject]["turn"] = turn
                n += 1
            e += 1
            continue
        if k == readings or (n > 0 and k - begun >= READINGS_MAX):
            break
        door = doors[sensor[k]]
        if n + door["count"] > len(samples):
            break
        way = reading_lane[i]
        if way <= HISTORY_LANE:
            grade = quality[i]
            is_good = grade <= QUALITY_NOT_EVALUATED
            x = value[i]
            is_plain = way == LIVE_LANE and is_good and not np.isnan(x)
            asked = rest = door["first"]
            rest += door["simple"]
            taken = taken_ahead[i]
            if taken == SHUT and is_plain and door["flags"] & OPEN:
                taken = is_let_through(door, time_ms[i], x, feeds, lanes, rules, memories)
            if taken == LET_THROUGH:
                asked = rest
            else:
                hand_on(door, feeds, lanes, memories.stuck_rules, memories.stuck_runs)
                door["flags"] = door["flags"] | OPEN if is_plain else door["flags"] & ~OPEN
            for f in range(asked, door["first"] + door["count"]):
                feed = feeds[f]
                if taken == RATE_TAKEN and f < rest and feed["quiet"] == QUIET_RATE:
                    continue
                if is_plain and is_taken(feed, time_ms[i], x, lanes, rules, members, memories, slopes, turn):
                    continue
                if np.isnan(x):
                    seen = LOSS
                elif is_good:
                    seen = GOOD
                elif grade == QUALITY_SUSPECT and feed["accepts_suspect"]:
                    seen = SUSPECT
                else:
                    seen = LOSS
                if way == HISTORY_LANE:
                    if seen == LOSS or not feed["sees_history"]:
                        continue
                    seen = HISTORY
                if f < rest:
                    door["flags"] &= ~OPEN
                sample = put(samples, n, time_ms[i], x, i, seen)
                sample["lane"], sample["row"], sample["slot"] = feed["lane"], feed["row"], feed["slot"]
                sample["rule"], sample["detector"], sample["cause"] = feed["rule"], feed["detector"], -1
                starts[feed["detector"] + 1] += 1
                lanes[feed["lane"]]["turn"] = turn
                n += 1
        k += 1

    for d in range(1, len(starts)):
        starts[d] += starts[d - 1]
    for j in range(n):
        d = samples[j]["detector"]
        order[starts[d]] = j
        starts[d] += 1
    for d in range(len(starts) - 1, 0, -1):  # each stands at the next one's start now
        starts[d] = starts[d - 1]
    starts[0] = 0
    return k, e, n, total
