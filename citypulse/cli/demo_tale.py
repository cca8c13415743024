"""What the demo shows, told from the record: story lines in 中文 and English, who was told last, and figures.

Nothing here is staged. Every line is an event or a notice that the service has committed, read as any page reads it;
the same record gives the same tale.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from citypulse.clock import utc
from citypulse.model import Alarm, CityConfig, Event, NoticeKind, Text

if TYPE_CHECKING:
    from citypulse.ledger import Ledger
    from citypulse.ledger.tick import OutboxRow

LINES_MAX: Final = 400
EVENTS_MAX: Final = 5_000  # read at one look
NOTICES_MAX: Final = 1_000_000
ROLES: Final = {
    "sim-duty": Text(zh="值班员", en="the duty officer"),
    "sim-lead": Text(zh="带班长", en="the shift lead"),
    "sim-checker": Text(zh="核查员", en="the checker"),
}
BY_LINK: Final = "通知链接确认"  # what the page behind a link notes
ORDER_EVENTS: Final = frozenset({"fed_back", "rework", "sensors_proven", "closed"})
CALLS: Final = (NoticeKind.RAISED, NoticeKind.WORSENED, NoticeKind.REMINDER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the story. tone: red, orange, calm, drill or plain."""

    at_ms: int
    text: Text
    tone: str = "plain"
    is_drill: bool = False


@dataclass(slots=True)
class Tale:
    """Follows one ledger. Call `look` now and then; not thread-safe."""

    ledger: Ledger
    config: CityConfig
    lines: list[Line] = field(default_factory=list)
    storms: int = 0
    escalations: int = 0
    one_tap_acks: int = 0
    _seq: int = 0
    _digests: set[str] = field(default_factory=set)
    _covered: int = 0  # notices that went out in digests
    _alarms: dict[str, Alarm] = field(default_factory=dict)
    _reworked: set[str] = field(default_factory=set)

    def look(self) -> None:
        """Read what was committed since the last look."""
        rows = self.ledger.events(since_seq=self._seq, limit=EVENTS_MAX)
        for row in rows:
            self._seq = row.seq
            self._tell(row.event)
        self._look_at_digests()
        self.lines.sort(key=lambda line: line.at_ms)
        del self.lines[:-LINES_MAX]

    def _tell(self, event: Event) -> None:
        match event.subject_kind, event.kind:
            case "storm", "storm_started":
                self._storm_began(event)
            case "storm", "storm_ended":
                self._storm_over(event)
            case "alarm", "raised" | "worsened":
                self._raised(event)
            case "alarm", "reminded":
                self._reminded(event)
            case "alarm", "acknowledged":
                self._acknowledged(event)
            case "order", _:
                self._order(event)
            case "exercise", "started" | "ended":
                self._drill(event)

    def local(self, ms: int) -> str:
        """Return an instant as the city's wall clock shows it."""
        return f"{utc(ms).astimezone(ZoneInfo(self.config.timezone)):%H:%M}"

    # ── names ───────────────────────────────────────────────────────────────────────────────────

    def who(self, target: str) -> Text:
        """Return how a person or team is called."""
        if target in ROLES:
            return ROLES[target]
        person = self.config.people.get(target)
        team = self.config.teams.get(target)
        return person.name if person is not None else team.name if team is not None else Text(zh=target, en=target)

    def _where(self, site: str, scope: str) -> Text:
        found = self.config.sites.get(site)
        return found.name if found is not None else Text(zh=scope, en=scope)

    def _rule(self, rule: str) -> Text:
        return next((r.name for r in self.config.rules if r.id == rule), Text(zh=rule, en=rule))

    def _alarm(self, number: str) -> Alarm | None:
        if number not in self._alarms:
            found = self.ledger.alarm(number)
            if found is None:
                return None
            self._alarms[number] = found
        return self._alarms[number]

    def _title(self, alarm: Alarm) -> Text:
        rule, place = self._rule(alarm.rule), self._where(alarm.site, alarm.scope)
        return Text(zh=f"{place.zh} {rule.zh}", en=f"{rule.en}, {place.en}")

    def _people(self, rows: list[OutboxRow]) -> Text:
        targets = list(dict.fromkeys(r.notice.target for r in rows))
        names = [self.who(t) for t in targets]
        # Persons before teams: whose telephone rang says more than which group was written to.
        names.sort(key=lambda n: n in [t.name for t in self.config.teams.values()])
        return Text(zh="、".join(n.zh for n in names), en=", ".join(n.en for n in names))

    # ── what becomes a line ─────────────────────────────────────────────────────────────────────

    def _say(self, event: Event, zh: str, en: str, tone: str = "plain", *, is_drill: bool = False) -> None:
        mark = Text(zh="[演练] ", en="[exercise] ") if is_drill else Text(zh="", en="")
        text = Text(zh=mark.zh + zh, en=mark.en + en)
        self.lines.append(Line(at_ms=event.wall_ms, text=text, tone="drill" if is_drill else tone, is_drill=is_drill))

    def _storm_began(self, event: Event) -> None:
        self.storms += 1
        self._say(
            event,
            "告警风暴开始：红色与燃气逐条即发，其余汇总",
            "storm mode: red and gas go out singly, the rest as digests",
            "orange",
        )

    def _storm_over(self, event: Event) -> None:
        count, sent = event.data.get("alarms", 0), len(self._digests)
        zh = f"风暴结束，共 {count} 条告警，{sent} 条汇总代替 {self._covered} 条通知"
        en = f"the storm is over: {count} alarms, {sent} digests instead of {self._covered} notices"
        self._say(event, zh, en, "calm")

    def _raised(self, event: Event) -> None:
        alarm = self._alarm(event.subject)
        if alarm is None:
            return
        title = self._title(alarm)
        if alarm.rule == "gateway-silent":
            zh, en = f"{alarm.scope} 失联：其测点视为未知", f"{alarm.scope} is silent: its sensors are unknown"
            self._say(event, zh, en, "orange")
        elif event.data.get("level") == "red":
            told = self._people([r for r in self._told(event.subject) if r.notice.step == 0])
            to = Text(zh=f" → {told.zh}", en=f" → {told.en}") if told.zh else Text(zh="", en="")
            self._say(
                event,
                f"{title.zh} 红色{to.zh}",
                f"{title.en}: red{to.en}",
                "red",
                is_drill=bool(alarm.exercise),
            )

    def _reminded(self, event: Event) -> None:
        alarm = self._alarm(event.subject)
        if alarm is None:
            return
        self.escalations += 1
        step = int(event.data.get("step", 0))
        rows = self._told(event.subject)
        now = [r for r in rows if r.notice.step == step]
        if alarm.level > 1 or not now:  # of orange ones the figures tell
            return
        persons = [r for r in rows if r.notice.step < step and r.notice.target in self.config.people]
        first, then = self._people(persons or [r for r in rows if r.notice.step < step]), self._people(now)
        title = self._title(alarm)
        zh = f"{title.zh}：{first.zh} 未确认 → 升级第{step}步 {then.zh}"
        en = f"{title.en}: {first.en} did not acknowledge → step {step}, {then.en}"
        self._say(event, zh, en, "red", is_drill=bool(alarm.exercise))

    def _acknowledged(self, event: Event) -> None:
        alarm = self._alarm(event.subject)
        if alarm is None:
            return
        is_tap = BY_LINK in event.because
        self.one_tap_acks += is_tap
        if not is_tap and not alarm.exercise:
            return
        title, who = self._title(alarm), self.who(event.actor)
        how = Text(zh="短信链接一键确认", en="by one tap on the link") if is_tap else Text(zh="确认", en="at the desk")
        zh = f"{title.zh}：{who.zh} {how.zh}，升级停止"
        en = f"{title.en}: acknowledged by {who.en} {how.en}, escalation stops"
        self._say(event, zh, en, "calm", is_drill=bool(alarm.exercise))

    def _order(self, event: Event) -> None:
        order = self.ledger.order(event.subject) if event.kind in ORDER_EVENTS else None
        if order is None:
            return
        place, team = self._where(order.asset, order.asset), self.who(order.team)
        is_drill = order.is_exercise
        match event.kind:
            case "fed_back" if is_drill or order.id in self._reworked:
                said = Text(zh="再次反馈修复", en="reports it repaired again") if not is_drill else Text(
                    zh="反馈修复", en="reports it repaired")  # fmt: skip
                self._say(
                    event, f"{place.zh} {team.zh}{said.zh}", f"{place.en}: {team.en} {said.en}", is_drill=is_drill
                )
            case "rework":
                self._reworked.add(order.id)
                zh = f"{place.zh} {order.id} 返工：{team.zh}称已修复，传感器不同意"
                en = f"{place.en} {order.id}, rework: {team.en} said repaired, the sensors object"
                if event.data.get("is_botched") is False:
                    zh = f"{place.zh} {order.id} 返工：反馈后同处又有新告警"
                    en = f"{place.en} {order.id}, rework: another alarm there after the report"
                self._say(event, zh, en, "orange", is_drill=is_drill)
            case "sensors_proven" if order.id in self._reworked:
                zh, en = f"{place.zh} 传感器证明已恢复", f"{place.en}: the sensors prove it"
                self._say(event, zh, en, "calm", is_drill=is_drill)
            case "closed":
                again = order.id in self._reworked
                zh = f"{place.zh} {order.id} 两证齐全结案" + ("（返工后）" if again else "")
                en = f"{place.en} {order.id} closed on two witnesses" + (" after rework" if again else "")
                self._say(event, zh, en, "calm", is_drill=is_drill)
            case _:
                pass

    def _drill(self, event: Event) -> None:
        if event.kind == "started":
            zh = f"演练开始（{self.who(event.actor).zh}）：真实传感器不受影响，外单位不通知"
            en = f"begins, by {self.who(event.actor).en}; no real sensor is touched, nobody outside is called"
            self._say(event, zh, en, is_drill=True)
            return
        marks = self.score(event.subject)
        value = "—" if marks["score"] is None else f"{marks['score']:.0%}"
        counts = Text(
            zh=f"{marks['met']} 按时 {marks['late']} 超时 {marks['missed']} 缺失",
            en=f"{marks['met']} met, {marks['late']} late, {marks['missed']} missed",
        )
        self._say(event, f"演练结束，得分 {value}：{counts.zh}", f"over, score {value}: {counts.en}", is_drill=True)

    def _look_at_digests(self) -> None:
        rows = [r for r in self.ledger.outbox_rows(state="delivered", limit=200) if r.digest]
        for key in dict.fromkeys(r.digest for r in reversed(rows)):
            if key in self._digests:
                continue
            covered = [r for r in rows if r.digest == key]
            self._digests.add(key)
            self._covered += len(covered)
            if len(self._digests) > 1:
                continue  # one line says it; the storm's end gives the sum
            at_ms = max(r.delivered_ms or 0 for r in covered)
            to = self.who(covered[0].notice.target)
            text = Text(
                zh=f"汇总一条代替 {len(covered)} 条通知 → {to.zh}",
                en=f"one digest instead of {len(covered)} notices → {to.en}",
            )
            self.lines.append(Line(at_ms=at_ms, text=text))

    # ── figures ─────────────────────────────────────────────────────────────────────────────────

    def _told(self, subject: str) -> list[OutboxRow]:
        rows = self.ledger.outbox_rows(subject=subject, limit=500)
        return [r for r in reversed(rows) if r.notice.kind in CALLS]

    def _is_gas(self, row: OutboxRow) -> bool:
        alarm = self._alarm(row.notice.subject) if row.notice.subject_kind == "alarm" else None
        return alarm is not None and alarm.domain == "gas"

    def score(self, number: str) -> dict[str, Any]:
        """Return how a drill went: its state, score 0..1 or None, counts, and how many outsiders were written to."""
        from citypulse.mutes_views import exercise

        one = exercise(self.ledger, number, config=self.config, now_ms=0) or {"score": {}, "state": "unknown"}
        marks = one["score"]
        alarms = self.ledger.alarms_of_exercise(number)
        subjects = [*(a.id for a in alarms), *{a.order_id for a in alarms if a.order_id}]
        told = [r.notice.target for s in subjects for r in self.ledger.outbox_rows(subject=s, limit=500)]
        outside = {p.id for p in self.config.people.values() if p.is_outside}
        return {
            "id": number,
            "state": one["state"],
            "score": marks.get("value"),
            "met": marks.get("met", 0),
            "late": marks.get("late", 0),
            "missed": marks.get("missed", 0),
            "notices": len(told),
            "outsiders_told": sum(t in outside for t in told),
        }

    def figures(self) -> dict[str, Any]:
        """Return what was shown, counted from the record."""
        self.look()
        rows = self.ledger.outbox_rows(limit=NOTICES_MAX)
        delivered = [r for r in rows if r.state == "delivered"]
        reds = [r for r in delivered if r.digest and (r.notice.level == 1 or self._is_gas(r))]
        return {
            "storms": self.storms,
            "digests": len({r.digest for r in delivered if r.digest}),
            "notices_in_digests": sum(bool(r.digest) for r in delivered),
            "notices_single": sum(not r.digest for r in delivered),
            "red_or_gas_in_digests": len(reds),
            "escalations": self.escalations,
            "one_tap_acks": self.one_tap_acks,
            "exercises": [self.score(e.id) for e in self.ledger.exercises(limit=100)],
        }
