"""The load of each duty desk over a history, and which bounds of the `budget:` section it exceeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from alerts.facts import Atlas
from alerts.routes import RouteTable
from citypulse.model import AlarmBudget, CityConfig, SensorTable
from rules.backtest import Label, Occurrence, score
from rules.backtest_load import Load, load
from rules.budget import Budget, Overrun, check


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskLoad:
    """What one duty desk would have had to bear."""

    desk: str
    load: Load


def by_desk(config: CityConfig, occurrences: Sequence[Occurrence]) -> dict[str, list[Occurrence]]:
    """Return the alarms each duty desk hears of by its routes, at the worst level each reached."""
    atlas = Atlas(config, SensorTable.build(tuple(s.id for s in config.sensors), config.sensors))
    routes = RouteTable(config)
    heard: dict[str, list[Occurrence]] = {name: [] for name, team in config.teams.items() if team.kind == "duty"}
    for o in occurrences:
        _, area, domain = atlas.place(o.rule, o.scope)
        for desk in dict.fromkeys(way.target for way in routes.duty(domain, area, o.level)):
            heard[desk].append(o)
    return heard


def loads(config: CityConfig, occurrences: Sequence[Occurrence], *, since_ms: int, until_ms: int) -> list[DeskLoad]:
    """Measure every duty desk's load, shared by as many officers as its budget says (one without)."""
    officers = {b.desk: b.officers for b in config.budget}
    return [
        DeskLoad(desk=desk, load=load(heard, since_ms=since_ms, until_ms=until_ms, officers=officers.get(desk, 1)))
        for desk, heard in by_desk(config, occurrences).items()
    ]


def overruns(
    config: CityConfig,
    occurrences: Sequence[Occurrence],
    labels: Sequence[Label] | None,
    *,
    since_ms: int,
    until_ms: int,
    early_ms: int,
) -> tuple[Overrun, ...]:
    """Return every bound of the configuration's budget that is exceeded. Missed incidents need labels."""
    heard = by_desk(config, occurrences) if config.budget else {}
    found: list[Overrun] = []
    for bounds in config.budget:
        mine = heard[bounds.desk] if bounds.desk else occurrences
        judged = None if labels is None else score(mine, labels, early_ms=early_ms, until_ms=until_ms)
        measured = load(mine, since_ms=since_ms, until_ms=until_ms, officers=bounds.officers)
        over = check(_plain(bounds), measured, judged)
        found += [replace(o, desk=bounds.desk, origin=str(bounds.origin)) for o in over]
    return tuple(found)


def _plain(bounds: AlarmBudget) -> Budget:
    return Budget(
        per_10min=bounds.per_10min,
        peak_10min=bounds.peak_10min,
        flood_share=bounds.flood_share,
        per_day=bounds.per_day,
        chattering=bounds.chattering,
        standing=bounds.standing,
        missed=bounds.missed,
    )
