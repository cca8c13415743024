"""What people change of a rota while it runs: stand-ins and hand-overs, a fold of the record of `rota:<team>`.

Nothing is kept but lines of the record, so a restart stands where the last commit did, and the next notice goes to
whoever is on duty by then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from alerts.guards import missing
from alerts.pen import Pen
from citypulse.clock import iso
from citypulse.model import SYSTEM, Answer, Command, Event, NoticeKind, Priority, StandIn

from .rota import Roster
from .targets import Place, Targets

SUBJECT_KIND: Final = "rota"
EVENTS_MAX: Final = 5_000  # newest lines of one team that are read back: years of hand-overs
STAND_INS_MAX: Final = 500  # of one team that have not ended: more is a rota that should be written anew
SPAN_MS_MAX: Final = 366 * 86_400_000  # a stand-in for longer than a year is a change of the rota
PLANNERS: Final = ("lead", "boss", "admin")
WATCHERS: Final = ("duty", "lead", "boss", "admin")
VERBS: Final[dict[str, tuple[str, ...]]] = {
    # verb → who may
    "override": PLANNERS,
    "withdraw": PLANNERS,
    "handover": WATCHERS,
}


def subject_of(team: str) -> str:
    """Return the subject of a team's rota in the record."""
    return f"rota:{team}"


class StandIns:
    """The stand-ins made while running, by team, and the verbs that make them."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        """Stand where the lines of the record leave it."""
        self.by_team: dict[str, list[StandIn]] = {}
        self._revs: dict[str, int] = {}
        for event in events:
            self._fold(event)

    def _fold(self, event: Event) -> None:
        team = event.subject.partition(":")[2]
        self._revs[team] = event.rev
        kept = self.by_team.setdefault(team, [])
        made = event.data.get("stand_in")
        if event.kind == "withdrawn":
            kept[:] = [s for s in kept if s.id != event.data["id"]]
        elif made is not None:
            kept.append(StandIn(**made, team=team, reason=event.because, origin=f"{event.actor} {iso(event.wall_ms)}"))

    # ── verbs ───────────────────────────────────────────────────────────────────────────────────

    def command(self, pen: Pen, command: Command, verb: str, targets: Targets) -> Answer:
        """Do what a person asks of a team's rota, or say why not; the target is the team."""
        roster = targets.roster
        team, actor = command.target, command.actor
        if verb == "gap" and actor.role == SYSTEM.role:
            return self._gap(pen, command, targets)
        if verb not in VERBS:
            return _no(command, "bad_data", f'没有此操作 no verb "{verb}"; there are {", ".join(VERBS)}')
        if not roster.has_rota(team):
            there = ", ".join(roster.tables) or "none"
            return _no(command, "not_found", f"没有此排班 no rota of a team {team!r}; there are: {there}")
        if actor.role not in VERBS[verb]:
            said = f'排班 Rota {team}: "{verb}" 限 is for {", ".join(VERBS[verb])}; 您是 you are {actor.role}'
            return _no(command, "forbidden", said)
        return _DO[verb](self, pen, command, roster)

    def override(self, pen: Pen, command: Command, roster: Roster) -> Answer:
        """Let somebody stand in: `person`, `instead_of` or both, `from_ms` (now), `until_ms`, `reason`."""
        team, data = command.target, command.data
        person, absent = data.get("person") or "", data.get("instead_of") or ""
        starts_ms, ends_ms = data.get("from_ms", pen.now_ms), data.get("until_ms", 0)
        wrong = missing(("reason", "until_ms"), data) or _unknown(roster, person, absent)
        if not wrong and not (person or absent):
            wrong = "须写明替班人或被替人 says neither `person` nor `instead_of`"
        if not wrong and (not isinstance(starts_ms, int) or isinstance(starts_ms, bool)):
            wrong = "from_ms 须为毫秒时间戳 must be an instant in epoch milliseconds"
        if not wrong and person == absent:
            wrong = f"不能自己替自己 {person} cannot stand in for {person}"
        if not wrong and not pen.now_ms <= starts_ms < ends_ms <= starts_ms + SPAN_MS_MAX:
            wrong = "起止时间不对 from_ms must not lie in the past, until_ms after it and within a year"
        running = [s for s in self.by_team.get(team, ()) if s.ends_ms > pen.now_ms]
        if not wrong and len(running) >= STAND_INS_MAX:
            wrong = f"替班过多，请重排 has {STAND_INS_MAX} stand-ins already: write the rota anew"
        if wrong:
            return _no(command, "bad_data", f"排班 Rota {team}: {wrong}")
        made = {"instead_of": absent, "person": person, "starts_ms": starts_ms, "ends_ms": ends_ms}
        number = self._write(pen, command, "stand_in", data["reason"], {}, made)
        who = f"{person or 'nobody'} for {absent}" if absent else f"{person} as well"
        said = f"替班 {number}: {who} until {iso(ends_ms)}"
        return Answer(command=command.id, ok=True, message=said, subject=subject_of(team))

    def withdraw(self, pen: Pen, command: Command, _roster: Roster) -> Answer:
        """Take a stand-in back: `id`, `reason`."""
        team, data = command.target, command.data
        number = data.get("id")
        if wrong := missing(("reason",), data):
            return _no(command, "bad_data", f"排班 Rota {team}: {wrong}")
        if not any(s.id == number for s in self.by_team.get(team, ())):
            return _no(command, "not_found", f"排班 Rota {team}: 没有此替班 no stand-in {number!r} made while running")
        self._write(pen, command, "withdrawn", data["reason"], {"id": number}, None)
        return Answer(command=command.id, ok=True, message=f"撤销替班 {number} withdrawn", subject=subject_of(team))

    def handover(self, pen: Pen, command: Command, roster: Roster) -> Answer:
        """Hand the watch over with a note; with `to` (and `from`), that person is on from now to the watch's end."""
        team, data = command.target, command.data
        on_duty = roster.on_duty(team, pen.now_ms)
        to, giver = data.get("to") or "", data.get("from") or ""
        wrong = missing(("note",), data) or _unknown(roster, to, giver)
        if not wrong and to and not giver:
            giver = next((p for p in on_duty if command.actor.name in (p, *_names(roster, p))), "")
            wrong = "" if giver else f"须写明交班人 say `from`: which of {', '.join(on_duty) or 'nobody'} hands over"
        if not wrong and to and giver not in on_duty:
            wrong = f"交班人不在岗 {giver} is not on duty now; on are {', '.join(on_duty) or 'nobody'}"
        if not wrong and to and to in on_duty:
            wrong = f"接班人已在岗 {to} is on duty already"
        if wrong:
            return _no(command, "bad_data", f"排班 Rota {team}: {wrong}")
        made = None
        if to:
            ends_ms = max((w.ends_ms for w in roster.tables[team].at(pen.now_ms)), default=pen.now_ms + 1)
            made = {"instead_of": giver, "person": to, "starts_ms": pen.now_ms, "ends_ms": ends_ms}
        self._write(pen, command, "handed_over", data["note"], {"on_duty": list(on_duty)}, made)
        after = ", ".join(roster.on_duty(team, pen.now_ms))
        said = f"交接班已记录, 在岗: {after} | handed over; on duty: {after}"
        return Answer(command=command.id, ok=True, message=said, subject=subject_of(team))

    def _gap(self, pen: Pen, command: Command, targets: Targets) -> Answer:
        """Tell the desk's lead, on the record, that the nightly proof found alarms which would reach nobody."""
        team, data = command.target, command.data
        said = f"{data['gaps']} 处空档, 最早 {data['first']}: {data['why']} | gaps; the first one is named"
        self._write(pen, command, "coverage_gap", said, dict(data), None)
        place = Place(domain="", area="", level=Priority.P3)
        ways = targets.told(("lead-on-duty",), (), place, team, "nightly proof of coverage", pen.now_ms)
        for way in ways:
            pen.notice(
                way,
                subject=subject_of(team),
                subject_kind=SUBJECT_KIND,
                rev=self._revs[team],
                kind=NoticeKind.RAISED,
                level=Priority.P3,
                title=f"【值班空档】未来有告警无人可达 {data['gaps']} 处 · some coming alarms would reach nobody",
                body=f"{data['first']}\n{data['why']}\n→ {data['cure']}\ncitypulse rota coverage",
            )
        return Answer(command=command.id, ok=True, message=f"{len(ways)} told", subject=subject_of(team))

    def _write(
        self, pen: Pen, command: Command, kind: str, why: str, data: dict[str, Any], made: dict[str, Any] | None
    ) -> str:
        team = command.target
        rev = self._revs.get(team, 0) + 1
        number = f"{team}-{rev}"
        if made is not None:
            data = {**data, "stand_in": {"id": number, **made}}
        event = Event(
            subject=subject_of(team),
            subject_kind=SUBJECT_KIND,
            rev=rev,
            kind=kind,
            event_ms=pen.now_ms,
            wall_ms=pen.now_ms,
            actor=command.actor.name,
            actor_role=command.actor.role,
            from_state="",
            to_state="",
            because=why,
            data=data,
        )
        pen.effects.events.append(event)
        self._fold(event)
        return number


def _names(roster: Roster, person: str) -> tuple[str, str]:
    return roster.people[person].name.zh, roster.people[person].name.en


def _unknown(roster: Roster, *people: Any) -> str:
    for person in people:
        if person and (not isinstance(person, str) or person not in roster.people):
            return f"没有此人员 no person {str(person)[:64]!r} is known"
    return ""


def _no(command: Command, code: str, said: str) -> Answer:
    return Answer(command=command.id, ok=False, message=said, code=code, subject=command.target)


_DO: Final[dict[str, Callable[[StandIns, Pen, Command, Roster], Answer]]] = {
    "override": StandIns.override,
    "withdraw": StandIns.withdraw,
    "handover": StandIns.handover,
}
