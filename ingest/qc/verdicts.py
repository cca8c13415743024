"""A reading's verdicts: five bit masks of tests, by what each test said, and how they roll up to one flag."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .catalogue import FAIL, GOOD, MISSING, NOT_EVALUATED, SUSPECT, outranks

U32 = NDArray[np.uint32]
PASSED, RAISED, FAILED, OPEN, ABSENT = 0, 1, 2, 3, 4  # columns of the masks
COLUMNS = 5


@njit(cache=True, nogil=True)
def note(verdicts: U32, test: int, flag: int) -> None:
    """Put one test's flag into a reading's masks, taking the test out of the others."""
    bit = np.uint32(test)
    for k in range(COLUMNS):
        verdicts[k] &= ~bit
    column = ABSENT
    if flag == GOOD:
        column = PASSED
    elif flag == SUSPECT:
        column = RAISED
    elif flag == FAIL:
        column = FAILED
    elif flag == NOT_EVALUATED:
        column = OPEN
    verdicts[column] |= bit


@njit(cache=True, nogil=True)
def rolled(verdicts: U32, base: int, has_value: bool) -> int:  # noqa: FBT001 - a compiled function has no keywords
    """Roll tests up with the flag a reading came with (0: none). A reading without a value is never above missing."""
    if verdicts[FAILED] != 0:
        return FAIL
    if not has_value:
        return FAIL if base == FAIL else MISSING
    if verdicts[RAISED] != 0:
        own = SUSPECT
    elif verdicts[PASSED] != 0:
        own = GOOD
    else:
        own = MISSING if verdicts[ABSENT] != 0 and verdicts[OPEN] == 0 else NOT_EVALUATED
    return outranks(own, base) if base != 0 else own
