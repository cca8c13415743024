"""The proof that every alarm of the next days finds somebody in time: routes, chains, rotas, contacts and channels.

Nothing is sampled: who hears changes only where a rota changes, or where a step falls behind such a change, so each
stretch between two such instants is looked at once. The same code that tells people says whom it would tell.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final
from zoneinfo import ZoneInfo

from alerts.channels import CHANNELS
from alerts.pen import Way
from alerts.routes import RouteTable
from citypulse.clock import utc
from citypulse.model import CityConfig, Priority, StandIn

from .escalation import Escalation, Plan
from .ladder import LADDER, answering
from .rota import Roster
from .targets import Place, Targets, can_call
from .workdays import unknown_years

REACH_S: Final[dict[Priority, int]] = {
    # How soon somebody must have been reached. Proposal: T3 of the order's own level (domain.md 2.5), at most 4 h.
    Priority.P1: 300,
    Priority.P2: 600,
    Priority.P3: 3_600,
    Priority.P4: 14_400,
}
DAYS_MAX: Final = 92
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
BOARD_KINDS: Final = frozenset({"log"})  # read on the desk's screen: reaches those on duty, nobody at home


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A stretch [from, until) in which alarms of one kind reach nobody in time, or a rota has too few people.

    kind: nobody | thin · level None and domain "" for a rota's own gap, whose team is named.
    """

    kind: str
    from_ms: int
    until_ms: int
    level: Priority | None
    domain: str
    areas: tuple[str, ...]
    team: str
    why: str
    cure: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """What the proof found. `strips` holds, by level and area, one bool an hour: True where somebody is reached."""

    from_ms: int
    until_ms: int
    strips: Mapping[tuple[Priority, str], tuple[bool, ...]]
    gaps: tuple[Gap, ...]
    warnings: tuple[str, ...]
    slowest_s: Mapping[Priority, int]  # the longest anybody of a level waits before the first is reached

    @property
    def is_whole(self) -> bool:
        """True when there is no gap."""
        return not self.gaps


class _Foreseen(Roster):
    """A roster that knows the coming days by heart: on duty between two edges is looked up, not worked out."""

    def __init__(self, config: CityConfig, runtime: Mapping[str, list[StandIn]], from_ms: int, until_ms: int) -> None:
        super().__init__(config, runtime)
        self._edges: dict[str, list[int]] = {}
        self._people: dict[str, list[tuple[str, ...]]] = {}
        for team, table in self.tables.items():
            edges = [from_ms, *table.edges(from_ms, until_ms, runtime.get(team, ()))]
            self._edges[team] = edges
            self._people[team] = [Roster.on_duty(self, team, at) for at in edges]

    def on_duty(self, team: str, at_ms: int) -> tuple[str, ...]:
        """Return the people on duty within the days foreseen."""
        edges = self._edges.get(team)
        return () if edges is None else self._people[team][max(0, bisect_right(edges, at_ms) - 1)]

    def stretches(self, team: str) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Yield (from, people) in order."""
        return zip(self._edges[team], self._people[team], strict=True)

    def all_edges(self) -> list[int]:
        """Return every instant at which some rota changes, in order."""
        return sorted({at for edges in self._edges.values() for at in edges})


class Prover:
    """Looks at one configuration, with the stand-ins made while running and the channels that fail now."""

    def __init__(
        self,
        config: CityConfig,
        from_ms: int,
        days: int,
        *,
        runtime: Mapping[str, list[StandIn]] | None = None,
        failing: Iterable[str] = (),
    ) -> None:
        """Look from `from_ms` over `days` days of 24 h; `failing` are ids of channels that do not deliver now."""
        self._config = config
        self._from_ms, self._until_ms = from_ms, from_ms + min(days, DAYS_MAX) * DAY_MS
        self._routes = RouteTable(config)
        self._escalation = Escalation(config)
        self._roster = _Foreseen(config, runtime or {}, from_ms, self._until_ms + DAY_MS)
        self._targets = Targets(config, self._routes, self._roster)
        self._failing = frozenset(failing)
        self._edges = self._roster.all_edges()

    def prove(self) -> Coverage:
        """Return what is covered and what is not."""
        hours = range(self._from_ms, self._until_ms, HOUR_MS)
        strips: dict[tuple[Priority, str], list[bool]] = {}
        gaps: list[Gap] = []
        slowest: dict[Priority, int] = {}
        for (domain, level), areas in self._alike().items():
            found, wait_s = self._look(domain, level, areas)
            slowest[level] = max(slowest.get(level, 0), wait_s)
            gaps += found
            for area in areas:
                strip = strips.setdefault((level, area), [True] * len(hours))
                for gap in found:
                    first = (gap.from_ms - self._from_ms) // HOUR_MS
                    last = -(-(gap.until_ms - self._from_ms) // HOUR_MS)
                    strip[first:last] = [False] * (min(last, len(strip)) - first)
        return Coverage(
            from_ms=self._from_ms,
            until_ms=self._until_ms,
            strips={key: tuple(strip) for key, strip in sorted(strips.items())},
            gaps=(*_merged(gaps), *self._thin()),
            warnings=tuple(self._warnings()),
            slowest_s=slowest,
        )

    # ── which alarms there can be ───────────────────────────────────────────────────────────────

    def _alike(self) -> dict[tuple[str, Priority], tuple[str, ...]]:
        """Return the areas by (domain, level) for the levels that a rule of the domain can have."""
        levels: dict[str, set[Priority]] = {}
        for rule in self._config.rules:
            own = {limit.level for limit in rule.limits}
            if not own:
                level = getattr(rule.settings, "level", None)
                own = {level} if isinstance(level, Priority) else set(Priority)
            levels.setdefault(rule.domain, set()).update(own)
        areas: dict[str, dict[str, None]] = {}
        for site in self._config.sites.values():
            areas.setdefault(site.domain, {})[site.area] = None
        return {
            (domain, level): tuple(sorted(areas[domain]))
            for domain in sorted(levels)
            if domain in areas
            for level in sorted(levels[domain])
        }

    def _classes(self, domain: str, level: Priority, areas: tuple[str, ...]) -> dict[Any, list[str]]:
        """Put areas together for which the same people would be told."""
        found: dict[Any, list[str]] = {}
        for area in areas:
            plan = self._escalation.plan_for(domain, area, level)
            answer = tuple(answering(self._config.people.values(), rung, domain, area) for rung in LADDER)
            key = (self._routes.duty(domain, area, level), plan.chain.id, plan.team, answer)
            found.setdefault(key, []).append(area)
        return found

    # ── one kind of alarm ───────────────────────────────────────────────────────────────────────

    def _look(self, domain: str, level: Priority, areas: tuple[str, ...]) -> tuple[list[Gap], int]:
        gaps: list[Gap] = []
        slowest = 0
        for same in self._classes(domain, level, areas).values():
            place = Place(domain=domain, area=same[0], level=level)
            plan = self._escalation.plan_for(domain, same[0], level)
            waits_s = [0, *(ms // 1000 for ms in plan.waits_ms if ms <= REACH_S[level] * 1000)]
            cuts = {at - wait * 1000 for at in self._edges for wait in waits_s}
            starts = [self._from_ms, *sorted(at for at in cuts if self._from_ms < at < self._until_ms)]
            for start, end in pairwise([*starts, self._until_ms]):
                wait_s = self._first_reached(plan, place, len(waits_s) - 1, start)
                if wait_s is not None:
                    slowest = max(slowest, wait_s)
                    continue
                why, cure = self._why(plan, place, start)
                gaps.append(
                    Gap(kind="nobody", from_ms=start, until_ms=end, level=level, domain=domain, areas=tuple(same),
                        team=plan.team, why=why, cure=cure)
                )  # fmt: skip
        return gaps, slowest

    def _calls(self, plan: Plan, place: Place, steps: int, at_ms: int) -> Iterator[tuple[int, Way]]:
        """Yield (seconds waited, way) of everything that would be sent about an alarm raised at `at_ms`."""
        ways = self._routes.duty(place.domain, place.area, place.level)
        yield from ((0, way) for way in ways)
        for step in plan.calls:
            yield from ((0, way) for way in self._targets.ways(plan, 0, step, place, at_ms))
        for number in range(1, steps + 1):
            wait_ms = plan.waits_ms[number - 1]
            for way in self._targets.ways(plan, number, plan.steps[number - 1], place, at_ms + wait_ms):
                yield wait_ms // 1000, way

    def _first_reached(self, plan: Plan, place: Place, steps: int, at_ms: int) -> int | None:
        for wait_s, way in self._calls(plan, place, steps, at_ms):
            if not self._misses(way, at_ms + wait_s * 1000):
                return wait_s
        return None

    def _misses(self, way: Way, at_ms: int) -> str:
        """Say why a notice by this way would reach nobody; "" when it reaches somebody."""
        if way.channel in self._failing:
            return f"channel {way.channel} is failing"
        configured = self._config.channels.get(way.channel)
        kind = configured.kind if configured is not None else ""
        contact = CHANNELS[kind].contact if kind in CHANNELS else ""
        if way.target in self._config.people:
            if not can_call(self._config, way.channel, way.target):
                return f"{way.target} has no {contact}"
            if kind in BOARD_KINDS and not self._is_on(way.target, at_ms):
                return f"{way.target} is not at the desk, and {way.channel} is only read there"
            return ""
        if self._roster.has_rota(way.target):
            on = self._roster.on_duty(way.target, at_ms)
            if not on:
                return f"nobody of {way.target} is on duty"
            if contact and not any(can_call(self._config, way.channel, p) for p in on):
                return f"{', '.join(on)} of {way.target}: no {contact}"
            return ""
        members = [p for p in self._config.people.values() if way.target in p.teams]
        if not members:
            return f"{way.target} has neither a rota nor people"
        if contact and not any(p.address(contact) for p in members):
            return f"nobody of {way.target} has a {contact}"
        if kind in BOARD_KINDS:
            return f"{way.target} has no rota, so nobody is known to read {way.channel}"
        return ""

    def _is_on(self, person: str, at_ms: int) -> bool:
        return any(person in self._roster.on_duty(team, at_ms) for team in self._roster.tables)

    def _why(self, plan: Plan, place: Place, at_ms: int) -> tuple[str, str]:
        steps = sum(ms <= REACH_S[place.level] * 1000 for ms in plan.waits_ms)
        missed = dict.fromkeys(
            self._misses(way, at_ms + wait_s * 1000) for wait_s, way in self._calls(plan, place, steps, at_ms)
        )
        if not missed:
            return "no route takes it", "add a route to a duty desk for this domain, area and level"
        why = "; ".join(missed)
        later = next((ms // 1000 for ms in plan.waits_ms if ms > REACH_S[place.level] * 1000), None)
        if later is not None:
            limit = REACH_S[place.level]
            cure = f"add a shift, a `fallback`, a contact, or a step before {limit} s (the next is after {later} s)"
        else:
            cure = "add a shift, a `fallback` or a contact, or end the chain at a level of responsibility"
        return why, cure

    # ── rotas and calendar ──────────────────────────────────────────────────────────────────────

    def _thin(self) -> list[Gap]:
        found: list[Gap] = []
        for team, table in self._roster.tables.items():
            stretches = [*self._roster.stretches(team), (self._until_ms, ())]
            for (start, people), (end, _) in pairwise(stretches):
                if len(people) >= table.rota.at_least or start >= self._until_ms:
                    continue
                if not people and table.rota.fallback and table.rota.at_least == 1:
                    continue  # nobody is meant to be on: the fallback is called
                why = f"{len(people)} on duty ({', '.join(people) or 'nobody'}), {table.rota.at_least} asked for"
                cure = f"add a shift or a stand-in (`citypulse rota override {team} …`); rota at {table.rota.origin}"
                found.append(
                    Gap(kind="thin", from_ms=start, until_ms=min(end, self._until_ms), level=None, domain="",
                        areas=(), team=team, why=why, cure=cure)
                )  # fmt: skip
        return _merged(found)

    def _warnings(self) -> Iterator[str]:
        zone = ZoneInfo(self._config.timezone)
        days = [utc(at).astimezone(zone).date() for at in (self._from_ms, self._until_ms - 1)]
        for year in unknown_years(days[0], days[1]):
            yield (
                f"{year} 年的放假安排尚未录入, 按普通周末计算 | the holidays of {year} are not known: plain weekends"
                f" are used; write the notice into workdays-{year}.yaml and name it in `include:`"
            )
        if not self._config.people:
            yield "配置里没有人员, 无从证明 | no `people:` are configured, so nobody can be shown to be reached"


def _merged(gaps: list[Gap]) -> list[Gap]:
    """Join gaps of the same kind that touch, and put areas with the same one together."""
    joined: dict[tuple[Any, ...], list[Gap]] = {}
    for gap in sorted(gaps, key=lambda g: g.from_ms):
        key = (gap.kind, gap.level, gap.domain, gap.areas, gap.team, gap.why)
        row = joined.setdefault(key, [])
        if row and row[-1].until_ms == gap.from_ms:
            row[-1] = replace(row[-1], until_ms=gap.until_ms)
        else:
            row.append(gap)
    found = [gap for row in joined.values() for gap in row]
    return sorted(found, key=lambda g: (g.from_ms, g.level or 0, g.domain, g.team, g.areas))


def coverage(
    config: CityConfig,
    from_ms: int,
    days: int = 14,
    *,
    runtime: Mapping[str, list[StandIn]] | None = None,
    failing: Iterable[str] = (),
) -> Coverage:
    """Prove the coming days; see `Prover`."""
    return Prover(config, from_ms, days, runtime=runtime, failing=failing).prove()
