"""A reading's verdicts: five bit masks of tests, by what each test said, and how they roll up to one flag."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .catalogue import FAIL, GOOD, MISSING, NOT_EVALUATED, SUSPECT, outranks

Masks = NDArray[np.int64]
PASSED, RAISED, FAILED, OPEN, ABSENT = 0, 1, 2, 3, 4  # places of the masks
PLACES = 5


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def note(verdicts: Masks, test: int, flag: int) -> None:
    """Put one test's flag into a reading's masks; a test speaks once of a reading."""
    if flag == GOOD:
        verdicts[PASSED] |= test
    elif flag == SUSPECT:
        verdicts[RAISED] |= test
    elif flag == FAIL:
        verdicts[FAILED] |= test
    elif flag == NOT_EVALUATED:
        verdicts[OPEN] |= test
    else:
        verdicts[ABSENT] |= test


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def rolled(verdicts: Masks, base: int, has_value: bool) -> int:  # noqa: FBT001 - a compiled function has no keywords
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
