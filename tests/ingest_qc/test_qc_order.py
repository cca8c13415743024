"""Quality control that takes a batch sensor by sensor says and remembers the same as in order of arrival."""

from __future__ import annotations

import os
from typing import Any
from unittest.mock import patch

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import citypulse.by_sensor as ordering
from citypulse.model import Lane, Quality, ReadingBatch
from ingest.qc.controller import QualityControl
from ingest.qc.settings import QualitySettings

IS_INTERPRETED = bool(os.environ.get("NUMBA_DISABLE_JIT"))
EXAMPLES = 5 if IS_INTERPRETED else 40
READINGS = 200 if IS_INTERPRETED else 1500
SITES = 4
CADENCE_S = 600
IDS = [f"s{k}.{quantity}" for k in range(SITES) for quantity in ("oxygen", "heat", "depth")]
ALONE: dict[str, Any] = {
    "gross_range": {"fail": [0, 10], "suspect": [2, 8]},
    "climatology": [{"period": "month", "tspan": [1, 12], "vspan": [2, 8]}],
    "spike": {"suspect": 1.5, "fail": 3},
    "rate_of_change": {"suspect": 0.004, "fail": 0.01},
    "flat_line": {"tolerance": 0.3, "suspect_after_s": 3000, "fail_after_s": 6000},
    "attenuated": {"over_s": 7200, "suspect_below": 0.05, "fail_below": 0.01, "min_readings": 4},
    "time_gap": {"fail_after_s": 1500},
}
RIVER: dict[str, Any] = {
    "jump": {"rise": {"floor": 1, "scales": 4}, "fall": {"floor": 1, "scales": 4}, "baseline": 0.01,
             "natural_with": [{"quantity": "heat", "moves": 0.5}]},
    "companion": {"quantity": "heat", "out_after_s": 1200, "service_step": 1.0},
    "returned": {"floor": 1.5},
}  # fmt: skip
SECTIONS = {
    "alone": {"oxygen": ALONE, "heat": ALONE, "depth": ALONE},
    "together": {"oxygen": {**ALONE, **RIVER}, "heat": ALONE, "depth": ALONE},
}


def stream(seed: int, n: int) -> ReadingBatch:
    """Walks with spikes, gaps, missing and late readings; now and then one sensor delivers a backlog."""
    rng = np.random.default_rng(seed)
    chatty = rng.random(n // 50 + 1) < 0.2
    which = np.where(chatty[np.arange(n) // 50], 2, rng.integers(0, len(IDS), n)).astype(np.int32)
    value, time_ms = np.empty(n), np.empty(n, np.int64)
    for s in range(len(IDS)):
        mine = np.flatnonzero(which == s)
        calm = rng.choice([0.0, 0.02, 0.4], len(mine) // 40 + 1)[np.arange(len(mine)) // 40]
        value[mine] = np.round(5 + np.clip(np.cumsum(calm * rng.normal(0, 1, len(mine))), -6, 6), 2)
        steps = rng.choice([0, 300, 600, 1600, 90_000], len(mine), p=[0.01, 0.1, 0.85, 0.03, 0.01])
        time_ms[mine] = 1_700_000_000_000 + 1000 * np.cumsum(steps)
    value[rng.random(n) < 0.02] += 4
    value[rng.random(n) < 0.02] = np.nan
    return ReadingBatch(
        sensor=which,
        time_ms=time_ms,
        value=value,
        received_ms=time_ms + 1000,
        quality=rng.choice([0, Quality.GOOD, Quality.SUSPECT], n, p=[0.5, 0.48, 0.02]).astype(np.uint8),
        lane=rng.choice([Lane.LIVE, Lane.HISTORY, Lane.DUPLICATE], n, p=[0.96, 0.03, 0.01]).astype(np.uint8),
    )


def control(section: str) -> QualityControl:
    wanted = QualitySettings.model_validate({"quantities": SECTIONS[section]})
    return QualityControl.of_sensors(wanted, IDS, [CADENCE_S] * len(IDS))


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k], equal_nan=a[k].dtype.kind == "f") for k in a)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.sampled_from(sorted(SECTIONS)), st.integers(0, 2**32 - 1), st.integers(1, 900))
def test_taken_sensor_by_sensor_or_as_they_come_readings_get_the_same(section: str, seed: int, size: int) -> None:
    sorted_one, plain = control(section), control(section)
    batch = stream(seed, READINGS)
    for begin in range(0, len(batch), size):
        piece = batch.take(slice(begin, begin + size))
        with patch.multiple(ordering, READINGS_MIN=1, SENSORS_MIN=1):
            a = sorted_one.apply(piece)
        b = plain.apply(piece)
        assert np.array_equal(a.flags, b.flags)
        assert np.array_equal(a.tests, b.tests)
        for name in ("sensor", "time_ms", "quality", "tests", "by"):
            assert np.array_equal(getattr(a.amendments, name), getattr(b.amendments, name)), name
    assert same(sorted_one.state(), plain.state())


def test_sensors_that_look_at_each_other_are_taken_in_order_of_arrival_and_the_others_are_not() -> None:
    which = np.random.default_rng(1).integers(0, len(IDS), 500).astype(np.int32)
    with patch.multiple(ordering, READINGS_MIN=1, SENSORS_MIN=1):
        order = control("together")._order(which)
    assert order is not None
    is_depth = which[order] % 3 == 2
    assert is_depth[: is_depth.sum()].all()  # those that stand alone come first, sensor by sensor
    assert (np.diff(which[order][is_depth]) >= 0).all()
    assert (np.diff(order[~is_depth]) > 0).all()


def test_an_own_depth_for_every_reading_goes_along_with_it() -> None:
    section = {"climatology": [{"period": "month", "tspan": [1, 12], "vspan": [2, 8], "zspan": [0, 5]}]}
    wanted = QualitySettings.model_validate({"quantities": {"oxygen": section}})
    batch = stream(3, 200)
    depth = np.random.default_rng(3).choice([1.0, 9.0, np.nan], len(batch))
    a, b = (QualityControl.of_sensors(wanted, IDS, [CADENCE_S] * len(IDS)) for _ in range(2))
    with patch.multiple(ordering, READINGS_MIN=1, SENSORS_MIN=1):
        flags = a.apply(batch, depth).flags
    assert np.array_equal(flags, b.apply(batch, depth).flags)
