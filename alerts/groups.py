"""Situations: many alarms as the few things that are going on, by cause, by asset, by area, worst first.

Pure. A situation's cause is what hides, names or blinds its alarms, followed up to the first that nothing explains: a
silent gateway, a cloudburst, a site upstream. Alarms without one are put together by site, then by area and domain.
The alarm that came first is marked (first-out), and what is hidden is listed, never dropped.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from citypulse.domains import DOMAINS
from citypulse.model import Alarm, CityConfig, Condition, Priority, Text

from .lifecycle import is_retained

DOMAIN_ORDER: Final = ("gas", "flood", "road", "water")  # by what it does to people within minutes
KINDS: Final = ("cause", "asset", "area", "single")
KIND_NAMES: Final = {
    "cause": Text(zh="同因", en="one cause"),
    "asset": Text(zh="同点位", en="one place"),
    "area": Text(zh="同片区", en="one area"),
    "single": Text(zh="单条", en="single"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """One thing that is going on, and the alarms that tell of it. Ids are in order of seriousness, then of time."""

    id: str  # <kind>:<key>, stable while its cause or place is the same
    kind: str  # one of KINDS
    title: Text
    root: str  # id of the alarm that explains the others, or ""
    first_out: str  # id of the alarm that came first
    level: Priority  # the most serious among its alarms, hidden ones included
    domains: tuple[str, ...]
    areas: tuple[str, ...]
    sites: tuple[str, ...]
    alarms: tuple[str, ...]  # ids of those that are seen, the root among them
    hidden: tuple[str, ...]  # ids of those that something hides
    unacknowledged: int
    since_ms: int  # event time of the first-out

    @property
    def count(self) -> int:
        """How many alarms it has in all."""
        return len(self.alarms) + len(self.hidden)


class GroupNames:
    """Names of collections of notices, as people read them in a digest."""

    def __init__(self, config: CityConfig) -> None:
        """Know the areas by their names."""
        self._areas = config.areas
        self._known: dict[tuple[str, str], str] = {}

    def of(self, domain: str, area: str) -> str:
        """Return e.g. `西湖街道 积水 Xihu flood`."""
        key = (domain, area)
        if key not in self._known:
            name = _joined(_area(self._areas, area), _domain(domain))
            self._known[key] = name.zh if name.zh == name.en else f"{name.zh} {name.en}"
        return self._known[key]


def situations(
    alarms: Iterable[Alarm],
    *,
    areas: Mapping[str, Text] | None = None,
    sites: Mapping[str, Text] | None = None,
    rules: Mapping[str, Text] | None = None,
) -> tuple[Situation, ...]:
    """Put open alarms together and rank them by consequence; every alarm is in exactly one situation.

    Alarms that nobody has to see to any more, and historical ones, are left out. Names are for the titles; an id
    without one is shown as it is. Two dedup keys that name each other as cause count as one, the smaller leading.
    """
    names = _Names(areas=areas or {}, sites=sites or {}, rules=rules or {})
    open_ones = [a for a in alarms if is_retained(a) and not a.is_historical and not a.is_point]
    by_key = {a.dedup_key: a for a in open_ones}
    by_root: dict[str, list[Alarm]] = defaultdict(list)
    for alarm in open_ones:
        by_root[_root(alarm, by_key)].append(alarm)
    found: list[Situation] = []
    alone: list[Alarm] = []
    for key, members in by_root.items():
        if len(members) > 1:
            found.append(_situation("cause", key, members, names, root=by_key.get(key)))
        else:
            alone += members
    by_site: dict[str, list[Alarm]] = defaultdict(list)
    for alarm in alone:
        by_site[alarm.site].append(alarm)
    rest: dict[tuple[str, str], list[Alarm]] = defaultdict(list)
    for site, members in by_site.items():
        if site and len(members) > 1:
            found.append(_situation("asset", site, members, names))
        else:
            for alarm in members:
                rest[alarm.area, alarm.domain].append(alarm)
    for (area, domain), members in rest.items():
        if len(members) > 1:
            found.append(_situation("area", f"{area}|{domain}", members, names))
        else:
            found.append(_situation("single", members[0].dedup_key, members, names))
    return tuple(sorted(found, key=_consequence))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Names:
    areas: Mapping[str, Text]
    sites: Mapping[str, Text]
    rules: Mapping[str, Text]


def _root(alarm: Alarm, by_key: Mapping[str, Alarm]) -> str:
    """Return the dedup key of the first cause above an alarm, its own where nothing explains it."""
    seen = {alarm.dedup_key}
    here = alarm
    while True:
        named = (here.parent,) if here.parent else ()
        above = sorted(k for k in {*named, *here.suppressed_by, *here.stale_by} if k in by_key and _explains(by_key[k]))
        if not above:
            return here.dedup_key
        new = [k for k in above if k not in seen]
        if not new:  # a circle: its smallest key leads, from wherever one came
            return min(seen & set(above) | {here.dedup_key})
        # The parent a transition named itself is the nearest truth; else the one that stands longest.
        nearest = here.parent if here.parent in new else min(new, key=lambda k: (by_key[k].raised_ms, k))
        seen.add(nearest)
        here = by_key[nearest]


def _explains(cause: Alarm) -> bool:
    return cause.condition is Condition.ACTIVE  # a resolved cause explains nothing that is still there


def _situation(kind: str, key: str, members: Sequence[Alarm], names: _Names, *, root: Alarm | None = None) -> Situation:
    ranked = sorted(members, key=lambda a: (a.level, a.is_diagnostic, a.raised_ms, a.id))
    first = min(members, key=lambda a: (a.raised_ms, a.raised_wall_ms, a.id))
    return Situation(
        id=f"{kind}:{key}",
        kind=kind,
        title=_title(kind, root or ranked[0], members, names),
        root="" if root is None else root.id,
        first_out=first.id,
        level=min(a.level for a in members),
        domains=tuple(sorted({a.domain for a in members if a.domain}, key=_domain_rank)),
        areas=tuple(sorted({a.area for a in members if a.area})),
        sites=tuple(sorted({a.site for a in members if a.site})),
        alarms=tuple(a.id for a in ranked if not a.suppressed_by),
        hidden=tuple(a.id for a in ranked if a.suppressed_by),
        unacknowledged=sum(not a.is_acked for a in members if not a.suppressed_by),
        since_ms=first.raised_ms,
    )


def _title(kind: str, lead: Alarm, members: Sequence[Alarm], names: _Names) -> Text:
    rule = names.rules.get(lead.rule, Text(zh=lead.rule, en=lead.rule))
    place = names.sites.get(lead.site or lead.scope, Text(zh=lead.site or lead.scope, en=lead.site or lead.scope))
    if kind == "single":
        return _joined(place, rule)
    many = Text(zh=f"{len(members)} 条告警", en=f"{len(members)} alarms")
    if kind == "cause":
        return _joined(place, rule, many)
    if kind == "asset":
        return _joined(place, many)
    return _joined(_area(names.areas, lead.area), _domain(lead.domain), many)


def _area(areas: Mapping[str, Text], area: str) -> Text:
    return areas.get(area, Text(zh=area, en=area))


def _domain(domain: str) -> Text:
    known = DOMAINS.get(domain)
    return Text(zh=domain, en=domain) if known is None else known.name


def _joined(*parts: Text) -> Text:
    return Text(zh=" ".join(p.zh for p in parts if p.zh), en=" ".join(p.en for p in parts if p.en))


def _domain_rank(domain: str) -> tuple[int, str]:
    return (DOMAIN_ORDER.index(domain) if domain in DOMAIN_ORDER else len(DOMAIN_ORDER), domain)


def _consequence(s: Situation) -> tuple[int, tuple[int, str], int, int, str]:
    """Worst first: level, then what it does to people, then how many alarms, then which came first."""
    rank = min((_domain_rank(d) for d in s.domains), default=(len(DOMAIN_ORDER), ""))
    return (int(s.level), rank, -s.count, s.since_ms, s.id)
