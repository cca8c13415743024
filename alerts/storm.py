"""Storm mode: whether a duty desk is in a flood of alarms, and what may therefore come to it as a digest.

A storm begins when a desk has heard of more new alarms within the window than its officers can read (ISA-18.2: more
than 10 in 10 min each), or of an alarm of a rule that announces many (gateway loss, heavy rain). It ends when no such
alarm stands any more and the rate is under the lower limit, so that it does not flicker. Red alarms and gas never wait.

The state is one row a desk, written with the alarms that moved it: a restart stands in the same storm.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from alerts.people.rota import Roster
from citypulse.model import Alarm, CityConfig, Condition, NoticeKind, Priority, Storm, StormPlan

from .groups import GroupNames
from .pen import Pen, Way
from .routes import RouteTable
from .texts import span

NOTICE_LEVEL: Final = Priority.P2  # the notice that a storm has begun or ended goes by the desk's ways of this level
CREW_WAITS_FROM: Final = Priority.P3
CAUSES_MAX: Final = 50  # alarms that are remembered as holding one storm; a rain over the whole city raises many
DESK_ROLES: Final = frozenset({"duty", "lead"})

Live = Callable[[str], Alarm | None]


def may_wait(alarm_level: Priority, domain: str) -> bool:
    """Return whether a notice of this level and domain may ever be collected: red and gas never may."""
    return alarm_level is not Priority.P1 and domain != "gas"


@dataclass(slots=True, kw_only=True)
class _Desk:
    """A desk's storm while the process runs; `Storm` is its written form."""

    storm: Storm
    recent: deque[int]
    causes: dict[str, None] = field(default_factory=dict)
    alarms: int = 0


class StormWatch:
    """Counts what each duty desk hears and says whether it is in a storm."""

    def __init__(
        self, config: CityConfig, routes: RouteTable, roster: Roster | None, kept: Iterable[Storm] = ()
    ) -> None:
        """Go on from the storms `kept`; without a rota everybody of a desk's team counts as an officer at work."""
        self._plan: StormPlan = config.storm
        self._roster = roster
        self._routes = routes
        self._names = GroupNames(config)
        self._starts_on = frozenset(self._plan.starts_on)
        given = dict(self._plan.officers)
        self._officers: dict[str, int] = {}
        self._teams: dict[str, tuple[str, ...]] = {}  # person → duty desks
        self._ways: dict[str, tuple[Way, ...]] = {}
        for team in config.teams.values():
            if team.kind == "duty":
                people = [p for p in config.people.values() if team.id in p.teams and p.role in DESK_ROLES]
                self._officers[team.id] = given.get(team.id) or max(1, len(people))
                for person in people:
                    self._teams[person.id] = (*self._teams.get(person.id, ()), team.id)
        self._is_given = frozenset(given)
        for route in config.routes:
            if route.to in self._officers and route.at_least >= NOTICE_LEVEL:
                way = Way(
                    channel=route.channel, target=route.to, reason=f"storm mode; route {route.id} ({route.origin})"
                )
                ways = self._ways.get(route.to, ())
                if way.key not in {w.key for w in ways}:
                    self._ways[route.to] = (*ways, way)
        self._desks = {name: _Desk(storm=Storm(desk=name), recent=self._empty(name)) for name in self._officers}
        for storm in kept:
            if storm.desk in self._desks:
                desk = self._desks[storm.desk]
                desk.storm, desk.causes, desk.alarms = storm, dict.fromkeys(storm.causes), storm.alarms
                desk.recent.extend(storm.recent_ms)
        self._on = {name for name, desk in self._desks.items() if desk.storm.is_on}
        self._dirty: set[str] = set()

    def _empty(self, desk: str) -> deque[int]:
        return deque(maxlen=self._plan.starts_above * self._officers[desk] + 1)  # a start needs no more than these

    def officers(self, desk: str, now_ms: int) -> int:
        """Return how many officers read this desk's alarms now, at least one and at most the team."""
        if desk not in self._is_given and self._roster is not None and self._roster.has_rota(desk):
            return max(1, min(self._officers[desk], len(self._roster.on_duty(desk, now_ms))))
        return self._officers[desk]

    # ── what happens ────────────────────────────────────────────────────────────────────────────

    def heard(self, pen: Pen, alarm: Alarm, ways: Iterable[Way]) -> None:
        """Count an alarm that calls these ways; drills are not counted."""
        if alarm.exercise:
            return
        names = dict.fromkeys(name for way in ways for name in self._desks_of(way.target))
        starts = alarm.rule in self._starts_on and alarm.condition is Condition.ACTIVE
        for name in names:
            desk = self._desks[name]
            desk.recent.append(pen.now_ms)
            desk.alarms += desk.storm.is_on
            if starts and len(desk.causes) < CAUSES_MAX:
                desk.causes[alarm.dedup_key] = None
            self._dirty.add(name)
            if not desk.storm.is_on:
                limit = self._plan.starts_above * self.officers(name, pen.now_ms)
                if self._count(desk, pen.now_ms) > limit or desk.causes:
                    self._begin(pen, name, desk, limit)

    def settle(self, pen: Pen, live: Live) -> None:
        """End the storms that are over: no alarm holds them, and the rate is under the lower limit."""
        for name in sorted(self._on):
            desk = self._desks[name]
            held = dict.fromkeys(k for k in desk.causes if _is_active(live(k)))
            if len(held) != len(desk.causes):
                desk.causes = held
                self._dirty.add(name)
            limit = self._plan.ends_below * self.officers(name, pen.now_ms)
            if not held and self._count(desk, pen.now_ms) < limit:
                self._end(pen, name, desk, limit)

    def flush(self, pen: Pen) -> None:
        """Write the rows that changed; called once at a tick's end."""
        for name in sorted(self._dirty):
            desk = self._desks[name]
            storm = desk.storm
            desk.storm = pen.effects.storms[name] = Storm(
                desk=name, is_on=storm.is_on, since_ms=storm.since_ms, recent_ms=tuple(desk.recent),
                causes=tuple(desk.causes), number=storm.number, alarms=desk.alarms, rev=storm.rev,
            )  # fmt: skip
        self._dirty.clear()

    # ── what it means for notices ───────────────────────────────────────────────────────────────

    def collects(self, target: str, level: Priority, domain: str, area: str) -> bool:
        """Return whether a notice may wait for a digest now: to a desk in a storm, or to one of its people.

        Crews are called by work orders: theirs wait only from yellow down, while the desk they work for has a storm.
        """
        if not self._on or not may_wait(level, domain):
            return False
        if desks := self._desks_of(target):
            return any(desk in self._on for desk in desks)
        above = self._routes.duty(domain, area, Priority.P1)
        return level >= CREW_WAITS_FROM and any(way.target in self._on for way in above)

    def group(self, domain: str, area: str) -> str:
        """Return under what name notices of this domain and area are collected."""
        return self._names.of(domain, area)

    # ── beginning and end ───────────────────────────────────────────────────────────────────────

    def _begin(self, pen: Pen, name: str, desk: _Desk, limit: int) -> None:
        count, window, officers = self._count(desk, pen.now_ms), span(self._plan.window_s), limit
        if desk.causes:
            why_zh, why_en = f"{next(iter(desk.causes))} 引起", f"because of {next(iter(desk.causes))}"
        else:
            why_zh = f"{window} 内 {count} 条新告警, 超过 {officers} 条"
            why_en = f"{count} new alarms within {window}, more than {officers}"
        desk.storm = Storm(desk=name, is_on=True, since_ms=pen.now_ms, number=desk.storm.number + 1,
                           rev=desk.storm.rev)  # fmt: skip
        desk.alarms = 1
        self._on.add(name)
        self._say(pen, name, desk, "storm_started", f"告警风暴: {why_zh} | storm mode: {why_en}", count, limit)

    def _end(self, pen: Pen, name: str, desk: _Desk, limit: int) -> None:
        count, lasted = self._count(desk, pen.now_ms), span(max(0, pen.now_ms - desk.storm.since_ms) / 1000)
        why = f"风暴结束: 历时 {lasted}, 共 {desk.alarms} 条 | storm over: lasted {lasted}, {desk.alarms} alarms"
        desk.storm = Storm(desk=name, since_ms=pen.now_ms, number=desk.storm.number, rev=desk.storm.rev)
        self._on.discard(name)
        self._say(pen, name, desk, "storm_ended", why, count, limit)

    def _say(self, pen: Pen, name: str, desk: _Desk, kind: str, why: str, count: int, limit: int) -> None:
        storm = desk.storm
        by = f" ({self._plan.origin})" if self._plan.origin else ""
        data = {"desk": name, "new_alarms": count, "limit": limit, "window_s": self._plan.window_s,
                "causes": list(desk.causes), "alarms": desk.alarms, "number": storm.number}  # fmt: skip
        desk.storm = pen.storm(storm, kind, why + by, data=data)
        self._dirty.add(name)
        is_on = storm.is_on
        zh, en = why.split(" | ")
        rest_zh = "红色与燃气告警仍逐条即时发送, 其余汇总" if is_on else "恢复逐条发送"
        rest_en = "red and gas alarms still come one by one, the rest as digests" if is_on else "notices come singly"
        for way in self._ways.get(name, ()):
            pen.notice(
                way, subject=storm.subject, subject_kind="storm", rev=desk.storm.rev, level=NOTICE_LEVEL,
                kind=NoticeKind.RAISED if is_on else NoticeKind.CLEARED, title=f"{zh} · {en}",
                body=f"{rest_zh} · {rest_en}\n态势 situations: /api/v1/situations",
            )  # fmt: skip

    # ── counting ────────────────────────────────────────────────────────────────────────────────

    def _count(self, desk: _Desk, now_ms: int) -> int:
        since = now_ms - round(self._plan.window_s * 1000)
        recent = desk.recent
        if recent and recent[0] > since:
            return len(recent)
        return sum(at > since for at in recent)

    def _desks_of(self, target: str) -> tuple[str, ...]:
        return (target,) if target in self._officers else self._teams.get(target, ())


def _is_active(alarm: Alarm | None) -> bool:
    return alarm is not None and alarm.condition is Condition.ACTIVE
