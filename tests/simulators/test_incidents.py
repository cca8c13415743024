"""Incidents change the sensors they should and no others; a true repair heals, a botched one does not."""

from __future__ import annotations

import numpy as np
import pytest

from simulators.incidents import KINDS, Incident, Incidents, Repair, storm_over
from simulators.schedule import DEMO_MINUTES, demo_schedule, drawn_schedule, parse_incident
from simulators.signals import Signals
from simulators.weather import Weather
from tests.simulators.cast import NOON_MS, SEED, SENSORS, SITES, index

MIN_MS = 60_000


class World:
    def __init__(self):
        self.weather = Weather(seed=SEED, lat=30.265, lon=120.135, has_storms=False)
        self.incidents = Incidents(SENSORS, SITES)
        self.signals = Signals(SENSORS, SITES, seed=SEED, weather=self.weather, incidents=self.incidents)

    def happen(self, kind: str, site: str, name: str = "one") -> None:
        incident = Incident(id=name, kind=kind, site=site, start_ms=NOON_MS)
        self.incidents.add(incident)
        if kind == "underpass_flood":
            self.weather.add([storm_over(incident, SITES[site])])

    def at(self, sensor: str, minutes: float) -> float:
        return float(self.signals.values(np.array([index(sensor)]), np.array([NOON_MS + int(minutes * MIN_MS)]))[0])


def test_an_underpass_fills_when_its_pumps_fail_and_drains_after_a_true_repair():
    world = World()
    world.happen("underpass_flood", "pass-1")
    assert world.at("pass-1.depth", -5) < 1
    assert world.at("pass-1.depth", 10) > 3
    assert world.at("pass-1.depth", 45) > 27  # the underpass closes
    assert world.at("pass-2.depth", 45) < 3  # nobody else's pumps failed
    world.incidents.repair("pass-1", NOON_MS + 45 * MIN_MS, truly=True)
    assert world.at("pass-1.depth", 44) > 27  # the past does not change
    assert world.at("pass-1.depth", 150) < 1


def test_the_first_alarm_of_the_demo_is_due_within_half_an_hour_of_its_start():
    sites = dict(SITES)
    world = World()
    for incident in demo_schedule(sites, SEED, NOON_MS):
        world.incidents.add(incident)
        if incident.kind == "underpass_flood":
            world.weather.add([storm_over(incident, sites[incident.site])])
    first = demo_schedule(sites, SEED, NOON_MS)[0]
    times = NOON_MS + np.arange(0, 30) * MIN_MS
    depth = world.signals.values(np.full(30, index(f"{first.site}.depth")), times)
    assert depth.max() > 20  # orange for an underpass
    assert (depth[15:] > 3).all()


def test_gas_rises_first_at_the_leak_then_in_the_wells_nearby_and_not_far_away():
    world = World()
    world.happen("gas_leak", "w-1")
    assert world.at("w-1.ch4", 20) > 2.5
    assert 1.0 < world.at("w-2.ch4", 30) < world.at("w-1.ch4", 30)
    assert world.at("w-3.ch4", 60) > 0.5
    assert world.at("w-4.ch4", 60) < 0.3
    assert world.at("w-1.o2", 60) < 20


def test_sewage_travels_downstream_and_is_diluted_on_the_way():
    world = World()
    world.happen("sewage", "mill-1")
    assert world.at("mill-1.do", 60) < 3
    assert world.at("mill-1.nh3n", 60) > 5
    assert world.at("mill-1.turb", 60) > 80
    assert world.at("mill-2.nh3n", 15) < 1  # not there yet
    assert world.at("mill-2.nh3n", 90) > 3
    assert world.at("mill-1.nh3n", 300) > world.at("mill-2.nh3n", 300) > world.at("mill-3.nh3n", 300) > 1
    assert world.at("mill-3.do", 300) < world.at("mill-3.do", -60) - 1


def test_a_discharge_into_the_middle_leaves_the_water_above_alone():
    world = World()
    world.happen("sewage", "mill-2")
    assert world.at("mill-1.nh3n", 120) < 1
    assert world.at("mill-3.nh3n", 120) > 2


def test_a_road_sinks_after_a_pipe_break_and_its_soil_gets_wet():
    world = World()
    world.happen("road_settling", "segment")
    assert world.at("segment.settlement", 240) > 30
    assert world.at("segment.moisture", 240) > 40
    assert world.at("segment.leak", 240) > 55


@pytest.mark.parametrize(
    ("kind", "site", "sensor"),
    [
        ("gas_leak", "w-1", "w-1.ch4"),
        ("sewage", "mill-1", "mill-1.nh3n"),
        ("road_settling", "segment", "segment.settlement"),
        ("cover_shift", "cover", "cover.tilt"),
        ("underpass_flood", "pass-1", "pass-1.depth"),
    ],
)
def test_a_true_repair_brings_every_kind_back_to_where_it_was(kind, site, sensor):
    world, healthy = World(), World()
    world.happen(kind, site)
    sick = world.at(sensor, 60)
    assert abs(sick - healthy.at(sensor, 60)) > 5
    assert world.incidents.repair(site, NOON_MS + 61 * MIN_MS, truly=True) == ("one",)
    recovered = KINDS[kind].recover_s / 60 * 8 + 180
    assert world.at(sensor, 61 + recovered) == pytest.approx(healthy.at(sensor, 61 + recovered), abs=0.3)


@pytest.mark.parametrize("name", ["one", "two", "three", "four"])
def test_a_botched_repair_does_not_last(name):
    world = World()
    world.happen("gas_leak", "w-1", name)
    world.incidents.repair("w-1", NOON_MS + 60 * MIN_MS, truly=False)
    assert world.at("w-1.ch4", 180) > 5
    assert world.incidents.running(NOON_MS + 180 * MIN_MS)


def test_some_botched_repairs_look_like_success_for_a_while():
    dips = []
    for name in ("one", "two", "three", "four", "five", "six"):
        world = World()
        world.happen("gas_leak", "w-1", name)
        world.incidents.repair("w-1", NOON_MS + 60 * MIN_MS, truly=False)
        dips.append(world.at("w-1.ch4", 75) < 3)
    assert any(dips)
    assert not all(dips)


def test_repairing_a_station_downstream_cures_the_discharge_above_it():
    world = World()
    world.happen("sewage", "mill-1")
    assert world.incidents.repair("mill-3", NOON_MS + 120 * MIN_MS, truly=True) == ("one",)
    assert world.incidents.running(NOON_MS + 121 * MIN_MS) == []


def test_repairing_elsewhere_changes_nothing():
    world = World()
    world.happen("gas_leak", "w-1")
    assert world.incidents.repair("w-4", NOON_MS + 60 * MIN_MS, truly=True) == ()
    assert world.at("w-1.ch4", 180) > 5


def test_strength_never_leaves_zero_to_one_whatever_is_repaired_when():
    rng = np.random.default_rng(SEED)
    times = NOON_MS + np.arange(-10, 600) * MIN_MS
    for k in range(200):
        repairs = tuple(
            Repair(at_ms=NOON_MS + int(m) * MIN_MS, is_true=bool(rng.random() < 0.3))
            for m in sorted(rng.integers(0, 500, size=rng.integers(0, 5)))
        )
        kind = list(KINDS)[k % len(KINDS)]
        strength = Incident(id=str(k), kind=kind, site="x", start_ms=NOON_MS, repairs=repairs).strength(times)
        assert strength[:10].max() == 0
        assert strength.min() >= 0
        assert strength.max() <= 1
        assert np.abs(np.diff(strength[11:])).max() < 1


def test_what_was_cured_long_ago_is_forgotten():
    world = World()
    world.happen("gas_leak", "w-1")
    world.incidents.repair("w-1", NOON_MS + MIN_MS, truly=True)
    world.incidents.forget_spent(NOON_MS + 20 * MIN_MS)
    assert world.incidents._known
    world.incidents.forget_spent(NOON_MS + 24 * 60 * MIN_MS)
    assert not world.incidents._known


def test_an_incident_where_it_cannot_happen_is_refused_with_the_places_where_it_can():
    with pytest.raises(ValueError, match="w-1 is a gas-well; it happens at: river, outfall, lake"):
        World().happen("sewage", "w-1")
    with pytest.raises(ValueError, match="'nowhere' is not configured"):
        World().happen("sewage", "nowhere")


def test_an_incident_is_read_as_people_write_it():
    assert parse_incident("gas_leak@w-1+10min", NOON_MS).start_ms == NOON_MS + 600_000
    assert parse_incident("gas_leak@w-1", NOON_MS).start_ms == NOON_MS
    with pytest.raises(ValueError, match="kinds: underpass_flood"):
        parse_incident("meteor@w-1", NOON_MS)


def test_schedules_come_from_the_seed_alone():
    assert demo_schedule(SITES, 3, NOON_MS) == demo_schedule(SITES, 3, NOON_MS)
    day = 86_400_000
    whole = drawn_schedule(SITES, 3, NOON_MS, NOON_MS + 20 * day, per_day=4.0)
    later = drawn_schedule(SITES, 3, NOON_MS + 5 * day, NOON_MS + 20 * day, per_day=4.0)
    assert [i for i in whole if i.start_ms >= NOON_MS + 5 * day] == later
    assert 40 < len(whole) < 120
    assert {k for k, _ in DEMO_MINUTES} == {i.kind for i in demo_schedule(SITES, 3, NOON_MS)}
