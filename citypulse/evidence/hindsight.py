"""Why, and why not, at a past time: the live grader and engine over the stored readings of one scope, up to then.

What people had done by then (acknowledged, shelved, hidden behind a cause) is a fold of the record's lines up to that
instant. Not among stored readings are the goodbyes of gateways and second copies of a reading: a look back takes a
gateway for silent only when its time is up, and a sensor that sent nothing but copies for quiet.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from citypulse.errors import CityError
from citypulse.model import CityConfig, Event, Rule, SensorTable
from citypulse.store import Readings, ReadingStore
from ingest.qc.controller import QualityControl
from ingest.quality import Grader
from ingest.registry import Registry
from rules.detectors import DETECTORS
from rules.engine import Engine
from rules.why import Why

READINGS_MAX: Final = 20_000_000  # that one look back may read: about 1 GB
SLICE: Final = 250_000  # readings a step
AHEAD_MS: Final = 300_000  # how far a sensor's clock may run ahead and still be believed (ingest.quality)


class TooMuchError(CityError):
    """More readings than one look back may hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hindsight:
    """A rule on a scope as it stood at `at_ms`, from `readings` stored readings since `since_ms`."""

    why: Why
    at_ms: int
    since_ms: int
    readings: int


@dataclass(slots=True, kw_only=True)
class Standing:
    """What the record said of an alarm at an instant."""

    isa: str = ""
    acked_by: str = ""
    suppressed_by: list[str] = field(default_factory=list)
    stale_by: list[str] = field(default_factory=list)
    shelved_until_ms: int | None = None
    is_out_of_service: bool = False
    order_id: str = ""
    lines: int = 0


def look_back(
    config: CityConfig,
    store: ReadingStore,
    ids: Sequence[str],
    rule: str,
    scope: str,
    at_ms: int,
    *,
    since_ms: int,
) -> Hindsight:
    """Re-run `rule` on `scope` over what had been received by `at_ms`, beginning with readings of `since_ms`.

    `ids[i]` names the store's sensor i. Raises KeyError when the rule does not apply to the scope in `config`, and
    TooMuchError beyond READINGS_MAX readings.
    """
    rules = needed_rules(config, rule, scope)
    if not rules:
        raise KeyError(f"{rule}|{scope}")
    # Stored values are calibrated already; indexes are those of the store, so that columns pass through as they are.
    sensors = tuple(replace(s, scale=1.0, offset=0.0) for s in config.sensors)
    config = replace(config, sensors=sensors)
    known = (*ids, *(s.id for s in sensors if s.id not in set(ids)))
    table = SensorTable.build(known, sensors)
    grader = Grader(Registry(config, table), QualityControl.of_config(config, table))
    engine = Engine(
        rules,
        table,
        config.sites,
        config.gateways,
        quantities=config.quantities,
        timezone=config.timezone,
    )
    heard = _heard_of(config, rules)
    found = _received(store, [table.index[name] for name in heard if name in set(ids)], since_ms, at_ms)
    for start in range(0, len(found), SLICE):
        part = slice(start, start + SLICE)
        graded = grader.grade(
            found.sensor[part].copy(), found.time_ms[part], found.value[part].copy(), found.received_ms[part]
        )
        engine.step(graded.batch, int(found.received_ms[part][-1]))
    engine.step(grader.grade(*_nothing()).batch, at_ms)
    return Hindsight(why=engine.why(rule, scope), at_ms=at_ms, since_ms=since_ms, readings=len(found))


def needed_rules(config: CityConfig, rule: str, scope: str) -> tuple[Rule, ...]:
    """Return `rule` on `scope` alone, in the configuration's order with what it depends on.

    That is the rules it counts on the same site, and the watchdogs over its sensors and their gateways, which tell it
    that it has lost its sight.
    """
    target = next((r for r in config.rules if r.id == rule and scope in r.scopes), None)
    if target is None:
        return ()
    members = DETECTORS[target.detector].members
    counted = set() if members is None else set(members(target.settings))
    near = {scope, *(s.id for s in config.sensors if s.site == scope)}
    watched = {*target.sensors[target.scopes.index(scope)]} | (near if counted else set())
    watched |= {s.gateway for s in config.sensors if s.id in watched}
    kept = []
    for one in config.rules:
        is_watchdog = DETECTORS[one.detector].is_watchdog
        wanted = [
            k
            for k, name in enumerate(one.scopes)
            if (one is target and name == scope)
            or (one.id in counted and name in near)
            or (is_watchdog and name in watched)
        ]
        if wanted:
            scopes, sensors = tuple(one.scopes[k] for k in wanted), tuple(one.sensors[k] for k in wanted)
            kept.append(replace(one, scopes=scopes, sensors=sensors))
    return tuple(kept)


def standing(events: Iterable[Event], at_ms: int) -> Standing:
    """Fold one alarm's lines of the record, in order, up to `at_ms` of our clock."""
    now = Standing()
    for event in events:
        if event.wall_ms > at_ms:
            break
        _fold(now, event)
        now.isa = event.to_state
        now.lines += 1
    return now


def _fold(now: Standing, event: Event) -> None:
    data: dict[str, Any] = event.data
    cause = str(data.get("cause", ""))
    match event.kind:
        case "raised":
            now.suppressed_by = [str(key) for key in data.get("hidden_by", ())]
        case "suppressed":
            now.suppressed_by = [*now.suppressed_by, cause]
        case "released":
            now.suppressed_by = [c for c in now.suppressed_by if c != cause]
        case "stale":
            now.stale_by = [*now.stale_by, cause]
        case "data_back":
            now.stale_by = [c for c in now.stale_by if c != cause]
        case "cleared" | "withdrawn":
            now.stale_by = []
        case "acknowledged":
            now.acked_by = event.actor
        case "unacknowledged" | "worsened":
            now.acked_by = ""
        case "shelved":
            now.shelved_until_ms, now.acked_by = int(data["until_ms"]), ""
        case "unshelved":
            now.shelved_until_ms = None
        case "out_of_service" | "in_service":
            now.is_out_of_service = event.kind == "out_of_service"
        case "order_attached":
            now.order_id = str(data["order"])
        case _:
            pass


def _heard_of(config: CityConfig, rules: Sequence[Rule]) -> list[str]:
    """Return all sensors on the gateways of what these rules look at: any of them shows that a gateway is heard."""
    looked_at = {name for rule in rules for names in rule.sensors for name in names}
    gateways = {s.gateway for s in config.sensors if s.id in looked_at}
    gateways |= {name for rule in rules for name in rule.scopes if name in config.gateways}
    return [s.id for s in config.sensors if s.id in looked_at or s.gateway in gateways]


def _received(store: ReadingStore, sensors: list[int], since_ms: int, at_ms: int) -> Readings:
    """Return what had been received by `at_ms`, in order of arrival."""
    parts, total = [], 0
    for part in store.scan(sensors, since_ms, at_ms + AHEAD_MS + 1) if sensors else ():
        here = part.received_ms <= at_ms
        parts.append(_taken(part, here))
        total += int(here.sum())
        if total > READINGS_MAX:
            raise TooMuchError(f"more than {READINGS_MAX:,} readings since then: look back over a shorter history")
    if not parts:
        return Readings.empty()
    whole = Readings(
        sensor=np.concatenate([p.sensor for p in parts]),
        time_ms=np.concatenate([p.time_ms for p in parts]),
        value=np.concatenate([p.value for p in parts]),
        quality=np.concatenate([p.quality for p in parts]),
        received_ms=np.concatenate([p.received_ms for p in parts]),
    )
    return _taken(whole, np.argsort(whole.received_ms, kind="stable"))


def _taken(readings: Readings, index: Any) -> Readings:
    return Readings(
        sensor=readings.sensor[index],
        time_ms=readings.time_ms[index],
        value=readings.value[index],
        quality=readings.quality[index],
        received_ms=readings.received_ms[index],
    )


def _nothing() -> tuple[Any, Any, Any, Any]:
    none = Readings.empty()
    return none.sensor, none.time_ms, none.value, none.received_ms
