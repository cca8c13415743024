"""One latch: how the samples of a lane move one limit of a rule between normal and alarm.

Every limit of every lane has a latch of its own:

    NORMAL   ── breach at t0 ──────────────────────────▶ PENDING
    PENDING  ── breach, t - t0 >= on delay ────────────▶ ACTIVE     (on delay 0: at once)
    PENDING  ── a sample that does not breach ─────────▶ NORMAL
    PENDING  ── data loss ─────────────────────────────▶ NORMAL, stays or ACTIVE: the rule's gap policy
    ACTIVE   ── good at g0 ────────────────────────────▶ CLEARING
    CLEARING ── good, t - g0 >= off delay ─────────────▶ NORMAL     (off delay 0: at once)
    CLEARING ── breach, between breach and good, or data loss ─▶ ACTIVE

Good means: would not breach even if moved towards the limit by the deadband. A lane's level is the highest of
its latches that are ACTIVE or CLEARING; a transition is a change of that level. Time is the event time of the
lane's samples. Promise: data loss never clears anything.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from .detector import GOOD

# latch states
NORMAL, PENDING, ACTIVE, CLEARING = 0, 1, 2, 3
STATES = ("normal", "pending", "active", "clearing")

# sides, as in model.Side
AT_LEAST, ABOVE, BELOW, AT_MOST = 0, 1, 2, 3

# gap policies, as in model.Gap
RESET, HOLD, RAISE_ON_LOSS = 0, 1, 2


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def breaches(x: float, side: int, limit: float) -> bool:
    """Whether x breaches the limit; equality is part of the side's word."""
    if side == AT_LEAST:
        return x >= limit
    if side == ABOVE:
        return x > limit
    if side == BELOW:
        return x < limit
    return x <= limit


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def is_good(x: float, side: int, limit: float, deadband: float) -> bool:
    """Whether x would not breach even if moved towards the limit by the deadband."""
    return not breaches(x + deadband if side <= ABOVE else x - deadband, side, limit)


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def lose_sight(latch: Any, gap: int) -> None:
    """Move one latch on a loss of data: never towards NORMAL, except a breach that was still waiting (reset)."""
    if latch["state"] == CLEARING:
        latch["state"] = ACTIVE
    elif latch["state"] == PENDING:
        if gap == RESET:
            latch["state"] = NORMAL
        elif gap == RAISE_ON_LOSS:
            latch["state"] = ACTIVE


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def judge(latch: Any, limit: Any, x: float, time_ms: int, seen: int) -> None:
    """Move one latch on one sample: the definition at the head of this file. A SUSPECT sample never clears."""
    state = latch["state"]
    if breaches(x, limit["side"], limit["value"]):
        if state == NORMAL:
            latch["state"] = state = PENDING
            latch["since_ms"] = time_ms
        if state == CLEARING or (state == PENDING and time_ms - latch["since_ms"] >= limit["on_ms"]):
            latch["state"] = ACTIVE
    elif state == PENDING:
        latch["state"] = NORMAL
    elif state != NORMAL:
        if seen == GOOD and is_good(x, limit["side"], limit["value"], limit["deadband"]):
            if state == ACTIVE:
                latch["state"] = CLEARING
                latch["good_ms"] = time_ms
            if time_ms - latch["good_ms"] >= limit["off_ms"]:
                latch["state"] = NORMAL
        else:
            latch["state"] = ACTIVE
