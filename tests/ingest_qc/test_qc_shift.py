"""A shift of level: what no single step shows is raised once it is confirmed, and only then."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from citypulse.model import ReadingBatch
from ingest.qc.catalogue import names_of
from ingest.qc.controller import QualityControl
from ingest.qc.settings import QualitySettings

HOUR_MS = 3_600_000
READINGS = 24


def settings(**shifted: object) -> dict[str, object]:
    return {"shifted": {"readings": READINGS, "floor": 1, **shifted}}


def control(**quantities: dict[str, object]) -> QualityControl:
    model = QualitySettings.model_validate({"quantities": quantities})
    return QualityControl.of_sensors(model, [f"mill-river.{q}" for q in quantities], [3600.0] * len(quantities))


def said(quality: QualityControl, values: list[float], cuts: tuple[int, ...] = ()) -> list[tuple[str, ...]]:
    """Return the names of the tests that raised each reading of the first sensor, when it came."""
    tests: list[tuple[str, ...]] = []
    edges = [0, *cuts, len(values)]
    for a, b in zip(edges, edges[1:], strict=False):
        times = HOUR_MS * np.arange(a, b)
        batch = ReadingBatch.of(np.zeros(b - a), times, np.array(values[a:b]), quality=np.zeros(b - a))
        tests += [names_of(int(t)) for t in quality.apply(batch).tests]
    return tests


def restless(n: int = 60, seed: int = 4) -> list[float]:
    """A fouled probe: anything from 8 to 16, from one reading to the next."""
    return np.random.default_rng(seed).uniform(8, 16, n).tolist()


def test_a_fall_out_of_restlessness_is_raised_once_by_the_reading_that_confirms_it():
    tests = said(control(turb=settings(fall=1.8)), [*restless(), 3.3, 2.8, 2.6, 2.7, 2.5])
    assert tests[60:] == [(), ("shifted",), (), (), ()]
    assert not any(tests[:60])


def test_one_reading_alone_is_no_shift():
    assert not any(said(control(turb=settings(fall=1.8)), [*restless(), 3.0, 9.0, *restless(20, 5)]))


def test_a_direction_left_out_is_natural():
    flood = [*restless(), 80.0, 90.0, 95.0]
    assert not any(said(control(turb=settings(fall=1.8)), flood))
    assert said(control(turb=settings(rise=1.8)), flood)[60:] == [(), ("shifted",), ()]


def test_nothing_is_known_before_enough_was_seen():
    assert not any(said(control(turb=settings(fall=1.8)), [*restless(READINGS - 1), 3.0, 2.8, 2.7]))


def test_small_numbers_need_the_floor_too():
    calm = [0.4, 0.5] * 30
    assert not any(said(control(turb=settings(fall=1.8)), [*calm, 0.1, 0.1]))


def test_what_another_test_doubts_is_no_evidence():
    """0.2 fails its range: it neither confirms a shift nor becomes the least of what was seen."""
    turb = settings(fall=1.8) | {"gross_range": {"fail": [1, 1000]}}
    tests = said(control(turb=turb), [*restless(), 0.2, 3.3, 0.2, 2.8])
    assert tests[60:] == [("gross_range",), (), ("gross_range",), ("shifted",)]


def test_a_level_that_moves_with_it_explains_it():
    jump = {"jump": {"rise": {"floor": 1e6, "scales": 1}, "natural_with": [{"quantity": "level", "moves": 0.05}]}}
    level = {"jump": {"rise": {"floor": 1e6, "scales": 1}}}

    def shifts(levels: list[float]) -> bool:
        quality = control(level=level, turb=settings(fall=1.8) | jump)
        values = [*restless(), 3.3, 2.8]
        sensor = np.tile([0, 1], len(values))
        times = np.repeat(HOUR_MS * np.arange(len(values)), 2)
        batch = ReadingBatch.of(sensor, times, np.column_stack([levels, values]).ravel(), quality=np.zeros(len(sensor)))
        return "shifted" in names_of(int(quality.apply(batch).tests[-1]))

    assert shifts([0.5] * 62)
    assert not shifts([*[0.5] * 61, 0.7])


def test_a_restless_companion_explains_nothing_by_its_noise():
    """It must move by so many of its own usual steps, too."""
    other = {"jump": {"rise": {"floor": 1000, "scales": 10}, "fall": {"floor": 1000, "scales": 10}, "memory": 0.2}}

    def jumps(scales: float) -> bool:
        company = [{"quantity": "cond", "moves": 15, "scales": scales}]
        turb = {"jump": {"rise": {"floor": 5, "scales": 1}, "natural_with": company}}
        quality = control(cond=other, turb=turb)
        conds = [300.0, 330.0] * 40
        values = [8.0] * 79 + [200.0]
        sensor = np.tile([0, 1], 80)
        times = np.repeat(HOUR_MS * np.arange(80), 2)
        batch = ReadingBatch.of(sensor, times, np.column_stack([conds, values]).ravel(), quality=np.zeros(160))
        return "jump" in names_of(int(quality.apply(batch).tests[-1]))

    assert not jumps(0)
    assert jumps(4)


@pytest.mark.parametrize("cuts", [(1,), (30, 31), (60,), (61,), tuple(range(1, 65))])
def test_any_batching_says_the_same(cuts: tuple[int, ...]):
    values = [*restless(), 3.3, 2.8, 2.6, 2.7, 2.5]
    assert said(control(turb=settings(fall=1.8)), values, cuts) == said(control(turb=settings(fall=1.8)), values)


def test_a_restored_state_goes_on_where_it_stood():
    values = [*restless(), 3.3]
    before, after = control(turb=settings(fall=1.8)), control(turb=settings(fall=1.8))
    said(before, values)
    after.restore(before.state())
    batch = ReadingBatch.of([0], [HOUR_MS * 61], [2.8], quality=[0])
    assert names_of(int(after.apply(batch).tests[0])) == ("shifted",)


def test_a_shift_test_without_a_direction_is_refused():
    with pytest.raises(ValidationError, match="rise"):
        control(turb={"shifted": {"readings": 20}})
