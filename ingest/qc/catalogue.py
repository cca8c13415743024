"""The quality tests by name and bit, and the order in which their flags outrank each other.

A reading carries one flag (`Quality`) and a bit mask of the tests that raised it, so every flag can say why.
"""

from __future__ import annotations

from enum import IntFlag

import numpy as np
from numba import njit
from numpy.typing import NDArray

from citypulse.model import Quality, Text

GOOD = int(Quality.GOOD)
NOT_EVALUATED = int(Quality.NOT_EVALUATED)
SUSPECT = int(Quality.SUSPECT)
FAIL = int(Quality.FAIL)
MISSING = int(Quality.MISSING)

NO_TIME = -(2**63)  # a time that is missing; the same bits numpy uses for NaT


class QcTest(IntFlag):
    """One bit per test. The numbers are stored with readings: never renumber, only append."""

    GROSS_RANGE = 1 << 0
    CLIMATOLOGY = 1 << 1
    SPIKE = 1 << 2
    RATE_OF_CHANGE = 1 << 3
    FLAT_LINE = 1 << 4
    ATTENUATED = 1 << 5
    TIME_GAP = 1 << 6
    RECEPTION = 1 << 7
    IMPOSSIBLE_DATE = 1 << 8
    JUMP = 1 << 9
    RETURNED = 1 << 10
    NEW_LEVEL = 1 << 11
    FROZEN = 1 << 12
    COMPANION = 1 << 13
    SERVICE = 1 << 14
    OVERSATURATED = 1 << 15
    UNSETTLED = 1 << 16
    SHIFTED = 1 << 17


TEST_NAMES: dict[QcTest, Text] = {
    QcTest.GROSS_RANGE: Text(zh="量程", en="gross range"),
    QcTest.CLIMATOLOGY: Text(zh="气候范围", en="climatology"),
    QcTest.SPIKE: Text(zh="尖峰", en="spike"),
    QcTest.RATE_OF_CHANGE: Text(zh="变化率", en="rate of change"),
    QcTest.FLAT_LINE: Text(zh="平线", en="flat line"),
    QcTest.ATTENUATED: Text(zh="信号衰减", en="attenuated signal"),
    QcTest.TIME_GAP: Text(zh="时间间断", en="time gap"),
    QcTest.RECEPTION: Text(zh="接收延迟", en="data reception"),
    QcTest.IMPOSSIBLE_DATE: Text(zh="日期异常", en="impossible date"),
    QcTest.JUMP: Text(zh="跳变", en="jump from the last good value"),
    QcTest.RETURNED: Text(zh="单点突跳", en="one reading away and back"),
    QcTest.NEW_LEVEL: Text(zh="新水平", en="stayed at the level it jumped to"),
    QcTest.FROZEN: Text(zh="卡死", en="frozen value"),
    QcTest.COMPANION: Text(zh="补偿通道失效", en="its companion channel is out"),
    QcTest.SERVICE: Text(zh="维护后台阶", en="step after a service visit"),
    QcTest.OVERSATURATED: Text(zh="持续过饱和", en="oversaturated day and night"),
    QcTest.UNSETTLED: Text(zh="尚未稳定", en="not settled after a fault"),
    QcTest.SHIFTED: Text(zh="水平突移", en="shift to another level"),
}

# Rising precedence of the QARTOD roll-up: a fail anywhere wins, missing only if every test says missing.
PRECEDENCE = (MISSING, NOT_EVALUATED, GOOD, SUSPECT, FAIL)


def names_of(mask: int) -> tuple[str, ...]:
    """Return the tests in a bit mask as lower-case words, in bit order: `("gross_range", "jump")`."""
    return tuple(str(test.name).lower() for test in QcTest if mask & test)


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def outranks(a: int, b: int) -> int:
    """Return whichever of two flags has the higher precedence (9 < 2 < 1 < 3 < 4)."""
    if a == b:
        return a
    for flag in (4, 3, 1, 2):
        if a == flag or b == flag:  # noqa: PLR1714 - numba has no `in` for mixed integers
            return flag
    return MISSING


def roll_up(flags: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Combine flags of several tests, shape (tests, readings), into one flag a reading by precedence."""
    result = np.full(flags.shape[1], MISSING, np.uint8)
    for flag in PRECEDENCE:
        result[(flags == flag).any(axis=0)] = flag
    return result
