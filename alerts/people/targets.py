"""From a chain's words to ways: who `on-duty`, `lead-on-duty` or `level:street` is now, and by which channel.

Promise: a step never tells nobody. Where its words find no one, the desk's fallback is called; where there is none,
the team itself by its routes. The reason says the chain, the step, its file and line, and why this one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from alerts.channels import CHANNELS
from alerts.pen import Way
from alerts.routes import RouteTable
from citypulse.model import ChainStep, CityConfig, Priority

from .escalation import Plan
from .ladder import LEVEL_NAMES, climbed
from .rota import Roster


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What an alarm or order concerns, as far as it decides who is told."""

    domain: str
    area: str
    level: Priority


Found = tuple[tuple[str, str], ...]  # (target, why this one)


class Targets:
    """Resolves the words of chains and milestones."""

    def __init__(self, config: CityConfig, routes: RouteTable, roster: Roster) -> None:
        """Look people up in `roster`, channels in the routes."""
        self._config = config
        self._routes = routes
        self._roster = roster

    @property
    def roster(self) -> Roster:
        """Who is on duty when."""
        return self._roster

    def ways(self, plan: Plan, number: int, step: ChainStep, place: Place, now_ms: int) -> tuple[Way, ...]:
        """Return the ways of one step; `number` (from 1; 0 for a call at once) goes into the reason."""
        if plan.is_built_in:
            return self._plain(step, place)
        head = f"chain {plan.chain.id} step {number} ({step.origin})"
        return self.told(step.to, step.by, place, plan.team, head, now_ms)

    def told(
        self, words: Iterable[str], by: tuple[str, ...], place: Place, team: str, head: str, now_ms: int
    ) -> tuple[Way, ...]:
        """Return the ways to everybody these words name for `place`; `team` is the desk that `on-duty` means."""
        found: dict[str, Way] = {}
        for word in words:
            for way in self._word(word, by, place, team, head, now_ms):
                found.setdefault(way.key, way)
        if not found:
            said = f"{head}: nobody found for {', '.join(words)}"
            for way in self._persons(self._spare(team), by, place, said) or self._routes.every_desk(place.level):
                found.setdefault(way.key, way)
        return tuple(found.values())

    def climb(self, level: str, place: Place, why: str) -> tuple[Way, ...]:
        """Return the ways to those who answer for `place` at `level` of the responsibility chain, or next above it."""
        at, people = climbed(self._config.people.values(), level, place.domain, place.area)
        if not at:
            return ()
        head = f"responsibility chain: {LEVEL_NAMES[at].zh} {LEVEL_NAMES[at].en}; {why}"
        return self._persons(tuple((p, head) for p in people), (), place, head)

    def _plain(self, step: ChainStep, place: Place) -> tuple[Way, ...]:
        ways = self._routes.duty(place.domain, place.area, place.level)
        if "every-desk" in step.to:
            ways = tuple({w.key: w for w in (*ways, *self._routes.every_desk(place.level))}.values())
        return ways

    def _word(self, word: str, by: tuple[str, ...], place: Place, team: str, head: str, now_ms: int) -> tuple[Way, ...]:
        kind, _, name = word.partition(":")
        if kind == "routes":
            return _said(self._routes.duty(place.domain, place.area, place.level), head)
        if kind == "every-desk":
            return _said(self._routes.every_desk(place.level), head)
        if kind == "team":
            return self._teams(((name, f"{head}: {word}"),), by, place)
        if kind == "person":
            return self._persons(((name, f"{head}: {word}"),), by, place, head)
        if kind == "level":
            level, people = climbed(self._config.people.values(), name, place.domain, place.area)
            said = f"{head}: {LEVEL_NAMES[level].en} {LEVEL_NAMES[level].zh}" if level else head
            return self._persons(tuple((p, said) for p in people), by, place, head)
        return self._on_duty(kind, name or team, by, place, head, now_ms)

    def _on_duty(
        self, kind: str, team: str, by: tuple[str, ...], place: Place, head: str, now_ms: int
    ) -> tuple[Way, ...]:
        if not self._roster.has_rota(team):
            return self._teams(((team, f"{head}: {team} has no rota"),), by, place)
        people = (self._roster.leads if kind == "lead-on-duty" else self._roster.on_duty)(team, now_ms)
        said = f"{head}: {kind} at {team}"
        if not people:
            return self._persons(self._spare(team), by, place, f"{said}: nobody, so its fallback")
        return self._persons(tuple((p, said) for p in people), by, place, said)

    def _spare(self, team: str) -> Found:
        return tuple((p, "") for p in self._roster.fallback(team))

    def _persons(self, people: Found, by: tuple[str, ...], place: Place, head: str) -> tuple[Way, ...]:
        return tuple(
            Way(channel=channel, target=person, reason=said or head)
            for person, said in people
            for channel in self._channels(by, place, person)
        )

    def _teams(self, teams: Found, by: tuple[str, ...], place: Place) -> tuple[Way, ...]:
        return tuple(
            Way(channel=channel, target=team, reason=said)
            for team, said in teams
            for channel in by or self._of_routes(place)
        )

    def _channels(self, by: tuple[str, ...], place: Place, person: str) -> tuple[str, ...]:
        """Return the channels that can call this person; where none can, all of them, so that the failure is seen."""
        names = by or self._of_routes(place)
        fit = tuple(name for name in names if can_call(self._config, name, person))
        return fit or names

    def _of_routes(self, place: Place) -> tuple[str, ...]:
        ways = self._routes.duty(place.domain, place.area, place.level) or self._routes.every_desk(place.level)
        return tuple(dict.fromkeys(way.channel for way in ways))


def can_call(config: CityConfig, channel: str, person: str) -> bool:
    """True when a channel has what it needs to call this person, or calls nobody in person."""
    kind = config.channels[channel].kind if channel in config.channels else ""
    contact = CHANNELS[kind].contact if kind in CHANNELS else ""
    who = config.people.get(person)
    return not contact or (who is not None and bool(who.address(contact)))


def _said(ways: Iterable[Way], head: str) -> tuple[Way, ...]:
    return tuple(Way(channel=w.channel, target=w.target, reason=f"{head}; {w.reason}") for w in ways)
