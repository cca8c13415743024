"""Who is woken when nobody acknowledges: which chain an alarm goes through, and which of its steps are due.

The state is two fields of the alarm, so a restart neither forgets a step nor repeats one. A step is due by wall time
since the alarm asked for attention; none is once the alarm is acknowledged, hidden or over (I15). A chain is found
from the alarm's domain, area and level, so a rise of the level begins the chain of the new level.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from alerts.lifecycle import letter
from citypulse.model import Alarm, Chain, ChainStep, CityConfig, Origin, Priority, Route, Text

WAITS_S: Final[dict[Priority, tuple[int, ...]]] = {
    # Seconds since the alarm asked for attention, where no chain is declared. Proposal: the first before T1 of a red
    # order has passed twice (domain.md 2.5), the last after two hours; then the lamps of its order go on.
    Priority.P1: (120, 300, 600, 1_200, 1_800, 3_600, 7_200),
    Priority.P2: (300, 900, 1_800, 3_600, 7_200),
    Priority.P3: (3_600,),
    Priority.P4: (),  # blue is read on the board
}
WIDER_FROM: Final = 2  # from this reminder (counted from 0) every duty desk hears it, whatever its domain and area
BUILT_IN: Final = Origin(file="built in", line=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The chain of one kind of alarm: `calls` are made at once, `steps` later; `waits_ms` are those of `steps`.

    team: the desk whose route named the chain, "" for the built-in one.
    """

    chain: Chain
    team: str = ""
    calls: tuple[ChainStep, ...] = ()
    steps: tuple[ChainStep, ...] = ()
    waits_ms: tuple[int, ...] = ()

    @property
    def is_built_in(self) -> bool:
        """True when no chain was declared for these alarms."""
        return not self.team


def built_in(level: Priority) -> Chain:
    """Return the chain of alarms for which none is declared: their desks again, from the third time on every desk."""
    return Chain(
        id=f"default-{level.colour}",
        name=Text(zh="默认催办", en="default reminders"),
        steps=tuple(
            ChainStep(
                after_s=wait,
                to=("routes",) if number < WIDER_FROM else ("routes", "every-desk"),
                origin=BUILT_IN,
            )
            for number, wait in enumerate(WAITS_S[level])
        ),
        origin=BUILT_IN,
    )


def plan_of(chain: Chain, team: str = "") -> Plan:
    """Lay the rounds of a chain out in time. A step of the first round that waits for nothing is a call."""
    rows = [(lap * chain.every_s + step.after_s, step) for lap in range(chain.rounds) for step in chain.steps]
    later = [(at_s, step) for at_s, step in rows if at_s > 0]
    return Plan(
        chain=chain,
        team=team,
        calls=tuple(step for at_s, step in rows if at_s <= 0),
        steps=tuple(step for _, step in later),
        waits_ms=tuple(at_s * 1000 for at_s, _ in later),
    )


def wants(of: Chain, domain: str, area: str, level: Priority) -> bool:
    """True when a chain takes alarms of this domain, area and level."""
    return (
        (not of.levels or level in of.levels)
        and (not of.domains or domain in of.domains)
        and (not of.areas or area in of.areas)
    )


class Escalation:
    """The chains of one configuration."""

    def __init__(self, config: CityConfig) -> None:
        """The first route to a duty desk, in the order of the file, with a chain that wants the alarm, gives it."""
        self._routes = tuple(r for r in config.routes if r.chains and config.teams[r.to].kind == "duty")
        self._chains = config.chains
        self._plan = lru_cache(maxsize=4_096)(self._find)

    def plan(self, alarm: Alarm) -> Plan:
        """Return the chain an alarm goes through at its present level."""
        return self._plan(alarm.domain, alarm.area, alarm.level)

    def plan_for(self, domain: str, area: str, level: Priority) -> Plan:
        """Return the chain of alarms of this domain, area and level."""
        return self._plan(domain, area, level)

    def next_call_ms(self, alarm: Alarm) -> int | None:
        """Return when the next step is due, epoch ms; None when none is."""
        if not alarm.called_ms or letter(alarm) != "B":
            return None
        waits_ms = self.plan(alarm).waits_ms
        return None if alarm.reminded >= len(waits_ms) else alarm.called_ms + waits_ms[alarm.reminded]

    def steps_passed(self, alarm: Alarm, now_ms: int) -> int:
        """Return how many steps are due in all by `now_ms`; after an outage several may have been missed."""
        return bisect_right(self.plan(alarm).waits_ms, now_ms - alarm.called_ms)

    def _find(self, domain: str, area: str, level: Priority) -> Plan:
        for route in self._routes:
            for name in route.chains if _takes(route, domain, area, level) else ():
                chain = self._chains[name]
                if wants(chain, domain, area, level):
                    return plan_of(chain, route.to)
        return plan_of(built_in(level))


def _takes(route: Route, domain: str, area: str, level: Priority) -> bool:
    return (
        (not route.domains or domain in route.domains)
        and (not route.areas or area in route.areas)
        and level <= route.at_least
    )
