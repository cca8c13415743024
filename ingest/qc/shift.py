"""A shift of level: two readings in a row on one side of everything of late, by a factor. Compiled.

For what a jump test cannot see: a channel so restless that every single step is usual, until it stays away. The
second reading is needed, for one alone may come back. Extremes of blocks, so memory is a few numbers a sensor.
"""

from __future__ import annotations

import math

from numba import njit

from .columns import SHIFT_BLOCKS, Record


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def shifts(rule: Record, memory: Record, x: float) -> bool:
    """Take a reading that no other test doubts; say whether it confirms a new level.

    The reading before waits outside the blocks, so that the two are compared with what came before both. They reach
    back over three to four quarters of `readings`.
    """
    before = memory["waiting"]
    memory["waiting"] = x
    if math.isnan(before):
        return False
    is_shift: bool = memory["taken"] >= rule["shift_block"] * SHIFT_BLOCKS and _is_beyond(rule, memory, before, x)
    block = memory["taken"] // rule["shift_block"] % SHIFT_BLOCKS
    if memory["taken"] % rule["shift_block"] == 0:
        memory["lowest"][block] = memory["highest"][block] = before
    else:
        memory["lowest"][block] = min(memory["lowest"][block], before)
        memory["highest"][block] = max(memory["highest"][block], before)
    memory["taken"] += 1
    return is_shift


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _is_beyond(rule: Record, memory: Record, before: float, x: float) -> bool:
    low, high = memory["lowest"][0], memory["highest"][0]
    for k in range(1, SHIFT_BLOCKS):
        low, high = min(low, memory["lowest"][k]), max(high, memory["highest"][k])
    top, bottom, floor = max(before, x), min(before, x), rule["shift_floor"]
    # A factor that is NaN is a direction that is natural: no comparison with it holds.
    has_fallen: bool = low - top > floor and top * rule["shift_fall"] < low
    has_risen: bool = bottom - high > floor and bottom > high * rule["shift_rise"]
    return has_fallen or has_risen
