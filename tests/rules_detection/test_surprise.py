"""surprise: it finds what no limit would, says each thing once, and does not depend on how readings arrive."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.detectors import surprise
from rules.detectors.surprise import Surprise, arrays

MIN_MS = 60_000
DAY = 288  # readings at 5 min


def series(days: int, seed: int = 20261122) -> tuple[np.ndarray, np.ndarray]:
    """A daily rhythm with noise."""
    n = days * DAY
    times = np.arange(n, dtype=np.int64) * 5 * MIN_MS
    rng = np.random.default_rng(seed)
    return times, 30 + 8 * np.sin(2 * np.pi * np.arange(n) / DAY) + rng.standard_normal(n)


def surprises(times: np.ndarray, values: np.ndarray, *, state: tuple | None = None, **changes: object) -> np.ndarray:
    memory = state or arrays([Surprise(**changes)])
    return surprise.kernels.step(times, values, np.zeros(len(times), np.int32), *memory)


def test_it_says_nothing_during_the_warm_up():
    times, values = series(3)
    scores = surprises(times, values, warm_up=300)
    assert np.isnan(scores[:300]).all()
    assert np.isfinite(scores[300:]).all()


def test_a_value_never_seen_is_more_surprising_than_any_healthy_reading():
    times, values = series(8)
    healthy = np.nanmax(surprises(times, values))
    values[7 * DAY : 7 * DAY + 5] += 40
    scores = surprises(times, values)
    assert np.nanmax(scores) > healthy + 1
    assert 7 * DAY <= np.nanargmax(scores) < 7 * DAY + 5


def test_a_missing_rhythm_is_found_although_every_value_is_common():
    times, values = series(12)
    values[10 * DAY : 11 * DAY] = 30 + np.random.default_rng(1).standard_normal(DAY)
    scores = surprises(times, values)
    assert 10 * DAY <= np.nanargmax(scores) < 11 * DAY
    assert np.nanmax(scores) > 7.5


def test_after_a_record_only_a_larger_surprise_is_reported():
    times, values = series(10)
    values[8 * DAY : 9 * DAY] += 40
    scores = np.nan_to_num(surprises(times, values, quiet=DAY))
    reported = scores[8 * DAY : 9 * DAY]
    reported = reported[reported > 0]
    assert 1 <= len(reported) < 12
    assert (np.diff(reported) > 0).all()


def test_a_constant_sensor_that_changes_is_surprising_and_never_divides_by_zero():
    times, values = series(4)
    values[:] = 7.0
    values[3 * DAY :] = 7.5
    scores = surprises(times, values)
    assert np.nanmax(scores[: 3 * DAY]) < 1
    assert scores[3 * DAY] > 4


def test_a_value_that_is_not_a_number_teaches_nothing():
    times, values = series(3)
    holes = values.copy()
    holes[100:110] = np.nan
    keep = np.isfinite(holes)
    scores = surprises(times, holes)
    assert np.isnan(scores[100:110]).all()
    np.testing.assert_array_equal(scores[keep], surprises(times[keep], holes[keep]))


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, 5 * DAY), max_size=8), seed=st.integers(0, 99))
def test_any_batching_gives_the_same_surprises(cuts: list[int], seed: int):
    times, values = series(5, seed)
    whole = surprises(times, values)
    state = arrays([Surprise()])
    edges = [0, *sorted(cuts), len(times)]
    parts = [surprises(times[a:b], values[a:b], state=state) for a, b in itertools.pairwise(edges)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_lanes_do_not_hear_each_other():
    times, a = series(4, 1)
    _, b = series(4, 2)
    mixed_lanes = np.tile(np.array([0, 1], np.int32), len(times))
    mixed = surprise.kernels.step(
        np.repeat(times, 2), np.column_stack([a, b]).ravel(), mixed_lanes, *arrays([Surprise(), Surprise()])
    )
    np.testing.assert_array_equal(mixed[::2], surprises(times, a))
    np.testing.assert_array_equal(mixed[1::2], surprises(times, b))


def test_the_state_can_be_saved_in_the_middle_and_taken_up_again():
    times, values = series(5)
    state = arrays([Surprise()])
    half = len(times) // 2
    surprises(times[:half], values[:half], state=state)
    saved = tuple(np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape).copy() for a in state)
    np.testing.assert_array_equal(surprises(times[half:], values[half:], state=saved), surprises(times, values)[half:])


def test_counts_stay_bounded_and_the_far_past_fades():
    n = 70_000
    times = np.arange(n, dtype=np.int64) * 5 * MIN_MS
    values = 30.0 + (np.random.default_rng(3).random(n) < 0.1)
    state = arrays([Surprise()])
    scores = surprises(times, values, state=state)
    counts, counted = state[9], float(state[3]["counted"][0])
    assert counts.max() <= surprise.kernels.COUNT_MAX
    assert counted < n
    assert counts[0, 0].sum() == pytest.approx(counted, rel=0.01)
    assert np.nanmax(scores[60_000:]) < 7


@pytest.mark.parametrize("wrong", [{"warm_up": 10}, {"agree": 13}, {"quiet": 0}, {"bins": 3}])
def test_settings_that_cannot_work_are_refused(wrong: dict[str, int]):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Surprise(**wrong)
