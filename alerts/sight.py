"""Whether we can see the cause of an alarm: silences mark other alarms stale, and never clear one (promise 2)."""

from __future__ import annotations

from typing import Final

from citypulse.model import Alarm, Condition

from .facts import Atlas

SILENCE: Final = frozenset({"no_data", "gateway_silent"})
"""Detectors whose alarm means that we cannot see: they mark the other alarms of what they watch as stale."""
OWN: Final = "rule"  # in Alarm.stale_by: the alarm's own rule has lost its data


class Sight:
    """Indexes retained alarms by the sensors they look at, and silences by what they are silent about."""

    def __init__(self, atlas: Atlas) -> None:
        """Nothing is silent yet."""
        self._atlas = atlas
        self._by_sensor: dict[str, set[str]] = {}
        self._silent: dict[str, set[str]] = {}  # sensor or gateway → dedup keys of active silences
        self._blind: dict[str, set[str]] = {}  # cause → ids of alarms that are stale because of it
        self._causes: dict[str, tuple[str, ...]] = {}

    def is_silence(self, alarm: Alarm) -> bool:
        """True for an alarm that says we cannot see something."""
        rule = self._atlas.rule_of(alarm)
        return rule is not None and rule.detector in SILENCE

    def watching(self, silence: Alarm) -> list[str]:
        """Return the ids of alarms that look at what this silence is about, sorted."""
        sensors = self._atlas.sensors_of_gateway(silence.scope) or (silence.scope,)
        found: set[str] = set()
        for sensor in sensors:
            found |= self._by_sensor.get(sensor, set())
        return sorted(found - {silence.id})

    def blinded_by(self, cause: str) -> list[str]:
        """Return the ids of alarms that are stale because of `cause`, sorted."""
        return sorted(self._blind.get(cause, ()))

    def silences_over(self, alarm: Alarm) -> tuple[str, ...]:
        """Return the keys of active silences over the sensors of an alarm, sorted."""
        if self.is_silence(alarm):
            return ()
        sensors = self._atlas.watched(alarm.rule, alarm.scope)
        found: set[str] = set()
        for place in (*sensors, *self._atlas.gateways_of(sensors)):
            found |= self._silent.get(place, set())
        return tuple(sorted(found))

    def keep(self, alarm: Alarm, *, is_retained: bool) -> None:
        """Take note of an alarm's newest version."""
        if self.is_silence(alarm):
            _set(self._silent, alarm.scope, alarm.dedup_key, is_retained and alarm.condition is Condition.ACTIVE)
        else:
            for sensor in self._atlas.watched(alarm.rule, alarm.scope):
                _set(self._by_sensor, sensor, alarm.id, is_retained)
        for cause in self._causes.pop(alarm.id, ()):
            _set(self._blind, cause, alarm.id, False)
        if is_retained and alarm.stale_by:
            self._causes[alarm.id] = alarm.stale_by
            for cause in alarm.stale_by:
                _set(self._blind, cause, alarm.id, True)


def _set(index: dict[str, set[str]], key: str, member: str, is_there: bool) -> None:  # noqa: FBT001 - a private leaf
    if is_there:
        index.setdefault(key, set()).add(member)
    elif key in index:
        index[key].discard(member)
        if not index[key]:
            del index[key]
