"""Healthy readings: the same from the same seed, inside physical range, and quiet."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from citypulse.domains import QUANTITIES
from simulators.healthy import SIGNALS
from simulators.incidents import Incidents
from simulators.signals import Signals
from simulators.weather import Weather
from tests.simulators.cast import NOON_MS, SEED, SENSORS, SITES, index

DAY_MS = 86_400_000


def signals(seed: int = SEED, *, has_storms: bool = True) -> Signals:
    weather = Weather(seed=seed, lat=30.265, lon=120.135, has_storms=has_storms)
    return Signals(SENSORS, SITES, seed=seed, weather=weather, incidents=Incidents(SENSORS, SITES))


def every(step_ms: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    times = NOON_MS + np.arange(count) * step_ms
    return np.tile(np.arange(len(SENSORS)), count), np.repeat(times, len(SENSORS))


def test_the_same_seed_gives_the_same_readings_after_a_restart_and_in_any_batches():
    which, times = every(600_000, 50)
    whole = signals().values(which, times)
    after = signals()
    shuffled = np.random.default_rng(1).permutation(len(which))
    parts = [after.values(which[p], times[p]) for p in np.array_split(shuffled, 7)]
    again = np.empty(len(which))
    again[shuffled] = np.concatenate(parts)
    assert np.array_equal(whole, again)


def test_another_seed_gives_another_city():
    which, times = every(600_000, 5)
    assert not np.array_equal(signals(1).values(which, times), signals(2).values(which, times))


def test_a_healthy_year_stays_within_physical_range():
    which, times = every(7 * DAY_MS + 5_000_000, 52)
    values = signals().values(which, times)
    low, high = np.array([s.low for s in SENSORS]), np.array([s.high for s in SENSORS])
    assert np.isfinite(values).all()
    assert ((values >= low[which]) & (values <= high[which])).all()


def test_every_quantity_of_every_domain_has_a_signal():
    assert set(SIGNALS) == set(QUANTITIES)


def test_a_quantity_nobody_knows_reads_steady_and_in_range():
    odd = replace(SENSORS[0], id="mill-1.radon", quantity="radon", low=0.0, high=400.0)
    weather = Weather(seed=1, lat=30.0, lon=120.0)
    made = Signals((odd,), SITES, seed=1, weather=weather, incidents=Incidents((odd,), SITES))
    values = made.values(np.zeros(100, int), NOON_MS + np.arange(100) * 60_000)
    assert 100 < values.min() <= values.max() < 160


@pytest.mark.parametrize(
    ("sensor", "low", "high"),
    [
        ("mill-1.do", 5.5, 10.5),  # class II-III, far from the class V limit of 2
        ("mill-1.ph", 6.6, 8.4),
        ("mill-1.nh3n", 0.02, 0.95),
        ("mill-1.codmn", 1.0, 5.5),
        ("mill-1.turb", 0.0, 40.0),
        ("w-1.ch4", 0.0, 0.3),
        ("w-1.o2", 20.2, 21.3),
        ("segment.settlement", 0.0, 8.0),
        ("segment.vibration", 0.0, 0.05),
        ("cover.tilt", 0.0, 4.0),
        ("cover.battery", 55.0, 100.0),
        ("pump-room.chlorine", 0.3, 1.0),
        ("sewer.fill", 5.0, 59.0),
        ("pass-1.depth", -1.0, 2.9),
        ("low-road.depth", -1.0, 4.9),
    ],
)
def test_a_healthy_fortnight_stays_below_every_alarm(sensor, low, high):
    times = NOON_MS + np.arange(0, 14 * DAY_MS, 120_000)
    values = signals(has_storms=False).values(np.full(len(times), index(sensor)), times)
    assert low <= values.min()
    assert values.max() <= high


def test_oxygen_breathes_with_the_day_and_readings_are_quantised():
    times = NOON_MS + np.arange(0, 10 * DAY_MS, 600_000)
    values = signals().values(np.full(len(times), index("mill-1.do")), times)
    hour = (times / 3_600_000 + 8) % 24
    assert values[(hour > 13) & (hour < 17)].mean() > values[(hour > 1) & (hour < 5)].mean() + 0.8
    assert np.array_equal(values, np.round(values, 2))


def test_rain_fills_the_sewer_and_muddies_the_river():
    weather = Weather(seed=SEED, lat=30.265, lon=120.135)
    days = [d for d in range(NOON_MS // DAY_MS, NOON_MS // DAY_MS + 60) if weather._cells_of_day(d)]
    assert 5 <= len(days) <= 25  # about a quarter of all days have a cloudburst
    cell = weather._cells_of_day(days[0])[0]
    over = cell.start_ms + int(cell.duration_s * 1000)
    before = cell.start_ms - 3 * 3_600_000
    at = [index("sewer.fill"), index("mill-1.turb")]
    dry, wet = signals().values(at, [before] * 2), signals().values(at, [over] * 2)
    assert wet[0] > dry[0] + 3
    assert wet[1] > dry[1]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(NOON_MS - 400 * DAY_MS, NOON_MS + 400 * DAY_MS))
def test_rain_is_never_negative_and_never_beyond_nature(seed, at_ms):
    rain = Weather(seed=seed, lat=30.26, lon=120.13).rain(
        np.full(20, 30.26), np.full(20, 120.13), at_ms + np.arange(20) * 60_000
    )
    assert (rain >= 0).all()
    assert (rain < 120).all()
