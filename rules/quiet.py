"""The quiet path: a reading that changes no condition is taken where it is met, without becoming a sample.

Nearly every reading of a healthy city is one. Promise: the detectors' memory and the lanes end up bit for bit as
the long way (sample, feature, latch) would have left them; tests/rules/test_quiet_path.py compares the two. A lane
is open to it while it is at rest (no latch moves, nothing is late, blind or stale) and has no sample waiting in this
slice of work; what a detector needs besides is in its own `rests`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from numba import njit

from .detector import CALM, LOUD, MUTE, Array, Detector, Layout, Quiet
from .detectors import forecast, neighbours, rain_context, rate, stuck, sudden_change, water_class
from .kernels import BLIND

_VALUE, _STUCK, _RATE, _COMPOSITE = int(Quiet.VALUE), int(Quiet.STUCK), int(Quiet.RATE), int(Quiet.COMPOSITE)
_NEIGHBOURS, _RAIN = int(Quiet.NEIGHBOURS), int(Quiet.RAIN_CONTEXT)
_FORECAST, _SUDDEN_CHANGE = int(Quiet.FORECAST), int(Quiet.SUDDEN_CHANGE)
_WATER_CLASS, _BLACK_ODOROUS = int(Quiet.WATER_CLASS), int(Quiet.BLACK_ODOROUS)


class Memories(NamedTuple):
    """Parameters and memory of every detector that has a quiet path; the very arrays its kernel works on."""

    stuck_rules: Array
    stuck_runs: Array
    rate_rules: Array
    rate_heads: Array
    rate_rings: Array
    near_rules: Array
    near_beyond: Array
    near_heard: Array
    rain_rules: Array
    rained: Array
    class_items: Array
    class_lanes: Array
    class_seen: Array
    grade_items: Array
    grade_lanes: Array
    grade_seen: Array
    forecast_rules: Array
    forecast_counts: Array
    forecast_rings: Array
    sudden_rules: Array
    sudden_rings: Array


def memories(detectors: Sequence[Detector], layouts: Sequence[Layout]) -> Memories:
    """Find those arrays among the layouts; a detector that is not there gives empty ones."""
    found: Mapping[Quiet, Layout] = {d.quiet: layout for d, layout in zip(detectors, layouts, strict=True)}
    near = found.get(Quiet.NEIGHBOURS) or neighbours.layout([])
    near_rules, _ = near.params
    own = {
        Quiet.STUCK: stuck.layout,
        Quiet.RATE: rate.layout,
        Quiet.RAIN_CONTEXT: rain_context.layout,
        Quiet.WATER_CLASS: water_class.class_layout,
        Quiet.BLACK_ODOROUS: water_class.grade_layout,
        Quiet.FORECAST: forecast.layout,
        Quiet.SUDDEN_CHANGE: sudden_change.layout,
    }
    parts = {quiet: found.get(quiet) or blank([]) for quiet, blank in own.items()}
    arrays = {quiet: (*part.params, *part.memory) for quiet, part in parts.items()}
    ordered: tuple[Array, ...] = (
        *arrays[Quiet.STUCK],
        *arrays[Quiet.RATE],
        near_rules,
        *near.memory,
        *arrays[Quiet.RAIN_CONTEXT],
        *arrays[Quiet.WATER_CLASS],
        *arrays[Quiet.BLACK_ODOROUS],
        *arrays[Quiet.FORECAST],
        *arrays[Quiet.SUDDEN_CHANGE],
    )
    return Memories(*ordered)


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def count_alarms(lane: Any, lanes: Array, members: Array, turn: int) -> int:
    """Return how many members of a composite are in alarm; -1 when one is blind or has a sample waiting."""
    count = 0
    for k in range(lane["first_member"], lane["first_member"] + lane["members"]):
        member = lanes[members[k]]
        if member["unrest"] & BLIND or member["turn"] == turn:
            return -1
        count += member["level"] != 0
    return count


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False, inline="always")
def is_taken(
    feed: Any,
    time_ms: int,
    x: float,
    lanes: Array,
    rules: Array,
    members: Array,
    m: Memories,
    slopes: Array,
    turn: int,
) -> bool:
    """Take a live reading of good quality for one lane, if it can be taken quietly; say whether it was."""
    lane = lanes[feed["lane"]]
    if lane["unrest"] != 0 or lane["turn"] == turn:
        return False
    kind, row, slot = feed["quiet"], feed["row"], feed["slot"]
    rule = rules[feed["rule"]]
    low, high = rule["calm_low"], rule["calm_high"]
    if kind == _VALUE:
        found = CALM if low < x < high else LOUD
    elif kind == _STUCK:
        found, x = stuck.rests(time_ms, x, m.stuck_rules[feed["rule"]], m.stuck_runs[row], low, high)
    elif kind == _RATE:
        found, x = rate.rests(time_ms, x, m.rate_rules[feed["rule"]], m.rate_heads[row], m.rate_rings[row])
    elif kind == _COMPOSITE:
        count = count_alarms(lane, lanes, members, turn)
        found = CALM if count >= 0 and low < count < high else LOUD
        x = float(count)
    elif kind == _NEIGHBOURS:
        rule_row = m.near_rules[feed["rule"]]
        found, x = neighbours.rests(time_ms, x, slot, rule_row, m.near_beyond[row], m.near_heard[row])
    elif kind == _RAIN:
        found, x = rain_context.rests(time_ms, x, slot, m.rain_rules[feed["rule"]], m.rained, row, low, high)
    elif kind == _WATER_CLASS:
        found, x = water_class.rests(time_ms, x, slot, m.class_items[row], m.class_lanes[row], m.class_seen[row])
    elif kind == _BLACK_ODOROUS:
        found, x = water_class.rests(time_ms, x, slot, m.grade_items[row], m.grade_lanes[row], m.grade_seen[row])
    elif kind == _FORECAST:
        rule_row = m.forecast_rules[feed["rule"]]
        ring = m.forecast_rings[row]
        found, x = forecast.rests(time_ms, x, rule_row, m.forecast_counts, row, ring, slopes, low, high)
    elif kind == _SUDDEN_CHANGE:
        rule_row = m.sudden_rules[feed["rule"]]
        found, x = sudden_change.rests(time_ms, x, rule_row, m.sudden_rings[row], slopes, low, high)
    else:
        found = LOUD
    if found == LOUD:
        return False
    if found != MUTE:
        lane["last_ms"] = max(time_ms, lane["last_ms"])
        lane["last_x"] = x
    return True
