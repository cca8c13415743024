"""The one loop over readings: every enabled test of every reading, in order, from memory by sensor.

Reading by reading on purpose: the result does not depend on how readings are cut into batches.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from . import qartod
from .catalogue import FAIL, GOOD, MISSING, NO_TIME, NOT_EVALUATED, SUSPECT, QcTest
from .columns import F64, I64, Record, Records
from .quick import NOT_QUICK, TOUCH_AHEAD, lose_track, passes, touch
from .river import judge_river, went_and_returned
from .verdicts import ABSENT, FAILED, OPEN, PASSED, RAISED, Masks, note, rolled

_GROSS_RANGE = int(QcTest.GROSS_RANGE)
_CLIMATOLOGY = int(QcTest.CLIMATOLOGY)
_SPIKE = int(QcTest.SPIKE)
_RATE = int(QcTest.RATE_OF_CHANGE)
_FLAT_LINE = int(QcTest.FLAT_LINE)
_ATTENUATED = int(QcTest.ATTENUATED)
_TIME_GAP = int(QcTest.TIME_GAP)
_RECEPTION = int(QcTest.RECEPTION)
_DATE = int(QcTest.IMPOSSIBLE_DATE)
_RETURNED = int(QcTest.RETURNED)
_WINDOWED = _FLAT_LINE | _ATTENUATED
_RIVER = int(QcTest.JUMP | QcTest.RETURNED | QcTest.FROZEN | QcTest.COMPANION | QcTest.OVERSATURATED | QcTest.SHIFTED)


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def judge_alone(
    rule: Record, members: F64, time_ms: int, received_ms: int, x: float, depth: float, verdicts: Masks
) -> None:
    """Run the tests that need no memory."""
    enabled = rule["enabled"]
    if enabled & _GROSS_RANGE:
        flag = qartod.gross_range(x, rule["fail_low"], rule["fail_high"], rule["suspect_low"], rule["suspect_high"])
        note(verdicts, _GROSS_RANGE, flag)
    if enabled & _CLIMATOLOGY:
        flag = qartod.climatology(time_ms, x, depth, members, rule["member_start"], rule["member_stop"])
        note(verdicts, _CLIMATOLOGY, flag)
    if enabled & _RECEPTION:
        note(verdicts, _RECEPTION, qartod.reception(time_ms, received_ms, rule["reception_ms"]))
    if enabled & _DATE:
        flag = qartod.impossible_date(time_ms, received_ms, rule["earliest_ms"], rule["latest_ms"])
        note(verdicts, _DATE, flag)


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def judge_by_memory(
    rule: Record, memory: Record, first: int, ring_ms: I64, ring: F64, time_ms: int, x: float, verdicts: Masks
) -> None:
    """Run the tests that look back, and put the reading into its sensor's window."""
    enabled = rule["enabled"]
    if enabled & _RATE:
        last = memory["last"] if memory["seen"] > 0 else x  # the rate of a first reading is 0
        flag = qartod.rate_of_change(memory["last_ms"], last, time_ms, x, rule["rate_suspect"], rule["rate_fail"])
        note(verdicts, _RATE, flag)
    if enabled & _TIME_GAP:
        flag = MISSING if time_ms == NO_TIME else NOT_EVALUATED
        if memory["seen"] > 0:
            flag = qartod.time_gap(memory["last_ms"], time_ms, rule["gap_ms"])
        note(verdicts, _TIME_GAP, flag)
    if enabled & _SPIKE:
        note(verdicts, _SPIKE, MISSING if math.isnan(x) else NOT_EVALUATED)
    if enabled & _WINDOWED:
        _judge_by_window(rule, memory, first, ring_ms, ring, time_ms, x, verdicts)


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _judge_by_window(
    rule: Record, memory: Record, first: int, ring_ms: I64, ring: F64, time_ms: int, x: float, verdicts: Masks
) -> None:
    enabled = rule["enabled"]
    size, newest = rule["window_size"], memory["seen"]
    place = first + newest % size
    if enabled & _ATTENUATED and newest >= size and ring_ms[place] > time_ms - rule["attenuated_ms"]:
        memory["overflow"] += 1
    ring_ms[place] = time_ms
    ring[place] = x
    if enabled & _FLAT_LINE:
        flag = MISSING if math.isnan(x) else GOOD
        if flag == GOOD:
            tolerance = rule["flat_tolerance"]
            if qartod.window_is_flat(ring, first, size, newest, rule["flat_fail"], tolerance):
                flag = FAIL
            elif qartod.window_is_flat(ring, first, size, newest, rule["flat_suspect"], tolerance):
                flag = SUSPECT
        note(verdicts, _FLAT_LINE, flag)
    if enabled & _ATTENUATED:
        flag = MISSING
        if not math.isnan(x):
            period, needed, statistic = rule["attenuated_ms"], rule["attenuated_min"], rule["statistic"]
            value = qartod.window_statistic(ring_ms, ring, first, size, newest, period, needed, statistic)
            flag = qartod.attenuation(value, rule["attenuated_suspect"], rule["attenuated_fail"])
        note(verdicts, _ATTENUATED, flag)


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def complete_previous(rule: Record, memory: Record, time_ms: int, x: float, verdicts: Masks) -> bool:
    """Complete the verdict on the sensor's previous reading now that the next has come; say if its flag changed.

    verdicts: scratch.
    """
    enabled = rule["enabled"]
    if not enabled & (_SPIKE | _RETURNED | _TIME_GAP):
        return False
    verdicts[PASSED], verdicts[RAISED], verdicts[FAILED] = memory["passed"], memory["raised"], memory["failed"]
    verdicts[OPEN], verdicts[ABSENT] = memory["open"], memory["absent"]
    if enabled & _SPIKE and memory["seen"] >= 2:
        flag = qartod.spike(
            memory["before_last"], memory["last"], x, rule["spike_method"], rule["spike_suspect"], rule["spike_fail"]
        )
        verdicts[OPEN] &= ~_SPIKE
        note(verdicts, _SPIKE, flag)
    if enabled & _RETURNED and went_and_returned(rule, memory, x):
        note(verdicts, _RETURNED, SUSPECT)
    if enabled & _TIME_GAP and memory["seen"] == 1:
        # The first reading of a series takes the flag of the second.
        flag = qartod.time_gap(memory["last_ms"], time_ms, rule["gap_ms"])
        verdicts[OPEN] &= ~_TIME_GAP
        verdicts[ABSENT] &= ~_TIME_GAP
        note(verdicts, _TIME_GAP, NOT_EVALUATED if flag == MISSING and memory["last_ms"] != NO_TIME else flag)
    flag = rolled(verdicts, memory["base"], not math.isnan(memory["last"]))
    has_changed: bool = flag != memory["emitted"]
    memory["emitted"] = flag
    memory["raised"], memory["failed"] = verdicts[RAISED], verdicts[FAILED]
    return has_changed


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _remember(memory: Record, time_ms: int, x: float, base: int, flag: int, verdicts: Masks) -> None:
    memory["seen"] += 1
    memory["before_last"] = memory["last"]
    memory["last"] = x
    memory["last_ms"] = time_ms
    memory["passed"], memory["raised"], memory["failed"] = verdicts[PASSED], verdicts[RAISED], verdicts[FAILED]
    memory["open"], memory["absent"] = verdicts[OPEN], verdicts[ABSENT]
    memory["base"] = base
    memory["emitted"] = flag


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def grade(
    sensor: NDArray[np.int32],
    time_ms: I64,
    value: F64,
    depth: F64,
    received_ms: I64,
    base: NDArray[np.uint8],
    lane: NDArray[np.uint8],
    rules: Records,
    members: F64,
    memories: Records,
    clues: Records,
    spans: Records,
    ring_ms: I64,
    ring: F64,
    flags: NDArray[np.uint8],
    tests: NDArray[np.uint32],
    amended: NDArray[np.int64],
    verdicts: Masks,
) -> tuple[int, int]:
    """Grade readings in their order; returns the number of amendments, and a sum that means nothing (quick.touch).

    depth: one value a reading, or empty. base: the flag each reading came with, 0 for none. lane: only LIVE (0)
    readings are remembered; HISTORY (1) ones get the tests without memory; others keep their flag.
    flags, tests: out, one a reading. amended: out, shape (readings, 5): sensor, time, flag and tests of the sensor's
    previous reading where its verdict changed, and the reading that changed it; at most one a reading.
    verdicts: scratch.
    """
    amendments = 0
    touched = 0
    total = 0
    for i in range(len(sensor)):
        if i == touched:
            touched = min(i + TOUCH_AHEAD, len(sensor))
            total += touch(sensor, rules, memories, clues, ring_ms, i, touched)
        s = sensor[i]
        memory, clue = memories[s], clues[s]
        row, first = clue["rule"], clue["first_place"]
        rule = rules[row]
        enabled = rule["enabled"]
        if lane[i] > 1 or enabled == 0:
            flags[i] = base[i] if base[i] != 0 else NOT_EVALUATED
            tests[i] = 0
            continue
        x = value[i]
        if x == rule["no_value_0"] or x == rule["no_value_1"] or math.isinf(x):
            x = math.nan
        is_live = lane[i] == 0
        if is_live and not math.isnan(x):
            passed = passes(
                rule,
                memory,
                clue,
                spans[row],
                members,
                first,
                ring_ms,
                ring,
                time_ms[i],
                received_ms[i],
                x,
            )
            if passed != NOT_QUICK:
                verdicts[PASSED], verdicts[OPEN] = passed, enabled & _SPIKE
                verdicts[RAISED] = verdicts[FAILED] = verdicts[ABSENT] = 0
                if enabled & _RIVER:
                    judge_river(rule, memory, memories, time_ms[i], x, False, verdicts)
                else:
                    memory["out_ms"] = NO_TIME
                flags[i] = rolled(verdicts, base[i], True)
                tests[i] = verdicts[RAISED]
                _remember(memory, time_ms[i], x, base[i], flags[i], verdicts)
                continue
        if is_live:
            lose_track(memory, clue, time_ms[i], x)
        if is_live and memory["seen"] > 0:
            verdicts[:] = 0
            if complete_previous(rule, memory, time_ms[i], x, verdicts):
                amended[amendments, 0] = s
                amended[amendments, 1] = memory["last_ms"]
                amended[amendments, 2] = memory["emitted"]
                amended[amendments, 3] = memory["raised"] | memory["failed"]
                amended[amendments, 4] = i
                amendments += 1
        verdicts[:] = 0
        judge_alone(rule, members, time_ms[i], received_ms[i], x, depth[i] if len(depth) else math.nan, verdicts)
        if is_live:
            judge_by_memory(rule, memory, first, ring_ms, ring, time_ms[i], x, verdicts)
            is_out = math.isnan(x) or verdicts[FAILED] & _GROSS_RANGE != 0
            if enabled & _RIVER:
                judge_river(rule, memory, memories, time_ms[i], x, is_out, verdicts)
            elif is_out != (memory["out_ms"] != NO_TIME):
                memory["out_ms"] = time_ms[i] if is_out else NO_TIME  # it may be somebody's companion
        flags[i] = rolled(verdicts, base[i], not math.isnan(x))
        tests[i] = verdicts[RAISED] | verdicts[FAILED]
        if is_live:
            _remember(memory, time_ms[i], x, base[i], flags[i], verdicts)
    return amendments, total
