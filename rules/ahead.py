"""Ahead of the rest: readings that open doors let through (rules.doors), taken sensor by sensor.

Where all lanes of a sensor are simple ones, its readings meet nobody else's until one is not let through. So those
before it may be taken in any order, and sensor by sensor is quickest: their rows come one after the other
(citypulse.by_sensor). What is left is taken in order of arrival (rules.fanout). At 100,000 scattered sensors the rules
took 87 ns a reading with it and 286 without; tests/rules/test_ahead.py compares the two.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from citypulse.by_sensor import SENSORS_MIN, by_sensor, sorted_by_sensor
from citypulse.model import ReadingBatch

from .detector import LOSS, TOUCH_AHEAD, Array
from .doors import LET_THROUGH, OPEN, SHUT, hand_on, is_let_through
from .fanout import HISTORY_LANE, LIVE_LANE, QUALITY_NOT_EVALUATED, touch
from .quiet import Memories


class Left(NamedTuple):
    """What is left of a batch.

    readings: positions, in order · sensor: int32, theirs · taken: uint8, one for every reading of the batch: SHUT,
    nothing has been done · RATE_TAKEN, the rate has it already · LET_THROUGH, all is done.
    """

    readings: NDArray[np.intp]
    sensor: NDArray[np.int32]
    taken: NDArray[np.uint8]


def take_ahead(
    batch: ReadingBatch, events: Array, doors: Array, feeds: Array, lanes: Array, rules: Array, memories: Memories
) -> Left:
    """Take what may be taken ahead; return what is left. events: all of this batch (fanout.EVENT)."""
    n = len(batch)
    order = by_sensor(batch.sensor, len(doors))
    if order is None:
        return Left(np.arange(n), batch.sensor, np.zeros(n, np.uint8))
    return take_in_order(order, batch, events, doors, feeds, lanes, rules, memories)


def take_in_order(
    order: NDArray[np.intp],
    batch: ReadingBatch,
    events: Array,
    doors: Array,
    feeds: Array,
    lanes: Array,
    rules: Array,
    memories: Memories,
) -> Left:
    """Do it, in an order that `by_sensor` has found."""
    n = len(batch)
    columns = (batch.sensor, batch.time_ms, batch.value, batch.quality, batch.lane)
    of_sensor = np.empty(n, np.uint8)
    let_pass(*(column.take(order) for column in columns), events, doors, feeds, lanes, rules, memories, of_sensor)
    taken = np.empty(n, np.uint8)
    taken[order] = of_sensor
    readings = np.flatnonzero(taken != LET_THROUGH)
    return Left(readings, batch.sensor.take(readings), taken)


def warm_up(events: Array, doors: Array, feeds: Array, lanes: Array, rules: Array, memories: Memories) -> None:
    """Load or compile the kernels of large cities; changes no state. events: none."""
    if len(doors) >= SENSORS_MIN:
        nothing = ReadingBatch.empty()
        order = sorted_by_sensor(nothing.sensor)
        take_in_order(order, nothing, events, doors, feeds, lanes, rules, memories)


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def let_pass(
    sensor: Array,
    time_ms: Array,
    value: Array,
    quality: Array,
    reading_lane: Array,
    events: Array,
    doors: Array,
    feeds: Array,
    lanes: Array,
    rules: Array,
    memories: Memories,
    taken: Array,
) -> tuple[int, int]:
    """Let readings through, of each sensor until the first that is not; write into `taken` how far each is.

    Columns are sorted by sensor. A sensor that loses sight in this batch has its door closed first: where among its
    readings that is, only the order of arrival knows.
    """
    for e in range(len(events)):
        if events[e]["kind"] == LOSS:
            door = doors[events[e]["subject"]]
            hand_on(door, feeds, lanes, memories.stuck_rules, memories.stuck_runs)
            door["flags"] &= ~OPEN
    total = touched = 0
    before: Any = -1
    is_on = False
    for k in range(len(sensor)):
        if k == touched:
            touched = min(k + TOUCH_AHEAD, len(sensor))
            total += touch(sensor, doors, feeds, lanes, memories, k, touched)
        s = sensor[k]
        door = doors[s]
        if s != before:
            before = s
            is_on = door["flags"] & OPEN != 0 and door["simple"] == door["count"]
        taken[k] = SHUT
        if not is_on:
            continue
        way = reading_lane[k]
        if way > HISTORY_LANE:
            taken[k] = LET_THROUGH  # no rule looks at it
        elif way == LIVE_LANE and quality[k] <= QUALITY_NOT_EVALUATED and not np.isnan(value[k]):
            taken[k] = is_let_through(door, time_ms[k], value[k], feeds, lanes, rules, memories)
            is_on = taken[k] == LET_THROUGH
        else:
            is_on = False
    return total, 0
