"""The desk: the fold from rule transitions, readings, commands and time to alarms, orders and notices.

Everything that can change an alarm's state is in this file, and every change goes through `lifecycle.ALARM_ROWS`.
The same calls in the same order give the same effects, so a restart changes nothing (promise 3). Missing data never
clears anything (promise 2).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from alerts.orders.book import OrderBook
from alerts.people.escalation import Escalation
from alerts.people.rota import Roster
from alerts.people.standins import StandIns
from alerts.people.targets import Targets
from citypulse.forms import refusal
from citypulse.model import (
    Alarm,
    AlarmQuality,
    AlarmTerms,
    Answer,
    CityConfig,
    Command,
    Condition,
    Effects,
    Lane,
    ReadingBatch,
    SensorTable,
    Transition,
    TransitionKind,
    WorkOrder,
)

from .announce import AlarmCaller
from .chatter import Chatter, is_exempt, is_news, turned
from .drills import DrillRoom
from .facts import Atlas, because, draft, facts, origin, peak
from .hiding import Hiding
from .lifecycle import is_retained, letter, regions_of, step_alarm
from .muting import Muting
from .peaks import Peaks
from .pen import Pen
from .points import Points
from .rounds import Rounds
from .routes import NoticeReason, RouteTable
from .shelves import end_shelf
from .sight import OWN, Sight
from .state import Opening, OpenState
from .storm import StormWatch
from .verbs import AlarmDesk

ANSWERS_MAX: Final = 10_000  # answers remembered for commands that come twice; the ledger remembers longer


class Desk:
    """All retained alarms and open orders of one city."""

    def __init__(self, config: CityConfig, table: SensorTable, opening: Opening | None = None) -> None:
        """Stand where the ledger stood; without `opening`, in a city where nothing has happened yet."""
        opening = opening if opening is not None else OpenState()
        self._atlas = Atlas(config, table)
        self._occurrences = dict(opening.occurrences)
        self.alarms: dict[str, Alarm] = {}
        self._live: dict[str, str] = {}
        self._points = Points(self._atlas, opening.alarms)
        self._hiding = Hiding(self._atlas)
        self._sight = Sight(self._atlas)
        self._peaks = Peaks(self._atlas, table)
        self._stand_ins = StandIns(opening.rota_events)
        self._escalation = Escalation(config)
        self._roster = Roster(config, self._stand_ins.by_team)
        self._targets = Targets(config, RouteTable(config), self._roster)
        self._storms = StormWatch(config, RouteTable(config), self._roster, opening.storms)
        self._caller = AlarmCaller(config, self._atlas.rule_of, self._escalation, self._targets, self._storms)
        self._chatter = Chatter(self, config.alarms, opening.raises)
        self._rounds = Rounds(self, config.alarms, self._escalation, self._caller, self._chatter)
        for alarm in sorted(opening.alarms, key=lambda a: (a.raised_wall_ms, a.id)):
            self._keep(alarm)
        self._orphans = {
            a.id: f"rule {a.rule} no longer covers {a.scope} | 规则已撤销"
            for a in self.alarms.values()
            if self._atlas.rule_of(a) is None
        }
        self._muting = Muting(self._atlas, opening.mutes, self)
        self.book = OrderBook(self._atlas, table, opening, self._alarms_of, self._confirm, self._targets)
        self._drills = DrillRoom(self._atlas, opening.exercises, self, self.book)
        self._verbs = AlarmDesk(self, self._points)
        self._answered: OrderedDict[str, Answer] = OrderedDict()

    # ── one tick ────────────────────────────────────────────────────────────────────────────────

    def receive(
        self, transitions: Iterable[Transition], batch: ReadingBatch, commands: Sequence[Command], now_ms: int
    ) -> Effects:
        """Take one tick's changes, readings and commands at wall time `now_ms`; return all it changed."""
        pen = Pen(now_ms=now_ms, collector=self._storms)
        self._peaks.begin(batch)
        self._withdraw(pen)
        for transition in transitions:
            self._take(pen, transition)
            # At once, not at the tick's end: which notices there are must not depend on how input fell into ticks.
            # What a later call overtakes before it was sent, the outbox drops.
            self._announce(pen)
        self._peaks.fold(pen, self.alarms)
        self.book.count(batch)
        for command in commands:
            pen.effects.answers.append(self._do(pen, command))
        self._drills.play(pen)
        self._muting.ring(pen)
        self._rounds.ring(pen)
        self.book.ring(pen)
        self.book.judge(pen)
        self._announce(pen)
        self._drills.sift(pen)
        self._storms.flush(pen)
        return pen.effects

    def see(self, batch: ReadingBatch, now_ms: int) -> Effects:
        """Follow active alarms' worst values through readings that changed nothing else; no clock runs."""
        pen = Pen(now_ms=now_ms, collector=self._storms)
        self._peaks.begin(batch)
        self._peaks.fold(pen, self.alarms)
        return pen.effects

    def _announce(self, pen: Pen) -> None:
        for alarm in self._caller.announce(pen):
            self._keep(alarm)
        self._storms.settle(pen, self.live)

    def replay(self, batch: ReadingBatch, tick: int) -> None:  # noqa: ARG002 - the tick's number is not needed
        """Let a journaled batch testify again after a restart; its effects are committed already."""
        self.book.count(batch)

    def state(self) -> dict[str, Any]:
        """Return what the ledger does not hold, for the snapshot."""
        return {"witness": self.book.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a snapshot's state back; the ticks after it are given to `replay`."""
        self.book.restore(state.get("witness", {}))

    def withdraw(self, reasons: Mapping[str, str]) -> None:
        """Let the next tick end these alarms, each for its reason: what raised them is no longer configured."""
        self._orphans |= reasons

    def live(self, dedup_key: str) -> Alarm | None:
        """Return the retained alarm of a key, or None."""
        return self.alarms.get(self._live.get(dedup_key, ""))

    # ── transitions ─────────────────────────────────────────────────────────────────────────────

    def hear(self, pen: Pen, t: Transition) -> None:
        """Take one change and write what it makes known (alerts.drills)."""
        self._take(pen, t)
        self._announce(pen)

    def _take(self, pen: Pen, t: Transition) -> None:
        key = t.dedup_key
        alarm = self.live(key)
        if t.lane is Lane.HISTORY:
            self._take_late(pen, t, key, alarm)
        elif t.kind is TransitionKind.RAISE:
            if alarm is None or alarm.condition is not Condition.ACTIVE:
                if alarm is None or not alarm.is_chattering or (alarm := self._again(pen, t, alarm)) is not None:
                    self._raise(pen, t, key, alarm)
            else:
                self._level(pen, t, alarm)  # the rule began again (new version): the alarm did not
        elif alarm is None:
            return  # nothing of this key is retained: an end without a beginning is no news
        elif t.kind is TransitionKind.LEVEL:
            self._level(pen, t, alarm)
        elif t.kind is TransitionKind.CLEAR:
            self._clear(pen, t, alarm)
        elif t.kind is TransitionKind.DATA_LOSS:
            self._lose_sight(pen, alarm, OWN, t)
        else:
            self._see_again(pen, alarm, OWN, f"{t.because.zh} | {t.because.en}", t.event_ms)

    def _raise(self, pen: Pen, t: Transition, key: str, previous: Alarm | None) -> None:
        new = self._draft(pen, t, key)
        more: dict[str, Any] = {"suppressed_by": self._covers(new, pen.now_ms)}
        if previous is not None:
            self._supersede(pen, previous, new)
            # What an operator put aside stays aside: a shelf is for the point, not for one peak of it.
            more["shelved_until_ms"] = previous.shelved_until_ms if self._hiding.may_hide(new) else None
            more["is_out_of_service"] = previous.is_out_of_service
            more["service_until_ms"] = previous.service_until_ms
            more["shelf_warned_ms"] = previous.shelf_warned_ms
        if silences := self._sight.silences_over(new):
            more |= {"quality": AlarmQuality.STALE, "stale_by": silences, "stale_ms": t.event_ms}
        is_hidden = bool(more["suppressed_by"] or more.get("shelved_until_ms") or more.get("is_out_of_service"))
        more["called_ms"] = 0 if is_hidden else pen.now_ms
        record = {**facts(t, new), "hidden_by": list(more["suppressed_by"])}
        new = pen.alarm(new, "raised", because(t, new), event_ms=t.event_ms, data=record, changes=more, is_new=True)
        self._keep(new)
        flap = self._chatter.counts(new, pen.now_ms)
        if flap is not None:
            new = self._chatter.begin(pen, new, flap)
        self._after(pen, new, NoticeReason.CHATTER if flap is not None else NoticeReason.FIRST, is_raise=True)
        self._shade(pen, new, t)

    def _covers(self, alarm: Alarm, now_ms: int) -> tuple[str, ...]:
        """What hides an alarm now: alarms that explain it, then mutes. A drill's alarm is hidden by nothing."""
        if alarm.exercise:
            return ()
        return (*self._hiding.hidden_by(alarm, self.live), *self._muting.over(alarm, now_ms))

    def _shade(self, pen: Pen, new: Alarm, t: Transition) -> None:
        """What an alarm explains goes behind it; what it says we cannot see is marked so."""
        if new.exercise:
            return
        for number in self._hiding.candidates(new):
            child = self.alarms[number]
            if new.dedup_key in self._hiding.hidden_by(child, self.live):
                self.suppress(pen, child, new.dedup_key, f"{new.dedup_key} explains it | 由上级告警解释")
        if self._sight.is_silence(new):
            for number in self._sight.watching(new):
                self._lose_sight(pen, self.alarms[number], new.dedup_key, t)

    def _again(self, pen: Pen, t: Transition, alarm: Alarm) -> Alarm | None:
        """A chattering alarm is back: one more turn (None), or it has settled and this raise is told by itself."""
        if is_exempt(alarm.domain, t.level):
            return self._chatter.settle(pen, alarm, "red gas is told turn by turn | 红色燃气告警逐次通知")
        changes = {"cleared_ms": None, "peak_value": self._peaks.until(alarm, t)}
        self._peaks.came_again(alarm, t.event_ms)
        new = self._step(pen, alarm, "again", "raised_again", because(t, alarm), event_ms=t.event_ms,
                         data=facts(t, alarm), changes=changes | turned(alarm, pen))  # fmt: skip
        for silence in self._sight.silences_over(new):
            self._lose_sight(pen, self.alarms[new.id], silence, t)
        for cause in self._covers(self.alarms[new.id], pen.now_ms):
            self.suppress(pen, self.alarms[new.id], cause, f"{cause} explains it | 由上级告警或静默解释")
        self._level(pen, t, self.alarms[new.id])
        new = self.alarms[new.id]
        if not new.told:
            self._caller.want(new, NoticeReason.CHATTER)  # it began to chatter unheard, behind an overlay
        self._join(pen, new, is_raise=True)
        self._shade(pen, self.alarms[new.id], t)
        return None

    def _draft(self, pen: Pen, t: Transition, key: str) -> Alarm:
        number = self._occurrences[key] = self._occurrences.get(key, 0) + 1
        return draft(self._atlas, t, number, pen.now_ms)

    def _supersede(self, pen: Pen, old: Alarm, new: Alarm) -> None:
        why = f"occurrence {new.occurrence} carries on | 由第{new.occurrence}次告警接续"
        self._step(pen, old, "supersede", "superseded", why,
                   changes={"shelved_until_ms": None, "suppressed_by": (), "is_out_of_service": False,
                            "service_until_ms": None})  # fmt: skip

    def _level(self, pen: Pen, t: Transition, alarm: Alarm) -> None:
        level = t.level or alarm.level
        if alarm.condition is not Condition.ACTIVE or level == alarm.level:
            return
        is_worse = level < alarm.level
        is_told = not is_worse or not alarm.is_chattering or is_news(alarm, t)
        rule = self._atlas.rule_of(alarm)
        changes: dict[str, Any] = {
            "level": level,
            "peak_level": min(alarm.peak_level, level),
            "peak_value": self._peaks.until(alarm, t),
            "rule_version": t.rule_version,
            "rule_origin": origin(t, rule),
        }
        if not is_told:
            self._step(pen, alarm, "flutter", "worsened", because(t, alarm), event_ms=t.event_ms,
                       data=facts(t, alarm), changes=changes)  # fmt: skip
            return
        if is_worse:
            if alarm.is_chattering:
                changes["chatter_level"] = level
            changes |= {"because_zh": t.because.zh, "because_en": t.because.en, "acked_by": "", "acked_ms": None}
            changes |= {"called_ms": pen.now_ms, "reminded": 0, "realarmed": 0}
        new = self._step(pen, alarm, "worsen" if is_worse else "ease", "worsened" if is_worse else "eased",
                         because(t, alarm), event_ms=t.event_ms, data=facts(t, alarm), changes=changes)  # fmt: skip
        if is_worse:
            if new.suppressed_by and not self._hiding.may_hide(new):
                for cause in new.suppressed_by:
                    new = self.release(pen, new, cause, "life safety is never hidden | 生命安全告警不得隐藏")
            if new.shelved_until_ms is not None and not self._hiding.may_hide(new):
                new = end_shelf(self, pen, new)
            for cause in self._muting.no_longer(new):
                new = self.release(pen, new, cause, f"too serious for {cause} | 已超出静默允许的级别")
            self._after(pen, new, NoticeReason.WORSENED, is_raise=False)

    def _clear(self, pen: Pen, t: Transition, alarm: Alarm) -> None:
        if alarm.condition is not Condition.ACTIVE:
            return
        rule = self._atlas.rule_of(alarm)
        changes: dict[str, Any] = {"cleared_ms": t.event_ms, "stale_by": (), "stale_ms": None} | turned(alarm, pen)
        worst = changes["peak_value"] = self._peaks.until(alarm, replace(t, value=math.nan))  # not of what ends it
        new = self._step(pen, alarm, "clear", "cleared", because(t, alarm), event_ms=t.event_ms, changes=changes,
                         data=facts(t, alarm) | {"peak_value": worst},
                         latches=rule is not None and rule.is_latching)  # fmt: skip
        self._ended(pen, new, t.event_ms)

    def _ended(self, pen: Pen, alarm: Alarm, event_ms: int) -> None:
        """The condition is normal again: those who heard of it hear so, and what it hid or blinded comes out."""
        if not alarm.is_chattering:  # else once it has settled
            self._caller.want(alarm, NoticeReason.ENDED)
        self.book.alarm_changed(alarm.order_id)
        for number in self._sight.blinded_by(alarm.dedup_key):
            why = f"{alarm.dedup_key} has ended | 数据恢复"
            self._see_again(pen, self.alarms[number], alarm.dedup_key, why, event_ms)
        for number in self._hiding.children(alarm.dedup_key):
            self.release(pen, self.alarms[number], alarm.dedup_key, f"{alarm.dedup_key} has ended | 抑制源已恢复")

    def _take_late(self, pen: Pen, t: Transition, key: str, alarm: Alarm | None) -> None:
        """A late reading breached: a dated historical occurrence, or a line in the record of the one that is open."""
        if t.kind not in {TransitionKind.RAISE, TransitionKind.LEVEL}:
            return  # a late run that ended says nothing about now
        if alarm is not None and alarm.condition is Condition.ACTIVE:
            changes = {
                "peak_value": peak(self._atlas.rule_of(alarm), alarm.peak_value, t.value),
                "breach_ms": min(alarm.breach_ms, t.breach_ms or t.event_ms),
                "peak_level": min(alarm.peak_level, t.level or alarm.level),
            }
            self._keep(pen.alarm(alarm, "amended", because(t, alarm), event_ms=t.event_ms, data=facts(t, alarm),
                                 changes=changes))  # fmt: skip
        else:  # a late run that worsens is dated once more, at its worse level: nothing is lost, nobody is paged
            late = self._draft(pen, t, key)
            pen.alarm(late, "historical", because(t, late), event_ms=t.event_ms, data=facts(t, late), is_new=True)

    # ── sight ───────────────────────────────────────────────────────────────────────────────────

    def _lose_sight(self, pen: Pen, alarm: Alarm, cause: str, t: Transition) -> None:
        if cause in alarm.stale_by or alarm.condition is not Condition.ACTIVE:
            return
        changes: dict[str, Any] = {"stale_by": (*alarm.stale_by, cause)}
        if alarm.quality is AlarmQuality.GOOD:
            changes["stale_ms"] = t.event_ms
        why = because(t, alarm)
        if cause != OWN:
            why = f"看不见现场, 告警保持: {t.because.zh} | out of sight, the alarm stands: {t.because.en}"
        new = self._step(pen, alarm, "lose_sight", "stale", why, event_ms=t.event_ms, data={"cause": cause},
                         changes=changes)  # fmt: skip
        self.book.alarm_changed(new.order_id)

    def _see_again(self, pen: Pen, alarm: Alarm, cause: str, why: str, event_ms: int) -> None:
        if cause not in alarm.stale_by:
            return
        left = tuple(c for c in alarm.stale_by if c != cause)
        changes: dict[str, Any] = {"stale_by": left}
        if not left:
            changes["stale_ms"] = None
        new = self._step(pen, alarm, "lose_sight" if left else "see_again", "data_back", why, event_ms=event_ms,
                         data={"cause": cause, "left": list(left)}, changes=changes)  # fmt: skip
        self.book.alarm_changed(new.order_id)

    # ── hiding ──────────────────────────────────────────────────────────────────────────────────

    def suppress(self, pen: Pen, alarm: Alarm, cause: str, why: str) -> Alarm:
        """Hide an alarm behind `cause`, a dedup key or a mute's id."""
        if cause in alarm.suppressed_by:
            return alarm
        pen.obsolete(alarm.id, f"hidden by {cause}")
        changes = {"suppressed_by": (*alarm.suppressed_by, cause)}
        if alarm.suppressed_by:
            return self._keep(pen.alarm(alarm, "suppressed", why, data={"cause": cause}, changes=changes))
        return self._step(pen, alarm, "suppress", "suppressed", why, data={"cause": cause}, changes=changes)

    def release(self, pen: Pen, alarm: Alarm, cause: str, why: str) -> Alarm:
        """Take one cause away; what comes out and is still active is announced."""
        if cause not in alarm.suppressed_by:
            return alarm
        left = tuple(c for c in alarm.suppressed_by if c != cause)
        data = {"cause": cause}
        if left:
            return self._keep(pen.alarm(alarm, "released", why, data=data, changes={"suppressed_by": left}))
        return self.uncover(pen, alarm, "release", "released", why, data=data, changes={"suppressed_by": ()})

    def hidden_by(self, cause: str) -> list[str]:
        """Return the ids of alarms hidden by a cause now."""
        return self._hiding.children(cause)

    def want(self, alarm: Alarm, reason: NoticeReason) -> None:
        """Have an alarm told of at the end of this change (alerts.chatter)."""
        self._caller.want(alarm, reason)

    def uncover(self, pen: Pen, alarm: Alarm, event: str, kind: str, why: str, **more: Any) -> Alarm:
        """End an overlay; if it was the last and the alarm is active, it is announced again."""
        if regions_of(alarm).overlays == 1:
            more["changes"] = {**more.get("changes", {}), "called_ms": pen.now_ms, "reminded": 0}
        new = self._step(pen, alarm, event, kind, why, **more)
        if new.condition is not Condition.NORMAL and regions_of(new).overlays == 0:
            self._after(pen, new, NoticeReason.AGAIN if new.told else NoticeReason.FIRST, is_raise=False)
        return new

    # ── people and time ─────────────────────────────────────────────────────────────────────────

    def _do(self, pen: Pen, command: Command) -> Answer:
        if command.id in self._answered:
            return self._answered[command.id]
        kind, _, verb = command.verb.rpartition(".")
        if (refused := refusal(command)) is not None:
            answer = refused
        elif kind == "exercise":
            answer = self._drills.command(pen, command, verb)
        elif kind == "mute":
            answer = self._muting.command(pen, command, verb)
        elif kind == "order" or (not kind and (command.target in self.book.orders or verb == "new")):
            answer = self.book.command(pen, command, verb)
        elif kind == "rota":
            answer = self._stand_ins.command(pen, command, verb, self._targets)
        else:
            answer = self._verbs.command(pen, command, verb)
        self._answered[command.id] = answer
        if len(self._answered) > ANSWERS_MAX:
            self._answered.popitem(last=False)
        return answer

    def _withdraw(self, pen: Pen) -> None:
        """End the alarms of rules that no longer exist: nothing could ever clear them."""
        for number, why in self._orphans.items():
            alarm = self.alarms.get(number)
            if alarm is not None and alarm.condition is not Condition.NORMAL:
                changes: dict[str, Any] = {"cleared_ms": pen.now_ms, "stale_by": (), "stale_ms": None}
                new = self._step(pen, alarm, "withdraw", "withdrawn", why, changes=changes)
                self._ended(pen, self._chatter.settle(pen, new, why) if new.is_chattering else new, pen.now_ms)
            elif alarm is not None and alarm.is_chattering:
                self._chatter.settle(pen, alarm, why)  # its last recovery is told, though its rule is gone
        self._orphans = {}

    # ── orders ──────────────────────────────────────────────────────────────────────────────────

    def _after(self, pen: Pen, alarm: Alarm, reason: NoticeReason, *, is_raise: bool) -> None:
        """An alarm wants attention: announce it, and open or join its order unless it is hidden."""
        self._caller.want(alarm, reason)
        self._join(pen, alarm, is_raise=is_raise)

    def _join(self, pen: Pen, alarm: Alarm, *, is_raise: bool) -> None:
        if regions_of(alarm).overlays:
            return
        number = self.book.on_alarm(pen, alarm, is_raise=is_raise)
        alarm = self.alarms[alarm.id]
        if number and number != alarm.order_id:
            self._step(pen, alarm, "attach", "order_attached", f"work order {number} | 工单 {number}",
                       data={"order": number}, changes={"order_id": number})  # fmt: skip

    def _alarms_of(self, order: WorkOrder) -> tuple[Alarm, ...]:
        return tuple(a for key in order.data.get("keys", ()) if (a := self.live(key)) is not None)

    def _confirm(self, pen: Pen, order: WorkOrder) -> None:
        for alarm in self._alarms_of(order):
            if alarm.order_id == order.id and not alarm.is_confirmed:
                why = f"work order {order.id} is {order.state.value} | 工单已办结"
                self._step(pen, alarm, "confirm", "confirmed", why, data={"order": order.id})

    # ── one step ────────────────────────────────────────────────────────────────────────────────

    def _step(
        self, pen: Pen, alarm: Alarm, event: str, kind: str, why: str, *, latches: bool = False, **more: Any
    ) -> Alarm:
        """Move an alarm by the table and write it; `more` goes to the pen."""
        regions = step_alarm(regions_of(alarm), event, latches=latches, has_order=self.book.is_open(alarm.order_id))
        assert regions is not None, f"no row for {event} at {letter(alarm)}"  # noqa: S101 - our own table
        changes = dict(more.pop("changes", {}))
        changes |= {"condition": regions.condition, "is_acked": regions.is_acked}
        changes |= {"is_confirmed": regions.is_confirmed, "quality": regions.quality}
        return self._keep(pen.alarm(alarm, kind, why, changes=changes, **more))

    def step(self, pen: Pen, alarm: Alarm, event: str, kind: str, why: str, **more: Any) -> Alarm:
        """Move an alarm for a person (alerts.verbs)."""
        return self._step(pen, alarm, event, kind, why, **more)

    def terms(self, alarm: Alarm) -> AlarmTerms:
        """Return what holds for an alarm beside its limits: shelves, chatter and the like."""
        return self._atlas.config.alarms.terms(alarm.rule, alarm.domain, alarm.level)

    def settle(self, pen: Pen, alarm: Alarm, why: str) -> Alarm:
        """End an alarm's chatter (alerts.drills)."""
        return self._chatter.settle(pen, alarm, why)

    def keep(self, alarm: Alarm) -> Alarm:
        """Remember an alarm's newest version (alerts.rounds)."""
        return self._keep(alarm)

    def _keep(self, alarm: Alarm) -> Alarm:
        """Remember the newest version while it is retained, and set its alarm clock."""
        retained = is_retained(alarm)
        self._points.keep(alarm)
        if retained:
            self.alarms[alarm.id] = alarm
            self._live[alarm.dedup_key] = alarm.id
            self._rounds.keep(alarm)
        else:
            self.alarms.pop(alarm.id, None)
            if self._live.get(alarm.dedup_key) == alarm.id:
                del self._live[alarm.dedup_key]
        if not alarm.exercise:  # a drill neither hides nor blinds anything real, nor the other way round
            self._hiding.keep(alarm, is_retained=retained)
            self._sight.keep(alarm, is_retained=retained)
            self._peaks.keep(alarm, is_retained=retained)
        return alarm
