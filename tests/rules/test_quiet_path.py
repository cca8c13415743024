"""The quiet path is only a short cut: with it and without it, the same transitions and the same memory, bit for bit."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from citypulse.model import Gap, Lane, Quality, ReadingBatch
from rules.detector import Quiet
from rules.detectors import DETECTORS
from rules.engine import Engine
from tests.rules.test_engine import same_state
from tests.rules.world import QUANTITIES, S, World, limit, rule, sensor

IS_INTERPRETED = bool(os.environ.get("NUMBA_DISABLE_JIT"))
EXAMPLES = 3 if IS_INTERPRETED else 25
READINGS = 300 if IS_INTERPRETED else 3000
LONG = {name: replace(detector, quiet=Quiet.NEVER) for name, detector in DETECTORS.items()}

DEPTH, FAR, PH, DO, NH3N, RAIN = (
    "mill-river.depth", "harbour-river.depth", "mill-river.ph", "mill-river.do", "mill-river.nh3n", "mill-river.rain",
)  # fmt: skip
NAMES = [DEPTH, FAR, PH, DO, NH3N, RAIN]
MILL = "mill-river"
SUDDEN = {"min_days": 2, "floor": 2.0}
SEVERAL = {"rules": ["depth", "rise", "silent"]}


def city() -> World:
    """Every detector that has a quiet path, tuned so that noise sometimes reaches its limits."""
    high = limit("yellow", "at_least", 20, 2, 60, 120)
    return World(
        [sensor(name) for name in NAMES],
        [
            rule("depth", "threshold", [DEPTH, FAR], high, limit("red", "above", 26), accepts_suspect=True),
            rule("acid", "threshold", [PH], limit("orange", "below", 6, 1), limit("blue", "at_most", 7), gap=Gap.HOLD),
            rule("rise", "rate", [DEPTH, FAR, RAIN], limit("orange", "at_least", 0.2, 0.05), settings={"window": 300}),
            rule("steady-rise", "rate", [DEPTH], limit("blue", "at_least", 0.3), settings={"window": 7200}),
            rule("stuck", "stuck", NAMES, limit("blue", "at_least", 300), settings={"unless_at_or_below": 0.0}),
            rule("steady", "stuck", NAMES, limit("blue", "at_least", 600), settings={"tolerance": 4.0}),
            rule("near", "neighbours", [DEPTH, FAR], limit("red", "at_least", 2), settings={"at_least": 18}),
            rule("wet", "rain_context", [DEPTH], limit("blue", "at_least", 22), settings={"rain_mm_h": 20.0}),
            rule("class", "water_class", [MILL], limit("yellow", "at_least", 5), sensors=[(PH, DO, NH3N)]),
            rule("black", "black_odorous", [MILL], limit("yellow", "at_least", 2), sensors=[(DO, NH3N)]),
            rule("soon", "forecast", [DEPTH], limit("yellow", "at_most", 120, 60), settings={"reaches": 27.0}),
            rule("sudden", "sudden_change", [NH3N], limit("red", "at_least", 2), settings=SUDDEN),
            rule("several", "composite", [MILL], limit("red", "at_least", 2), settings=SEVERAL, sensors=[(DEPTH, PH)]),
            rule("silent", "no_data", NAMES, settings={"after": 900}),
        ],
    )  # fmt: skip


def engine(w: World, detectors: dict) -> Engine:
    return Engine(w.rules, w.table, w.sites, w.gateways, quantities=QUANTITIES, detectors=detectors)


def stream(seed: int, n: int) -> ReadingBatch:
    """Walks that dwell in the calm and now and then leave it; bad, late, repeated readings; silences."""
    rng = np.random.default_rng(seed)
    which = rng.integers(0, len(NAMES), n).astype(np.int32)
    step_s = rng.choice([5, 10, 30, 60, 3600], n, p=[0.3, 0.4, 0.2, 0.09, 0.01])
    received = 1_700_000_000_000 + np.cumsum(step_s) * S
    mood = rng.choice([0.0, 12.0], n // 50 + 1)[np.arange(n) // 50]
    value = np.round(np.array([9.0, 9.0, 7.5, 8.0, 3.0, 1.0])[which] + mood * rng.random(n) + rng.normal(0, 1, n))
    value[rng.random(n) < 0.01] = np.nan
    return ReadingBatch(
        sensor=which,
        time_ms=received,
        value=value,
        quality=rng.choice([Quality.GOOD, Quality.SUSPECT, Quality.FAIL], n, p=[0.96, 0.03, 0.01]).astype(np.uint8),
        lane=rng.choice([Lane.LIVE, Lane.HISTORY, Lane.DUPLICATE], n, p=[0.96, 0.03, 0.01]).astype(np.uint8),
        received_ms=received,
    )


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 700))
def test_the_short_way_and_the_long_way_say_and_remember_the_same(seed: int, size: int) -> None:
    w = city()
    short, long = engine(w, DETECTORS), engine(w, LONG)
    batch = stream(seed, READINGS)
    for begin in range(0, len(batch), size):
        piece = batch.take(slice(begin, begin + size))
        now_ms = int(piece.received_ms[-1])
        assert repr(short.step(piece, now_ms)) == repr(long.step(piece, now_ms))
    assert same_state(short.state(), long.state())


def test_every_quiet_path_is_tried_here() -> None:
    assert {DETECTORS[r.detector].quiet for r in city().rules} == set(Quiet)


def test_readings_of_a_calm_city_never_become_samples() -> None:
    w = city()
    w.rules = tuple(r for r in w.rules if r.id != "steady")
    one = engine(w, DETECTORS)
    n = 1200
    t = 1_700_000_000_000 + np.arange(n) * 10 * S
    which = np.arange(n) % len(NAMES)
    value = np.array([9.0, 9.0, 7.5, 8.0, 0.3, 1.0])[which] + 0.01 * np.sin(np.arange(n))
    for half in (slice(0, n // 2), slice(n // 2, n)):  # the first readings are news to some detectors
        assert one.step(ReadingBatch.of(which[half], t[half], value[half]), int(t[half][-1])) == []
    assert one._scratch.starts[-1] == 0


@pytest.mark.parametrize("seed", range(3))
def test_a_restore_in_the_middle_of_the_short_way_changes_nothing(seed: int) -> None:
    w = city()
    batch = stream(seed, READINGS)
    half = READINGS // 2
    first, rest = batch.take(slice(0, half)), batch.take(slice(half, None))
    one = engine(w, DETECTORS)
    one.step(first, int(first.received_ms[-1]))
    other = engine(w, LONG)
    other.restore(one.state())
    end_ms = int(rest.received_ms[-1])
    assert repr(one.step(rest, end_ms)) == repr(other.step(rest, end_ms))
    assert same_state(one.state(), other.state())


def test_a_look_at_a_lane_sees_what_its_door_has_let_through() -> None:
    w = city()
    one, long = engine(w, DETECTORS), engine(w, LONG)
    n = 600
    t = 1_700_000_000_000 + np.arange(n) * 10 * S
    which = (np.arange(n) % len(NAMES)).astype(np.int32)
    batch = ReadingBatch.of(which, t, np.array([9.0, 9.0, 7.5, 8.0, 0.3, 1.0])[which] + 0.01 * np.sin(np.arange(n)))
    for half in (slice(0, n // 2), slice(n // 2, n)):
        for each in (one, long):
            each.step(batch.take(half), int(t[half][-1]))
    assert (one.plan.doors["last_ms"] > 0).any()  # some readings went through doors, and their lanes do not know yet
    for rule_id, scope in (("depth", DEPTH), ("rise", DEPTH), ("stuck", PH)):
        assert repr(one.why(rule_id, scope)) == repr(long.why(rule_id, scope))
    assert same_state(one.state(), long.state())
