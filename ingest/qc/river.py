"""Quality control of water beyond QARTOD: what a technician would strike out, told from physics and company.

Jump from the last good value against the channel's own usual step, natural directions, one reading away and
back, frozen values, the companion that compensates a channel, steps across a service visit, oxygen above
saturation day and night, and mistrust that lasts until the channel has been quiet for a while. Causal: only
`returned` speaks of the previous reading. Measured on Logan River and Sandy Creek (docs/reference/quality-control.md).
"""

from __future__ import annotations

import math

from numba import njit

from .catalogue import NO_TIME, SUSPECT, QcTest
from .columns import Record, Records
from .shift import shifts
from .verdicts import FAILED, RAISED, Masks, note

_JUMP = int(QcTest.JUMP)
_RETURNED = int(QcTest.RETURNED)
_NEW_LEVEL = int(QcTest.NEW_LEVEL)
_FROZEN = int(QcTest.FROZEN)
_COMPANION = int(QcTest.COMPANION)
_SERVICE = int(QcTest.SERVICE)
_OVERSATURATED = int(QcTest.OVERSATURATED)
_UNSETTLED = int(QcTest.UNSETTLED)
_SHIFTED = int(QcTest.SHIFTED)

AGE_MAX = 16.0  # intervals; a limit that grew for ever would believe anything after a long silence


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def oxygen_saturation(celsius: float) -> float:
    """Return the solubility of oxygen in fresh water at 1 atm, mg/L (Benson and Krause 1980, USGS TM 2011.03)."""
    k = celsius + 273.15
    return math.exp(-139.34411 + 1.575701e5 / k - 6.642308e7 / k**2 + 1.243800e10 / k**3 - 8.621949e11 / k**4)


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def judge_river(
    rule: Record,
    memory: Record,
    memories: Records,
    time_ms: int,
    x: float,
    is_out: bool,  # noqa: FBT001 - compiled functions take no keywords
    verdicts: Masks,
) -> None:
    """Judge one live reading. `is_out`: it is missing or failed its gross range, so there is no value to judge."""
    if not is_out:
        memory["out_ms"] = NO_TIME
    elif memory["out_ms"] == NO_TIME:
        memory["out_ms"] = time_ms
    companion = rule["companion"]
    companion_out_ms = memories[companion]["out_ms"] if companion >= 0 else NO_TIME
    has_lost = companion_out_ms != NO_TIME
    is_raised = is_out
    is_frozen = _is_frozen(rule, memory, time_ms, x)
    if is_frozen and not is_out:
        note(verdicts, _FROZEN, SUSPECT)
        is_raised = True
    elif has_lost and not is_out and 0 < rule["out_after_ms"] <= time_ms - companion_out_ms:
        note(verdicts, _COMPANION, SUSPECT)
        is_raised = True
    if not is_raised:
        if companion >= 0 and not has_lost and _is_oversaturated(rule, memory, time_ms, x, memories[companion]["good"]):
            note(verdicts, _OVERSATURATED, SUSPECT)
        # A logger repeats the last value while the instrument is out: held, not measured, nothing to learn.
        if not (has_lost and x == memory["good"]):
            is_raised = _jumps(rule, memory, memories, time_ms, x, verdicts)
    is_undoubted = not is_raised and verdicts[RAISED] | verdicts[FAILED] == 0
    if (
        rule["shift_block"] > 0
        and is_undoubted
        and shifts(rule, memory, x)
        and not _is_explained(rule, memories, time_ms)
    ):
        note(verdicts, _SHIFTED, SUSPECT)
        is_raised = True
    memory["was_out"] = has_lost
    _settle(rule, memory, is_raised, is_out, has_lost, verdicts)


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _is_frozen(rule: Record, memory: Record, time_ms: int, x: float) -> bool:
    if x != memory["same"]:
        memory["same"] = x
        memory["same_ms"] = time_ms
        return False
    is_frozen: bool = 0 < rule["frozen_ms"] <= time_ms - memory["same_ms"] and x >= rule["ice_below"]
    return is_frozen


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _is_oversaturated(rule: Record, memory: Record, time_ms: int, x: float, celsius: float) -> bool:
    if math.isnan(rule["oversaturated"]) or math.isnan(celsius):
        return False
    if x < rule["oversaturated"] * oxygen_saturation(celsius):
        memory["over_ms"] = NO_TIME
        return False
    if memory["over_ms"] == NO_TIME:
        memory["over_ms"] = time_ms
    is_over: bool = time_ms - memory["over_ms"] >= rule["oversaturated_ms"]
    return is_over


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _jumps(rule: Record, memory: Record, memories: Records, time_ms: int, x: float, verdicts: Masks) -> bool:
    good = memory["good"]
    if math.isnan(good):
        _believe(memory, time_ms, x)
        memory["level"] = x
        return False
    if memory["was_out"] and abs(x - good) > rule["service_step"]:
        note(verdicts, _SERVICE, SUSPECT)
        _believe(memory, time_ms, x)
        return True
    root_age = math.sqrt(min(max((time_ms - memory["good_ms"]) / rule["interval_ms"], 1.0), AGE_MAX))
    level = good if math.isnan(rule["baseline"]) else memory["level"]
    usual = memory["scale"]
    if x > good:
        limit, factor, start = (
            max(rule["rise_floor"], rule["rise_scales"] * usual),
            rule["rise_factor"],
            max(good, level),
        )
        step, ratio = x - start, x / start if start > 0 else math.inf
    else:
        limit, factor, start = (
            max(rule["fall_floor"], rule["fall_scales"] * usual),
            rule["fall_factor"],
            min(good, level),
        )
        step, ratio = start - x, start / x if x > 0 else math.inf
    if step > limit * root_age and ratio >= factor and not _is_explained(rule, memories, time_ms):
        memory["rejected"] += 1
        note(verdicts, _JUMP, SUSPECT)
        if memory["rejected"] > rule["hold"]:
            note(verdicts, _NEW_LEVEL, SUSPECT)
            _believe(memory, time_ms, x)
        return True
    floor = rule["rise_floor"] if math.isnan(rule["fall_floor"]) else rule["fall_floor"]
    if not math.isnan(floor):
        # A step counts at most three times the usual one, so that a storm teaches slowly.
        memory["scale"] = usual + rule["step_memory"] * (min(abs(x - good) / root_age, 3 * usual + 0.1 * floor) - usual)
    if not math.isnan(rule["baseline"]):
        memory["level"] += rule["baseline"] * (x - memory["level"])
    _believe(memory, time_ms, x)
    return False


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _is_explained(rule: Record, memories: Records, time_ms: int) -> bool:
    """Whether a channel beside this one has just stepped too: one and a half intervals back at most."""
    oldest_ms = time_ms - 3 * rule["interval_ms"] // 2
    first: bool = _has_moved(rule["company_0"], rule["company_moves_0"], rule["company_scales_0"], memories, oldest_ms)
    return first or _has_moved(
        rule["company_1"], rule["company_moves_1"], rule["company_scales_1"], memories, oldest_ms
    )


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _has_moved(company: int, moves: float, scales: float, memories: Records, oldest_ms: int) -> bool:
    if company < 0 or memories[company]["good_ms"] < oldest_ms:
        return False
    if scales > 0.0 and not math.isnan(memories[company]["scale"]):  # a restless channel explains nothing by its noise
        moves = max(moves, scales * memories[company]["scale"])
    has_moved: bool = abs(memories[company]["good"] - memories[company]["before_good"]) >= moves
    return has_moved


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _believe(memory: Record, time_ms: int, x: float) -> None:
    memory["before_good"] = memory["good"]
    memory["good"] = x
    memory["good_ms"] = time_ms
    memory["rejected"] = 0


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _settle(
    rule: Record,
    memory: Record,
    is_raised: bool,  # noqa: FBT001
    is_out: bool,  # noqa: FBT001
    has_lost: bool,  # noqa: FBT001
    verdicts: Masks,
) -> None:
    each = rule["settle_each"]
    if each == 0:
        return
    if is_raised or is_out:
        memory["doubt"] = min(rule["settle_most"], memory["doubt"] + each)
    elif memory["doubt"] > 0 and not has_lost:
        memory["doubt"] -= 1
        if memory["doubt"] > 0:
            note(verdicts, _UNSETTLED, SUSPECT)


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def went_and_returned(rule: Record, memory: Record, after: float) -> bool:
    """Whether the previous reading stood alone between its neighbours; if so it is believed no longer."""
    before, x = memory["before_last"], memory["last"]
    up, down = x - before, after - x
    height = min(abs(up), abs(down))
    if not (up * down < 0 and height > rule["returned_floor"]):
        return False
    around = (before + after) / 2
    high, low = max(x, around), min(x, around)
    if abs(after - before) >= rule["returned_within"] * height or (low > 0 and high / low < rule["returned_factor"]):
        return False
    if memory["good"] == x and not math.isnan(memory["before_good"]):
        memory["good"] = memory["before_good"]
    memory["waiting"] = math.nan
    if rule["settle_each"] > 0:
        memory["doubt"] = max(memory["doubt"], rule["settle_each"])
    return True
