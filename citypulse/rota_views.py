"""Rotas and their proof as JSON: one shape for the HTTP API, the CLI and the pages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from zoneinfo import ZoneInfo

from alerts.people.coverage import Coverage, Gap, coverage
from alerts.people.rota import Roster
from alerts.people.standins import EVENTS_MAX, StandIns, subject_of
from citypulse.clock import iso, utc
from citypulse.ledger import Ledger
from citypulse.model import SYSTEM, CityConfig, Command, Text

DAY_MS: Final = 86_400_000
GAPS_SHOWN: Final = 200  # more say nothing new


def stand_ins_of(ledger: Ledger | None, config: CityConfig) -> StandIns:
    """Return the stand-ins made while running; none without a ledger."""
    if ledger is None:
        return StandIns()
    rows = (ledger.events(subject=subject_of(team), limit=EVENTS_MAX, newest=True) for team in config.rotas)
    return StandIns(row.event for lines in rows for row in lines)


def people_of(config: CityConfig, ids: Iterable[str]) -> list[dict[str, Any]]:
    """Return people shortly: who they are, never their addresses."""
    found = (config.people.get(p) for p in ids)
    return [
        {
            "id": p.id,
            "name": {"zh": p.name.zh, "en": p.name.en},
            "role": p.role,
            "reached_by": [k for k, _ in p.contacts],
        }
        for p in found
        if p is not None
    ]


def rota_view(
    config: CityConfig, stand_ins: StandIns, *, at_ms: int, days: int = 1, team: str = ""
) -> list[dict[str, Any]]:
    """Return each rota (or one team's) at `at_ms`: who is on, until when, and every stretch of the next `days`."""
    roster = Roster(config, stand_ins.by_team)
    found = []
    for name, table in roster.tables.items():
        if team and name != team:
            continue
        runtime, until_ms = roster.runtime.get(name, ()), at_ms + days * DAY_MS
        cuts = [at_ms, *table.edges(at_ms, until_ms, runtime)]
        rows: list[dict[str, Any]] = []
        for start in cuts:
            on = roster.on_duty(name, start)
            if rows and rows[-1]["people"] == list(on):
                continue
            rows.append({
                "from_ms": start, "from_at": iso(start), "people": list(on),
                "shifts": [w.shift for w in table.at(start)],
            })  # fmt: skip
        found.append({
            "team": name,
            "name": _both(config.teams[name].name),
            "timezone": table.rota.timezone,
            "at_least": table.rota.at_least,
            "origin": str(table.rota.origin),
            "at_ms": at_ms,
            "at": iso(at_ms),
            "on_duty": people_of(config, roster.on_duty(name, at_ms)),
            "leads": list(roster.leads(name, at_ms)),
            "fallback": list(roster.fallback(name)),
            "because": [{"shift": w.shift, "people": list(w.people), "until_at": iso(w.ends_ms), "origin": w.origin}
                        for w in table.at(at_ms)],
            "stand_ins": [_stand_in(s) for s in (*table.rota.stand_ins, *runtime) if s.ends_ms > at_ms],
            "next": rows,
        })  # fmt: skip
    return found


def coverage_view(
    config: CityConfig, stand_ins: StandIns, *, from_ms: int, days: int, failing: Iterable[str] = ()
) -> dict[str, Any]:
    """Return the proof of the coming days, with an hourly strip by level and area."""
    return view_of(coverage(config, from_ms, days, runtime=stand_ins.by_team, failing=failing))


def view_of(proof: Coverage) -> dict[str, Any]:
    """Return a proof as plain data. In a strip `#` is an hour in which somebody is reached, `.` one with a gap."""
    return {
        "is_whole": proof.is_whole,
        "from_ms": proof.from_ms,
        "from_at": iso(proof.from_ms),
        "until_ms": proof.until_ms,
        "until_at": iso(proof.until_ms),
        "strips": [
            {
                "level": int(level),
                "colour": level.colour,
                "area": area,
                "hours": "".join("#" if ok else "." for ok in strip),
            }
            for (level, area), strip in proof.strips.items()
        ],
        "gaps": [_gap(g) for g in proof.gaps[:GAPS_SHOWN]],
        "gaps_in_all": len(proof.gaps),
        "warnings": list(proof.warnings),
        "slowest_s": {level.colour: wait for level, wait in sorted(proof.slowest_s.items())},
    }


def gap_command(found: dict[str, Any], config: CityConfig, now_ms: int) -> Command | None:
    """Return what tells the desk's lead of the gaps that a proof found, once a day; None when there are none."""
    desks = [r.to for r in config.routes if config.teams[r.to].kind == "duty"]
    if found["is_whole"] or not desks:
        return None
    team = next((d for d in desks if d in config.rotas), desks[0])
    first = found["gaps"][0]
    kind = (first["colour"], first["domain"], first["team"])
    data = {
        "gaps": found["gaps_in_all"],
        "first": " ".join(w for w in (first["from_at"], "–", first["until_at"], *kind) if w),
        "why": first["why"][:300],
        "cure": first["cure"][:300],
    }
    day = utc(now_ms).astimezone(ZoneInfo(config.timezone)).date().isoformat()
    return Command(id=f"coverage-{day}", verb="rota.gap", target=team, actor=SYSTEM, at_ms=now_ms, data=data)


def _gap(gap: Gap) -> dict[str, Any]:
    return {
        "kind": gap.kind,
        "from_ms": gap.from_ms,
        "from_at": iso(gap.from_ms),
        "until_ms": gap.until_ms,
        "until_at": iso(gap.until_ms),
        "level": None if gap.level is None else int(gap.level),
        "colour": "" if gap.level is None else gap.level.colour,
        "domain": gap.domain,
        "areas": list(gap.areas),
        "team": gap.team,
        "why": gap.why,
        "cure": gap.cure,
    }


def _stand_in(one: Any) -> dict[str, Any]:
    return {
        "id": one.id,
        "instead_of": one.instead_of,
        "person": one.person,
        "from_at": iso(one.starts_ms),
        "until_at": iso(one.ends_ms),
        "reason": one.reason,
        "origin": one.origin,
    }


def _both(text: Text) -> dict[str, str]:
    return {"zh": text.zh, "en": text.en}
