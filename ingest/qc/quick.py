"""The quick way through the QARTOD tests: a reading that all of them find good, told by a few comparisons.

Nearly every reading is one. Nothing but the window and what is remembered here is written, and only when the
answer is certain; else the long way (ingest.qc.kernel) judges from the beginning. Both say the same of every
reading: tests/ingest_qc/test_qc_quick.py compares them. What is kept here are clues, not memory: they can be
forgotten at any time, so no state holds them.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from . import qartod
from .catalogue import GOOD, NO_TIME, NOT_EVALUATED, QcTest
from .columns import F64, I64, Compiled, Record, Records, rows_of

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
_ONE_BY_ONE = _GROSS_RANGE | _CLIMATOLOGY | _RATE | _FLAT_LINE | _ATTENUATED | _TIME_GAP | _RECEPTION | _DATE

TOUCH_AHEAD = 64  # readings whose rows are fetched before they are needed: they fit the first-level cache
UNKNOWN = -1
NOT_QUICK = -1

CLUES = np.dtype(
    [
        ("flat_from", "i8"),  # running number of the first of the newest readings that range over less than tolerance
        ("flat_low", "f8"),  # their extremes
        ("flat_high", "f8"),
        ("alive_from", "i8"),  # running number of the older of two readings far enough apart to prove the signal alive
        ("alive_ms", "i8"),
        ("unbroken", "i8"),  # newest readings that have a value, without one missing between them
        ("first_place", "i8"),  # of the sensor's window in the rings: no clue, but here it costs no cache line
        ("rule", "i4"),  # row of its rules
    ],
    align=True,
)
"""One row per sensor, one cache line. Running numbers are those of `seen`: the first reading of a series is 0."""

SPANS = np.dtype([("part", "i8"), ("is_known", "u1"), ("fail_low", "f8"), ("fail_high", "f8"), ("suspect_low", "f8"),
                  ("suspect_high", "f8")], align=True)  # fmt: skip
"""One row per rule: the climatology of the day (or hour) it was last asked for."""


def blank_clues(compiled: Compiled) -> tuple[Records, Records]:
    """Return clues and spans of which nothing is known."""
    clues, spans = rows_of(len(compiled.rule_of), CLUES), np.zeros(len(compiled.rules), SPANS)
    clues["first_place"], clues["rule"] = compiled.first_place, compiled.rule_of
    clues["flat_from"] = clues["alive_from"] = UNKNOWN
    spans["part"] = NO_TIME
    return clues, spans


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def touch(
    sensor: NDArray[np.int32],
    rules: Records,
    memories: Records,
    clues: Records,
    ring_ms: I64,
    begin: int,
    end: int,
) -> int:
    """Read what the coming readings will need, in loops so short that the processor waits for many rows at once.

    Rows of different sensors lie apart, so each would be waited for alone in the long loop that follows. Returns
    a sum, only so that the compiler cannot leave the reading out.
    """
    total = 0
    for i in range(begin, end):
        s = sensor[i]
        total += int(memories[s]["seen"]) + int(clues[s]["rule"])
    for i in range(begin, end):
        s = sensor[i]
        size = rules[clues[s]["rule"]]["window_size"]
        if size > 0:
            total += int(ring_ms[clues[s]["first_place"] + memories[s]["seen"] % size] & 1)
    return total


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def is_in_season(rule: Record, members: F64, span: Record, time_ms: int, x: float) -> bool:
    """Whether the climatology is good. All instants of one `memo_ms` have the same members, so they are asked once."""
    memo_ms = rule["memo_ms"]
    if memo_ms == 0:
        flag = qartod.climatology(time_ms, x, math.nan, members, rule["member_start"], rule["member_stop"])
        return flag == GOOD  # type: ignore[no-any-return]
    part = time_ms // memo_ms
    if span["part"] != part:
        span["part"] = part
        member = qartod.member_of(time_ms, math.nan, members, rule["member_start"], rule["member_stop"])
        span["is_known"] = member >= 0
        if member >= 0:
            span["fail_low"], span["fail_high"] = members[member, 5], members[member, 6]
            span["suspect_low"], span["suspect_high"] = members[member, 7], members[member, 8]
    if not span["is_known"]:
        return False
    flag = qartod.gross_range(x, span["fail_low"], span["fail_high"], span["suspect_low"], span["suspect_high"])
    return flag == GOOD  # type: ignore[no-any-return]


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def moves(rule: Record, memory: Record, clue: Record, first: int, ring: F64, x: float) -> bool:
    """Whether the newest readings, this one included, are not flat for the shorter of the two counts."""
    newest, size, tolerance = memory["seen"], rule["window_size"], rule["flat_tolerance"]
    count = min(rule["flat_suspect"], rule["flat_fail"], size - 1)
    if tolerance <= 0:
        return True
    if count < 1:
        return False
    if abs(x - memory["last"]) >= tolerance:
        clue["flat_from"] = newest
        clue["flat_low"] = clue["flat_high"] = x
        return True
    low, high = min(x, clue["flat_low"]), max(x, clue["flat_high"])
    if clue["flat_from"] == UNKNOWN or not high - low < tolerance:
        low = high = x
        begin = newest
        oldest = max(newest - count, 0)
        place = first + newest % size
        while begin > oldest:
            place = place - 1 if place > first else first + size - 1
            other = ring[place]
            if not math.isnan(other):
                wider_low, wider_high = min(low, other), max(high, other)
                if wider_high - wider_low >= tolerance:
                    break
                low, high = wider_low, wider_high
            begin -= 1
        clue["flat_from"] = begin
    clue["flat_low"], clue["flat_high"] = low, high
    is_moving: bool = newest < count or clue["flat_from"] > newest - count
    return is_moving


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def is_alive(
    rule: Record, memory: Record, clue: Record, first: int, ring_ms: I64, ring: F64, time_ms: int, x: float
) -> bool:
    """Whether two readings in the window are so far apart that no window of this size can be attenuated.

    Among n readings of which two are r apart the population standard deviation is at least r / √(2n). A window that
    is not full yet holds fewer, so less is enough then: but what proves that is no clue for a fuller one.
    """
    newest, size = memory["seen"], rule["window_size"]
    oldest_ms = time_ms - rule["attenuated_ms"]
    needed, apart = rule["attenuated_min"], rule["alive_range"]
    if clue["unbroken"] + 1 < needed or needed > size:
        return False
    if rule["statistic"] == qartod.STATISTIC_RANGE and clue["unbroken"] < min(newest, size - 1):
        return False
    is_proven = clue["alive_from"] != UNKNOWN and clue["alive_from"] > newest - size and clue["alive_ms"] > oldest_ms
    if is_proven and clue["alive_from"] <= newest - needed + 1:
        return True
    if needed > 1 and ring_ms[first + (newest - needed + 1) % size] <= oldest_ms:
        return False
    if is_proven:
        return True
    enough = apart
    if newest + 1 < size and rule["statistic"] == qartod.STATISTIC_STD:
        enough = apart * math.sqrt((newest + 1) / size)
    low = high = x
    number = newest - 1
    place = first + newest % size
    while number > newest - size and number >= 0:
        place = place - 1 if place > first else first + size - 1
        if ring_ms[place] <= oldest_ms:
            break
        other = ring[place]
        if not math.isnan(other):
            low, high = min(low, other), max(high, other)
            if high - low >= apart:
                clue["alive_from"] = number
                clue["alive_ms"] = ring_ms[place]
                return True
        number -= 1
    clue["alive_from"] = UNKNOWN
    is_lively: bool = high - low >= enough
    return is_lively


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def passes(
    rule: Record,
    memory: Record,
    clue: Record,
    span: Record,
    members: F64,
    first: int,
    ring_ms: I64,
    ring: F64,
    time_ms: int,
    received_ms: int,
    x: float,
) -> int:
    """Take a live reading that all its sensor's tests find good; return those tests' bits, or NOT_QUICK.

    The reading before must be settled by it without a change, and a spike or return of that one be out of the
    question. x: not NaN. Depth is not known here: rules that ask for it are never quick.
    """
    enabled = rule["enabled"]
    if rule["is_quick"] == 0 or memory["seen"] < 2 or math.isnan(memory["last"]):
        return NOT_QUICK
    if time_ms == NO_TIME or memory["last_ms"] == NO_TIME or time_ms <= memory["last_ms"]:
        return NOT_QUICK
    if enabled & _GROSS_RANGE and not (
        rule["fail_low"] <= x <= rule["fail_high"] and rule["suspect_low"] <= x <= rule["suspect_high"]
    ):
        return NOT_QUICK
    if enabled & _TIME_GAP and time_ms - memory["last_ms"] > rule["gap_ms"]:
        return NOT_QUICK
    if enabled & _RATE:
        flag = qartod.rate_of_change(
            memory["last_ms"], memory["last"], time_ms, x, rule["rate_suspect"], rule["rate_fail"]
        )
        if flag != GOOD:
            return NOT_QUICK
    if enabled & _SPIKE:
        flag = qartod.spike(
            memory["before_last"], memory["last"], x, rule["spike_method"], rule["spike_suspect"], rule["spike_fail"]
        )
        is_settled = memory["emitted"] == GOOD and memory["base"] <= NOT_EVALUATED
        if flag != GOOD or not is_settled or memory["raised"] != 0 or memory["failed"] != 0:
            return NOT_QUICK
    if enabled & _RETURNED:
        up, down = memory["last"] - memory["before_last"], x - memory["last"]
        if up * down < 0 and min(abs(up), abs(down)) > rule["returned_floor"]:
            return NOT_QUICK
    if enabled & _RECEPTION and qartod.reception(time_ms, received_ms, rule["reception_ms"]) != GOOD:
        return NOT_QUICK
    if enabled & _DATE:
        flag = qartod.impossible_date(time_ms, received_ms, rule["earliest_ms"], rule["latest_ms"])
        if flag != GOOD:
            return NOT_QUICK
    if enabled & _CLIMATOLOGY and not is_in_season(rule, members, span, time_ms, x):
        return NOT_QUICK
    if enabled & _FLAT_LINE and not moves(rule, memory, clue, first, ring, x):
        return NOT_QUICK
    size, newest = rule["window_size"], memory["seen"]
    if enabled & _ATTENUATED and not is_alive(rule, memory, clue, first, ring_ms, ring, time_ms, x):
        return NOT_QUICK
    if enabled & (_FLAT_LINE | _ATTENUATED):
        place = first + newest % size
        if enabled & _ATTENUATED and newest >= size and ring_ms[place] > time_ms - rule["attenuated_ms"]:
            memory["overflow"] += 1
        ring_ms[place] = time_ms
        ring[place] = x
    clue["unbroken"] += 1
    passed: int = enabled & _ONE_BY_ONE
    return passed


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def lose_track(memory: Record, clue: Record, time_ms: int, x: float) -> None:
    """Note that the long way takes a live reading: before it is remembered."""
    clue["flat_from"] = UNKNOWN
    clue["unbroken"] = 0 if math.isnan(x) else clue["unbroken"] + 1
    if memory["seen"] > 0 and time_ms <= memory["last_ms"]:
        clue["alive_from"] = UNKNOWN
        clue["unbroken"] = 0
