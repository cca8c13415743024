"""Rules to arrays: every (rule, scope) becomes a lane with its latches, every sensor knows which lanes look at it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from citypulse.model import Gap, Gateway, Rule, SensorTable, Side, Site

from . import kernels, latch, watchdogs
from .detector import Detector, Layout
from .doors import doors_of
from .fanout import FEED
from .find_lanes import find_lanes, places, wanted_by
from .lanes import LaneNumbers, Lanes
from .neighbourhood import City

Array = NDArray[Any]

GAP_CADENCES = 3  # event time without a sample beyond this many cadences is a loss of data (alarms.md 8)

_SIDES = {
    Side.AT_LEAST: latch.AT_LEAST,
    Side.ABOVE: latch.ABOVE,
    Side.BELOW: latch.BELOW,
    Side.AT_MOST: latch.AT_MOST,
}
_GAPS = {Gap.RESET: latch.RESET, Gap.HOLD: latch.HOLD, Gap.RAISE: latch.RAISE_ON_LOSS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The compiled rules. Arrays of the live state start at rest; the engine owns and changes them.

    lanes, latches, rules, limits, members: see kernels · feeds: see fanout · doors: see doors · guards, gates,
    gate_sensors, watched: see watchdogs · layouts: per detector, its parameters and memory.
    """

    detectors: tuple[Detector, ...]
    specs: Lanes
    lane_of: LaneNumbers  # (rule id, scope) → lane
    lane_detector: NDArray[np.uint8]
    lane_row: NDArray[np.int32]
    layouts: tuple[Layout, ...]
    lanes: Array
    latches: Array
    rules: Array
    limits: Array
    members: Array
    feeds: Array
    doors: Array
    widest: int  # feeds of the sensor that has most
    guards: Array
    gates: Array
    gate_sensors: Array
    watched: Array
    gateway_number: dict[str, int]


def compile_rules(
    rules: Sequence[Rule],
    table: SensorTable,
    sites: Mapping[str, Site],
    gateways: Mapping[str, Gateway],
    detectors: Mapping[str, Detector],
    timezone: str = "UTC",
) -> Plan:
    """Lay out the state for these rules. The order of lanes, hence of transitions, depends on nothing but ids."""
    table_detectors = tuple(detectors.values())
    number = {name: d for d, name in enumerate(detectors)}
    city = City(sensors={s.id: s for s in table.sensors if s is not None}, sites=sites)
    specs = find_lanes(rules, table, city, detectors, timezone)
    lane_detector = np.array([number[rule.detector] for rule in specs.rules], np.uint8)[specs.rule_row]
    lane_row = np.zeros(len(specs), np.int32)
    layouts = []
    for d, detector in enumerate(table_detectors):
        mine = np.flatnonzero(lane_detector == d)
        lane_row[mine] = np.arange(len(mine))
        layouts.append(detector.layout(specs.take(mine)))

    lanes, latches, rule_rows, limit_rows = _lanes(specs)
    members = _members(specs, city, detectors, lanes)
    feeds, first = _feeds(specs, lane_detector, lane_row, detectors, lanes, len(table))
    gateway_number = {g: k for k, g in enumerate(sorted(gateways))}
    guards, gates, gate_sensors, watched = _watchdogs(specs, table, gateways, gateway_number, detectors)
    return Plan(
        detectors=table_detectors,
        specs=specs,
        lane_of=LaneNumbers(specs),
        lane_detector=lane_detector,
        lane_row=lane_row,
        layouts=tuple(layouts),
        lanes=lanes,
        latches=latches,
        rules=rule_rows,
        limits=limit_rows,
        members=members,
        feeds=feeds,
        doors=doors_of(feeds, first, lanes, rule_rows),
        widest=int(np.diff(first).max(initial=0)),
        guards=guards,
        gates=gates,
        gate_sensors=gate_sensors,
        watched=watched,
        gateway_number=gateway_number,
    )


def _lanes(specs: Lanes) -> tuple[Array, Array, Array, Array]:
    lanes = np.zeros(len(specs), kernels.LANE)
    rows = np.unique(specs.rule_row).tolist()
    rules = np.zeros(max(rows, default=-1) + 1, kernels.RULE)
    limits: list[tuple[float, float, int, int, int, int]] = []
    for row in rows:
        rule = specs.rules[row]
        rules[row] = (*specs.calm[row], len(limits), len(rule.limits), _GAPS[rule.gap])
        limits.extend(
            (
                limit.value,
                limit.deadband,
                round(limit.on_delay_s * 1000),
                round(limit.off_delay_s * 1000),
                _SIDES[limit.side],
                int(limit.level),
            )
            for limit in rule.limits
        )
    lanes["rule"] = specs.rule_row
    lanes["gap_ms"] = GAP_CADENCES * specs.cadence_ms
    counts = rules["limits"][lanes["rule"]].astype(np.int64)
    lanes["first_latch"] = np.cumsum(counts) - counts
    lanes["last_ms"] = lanes["late_ms"] = kernels.NEVER
    lanes["last_x"] = np.nan
    lanes["trace"] = -1
    latches = np.zeros(int(counts.sum()), kernels.LATCH)
    latches["since_ms"] = latches["good_ms"] = latches["late_ms"] = kernels.NEVER
    return lanes, latches, rules, np.array(limits, kernels.LIMIT)


def _members(specs: Lanes, city: City, detectors: Mapping[str, Detector], lanes: Array) -> NDArray[np.int32]:
    """Return the member lanes of all composites, one after the other, and note in `lanes` which are whose."""
    is_composite = np.array([detectors[rule.detector].members is not None for rule in specs.rules], np.bool_)
    composites = np.flatnonzero(is_composite[specs.rule_row]).tolist()
    if not composites:
        return np.zeros(0, np.int32)
    here: dict[tuple[str, str], list[int]] = defaultdict(list)
    wanted = {name for rule in specs.rules for name in wanted_by(rule, detectors)}
    is_wanted = np.array([rule.id in wanted for rule in specs.rules], np.bool_)
    for lane in np.flatnonzero(is_wanted[specs.rule_row]).tolist():
        rule_id, scope = specs.name(lane)
        for place in places(scope, city):
            here[rule_id, place].append(lane)
    members: list[int] = []
    for lane in composites:
        spec = specs[lane]
        found = sorted(member for rule in wanted_by(spec.rule, detectors) for member in here[rule, spec.scope])
        lanes[lane]["first_member"] = len(members)
        lanes[lane]["members"] = len(found)
        members.extend(found)
    return np.array(members, np.int32)


def _feeds(
    specs: Lanes,
    lane_detector: Array,
    lane_row: Array,
    detectors: Mapping[str, Detector],
    lanes: Array,
    n_sensors: int,
) -> tuple[Array, NDArray[np.int64]]:
    """Return the feeds by sensor, those of one sensor by lane, and where each sensor's begin."""
    lane = np.repeat(np.arange(len(specs)), specs.n_inputs)
    slot = np.arange(len(lane)) - np.repeat(np.cumsum(specs.n_inputs) - specs.n_inputs, specs.n_inputs)
    sensor = specs.inputs[specs.first_input[lane] + slot]
    is_last = lanes["members"][lane] > 0  # after its members, so that it sees them as they are now
    order = np.lexsort((lane, is_last, sensor))
    lane = lane[order]
    feeds = np.zeros(len(lane), FEED)
    feeds["lane"], feeds["slot"] = lane, slot[order]
    feeds["row"], feeds["rule"], feeds["detector"] = lane_row[lane], specs.rule_row[lane], lane_detector[lane]
    feeds["accepts_suspect"] = np.array([rule.accepts_suspect for rule in specs.rules], np.uint8)[feeds["rule"]]
    feeds["sees_history"] = np.array([d.sees_history for d in detectors.values()], np.uint8)[feeds["detector"]]
    feeds["quiet"] = np.array([d.quiet for d in detectors.values()], np.uint8)[feeds["detector"]]
    counts = np.bincount(sensor, minlength=n_sensors)
    return feeds, np.concatenate(([0], np.cumsum(counts)))


def _watchdogs(
    specs: Lanes,
    table: SensorTable,
    gateways: Mapping[str, Gateway],
    gateway_number: Mapping[str, int],
    detectors: Mapping[str, Detector],
) -> tuple[Array, Array, Array, Array]:
    parts = [np.zeros(0, watchdogs.GUARD)]
    for row, rule in enumerate(specs.rules):
        if not detectors[rule.detector].is_watchdog:
            continue
        lanes = np.flatnonzero(specs.rule_row == row)
        scopes = [rule.scopes[k] for k in specs.scope[lanes].tolist()]
        is_gateway = rule.settings.scope == "gateway"
        limit_s = rule.limits[0].value
        own_s = [limit_s or gateways[g].silent_after_s for g in scopes] if is_gateway else [limit_s] * len(scopes)
        part = np.zeros(len(lanes), watchdogs.GUARD)
        part["after_ms"] = [round(after_s * 1000) for after_s in own_s]
        part["hold_ms"] = round(rule.settings.offline_hold * 1000) if is_gateway else part["after_ms"]
        part["base_ms"], part["state"] = kernels.NEVER, watchdogs.ARMED
        part["subject"] = [gateway_number[g] for g in scopes] if is_gateway else [table.index[s] for s in scopes]
        part["lane"], part["is_gateway"] = lanes, is_gateway
        parts.append(part)
    guards = np.concatenate(parts)
    guards = guards[np.lexsort((guards["lane"], guards["subject"], guards["is_gateway"] == 0))]

    watched = np.zeros(len(table), watchdogs.WATCHED)
    watched["heard_ms"] = kernels.NEVER
    watched["gateway"] = [gateway_number.get(s.gateway, -1) if s is not None else -1 for s in table.sensors]
    gates = np.zeros(len(gateways), watchdogs.GATE)
    gates["heard_ms"] = gates["offline_ms"] = kernels.NEVER
    for rows_of, is_gateway in ((gates, True), (watched, False)):
        numbers = np.flatnonzero(guards["is_gateway"] == is_gateway)
        subjects = guards["subject"][numbers]
        counts = np.bincount(subjects, minlength=len(rows_of)).astype(np.int64)
        rows_of["guards"] = counts
        rows_of["first_guard"] = (numbers[0] if len(numbers) else 0) + np.cumsum(counts) - counts
    gate_sensors = np.argsort(watched["gateway"], kind="stable").astype(np.int32)
    by_gateway = watched["gateway"][gate_sensors]
    gates["first_sensor"] = np.searchsorted(by_gateway, np.arange(len(gates)), "left")
    gates["sensors"] = np.searchsorted(by_gateway, np.arange(len(gates)), "right") - gates["first_sensor"]
    return guards, gates, gate_sensors, watched
