"""baseline: the same distance means the same surprise on every sensor, by the hour of day or not."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.detectors import baseline
from rules.detectors.baseline import Baseline, arrays

DAY = 288
STEP_MS = 300_000


def series(days: int, *, swing: float = 8.0, noise: float = 1.0, seed: int = 20261122) -> tuple[np.ndarray, np.ndarray]:
    n = days * DAY
    rng = np.random.default_rng(seed)
    values = 30 + swing * np.sin(2 * np.pi * np.arange(n) / DAY) + noise * rng.standard_normal(n)
    return np.arange(n, dtype=np.int64) * STEP_MS, values


def nats(times: np.ndarray, values: np.ndarray, *, state: tuple | None = None, **changes: object) -> np.ndarray:
    memory = state or arrays([Baseline(**changes)])
    return baseline.kernels.step(times, values, np.zeros(len(times), np.int32), *memory)


@pytest.mark.parametrize("noise", [0.01, 1.0, 300.0])
def test_one_limit_means_the_same_share_of_readings_whatever_the_unit(noise: float):
    """-ln p: about exp(-5) of healthy readings reach 5 nats, on a quiet sensor and on a wild one."""
    times, values = series(60, swing=0, noise=noise)
    scores = nats(times, values, usual="recent", window=1, needed=1)[10 * DAY :]
    share = float((scores >= 5).mean())
    assert np.exp(-5) / 4 < share < np.exp(-5) * 4


def test_the_hourly_usual_finds_a_common_value_at_an_uncommon_hour():
    times, values = series(10)
    trough = 9 * DAY + 3 * DAY // 4
    values[trough - 6 : trough + 6] = 38  # the usual value of the morning, at night
    by_hour = nats(times, values)
    recent = nats(times, values, usual="recent")
    assert by_hour[trough] > 15
    assert by_hour[trough] > 2 * recent[trough]


def test_one_odd_reading_is_forgiven_when_two_of_three_are_needed():
    times, values = series(8)
    values[7 * DAY] += 30
    assert nats(times, values)[7 * DAY] < 8
    assert nats(times, values, window=1, needed=1)[7 * DAY] > 15


def test_only_the_wanted_side_counts():
    times, values = series(8)
    values[7 * DAY : 7 * DAY + 4] -= 20
    assert nats(times, values, side="above")[7 * DAY + 3] < 1
    assert nats(times, values, side="below")[7 * DAY + 3] > 12


def test_the_least_spread_keeps_a_still_sensor_from_crying_at_its_last_digit():
    times, values = series(8, swing=0, noise=0)
    values[7 * DAY : 7 * DAY + 4] += 0.01
    assert nats(times, values, spread_at_least=0.01)[7 * DAY + 3] < 2
    assert nats(times, values)[7 * DAY + 3] > 15


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, 4 * DAY), max_size=8), usual=st.sampled_from(["hour", "recent"]))
def test_any_batching_gives_the_same_surprises(cuts: list[int], usual: str):
    times, values = series(4)
    state = arrays([Baseline(usual=usual)])
    edges = [0, *sorted(cuts), len(times)]
    parts = [nats(times[a:b], values[a:b], state=state) for a, b in itertools.pairwise(edges)]
    np.testing.assert_array_equal(np.concatenate(parts), nats(times, values, usual=usual))


def test_needing_more_than_the_window_holds_is_refused():
    with pytest.raises(ValueError, match="can never be"):
        Baseline(window=3, needed=4)
