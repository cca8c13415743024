"""The demo's story: a storm, a leak at night, a repair that was none, a drill; where each happens is the seed's choice.

Minutes are the city's, after the start. At 60x a minute is a second: the first alarm comes within ten of them, and
each act begins when the eye has had time for the one before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from citypulse.model import Sensor, Site

from .faults import Fault
from .incidents import Incident, choose_site, distance_m
from .noise import key_of, uniform
from .schedule import drawn_later
from .weather import Cell

STORM_MIN = 0.3
STORM_LASTS_S = 1_080.0
STORM_RADIUS_M = 2_200.0
STORM_PEAK_MM_H = 45.0
FLOODS_MAX = 3
FLOOD_STEP_MIN = 0.7  # between one underpass and the next
FLOOD_SEVERITY = 0.75  # of the usual cloudburst over each of them: three at once, under the wide one
REACH_M = 2_000.0
SILENCE_MIN, SILENCE_LASTS_MIN = 1.5, 34.0
DRILL_MIN = 20.0
LEAK_MIN = 30.0
LEAK_SEVERITY = 1.2
LATER: tuple[tuple[str, float], ...] = (("sewage", 75.0), ("cover_shift", 95.0), ("road_settling", 110.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What goes wrong when and where.

    floods: sites under water, the first one is where the crew's first repair is none · silenced: gateway, or "" ·
    leak: site of the gas leak, or "" · drill: site where the drill is played, or "" · drill_ms: when it begins.
    """

    incidents: tuple[Incident, ...]
    faults: tuple[Fault, ...]
    cells: tuple[Cell, ...]
    floods: tuple[str, ...]
    silenced: str
    leak: str
    drill: str
    drill_ms: int

    def is_botched(self, site: str, rework_count: int) -> bool:
        """Return whether a repair there is none: only the first one at the first flooded site."""
        return bool(self.floods) and site == self.floods[0] and rework_count == 0


def demo_story(sites: Mapping[str, Site], sensors: tuple[Sensor, ...], seed: int, start_ms: int) -> Story:
    """Return the story of this seed; a city without such places has the acts it can have."""

    def at(minutes: float) -> int:
        return start_ms + round(minutes * 60_000)

    floods = _floods(sites, seed)
    incidents = [
        Incident(
            id=f"underpass_flood@{site.id}@{at(STORM_MIN + k * FLOOD_STEP_MIN)}",
            kind="underpass_flood",
            site=site.id,
            start_ms=at(STORM_MIN + k * FLOOD_STEP_MIN),
            severity=FLOOD_SEVERITY,
            rains_s=STORM_LASTS_S,
        )
        for k, site in enumerate(floods)
    ]
    cells = [_storm(floods[0], seed, at(STORM_MIN))] if floods else []
    silenced = _silenced(floods, sites, sensors)
    faults = [_outage(silenced, at(SILENCE_MIN), at(SILENCE_MIN + SILENCE_LASTS_MIN))] if silenced else []
    leak = choose_site("gas_leak", sites.values(), seed, 0)
    if leak is not None:
        incidents.append(
            Incident(
                id=f"gas_leak@{leak.id}@{at(LEAK_MIN)}",
                kind="gas_leak",
                site=leak.id,
                start_ms=at(LEAK_MIN),
                severity=LEAK_SEVERITY,
            )
        )
    for kind, minutes in LATER:
        place = choose_site(kind, sites.values(), seed, 0)
        if place is not None:
            incidents.append(
                Incident(id=f"{kind}@{place.id}@{at(minutes)}", kind=kind, site=place.id, start_ms=at(minutes))
            )
    incidents += drawn_later(sites, seed, at(LATER[-1][1]), hours=24.0)
    drill = _drill(sites, seed, leak, floods)
    return Story(
        incidents=tuple(incidents),
        faults=tuple(faults),
        cells=tuple(cells),
        floods=tuple(site.id for site in floods),
        silenced=silenced,
        leak=leak.id if leak is not None else "",
        drill=drill.id if drill is not None else "",
        drill_ms=at(DRILL_MIN),
    )


def _floods(sites: Mapping[str, Site], seed: int) -> list[Site]:
    """Choose an underpass among those with the most others near it, and these others, nearest first."""
    low = sorted((s for s in sites.values() if s.kind == "underpass"), key=lambda s: s.id)
    low = low or sorted((s for s in sites.values() if s.kind == "road"), key=lambda s: s.id)
    near = {
        s.id: sorted((o for o in low if distance_m(s, o) <= REACH_M), key=lambda o: (distance_m(s, o), o.id))
        for s in low
    }
    most = max((min(len(n), FLOODS_MAX) for n in near.values()), default=0)
    fit = [s for s in low if min(len(near[s.id]), FLOODS_MAX) == most]
    return near[fit[key_of(seed, "storm") % len(fit)].id][:FLOODS_MAX] if fit else []


def _storm(middle: Site, seed: int, start_ms: int) -> Cell:
    draw = float(uniform(key_of(seed, "storm", "peak"), 0))
    return Cell(
        start_ms=start_ms,
        duration_s=STORM_LASTS_S,
        lat=middle.lat,
        lon=middle.lon,
        radius_m=STORM_RADIUS_M,
        peak_mm_h=STORM_PEAK_MM_H + 10.0 * draw,
    )


def _silenced(floods: list[Site], sites: Mapping[str, Site], sensors: tuple[Sensor, ...]) -> str:
    """Choose the gateway nearest to the storm that no flooded underpass speaks through, so that none goes blind."""
    if not floods:
        return ""
    spoken = {s.gateway for s in sensors if s.site in {f.id for f in floods}}
    away: dict[str, float] = {}
    for sensor in sensors:
        site = sites[sensor.site]
        if sensor.gateway not in spoken and site.domain == floods[0].domain:
            away[sensor.gateway] = min(away.get(sensor.gateway, float("inf")), distance_m(site, floods[0]))
    return min(away, key=lambda name: (away[name], name), default="")


def _outage(gateway: str, start_ms: int, end_ms: int) -> Fault:
    return Fault(id=f"outage@{gateway}@{start_ms}", kind="outage", where=gateway, start_ms=start_ms, end_ms=end_ms)


def _drill(sites: Mapping[str, Site], seed: int, leak: Site | None, floods: list[Site]) -> Site | None:
    """Choose a valve well far from everything that really happens."""
    real = [s for s in (leak, *floods) if s is not None]
    areas = {s.area for s in real}
    wells = sorted((s for s in sites.values() if s.kind == "gas-well" and s.area not in areas), key=lambda s: s.id)
    return wells[key_of(seed, "drill") % len(wells)] if wells else None
