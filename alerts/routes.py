"""Who hears of what: the configured routes as one table, consulted for alarms (duty) and for orders (crews)."""

from __future__ import annotations

from enum import Enum

from citypulse.model import Alarm, CityConfig, Priority, Route, Team

from .pen import Way


class NoticeReason(Enum):
    """Why a notice was made; written into it, so that nobody has to guess why the phone rang."""

    FIRST = "first"  # 首次 the alarm was raised
    WORSENED = "worsened"  # 升级 it became more serious
    AGAIN = "again"  # 重新通告 an overlay ended while it was still active
    CHATTER = "chatter"  # 抖动 it comes and goes: told once, then only how it ends
    STANDS = "stands"  # 久未恢复 acknowledged, and still there after a long time
    REMINDED = "reminded"  # 催办 nobody has acknowledged it yet
    ENDED = "ended"  # 恢复 it returned to normal; goes to all who heard of it
    STEP = "step"  # 工单 an order step concerns this team
    LAMP = "lamp"  # 时限 a clock passed 50, 80, 100 … % of its limit


def _wants(route: Route, domain: str, area: str, level: Priority) -> bool:
    return (
        (not route.domains or domain in route.domains)
        and (not route.areas or area in route.areas)
        and level <= route.at_least
    )


class RouteTable:
    """The routes and teams of one configuration."""

    def __init__(self, config: CityConfig) -> None:
        """Keep routes in the order of the file; a later duplicate of channel and team adds nothing."""
        self._routes = config.routes
        self._teams = config.teams
        self._cache: dict[tuple[str, str, Priority, str], tuple[Way, ...]] = {}

    def of_alarm(self, alarm: Alarm) -> tuple[Way, ...]:
        """Return who hears of an alarm: the duty desks whose routes match its domain, area and level."""
        return self.duty(alarm.domain, alarm.area, alarm.level)

    def every_desk(self, level: Priority) -> tuple[Way, ...]:
        """Return the ways to all duty desks, whatever domain and area their routes name."""
        found: dict[str, Way] = {}
        for route in self._routes:
            if self._teams[route.to].kind == "duty" and level <= route.at_least:
                why = f"escalation; route {route.id} ({route.origin})"
                way = Way(channel=route.channel, target=route.to, reason=why)
                found.setdefault(way.key, way)
        return tuple(found.values())

    def duty(self, domain: str, area: str, level: Priority) -> tuple[Way, ...]:
        """Return the ways to duty desks for this domain, area and level."""
        return self._ways(domain, area, level, "duty")

    def crew(self, team: str, domain: str, area: str, level: Priority) -> tuple[Way, ...]:
        """Return the ways to one crew; a crew that no route names hears by the duty desk's own channels."""
        ways = self._ways(domain, area, level, team)
        if ways or team not in self._teams:
            return ways
        found: dict[str, Way] = {}
        for way in self.duty(domain, area, level):
            spare = Way(channel=way.channel, target=team, reason=f"no route names {team}; by the duty desk's channel")
            found.setdefault(spare.key, spare)
        return tuple(found.values())

    def crews_for(self, domain: str, area: str, work: str = "") -> tuple[Team, ...]:
        """Return the crews responsible for this kind of work here.

        A crew that names the work goes before one that takes any; of those, one that names the area.
        """
        fit = [
            t
            for t in self._teams.values()
            if t.kind == "crew"
            and (not t.domains or domain in t.domains)
            and (not t.areas or area in t.areas)
            and (not t.work or work in t.work)
        ]
        fit = [t for t in fit if t.work] or fit
        return tuple([t for t in fit if t.areas] or fit)

    def _ways(self, domain: str, area: str, level: Priority, whom: str) -> tuple[Way, ...]:
        key = (domain, area, level, whom)
        if key not in self._cache:
            found: dict[str, Way] = {}
            for route in self._routes:
                team = self._teams[route.to]
                is_meant = team.kind == "duty" if whom == "duty" else team.id == whom
                if is_meant and _wants(route, domain, area, level):
                    way = Way(channel=route.channel, target=team.id, reason=f"route {route.id} ({route.origin})")
                    found.setdefault(way.key, way)
            self._cache[key] = tuple(found.values())
        return self._cache[key]
