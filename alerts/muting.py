"""The desk's mutes: asked for by people or declared in the configuration, opened and closed by time.

State is the mutes' own rows, so a restart neither opens one twice nor forgets to close one. Roles are enforced here.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol
from zoneinfo import ZoneInfo

from alerts.people.workdays import unknown_years
from citypulse.model import (
    SYSTEM,
    Actor,
    Alarm,
    AlarmTerms,
    Answer,
    Command,
    Condition,
    Mute,
    NoticeKind,
    Priority,
    Text,
)
from citypulse.recurrence import local as day_of

from .facts import Atlas
from .guards import missing
from .lifecycle import KEEPERS
from .mutes import (
    MATCHERS,
    MUTES_MAX,
    drafted,
    matches,
    may_hide,
    next_open_ms,
    open_at,
    same_terms,
    terms_of,
    unfit_terms,
    warn_ms,
    words,
    wrong,
)
from .pen import Pen, Way
from .routes import RouteTable
from .texts import local, span

CHIEFS: Final = ("lead", "boss")
PLANNERS: Final = ("lead", "boss", "engineer", "admin")
START_BACK_MS: Final = 86_400_000  # a window may be said to have begun so long ago; it opens no earlier than now


@dataclass(frozen=True, slots=True, kw_only=True)
class MuteVerb:
    """One thing people may ask of mutes: who may, and what they must say."""

    verb: str
    name: Text
    roles: tuple[str, ...]
    needs: tuple[str, ...]


MUTE_VERBS: Final = {
    v.verb: v
    for v in (
        MuteVerb(verb="new", name=Text(zh="静默", en="silence"), roles=KEEPERS, needs=("reason", "ends_ms")),
        MuteVerb(
            verb="window",
            name=Text(zh="维护窗口", en="maintenance window"),
            roles=PLANNERS,
            needs=("reason", "ends_ms"),
        ),
        MuteVerb(verb="extend", name=Text(zh="延长", en="extend"), roles=KEEPERS, needs=("reason", "ends_ms")),
        MuteVerb(verb="cancel", name=Text(zh="取消", en="cancel"), roles=(*KEEPERS, "supervisor"), needs=("reason",)),
    )
}


class Desk(Protocol):
    """What mutes need of the desk."""

    alarms: dict[str, Alarm]

    def suppress(self, pen: Pen, alarm: Alarm, cause: str, why: str) -> Alarm:
        """Hide an alarm behind a cause."""
        ...

    def release(self, pen: Pen, alarm: Alarm, cause: str, why: str) -> Alarm:
        """Take one cause away; announce what comes out and is still active."""
        ...

    def hidden_by(self, cause: str) -> list[str]:
        """Return the ids of alarms hidden by a cause now, sorted."""
        ...


class Muting:
    """Every mute that may still open, and the configuration's own."""

    def __init__(self, atlas: Atlas, known: Iterable[Mute], desk: Desk) -> None:
        """Stand where the ledger stood."""
        self._atlas, self._desk = atlas, desk
        self._zone = ZoneInfo(atlas.config.timezone)
        self._routes = RouteTable(atlas.config)
        self.mutes: dict[str, Mute] = {}
        self._heap: list[tuple[int, str]] = []
        self._known = {
            "rules": {rule for rule, _ in atlas.rules},
            "domains": {rule.domain for rule in atlas.config.rules} | {s.domain for s in atlas.config.sites.values()},
            "areas": set(atlas.config.areas) | {s.area for s in atlas.config.sites.values()},
            "sites": set(atlas.config.sites),
            "scopes": {scope for _, scope in atlas.rules},
        }
        for mute in sorted(known, key=lambda m: (m.created_ms, m.id)):
            self._keep(mute)
            if not mute.is_over:
                self._heap.append((mute.created_ms, mute.id))  # looked at in the first tick, which sets its clock
        heapq.heapify(self._heap)
        self._is_synced = False

    # ── what the desk asks ──────────────────────────────────────────────────────────────────────

    def over(self, alarm: Alarm, now_ms: int) -> tuple[str, ...]:
        """Return the ids of the mutes that hide this alarm at `now_ms`, by time alone: rung or not."""
        if not self.mutes or not may_hide(alarm):
            return ()
        return tuple(
            m.id for m in self.mutes.values() if not m.is_over and matches(m, alarm) and open_at(m, now_ms) is not None
        )

    def no_longer(self, alarm: Alarm) -> tuple[str, ...]:
        """Return the mutes behind which this alarm hides, though it has become worse than they may hide."""
        found = (self.mutes.get(cause) for cause in alarm.suppressed_by)
        return tuple(m.id for m in found if m is not None and not matches(m, alarm))

    def ring(self, pen: Pen) -> None:
        """Open, announce and close what is due."""
        self._sync(pen)
        while self._heap and self._heap[0][0] <= pen.now_ms:
            ringing = set()
            while self._heap and self._heap[0][0] <= pen.now_ms:
                ringing.add(heapq.heappop(self._heap)[1])
            for number in sorted(ringing):  # by id: after a restart every clock is set anew
                mute = self.mutes.get(number)
                if mute is not None and not mute.is_over:
                    self._look_at(pen, mute)

    # ── time ────────────────────────────────────────────────────────────────────────────────────

    def _look_at(self, pen: Pen, mute: Mute) -> None:
        if mute.open_until_ms is not None and mute.open_until_ms <= pen.now_ms:
            mute = self._close(pen, mute, "its time is over | 到时", mute.open_until_ms)
        if mute.open_until_ms is None:
            stretch = open_at(mute, pen.now_ms)
            if stretch is not None:
                mute = self._open(pen, mute, stretch)
            elif next_open_ms(mute, pen.now_ms) is None:
                why = "it will not open again | 不再生效"
                self._write(pen, mute, "ended", why, event_ms=min(mute.ends_ms, pen.now_ms), changes={"is_over": True})
                return
        due_ms = self._warn_at(mute)
        if due_ms is not None and due_ms <= pen.now_ms:
            mute = self._warn(pen, mute)
        self._wake(mute, pen.now_ms)

    def _wake(self, mute: Mute, now_ms: int) -> None:
        """Set the clock for the next thing that happens to a mute."""
        if mute.open_until_ms is not None:
            due_ms = self._warn_at(mute)
            at_ms = mute.open_until_ms if due_ms is None else due_ms
        else:
            upcoming = next_open_ms(mute, now_ms)
            at_ms = mute.ends_ms if upcoming is None else upcoming
        heapq.heappush(self._heap, (at_ms, mute.id))

    def _open(self, pen: Pen, mute: Mute, stretch: tuple[int, int]) -> Mute:
        start_ms, end_ms = stretch
        changes = {"open_since_ms": start_ms, "open_until_ms": end_ms}
        until = local(end_ms, self._zone)
        why = f"open until {until}: {mute.reason} | 生效至 {until}"
        mute = self._write(pen, mute, "opened", why, event_ms=start_ms, data={"until_ms": end_ms}, changes=changes)
        said = f"{mute.id} until {until}: {mute.reason} | 静默至 {until}"
        for number in sorted(self._desk.alarms):
            alarm = self._desk.alarms[number]
            if alarm.condition is Condition.ACTIVE and matches(mute, alarm):
                self._desk.suppress(pen, alarm, mute.id, said)
        return mute

    def _close(self, pen: Pen, mute: Mute, why: str, event_ms: int, actor: Actor = SYSTEM) -> Mute:
        changes: dict[str, Any] = {"open_since_ms": None, "open_until_ms": None}
        mute = self._write(pen, mute, "closed", why, event_ms=event_ms, actor=actor, changes=changes)
        for number in self._desk.hidden_by(mute.id):
            self._desk.release(pen, self._desk.alarms[number], mute.id, f"{mute.id} has ended | 静默结束")
        return mute

    def _warn_at(self, mute: Mute) -> int | None:
        if mute.open_until_ms is None or mute.open_since_ms is None or mute.warned_ms == mute.open_until_ms:
            return None
        return warn_ms((mute.open_since_ms, mute.open_until_ms), self._terms(mute).mute_warn_s)

    def _terms(self, mute: Mute) -> AlarmTerms:
        return terms_of(mute, self._atlas.config)

    def _warn(self, pen: Pen, mute: Mute) -> Mute:
        """Say that it ends soon: once for each end; of a recurring window only when it hides something."""
        until_ms, hidden = mute.open_until_ms or 0, self._desk.hidden_by(mute.id)
        left_s = (until_ms - pen.now_ms) / 1000
        why = f"ends in {span(left_s)}, hides {len(hidden)} alarms | {span(left_s)} 后结束, 现隐藏 {len(hidden)} 条告警"
        new = self._write(pen, mute, "ending", why, data={"hidden": hidden}, changes={"warned_ms": until_ms})
        if mute.kind == "window" and not hidden:
            return new
        name = MUTE_VERBS["new" if mute.kind == "silence" else "window"].name
        title = f"{name.zh}将于 {local(until_ms, self._zone)} 结束 · {name.en} {mute.id} ends soon"
        body = "\n".join((why, f"{mute.reason} ({mute.creator})", words(mute)))
        for way in self._ways(mute):
            pen.notice(
                way,
                subject=new.id,
                subject_kind="mute",
                rev=new.rev,
                kind=NoticeKind.REMINDER,
                level=mute.at_most,
                title=title,
                body=body,
            )
        return new

    def _ways(self, mute: Mute) -> tuple[Way, ...]:
        """The duty desks that would hear of what it hides."""
        places = {(s.domain, s.area) for s in self._atlas.config.sites.values() if s.id in mute.sites}
        for scope in mute.scopes:
            sensor = self._atlas.sensor(scope)
            places |= {(sensor.domain, sensor.area)} if sensor is not None else set()
        places |= {(domain, area) for domain in mute.domains for area in mute.areas}
        ways = [way for domain, area in sorted(places) for way in self._routes.duty(domain, area, mute.at_most)]
        found = {way.key: way for way in ways or self._routes.every_desk(mute.at_most)}
        return tuple(found.values())

    # ── the configuration ───────────────────────────────────────────────────────────────────────

    def _sync(self, pen: Pen) -> None:
        """Take over the windows of the configuration: new, changed, gone. An unchanged one leaves no line."""
        if self._is_synced:
            return
        self._is_synced = True
        declared = {m.id: m for m in self._atlas.config.windows}
        for mute in [m for m in self.mutes.values() if m.origin and not m.is_over and m.id not in declared]:
            self._end(pen, mute, "no longer in the configuration | 配置中已删除", SYSTEM)
        for mute in declared.values():
            before = self.mutes.get(mute.id)
            if before is None:
                why = f"declared in {mute.origin}: {mute.reason} | 配置声明"
                new = self._write(pen, replace(mute, created_ms=pen.now_ms), "declared", why, is_new=True)
                self._wake(new, pen.now_ms - 1)
            elif not same_terms(mute, before):
                if before.open_until_ms is not None:
                    before = self._close(pen, before, "its configuration changed | 配置变更", pen.now_ms)
                why = f"configuration changed ({mute.origin}) | 配置变更"
                kept = replace(mute, created_ms=before.created_ms, rev=before.rev)
                self._wake(self._write(pen, kept, "changed", why), pen.now_ms - 1)

    # ── people ──────────────────────────────────────────────────────────────────────────────────

    def command(self, pen: Pen, command: Command, verb: str) -> Answer:
        """Do what a person asks, or say why not."""
        row = MUTE_VERBS.get(verb)
        if row is None:
            return _no(command, "bad_data", f'没有此操作 no verb "{verb}" of mutes; there are {", ".join(MUTE_VERBS)}')
        role = command.actor.role
        if role not in row.roles:
            return _no(command, "forbidden", f'"mute.{verb}" 限 is for {", ".join(row.roles)}; 您是 you are {role}')
        data = command.data
        if isinstance(minutes := data.get("minutes"), int) and "ends_ms" not in data and 0 < minutes < 2**31:
            data = {**data, "ends_ms": self._base_ms(data, pen.now_ms) + minutes * 60_000}
        if said := missing(row.needs, data):
            return _no(command, "bad_data", f'"mute.{verb}": {said}')
        if verb in {"new", "window"}:
            return self._new(pen, command, "silence" if verb == "new" else "window", data)
        mute = self.mutes.get(command.target)
        if mute is None or mute.is_over:
            return _no(command, "not_found", f"没有此静默或已结束 no mute {command.target!r} that is not over")
        if verb == "cancel":
            mute = self._end(pen, mute, _why(command), command.actor)
            return _yes(command, mute, f"取消 {mute.id} is cancelled")
        return self._extend(pen, command, mute, data["ends_ms"])

    def _base_ms(self, data: dict[str, Any], now_ms: int) -> int:
        starts = data.get("starts_ms")
        return starts if isinstance(starts, int) and not isinstance(starts, bool) else now_ms

    def _new(self, pen: Pen, command: Command, kind: str, data: dict[str, Any]) -> Answer:
        if said := self._unknown(data):
            return _no(command, "bad_data", said)
        starts_ms = self._base_ms(data, pen.now_ms)
        if starts_ms < pen.now_ms - START_BACK_MS:
            return _no(command, "bad_data", "开始时间早于一天前 starts_ms lies more than a day back")
        digest = hashlib.sha256(command.id.encode("utf-8", "replace")).hexdigest()
        mute = drafted(data, kind, number=f"MU-{digest[:12]}", actor=command.actor, now_ms=pen.now_ms,
                       zone=self._atlas.config.timezone)  # fmt: skip
        if mute.id in self.mutes:
            return _no(command, "exists", f"已有 {mute.id} is there already")
        if sum(not m.is_over for m in self.mutes.values()) >= MUTES_MAX:
            said = f"静默过多，请先取消 there are {MUTES_MAX} mutes already; cancel some first"
            return _no(command, "not_allowed", said)
        if mute.ends_ms <= pen.now_ms:
            return _no(command, "bad_data", "结束时间须在今后 ends_ms must lie ahead")
        if no := self._unfit(mute, command.actor):
            return _no(command, no[0], f"{kind}: {no[1]}")
        mute = self._write(pen, mute, "created", f"{_why(command)}: {words(mute)}", actor=command.actor, is_new=True)
        self._look_at(pen, mute)
        until, calendar = local(mute.ends_ms, self._zone), self._calendar_words(mute)
        return _yes(command, mute, f"{mute.id} 至 {until} · ends {until}; red gas is never hidden{calendar}")

    def _calendar_words(self, mute: Mute) -> str:
        if not mute.days:
            return ""
        unknown = unknown_years(day_of(mute.starts_ms, self._zone).date(), day_of(mute.ends_ms, self._zone).date())
        years = ", ".join(map(str, unknown))
        return f"; the holidays of {years} are not known: plain weekends are taken" if unknown else ""

    def _extend(self, pen: Pen, command: Command, mute: Mute, ends_ms: int) -> Answer:
        if mute.origin:
            said = f"由配置声明，请在配置中修改 {mute.id} stands in {mute.origin}; change it there"
            return _no(command, "not_allowed", said)
        if ends_ms <= mute.ends_ms:
            said = "延长须更晚，提前结束请取消 an extension ends later; to end it sooner, cancel it"
            return _no(command, "bad_data", said)
        longer = replace(mute, ends_ms=ends_ms)
        if no := self._unfit(longer, command.actor):
            return _no(command, no[0], f"{mute.id}: {no[1]}")
        changes: dict[str, Any] = {"ends_ms": ends_ms}
        stretch = open_at(longer, pen.now_ms)
        if mute.open_until_ms is not None and stretch is not None:
            changes["open_until_ms"] = stretch[1]
        until = local(ends_ms, self._zone)
        data = {"was_ms": mute.ends_ms, "ends_ms": ends_ms}
        mute = self._write(pen, mute, "extended", _why(command), actor=command.actor, data=data, changes=changes)
        self._wake(mute, pen.now_ms)
        return _yes(command, mute, f"延长至 {until} · {mute.id} now ends {until}")

    def _end(self, pen: Pen, mute: Mute, why: str, actor: Actor) -> Mute:
        changes = {"cancelled_ms": pen.now_ms, "is_over": True}
        if mute.open_until_ms is not None:
            mute = self._close(pen, mute, why, pen.now_ms, actor)
        return self._write(pen, mute, "cancelled", why, actor=actor, changes=changes)

    def _unknown(self, data: dict[str, Any]) -> str:
        if said := unfit_terms(data):
            return said
        for name in MATCHERS:
            if strange := [w for w in data.get(name, ()) if w not in self._known[name]]:
                return f"{name}: 未配置 {strange[0][:80]!r} is not configured"
        return ""

    def _unfit(self, mute: Mute, actor: Actor) -> tuple[str, str] | None:
        """Return the code and the sentence with which a mute is refused; None when it can be taken."""
        if said := wrong(mute, self._terms(mute).silence_s):
            return "bad_data", said
        return ("forbidden", said) if (said := _above(actor, mute)) else None

    # ── one step ────────────────────────────────────────────────────────────────────────────────

    def _write(self, pen: Pen, mute: Mute, kind: str, why: str, **more: Any) -> Mute:
        return self._keep(pen.mute(mute, kind, why, **more))

    def _keep(self, mute: Mute) -> Mute:
        """Remember the newest version. What the configuration declares is remembered past its end."""
        if mute.is_over and not mute.origin:
            self.mutes.pop(mute.id, None)
        else:
            self.mutes[mute.id] = mute
        return mute


def _above(actor: Actor, mute: Mute) -> str:
    if mute.at_most <= Priority.P2 and actor.role not in CHIEFS:
        who = " or ".join(CHIEFS)
        return f"此级别静默须由上级 to hide {mute.at_most.colour} alarms needs {who}; you are {actor.role}"
    return ""


def _why(command: Command) -> str:
    return f"{command.actor.name} ({command.actor.role}): {command.data['reason']}"


def _yes(command: Command, mute: Mute, message: str) -> Answer:
    return Answer(command=command.id, ok=True, message=message, subject=mute.id)


def _no(command: Command, code: str, said: str) -> Answer:
    return Answer(command=command.id, ok=False, message=said, code=code, subject=command.target)
