"""A whole simulated district at a real broker: every reading arrives, whatever happens to gateways on the way."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from citypulse.clock import VirtualClock
from citypulse.errors import CityError
from simulators.district import District
from simulators.faults import Fault
from simulators.incidents import Incident
from tests.simulators.answering_city import AnsweringCity
from tests.simulators.cast import CITY, NOON_MS, SEED, SENSORS
from tests.support.mosquitto import Mosquitto, is_installed

pytestmark = pytest.mark.skipif(not is_installed(), reason="mosquitto is not installed")
HOUR_MS = 3_600_000
MIN_MS = 60_000
_breath = threading.Event()


@pytest.fixture
def city() -> Iterator[AnsweringCity]:
    with Mosquitto() as broker, AnsweringCity(broker.url) as hearing:
        hearing.url = broker.url
        while not hearing.source.is_connected:
            _breath.wait(0.01)
        yield hearing


def live(district: District, clock: VirtualClock, minutes: float, step_s: float = 10.0) -> None:
    """Let simulated time pass in steps, at the pace at which the broker takes messages."""
    until = clock.now_ms() + minutes * MIN_MS
    while clock.now_ms() < until:
        clock.advance(step_s)
        district.step(clock.now_ms(), time.monotonic())
        if sum(g.pending for g in district.gateways.values() if not g.is_cut) > 200:
            _breath.wait(0.01)


def connect(district: District, clock: VirtualClock) -> None:
    give_up = time.monotonic() + 10
    while district.stats().gateways_up < len(district.gateways):
        district.step(clock.now_ms(), time.monotonic())
        assert time.monotonic() < give_up
        _breath.wait(0.01)


def expected(minutes: int) -> dict[str, int]:
    """How often each sensor must have reported, give or take one."""
    return {s.id: minutes * 60 // s.cadence_s for s in SENSORS}


@pytest.mark.parametrize("connections", [0, 2])
def test_every_sensor_reports_at_its_cadence_and_everything_becomes_durable(city, connections):
    clock = VirtualClock(NOON_MS)
    district = District(CITY, SEED, clock, city.url, connections=connections)
    connect(district, clock)
    live(district, clock, 120)
    assert district.drain(20)
    district.stop()
    heard = city.readings()
    for sensor, often in expected(120).items():
        times = sorted(t for s, t in heard if s == sensor)
        assert often <= len(times) <= often + 2, sensor
        assert times[0] < NOON_MS + MIN_MS  # each says hello within a minute
    stats = district.stats()
    assert stats.pending == 0
    assert stats.durable == stats.messages
    assert stats.readings == len(heard)
    assert {g for g, b in city.states if b["state"] == "online"} == set(CITY.gateways)


def test_raw_values_are_what_the_calibration_turns_into_canonical_ones(city):
    clock = VirtualClock(NOON_MS)
    district = District(CITY, SEED, clock, city.url)
    connect(district, clock)
    live(district, clock, 30)
    district.drain(20)
    district.stop()
    raw = [v for (s, _), v in city.readings().items() if s == "mill-2.do"]
    assert np.mean(raw) * 0.1 + 0.5 == pytest.approx(8.0, abs=1.5)


def test_the_same_seed_and_start_publish_the_same_readings(city):
    runs = []
    for _ in range(2):
        clock = VirtualClock(NOON_MS)
        district = District(CITY, SEED, clock, city.url, incidents=[flood()])
        connect(district, clock)
        live(district, clock, 30)
        assert district.drain(20)
        district.stop()
        runs.append(city.readings())
        city.messages.clear()
        city.seqs.clear()
    assert runs[0] == runs[1]


def flood() -> Incident:
    return Incident(id="flood", kind="underpass_flood", site="pass-1", start_ms=NOON_MS + 5 * MIN_MS)


def test_a_flood_shows_and_a_true_repair_drains_it(city):
    clock = VirtualClock(NOON_MS)
    district = District(CITY, SEED, clock, city.url, incidents=[flood()], has_storms=False)
    connect(district, clock)
    live(district, clock, 50)
    assert district.stats().incidents == ("flood",)
    assert district.repair("pass-1", True) == ("flood",)
    live(district, clock, 120)
    district.drain(20)
    district.stop()
    depth = {(t - NOON_MS) / MIN_MS: v for (s, t), v in city.readings().items() if s == "pass-1.depth"}
    assert max(v for m, v in depth.items() if m < 4) < 1
    assert max(v for m, v in depth.items() if m < 50) > 27
    assert max(v for m, v in depth.items() if m > 160) < 1
    assert district.stats().incidents == ()
    assert district.stats().repairs == 1


def test_a_cover_that_moves_reports_at_once_and_again_when_it_is_put_back(city):
    clock = VirtualClock(NOON_MS)
    moved = Incident(id="cover", kind="cover_shift", site="cover", start_ms=NOON_MS + 10 * MIN_MS)
    district = District(CITY, SEED, clock, city.url, incidents=[moved])
    connect(district, clock)
    live(district, clock, 20)
    district.repair("cover", True)
    live(district, clock, 20)
    district.drain(20)
    district.stop()
    tilt = sorted(((t - NOON_MS) / MIN_MS, v) for (s, t), v in city.readings().items() if s == "cover.tilt")
    assert any(10 <= m < 11 and v > 30 for m, v in tilt)
    assert any(20 <= m < 22 and v < 5 for m, v in tilt)


def test_an_outage_a_reboot_duplicates_and_shuffling_lose_nothing(city):
    clock = VirtualClock(NOON_MS)
    faults = [
        Fault(id="o", kind="outage", where="gw-1", start_ms=NOON_MS + 10 * MIN_MS, end_ms=NOON_MS + 40 * MIN_MS),
        Fault(id="r", kind="reboot", where="gw-1", start_ms=NOON_MS + 20 * MIN_MS, end_ms=NOON_MS + 21 * MIN_MS),
        Fault(id="d", kind="duplicate", where="gw-2", start_ms=NOON_MS),
        Fault(id="s", kind="reorder", where="gw-3", start_ms=NOON_MS + 10 * MIN_MS, end_ms=NOON_MS + 40 * MIN_MS),
    ]
    district = District(CITY, SEED, clock, city.url, faults=faults)
    connect(district, clock)
    live(district, clock, 30)
    assert not district.gateways["gw-1"].line.is_up
    assert district.gateways["gw-1"].pending > 20
    live(district, clock, 30)
    assert district.drain(30)
    district.stop()
    heard = city.readings()
    for sensor, often in expected(60).items():
        assert often <= len([1 for s, _ in heard if s == sensor]) <= often + 2, sensor
    assert len({boot for gateway, boot in city.seqs if gateway == "gw-1"}) == 2
    assert ("gw-1", "offline") in {(g, b["state"]) for g, b in city.states}
    sent = [(g, b["boot"], b["seq"]) for g, b in city.messages]
    assert len(sent) > len(set(sent))  # the duplicates were really sent


def test_a_wrong_clock_shifts_the_times_of_its_gateway_only(city):
    clock = VirtualClock(NOON_MS)
    slow = Fault(id="c", kind="clock", where="gw-2", start_ms=NOON_MS)
    district = District(CITY, SEED, clock, city.url, faults=[slow])
    connect(district, clock)
    live(district, clock, 10)
    district.drain(20)
    district.stop()
    first = {gateway: min(b["sent"] for g, b in city.messages if g == gateway) for gateway in CITY.gateways}
    assert first["gw-2"] - first["gw-1"] == pytest.approx(slow.clock_offset_s * 1000, abs=60_000)
    assert abs(first["gw-3"] - first["gw-1"]) < 60_000


def test_a_warm_up_sends_the_past_first(city):
    clock = VirtualClock(NOON_MS)
    district = District(CITY, SEED, clock, city.url, warm_up_s=7200)
    connect(district, clock)
    live(district, clock, 5)
    district.drain(20)
    district.stop()
    times = [t for (s, t) in city.readings() if s == "mill-1.do"]
    assert min(times) < NOON_MS - 7000_000
    assert len(times) >= 24


def test_readings_wait_on_the_gateways_while_the_city_answers_nothing(city):
    city.is_answering = False
    clock = VirtualClock(NOON_MS)
    district = District(CITY, SEED, clock, city.url)
    connect(district, clock)
    live(district, clock, 10)
    assert not district.drain(0.5)
    assert district.stats().pending == district.stats().messages > 0
    district.stop()


def test_what_cannot_happen_is_refused_before_anything_starts():
    clock = VirtualClock(NOON_MS)
    with pytest.raises(ValueError, match="it happens at: underpass, road"):
        District(
            CITY,
            SEED,
            clock,
            "mqtt://127.0.0.1:1",
            incidents=[Incident(id="x", kind="underpass_flood", site="w-1", start_ms=0)],
        )
    with pytest.raises(CityError, match="is not understood"):
        District(CITY, SEED, clock, "tcp://127.0.0.1:1")
