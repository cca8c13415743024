"""The door: what it takes to let a reading of a healthy sensor through, in one cache line per sensor.

The quiet path (rules.quiet) asks every lane of a sensor by itself: its feed, its lane, its rule. While all the simple
lanes of a sensor are at rest (value, stuck, rate; one input) their answers can be had together: one band for the
values, and the memory of stuck and rate. Such a sensor's door is open. What the lanes would have noted of the reading
(when it was, the feature then) is noted at the door alone and handed on by `settle` before anybody looks at the lanes.
Promise: after `settle` lanes and memory are bit for bit what the quiet path would have left.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .detector import CALM, LOUD, MUTE, Array, Quiet
from .detectors import rate, stuck
from .kernels import NEVER
from .quiet import Memories

VALUE, STUCK, RATE = int(Quiet.VALUE), int(Quiet.STUCK), int(Quiet.RATE)

HAS_STUCK, HAS_RATE, OPEN = 1, 2, 4  # bits of DOOR.flags
RULES_MAX = 2**16  # rows of rules that a door can name; lanes of later ones stay behind it
SIMPLE_MAX = 255

# How a door answers
SHUT, LET_THROUGH, RATE_TAKEN = 0, 1, 2

DOOR = np.dtype(
    [
        ("low", np.float64),  # values strictly between these two are calm for every simple lane that looks at the value
        ("high", np.float64),
        ("last_ms", np.int64),  # the newest reading let through that the lanes have not been told of, or NEVER
        ("last_x", np.float64),
        ("rate_x", np.float64),  # the rate's feature then; NaN: it said nothing
        ("first", np.int32),  # the sensor's feeds: feeds[first : first + count], the simple ones in front
        ("count", np.int32),
        ("stuck_row", np.int32),
        ("rate_row", np.int32),
        ("stuck_rule", np.uint16),
        ("rate_rule", np.uint16),
        ("simple", np.uint8),
        ("flags", np.uint8),
    ],
    align=True,
)
"""One row per sensor, one cache line."""

CACHE_LINE = 64


def doors_of(feeds: Array, first: NDArray[np.int64], lanes: Array, rules: Array) -> Array:
    """Return the doors of all sensors, closed: the first reading that is taken quietly opens its sensor's.

    first: of each sensor's feeds, and the end of the last one's.
    """
    n = len(first) - 1
    room = np.zeros(n * DOOR.itemsize + CACHE_LINE, np.uint8)
    begin = -room.ctypes.data % CACHE_LINE
    doors = room[begin : begin + n * DOOR.itemsize].view(DOOR)
    doors["low"], doors["high"] = -np.inf, np.inf
    doors["last_ms"], doors["rate_x"] = NEVER, np.nan
    doors["first"], doors["count"] = first[:-1], np.diff(first)
    inputs = np.bincount(feeds["lane"], minlength=len(lanes))
    kind, rule = feeds["quiet"], feeds["rule"]
    is_simple = np.isin(kind, (VALUE, STUCK, RATE)) & (inputs[feeds["lane"]] == 1) & (rule < RULES_MAX)
    is_simple &= lanes["members"][feeds["lane"]] == 0
    here = np.arange(n)  # sensors of which all feeds so far are simple
    for place in range(SIMPLE_MAX):
        here = here[doors["count"][here] > place]
        feed = doors["first"][here] + place
        flags = doors["flags"][here]
        is_second = ((kind[feed] == STUCK) & (flags & HAS_STUCK != 0)) | (
            (kind[feed] == RATE) & (flags & HAS_RATE != 0)
        )
        here = here[is_simple[feed] & ~is_second]
        if len(here) == 0:
            break
        feed = doors["first"][here] + place
        doors["simple"][here] += 1
        for found, name, flag in ((STUCK, "stuck", HAS_STUCK), (RATE, "rate", HAS_RATE)):
            mine = kind[feed] == found
            doors["flags"][here[mine]] |= flag
            doors[f"{name}_row"][here[mine]] = feeds["row"][feed[mine]]
            doors[f"{name}_rule"][here[mine]] = rule[feed[mine]]
        mine = kind[feed] == VALUE
        band, who = rules[rule[feed[mine]]], here[mine]
        doors["low"][who] = np.maximum(doors["low"][who], band["calm_low"])
        doors["high"][who] = np.minimum(doors["high"][who], band["calm_high"])
    return doors


def shut(doors: Array) -> None:
    """Close every door and forget what was noted there: the lanes were given another state."""
    doors["flags"] &= HAS_STUCK | HAS_RATE
    doors["last_ms"], doors["rate_x"] = NEVER, np.nan


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def hand_on(door: Any, feeds: Array, lanes: Array, stuck_rules: Array, stuck_runs: Array) -> None:
    """Tell a sensor's simple lanes of the newest reading that was let through."""
    last_ms = door["last_ms"]
    if last_ms == NEVER:
        return
    for f in range(door["first"], door["first"] + door["simple"]):
        feed = feeds[f]
        x = door["last_x"]
        if feed["quiet"] == STUCK:
            run = stuck_runs[door["stuck_row"]]
            x = 0.0
            if run["points"] >= stuck_rules[door["stuck_rule"]]["min_points"]:
                x = (last_ms - run["since_ms"]) / 1000.0
        elif feed["quiet"] == RATE:
            x = door["rate_x"]
            if np.isnan(x):
                continue
        lane = lanes[feed["lane"]]
        lane["last_ms"] = max(last_ms, lane["last_ms"])
        lane["last_x"] = x
    door["last_ms"] = NEVER
    door["rate_x"] = np.nan


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False, inline="always")
def is_let_through(door: Any, time_ms: int, x: float, feeds: Array, lanes: Array, rules: Array, m: Memories) -> int:
    """Take a live reading of good quality for all simple lanes of a sensor whose door is open.

    Returns LET_THROUGH, or SHUT when the lanes must be asked one by one, or RATE_TAKEN: so must they, but the rate
    has taken it already.
    """
    if not (door["low"] < x < door["high"]) or time_ms <= door["last_ms"]:
        return SHUT
    said, step = MUTE, np.nan
    if door["flags"] & HAS_RATE:
        row = door["rate_row"]
        said, step = rate.rests(time_ms, x, m.rate_rules[door["rate_rule"]], m.rate_heads[row], m.rate_rings[row])
        if said == LOUD:
            return SHUT
        if said == MUTE:
            if not np.isnan(door["rate_x"]):
                hand_on(door, feeds, lanes, m.stuck_rules, m.stuck_runs)
            step = np.nan
    if door["flags"] & HAS_STUCK:
        rule = door["stuck_rule"]
        low, high = rules[rule]["calm_low"], rules[rule]["calm_high"]
        found, _ = stuck.rests(time_ms, x, m.stuck_rules[rule], m.stuck_runs[door["stuck_row"]], low, high)
        if found == LOUD:
            hand_on(door, feeds, lanes, m.stuck_rules, m.stuck_runs)
            for f in range(door["first"], door["first"] + door["simple"]):
                if said == CALM and feeds[f]["quiet"] == RATE:
                    lane = lanes[feeds[f]["lane"]]
                    lane["last_ms"] = max(time_ms, lane["last_ms"])
                    lane["last_x"] = step
            return RATE_TAKEN if door["flags"] & HAS_RATE else SHUT
    door["last_ms"], door["last_x"], door["rate_x"] = time_ms, x, step
    return LET_THROUGH


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def settle(doors: Array, feeds: Array, lanes: Array, stuck_rules: Array, stuck_runs: Array) -> None:
    """Tell all lanes what was noted at their doors. For whoever looks at lanes; a few ms for 100,000 sensors."""
    for s in range(len(doors)):
        hand_on(doors[s], feeds, lanes, stuck_rules, stuck_runs)
