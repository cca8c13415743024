"""Lanes as columns: the order of lanes, what a spec made on demand says, and how lanes are found by name."""

from __future__ import annotations

import pytest

from citypulse.errors import BugError
from tests.rules.world import World, limit, rule, sensor

NAMES = ["b.depth", "a.depth", "c.depth"]


def world() -> World:
    return World(
        [sensor(name, cadence_s=60 * (k + 1)) for k, name in enumerate(NAMES)],
        [
            rule("rise", "rate", NAMES, limit("red", "at_least", 1)),
            rule("depth", "threshold", NAMES, limit("blue", "at_least", 5), limit("red", "at_least", 9, 1)),
            rule("silent", "no_data", NAMES, settings={"after": 900}),
        ],
    )


def test_lanes_stand_by_first_input_then_detector_and_watchdogs_by_scope_in_front() -> None:
    specs = world().engine.plan.specs
    silent = [("silent", name) for name in sorted(NAMES)]
    readings = [(which, name) for name in NAMES for which in ("depth", "rise")]
    assert [(spec.rule.id, spec.scope) for spec in specs] == silent + readings


def test_a_spec_made_on_demand_names_its_sensors_cadence_and_calm() -> None:
    plan = world().engine.plan
    spec = plan.specs[plan.lane_of["depth", "c.depth"]]
    assert [s.id for s in spec.sensors] == ["c.depth"]
    assert spec.inputs == (2,)
    assert spec.cadence_ms == 180_000
    assert spec.calm[1] == 5.0
    assert plan.specs[plan.lane_of["silent", "a.depth"]].inputs == ()


def test_a_lane_is_found_by_its_name_and_nothing_else_is() -> None:
    lane_of = world().engine.plan.lane_of
    assert all(lane_of[name] == lane for lane, name in enumerate(lane_of))
    assert ("rise", "d.depth") not in lane_of
    assert ("fall", "a.depth") not in lane_of


def test_a_rule_that_applies_to_one_scope_twice_is_refused_by_name() -> None:
    w = world()
    twin = rule("rise", "rate", ["a.depth"], limit("red", "at_least", 2))
    with pytest.raises(BugError, match=r"rise applies to a\.depth twice"):
        w.fresh([*w.rules, twin])
