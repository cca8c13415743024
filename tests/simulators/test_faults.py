"""Faulty instruments: what they do to readings, and that a repair ends it."""

from __future__ import annotations

import numpy as np
import pytest

from simulators.faults import Fault, Faults, drawn_faults, parse_fault
from tests.simulators.cast import NOON_MS, SENSORS, index

DAY_MS = 86_400_000
GATEWAYS = ("gw-1", "gw-2", "gw-3")
DO = index("mill-1.do")
TIMES = NOON_MS + np.arange(0, DAY_MS, 300_000)
TRUE = 7.0 + np.sin(np.arange(len(TIMES)) / 20)


def healthy(sensor, time_ms):
    return np.full(len(sensor), 6.5)


def bent(kind: str, end_ms: int = 1 << 62):
    faults = Faults(SENSORS)
    faults.add([Fault(id="f", kind=kind, where="mill-1.do", start_ms=NOON_MS + DAY_MS // 2, end_ms=end_ms)], GATEWAYS)
    return *faults.bend(np.full(len(TIMES), DO), TIMES, TRUE, healthy), faults


def test_before_it_begins_a_fault_does_nothing_and_other_sensors_never_feel_it():
    for kind in ("stuck", "spike", "drift", "dropout"):
        values, kept, faults = bent(kind)
        half = len(TIMES) // 2
        assert np.array_equal(values[:half], TRUE[:half])
        assert kept[:half].all()
        other, kept = faults.bend(np.full(len(TIMES), DO + 1), TIMES, TRUE, healthy)
        assert np.array_equal(other, TRUE)
        assert kept.all()


def test_a_stuck_sensor_repeats_the_value_it_stuck_at():
    values, _, _ = bent("stuck")
    assert set(values[len(TIMES) // 2 :]) == {6.5}


def test_a_spiking_sensor_spikes_now_and_then_and_stays_in_range():
    values, _, _ = bent("spike")
    half = len(TIMES) // 2
    hit = np.abs(values[half:] - TRUE[half:]) > 1
    assert 1 <= hit.sum() <= 25
    assert values.max() <= SENSORS[DO].high


def test_a_drifting_sensor_leaves_the_truth_slowly():
    values, _, _ = bent("drift")
    off = np.abs(values - TRUE)[len(TIMES) // 2 :]
    assert off[:5].max() < 0.1
    assert off[-1] > 1


def test_a_dropping_sensor_loses_most_readings():
    _, kept, _ = bent("dropout")
    assert 5 < kept[len(TIMES) // 2 :].sum() < 60


def test_replacing_the_sensor_ends_its_fault():
    _, _, faults = bent("stuck")
    assert faults.repair(["mill-1.do"], NOON_MS + DAY_MS // 2 + 1) == ("f",)
    values, _ = faults.bend(np.full(len(TIMES), DO), TIMES, TRUE, healthy)
    assert np.array_equal(values[len(TIMES) // 2 + 1 :], TRUE[len(TIMES) // 2 + 1 :])


def test_a_fault_is_read_as_people_write_it():
    fault = parse_fault("stuck@mill-1.do+10min/1h", NOON_MS)
    assert (fault.start_ms, fault.end_ms) == (NOON_MS + 600_000, NOON_MS + 4_200_000)
    with pytest.raises(ValueError, match="kinds: stuck, spike"):
        parse_fault("cursed@mill-1.do", NOON_MS)
    with pytest.raises(ValueError, match="gateway 'gw-9' is not configured"):
        Faults(SENSORS).add([parse_fault("outage@gw-9", NOON_MS)], GATEWAYS)


def test_the_days_faults_are_the_same_whenever_the_run_starts():
    whole = drawn_faults(SENSORS, GATEWAYS, 5, NOON_MS, NOON_MS + 20 * DAY_MS, per_day=6)
    later = drawn_faults(SENSORS, GATEWAYS, 5, NOON_MS + 10 * DAY_MS, NOON_MS + 20 * DAY_MS, per_day=6)
    assert [f for f in whole if f.start_ms >= NOON_MS + 10 * DAY_MS] == later
    assert {f.kind for f in whole} > {"stuck", "outage"}
    Faults(SENSORS).add(whole, GATEWAYS)
