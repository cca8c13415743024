"""Which lanes there are: every rule at every one of its scopes, with the sensors it looks at, in their order."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from citypulse.errors import BugError
from citypulse.model import Limit, Rule, SensorTable, Side

from . import kernels
from .detector import Detector, inputs_of_rule
from .lanes import Lanes
from .neighbourhood import City

NO_INPUT_CADENCE_MS = 60_000


def calm(limits: Sequence[Limit]) -> tuple[float, float]:
    """Return the open interval of features that are good for every one of the limits."""
    low, high = -np.inf, np.inf
    for limit in limits:
        if limit.side in (Side.AT_LEAST, Side.ABOVE):
            high = min(high, limit.value - limit.deadband)
        else:
            low = max(low, limit.value + limit.deadband)
    return low, high


def find_lanes(
    rules: Sequence[Rule], table: SensorTable, city: City, detectors: Mapping[str, Detector], timezone: str
) -> Lanes:
    """Return one lane per (rule, scope), ordered by first input, detector, rule id and scope.

    Rules that look at other rules get the last rule rows, and the inputs of those besides their own.
    """
    rules = sorted(rules, key=lambda rule: detectors[rule.detector].members is not None)
    for rule in rules:
        if len(rule.limits) > kernels.LIMITS_MAX:
            raise BugError(f"{rule.origin}: rule {rule.id} has more than {kernels.LIMITS_MAX} limits")
    _refuse_twins(rules)
    flat, counts = _inputs(rules, table, city, detectors)
    sizes = [len(rule.scopes) for rule in rules]
    row = np.repeat(np.arange(len(rules), dtype=np.int32), sizes)
    scope = np.concatenate([np.arange(size, dtype=np.int32) for size in (0, *sizes)])
    cadence_of = np.array([0 if s is None else s.cadence_s for s in table.sensors], np.int64)
    lane_of_input = np.repeat(np.arange(len(row)), counts)
    if len(flat) and not (cadence_of[flat] > 0).all():
        raise BugError("a rule looks at a sensor that is not configured")
    cadence_ms = np.zeros(len(row), np.int64)
    np.maximum.at(cadence_ms, lane_of_input, 1000 * cadence_of[flat])
    cadence_ms[counts == 0] = NO_INPUT_CADENCE_MS
    first_input = np.full(len(row), len(table), np.int64)
    np.minimum.at(first_input, lane_of_input, flat)
    first_input[counts == 0] = -1
    lanes = Lanes(
        rules=tuple(rules),
        calm=tuple(calm(rule.limits) for rule in rules),
        table=table,
        timezone=timezone,
        rule_row=row,
        scope=scope,
        cadence_ms=cadence_ms,
        first_input=np.cumsum(counts) - counts,
        n_inputs=counts.astype(np.int32),
        inputs=flat,
    )
    return lanes.take(_order(lanes, first_input, detectors))


def _order(lanes: Lanes, first_input: NDArray[np.int64], detectors: Mapping[str, Detector]) -> NDArray[np.intp]:
    """Sort by numbers first; only lanes that these leave equal (watchdogs have no input) are compared by scope."""
    number = {name: d for d, name in enumerate(detectors)}
    rank = {rule_id: k for k, rule_id in enumerate(sorted({rule.id for rule in lanes.rules}))}
    keys = np.array([(number[rule.detector], rank[rule.id]) for rule in lanes.rules], np.int64).reshape(-1, 2)
    detector, rule_id = keys[lanes.rule_row].T
    order = np.lexsort((rule_id, detector, first_input))
    columns = [column[order] for column in (first_input, detector, rule_id)]
    is_new = np.ones(len(order), np.bool_)
    is_new[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    starts = np.flatnonzero(is_new)
    ends = np.append(starts[1:], len(order))
    for start, end in zip(starts[ends - starts > 1].tolist(), ends[ends - starts > 1].tolist(), strict=True):
        some = order[start:end].tolist()
        order[start:end] = sorted(some, key=lambda lane: lanes.name(lane)[1])
    return order


def _inputs(
    rules: Sequence[Rule], table: SensorTable, city: City, detectors: Mapping[str, Detector]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the inputs of all lanes, rule by rule and scope by scope, and how many each lane has."""
    wanted = {name for rule in rules for name in wanted_by(rule, detectors)}
    here: dict[tuple[str, str], list[int]] = defaultdict(list)  # (rule, place) → what its lanes there look at
    flat: list[int] = []
    counts: list[int] = []
    for rule in rules:
        detector = detectors[rule.detector]
        if detector.is_watchdog:
            counts.extend([0] * len(rule.scopes))
            continue
        if detector.inputs is inputs_of_rule and detector.members is None and rule.id not in wanted:
            counts.extend(map(len, rule.sensors))
            flat.extend(table.index[name] for names in rule.sensors for name in names)
            continue
        for k, scope in enumerate(rule.scopes):
            inputs: Any = [table.index[name] for name in detector.inputs(rule, k, city)]
            if detector.members is not None:
                seen = (k for other in wanted_by(rule, detectors) for k in here[other, scope])
                inputs = dict.fromkeys((*inputs, *seen))
            counts.append(len(inputs))
            flat.extend(inputs)
            if rule.id in wanted:
                for place in places(scope, city):
                    here[rule.id, place].extend(inputs)
    return np.array(flat, np.int32), np.array(counts, np.int64)


def _refuse_twins(rules: Sequence[Rule]) -> None:
    """Raise BugError when a rule applies to one scope twice."""
    scopes: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for rule in rules:
        scopes[rule.id].append(rule.scopes)
    for rule_id, parts in scopes.items():
        if len(set().union(*parts)) < sum(map(len, parts)):
            twice, _ = Counter(scope for part in parts for scope in part).most_common(1)[0]
            raise BugError(f"rule {rule_id} applies to {twice} twice")


def wanted_by(rule: Rule, detectors: Mapping[str, Detector]) -> tuple[str, ...]:
    """Return the ids of the rules that this one looks at."""
    members = detectors[rule.detector].members
    return () if members is None else members(rule.settings)


def places(scope: str, city: City) -> tuple[str, ...]:
    """Return the scopes at which a lane of `scope` may be found by a rule that looks at it: itself and its site."""
    sensor = city.sensors.get(scope)
    return (scope,) if sensor is None else (scope, sensor.site)
