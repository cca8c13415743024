"""The hour of the day is the city's, summer time included, whatever machine it runs on."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.detectors import baseline
from rules.detectors.statistics_kernels import hour_of_day, kth_largest, smallest_first
from rules.detectors.zone import offsets

ZONES = ["Asia/Shanghai", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Africa/Casablanca", "UTC"]
HOUR_MS = 3_600_000


@pytest.mark.parametrize("zone", ZONES)
@settings(max_examples=60, deadline=None)
@given(ms=st.integers(0, 4_100_000_000_000))
def test_the_hour_is_that_of_the_zone(zone: str, ms: int):
    local = datetime.fromtimestamp(ms / 1000, UTC).astimezone(ZoneInfo(zone))
    assert hour_of_day(ms, *offsets(zone)) == local.hour


def test_the_hour_turns_with_summer_time_to_the_minute():
    """New York, 9 March 2025: 01:59 EST is followed by 03:00 EDT."""
    change = round(datetime(2025, 3, 9, 7, 0, tzinfo=UTC).timestamp() * 1000)
    table = offsets("America/New_York")
    assert [hour_of_day(change + ms, *table) for ms in (-1, 0)] == [1, 3]


def test_an_unknown_zone_is_an_error():
    with pytest.raises(ZoneInfoNotFoundError):
        offsets("Mars/Olympus")


def test_a_rhythm_that_follows_the_clock_stays_usual_when_summer_time_begins():
    """People get up by the clock. Told the zone, the detector does not find the day of the change odd."""
    start = round(datetime(2025, 2, 17, tzinfo=UTC).timestamp() * 1000)
    change = round(datetime(2025, 3, 9, 7, tzinfo=UTC).timestamp() * 1000)
    times = start + np.arange(28 * 288, dtype=np.int64) * 300_000
    local = [datetime.fromtimestamp(t / 1000, ZoneInfo("America/New_York")).hour for t in times.tolist()]
    noise = np.random.default_rng(8).standard_normal(len(times))
    values = np.where(np.isin(local, [7, 8]), 60.0, 20.0) + noise

    def oddest(zone: str) -> float:
        memory = baseline.arrays([baseline.Baseline()], zone)
        scores = baseline.kernels.step(times, values, np.zeros(len(times), np.int32), *memory)
        return float(scores[(times >= change) & (times < change + 86_400_000)].max())

    assert oddest("America/New_York") < 12 < oddest("Etc/GMT+5")


@given(values=st.lists(st.floats(0, 1e6), min_size=1, max_size=32), data=st.data())
def test_order_statistics_are_those_of_sorting(values: list[float], data):
    k = data.draw(st.integers(1, len(values)))
    assert kth_largest(np.array(values), len(values), k) == sorted(values)[-k]
    assert kth_largest(np.array(values), k - 1, k) == 0.0
    front = np.array(values)
    smallest_first(front, len(values), k)
    assert front[:k].tolist() == sorted(values)[:k]
