"""Who is told and how: teams, people, rotas, chains, profiles, routes, channels, storms and drills."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from citypulse.model.basics import Origin, Priority, Text

PART = "/"
"""Between a team and one of its people in the target of a notice that is told to each for himself: `desk/ada`."""


def split_target(target: str) -> tuple[str, str]:
    """Return the team or person a notice is for, and who of the team, or ""."""
    team, _, person = target.partition(PART)
    return team, person


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """People who get notices: a duty desk or a crew."""

    id: str
    name: Text
    kind: str  # duty | crew
    domains: tuple[str, ...] = ()
    areas: tuple[str, ...] = ()
    unit: str = ""  # the responsible unit it belongs to; the unit that fixes never verifies
    work: tuple[str, ...] = ()  # a crew's lines of business: ids of order templates; empty: all


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who can be reached. Contacts are kept as `(kind, address)`: phone, mail, dingtalk, wecom, feishu."""

    id: str
    name: Text
    role: str  # duty, lead, dispatcher, unit, crew, checker, supervisor, boss, admin
    teams: tuple[str, ...] = ()
    unit: str = ""
    contacts: tuple[tuple[str, str], ...] = ()
    is_outside: bool = False  # not of the bureau: never called by a drill
    level: str = ""  # of the responsibility chain: person, unit, street, district or city; "": not of it
    domains: tuple[str, ...] = ()  # answered for at that level; empty: all
    areas: tuple[str, ...] = ()

    def address(self, kind: str) -> str:
        """Return the address of a kind of contact, or ""."""
        return dict(self.contacts).get(kind, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """A watch that comes round: on each of its days from `starts_s` to `ends_s`, seconds of the local clock.

    `ends_s` beyond 86 400 is on the next day. Groups take turns: each is on for `turn_days` days, counted from the
    rota's first day.
    """

    id: str
    starts_s: int
    ends_s: int
    groups: tuple[tuple[str, ...], ...]  # ids of people
    turn_days: int = 1
    days: tuple[str, ...] = ()  # mon … sun, workday, holiday (with 调休); empty: every day; any of them is enough
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkdayYear:
    """One year's days off and weekend days that are worked (调休), as ISO dates, with the notice they come from."""

    year: int
    source: str
    off: tuple[str, ...]
    worked: tuple[str, ...] = ()
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class StandIn:
    """`person` stands in for `instead_of` in [starts, ends); without a name on one side, somebody more or one less."""

    id: str
    team: str
    instead_of: str
    person: str
    starts_ms: int
    ends_ms: int
    reason: str = ""
    origin: str = ""  # file:line, or who said so and when


@dataclass(frozen=True, slots=True, kw_only=True)
class Rota:
    """Who of a team is on duty when. Before its first day nobody is."""

    team: str
    timezone: str
    first_day: str  # ISO date, local: the first day of every shift's first turn
    shifts: tuple[Shift, ...]
    at_least: int = 1  # people who should be on at any time
    stand_ins: tuple[StandIn, ...] = ()  # in the order of the file; a later one acts on what earlier ones left
    fallback: tuple[str, ...] = ()  # people called when nobody is on
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainStep:
    """Whom an alarm calls `after_s` seconds after it asked for attention, if nobody has acknowledged it by then.

    to: `routes` (the desks it was told to), `every-desk`, `on-duty`, `lead-on-duty` (of the desk, or of another team:
    `on-duty:crew-gas`), `team:…`, `person:…`, `level:street` … · by: ids of channels; empty: those of its routes.
    """

    after_s: int
    to: tuple[str, ...]
    by: tuple[str, ...] = ()
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """An escalation chain: steps, and how often they come again. Empty selectors take everything."""

    id: str
    name: Text
    steps: tuple[ChainStep, ...]
    every_s: int = 0  # between the beginnings of two rounds
    rounds: int = 1
    levels: tuple[Priority, ...] = ()
    domains: tuple[str, ...] = ()
    areas: tuple[str, ...] = ()
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Milestone:
    """Something an order has to have reached `within_s` after it was opened; else those in `to` are told."""

    id: str
    name: Text
    within_s: float
    reached: tuple[str, ...]  # kinds of the order's events, any of which reaches it: accepted, arrived, fed_back …
    to: tuple[str, ...]  # crew, desk, or a target as in ChainStep.to
    is_work: bool = False  # counted in working time
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A named set of milestones that order templates may ask for."""

    id: str
    name: Text
    milestones: tuple[Milestone, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Which team hears of which alarms, by which channel."""

    id: str
    to: str  # team id
    channel: str  # id of a configured channel
    domains: tuple[str, ...] = ()  # empty: all
    areas: tuple[str, ...] = ()
    at_least: Priority = Priority.P4
    chains: tuple[str, ...] = ()  # escalation chains, the first that wants an alarm takes it
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelConfig:
    """A configured way out: `kind` is a key of alerts.channels.CHANNELS, settings its own frozen model."""

    id: str
    kind: str
    settings: Any
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class StormPlan:
    """When a duty desk is in an alarm flood: ISA-18.2 says above 10 new alarms in 10 min an operator, until under 5."""

    starts_above: int = 10  # new alarms within the window for each officer
    ends_below: int = 5
    window_s: float = 600.0
    starts_on: tuple[str, ...] = ()  # rules whose alarm begins a storm at once and holds it: gateway loss, heavy rain
    officers: tuple[tuple[str, int], ...] = ()  # by desk; else the people of its team who are on duty or lead
    origin: str = ""  # file:line; "" for the built-in limits


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchdogPlan:
    """Whom the service tells that it is well, so that somebody outside notices when it falls silent."""

    url: str = ""  # a POST every `every_s`; "" and no url_env: nobody
    url_env: str = ""  # the environment variable that holds the address, where the address itself is a secret
    every_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Drills:
    """What drills may do: the only channels they may use, and how long one may run. No channels: no drills."""

    channels: tuple[str, ...] = ()
    longest_s: float = 7_200.0
