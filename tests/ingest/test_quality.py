"""Lanes, ranges and memory, against a model written as plainly as the rule is said."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from citypulse.model import Lane, Quality, ReadingBatch, SensorTable
from ingest.qc.controller import QualityControl
from ingest.qc.settings import FlatLine, SensorQuality, Spike
from ingest.quality import Grader
from ingest.registry import Registry
from tests.ingest.town import T0, make_config, sensor

FIVE_MINUTES_MS = 300_000
COLUMNS = ("sensor", "time_ms", "value", "quality", "lane", "received_ms")


def registry_of(n: int, *, scale: float = 1.0, offset: float = 0.0) -> Registry:
    sensors = tuple(sensor(f"m-{k}.level", "mill", scale=scale, offset=offset, high=100.0) for k in range(n))
    return Registry(make_config(sensors), SensorTable.build(tuple(s.id for s in sensors), sensors))


REGISTRY = registry_of(3)
Grader(REGISTRY)  # compiles, outside any test's deadline


@dataclass
class Plain:
    """The rule of lanes in plain Python."""

    newest: dict[int, tuple[int, float]]

    def grade(self, sensor_: int, time_ms: int, value: float, received_ms: int) -> tuple[Lane, Quality]:
        newest = self.newest.get(sensor_)
        if time_ms > received_ms + FIVE_MINUTES_MS:
            return Lane.QUARANTINED, Quality.FAIL
        if newest is None or time_ms > newest[0]:
            lane = Lane.LIVE
            self.newest[sensor_] = (time_ms, value)
        elif time_ms == newest[0]:
            lane = Lane.DUPLICATE
        else:
            lane = Lane.HISTORY
        if math.isnan(value):
            return lane, Quality.MISSING
        return lane, Quality.GOOD if 0 <= value <= 100 else Quality.FAIL


streams = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.integers(-30, 330).map(lambda s: T0 + 1000 * s),  # against a receive time of T0 up to T0 + 20 s
        st.sampled_from([0.0, 100.0, 100.1, -0.1, 50.0, math.nan]),
        st.integers(0, 1000),
    ),
    max_size=60,
)


def arrays(rows: list, received: list) -> tuple:
    return (
        np.array([r[0] for r in rows], np.int32),
        np.array([r[1] for r in rows], np.int64),
        np.array([r[2] for r in rows], np.float64),
        np.array(received, np.int64),
    )


def receipts(rows: list) -> list[int]:
    now, out = T0, []
    for row in rows:
        now += row[3]
        out.append(now)
    return out


def same(one: ReadingBatch, other: ReadingBatch) -> bool:
    return all(np.array_equal(getattr(one, c), getattr(other, c), equal_nan=c == "value") for c in COLUMNS)


@given(streams)
def test_lanes_and_flags_are_those_of_the_plain_rule(rows) -> None:
    received = receipts(rows)
    batch = Grader(REGISTRY).grade(*arrays(rows, received)).batch
    plain = Plain({})
    want = [plain.grade(s, t, v, r) for (s, t, v, _), r in zip(rows, received, strict=True)]
    assert [(Lane(lane), Quality(q)) for lane, q in zip(batch.lane, batch.quality, strict=True)] == want


@given(streams, st.lists(st.integers(0, 60), max_size=6))
def test_how_readings_are_cut_into_batches_does_not_matter(rows, cuts) -> None:
    received = receipts(rows)
    whole, pieces = Grader(REGISTRY), Grader(REGISTRY)
    want = whole.grade(*arrays(rows, received)).batch
    edges = [0, *sorted(min(c, len(rows)) for c in cuts), len(rows)]
    got = [pieces.grade(*arrays(rows[a:b], received[a:b])).batch for a, b in pairwise(edges)]
    for column in COLUMNS:
        joined = np.concatenate([getattr(b, column) for b in got])
        assert np.array_equal(joined, getattr(want, column), equal_nan=column == "value")


@given(streams, streams)
def test_replay_leaves_the_memory_that_grading_left(before, after) -> None:
    received = receipts(before + after)
    live, again = Grader(REGISTRY), Grader(REGISTRY)
    batch = live.grade(*arrays(before, received[: len(before)])).batch
    again.replay(batch)
    for name, value in live.state().items():
        assert np.array_equal(value, again.state()[name], equal_nan=True), name
    rest = arrays(after, received[len(before) :])
    assert same(live.grade(*(a.copy() for a in rest)).batch, again.grade(*rest).batch)


@settings(max_examples=20)
@given(streams, streams)
def test_a_restored_grader_goes_on_and_the_table_may_have_grown(before, after) -> None:
    received = receipts(before + after)
    small, large = Grader(REGISTRY), Grader(registry_of(5))
    small.grade(*arrays(before, received[: len(before)]))
    large.restore(small.state())
    rest = arrays(after, received[len(before) :])
    assert same(small.grade(*(a.copy() for a in rest)).batch, large.grade(*rest).batch)


def test_values_are_calibrated_before_they_are_judged() -> None:
    grader = Grader(registry_of(1, scale=10.0, offset=-5.0))
    rows = [(0, T0, 2.0, 0), (0, T0 + 1000, 11.0, 0)]
    batch = grader.grade(*arrays(rows, [T0, T0 + 1000])).batch
    assert batch.value.tolist() == [15.0, 105.0]
    assert batch.quality.tolist() == [Quality.GOOD, Quality.FAIL]


def test_a_duplicate_that_disagrees_is_a_conflict_and_the_first_is_kept() -> None:
    grader = Grader(REGISTRY)
    rows = [(0, T0, 1.0, 0), (0, T0, 1.0, 0), (0, T0, 2.0, 0), (0, T0, math.nan, 0)]
    graded = grader.grade(*arrays(rows, [T0] * 4))
    assert graded.batch.lane.tolist() == [Lane.LIVE, Lane.DUPLICATE, Lane.DUPLICATE, Lane.DUPLICATE]
    assert graded.conflicts == 2
    assert grader.newest[0] == 1.0


def test_a_clock_that_runs_ahead_never_closes_the_way_for_right_readings() -> None:
    grader = Grader(REGISTRY)
    rows = [(0, T0 + FIVE_MINUTES_MS + 1, 9.0, 0), (0, T0 + FIVE_MINUTES_MS, 1.0, 0)]
    batch = grader.grade(*arrays(rows, [T0, T0])).batch
    assert batch.lane.tolist() == [Lane.QUARANTINED, Lane.LIVE]


def real_control(n: int) -> QualityControl:
    """The QARTOD tests themselves: a spike is known one reading late, a flat line after three."""
    tests = SensorQuality(
        spike=Spike(suspect=5, fail=10), flat_line=FlatLine(tolerance=0.01, suspect_after_s=120, fail_after_s=240)
    )
    return QualityControl([tests] * n, [60.0] * n)


def minutes(*values: float, start: int = 0) -> tuple:
    rows = [(0, T0 + 60_000 * (start + k), v, 0) for k, v in enumerate(values)]
    return arrays(rows, [r[1] + 500 for r in rows])


def test_further_tests_see_the_range_flags_and_may_amend_what_was_said_before() -> None:
    grader = Grader(REGISTRY, real_control(3))
    graded = grader.grade(*minutes(1.0, 2.0, 30.0, 3.0, 200.0))
    assert graded.batch.quality[4] == Quality.FAIL
    assert graded.amendments is not None
    amended = dict(zip(graded.amendments.time_ms.tolist(), graded.amendments.quality.tolist(), strict=True))
    assert amended[T0 + 2 * 60_000] == Quality.FAIL  # the spike, known when the next reading came
    assert (graded.amendments.received_ms > graded.amendments.time_ms).all()


def test_replay_advances_further_tests_exactly() -> None:
    live, again = Grader(REGISTRY, real_control(3)), Grader(REGISTRY, real_control(3))
    for k in range(4):
        again.replay(live.grade(*minutes(5.0, 5.0, 9.0 + k, start=3 * k)).batch)
    for name, value in live.state()["control"].items():
        assert np.array_equal(value, again.state()["control"][name], equal_nan=value.dtype.kind == "f"), name
    rest = minutes(5.0, 40.0, 5.0, start=12)
    one, other = live.grade(*(a.copy() for a in rest)), again.grade(*rest)
    assert same(one.batch, other.batch)
    assert one.amendments is not None
    assert other.amendments is not None
    assert same(one.amendments, other.amendments)


def test_settings_that_changed_cost_only_the_memory_of_further_tests() -> None:
    small, large = Grader(REGISTRY, real_control(3)), Grader(registry_of(5), real_control(5))
    small.grade(*minutes(5.0, 6.0))
    large.restore(small.state())
    assert large.newest_ms[0] == T0 + 60_000
    fresh = real_control(5).state()
    for name, value in large.state()["control"].items():
        assert np.array_equal(value, fresh[name], equal_nan=value.dtype.kind == "f"), name
