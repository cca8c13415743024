"""What goes wrong in the city on purpose: flooding, leaks, discharges, a sinking road; and what a repair does to it.

An incident has a strength between 0 and 1 that grows from its start. A true repair lets it decay; a botched
one does nothing, or helps for a while and then lets it come back. Signals ask for strength, never for a script.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from citypulse.model import Sensor, Site, Text

from .noise import Floats, key_of, uniform
from .weather import METRES_PER_DEGREE, Cell

HOP_DELAY_S = 1200.0  # river water takes some twenty minutes from one section to the next (PROPOSAL)
HOP_SHARE = 0.6  # and is diluted on the way
NEAR_M = 100.0  # gas in the ground: concentration falls to 37 % over this distance
NEAR_MAX_M = 300.0
GAS_M_PER_S = 0.2
RELAPSE_AFTER_S = 900.0
EFFECT_MIN = 0.02  # a share below this is not felt
SPENT_AFTER_TAUS = 12.0  # exp(-12): nothing is left to see of it


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentKind:
    """A kind of incident: where it happens, how fast it grows and heals, and what it does to each quantity."""

    id: str
    name: Text
    site_kinds: tuple[str, ...]
    growth_s: float  # time constant from nothing to full
    recover_s: float  # time constant after a true repair
    reach: Literal["site", "near", "downstream"]
    effects: Mapping[str, float]  # quantity → change at full strength, canonical unit


# fmt: off
KINDS: dict[str, IncidentKind] = {k.id: k for k in (
    IncidentKind(
        id="underpass_flood", name=Text(zh="下穿立交积水（泵站故障）", en="Underpass flooding, its pumps down"),
        site_kinds=("underpass", "road"), growth_s=20.0, recover_s=120.0, reach="site",
        effects={},  # works through rain and pumps: signals.py, `ponding`
    ),
    IncidentKind(
        id="gas_leak", name=Text(zh="燃气泄漏扩散", en="Gas leaking into neighbouring wells"),
        site_kinds=("gas-well", "adjacent-space"), growth_s=600.0, recover_s=180.0, reach="near",
        effects={"ch4": 7.0, "o2": -1.5, "pressure": -12.0},
    ),
    IncidentKind(
        id="sewage", name=Text(zh="污水偷排", en="Sewage discharge travelling downstream"),
        site_kinds=("river", "outfall", "lake"), growth_s=900.0, recover_s=1500.0, reach="downstream",
        effects={"do": -6.0, "nh3n": 9.0, "turb": 110.0, "cond": 300.0, "ph": -0.4, "codmn": 11.0, "tp": 0.8,
                 "orp": -260.0, "clarity": -45.0},
    ),
    IncidentKind(
        id="road_settling", name=Text(zh="管道破裂致路面沉降", en="Road sinking after a pipe break"),
        site_kinds=("road-segment", "box-culvert"), growth_s=5400.0, recover_s=1800.0, reach="site",
        effects={"settlement": 42.0, "moisture": 35.0, "leak": 45.0, "vibration": 0.05},
    ),
    IncidentKind(
        id="cover_shift", name=Text(zh="井盖移位", en="Manhole cover out of place"),
        site_kinds=("manhole",), growth_s=5.0, recover_s=10.0, reach="site",
        effects={"tilt": 38.0},
    ),
)}
# fmt: on


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """One visit of a crew: whether it truly cured the cause."""

    at_ms: int
    is_true: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One thing that goes wrong at one site from `start_ms` on; severity 1 is the kind's usual size."""

    id: str
    kind: str
    site: str
    start_ms: int
    severity: float = 1.0
    rains_s: float = 0.0  # how long the cloudburst of an underpass_flood lasts; 0: drawn from the id
    repairs: tuple[Repair, ...] = ()

    def strength(self, time_ms: Any) -> Floats:
        """Return its strength 0..1 at each time."""
        kind = KINDS[self.kind]
        times = np.asarray(time_ms, np.float64)
        out = np.zeros(times.shape)
        level = 0.0
        phases = self._phases()
        for k, (since_ms, is_growing) in enumerate(phases):
            tau_ms = (kind.growth_s if is_growing else kind.recover_s) * 1000.0

            def at(
                t: Any, level: float = level, since: int = since_ms, *, up: bool = is_growing, tau: float = tau_ms
            ) -> Any:
                decay = np.exp(-np.maximum(t - since, 0.0) / tau)
                return 1.0 - (1.0 - level) * decay if up else level * decay

            out = np.where(times >= since_ms, at(times), out)
            if k + 1 < len(phases):
                level = float(at(float(phases[k + 1][0])))
        return np.asarray(out, np.float64)

    def is_cured(self, time_ms: int) -> bool:
        """Whether a true repair has happened by then."""
        return any(r.is_true and r.at_ms <= time_ms for r in self.repairs)

    def is_spent(self, time_ms: int) -> bool:
        """Whether it has been cured so long ago that nothing of it is left."""
        cured = [r.at_ms for r in self.repairs if r.is_true]
        return bool(cured) and time_ms > min(cured) + SPENT_AFTER_TAUS * 1000.0 * KINDS[self.kind].recover_s

    def _phases(self) -> list[tuple[int, bool]]:
        """When it begins to grow (True) and to shrink (False), in order."""
        phases = [(self.start_ms, True)]
        for k, repair in enumerate(self.repairs):
            if repair.is_true:
                phases.append((repair.at_ms, False))
                break
            if key_of(self.id, "botched", k) % 2:  # half of the botched repairs help for a quarter of an hour
                phases += [(repair.at_ms, False), (repair.at_ms + int(RELAPSE_AFTER_S * 1000), True)]
        # A second visit before the relapse of the first simply comes in between.
        return sorted(phases)


@dataclass(frozen=True, slots=True)
class _Felt:
    """What one incident does to each sensor: change at full strength, and how much later it arrives."""

    change: Floats
    delay_ms: Floats


@dataclass(slots=True)
class Incidents:
    """All incidents of a run, and how they are felt by every sensor. Repairs may come from any thread."""

    sensors: Sequence[Sensor]
    sites: Mapping[str, Site]
    _known: tuple[Incident, ...] = ()
    _felt: dict[str, _Felt] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, incident: Incident) -> None:
        """Let it happen; ValueError when the site is not known or is of a kind where it cannot happen."""
        kind = KINDS.get(incident.kind)
        if kind is None:
            raise ValueError(f"incident {incident.kind!r} is not known; there are: {', '.join(KINDS)}")
        site = self.sites.get(incident.site)
        if site is None:
            raise ValueError(f"incident {incident.kind}: site {incident.site!r} is not configured")
        if site.kind not in kind.site_kinds:
            where = ", ".join(kind.site_kinds)
            raise ValueError(f"incident {incident.kind}: site {site.id} is a {site.kind}; it happens at: {where}")
        with self._lock:
            self._felt[incident.id] = self._reach(incident, kind)
            self._known = (*(i for i in self._known if i.id != incident.id), incident)

    def repair(self, site: str, at_ms: int, *, truly: bool) -> tuple[str, ...]:
        """A crew works at `site`: every running incident that is felt there gets this repair; return their ids."""
        with self._lock:
            touched = [
                i for i in self._known if i.start_ms <= at_ms and not i.is_cured(at_ms) and site in self._sites_of(i)
            ]
            changed = {i.id: _with_repair(i, Repair(at_ms=at_ms, is_true=truly)) for i in touched}
            self._known = tuple(changed.get(i.id, i) for i in self._known)
            return tuple(changed)

    def effect(self, index: Any, time_ms: Any) -> Floats:
        """Return the summed change of sensors `index` at `time_ms`, canonical unit; equal lengths."""
        times = np.asarray(time_ms, np.float64)
        out = np.zeros(times.shape)
        known, felt = self._known, self._felt
        for incident in known:
            if incident.id not in felt:
                continue
            change = felt[incident.id].change[index]
            hit = np.flatnonzero(change)
            if hit.size:
                late = felt[incident.id].delay_ms[index[hit]]
                out[hit] += change[hit] * incident.strength(times[hit] - late)
        return out

    def at_site(self, site: str, kind: str) -> list[Incident]:
        """Return the incidents of one kind whose own site this is."""
        return [i for i in self._known if i.site == site and i.kind == kind]

    def running(self, now_ms: int) -> list[Incident]:
        """Return what has begun and is not yet cured."""
        return [i for i in self._known if i.start_ms <= now_ms and not i.is_cured(now_ms)]

    def forget_spent(self, now_ms: int) -> None:
        """Drop what was cured long ago, so that a long run does not slow down."""
        with self._lock:
            spent = {i.id for i in self._known if i.is_spent(now_ms)}
            if spent:
                self._known = tuple(i for i in self._known if i.id not in spent)
                self._felt = {k: v for k, v in self._felt.items() if k not in spent}

    def _sites_of(self, incident: Incident) -> set[str]:
        change = self._felt[incident.id].change
        return {incident.site} | {self.sensors[int(k)].site for k in np.flatnonzero(change)}

    def _reach(self, incident: Incident, kind: IncidentKind) -> _Felt:
        share = {incident.site: (1.0, 0.0)}
        if kind.reach == "downstream":
            share = _downstream(incident.site, self.sites)
        elif kind.reach == "near":
            share = _near(self.sites[incident.site], self.sites, kind.site_kinds)
        change = np.zeros(len(self.sensors))
        delay = np.zeros(len(self.sensors))
        for k, sensor in enumerate(self.sensors):
            if sensor.site in share and sensor.quantity in kind.effects:
                part, delay_s = share[sensor.site]
                change[k] = kind.effects[sensor.quantity] * part * incident.severity
                delay[k] = delay_s * 1000.0
        return _Felt(change, delay)


def _with_repair(incident: Incident, repair: Repair) -> Incident:
    return replace(incident, repairs=(*incident.repairs, repair))


def _downstream(source: str, sites: Mapping[str, Site]) -> dict[str, tuple[float, float]]:
    """Return every site the water of `source` reaches, with the share that arrives and its delay in s."""
    share = {source: (1.0, 0.0)}
    edge = [source]
    while edge:
        above = edge.pop(0)
        part, delay_s = share[above]
        for site in sites.values():
            if above in site.upstream and site.id not in share and part * HOP_SHARE >= EFFECT_MIN:
                share[site.id] = (part * HOP_SHARE, delay_s + HOP_DELAY_S)
                edge.append(site.id)
    return share


def _near(source: Site, sites: Mapping[str, Site], kinds: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Return the wells near `source` with the share of its gas that reaches them and its delay in s."""
    share = {}
    for site in sites.values():
        away = distance_m(source, site)
        if site.kind in kinds and away <= NEAR_MAX_M and np.exp(-away / NEAR_M) >= EFFECT_MIN:
            share[site.id] = (float(np.exp(-away / NEAR_M)), away / GAS_M_PER_S)
    return share


def distance_m(a: Site, b: Site) -> float:
    """Return how far apart two sites are, in metres; flat-earth, good within a city."""
    north = (a.lat - b.lat) * METRES_PER_DEGREE
    east = (a.lon - b.lon) * METRES_PER_DEGREE * np.cos(np.radians(a.lat))
    return float(np.hypot(north, east))


def storm_over(incident: Incident, site: Site) -> Cell:
    """Return the cloudburst that an `underpass_flood` brings with it: it stands over its site."""
    draw = uniform(key_of(incident.id, "storm"), np.arange(2))
    return Cell(
        start_ms=incident.start_ms,
        duration_s=incident.rains_s or 2700.0 + 1800.0 * float(draw[0]),
        lat=site.lat,
        lon=site.lon,
        radius_m=500.0,
        peak_mm_h=(60.0 + 20.0 * float(draw[1])) * incident.severity,
    )


def choose_site(kind: str, sites: Iterable[Site], seed: int, turn: int) -> Site | None:
    """Return the site where the seed lets this kind of incident happen the `turn`-th time; None when there is none."""
    fitting = sorted((s for s in sites if s.kind in KINDS[kind].site_kinds), key=lambda s: s.id)
    # The kind's first-named place is its proper one (an underpass floods before an open road does).
    proper = [s for s in fitting if s.kind == KINDS[kind].site_kinds[0]] or fitting
    by_id = {s.id: s for s in fitting}
    if kind == "sewage":  # the further up, the more stations see it pass
        proper = [s for s in proper if len(_downstream(s.id, by_id)) > 1] or proper
    if kind == "gas_leak":
        proper = [s for s in proper if len(_near(s, by_id, KINDS[kind].site_kinds)) > 1] or proper
    return proper[key_of(seed, kind, turn) % len(proper)] if proper else None
