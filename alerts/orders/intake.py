"""Reports by hand: an officer, a citizen, a patrol or a drone says what is wrong where; or a notice is sent to a team.

They enter by the same table as the sensors' orders. A second report of the same trouble joins the order that is open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from alerts.guards import missing
from citypulse.contacts import scrubbed
from citypulse.model import Command, OrderTemplate, Priority, Site, Team

from .births import Birth, Trouble, trouble_of
from .table import TABLES, find_row

KEPT: Final = ("source", "contact", "confidence", "photo", "position", "class_code")
"""What of a report is kept with its order. The contact stays there and never enters the record;
mobile numbers in the note are masked, for the note does."""
NOTE_MAX: Final = 500
BY_ROLE: Final = {"public": "citizen"}  # else an officer, unless the report says otherwise


class IntakeError(Exception):
    """A report that is not taken; `code` is the answer's."""

    def __init__(self, code: str, message: str) -> None:
        """Say what is wrong."""
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report that is in order: the order it would begin, and the trouble it stands for."""

    birth: Birth
    trouble: Trouble
    said: str
    data: dict[str, Any]


def read(
    command: Command, sites: Mapping[str, Site], teams: Mapping[str, Team], templates: Mapping[str, OrderTemplate]
) -> Report:
    """Read a report. Raises IntakeError with what is wrong."""
    data, actor = command.data, command.actor
    kind = str(data.get("kind", "dispatch"))
    if kind not in TABLES:
        raise IntakeError("bad_data", f"kind 须为其一 must be one of {', '.join(TABLES)}, not {kind!r}")
    level = _level(data, kind)
    row = find_row(None, "new", actor.role, level, kind)
    if actor.role == "system" or row is None:
        roles = dict.fromkeys(r for one in TABLES[kind] if not one.sources for r in one.roles)
        who = ", ".join(r for r in roles if r != "system")
        raise IntakeError("forbidden", f"此角色不可上报 role {actor.role} may not report; {who} may")
    if wrong := missing(row.needs, data):
        raise IntakeError("bad_data", f"上报 a new work order: {wrong}")
    site = sites.get(data["site"])
    if site is None:
        raise IntakeError("bad_data", f"没有此站点 site {data['site']!r} is not known")
    template = str(data.get("template", ""))[:100]
    if template and templates and template not in templates:
        there = ", ".join(sorted(templates))
        raise IntakeError("bad_data", f"没有此模板 template {template!r} is not known; there are {there}")
    team = str(data["team"]) if kind == "notice" else ""
    if team and team not in teams:
        raise IntakeError("bad_data", f"没有此班组 team {team!r} is not known; there are {', '.join(sorted(teams))}")
    intake = {k: data[k] for k in KEPT if data.get(k) is not None}
    intake.setdefault("source", BY_ROLE.get(actor.role, "officer"))
    if intake["source"] == "drone" and "confidence" not in intake:
        raise IntakeError("bad_data", "无人机上报须有置信度 a drone's report needs its confidence, 0 to 1")
    note = scrubbed(str(data.get("note", "")))[:NOTE_MAX]
    birth = Birth(
        level=level,
        cause=data["cause"],
        asset=site.id,
        area=site.area,
        domain=site.domain,
        note=note,
        template=template,
        kind=kind,
        team=team,
        intake=intake,
    )
    said = f"{actor.name} ({actor.role}): {note or birth.cause}"
    kept = {k: v for k, v in intake.items() if k != "contact"}
    return Report(birth=birth, trouble=trouble_of(template, birth.cause, site.id, told=team), said=said, data=kept)


def _level(data: dict[str, Any], kind: str) -> Priority:
    colour = str(data.get("level", "blue" if kind == "notice" else "yellow"))
    if colour not in {p.colour for p in Priority}:
        raise IntakeError("bad_data", f"level 须为 must be red, orange, yellow or blue, not {colour!r}")
    return Priority.from_colour(colour)
