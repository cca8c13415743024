"""Who of a team is on duty at an instant: a pure function of the rota, its stand-ins and the calendar.

A shift begins at the first instant at which the local clock shows at least its time, and ends the same way: a night
in which the clocks change is an hour longer or shorter, with no gap and nobody on twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from citypulse.clock import utc
from citypulse.model import CityConfig, Person, Rota, Shift, StandIn

from .workdays import is_workday, know

DAY_S: Final = 86_400
SHIFT_DAYS_MAX: Final = 2  # a shift ends at the latest at midnight of the day after the next
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """One occurrence of a shift: [starts, ends) in epoch ms, and the group whose turn it is."""

    shift: str
    starts_ms: int
    ends_ms: int
    people: tuple[str, ...]
    origin: str  # file:line


def instant_ms(day: date, clock_s: int, zone: ZoneInfo) -> int:
    """Return the first instant at which the local clock shows at least `clock_s` seconds of `day`, epoch ms.

    Of an hour that comes twice it is the first; of an hour that is left out, the instant of the leap.
    """
    naive = datetime.combine(day, datetime.min.time()) + timedelta(seconds=clock_s)
    before = naive.replace(tzinfo=zone).astimezone(UTC)
    if before.astimezone(zone).replace(tzinfo=None) == naive:
        return round(before.timestamp() * 1000)
    # The clock leaps over it. Read with the offset after the leap it lies before the leap, and the other way round.
    low, high = (round(naive.replace(tzinfo=zone, fold=fold).timestamp()) for fold in (1, 0))
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, zone).replace(tzinfo=None) >= naive:
            high = middle
        else:
            low = middle
    return high * 1000


def is_day_of(shift: Shift, day: date) -> bool:
    """True when the shift begins on this local day; workday and holiday follow the Chinese calendar, with 调休."""
    if not shift.days:
        return True
    kind = "workday" if is_workday(day) else "holiday"
    return kind in shift.days or WEEKDAYS[day.weekday()] in shift.days


def group_on(shift: Shift, first_day: date, day: date) -> tuple[str, ...]:
    """Return the group whose turn it is on `day`; turns are counted in calendar days from the rota's first."""
    return shift.groups[(day - first_day).days // shift.turn_days % len(shift.groups)]


class RotaTable:
    """One team's rota, with its watches by day remembered."""

    def __init__(self, rota: Rota) -> None:
        """Read the rota's zone and first day; both were checked with the configuration."""
        self.rota = rota
        self._zone = ZoneInfo(rota.timezone)
        self._first = date.fromisoformat(rota.first_day)
        self._watches = lru_cache(maxsize=1_024)(self._watches_of)

    def watches(self, from_ms: int, until_ms: int) -> list[Watch]:
        """Return the watches that touch [from, until), in order of their beginning and then of the file."""
        day, last = self._day(from_ms) - timedelta(days=SHIFT_DAYS_MAX), self._day(until_ms)
        found: list[Watch] = []
        while day <= last:
            found += [w for w in self._watches(day) if w.starts_ms < until_ms and w.ends_ms > from_ms]
            day += timedelta(days=1)
        return found

    def at(self, at_ms: int) -> list[Watch]:
        """Return the watches that are on at an instant."""
        return self.watches(at_ms, at_ms + 1)

    def on_duty(self, at_ms: int, runtime: Sequence[StandIn] = ()) -> tuple[str, ...]:
        """Return the ids of the people on duty, in order of their watches; stand-ins are laid over in order."""
        return stood_in(
            dict.fromkeys(p for watch in self.at(at_ms) for p in watch.people),
            (*self.rota.stand_ins, *runtime),
            at_ms,
        )

    def edges(self, from_ms: int, until_ms: int, runtime: Iterable[StandIn] = ()) -> list[int]:
        """Return the instants within (from, until) at which the people on duty may change, in order."""
        found = {at for w in self.watches(from_ms, until_ms) for at in (w.starts_ms, w.ends_ms)}
        found |= {at for s in (*self.rota.stand_ins, *runtime) for at in (s.starts_ms, s.ends_ms)}
        return sorted(at for at in found if from_ms < at < until_ms)

    def _day(self, at_ms: int) -> date:
        return utc(at_ms).astimezone(self._zone).date()

    def _watches_of(self, day: date) -> tuple[Watch, ...]:
        if day < self._first:
            return ()
        return tuple(
            Watch(
                shift=shift.id,
                starts_ms=instant_ms(day, shift.starts_s, self._zone),
                ends_ms=instant_ms(day, shift.ends_s, self._zone),
                people=group_on(shift, self._first, day),
                origin=str(shift.origin),
            )
            for shift in self.rota.shifts
            if is_day_of(shift, day)
        )


def stood_in(people: Iterable[str], stand_ins: Iterable[StandIn], at_ms: int) -> tuple[str, ...]:
    """Lay the stand-ins that run at `at_ms` over `people`, in order: each acts on what the ones before it left."""
    here = list(dict.fromkeys(people))
    for s in stand_ins:
        if not s.starts_ms <= at_ms < s.ends_ms:
            continue
        if not s.instead_of:
            here += [s.person] if s.person else []
        elif s.instead_of in here:
            at = here.index(s.instead_of)
            here[at : at + 1] = [s.person] if s.person else []
        here = list(dict.fromkeys(here))
    return tuple(here)


class Roster:
    """All rotas of one configuration; stand-ins made while running come from `runtime`, which may grow."""

    def __init__(self, config: CityConfig, runtime: Mapping[str, Sequence[StandIn]] | None = None) -> None:
        """`runtime` gives the stand-ins of each team in the order in which they were made."""
        know(config.workdays)
        self.people: dict[str, Person] = config.people
        self.tables = {team: RotaTable(rota) for team, rota in config.rotas.items()}
        self.runtime: Mapping[str, Sequence[StandIn]] = {} if runtime is None else runtime

    def on_duty(self, team: str, at_ms: int) -> tuple[str, ...]:
        """Return the people on duty; nobody when the team has no rota."""
        table = self.tables.get(team)
        if table is None:
            return ()
        return tuple(p for p in table.on_duty(at_ms, self.runtime.get(team, ())) if p in self.people)

    def leads(self, team: str, at_ms: int) -> tuple[str, ...]:
        """Return those on duty whose role is lead."""
        return tuple(p for p in self.on_duty(team, at_ms) if self.people[p].role == "lead")

    def fallback(self, team: str) -> tuple[str, ...]:
        """Return who may be called when nobody is on."""
        table = self.tables.get(team)
        return () if table is None else tuple(p for p in table.rota.fallback if p in self.people)

    def has_rota(self, team: str) -> bool:
        """True when the team's people are in a rota."""
        return team in self.tables
