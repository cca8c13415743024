"""The quick way through quality control is only a short cut: same flags, tests, amendments and memory without it."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from citypulse.model import Lane, Quality, ReadingBatch
from ingest.qc.controller import QualityControl
from ingest.qc.settings import QualitySettings

IS_INTERPRETED = bool(os.environ.get("NUMBA_DISABLE_JIT"))
EXAMPLES = 5 if IS_INTERPRETED else 50
READINGS = 200 if IS_INTERPRETED else 1500
SENSORS = 4
CADENCE_S = 600

SEASONS = st.sampled_from(
    [
        [],
        [{"period": "month", "tspan": [1, 12], "vspan": [2, 8], "fspan": [0, 10]}],
        [{"period": "hour", "tspan": [6, 18], "vspan": [3, 9]},
         {"period": "dayofweek", "tspan": [0, 4], "vspan": [1, 9]}],
        [{"tspan": ["2023-01-01", "2023-12-01"], "vspan": [2, 8]}],
        [{"period": "minute", "tspan": [0, 30], "vspan": [2, 8]}],
        [{"period": "month", "tspan": [1, 12], "vspan": [2, 8], "zspan": [0, 5]}],
    ]
)  # fmt: skip
SECTIONS = st.fixed_dictionaries(
    {},
    optional={
        "missing": st.just([-9999.0]),
        "gross_range": st.sampled_from([{"fail": [0, 10]}, {"fail": [0, 10], "suspect": [2, 8]}]),
        "climatology": SEASONS,
        "spike": st.sampled_from(
            [{"suspect": 1.5, "fail": 3}, {"suspect": 2, "method": "differential"}, {"suspect": 0, "fail": 0}]
        ),
        "rate_of_change": st.sampled_from([{"suspect": 0.004}, {"suspect": 0.004, "fail": 0.01}]),
        "flat_line": st.builds(
            lambda tolerance, a, b: {"tolerance": tolerance, "suspect_after_s": a, "fail_after_s": b},
            st.sampled_from([0.0, 0.3, 1.5]), st.sampled_from([0, 1200, 6000]), st.sampled_from([600, 3000, 9000]),
        ),
        "attenuated": st.builds(
            lambda over, below, statistic, few: {
                "over_s": over, "suspect_below": below, "fail_below": below / 2,
                "statistic": statistic, "min_readings": few,
            },
            st.sampled_from([1800, 7200, 20_000]), st.sampled_from([0.0, 0.05, 0.4]), st.sampled_from(["std", "range"]),
            st.sampled_from([0, 1, 4, 12]),
        ),
        "time_gap": st.just({"fail_after_s": 1500}),
        "reception": st.just({"fail_after_s": 3000}),
        "impossible_date": st.just({}),
        "jump": st.just({"rise": {"floor": 2, "scales": 8}, "fall": {"floor": 2, "scales": 8}, "baseline": 0.01}),
        "returned": st.just({"floor": 1.5}),
        "frozen": st.just({"after_s": 3000}),
        "settling": st.just({}),
        "window_max": st.sampled_from([3, 10]),
    },
)  # fmt: skip


def stream(seed: int, n: int) -> ReadingBatch:
    """Walks rounded so that they sometimes stand still, with spikes, gaps, missing and odd readings."""
    rng = np.random.default_rng(seed)
    which = rng.integers(0, SENSORS, n).astype(np.int32)
    value = np.empty(n)
    time_ms = np.empty(n, np.int64)
    for s in range(SENSORS):
        mine = np.flatnonzero(which == s)
        calm = rng.choice([0.0, 0.02, 0.4], len(mine) // 40 + 1)[np.arange(len(mine)) // 40]
        value[mine] = np.round(5 + np.clip(np.cumsum(calm * rng.normal(0, 1, len(mine))), -6, 6), 1 if s % 2 else 9)
        steps = rng.choice([0, 300, 600, 601, 1600, 90_000], len(mine), p=[0.01, 0.05, 0.85, 0.05, 0.03, 0.01])
        time_ms[mine] = 1_700_000_000_000 + 1000 * np.cumsum(steps)
    odd = rng.random(n)
    value[odd < 0.01] += 3
    value[(odd > 0.02) & (odd < 0.03)] = np.nan
    value[(odd > 0.03) & (odd < 0.035)] = -9999.0
    value[(odd > 0.035) & (odd < 0.037)] = np.inf
    received = time_ms + rng.choice([-5000, 0, 1000, 4_000_000], n, p=[0.01, 0.5, 0.48, 0.01])
    return ReadingBatch(
        sensor=which, time_ms=time_ms, value=value, received_ms=received,
        quality=rng.choice([0, Quality.GOOD, Quality.NOT_EVALUATED, Quality.SUSPECT, Quality.FAIL], n,
                           p=[0.3, 0.5, 0.17, 0.02, 0.01]).astype(np.uint8),
        lane=rng.choice([Lane.LIVE, Lane.HISTORY, Lane.DUPLICATE], n, p=[0.96, 0.03, 0.01]).astype(np.uint8),
    )  # fmt: skip


def controls(section: dict[str, Any]) -> tuple[QualityControl, QualityControl]:
    """Return the same quality control twice: with the short cut, and without."""
    wanted = QualitySettings.model_validate({"quantities": {"x": section}})
    quick, long = (
        QualityControl.of_sensors(wanted, [f"s{k}.x" for k in range(SENSORS)], [CADENCE_S] * SENSORS) for _ in range(2)
    )
    long._compiled.rules["is_quick"] = 0
    return quick, long


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k], equal_nan=a[k].dtype.kind == "f") for k in a)


@settings(max_examples=EXAMPLES, deadline=None)
@given(SECTIONS, st.integers(0, 2**32 - 1), st.integers(1, 400))
def test_the_quick_way_and_the_long_way_say_the_same(section: dict[str, Any], seed: int, size: int) -> None:
    quick, long = controls(section)
    batch = stream(seed, READINGS)
    for begin in range(0, len(batch), size):
        piece = batch.take(slice(begin, begin + size))
        a, b = quick.apply(piece), long.apply(piece)
        assert np.array_equal(a.flags, b.flags)
        assert np.array_equal(a.tests, b.tests)
        for name in ("sensor", "time_ms", "quality", "tests", "by"):
            assert np.array_equal(getattr(a.amendments, name), getattr(b.amendments, name)), name
    assert same(quick.state(), long.state())


@pytest.mark.parametrize("seed", range(4))
def test_clues_forgotten_in_a_restore_change_nothing(seed: int) -> None:
    section = {
        "flat_line": {"tolerance": 0.3, "suspect_after_s": 3000, "fail_after_s": 6000},
        "attenuated": {"over_s": 7200, "suspect_below": 0.05, "fail_below": 0.01, "min_readings": 4},
        "climatology": [{"period": "month", "tspan": [1, 12], "vspan": [2, 8]}],
        "spike": {"suspect": 1.5},
    }
    quick, other = controls(section)
    other._compiled.rules["is_quick"] = 1
    batch = stream(seed, READINGS)
    half = READINGS // 2
    quick.apply(batch.take(slice(0, half)))
    other.restore(quick.state())
    rest = batch.take(slice(half, None))
    assert np.array_equal(quick.apply(rest).flags, other.apply(rest).flags)
    assert same(quick.state(), other.state())
