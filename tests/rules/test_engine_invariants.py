"""Late, repeated and reordered readings never move a live alarm: grading, quality control and engine together.

The numbers are those of the design's invariants: I5 a repeated sample is nothing, I6 a late one changes nothing live,
I7 lost data changes no condition, I18 any batching and any order within lateness say the same, I26 a higher limit
never means more time in alarm, I27 patience never means more alarms.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from citypulse.model import Gap, Lane, ReadingBatch, Transition, TransitionKind
from ingest.qc.controller import QualityControl
from ingest.qc.settings import QualitySettings
from ingest.quality import Grader
from rules.engine import Engine
from tests.rules.world import QUANTITIES, S, World, limit, rule, sensor

START_MS = 1_767_542_400_000
MILL, HARBOUR = "mill-road.depth", "harbour-road.depth"
NAMES = [MILL, HARBOUR]
QUALITY = QualitySettings.model_validate(
    {"quantities": {"depth": {"gross_range": {"fail": [-5, 60]}, "spike": {"suspect": 25}, "missing": [-9999]}}}
)
EXAMPLES = 60
CHANGES = (TransitionKind.RAISE, TransitionKind.LEVEL, TransitionKind.CLEAR)

Reading = tuple[int, int, float]  # sensor, time ms, value


def city(value: float = 15, deadband: float = 2, on: float = 60, off: float = 120) -> World:
    return World(
        [sensor(name) for name in NAMES],
        [
            rule("depth", "threshold", NAMES, limit("yellow", "at_least", value, deadband, on, off), gap=Gap.HOLD),
            rule("rise", "rate", NAMES, limit("orange", "at_least", 0.1)),
            rule("stuck", "stuck", NAMES, limit("blue", "at_least", 600)),
            rule("silent", "no_data", NAMES, settings={"after": 3600}),
        ],
    )


class Pipeline:
    """What the heart does with columns, without the heart: grade, judge, step."""

    def __init__(self, w: World) -> None:
        n = len(NAMES)
        registry: Any = SimpleNamespace(
            table=w.table, scale=np.ones(n), offset=np.zeros(n), low=np.full(n, -100.0), high=np.full(n, 100.0)
        )
        self.grader = Grader(registry, QualityControl.of_table(QUALITY, w.table))
        self.engine = Engine(w.rules, w.table, w.sites, w.gateways, quantities=QUANTITIES)
        self.lanes: list[int] = []

    def take(self, readings: list[Reading], received_ms: list[int]) -> list[Transition]:
        batch: ReadingBatch = self.grader.grade(
            np.array([r[0] for r in readings], np.int32), np.array([r[1] for r in readings], np.int64),
            np.array([r[2] for r in readings], np.float64), np.array(received_ms, np.int64),
        ).batch  # fmt: skip
        self.lanes += batch.lane.tolist()
        return self.engine.step(batch, received_ms[-1])

    def run(self, readings: list[Reading], cuts: list[int] = []) -> list[Transition]:  # noqa: B006 - never changed
        """Take everything, received when the newest reading so far was made, cut into steps."""
        received = np.maximum.accumulate([r[1] for r in readings]).tolist()
        edges = sorted({0, len(readings), *(c % (len(readings) + 1) for c in cuts)})
        return [
            t for a, b in zip(edges, edges[1:], strict=False) if b > a for t in self.take(readings[a:b], received[a:b])
        ]


def series(seed: int, n: int = 150) -> list[Reading]:
    """Waves of water on two roads, a reading a minute each, in order of time."""
    rng = np.random.default_rng(seed)
    waves = 16 * np.sin(np.arange(n) / rng.uniform(8, 20)) + np.cumsum(rng.normal(0, 0.4, n)) + rng.normal(0, 2, n)
    return [(s, START_MS + (60 * k + 7 * s) * S, float(np.round(waves[k] + s))) for k in range(n) for s in (0, 1)]


def live(transitions: list[Transition]) -> list[str]:
    return [repr(t) for t in transitions if t.lane is Lane.LIVE]


SEEDS = st.integers(0, 2**32 - 1)


@settings(max_examples=EXAMPLES, deadline=None)
@given(SEEDS, st.lists(st.integers(0, 10_000), max_size=10))
def test_i5_and_i18_repeated_readings_and_any_batching_change_nothing(seed: int, cuts: list[int]) -> None:
    readings = series(seed)
    rng = np.random.default_rng(seed)
    whole = Pipeline(city()).run(readings)
    assert repr(Pipeline(city()).run(readings, cuts)) == repr(whole)
    twice = [r for reading in readings for r in [reading] * int(rng.integers(1, 4))]
    pipeline = Pipeline(city())
    assert repr(pipeline.run(twice, cuts)) == repr(whole)
    assert pipeline.lanes.count(Lane.DUPLICATE) == len(twice) - len(readings)


@settings(max_examples=EXAMPLES, deadline=None)
@given(SEEDS, st.lists(st.integers(0, 10_000), max_size=10))
def test_i6_late_and_future_readings_change_nothing_live(seed: int, cuts: list[int]) -> None:
    readings = series(seed)
    rng = np.random.default_rng(seed)
    mixed: list[Reading] = []
    newest: dict[int, int] = {}
    for s, t, x in readings:
        mixed.append((s, t, x))
        newest[s] = t
        if rng.random() < 0.3:  # a clock that was wrong, a buffer that was found again
            mixed.append((s, t - int(rng.integers(1, 7200)) * S, float(rng.choice([0.0, 18.0, 50.0, 999.0]))))
    plain, disturbed = Pipeline(city()), Pipeline(city())
    assert live(disturbed.run(mixed, cuts)) == live(plain.run(readings))
    assert disturbed.engine.active() == plain.engine.active()
    future = [(0, readings[-1][1] + 3_600_000, 99.0)]
    assert disturbed.take(future, [readings[-1][1]]) == []
    assert disturbed.lanes[-1] == Lane.QUARANTINED


@settings(max_examples=EXAMPLES, deadline=None)
@given(SEEDS, st.integers(0, 149))
def test_i7_bad_and_missing_readings_change_no_condition(seed: int, at: int) -> None:
    readings = series(seed)
    pipeline = Pipeline(city())
    pipeline.run(readings[: 2 * at + 2])
    before = pipeline.engine.active()
    t = readings[2 * at + 1][1]
    bad = [(k % 2, t + (k + 1) * 20 * S, x) for k, x in enumerate([np.nan, 999.0, -9999.0, np.nan, 61.0, -6.0])]
    said = [t.kind for t in pipeline.take(bad, [r[1] for r in bad])]
    assert not [kind for kind in said if kind in CHANGES]
    assert pipeline.engine.active() == before


@settings(max_examples=EXAMPLES, deadline=None)
@given(SEEDS)
def test_i18_sensors_may_overtake_each_other(seed: int) -> None:
    """Received at the same moment in any order, each sensor's own order kept: the same alarms."""
    readings = series(seed)
    rng = np.random.default_rng(seed)
    whole = sorted(live(Pipeline(city()).take(readings, [readings[-1][1]] * len(readings))))
    keys = [np.sort(rng.random(len(readings) // 2)) for _ in NAMES]
    places = sorted(range(len(readings)), key=lambda k: keys[k % 2][k // 2])
    mixed = [readings[k] for k in places]
    assert sorted(live(Pipeline(city()).take(mixed, [readings[-1][1]] * len(readings)))) == whole


def depth_alarms(w: World, readings: list[Reading]) -> tuple[int, int]:
    """Return how many alarms the depth rule raised, and the milliseconds in alarm."""
    raises = lasted = 0
    since: dict[str, int] = {}
    for t in Pipeline(w).run(readings):
        if t.rule == "depth" and t.kind is TransitionKind.RAISE:
            raises += 1
            since[t.scope] = t.event_ms
        elif t.rule == "depth" and t.kind is TransitionKind.CLEAR:
            lasted += t.event_ms - since.pop(t.scope)
    return raises, lasted + sum(readings[-1][1] - ms for ms in since.values())


@settings(max_examples=EXAMPLES, deadline=None)
@given(SEEDS, st.floats(0, 12))
def test_i26_a_higher_limit_never_means_more_time_in_alarm(seed: int, higher: float) -> None:
    readings = series(seed)
    assert depth_alarms(city(8 + higher), readings)[1] <= depth_alarms(city(8), readings)[1]


@settings(max_examples=EXAMPLES, deadline=None)
@given(SEEDS, st.sampled_from([(2, 60, 120), (6, 60, 120), (2, 180, 120), (2, 60, 600), (8, 300, 1200)]))
def test_i27_more_patience_never_means_more_alarms(seed: int, patience: tuple[float, float, float]) -> None:
    readings = series(seed)
    assert depth_alarms(city(10, *patience), readings)[0] <= depth_alarms(city(10, 2, 60, 120), readings)[0]
