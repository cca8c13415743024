"""What a change to the rules can reach: which rules have to be run to know it, and which sensors they look at.

A what-if runs only these, and must find for them what running everything would find (tests/backtest/test_what_if.py).
Everything is counted in lanes: one rule on one scope. A lane *differs* when anything of it or of its sensors differs;
it is *reached* when something it depends on differs: a member of a composite, a rule that hides it, a watchdog over
its sensors. What reached lanes depend on, and does not differ, is *needed*: it runs, but is not told.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from citypulse.model import CityConfig, Origin, Rule

from .detectors import DETECTORS
from .find_lanes import places
from .neighbourhood import City

Key = tuple[str, str]
"""Rule id and scope."""

# Every field of CityConfig, by what a difference in it can change; a test sees to it that none is forgotten.
BY_LANE = ("rules", "sensors")  # compared rule by rule and sensor by sensor
ALL_ALARMS = ("sites", "gateways", "quantities", "timezone", "quality", "windows", "storm", "alarms")  # all run
TELLING_ONLY = (  # orders, notices, who hears of what: a what-if counts neither, and says so
    *("teams", "routes", "channels", "templates", "people", "rotas", "chains", "profiles", "drills"),
    *("workdays", "watchdog", "calendar_warn_days"),
)
NO_ALARMS = ("name", "broker_url", "fingerprint", "files", "areas", "public_url", "budget", "contacts_kept_s")


@dataclass(frozen=True, slots=True)
class _Lane:
    """One rule on one scope, the sensors it looks at, and where it is."""

    rule: Rule
    inputs: tuple[str, ...]
    places: tuple[str, ...]  # its scope, its site, the gateways of its sensors
    gateways: tuple[str, ...]
    sameness: tuple[Any, ...]  # equal in both configurations: the lane does not differ


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a what-if runs. differs, reached, needed: lanes of either configuration, no lane in two of them.

    new, old: the configurations with only these rules · sensors: whose readings they look at · whole: sections that
    differ and may change any alarm, so that everything is run; () when none does · unjudged: sections that differ and
    change orders or notices only.
    """

    differs: frozenset[Key]
    reached: frozenset[Key]
    needed: frozenset[Key]
    new: CityConfig
    old: CityConfig
    sensors: frozenset[str]
    whole: tuple[str, ...]
    unjudged: tuple[str, ...]

    @property
    def told(self) -> frozenset[Key]:
        """The lanes whose alarms may differ."""
        return self.differs | self.reached

    def rules(self, keys: Iterable[Key]) -> tuple[str, ...]:
        """Return the ids of the rules of some lanes, sorted."""
        return tuple(sorted({rule for rule, _ in keys}))


def select(new: CityConfig, old: CityConfig) -> Selection:
    """Compare two configurations and choose what to run."""
    both = _lanes(new), _lanes(old)
    whole = _unlike(ALL_ALARMS, new, old)
    if new.quality is not None:  # its tests look at other sensors too
        whole += _unlike(("sensors",), new, old)
    keys = both[0].keys() | both[1].keys()
    differs = {k for k in keys if whole or _sameness(both[0], k) != _sameness(both[1], k)}
    reached = set(differs)
    needed: set[Key] = set()
    webs = [_Web(lanes) for lanes in both]
    while True:
        more = {k for web in webs for k in web.reached_from(reached)} - reached
        if not more:
            break
        reached |= more
    todo = set(reached)
    while todo:
        more = {k for web in webs for k in web.needed_by(todo)} - needed - reached
        needed |= more
        todo = more
    kept = reached | needed
    sensors = {s for web in webs for s in web.sensors_of(kept)}
    for config in (new, old):
        if config.quality is not None:  # its tests look at other sensors of the site
            sites = {s.site for s in config.sensors if s.id in sensors}
            sensors |= {s.id for s in config.sensors if s.site in sites}
    return Selection(
        differs=frozenset(differs),
        reached=frozenset(reached - differs),
        needed=frozenset(needed),
        new=_restricted(new, kept),
        old=_restricted(old, kept),
        sensors=frozenset(sensors),
        whole=whole,
        unjudged=_unlike(TELLING_ONLY, new, old),
    )


def _unlike(sections: Iterable[str], new: CityConfig, old: CityConfig) -> tuple[str, ...]:
    """Return the sections in which two configurations differ."""
    return tuple(name for name in sections if _meant(getattr(new, name)) != _meant(getattr(old, name)))


def _meant(value: Any) -> Any:
    """Return nouns without where they are written, however deep, for comparing."""
    if is_dataclass(value):
        return type(value), *(_meant(getattr(value, f.name)) for f in fields(value) if f.name != "origin")
    if isinstance(value, Mapping):
        return {key: _meant(one) for key, one in value.items()}
    if isinstance(value, (tuple, list)):
        return tuple(map(_meant, value))
    return value


_NOWHERE = Origin(file="", line=0)


def _unplaced(noun: Any) -> Any:
    """Return a noun without where it is written."""
    return replace(noun, origin=_NOWHERE) if hasattr(noun, "origin") else noun


def _sameness(lanes: Mapping[Key, _Lane], key: Key) -> tuple[Any, ...] | None:
    return lanes[key].sameness if key in lanes else None


def _restricted(config: CityConfig, kept: set[Key]) -> CityConfig:
    rules = []
    for rule in config.rules:
        pairs = [p for p in zip(rule.scopes, rule.sensors, strict=True) if (rule.id, p[0]) in kept]
        if pairs:
            scopes, sensors = zip(*pairs, strict=True)
            rules.append(replace(rule, scopes=scopes, sensors=sensors))
    return replace(config, rules=tuple(rules))


# ── lanes ───────────────────────────────────────────────────────────────────────────────────────


def _lanes(config: CityConfig) -> dict[Key, _Lane]:
    city = City(sensors={s.id: _unplaced(s) for s in config.sensors}, sites=config.sites)
    by_gateway: dict[str, list[str]] = defaultdict(list)
    for sensor in config.sensors:
        by_gateway[sensor.gateway].append(sensor.id)
    found: dict[Key, _Lane] = {}
    for rule in config.rules:
        detector = DETECTORS[rule.detector]
        content = _content(rule)
        for k, scope in enumerate(rule.scopes):
            names = rule.sensors[k] if detector.is_watchdog else detector.inputs(rule, k, city)
            names = tuple(dict.fromkeys((*rule.sensors[k], *names, *by_gateway.get(scope, ()))))
            sensors = tuple(city.sensors[n] for n in names if n in city.sensors)
            gateways = tuple(dict.fromkeys(s.gateway for s in sensors))
            found[rule.id, scope] = _Lane(
                rule=rule,
                inputs=names,
                places=(*places(scope, city), *gateways),
                gateways=gateways,
                sameness=(content, sensors),
            )
    return found


def _content(rule: Rule) -> tuple[Any, ...]:
    """Return everything of a rule that may change what it finds; not where it is written, nor its words."""
    limits = tuple((m.level, m.value, m.side, m.deadband, m.on_delay_s, m.off_delay_s) for m in rule.limits)
    return (
        rule.detector,
        rule.settings,
        limits,
        rule.domain,
        rule.unit,
        rule.is_diagnostic,
        rule.gap,
        rule.is_latching,
        rule.accepts_suspect,
        rule.order,
        rule.inhibited_by,
    )


def _causes(rule: Rule) -> list[tuple[str, bool]]:
    """Return the rules that may hide this one, and whether only those at its own place do."""
    return [(cause.rule, cause.scope.value == "place") for cause in rule.inhibited_by]


class _Web:
    """What depends on what, within one configuration."""

    def __init__(self, lanes: Mapping[Key, _Lane]) -> None:
        self._lanes = lanes
        self._by_rule: dict[str, list[Key]] = defaultdict(list)
        self._by_sensor: dict[str, list[Key]] = defaultdict(list)
        self._dogs: dict[str, list[Key]] = defaultdict(list)  # sensor or gateway → its watchdogs
        self._hides: dict[str, list[Key]] = defaultdict(list)  # rule → lanes it may hide
        self._counted: dict[str, list[Key]] = defaultdict(list)  # rule → composites that look at it
        for key, lane in lanes.items():
            self._by_rule[key[0]].append(key)
            for sensor in lane.inputs:
                self._by_sensor[sensor].append(key)
            detector = DETECTORS[lane.rule.detector]
            if detector.is_watchdog:
                self._dogs[key[1]].append(key)
            for cause, _ in _causes(lane.rule):
                self._hides[cause].append(key)
            if detector.members is not None:
                for member in detector.members(lane.rule.settings):
                    self._counted[member].append(key)

    def reached_from(self, keys: set[Key]) -> set[Key]:
        """Return the lanes one step downstream of these."""
        found: set[Key] = set()
        for key in keys & self._lanes.keys():
            lane = self._lanes[key]
            found.update(k for k in self._counted[key[0]] if k[1] in lane.places)
            found.update(k for k in self._hides[key[0]] if self._is_hidden_by(self._lanes[k], key, lane))
            if DETECTORS[lane.rule.detector].is_watchdog:  # its silence blinds every lane on its sensors
                found.update(k for s in lane.inputs for k in self._by_sensor[s])
        return found

    def needed_by(self, keys: set[Key]) -> set[Key]:
        """Return the lanes one step upstream of these."""
        found: set[Key] = set()
        for key in keys & self._lanes.keys():
            lane = self._lanes[key]
            for place in (*lane.inputs, *lane.gateways):
                found.update(self._dogs[place])
            for cause, _ in _causes(lane.rule):
                found.update(k for k in self._by_rule[cause] if self._is_hidden_by(lane, k, self._lanes[k]))
            members = DETECTORS[lane.rule.detector].members
            if members is not None:
                for member in members(lane.rule.settings):
                    found.update(k for k in self._by_rule[member] if key[1] in self._lanes[k].places)
        return found

    @staticmethod
    def _is_hidden_by(lane: _Lane, key: Key, cause: _Lane) -> bool:
        """Whether a cause's lane may hide this lane: at its place, or anywhere for wider scopes."""
        for rule, is_here in _causes(lane.rule):
            if rule == key[0] and (not is_here or set(cause.places) & set(lane.places) or key[1] in lane.places):
                return True
        return False

    def sensors_of(self, keys: set[Key]) -> set[str]:
        """Return the sensors these lanes look at; a gateway's watchdog looks at all that speak through it."""
        return {s for key in keys & self._lanes.keys() for s in self._lanes[key].inputs}
