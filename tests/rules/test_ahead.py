"""Readings taken sensor by sensor, ahead of the others, give the same transitions and memory as in order of arrival."""

from __future__ import annotations

import os
from typing import Any
from unittest.mock import patch

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import citypulse.by_sensor as ordering
from citypulse.model import Lane, Quality, ReadingBatch
from rules.detectors import DETECTORS
from rules.engine import Engine
from tests.rules.test_engine import same_state
from tests.rules.world import QUANTITIES, S, World, limit, rule, sensor

IS_INTERPRETED = bool(os.environ.get("NUMBA_DISABLE_JIT"))
EXAMPLES = 3 if IS_INTERPRETED else 25
READINGS = 300 if IS_INTERPRETED else 3000
PIECE = 50
SITES = [f"site-{k}" for k in range(5)]
DEPTHS = [f"{site}.depth" for site in SITES]
ACIDS = [f"{site}.ph" for site in SITES]


def city() -> World:
    """Depths have simple lanes alone; of the acids one site's meet in a composite, and all of them can fall silent."""
    names = [name for pair in zip(DEPTHS, ACIDS, strict=True) for name in pair]
    here = [sensor(name, gateway=f"gw-0{k // 5}") for k, name in enumerate(names)]
    levels = (limit("yellow", "at_least", 20, 2, 60, 120), limit("red", "above", 26))
    return World(
        here,
        [
            rule("depth", "threshold", DEPTHS, *levels, accepts_suspect=True),
            rule("rise", "rate", DEPTHS[:4], limit("orange", "at_least", 0.2, 0.05), settings={"window": 300}),
            rule("stuck", "stuck", names, limit("blue", "at_least", 900)),
            rule("acid", "threshold", ACIDS, limit("blue", "at_most", 7)),
            rule("both", "composite", SITES[:2], limit("red", "at_least", 2), settings={"rules": ["depth", "acid"]},
                 sensors=[(f"{site}.depth", f"{site}.ph") for site in SITES[:2]]),
            rule("silent", "no_data", names, settings={"after": 900}),
            rule("gone", "gateway_silent", ["gw-00", "gw-01"], limit("yellow", "at_least", 600), sensors=[(), ()]),
        ],
    )  # fmt: skip


def engine(w: World) -> Engine:
    return Engine(w.rules, w.table, w.sites, w.gateways, quantities=QUANTITIES, detectors=DETECTORS)


def stream(seed: int, n: int) -> ReadingBatch:
    """Walks that now and then leave the calm; bad, late, repeated readings; silences; one sensor delivers a backlog."""
    rng = np.random.default_rng(seed)
    chatty = rng.random(n // 100 + 1) < 0.3
    which = np.where(chatty[np.arange(n) // 100], 0, rng.integers(0, 2 * len(SITES), n)).astype(np.int32)
    received = 1_700_000_000_000 + np.cumsum(rng.choice([5, 10, 30, 60, 1800], n, p=[0.3, 0.4, 0.2, 0.098, 0.002])) * S
    mood = rng.choice([0.0, 0.0, 12.0], n // 50 + 1)[np.arange(n) // 50]
    value = np.round(np.where(which % 2 == 0, 9.0, 8.5) + mood * rng.random(n) + 0.3 * rng.normal(0, 1, n), 1)
    value[rng.random(n) < 0.005] = np.nan
    return ReadingBatch(
        sensor=which,
        time_ms=received,
        value=value,
        quality=rng.choice([Quality.GOOD, Quality.SUSPECT, Quality.FAIL], n, p=[0.98, 0.015, 0.005]).astype(np.uint8),
        lane=rng.choice([Lane.LIVE, Lane.HISTORY, Lane.DUPLICATE], n, p=[0.97, 0.01, 0.02]).astype(np.uint8),
        received_ms=received,
    )


def step_ahead(one: Engine, piece: ReadingBatch) -> str:
    with patch.multiple(ordering, READINGS_MIN=1, SENSORS_MIN=1):
        return repr(one.step(piece, int(piece.received_ms[-1])))


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 1500))
def test_taken_ahead_or_in_order_of_arrival_rules_say_and_remember_the_same(seed: int, size: int) -> None:
    w = city()
    ahead, plain = engine(w), engine(w)
    batch = stream(seed, READINGS)
    for begin in range(0, len(batch), size):
        piece = batch.take(slice(begin, begin + size))
        assert step_ahead(ahead, piece) == repr(plain.step(piece, int(piece.received_ms[-1])))
    assert same_state(ahead.state(), plain.state())


def test_such_a_stream_has_transitions_losses_and_readings_taken_ahead() -> None:
    w = city()
    one = engine(w)
    batch = stream(1, READINGS)
    left: list[int] = []
    kinds: set[str] = set()

    def counted(*given: Any) -> Any:
        found = Engine._ahead(one, *given)
        left.append(len(found.readings))
        return found

    with patch.object(one, "_ahead", counted):
        for begin in range(0, len(batch), PIECE):
            piece = batch.take(slice(begin, begin + PIECE))
            with patch.multiple(ordering, READINGS_MIN=1, SENSORS_MIN=1):
                kinds |= {t.kind.value for t in one.step(piece, int(piece.received_ms[-1]))}
    assert {"raise", "clear", "data_loss"} <= kinds
    assert min(left) < 0.7 * PIECE
    assert max(left) == PIECE
    assert sum(left) < 0.95 * READINGS


def test_in_a_calm_city_only_sensors_whose_lanes_meet_others_are_left() -> None:
    w = city()
    one = engine(w)
    n = 600
    t = 1_700_000_000_000 + np.arange(n) * 10 * S
    which = (2 * (np.arange(n) % len(DEPTHS))).astype(np.int32)
    batch = ReadingBatch.of(which, t, 9.0 + 0.01 * np.sin(np.arange(n)))
    for half in (slice(0, n // 2), slice(n // 2, n)):
        step_ahead(one, batch.take(half))
    later = ReadingBatch.of(which[:50], t[-1] + (1 + np.arange(50)) * 10 * S, 9.0 + 0.01 * np.cos(np.arange(50)))
    with patch.multiple(ordering, READINGS_MIN=1, SENSORS_MIN=1):
        left = one._ahead(later, one._scratch.events[:0])
    assert left.readings.tolist() == np.flatnonzero(later.sensor < 2 * 2).tolist()  # the two sites of the composite
    assert left.sensor.tolist() == later.sensor[left.readings].tolist()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5000), st.sampled_from([1, 5, 2047, 2048, 2049, 100_000, 2**22]))
def test_the_order_is_by_sensor_and_of_one_sensor_by_arrival(seed: int, n: int, sensors: int) -> None:
    which = np.random.default_rng(seed).integers(0, sensors, n).astype(np.int32)
    with patch.multiple(ordering, READINGS_MIN=1, SENSORS_MIN=1):
        order = ordering.by_sensor(which, sensors)
    assert order is not None
    assert np.array_equal(order, np.argsort(which, kind="stable"))


def test_small_batches_small_cities_and_cities_beyond_two_digits_keep_their_order() -> None:
    many = np.zeros(ordering.READINGS_MIN, np.int32)
    assert ordering.by_sensor(many, ordering.SENSORS_MIN) is not None
    assert ordering.by_sensor(many[1:], ordering.SENSORS_MIN) is None
    assert ordering.by_sensor(many, ordering.SENSORS_MIN - 1) is None
    assert ordering.by_sensor(many, ordering.SENSORS_MAX + 1) is None


def test_warming_up_a_large_city_changes_no_state() -> None:
    one = engine(city())
    before = one.state()
    with patch("rules.ahead.SENSORS_MIN", 1):
        one.warm_up()
    assert same_state(before, one.state())
