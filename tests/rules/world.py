"""A small city for the rules' tests: sites, sensors, rules and readings in a line each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from citypulse.domains import DOMAINS
from citypulse.model import (
    Gap,
    Gateway,
    Lane,
    Limit,
    Origin,
    Priority,
    Quality,
    Quantity,
    ReadingBatch,
    Rule,
    Sensor,
    SensorTable,
    Side,
    Site,
    Text,
    Transition,
)
from rules.detectors import DETECTORS
from rules.engine import Engine

S = 1000
MIN = 60 * S
HERE = Origin(file="rules/packs/test.yaml", line=7)

QUANTITIES: dict[str, Quantity] = {q.id: q for d in DOMAINS.values() for q in d.quantities}


def sensor(name: str, *, cadence_s: int = 60, gateway: str = "gw-01", unit: str = "cm") -> Sensor:
    """Return the sensor `<site>.<quantity>`."""
    site, quantity = name.split(".")
    return Sensor(
        id=name,
        site=site,
        gateway=gateway,
        quantity=quantity,
        domain="flood",
        site_kind="underpass",
        area="gongshu",
        unit=unit,
        scale=1.0,
        offset=0.0,
        low=-1e9,
        high=1e9,
        cadence_s=cadence_s,
        origin=HERE,
    )


def limit(level: str, side: str, value: float, deadband: float = 0.0, on: float = 0.0, off: float = 0.0) -> Limit:
    """Return a limit; delays in seconds."""
    return Limit(
        level=Priority.from_colour(level),
        side=Side(side),
        value=value,
        deadband=deadband,
        on_delay_s=on,
        off_delay_s=off,
        origin=HERE,
    )


def rule(
    rule_id: str,
    detector: str,
    scopes: Sequence[str],
    *limits: Limit,
    settings: dict[str, Any] | None = None,
    sensors: Sequence[Sequence[str]] | None = None,
    gap: Gap = Gap.RESET,
    accepts_suspect: bool = False,
    unit: str = "cm",
) -> Rule:
    """Return a rule as the loader would hand it over."""
    model = DETECTORS[detector].settings(**(settings or {}))
    if not limits:
        limits = (limit("yellow", "at_least", float((settings or {}).get("after", 0))),)
    return Rule(
        id=rule_id,
        name=Text(zh=rule_id, en=rule_id),
        version="000000000001",
        origin=HERE,
        detector=detector,
        settings=model,
        limits=limits,
        scopes=tuple(scopes),
        sensors=tuple(tuple(s) for s in sensors) if sensors is not None else tuple((s,) for s in scopes),
        domain="flood",
        unit=unit,
        gap=gap,
        accepts_suspect=accepts_suspect,
    )


class World:
    """Some sensors, some rules, and the engine over them. Readings are (seconds, sensor, value[, quality[, lane]])."""

    def __init__(self, sensors: Sequence[Sensor], rules: Sequence[Rule], *, silent_after_s: int = 300) -> None:
        self.sensors = tuple(sensors)
        self.rules = tuple(rules)
        self.table = SensorTable.build(tuple(s.id for s in sensors), self.sensors)
        self.sites = {
            s.site: Site(
                id=s.site,
                name=Text(zh=s.site, en=s.site),
                domain=s.domain,
                kind=s.site_kind,
                area=s.area,
                lat=30.3,
                lon=120.1,
                gateway=s.gateway,
            )
            for s in sensors
        }
        self.gateways = {
            g: Gateway(id=g, codec="native", silent_after_s=silent_after_s) for g in {s.gateway for s in sensors}
        }
        self.engine = self.fresh()

    def fresh(self, rules: Sequence[Rule] | None = None) -> Engine:
        """Return a new engine over the same city."""
        return Engine(
            self.rules if rules is None else tuple(rules),
            self.table,
            self.sites,
            self.gateways,
            quantities=QUANTITIES,
        )

    def batch(self, readings: Iterable[Sequence[Any]]) -> ReadingBatch:
        """Turn readings into a batch received when they were made; a sixth item is another receive time in s."""
        rows = [tuple(r) + (Quality.GOOD, Lane.LIVE, None)[len(r) - 3 :] for r in readings]
        return ReadingBatch(
            sensor=np.array([self.table.index[r[1]] for r in rows], np.int32),
            time_ms=np.array([round(r[0] * S) for r in rows], np.int64),
            value=np.array([r[2] for r in rows], np.float64),
            quality=np.array([r[3] for r in rows], np.uint8),
            lane=np.array([r[4] for r in rows], np.uint8),
            received_ms=np.array([round((r[0] if r[5] is None else r[5]) * S) for r in rows], np.int64),
        )

    def run(self, readings: Iterable[Sequence[Any]], now_s: float | None = None) -> list[Transition]:
        """Step the engine once over these readings."""
        batch = self.batch(readings)
        now_ms = round(now_s * S) if now_s is not None else int(batch.received_ms[-1]) if len(batch) else 0
        return self.engine.step(batch, now_ms)

    def series(self, name: str, values: Iterable[float], *, every_s: float = 60, start_s: float = 0) -> list[Any]:
        """Return regular readings of one sensor."""
        return [(start_s + k * every_s, name, v) for k, v in enumerate(values)]


def said(transitions: Iterable[Transition]) -> list[tuple[float, str, str, str | None]]:
    """Return (event seconds, rule, kind, colour) of each."""
    return [(t.event_ms / S, t.rule, t.kind.value, t.level.colour if t.level else None) for t in transitions]
