"""The engine's state as plain arrays, and back: matched by rule, scope and limit, so that a reload keeps what it can.

What happens to a latch when its rule changed between save and load:
- same level, side, value and deadband (delays may differ): kept as it was, its timers go on;
- same level and side, but another value or deadband: an alarm stays an alarm until a sample is good by the new
  limit; a breach that was still waiting starts again;
- no such limit any more: it ends, and the report says so. Nothing ends silently.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from citypulse.model import Priority, Rule, Sensor

from . import kernels, watchdogs
from . import latch as latching
from .compile import Plan
from .why import Traces

Array = NDArray[Any]

VERSION = 1

_LANE_COLUMNS = ("last_ms", "last_x", "late_ms", "level", "late_level", "unrest")
_LATCH_COLUMNS = ("since_ms", "good_ms", "late_ms", "state")


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreReport:
    """What a restore could not keep.

    closed: (rule, scope) that were in alarm and do not exist any more: their alarms end, by deletion of the rule ·
    changed: (rule, scope, level now or None) whose level changed with the rules · kept, fresh: lanes.
    """

    closed: tuple[tuple[str, str], ...]
    changed: tuple[tuple[str, str, Priority | None], ...]
    kept: int
    fresh: int


def _columns(array: Array) -> dict[str, Array]:
    """Split a structured array into plain ones; a plain array is its own only column."""
    names = array.dtype.names
    return {"": array.copy()} if names is None else {name: array[name].copy() for name in names}


def _numbered(words: list[str]) -> tuple[list[str], NDArray[np.int32]]:
    """Return the distinct words and, for each word, its number among them."""
    number: dict[str, int] = {}
    numbers = [number.setdefault(word, len(number)) for word in words]
    return list(number), np.array(numbers, np.int32)


def _memory_key(rule: Rule, several: tuple[Sensor, ...]) -> str:
    """What a lane's detector memory depends on: kept only while this stays the same."""
    return f"{rule.detector} {rule.settings.model_dump_json()} {','.join(s.id for s in several)}"


def _limit_key(plan: Plan, row: int) -> str:
    limit = plan.limits[row]
    return f"{limit['level']} {limit['side']} {limit['value']!r} {limit['deadband']!r}"


def layout_keys(plan: Plan) -> dict[str, Any]:
    """Name every lane, its memory and its latches, so that they can be found again."""
    specs = plan.specs
    rules, rule_number = _numbered([rule.id for rule in specs.rules])
    scopes, scope_number = _numbered([scope for rule in specs.rules for scope in rule.scopes])
    sizes = np.array([len(rule.scopes) for rule in specs.rules], np.int64)
    lane_scope = scope_number[(np.cumsum(sizes) - sizes)[specs.rule_row] + specs.scope]
    # A lane of one input remembers what its rule makes it; of several, also whom it looks at.
    several = np.flatnonzero(specs.n_inputs > 1)
    words = [_memory_key(rule, ()) for rule in specs.rules]
    words.extend(_memory_key(spec.rule, spec.sensors) for spec in specs.take(several))
    memories, word_number = _numbered(words)
    lane_memory = word_number[specs.rule_row]
    lane_memory[several] = word_number[len(specs.rules) :]
    limit_words = [_limit_key(plan, row) for row in range(len(plan.limits))]
    limits, rule_limit = _numbered(limit_words)
    rule_of_lane = plan.rules[plan.lanes["rule"]]
    counts = rule_of_lane["limits"].astype(np.int64)
    starts = np.cumsum(counts) - counts
    latch_row = np.arange(int(counts.sum())) - np.repeat(starts - rule_of_lane["first_limit"], counts)
    return {
        "rules": rules,
        "scopes": scopes,
        "memories": memories,
        "limits": limits,
        "lane_rule": rule_number[specs.rule_row],
        "lane_scope": lane_scope,
        "lane_memory": lane_memory,
        "lane_latches": counts,
        "latch_limit": rule_limit[latch_row].astype(np.int32),
        "lane_detector": [plan.detectors[d].name for d in range(len(plan.detectors))],
        "detector": plan.lane_detector.copy(),
    }


def save(plan: Plan, keys: Mapping[str, Any], traces: Traces) -> dict[str, Any]:
    """Copy the live state. `keys` is what `layout_keys` said of this plan (it never changes)."""
    used = np.flatnonzero(plan.lanes["trace"] >= 0)
    rows = plan.lanes["trace"][used]
    return {
        "version": VERSION,
        "keys": dict(keys),
        "lanes": {name: plan.lanes[name].copy() for name in _LANE_COLUMNS},
        "latches": {name: plan.latches[name].copy() for name in _LATCH_COLUMNS},
        "memory": {
            detector.name: [_columns(array) for array in layout.memory]
            for detector, layout in zip(plan.detectors, plan.layouts, strict=True)
            if layout.memory
        },
        "row": plan.lane_row.copy(),
        "guards": {name: plan.guards[name].copy() for name in ("lane", "base_ms", "state")},
        "sensors_heard_ms": plan.watched["heard_ms"].copy(),
        "gateways": list(plan.gateway_number),
        "gates": {name: plan.gates[name].copy() for name in ("heard_ms", "offline_ms")},
        "traces": {"lane": used, "counts": traces.counts[rows], **_columns(traces.kept(rows))},
    }


def load(plan: Plan, keys: Mapping[str, Any], traces: Traces, state: Mapping[str, Any]) -> RestoreReport:
    """Take over a saved state into a freshly compiled plan."""
    old = state["keys"]
    lane_names = list(zip(np.asarray(old["lane_rule"]).tolist(), np.asarray(old["lane_scope"]).tolist(), strict=True))
    names = [(old["rules"][r], old["scopes"][s]) for r, s in lane_names]
    detector_names = [old["lane_detector"][d] for d in np.asarray(old["detector"]).tolist()]
    new_of = np.full(len(names), -1, np.int64)
    for k, (name, detector) in enumerate(zip(names, detector_names, strict=True)):
        lane = plan.lane_of.get(name, -1)
        if lane >= 0 and plan.specs.rules[plan.specs.rule_row[lane]].detector == detector:
            new_of[k] = lane
    kept = np.flatnonzero(new_of >= 0)
    into = new_of[kept]

    old_level = np.asarray(state["lanes"]["level"])
    for column in _LANE_COLUMNS:
        plan.lanes[column][into] = np.asarray(state["lanes"][column])[kept]
    _load_latches(plan, keys, state, kept, into)
    _load_memory(plan, keys, state, kept, into)
    _load_watchdogs(plan, state, new_of)
    _load_traces(plan, traces, state["traces"], new_of)

    moved = np.flatnonzero(plan.lanes["level"][into] != old_level[kept])
    levels = {k: int(plan.lanes["level"][into[k]]) for k in moved.tolist()}
    return RestoreReport(
        closed=tuple(names[k] for k in np.flatnonzero((new_of < 0) & (old_level != 0)).tolist()),
        changed=tuple((*names[kept[k]], Priority(level) if level else None) for k, level in levels.items()),
        kept=len(kept),
        fresh=len(plan.specs) - len(kept),
    )


def _load_latches(plan: Plan, keys: Mapping[str, Any], state: Mapping[str, Any], kept: Array, into: Array) -> None:
    """Give every latch the state it had, by its limit, and recompute the levels."""
    old, saved = state["keys"], {name: np.asarray(state["latches"][name]) for name in _LATCH_COLUMNS}
    old_counts = np.asarray(old["lane_latches"])
    old_first = np.cumsum(old_counts) - old_counts
    same_words = list(old["limits"]) == list(keys["limits"])
    old_limit, new_limit = np.asarray(old["latch_limit"]), keys["latch_limit"]
    same_latches = np.array_equal(old_counts, keys["lane_latches"]) and np.array_equal(old_limit, new_limit)
    if same_words and same_latches and len(kept) == len(old_counts) and np.array_equal(kept, into):
        for name in _LATCH_COLUMNS:
            plan.latches[name][:] = saved[name]
        return
    for k, lane in zip(kept.tolist(), into.tolist(), strict=True):
        first, rule = int(plan.lanes["first_latch"][lane]), plan.rules[plan.lanes["rule"][lane]]
        before = list(range(old_first[k], old_first[k] + old_counts[k]))
        was = {j: old["limits"][old_limit[j]] for j in before}
        level, latched = 0, 0
        for j in range(first, first + int(rule["limits"])):
            latch, word = plan.latches[j], keys["limits"][new_limit[j]]
            kind = word.split()[:2]  # level and side
            source = next((o for o in before if was[o] == word), None)
            if source is not None:
                for name in _LATCH_COLUMNS:
                    latch[name] = saved[name][source]
            else:
                source = next((o for o in before if was[o].split()[:2] == kind), None)
                if source is not None and saved["state"][source] >= latching.ACTIVE:
                    latch["state"] = latching.ACTIVE
                    latch["since_ms"] = saved["since_ms"][source]
            if source is not None:
                before.remove(source)
            if latch["state"] != latching.NORMAL:
                latched = kernels.LATCHED
            this = int(plan.limits[int(rule["first_limit"]) + j - first]["level"])
            if latch["state"] >= latching.ACTIVE and (level == 0 or this < level):
                level = this
        row = plan.lanes[lane]
        row["level"] = level
        row["unrest"] = (row["unrest"] & kernels.NOT_LATCHED) | latched
        if level == 0:
            row["unrest"] &= kernels.LATCHED | kernels.LATE_RUN | kernels.BLIND


def _load_memory(plan: Plan, keys: Mapping[str, Any], state: Mapping[str, Any], kept: Array, into: Array) -> None:
    """Copy what detectors remember of lanes whose settings and inputs have not changed."""
    old = state["keys"]
    number = {word: k for k, word in enumerate(keys["memories"])}
    old_memory = np.array([number.get(word, -1) for word in old["memories"]], np.int64)[np.asarray(old["lane_memory"])]
    same = old_memory[kept] == keys["lane_memory"][into]
    kept, into = kept[same], into[same]
    old_row = np.asarray(state["row"])
    for d, (detector, layout) in enumerate(zip(plan.detectors, plan.layouts, strict=True)):
        mine = plan.lane_detector[into] == d
        if not layout.memory or not mine.any():
            continue
        source, target = old_row[kept[mine]], plan.lane_row[into[mine]]
        for array, saved in zip(layout.memory, state["memory"][detector.name], strict=True):
            for name, column in saved.items():
                column = np.asarray(column)  # noqa: PLW2901 - a journal may hand back read-only buffers
                own = array[name] if name else array
                if own.ndim == 1:
                    own[target] = column[source]
                else:  # rows are as wide as the widest lane needs; what this lane uses is at the front
                    width = min(own.shape[1], column.shape[1])
                    own[target, :width] = column[source, :width]


def _load_watchdogs(plan: Plan, state: Mapping[str, Any], new_of: Array) -> None:
    """Copy who was heard when; what follows from it (troubled, raised) is recomputed."""
    guard_of = {int(lane): g for g, lane in enumerate(plan.guards["lane"])}
    saved = state["guards"]
    for k, lane in enumerate(new_of[np.asarray(saved["lane"], np.int64)].tolist()):
        if lane >= 0:
            guard = plan.guards[guard_of[lane]]
            guard["base_ms"] = saved["base_ms"][k]
            is_raised = saved["state"][k] == watchdogs.RAISED
            guard["state"] = watchdogs.ARMED if is_raised and plan.lanes["level"][lane] == 0 else saved["state"][k]
    heard = np.asarray(state["sensors_heard_ms"])
    count = min(len(heard), len(plan.watched))  # an index is given once and for ever: a longer table only adds
    plan.watched["heard_ms"][:count] = heard[:count]
    for k, gateway in enumerate(state["gateways"]):
        number = plan.gateway_number.get(gateway)
        if number is not None:
            plan.gates[number]["heard_ms"] = state["gates"]["heard_ms"][k]
            plan.gates[number]["offline_ms"] = state["gates"]["offline_ms"][k]
    for guard in plan.guards:
        if guard["state"] == watchdogs.ARMED:
            continue
        if guard["is_gateway"]:
            plan.gates[guard["subject"]]["raised"] += 1
            plan.gates[guard["subject"]]["is_troubled"] = 1
        else:
            sensor = plan.watched[guard["subject"]]
            sensor["is_troubled"] = 1
            if guard["state"] == watchdogs.WAITING and sensor["gateway"] >= 0:
                plan.gates[sensor["gateway"]]["is_troubled"] = 1


def _load_traces(plan: Plan, traces: Traces, saved: Mapping[str, Any], new_of: Array) -> None:
    """Copy the last samples of lanes that are still not at rest."""
    plan.lanes["trace"] = -1
    row = 0
    rows = len(traces.counts)
    for k, lane in enumerate(new_of[np.asarray(saved["lane"], np.int64)].tolist()):
        if lane < 0 or not plan.lanes["unrest"][lane] & kernels.LATCHED or row == rows:
            continue
        plan.lanes["trace"][lane] = row
        traces.counts[row] = saved["counts"][k]
        for name in kernels.TRACE.names or ():
            traces.points[name][row] = saved[name][k]
        row += 1
    traces.free[0] = rows - row
    traces.free[1 : rows - row + 1] = np.arange(rows - 1, row - 1, -1)
