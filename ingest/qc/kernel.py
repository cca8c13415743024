"""The one loop over readings: every enabled test of every reading, in order of arrival, from memory by sensor.

Reading by reading on purpose: the result does not depend on how readings are cut into batches.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from . import qartod
from .catalogue import FAIL, GOOD, MISSING, NO_TIME, NOT_EVALUATED, SUSPECT, QcTest
from .columns import I64, U32, Limits, Memory
from .river import RiverLimits, RiverMemory, judge_river, went_and_returned
from .verdicts import COLUMNS, FAILED, RAISED, note, rolled

_GROSS_RANGE = int(QcTest.GROSS_RANGE)
_CLIMATOLOGY = int(QcTest.CLIMATOLOGY)
_SPIKE = int(QcTest.SPIKE)
_RATE = int(QcTest.RATE_OF_CHANGE)
_FLAT_LINE = int(QcTest.FLAT_LINE)
_ATTENUATED = int(QcTest.ATTENUATED)
_TIME_GAP = int(QcTest.TIME_GAP)
_RECEPTION = int(QcTest.RECEPTION)
_DATE = int(QcTest.DATE)
_RETURNED = int(QcTest.RETURNED)
_RIVER = int(QcTest.JUMP | QcTest.RETURNED | QcTest.FROZEN | QcTest.COMPANION | QcTest.OVERSATURATED)
_WINDOWED = _FLAT_LINE | _ATTENUATED


@njit(cache=True, nogil=True)
def judge_alone(s: int, time_ms: int, received_ms: int, x: float, depth: float, limits: Limits, verdicts: U32) -> None:
    """Run the tests that need no memory."""
    enabled = limits.enabled[s]
    if enabled & _GROSS_RANGE:
        r = limits.ranges[s]
        note(verdicts, _GROSS_RANGE, qartod.gross_range(x, r[0], r[1], r[2], r[3]))
    if enabled & _CLIMATOLOGY:
        start, stop = limits.member_start[s], limits.member_start[s + 1]
        note(verdicts, _CLIMATOLOGY, qartod.climatology(time_ms, x, depth, limits.members, start, stop))
    if enabled & _RECEPTION:
        note(verdicts, _RECEPTION, qartod.reception(time_ms, received_ms, limits.reception_ms[s]))
    if enabled & _DATE:
        earliest, latest = limits.dates[s]
        note(verdicts, _DATE, qartod.impossible_date(time_ms, received_ms, earliest, latest))


@njit(cache=True, nogil=True)
def judge_by_memory(s: int, time_ms: int, x: float, limits: Limits, memory: Memory, verdicts: U32) -> None:
    """Run the tests that look back, and put the reading into its sensor's window."""
    enabled = limits.enabled[s]
    if enabled & _RATE:
        before_ms, before = memory.last_ms[s], memory.last[s]
        suspect, fail = limits.rate[s]
        note(verdicts, _RATE, qartod.rate_of_change(before_ms, before, time_ms, x, suspect, fail))
    if enabled & _TIME_GAP:
        flag = MISSING if time_ms == NO_TIME else NOT_EVALUATED
        if memory.seen[s] > 0:
            flag = qartod.time_gap(memory.last_ms[s], time_ms, limits.gap_ms[s])
        note(verdicts, _TIME_GAP, flag)
    if enabled & _SPIKE:
        note(verdicts, _SPIKE, MISSING if math.isnan(x) else NOT_EVALUATED)
    if enabled & _WINDOWED:
        _judge_by_window(s, time_ms, x, limits, memory, verdicts)


@njit(cache=True, nogil=True)
def _judge_by_window(s: int, time_ms: int, x: float, limits: Limits, memory: Memory, verdicts: U32) -> None:
    enabled = limits.enabled[s]
    first, size, newest = limits.window_start[s], limits.window_size[s], memory.seen[s]
    place = first + newest % size
    if enabled & _ATTENUATED and newest >= size and memory.ring_ms[place] > time_ms - limits.attenuated_ms[s]:
        memory.overflow[s] += 1
    memory.ring_ms[place] = time_ms
    memory.ring[place] = x
    if enabled & _FLAT_LINE:
        flag = MISSING if math.isnan(x) else GOOD
        if flag == GOOD:
            tolerance = limits.flat_tolerance[s]
            if qartod.window_is_flat(memory.ring, first, size, newest, limits.flat_count[s, 1], tolerance):
                flag = FAIL
            elif qartod.window_is_flat(memory.ring, first, size, newest, limits.flat_count[s, 0], tolerance):
                flag = SUSPECT
        note(verdicts, _FLAT_LINE, flag)
    if enabled & _ATTENUATED:
        flag = MISSING
        if not math.isnan(x):
            value = qartod.window_statistic(
                memory.ring_ms, memory.ring, first, size, newest,
                limits.attenuated_ms[s], limits.attenuated_min[s], limits.statistic[s],
            )  # fmt: skip
            flag = qartod.attenuation(value, limits.attenuated[s, 0], limits.attenuated[s, 1])
        note(verdicts, _ATTENUATED, flag)


@njit(cache=True, nogil=True)
def complete_previous(
    s: int, time_ms: int, x: float, limits: Limits, memory: Memory, river_limits: RiverLimits, river: RiverMemory
) -> bool:
    """Complete the verdict on the sensor's previous reading now that the next has come; say if its flag changed."""
    enabled = limits.enabled[s]
    count = memory.seen[s]
    verdicts = memory.verdicts[s]
    if enabled & _SPIKE and count >= 2:
        suspect, fail = limits.spike[s]
        flag = qartod.spike(memory.before_last[s], memory.last[s], x, limits.spike_method[s], suspect, fail)
        note(verdicts, _SPIKE, flag)
    if enabled & _RETURNED and went_and_returned(s, memory.before_last[s], memory.last[s], x, river_limits, river):
        note(verdicts, _RETURNED, SUSPECT)
    if enabled & _TIME_GAP and count == 1:
        # The first reading of a series takes the flag of the second.
        flag = qartod.time_gap(memory.last_ms[s], time_ms, limits.gap_ms[s])
        note(verdicts, _TIME_GAP, NOT_EVALUATED if flag == MISSING and memory.last_ms[s] != NO_TIME else flag)
    flag = rolled(verdicts, memory.base[s], not math.isnan(memory.last[s]))
    has_changed: bool = flag != memory.emitted[s]
    memory.emitted[s] = flag
    return has_changed


@njit(cache=True, nogil=True)
def grade(
    sensor: NDArray[np.int32],
    time_ms: I64,
    value: NDArray[np.float64],
    depth: NDArray[np.float64],
    received_ms: I64,
    base: NDArray[np.uint8],
    lane: NDArray[np.uint8],
    limits: Limits,
    memory: Memory,
    river_limits: RiverLimits,
    river: RiverMemory,
    flags: NDArray[np.uint8],
    tests: U32,
    amended: NDArray[np.int64],
) -> int:
    """Grade readings in order of arrival; returns the number of amendments.

    depth: one value a reading, or empty. base: the flag each reading came with, 0 for none. lane: only LIVE (0)
    readings are remembered; HISTORY (1) ones get the tests without memory; others keep their flag.
    flags, tests: out, one a reading. amended: out, shape (readings, 5): sensor, time, flag and tests of the sensor's
    previous reading where its verdict changed, and the reading that changed it; at most one a reading.
    """
    amendments = 0
    verdicts = np.zeros(COLUMNS, np.uint32)
    for i in range(len(sensor)):
        s = sensor[i]
        if lane[i] > 1 or limits.enabled[s] == 0:
            flags[i] = base[i] if base[i] != 0 else NOT_EVALUATED
            tests[i] = 0
            continue
        x = value[i]
        for k in range(limits.sentinels.shape[1]):
            if x == limits.sentinels[s, k]:
                x = math.nan
        if math.isinf(x):
            x = math.nan
        verdicts[:] = 0
        judge_alone(s, time_ms[i], received_ms[i], x, depth[i] if len(depth) else math.nan, limits, verdicts)
        if lane[i] == 0:
            if memory.seen[s] > 0 and complete_previous(s, time_ms[i], x, limits, memory, river_limits, river):
                amended[amendments, 0] = s
                amended[amendments, 1] = memory.last_ms[s]
                amended[amendments, 2] = memory.emitted[s]
                amended[amendments, 3] = memory.verdicts[s, RAISED] | memory.verdicts[s, FAILED]
                amended[amendments, 4] = i
                amendments += 1
            judge_by_memory(s, time_ms[i], x, limits, memory, verdicts)
            is_out = math.isnan(x) or verdicts[FAILED] & np.uint32(_GROSS_RANGE) != 0
            if limits.enabled[s] & _RIVER:
                judge_river(s, time_ms[i], x, is_out, river_limits, river, verdicts)
            elif is_out != (river.out_ms[s] != NO_TIME):
                river.out_ms[s] = time_ms[i] if is_out else NO_TIME  # it may be somebody's companion
        flags[i] = rolled(verdicts, base[i], not math.isnan(x))
        tests[i] = verdicts[RAISED] | verdicts[FAILED]
        if lane[i] == 0:
            memory.seen[s] += 1
            memory.before_last[s] = memory.last[s]
            memory.last[s] = x
            memory.last_ms[s] = time_ms[i]
            memory.verdicts[s] = verdicts
            memory.base[s] = base[i]
            memory.emitted[s] = flags[i]
    return amendments
