"""Settings and memory as one record a sensor: what the compiled loop reads and writes.

Records, because a compiled function takes one by address: passing dozens of arrays down six calls cost ten times
the tests themselves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .calendar import MS_PER_DAY, PERIODS
from .catalogue import NO_TIME, QcTest
from .qartod import SPIKE_AVERAGE, SPIKE_DIFFERENTIAL, STATISTIC_RANGE, STATISTIC_STD
from .settings import COMPANY_MAX, NO_VALUES_MAX, SensorQuality, readings_in

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Records = NDArray[Any]  # one record a sensor
Record = Any  # a row of such an array, by address

MS_PER_HOUR = 3_600_000
SHIFT_BLOCKS = 4  # the recent past of the shift test, as the extremes of so many blocks

# Thresholds. NaN switches a threshold off; infinite spans never raise.
RULES = np.dtype(
    [
        ("enabled", "u4"),  # bits of QcTest
        ("interval_ms", "i8"),
        *[(f"no_value_{k}", "f8") for k in range(NO_VALUES_MAX)],
        ("fail_low", "f8"),
        ("fail_high", "f8"),
        ("suspect_low", "f8"),
        ("suspect_high", "f8"),
        ("member_start", "i4"),  # climatology members of this sensor
        ("member_stop", "i4"),
        ("spike_method", "i4"),
        ("spike_suspect", "f8"),
        ("spike_fail", "f8"),
        ("rate_suspect", "f8"),  # per second
        ("rate_fail", "f8"),
        ("flat_tolerance", "f8"),
        ("flat_suspect", "i8"),  # readings
        ("flat_fail", "i8"),
        ("attenuated_suspect", "f8"),
        ("attenuated_fail", "f8"),
        ("attenuated_ms", "i8"),
        ("attenuated_min", "i8"),  # readings needed
        ("statistic", "i4"),
        ("gap_ms", "i8"),
        ("reception_ms", "i8"),
        ("earliest_ms", "i8"),
        ("latest_ms", "i8"),
        ("window_size", "i8"),  # places in the rings
        ("rise_floor", "f8"),  # NaN: natural direction
        ("rise_scales", "f8"),
        ("rise_factor", "f8"),
        ("fall_floor", "f8"),
        ("fall_scales", "f8"),
        ("fall_factor", "f8"),
        ("step_memory", "f8"),
        ("baseline", "f8"),  # NaN: steps are measured from the last good value alone
        ("hold", "i8"),
        *[(f"company_{k}", "i4") for k in range(COMPANY_MAX)],  # sensors whose step explains a jump, -1 none
        *[(f"company_moves_{k}", "f8") for k in range(COMPANY_MAX)],
        *[(f"company_scales_{k}", "f8") for k in range(COMPANY_MAX)],  # and by so many of its own usual steps
        ("returned_floor", "f8"),
        ("returned_factor", "f8"),
        ("returned_within", "f8"),
        ("frozen_ms", "i8"),  # 0: off
        ("ice_below", "f8"),
        ("companion", "i4"),  # index of the companion sensor, -1 none
        ("out_after_ms", "i8"),  # 0: off
        ("service_step", "f8"),
        ("oversaturated", "f8"),  # value / (saturation at 1 atm) above which oxygen is too much; NaN off
        ("oversaturated_ms", "i8"),
        ("settle_each", "i8"),  # 0: off
        ("settle_most", "i8"),
        ("is_quick", "u1"),  # whether ingest.qc.quick may answer
        ("memo_ms", "i8"),  # all instants of such a part have the same climatology; 0: ask anew
        ("alive_range", "f8"),  # two readings this far apart prove the signal alive
        ("shift_block", "i8"),  # readings in a block; 0: off
        ("shift_rise", "f8"),  # NaN: natural direction
        ("shift_fall", "f8"),
        ("shift_floor", "f8"),
    ]
)

CACHE_LINE = 64


def in_lines(fields: Sequence[tuple[Any, ...]]) -> np.dtype[Any]:
    """Return a record of these fields that is filled up to whole cache lines."""
    packed = np.dtype(list(fields), align=True)
    names = list(packed.names or ())
    inside: Any = packed.fields
    return np.dtype(
        {
            "names": names,
            "formats": [inside[name][0] for name in names],
            "offsets": [inside[name][1] for name in names],
            "itemsize": -(-packed.itemsize // CACHE_LINE) * CACHE_LINE,
        }
    )


# What is remembered of each sensor between readings: four cache lines, of which the quick way needs the first alone.
MEMORY = in_lines(
    [
        ("seen", "i8"),  # readings
        ("last_ms", "i8"),  # time of the previous reading
        ("last", "f8"),  # its value, NaN when it was missing
        ("before_last", "f8"),
        ("out_ms", "i8"),  # since when this sensor itself has been missing or out of range; NO_TIME: it is not
        ("passed", "u4"),  # tests of the previous reading, by what they said
        ("raised", "u4"),
        ("failed", "u4"),
        ("open", "u4"),
        ("absent", "u4"),
        ("base", "u1"),  # the flag the previous reading came with
        ("emitted", "u1"),  # the flag last told of the previous reading
        ("was_out", "u1"),  # the companion was out at this sensor's previous reading
        # ── second line: tests of water
        ("good", "f8"),  # last good value
        ("good_ms", "i8"),
        ("before_good", "f8"),  # the good value before that
        ("scale", "f8"),  # usual step per √interval
        ("level", "f8"),  # slow baseline
        ("same", "f8"),  # value that may be frozen
        ("same_ms", "i8"),  # since when
        ("doubt", "i8"),  # quiet readings still needed
        # ── third and fourth
        ("waiting", "f8"),  # undoubted reading that the next one may confirm as a new level
        ("taken", "i8"),  # readings in the blocks below
        ("rejected", "i8"),  # readings rejected in a row
        ("over_ms", "i8"),  # since when oversaturated; NO_TIME: not
        ("overflow", "i8"),  # readings that left a full ring while still inside their window
        ("lowest", "f8", (SHIFT_BLOCKS,)),
        ("highest", "f8", (SHIFT_BLOCKS,)),
    ]
)

PLACE = np.dtype([("time_ms", "i8"), ("value", "f8")])
"""One place of a window: time and value side by side, so that a reading writes one cache line."""


def rows_of(count: int, dtype: np.dtype[Any]) -> Records:
    """Return `count` zeroed records of which the first begins a cache line."""
    room = np.zeros(count * dtype.itemsize + CACHE_LINE, np.uint8)
    begin = -room.ctypes.data % CACHE_LINE
    return room[begin : begin + count * dtype.itemsize].view(dtype)


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Which sensors stand beside one at its site, as indices: its companion (-1 none) and who may explain its jumps."""

    companion: int = -1
    company: tuple[int, ...] = ()


ALONE = Neighbours()


@dataclass(frozen=True, slots=True)
class Compiled:
    """Rules as records, each once however many sensors share it, and the climatology members of all of them.

    rule_of: row of `rules` by sensor · first_place: of its window in the rings, by sensor · members: shape
    (members, 9), see qartod.climatology.
    """

    rules: Records
    rule_of: NDArray[np.int32]
    first_place: I64
    members: F64


def compile_rules(
    settings: Sequence[SensorQuality | None], interval_s: Sequence[float], neighbours: Sequence[Neighbours]
) -> Compiled:
    """Lay settings out as records; `interval_s` gives the usual step of each sensor in seconds."""
    rows: dict[tuple[int, float, Neighbours], int] = {}
    keys = [(id(q), float(i), n) for q, i, n in zip(settings, interval_s, neighbours, strict=True)]
    rule_of = np.array([rows.setdefault(key, len(rows)) for key in keys], np.int32)
    quality_of = {id(quality): quality for quality in settings}
    rules = np.zeros(len(rows), RULES)
    for name in RULES.names or ():
        if RULES[name].kind == "f":
            rules[name] = np.nan
    rules["ice_below"] = -np.inf
    for k in range(COMPANY_MAX):
        rules[f"company_{k}"] = -1
    members: list[list[float]] = []
    for (which, step_s, beside), row in rows.items():
        rule, quality = rules[row], quality_of[which]
        rule["interval_ms"] = max(1, round(step_s * 1000))
        rule["companion"] = beside.companion
        rule["member_start"] = len(members)
        if quality is not None:
            _fill_values(rule, quality, members)
            _fill_windows(rule, quality, step_s)
            _fill_times(rule, quality)
            _fill_river(rule, quality, beside)
            _fill_quick(rule, quality)
            rule["enabled"] = int(tests_of(quality))
        rule["member_stop"] = len(members)
    sizes = rules["window_size"][rule_of]
    return Compiled(rules, rule_of, np.cumsum(sizes) - sizes, np.array(members, np.float64).reshape(-1, 9))


def _fill_quick(rule: Record, quality: SensorQuality) -> None:
    """Note what ingest.qc.quick needs to know: whether it may answer, and from what on it is certain."""
    seasons = {m.period for m in quality.climatology}
    if None in seasons or seasons & {"minute", "second", "microsecond"}:
        rule["memo_ms"] = 0
    else:
        rule["memo_ms"] = MS_PER_HOUR if "hour" in seasons else MS_PER_DAY
    rule["is_quick"] = all(m.zspan is None for m in quality.climatology)
    if test := quality.attenuated:
        least = max(test.suspect_below, test.fail_below)
        # The margin is a million times the rounding of the long way's own sums.
        margin = 1 + 1e-6
        rule["alive_range"] = (
            least if test.statistic == "range" else least * margin * math.sqrt(2 * rule["window_size"])
        )


def tests_of(quality: SensorQuality) -> QcTest:
    """Return the tests that are switched on."""
    tests = QcTest(0)
    for test in QcTest:
        tests |= test if getattr(quality, str(test.name).lower(), None) else QcTest(0)
    return tests


def _fill_values(rule: Record, quality: SensorQuality, members: list[list[float]]) -> None:
    for k, number in enumerate(quality.missing):
        rule[f"no_value_{k}"] = number
    if spans := quality.gross_range:
        rule["fail_low"], rule["fail_high"] = spans.fail
        rule["suspect_low"], rule["suspect_high"] = spans.suspect or (-np.inf, np.inf)
    for m in quality.climatology:
        depth, fail = m.zspan or (np.nan, np.nan), m.fspan or (-np.inf, np.inf)
        members.append([PERIODS[m.period] if m.period else 0, *m.tspan, *depth, *fail, *m.vspan])
    if spike := quality.spike:
        rule["spike_method"] = SPIKE_AVERAGE if spike.method == "average" else SPIKE_DIFFERENTIAL
        rule["spike_suspect"], rule["spike_fail"] = spike.suspect or np.nan, spike.fail or np.nan
    if rate := quality.rate_of_change:
        rule["rate_suspect"], rule["rate_fail"] = rate.suspect, np.nan if rate.fail is None else rate.fail


def _fill_windows(rule: Record, quality: SensorQuality, interval_s: float) -> None:
    window = 0
    if flat := quality.flat_line:
        counts = readings_in(flat.suspect_after_s, interval_s), readings_in(flat.fail_after_s, interval_s)
        rule["flat_tolerance"] = flat.tolerance
        rule["flat_suspect"], rule["flat_fail"] = counts
        window = max(counts) + 1
    if test := quality.attenuated:
        rule["attenuated_suspect"], rule["attenuated_fail"] = test.suspect_below, test.fail_below
        rule["attenuated_ms"] = round(test.over_s * 1000)
        needed = test.min_readings
        if needed is None:
            needed = 1 if test.min_s is None else readings_in(test.min_s, interval_s)
        rule["attenuated_min"] = needed
        rule["statistic"] = STATISTIC_STD if test.statistic == "std" else STATISTIC_RANGE
        # Twice the places a steady sensor needs: bursts after a gap come closer together.
        window = max(window, 2 * math.ceil(test.over_s / interval_s) + 2)
    rule["window_size"] = max(quality.window_max or window, 1) if window else 0


def _fill_times(rule: Record, quality: SensorQuality) -> None:
    if quality.time_gap:
        rule["gap_ms"] = int(quality.time_gap.fail_after_s) * 1000
    if quality.reception:
        rule["reception_ms"] = int(quality.reception.fail_after_s) * 1000
    rule["earliest_ms"], rule["latest_ms"] = NO_TIME, 2**63 - 1
    if quality.impossible_date and quality.impossible_date.fail_span:
        rule["earliest_ms"], rule["latest_ms"] = (int(t) for t in quality.impossible_date.fail_span)


def _fill_river(rule: Record, quality: SensorQuality, beside: Neighbours) -> None:
    if jump := quality.jump:
        for word, step in (("rise", jump.rise), ("fall", jump.fall)):
            if step is not None:
                rule[f"{word}_floor"], rule[f"{word}_scales"] = step.floor, step.scales
                rule[f"{word}_factor"] = step.factor
        rule["step_memory"], rule["hold"] = jump.memory, jump.hold
        rule["baseline"] = np.nan if jump.baseline is None else jump.baseline
        for k, (company, index) in enumerate(zip(jump.natural_with, beside.company, strict=True)):
            rule[f"company_{k}"], rule[f"company_moves_{k}"] = index, company.moves
            rule[f"company_scales_{k}"] = company.scales
    if returned := quality.returned:
        rule["returned_floor"], rule["returned_factor"] = returned.floor, returned.factor
        rule["returned_within"] = returned.within
    if frozen := quality.frozen:
        rule["frozen_ms"] = round(frozen.after_s * 1000)
        rule["ice_below"] = -np.inf if frozen.except_below is None else frozen.except_below
    if companion := quality.companion:
        rule["out_after_ms"] = round((companion.out_after_s or 0) * 1000)
        rule["service_step"] = companion.service_step or np.nan
    if oxygen := quality.oversaturated:
        # Standard atmosphere: pressure relative to sea level.
        rule["oversaturated"] = oxygen.above * (1 - 2.25577e-5 * oxygen.altitude_m) ** 5.25588
        rule["oversaturated_ms"] = round(oxygen.for_s * 1000)
    if quality.settling:
        rule["settle_each"], rule["settle_most"] = quality.settling.each, quality.settling.most
    if shifted := quality.shifted:
        rule["shift_block"] = max(1, shifted.readings // SHIFT_BLOCKS)
        rule["shift_rise"], rule["shift_fall"] = shifted.rise or np.nan, shifted.fall or np.nan
        rule["shift_floor"] = shifted.floor


def blank_memory(compiled: Compiled) -> Records:
    """Return the memory of sensors that have not been heard yet; the usual step starts at floor / scales."""
    rules = compiled.rules
    memory = rows_of(len(compiled.rule_of), MEMORY)
    for name in ("last", "before_last", "good", "before_good", "level", "same", "waiting"):
        memory[name] = np.nan
    for name in ("last_ms", "good_ms", "same_ms", "out_ms", "over_ms"):
        memory[name] = NO_TIME
    rises, falls = rules["rise_floor"] / rules["rise_scales"], rules["fall_floor"] / rules["fall_scales"]
    memory["scale"] = np.where(np.isnan(rules["fall_floor"]), rises, falls)[compiled.rule_of]
    return memory


def blank_rings(compiled: Compiled) -> tuple[I64, F64]:
    """Return the empty windows of all sensors: times and values, two views of the same memory (PLACE).

    They stay zeros, of which the system gives the memory when a window is first written to: no test looks at a place
    that holds no reading, and filling those of a million sensors took ten seconds.
    """
    places = rows_of(int(compiled.rules["window_size"][compiled.rule_of].sum()), PLACE)
    return places["time_ms"], places["value"]
