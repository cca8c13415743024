"""From a rule's transition to an alarm and to the lines of its record: pure functions, nothing is decided here."""

from __future__ import annotations

import math
import uuid
from typing import Any, Final

from citypulse.model import (
    Alarm,
    AlarmQuality,
    CityConfig,
    Lane,
    Priority,
    Rule,
    Sensor,
    SensorTable,
    Transition,
)

from .lifecycle import Regions, step_alarm
from .texts import is_rising

NAMESPACE: Final = uuid.UUID("6f1d3a52-7c1e-5b7a-9a44-0c1f2d9b7e10")
"""Of alarm ids: fixed for ever, so that the same occurrence has the same id in every replay."""


def alarm_id(dedup_key: str, occurrence: int) -> str:
    """Return the id of one occurrence: uuid5 over key and number."""
    return str(uuid.uuid5(NAMESPACE, f"{dedup_key}|{occurrence}"))


class Atlas:
    """Looks up rules, sensors and places of one configuration."""

    def __init__(self, config: CityConfig, table: SensorTable) -> None:
        """Index the rules by (id, scope)."""
        self.config = config
        self.rules: dict[tuple[str, str], Rule] = {}
        self._watched: dict[tuple[str, str], tuple[str, ...]] = {}
        for rule in config.rules:
            for scope, sensors in zip(rule.scopes, rule.sensors, strict=True):
                self.rules[rule.id, scope] = rule
                self._watched[rule.id, scope] = sensors
        self._table = table
        self._by_gateway: dict[str, list[str]] = {}
        self._gateways_of: dict[tuple[str, ...], tuple[str, ...]] = {}
        for sensor in config.sensors:
            self._by_gateway.setdefault(sensor.gateway, []).append(sensor.id)

    def rule_of(self, alarm: Alarm) -> Rule | None:
        """Return the rule of an alarm as configured now, or None."""
        return self.rules.get((alarm.rule, alarm.scope))

    def watched(self, rule: str, scope: str) -> tuple[str, ...]:
        """Return the sensors a rule looks at on a scope."""
        return self._watched.get((rule, scope), ())

    def sensor(self, sensor_id: str) -> Sensor | None:
        """Return a configured sensor, or None."""
        index = self._table.index.get(sensor_id)
        return None if index is None else self._table.sensors[index]

    def sensors_of_gateway(self, gateway: str) -> tuple[str, ...]:
        """Return the sensors that speak through a gateway; none when it is not a gateway."""
        return tuple(self._by_gateway.get(gateway, ()))

    def gateways_of(self, sensors: tuple[str, ...]) -> tuple[str, ...]:
        """Return the gateways these sensors speak through."""
        known = self._gateways_of.get(sensors)
        if known is None:
            found = (self.sensor(i) for i in sensors)
            known = self._gateways_of[sensors] = tuple(dict.fromkeys(s.gateway for s in found if s is not None))
        return known

    def place(self, rule_id: str, scope: str) -> tuple[str, str, str]:
        """Return site, area and domain of a scope: a sensor, a site or a gateway."""
        rule = self.rules.get((rule_id, scope))
        domain = rule.domain if rule is not None else ""
        sensor = self.sensor(scope)
        if sensor is not None:
            return sensor.site, sensor.area, sensor.domain
        site = self.config.sites.get(scope)
        if site is not None:
            return site.id, site.area, domain or site.domain
        gateway = self.config.gateways.get(scope)
        return "", gateway.area if gateway is not None else "", domain


def draft(atlas: Atlas, t: Transition, occurrence: int, now_ms: int) -> Alarm:
    """Build the alarm of a raise, not yet written (rev 0). A late one is born normal, acknowledged and dated."""
    key = t.dedup_key
    rule = atlas.rules.get((t.rule, t.scope))
    site, area, domain = atlas.place(t.rule, t.scope)
    is_late = t.lane is Lane.HISTORY
    born = Regions() if is_late else step_alarm(Regions(), "raise") or Regions()
    level = t.level or Priority.P4
    return Alarm(
        id=alarm_id(key, occurrence),
        dedup_key=key,
        occurrence=occurrence,
        rule=t.rule,
        rule_version=t.rule_version,
        rule_origin=origin(t, rule),
        scope=t.scope,
        site=site,
        area=area,
        domain=domain,
        is_diagnostic=rule.is_diagnostic if rule is not None else False,
        condition=born.condition,
        is_acked=born.is_acked,
        is_confirmed=born.is_confirmed,
        quality=AlarmQuality.GOOD,
        level=level,
        peak_level=level,
        peak_value=t.value,
        breach_ms=t.breach_ms or t.event_ms,
        raised_ms=t.event_ms,
        raised_wall_ms=now_ms,
        cleared_ms=t.event_ms if is_late else None,
        stale_ms=None,
        acked_by="citypulse" if is_late else "",
        acked_ms=now_ms if is_late else None,
        shelved_until_ms=None,
        suppressed_by=(),
        is_out_of_service=False,
        is_historical=is_late,
        parent=t.parent,
        order_id="",
        because_zh=t.because.zh,
        because_en=t.because.en,
        rev=0,
        exercise=t.exercise,
    )


def origin(t: Transition, rule: Rule | None) -> str:
    """Return file:line of the limit that decided: the most serious one crossed, else the rule's own line."""
    if t.crossed:
        return str(min(t.crossed, key=lambda c: c.level).origin)
    return str(rule.origin) if rule is not None else ""


def because(t: Transition, alarm: Alarm) -> str:
    """Return the sentence for the record: the rule's own words and the line that decided."""
    return f"{t.because.zh} | {t.because.en} ({origin(t, None) or alarm.rule_origin})"


def facts(t: Transition, alarm: Alarm) -> dict[str, Any]:
    """Return what decided, for the record: value, limits crossed, times, rule version and line."""
    return {
        "value": t.value,
        "level": t.level.colour if t.level is not None else None,
        "crossed": [
            {"level": c.level.colour, "side": c.side.value, "limit": c.limit, "at": str(c.origin)} for c in t.crossed
        ],
        "breach_ms": t.breach_ms or t.event_ms,
        "received_ms": t.received_ms,
        "rule_version": t.rule_version,
        "rule_origin": alarm.rule_origin,
    }


def peak(rule: Rule | None, old: float, new: float) -> float:
    """Return the worse of two values; a watchdog has none."""
    if math.isnan(new):
        return old
    if math.isnan(old):
        return new
    return max(old, new) if is_rising(rule) else min(old, new)
