"""The shipped rules on the sample district: quiet while it is healthy, awake to every kind of incident."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from citypulse.app import extensions
from citypulse.config import load_city
from citypulse.model import CityConfig, Priority, ReadingBatch, Sensor, SensorTable, Transition, TransitionKind
from rules.engine import Engine
from simulators.incidents import KINDS, Incident, Incidents, choose_site, distance_m, storm_over
from simulators.signals import Signals
from simulators.weather import Weather

ROOT = Path(__file__).parent.parent.parent
HOUR_MS = 3_600_000
START_MS = 1_779_984_000_000  # 2026-05-28 16:00 UTC, midnight in Hangzhou
SEED = 1
WARM_UP_H = 4  # of health before an incident
RULES_OF = {  # what must speak of each incident, and of nothing else is it asked
    "underpass_flood": {"flood-depth-underpass", "flood-underpass-forecast"},
    "gas_leak": {"gas-ch4-space", "gas-ch4-rise"},
    "sewage": {"water-do", "water-do-drop", "water-turb", "water-sudden-several"},
    "road_settling": {"road-settlement", "road-moisture-rise", "road-leak-noise", "road-cavity-signs"},
    "cover_shift": {"road-cover"},
}
DOMAIN_OF = {
    "underpass_flood": "flood",
    "gas_leak": "gas",
    "sewage": "water",
    "road_settling": "road",
    "cover_shift": "road",
}


@pytest.fixture(scope="module")
def city() -> CityConfig:
    return load_city(ROOT / "sensors.yaml", extensions())


def readings(sensors: Sequence[Sensor], hours: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Which sensors read when, an hour at a time: each at its own cadence from a phase of its own."""
    cadence_ms = np.array([s.cadence_s * 1000 for s in sensors])
    phase_ms = np.arange(len(sensors)) * 7_919_000 % cadence_ms
    for hour in range(hours):
        since_ms = START_MS + hour * HOUR_MS
        first = -(-(since_ms - phase_ms) // cadence_ms) * cadence_ms + phase_ms
        times = [np.arange(f, since_ms + HOUR_MS, c) for f, c in zip(first, cadence_ms, strict=True)]
        which = np.repeat(np.arange(len(sensors)), [len(t) for t in times])
        column = np.concatenate(times)
        order = np.argsort(column, kind="stable")
        yield which[order], column[order]


def raised(city: CityConfig, hours: int, *, domain: str = "", incident: Incident | None = None) -> list[Transition]:
    """Every alarm that begins or changes its level while the district lives for `hours`, without storms of its own."""
    sensors = tuple(s for s in city.sensors if domain in ("", s.domain))
    middle = [float(np.mean([getattr(s, axis) for s in city.sites.values()])) for axis in ("lat", "lon")]
    weather = Weather(seed=SEED, lat=middle[0], lon=middle[1], has_storms=False)
    incidents = Incidents(sensors, city.sites)
    if incident is not None:
        incidents.add(incident)
        if incident.kind == "underpass_flood":
            weather.add([storm_over(incident, city.sites[incident.site])])
    signals = Signals(sensors, city.sites, seed=SEED, weather=weather, incidents=incidents)
    ids = {s.id for s in sensors}
    rules = tuple(r for r in city.rules if r.domain and set().union(*r.sensors) <= ids)
    table = SensorTable.build(tuple(s.id for s in sensors), sensors)
    engine = Engine(rules, table, city.sites, city.gateways, quantities=city.quantities)
    found: list[Transition] = []
    for which, times in readings(sensors, hours):
        batch = ReadingBatch.of(which, times, signals.values(which, times))
        found += engine.step(batch, int(times[-1]))
    return [t for t in found if t.kind in (TransitionKind.RAISE, TransitionKind.LEVEL)]


def told(transitions: Sequence[Transition]) -> str:
    return "\n".join(f"{t.rule} {t.scope} {t.level}: {t.because.en}" for t in transitions)


def test_a_healthy_district_is_quiet_for_five_days(city: CityConfig) -> None:
    """Five, because sudden change must know three days before it may speak at all."""
    found = raised(city, 5 * 24)
    serious = [t for t in found if t.level in (Priority.P1, Priority.P2)]
    assert not serious, told(serious)
    assert len(found) <= 5, told(found)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_of_incident_is_noticed_where_it_happens(city: CityConfig, kind: str) -> None:
    site = choose_site(kind, city.sites.values(), SEED, 0)
    assert site is not None
    start_ms = START_MS + WARM_UP_H * HOUR_MS
    incident = Incident(id=f"{kind}@{site.id}", kind=kind, site=site.id, start_ms=start_ms)
    found = raised(city, WARM_UP_H + 12, domain=DOMAIN_OF[kind], incident=incident)
    assert [t for t in found if t.event_ms < start_ms] == []
    here = Counter(t.rule for t in found if t.scope.split(".")[0] == site.id)
    assert set(here) >= RULES_OF[kind], told(found)


def test_gas_in_neighbouring_wells_is_told_from_gas_in_one(city: CityConfig) -> None:
    """Two wells of the district lie within 100 m of each other; the next after them is 240 m away."""
    wells = [s for s in city.sites.values() if s.kind in ("gas-well", "adjacent-space")]
    pairs = itertools.combinations(wells, 2)
    near = min(pairs, key=lambda pair: distance_m(*pair))
    leak = Incident(id="leak", kind="gas_leak", site=near[0].id, start_ms=START_MS + HOUR_MS)
    found = raised(city, 4, domain="gas", incident=leak)
    assert {t.scope for t in found if t.rule == "gas-ch4-neighbours"} == {f"{s.id}.ch4" for s in near}
    alone = max(wells, key=lambda s: min(distance_m(s, other) for other in wells if other is not s))
    leak = Incident(id="leak", kind="gas_leak", site=alone.id, start_ms=START_MS + HOUR_MS)
    found = raised(city, 4, domain="gas", incident=leak)
    assert "gas-ch4-space" in {t.rule for t in found}
    assert "gas-ch4-neighbours" not in {t.rule for t in found}


def test_an_underpass_is_announced_before_it_must_be_closed(city: CityConfig) -> None:
    site = choose_site("underpass_flood", city.sites.values(), SEED, 0)
    assert site is not None
    incident = Incident(id="flood", kind="underpass_flood", site=site.id, start_ms=START_MS + HOUR_MS)
    found = raised(city, 3, domain="flood", incident=incident)
    announced = min(t.event_ms for t in found if t.rule == "flood-underpass-forecast" and t.scope == f"{site.id}.depth")
    closed = min(
        t.event_ms
        for t in found
        if t.rule == "flood-depth-underpass" and t.scope == f"{site.id}.depth" and t.level is Priority.P1
    )
    assert announced <= closed - 4 * 60_000


def test_low_oxygen_is_followed_from_one_bridge_to_the_next(city: CityConfig) -> None:
    below = next(s for s in city.sites.values() if s.upstream and s.kind == "river")
    incident = Incident(id="sewage", kind="sewage", site=below.upstream[0], start_ms=START_MS + HOUR_MS)
    found = raised(city, 12, domain="water", incident=incident)
    assert f"{below.id}.do" in {t.scope for t in found if t.rule == "water-do-travelling"}, told(found)


def test_a_sinking_road_comes_under_double_control_when_two_days_are_over(city: CityConfig) -> None:
    site = choose_site("road_settling", city.sites.values(), SEED, 0)
    assert site is not None
    incident = Incident(id="sinking", kind="road_settling", site=site.id, start_ms=START_MS + 30 * HOUR_MS)
    found = raised(city, 5 * 24, domain="road", incident=incident)
    days = [(t.event_ms - START_MS) / HOUR_MS / 24 for t in found if t.rule == "road-settlement-control"]
    assert days, told(found)
    assert 3 <= min(days) < 3.1
