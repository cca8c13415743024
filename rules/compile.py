"""Rules to arrays: every (rule, scope) becomes a lane with its latches, every sensor knows which lanes look at it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from citypulse.errors import BugError
from citypulse.model import Gap, Gateway, Limit, Rule, SensorTable, Side, Site

from . import kernels, watchdogs
from .detector import Detector, LaneSpec, Layout
from .fanout import FEED
from .neighbourhood import City

Array = NDArray[Any]

GAP_CADENCES = 3  # event time without a sample beyond this many cadences is a loss of data (alarms.md 8)

_SIDES = {
    Side.AT_LEAST: kernels.AT_LEAST,
    Side.ABOVE: kernels.ABOVE,
    Side.BELOW: kernels.BELOW,
    Side.AT_MOST: kernels.AT_MOST,
}
_GAPS = {Gap.RESET: kernels.RESET, Gap.HOLD: kernels.HOLD, Gap.RAISE: kernels.RAISE_ON_LOSS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The compiled rules. Arrays of the live state start at rest; the engine owns and changes them.

    lanes, latches, rules, limits, members: see kernels · feeds and first: see fanout · guards, gates,
    gate_sensors, watched: see watchdogs · layouts: per detector, its parameters and memory.
    """

    detectors: tuple[Detector, ...]
    specs: tuple[LaneSpec, ...]  # by lane
    lane_of: dict[tuple[str, str], int]  # (rule id, scope) → lane
    lane_detector: NDArray[np.uint8]
    lane_row: NDArray[np.int32]
    layouts: tuple[Layout, ...]
    lanes: Array
    latches: Array
    rules: Array
    limits: Array
    members: Array
    feeds: Array
    first: NDArray[np.int32]
    widest: int  # feeds of the sensor that has most
    guards: Array
    gates: Array
    gate_sensors: Array
    watched: Array
    gateway_number: dict[str, int]


def calm(limits: Sequence[Limit]) -> tuple[float, float]:
    """Return the open interval of features that are good for every one of the limits."""
    low, high = -np.inf, np.inf
    for limit in limits:
        if limit.side in (Side.AT_LEAST, Side.ABOVE):
            high = min(high, limit.value - limit.deadband)
        else:
            low = max(low, limit.value + limit.deadband)
    return low, high


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
    specs = _specs(rules, table, city, detectors, timezone)
    specs.sort(key=lambda k: (min(k.inputs, default=-1), number[k.rule.detector], k.rule.id, k.scope))
    lane_of: dict[tuple[str, str], int] = {}
    for lane, spec in enumerate(specs):
        if lane_of.setdefault((spec.rule.id, spec.scope), lane) != lane:
            raise BugError(f"rule {spec.rule.id} applies to {spec.scope} twice")

    lane_detector = np.array([number[spec.rule.detector] for spec in specs], np.uint8)
    lane_row = np.zeros(len(specs), np.int32)
    layouts = []
    for d, detector in enumerate(table_detectors):
        mine = np.flatnonzero(lane_detector == d)
        lane_row[mine] = np.arange(len(mine))
        layouts.append(detector.layout([specs[k] for k in mine]))

    lanes, latches, rule_rows, limit_rows = _lanes(specs)
    members = _members(specs, city, detectors, lanes)
    feeds, first = _feeds(specs, lane_detector, lane_row, detectors, lanes, len(table))
    gateway_number = {g: k for k, g in enumerate(sorted(gateways))}
    guards, gates, gate_sensors, watched = _watchdogs(specs, table, gateways, gateway_number, detectors)
    return Plan(
        detectors=table_detectors,
        specs=tuple(specs),
        lane_of=lane_of,
        lane_detector=lane_detector,
        lane_row=lane_row,
        layouts=tuple(layouts),
        lanes=lanes,
        latches=latches,
        rules=rule_rows,
        limits=limit_rows,
        members=members,
        feeds=feeds,
        first=first,
        widest=int(np.diff(first).max(initial=0)),
        guards=guards,
        gates=gates,
        gate_sensors=gate_sensors,
        watched=watched,
        gateway_number=gateway_number,
    )


def _specs(
    rules: Sequence[Rule], table: SensorTable, city: City, detectors: Mapping[str, Detector], timezone: str
) -> list[LaneSpec]:
    """Return one spec per (rule, scope); rules that look at other rules come last, and see what those see."""
    specs: list[LaneSpec] = []
    here: dict[tuple[str, str], list[LaneSpec]] = defaultdict(list)  # (rule, place) → its lanes there
    wanted = {name for rule in rules for name in _wanted(rule, detectors)}
    for row, rule in enumerate(sorted(rules, key=lambda rule: detectors[rule.detector].members is not None)):
        if len(rule.limits) > kernels.LIMITS_MAX:
            raise BugError(f"{rule.origin}: rule {rule.id} has more than {kernels.LIMITS_MAX} limits")
        detector = detectors[rule.detector]
        band = calm(rule.limits)
        for k, scope in enumerate(rule.scopes):
            names = () if detector.is_watchdog else detector.inputs(rule, k, city)
            if detector.members is not None:
                seen = (spec for other in _wanted(rule, detectors) for spec in here[other, scope])
                names = tuple(dict.fromkeys((*names, *(s.id for spec in seen for s in spec.sensors))))
            sensors = tuple(city.sensors[n] for n in names)
            spec = LaneSpec(
                rule=rule,
                scope=scope,
                inputs=tuple(table.index[n] for n in names),
                sensors=sensors,
                cadence_ms=1000 * max((s.cadence_s for s in sensors), default=60),
                rule_row=row,
                calm=band,
                timezone=timezone,
            )
            specs.append(spec)
            if rule.id in wanted:
                for place in places(scope, city):
                    here[rule.id, place].append(spec)
    return specs


def _wanted(rule: Rule, detectors: Mapping[str, Detector]) -> tuple[str, ...]:
    """Return the ids of the rules that this one looks at."""
    members = detectors[rule.detector].members
    return () if members is None else members(rule.settings)


def places(scope: str, city: City) -> tuple[str, ...]:
    """Return the scopes at which a lane of `scope` may be found by a rule that looks at it: itself and its site."""
    sensor = city.sensors.get(scope)
    return (scope,) if sensor is None else (scope, sensor.site)


def _lanes(specs: Sequence[LaneSpec]) -> tuple[Array, Array, Array, Array]:
    lanes = np.zeros(len(specs), kernels.LANE)
    by_row = {spec.rule_row: spec for spec in specs}
    rules = np.zeros(max(by_row, default=-1) + 1, kernels.RULE)
    limits: list[tuple[float, float, int, int, int, int]] = []
    for row, spec in sorted(by_row.items()):
        rule = spec.rule
        rules[row] = (*spec.calm, len(limits), len(rule.limits), _GAPS[rule.gap])
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
    lanes["rule"] = [spec.rule_row for spec in specs]
    lanes["gap_ms"] = [GAP_CADENCES * spec.cadence_ms for spec in specs]
    counts = rules["limits"][lanes["rule"]].astype(np.int64)
    lanes["first_latch"] = np.cumsum(counts) - counts
    lanes["last_ms"] = lanes["late_ms"] = kernels.NEVER
    lanes["last_x"] = np.nan
    lanes["trace"] = -1
    latches = np.zeros(int(counts.sum()), kernels.LATCH)
    latches["since_ms"] = latches["good_ms"] = latches["late_ms"] = kernels.NEVER
    return lanes, latches, rules, np.array(limits, kernels.LIMIT)


def _members(
    specs: Sequence[LaneSpec], city: City, detectors: Mapping[str, Detector], lanes: Array
) -> NDArray[np.int32]:
    """Return the member lanes of all composites, one after the other, and note in `lanes` which are whose."""
    composites = [k for k, spec in enumerate(specs) if detectors[spec.rule.detector].members is not None]
    if not composites:
        return np.zeros(0, np.int32)
    here: dict[tuple[str, str], list[int]] = defaultdict(list)
    wanted = {name for lane in composites for name in _wanted(specs[lane].rule, detectors)}
    for lane, spec in enumerate(specs):
        if spec.rule.id in wanted:
            for place in places(spec.scope, city):
                here[spec.rule.id, place].append(lane)
    members: list[int] = []
    for lane in composites:
        spec = specs[lane]
        found = sorted(member for rule in _wanted(spec.rule, detectors) for member in here[rule, spec.scope])
        lanes[lane]["first_member"] = len(members)
        lanes[lane]["members"] = len(found)
        members.extend(found)
    return np.array(members, np.int32)


def _feeds(
    specs: Sequence[LaneSpec],
    lane_detector: Array,
    lane_row: Array,
    detectors: Mapping[str, Detector],
    lanes: Array,
    n_sensors: int,
) -> tuple[Array, NDArray[np.int32]]:
    rows = []
    is_composite = lanes["members"] > 0
    for lane, spec in enumerate(specs):
        detector = detectors[spec.rule.detector]
        last = bool(is_composite[lane])  # after its members, so that it sees them as they are now
        for slot, sensor in enumerate(spec.inputs):
            rows.append(
                (
                    (sensor, last, lane),
                    (
                        lane,
                        lane_row[lane],
                        spec.rule_row,
                        slot,
                        lane_detector[lane],
                        spec.rule.accepts_suspect,
                        detector.sees_history,
                        detector.quiet,
                    ),
                )
            )
    rows.sort(key=lambda row: row[0])
    feeds = np.array([feed for _, feed in rows], FEED)
    counts = np.bincount([key[0] for key, _ in rows], minlength=n_sensors) if rows else np.zeros(n_sensors, np.int64)
    first = np.concatenate(([0], np.cumsum(counts))).astype(np.int32)
    return feeds, first


def _watchdogs(
    specs: Sequence[LaneSpec],
    table: SensorTable,
    gateways: Mapping[str, Gateway],
    gateway_number: Mapping[str, int],
    detectors: Mapping[str, Detector],
) -> tuple[Array, Array, Array, Array]:
    rows = []
    for lane, spec in enumerate(specs):
        rule = spec.rule
        if not detectors[rule.detector].is_watchdog:
            continue
        is_gateway = rule.settings.scope == "gateway"
        subject = gateway_number[spec.scope] if is_gateway else table.index[spec.scope]
        after_s = rule.limits[0].value
        if is_gateway:
            after_s = after_s or gateways[spec.scope].silent_after_s
        hold_s = rule.settings.offline_hold if is_gateway else after_s
        rows.append(
            (round(after_s * 1000), round(hold_s * 1000), kernels.NEVER, subject, lane, is_gateway, watchdogs.ARMED)
        )
    rows.sort(key=lambda row: (not row[5], row[3], row[4]))
    guards = np.array(rows, watchdogs.GUARD)

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
