"""multivariate: one channel that jumps is an instrument, two are the water; rows come together as readings arrive."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.detectors import multivariate
from rules.detectors.multivariate import Multivariate, arrays

MIN_MS = 60_000
N = 3000
CHANNELS = 4


def site(seed: int = 20261122, n: int = N) -> np.ndarray:
    """n minutes of four channels; the last two move together."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((n, CHANNELS)) * [0.02, 0.05, 2.0, 0.1] + [7.6, 8.0, 420.0, 15.0]
    common = np.cumsum(rng.standard_normal(n)) * 0.02
    rows[:, 2] += 20 * common
    rows[:, 3] += common
    return rows


def readings(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Columns times, values, lanes, slots: every channel once a minute, in order; NaN is not sent."""
    n, channels = rows.shape
    sent = np.isfinite(rows).ravel()
    times = np.repeat(np.arange(n, dtype=np.int64) * MIN_MS, channels)[sent]
    slots = np.tile(np.arange(channels, dtype=np.int32), n)[sent]
    return times, rows.ravel()[sent], np.zeros(sent.sum(), np.int32), slots


def state_of(channels: int = CHANNELS, **changes: object) -> tuple:
    return arrays([Multivariate(**changes)], [channels], [60.0])


def features(rows: np.ndarray, **changes: object) -> np.ndarray:
    """The feature of every judged row, by row; NaN where none was judged."""
    times, values, lanes, slots = readings(rows)
    scores = multivariate.kernels.step(times, values, lanes, slots, *state_of(rows.shape[1], **changes))
    by_row = np.full(len(rows), np.nan)
    said = np.isfinite(scores)
    by_row[times[said] // MIN_MS] = scores[said]
    return by_row


def test_two_channels_that_leap_together_are_an_alarm_at_the_default_limit():
    rows = site()
    rows[2000:2020, 0] += np.linspace(0, 0.5, 20)
    rows[2000:2020, 1] -= np.linspace(0, 1.5, 20)
    scores = features(rows)
    assert np.nanmax(scores[:2000]) < 1.2
    assert np.nanmax(scores[2000:2030]) > 1.2


def test_one_channel_that_leaps_is_only_an_instrument():
    rows = site()
    rows[2000:2020, 0] += np.linspace(0, 5, 20)
    assert np.nanmax(features(rows)) < 1.2
    assert np.nanmax(features(rows, agree=1)[2000:2030]) > 1.2


def test_a_single_row_however_wild_is_not_five_of_eight():
    rows = site()
    rows[2000] += 100
    assert np.nanmax(features(rows)) < 1.2


def test_pca_sees_channels_part_that_always_moved_together():
    rows = site(n=2000)
    settings_ = {"method": "pca", "learn": "warm_up", "warm_up": 1440, "smooth": 300, "share": 0.6}
    healthy = features(rows, **settings_)
    rows[1700:, 3] += 2.0  # within its own range of the first day, but without its companion
    parted = features(rows, **settings_)
    assert np.nanmax(parted[1710:]) > 2 * np.nanmax(healthy)


def test_a_row_with_a_silent_channel_is_judged_when_the_next_begins():
    rows = site()
    rows[1990:2030, 3] = np.nan
    rows[2000:2020, 0] += np.linspace(0, 0.5, 20)
    rows[2000:2020, 1] -= np.linspace(0, 1.5, 20)
    assert np.nanmax(features(rows)[2000:2030]) > 1.2


def test_a_reading_of_a_row_already_judged_changes_nothing():
    rows = site(n=1600)
    times, values, lanes, slots = readings(rows)
    plain = multivariate.kernels.step(times, values, lanes, slots, *state_of())
    late = np.insert(np.arange(len(times)), [5000, 6000], [4000, 4001])  # two old readings come again
    again = multivariate.kernels.step(times[late], values[late], lanes[late], slots[late], *state_of())
    keep = np.ones(len(late), bool)
    keep[[5000, 6001]] = False
    np.testing.assert_array_equal(again[keep], plain)


def test_an_event_does_not_blunt_the_site_for_the_next_one():
    rows = site(n=6000)
    for begin in range(2000, 5500, 250):
        rows[begin : begin + 20, 0] += np.linspace(0, 0.5, 20)
        rows[begin : begin + 20, 1] -= np.linspace(0, 1.5, 20)
    scores = features(rows)
    for begin in range(2000, 5500, 250):
        assert np.nanmax(scores[begin : begin + 30]) > 1.2, f"the event at {begin} was missed"


def test_a_state_that_lasts_longer_than_the_freeze_becomes_normal():
    rows = site(n=5000)
    rows[2000:, 0] += 1
    rows[2000:, 1] += 2
    changes = {"follow": 30 * 86_400.0, "freeze_for": 600 * 60.0}
    scores = features(rows, **changes)
    assert (scores[2010:2500] > 1.2).all()
    assert np.nanmax(scores[3500:]) < 1.2


def test_silence_in_an_alarm_does_not_make_its_level_the_new_centre():
    rows = site(n=3000)
    rows[2000:, 0] += 1
    rows[2000:, 1] += 2
    rows[2100:2300] = np.nan
    scores = features(rows, learn="warm_up")
    assert (scores[2310:2400] > 1.2).all()


@settings(max_examples=15, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 1700 * CHANNELS), max_size=8),
    method=st.sampled_from(["vote", "pca"]),
    seed=st.integers(0, 50),
)
def test_any_batching_gives_the_same_features(cuts: list[int], method: str, seed: int):
    columns = readings(site(seed, 1700))
    whole = multivariate.kernels.step(*columns, *state_of(method=method))
    state = state_of(method=method)
    edges = [0, *sorted(cuts), len(columns[0])]
    parts = [multivariate.kernels.step(*(c[a:b] for c in columns), *state) for a, b in itertools.pairwise(edges)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_seventeen_channels_are_refused_with_the_number_that_is_allowed():
    with pytest.raises(ValueError, match="1 to 16 channels"):
        arrays([Multivariate()], [17], [60.0])
