"""Settings and memory as arrays by sensor index: what the compiled loop reads and writes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .calendar import PERIODS
from .catalogue import NO_TIME, QcTest
from .qartod import SPIKE_AVERAGE, SPIKE_DIFFERENTIAL, STATISTIC_RANGE, STATISTIC_STD
from .settings import SensorQuality, readings_in

SENTINELS_MAX = 4  # "no value" numbers per sensor
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
I32 = NDArray[np.int32]
U32 = NDArray[np.uint32]


class Limits(NamedTuple):
    """Thresholds, one row a sensor. NaN is a threshold that is off; infinite spans never raise."""

    enabled: U32  # bits of `QcTest`
    sentinels: F64  # (sensors, SENTINELS_MAX), NaN where unused
    ranges: F64  # (sensors, 4): fail low, fail high, suspect low, suspect high
    members: F64  # (members of all sensors, 9), see qartod.climatology
    member_start: I32  # (sensors + 1,)
    spike_method: I32
    spike: F64  # (sensors, 2): suspect, fail
    rate: F64  # (sensors, 2): suspect, fail, per second
    flat_tolerance: F64
    flat_count: I64  # (sensors, 2): suspect, fail, in readings
    attenuated: F64  # (sensors, 2): suspect below, fail below
    attenuated_ms: I64
    attenuated_min: I64  # readings needed
    statistic: I32
    gap_ms: I64
    reception_ms: I64
    dates: I64  # (sensors, 2): earliest, latest epoch ms
    window_start: I64  # (sensors,) first place in the rings
    window_size: I64  # (sensors,) places in the rings; 0 when no test needs a window


class Memory(NamedTuple):
    """What is remembered of each sensor between readings."""

    seen: I64  # readings
    last_ms: I64  # time of the previous reading; NO_TIME before the first
    last: F64  # value of the previous reading, NaN when it was missing
    before_last: F64
    verdicts: U32  # (sensors, 5) tests of the previous reading that said good, suspect, fail, open, missing
    base: NDArray[np.uint8]  # the flag the previous reading came with
    emitted: NDArray[np.uint8]  # the flag last told of the previous reading
    ring_ms: I64  # rings of all sensors, see Limits.window_start
    ring: F64
    overflow: I64  # readings that fell out of a ring while still inside their window


def compile_limits(settings: Sequence[SensorQuality | None], cadence_s: Sequence[float]) -> Limits:
    """Lay settings out as arrays; `cadence_s` gives the usual step of each sensor in seconds."""
    n = len(settings)
    members: list[list[float]] = []
    limits = Limits(
        enabled=np.zeros(n, np.uint32),
        sentinels=np.full((n, SENTINELS_MAX), np.nan),
        ranges=np.tile(np.array([-np.inf, np.inf, -np.inf, np.inf]), (n, 1)),
        members=np.zeros((0, 9)),
        member_start=np.zeros(n + 1, np.int32),
        spike_method=np.zeros(n, np.int32),
        spike=np.full((n, 2), np.nan),
        rate=np.full((n, 2), np.nan),
        flat_tolerance=np.full(n, np.nan),
        flat_count=np.zeros((n, 2), np.int64),
        attenuated=np.full((n, 2), np.nan),
        attenuated_ms=np.zeros(n, np.int64),
        attenuated_min=np.zeros(n, np.int64),
        statistic=np.zeros(n, np.int32),
        gap_ms=np.zeros(n, np.int64),
        reception_ms=np.zeros(n, np.int64),
        dates=np.tile(np.array([NO_TIME, 2**63 - 1]), (n, 1)),
        window_start=np.zeros(n, np.int64),
        window_size=np.zeros(n, np.int64),
    )
    for s, quality in enumerate(settings):
        if quality is not None:
            _fill(limits, members, s, quality, float(quality.interval_s or cadence_s[s]))
        limits.member_start[s + 1] = len(members)
    limits.window_start[1:] = np.cumsum(limits.window_size)[:-1]
    return limits._replace(members=np.array(members, np.float64).reshape(-1, 9))


def _fill(limits: Limits, members: list[list[float]], s: int, quality: SensorQuality, interval_s: float) -> None:
    enabled = QcTest(0)
    window = 0
    if len(quality.missing) > SENTINELS_MAX:
        raise ValueError(f"at most {SENTINELS_MAX} numbers may mean a missing value, not {len(quality.missing)}")
    limits.sentinels[s, : len(quality.missing)] = quality.missing
    if quality.gross_range:
        enabled |= QcTest.GROSS_RANGE
        limits.ranges[s] = (*quality.gross_range.fail, *(quality.gross_range.suspect or (-np.inf, np.inf)))
    if quality.climatology:
        enabled |= QcTest.CLIMATOLOGY
        for m in quality.climatology:
            period = PERIODS[m.period] if m.period else 0
            depth, fail = m.zspan or (np.nan, np.nan), m.fspan or (-np.inf, np.inf)
            members.append([period, *m.tspan, *depth, *fail, *m.vspan])
    if quality.spike:
        enabled |= QcTest.SPIKE
        limits.spike_method[s] = SPIKE_AVERAGE if quality.spike.method == "average" else SPIKE_DIFFERENTIAL
        limits.spike[s] = quality.spike.suspect or np.nan, quality.spike.fail or np.nan
    if quality.rate_of_change:
        enabled |= QcTest.RATE_OF_CHANGE
        fail_rate = quality.rate_of_change.fail
        limits.rate[s] = quality.rate_of_change.suspect, np.nan if fail_rate is None else fail_rate
    if quality.flat_line:
        enabled |= QcTest.FLAT_LINE
        counts = [
            readings_in(t, interval_s) for t in (quality.flat_line.suspect_after_s, quality.flat_line.fail_after_s)
        ]
        limits.flat_tolerance[s] = quality.flat_line.tolerance
        limits.flat_count[s] = counts
        window = max(counts) + 1
    if quality.attenuated:
        test = quality.attenuated
        enabled |= QcTest.ATTENUATED
        limits.attenuated[s] = test.suspect_below, test.fail_below
        limits.attenuated_ms[s] = round(test.over_s * 1000)
        needed = test.min_readings
        if needed is None:
            needed = 1 if test.min_s is None else readings_in(test.min_s, interval_s)
        limits.attenuated_min[s] = needed
        limits.statistic[s] = STATISTIC_STD if test.statistic == "std" else STATISTIC_RANGE
        # Twice the places a steady sensor needs: bursts after a gap come closer together.
        window = max(window, 2 * math.ceil(test.over_s / interval_s) + 2)
    if quality.time_gap:
        enabled |= QcTest.TIME_GAP
        limits.gap_ms[s] = int(quality.time_gap.fail_after_s) * 1000
    if quality.reception:
        enabled |= QcTest.RECEPTION
        limits.reception_ms[s] = int(quality.reception.fail_after_s) * 1000
    if quality.impossible_date:
        enabled |= QcTest.DATE
        if quality.impossible_date.fail_span:
            limits.dates[s] = [int(t) for t in quality.impossible_date.fail_span]
    enabled |= _river_tests(quality)
    limits.enabled[s] = int(enabled)
    limits.window_size[s] = max(quality.window_max or window, 1) if window else 0


def _river_tests(quality: SensorQuality) -> QcTest:
    named = (
        (quality.jump, QcTest.JUMP),
        (quality.returned, QcTest.RETURNED),
        (quality.frozen, QcTest.FROZEN),
        (quality.companion, QcTest.COMPANION),
        (quality.oversaturated, QcTest.OVERSATURATED),
    )
    tests = QcTest(0)
    for section, test in named:
        if section is not None:
            tests |= test
    return tests


def blank_memory(limits: Limits) -> Memory:
    """Return the memory of sensors that have not been heard yet."""
    n = len(limits.enabled)
    places = int(limits.window_size.sum())
    return Memory(
        seen=np.zeros(n, np.int64),
        last_ms=np.full(n, NO_TIME, np.int64),
        last=np.full(n, np.nan),
        before_last=np.full(n, np.nan),
        verdicts=np.zeros((n, 5), np.uint32),
        base=np.zeros(n, np.uint8),
        emitted=np.zeros(n, np.uint8),
        ring_ms=np.full(places, NO_TIME, np.int64),
        ring=np.full(places, np.nan),
        overflow=np.zeros(n, np.int64),
    )
