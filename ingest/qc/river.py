"""Quality control of water beyond QARTOD: what a technician would strike out, told from physics and company.

Jump from the last good value against the channel's own usual step, natural directions, one reading away and
back, frozen values, the companion that compensates a channel, steps across a service visit, oxygen above
saturation day and night, and mistrust that lasts until the channel has been quiet for a while. Causal: only
`returned` speaks of the previous reading. Measured on Logan River and Sandy Creek (docs/reference/quality-control.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .catalogue import NO_TIME, SUSPECT, QcTest
from .settings import COMPANY_MAX, SensorQuality
from .verdicts import note

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

_JUMP = int(QcTest.JUMP)
_RETURNED = int(QcTest.RETURNED)
_NEW_LEVEL = int(QcTest.NEW_LEVEL)
_FROZEN = int(QcTest.FROZEN)
_COMPANION = int(QcTest.COMPANION)
_SERVICE = int(QcTest.SERVICE)
_OVERSATURATED = int(QcTest.OVERSATURATED)
_UNSETTLED = int(QcTest.UNSETTLED)

AGE_MAX = 16.0  # intervals; a limit that grew for ever would believe anything after a long silence


class RiverLimits(NamedTuple):
    """Thresholds, one row a sensor; NaN is off."""

    interval_ms: I64
    rise: F64  # (sensors, 3): floor, scales, factor
    fall: F64
    memory: F64
    baseline: F64  # NaN: steps are measured from the last good value alone
    hold: I64
    company: NDArray[np.int32]  # (sensors, COMPANY_MAX) sensors whose step explains a jump, -1 none
    company_moves: F64
    returned: F64  # (sensors, 3): floor, factor, within
    frozen_ms: I64  # 0: off
    ice_below: F64
    companion: NDArray[np.int32]  # index of the companion sensor, -1 none
    out_after_ms: I64  # 0: off
    service_step: F64
    oversaturated: F64  # value / (saturation at 1 atm) above which oxygen is too much; NaN off
    oversaturated_ms: I64
    settle_each: I64
    settle_most: I64


class RiverMemory(NamedTuple):
    """What is remembered of each sensor between readings."""

    good: F64  # last good value
    good_ms: I64
    before_good: F64  # the good value before that, for spikes recognised one reading late
    scale: F64  # usual step per √interval
    level: F64  # slow baseline
    rejected: I64  # readings rejected in a row
    same: F64  # value that may be frozen
    same_ms: I64  # since when
    out_ms: I64  # since when this sensor itself has been out (missing or out of range); NO_TIME: it is not
    was_out: NDArray[np.bool_]  # the companion was out at this sensor's previous reading
    over_ms: I64  # since when oversaturated; NO_TIME: not
    doubt: I64  # quiet readings still needed


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Which sensors stand beside one at its site, as indices: its companion (-1 none) and who may explain its jumps."""

    companion: int = -1
    company: tuple[int, ...] = ()


ALONE = Neighbours()


def compile_river(
    settings: Sequence[SensorQuality | None], interval_s: Sequence[float], neighbours: Sequence[Neighbours]
) -> RiverLimits:
    """Lay the river tests out as arrays by sensor index."""
    n = len(settings)
    limits = RiverLimits(
        interval_ms=np.array([max(1, round(s * 1000)) for s in interval_s], np.int64),
        rise=np.full((n, 3), np.nan),
        fall=np.full((n, 3), np.nan),
        memory=np.zeros(n),
        baseline=np.full(n, np.nan),
        hold=np.zeros(n, np.int64),
        company=np.full((n, COMPANY_MAX), -1, np.int32),
        company_moves=np.full((n, COMPANY_MAX), np.inf),
        returned=np.full((n, 3), np.nan),
        frozen_ms=np.zeros(n, np.int64),
        ice_below=np.full(n, -np.inf),
        companion=np.array([beside.companion for beside in neighbours], np.int32).reshape(n),
        out_after_ms=np.zeros(n, np.int64),
        service_step=np.full(n, np.nan),
        oversaturated=np.full(n, np.nan),
        oversaturated_ms=np.zeros(n, np.int64),
        settle_each=np.zeros(n, np.int64),
        settle_most=np.zeros(n, np.int64),
    )
    for s, quality in enumerate(settings):
        if quality is not None:
            _fill(limits, s, quality, neighbours[s])
    return limits


def _fill(limits: RiverLimits, s: int, quality: SensorQuality, beside: Neighbours) -> None:
    if jump := quality.jump:
        for direction, row in ((jump.rise, limits.rise), (jump.fall, limits.fall)):
            if direction is not None:
                row[s] = direction.floor, direction.scales, direction.factor
        limits.memory[s] = jump.memory
        limits.baseline[s] = np.nan if jump.baseline is None else jump.baseline
        limits.hold[s] = jump.hold
        for k, (company, index) in enumerate(zip(jump.natural_with, beside.company, strict=True)):
            limits.company[s, k] = index
            limits.company_moves[s, k] = company.moves
    if quality.returned:
        limits.returned[s] = quality.returned.floor, quality.returned.factor, quality.returned.within
    if quality.frozen:
        limits.frozen_ms[s] = round(quality.frozen.after_s * 1000)
        if quality.frozen.except_below is not None:
            limits.ice_below[s] = quality.frozen.except_below
    if companion := quality.companion:
        limits.out_after_ms[s] = round((companion.out_after_s or 0) * 1000)
        limits.service_step[s] = companion.service_step or np.nan
    if oxygen := quality.oversaturated:
        # Standard atmosphere: pressure relative to sea level.
        limits.oversaturated[s] = oxygen.above * (1 - 2.25577e-5 * oxygen.altitude_m) ** 5.25588
        limits.oversaturated_ms[s] = round(oxygen.for_s * 1000)
    if quality.settling:
        limits.settle_each[s] = quality.settling.each
        limits.settle_most[s] = quality.settling.most


def blank_river(limits: RiverLimits) -> RiverMemory:
    """Return the memory of sensors that have not been heard yet; the usual step starts at floor / scales."""
    n = len(limits.interval_ms)
    start = np.where(
        np.isnan(limits.fall[:, 0]), limits.rise[:, 0] / limits.rise[:, 1], limits.fall[:, 0] / limits.fall[:, 1]
    )
    return RiverMemory(
        good=np.full(n, np.nan),
        good_ms=np.full(n, NO_TIME, np.int64),
        before_good=np.full(n, np.nan),
        scale=start,
        level=np.full(n, np.nan),
        rejected=np.zeros(n, np.int64),
        same=np.full(n, np.nan),
        same_ms=np.full(n, NO_TIME, np.int64),
        out_ms=np.full(n, NO_TIME, np.int64),
        was_out=np.zeros(n, np.bool_),
        over_ms=np.full(n, NO_TIME, np.int64),
        doubt=np.zeros(n, np.int64),
    )


@njit(cache=True, nogil=True)
def oxygen_saturation(celsius: float) -> float:
    """Return the solubility of oxygen in fresh water at 1 atm, mg/L (Benson and Krause 1980, USGS TM 2011.03)."""
    k = celsius + 273.15
    return math.exp(-139.34411 + 1.575701e5 / k - 6.642308e7 / k**2 + 1.243800e10 / k**3 - 8.621949e11 / k**4)


@njit(cache=True, nogil=True)
def judge_river(
    s: int,
    time_ms: int,
    x: float,
    is_out: bool,  # noqa: FBT001 - compiled functions take no keywords
    limits: RiverLimits,
    memory: RiverMemory,
    verdicts: NDArray[np.uint32],
) -> None:
    """Judge one live reading. `is_out`: it is missing or failed its gross range, so there is no value to judge."""
    if not is_out:
        memory.out_ms[s] = NO_TIME
    elif memory.out_ms[s] == NO_TIME:
        memory.out_ms[s] = time_ms
    companion = limits.companion[s]
    companion_out_ms = memory.out_ms[companion] if companion >= 0 else NO_TIME
    has_lost = companion_out_ms != NO_TIME
    is_raised = is_out
    if _is_frozen(s, time_ms, x, limits, memory) and not is_out:
        note(verdicts, _FROZEN, SUSPECT)
        is_raised = True
    elif has_lost and not is_out and 0 < limits.out_after_ms[s] <= time_ms - companion_out_ms:
        note(verdicts, _COMPANION, SUSPECT)
        is_raised = True
    if not is_raised:
        if companion >= 0 and not has_lost and _is_oversaturated(s, time_ms, x, memory.good[companion], limits, memory):
            note(verdicts, _OVERSATURATED, SUSPECT)
        # A logger repeats the last value while the instrument is out: held, not measured, nothing to learn.
        if not (has_lost and x == memory.good[s]):
            is_raised = _jumps(s, time_ms, x, limits, memory, verdicts)
    memory.was_out[s] = has_lost
    _settle(s, is_raised, is_out, has_lost, limits, memory, verdicts)


@njit(cache=True, nogil=True)
def _is_frozen(s: int, time_ms: int, x: float, limits: RiverLimits, memory: RiverMemory) -> bool:
    if x != memory.same[s]:
        memory.same[s] = x
        memory.same_ms[s] = time_ms
        return False
    is_frozen: bool = 0 < limits.frozen_ms[s] <= time_ms - memory.same_ms[s] and x >= limits.ice_below[s]
    return is_frozen


@njit(cache=True, nogil=True)
def _is_oversaturated(s: int, time_ms: int, x: float, celsius: float, limits: RiverLimits, memory: RiverMemory) -> bool:
    if math.isnan(limits.oversaturated[s]) or math.isnan(celsius):
        return False
    if x < limits.oversaturated[s] * oxygen_saturation(celsius):
        memory.over_ms[s] = NO_TIME
        return False
    if memory.over_ms[s] == NO_TIME:
        memory.over_ms[s] = time_ms
    is_over: bool = time_ms - memory.over_ms[s] >= limits.oversaturated_ms[s]
    return is_over


@njit(cache=True, nogil=True)
def _jumps(
    s: int, time_ms: int, x: float, limits: RiverLimits, memory: RiverMemory, verdicts: NDArray[np.uint32]
) -> bool:
    good = memory.good[s]
    if math.isnan(good):
        _believe(s, time_ms, x, memory)
        memory.level[s] = x
        return False
    if memory.was_out[s] and abs(x - good) > limits.service_step[s]:
        note(verdicts, _SERVICE, SUSPECT)
        _believe(s, time_ms, x, memory)
        return True
    root_age = math.sqrt(min(max((time_ms - memory.good_ms[s]) / limits.interval_ms[s], 1.0), AGE_MAX))
    level = good if math.isnan(limits.baseline[s]) else memory.level[s]
    if x > good:
        limit, start = limits.rise[s], max(good, level)
        step, ratio = x - start, x / start if start > 0 else math.inf
    else:
        limit, start = limits.fall[s], min(good, level)
        step, ratio = start - x, start / x if x > 0 else math.inf
    if (
        step > max(limit[0], limit[1] * memory.scale[s]) * root_age
        and ratio >= limit[2]
        and not _is_explained(s, time_ms, limits, memory)
    ):
        memory.rejected[s] += 1
        note(verdicts, _JUMP, SUSPECT)
        if memory.rejected[s] > limits.hold[s]:
            note(verdicts, _NEW_LEVEL, SUSPECT)
            _believe(s, time_ms, x, memory)
        return True
    floor = limits.rise[s, 0] if math.isnan(limits.fall[s, 0]) else limits.fall[s, 0]
    if not math.isnan(floor):
        usual = memory.scale[s]
        # A step counts at most three times the usual one, so that a storm teaches slowly.
        memory.scale[s] += limits.memory[s] * (min(abs(x - good) / root_age, 3 * usual + 0.1 * floor) - usual)
    if not math.isnan(limits.baseline[s]):
        memory.level[s] += limits.baseline[s] * (x - memory.level[s])
    _believe(s, time_ms, x, memory)
    return False


@njit(cache=True, nogil=True)
def _is_explained(s: int, time_ms: int, limits: RiverLimits, memory: RiverMemory) -> bool:
    """Whether a channel beside this one has just stepped too: one and a half intervals back at most."""
    for k in range(limits.company.shape[1]):
        c = limits.company[s, k]
        if c < 0 or 2 * (time_ms - memory.good_ms[c]) > 3 * limits.interval_ms[s]:
            continue
        if abs(memory.good[c] - memory.before_good[c]) >= limits.company_moves[s, k]:
            return True
    return False


@njit(cache=True, nogil=True)
def _believe(s: int, time_ms: int, x: float, memory: RiverMemory) -> None:
    memory.before_good[s] = memory.good[s]
    memory.good[s] = x
    memory.good_ms[s] = time_ms
    memory.rejected[s] = 0


@njit(cache=True, nogil=True)
def _settle(
    s: int,
    is_raised: bool,  # noqa: FBT001
    is_out: bool,  # noqa: FBT001
    has_lost: bool,  # noqa: FBT001
    limits: RiverLimits,
    memory: RiverMemory,
    verdicts: NDArray[np.uint32],
) -> None:
    each = limits.settle_each[s]
    if each == 0:
        return
    if is_out:
        memory.doubt[s] = max(memory.doubt[s], each)
    elif is_raised:
        memory.doubt[s] = min(limits.settle_most[s], memory.doubt[s] + each)
    elif memory.doubt[s] > 0 and not has_lost:
        memory.doubt[s] -= 1
        if memory.doubt[s] > 0:
            note(verdicts, _UNSETTLED, SUSPECT)


@njit(cache=True, nogil=True)
def went_and_returned(s: int, before: float, x: float, after: float, limits: RiverLimits, memory: RiverMemory) -> bool:
    """Whether the previous reading `x` stood alone between its neighbours; if so it is believed no longer."""
    floor, factor, within = limits.returned[s]
    up, down = x - before, after - x
    height = min(abs(up), abs(down))
    if not (up * down < 0 and height > floor and abs(after - before) < within * height):
        return False
    around = (before + after) / 2
    high, low = max(x, around), min(x, around)
    if low > 0 and high / low < factor:
        return False
    if memory.good[s] == x and not math.isnan(memory.before_good[s]):
        memory.good[s] = memory.before_good[s]
    if limits.settle_each[s] > 0:
        memory.doubt[s] = max(memory.doubt[s], limits.settle_each[s])
    return True
