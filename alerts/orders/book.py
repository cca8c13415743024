"""Work orders: opened by alarms, moved by people and clocks, closed only on two witnesses (promises 5 and 7).

Every step goes through `order_table.TABLES`; what people ask beside steps is `front_desk`'s. One order is open per kind
of work and place: alarms of other sensors, and of other rules that call for the same work there, join it. A leak that
two rules see is one leak.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

from alerts.announce import TOLD, OrderCaller, crew_to_tell
from alerts.facts import Atlas
from alerts.guards import GUARDS, KEPT, Ask, missing
from alerts.pen import Pen
from alerts.people.targets import Targets
from alerts.people.workdays import WorkCalendar, know
from alerts.state import REOPEN_WITHIN_S, Opening
from alerts.texts import local_day, span
from citypulse.model import (
    SYSTEM,
    Actor,
    Alarm,
    Answer,
    Command,
    Condition,
    Priority,
    ReadingBatch,
    SensorTable,
    WorkOrder,
)

from .births import Birth, born, joined, trouble_of
from .caseload import WAITING, Caseload
from .front_desk import FrontDesk, not_allowed, refused
from .milestones import MISSED, Milestones, marked
from .proof import Ruling, weigh
from .replay import KEY, marks, verdict
from .sla import RED_LAMP, clocks_of, elapsed_s, lamp_sentence, lit, with_clocks
from .steps import Step, changes_of
from .table import ENDS, VERIFIED_STATES, OrderRow, find_row, order_verbs, refusal
from .verification import Witness


class OrderBook:
    """All open orders and the lately closed; the fold of alarms, commands and time over them."""

    def __init__(
        self,
        atlas: Atlas,
        table: SensorTable,
        opening: Opening,
        alarms_of: Callable[[WorkOrder], tuple[Alarm, ...]],
        confirm: Callable[[Pen, WorkOrder], None],
        targets: Targets,
    ) -> None:
        """Stand where the ledger stood. `alarms_of` gives an order's live alarms, `confirm` marks them repaired."""
        self._atlas = atlas
        self._teams = atlas.config.teams
        self._templates = atlas.config.templates
        self._zone = ZoneInfo(atlas.config.timezone)
        know(atlas.config.workdays)
        self._calendar = WorkCalendar(self._zone)
        self._milestones = Milestones(atlas.config, self._calendar)
        self._caller = OrderCaller(atlas.config, self._calendar, targets)
        self._alarms_of = alarms_of
        self._confirm = confirm
        self._serials = dict(opening.order_serials)
        self._cases = Caseload(self._calendar)
        self._front = FrontDesk(atlas.config, self._cases, self._keep, self._report, opening.past_order)
        self.orders = self._cases.orders  # open ones, and those closed within the relapse time
        self._dirty: set[str] = set()
        self._witness = Witness(table)
        for order in sorted(opening.orders, key=lambda o: (o.state_ms, o.id)):
            self._keep(order)
            self._witness.follow(order)

    # ── alarms ──────────────────────────────────────────────────────────────────────────────────

    def on_alarm(self, pen: Pen, alarm: Alarm, *, is_raise: bool) -> str:
        """An alarm was raised, worsened or came out of hiding: open, attach or reopen; return the order's id or ""."""
        rule = self._atlas.rule_of(alarm)
        plan = rule.order if rule is not None else None
        asset = alarm.site or alarm.scope
        trouble = trouble_of(plan.template if plan is not None else "", alarm.rule, asset, alarm.exercise)
        at_hand = self._cases.open_for(trouble)
        if at_hand is not None:
            self._attach(pen, at_hand, alarm, is_raise=is_raise)
            return at_hand.id
        if plan is None or alarm.level > plan.opens_at:
            return ""
        past = self._cases.closed_for(trouble)
        if past is not None and self._is_relapse(past, alarm, pen.now_ms):
            why = f"{span((pen.now_ms - past.state_ms) / 1000)} after closing | 结案后复发: {_why(alarm)}"
            again = self._system(pen, past, "reopen", why)
            number = self._joined(pen, again, alarm).id
        else:
            birth = Birth(
                level=alarm.level,
                cause=alarm.rule,
                asset=asset,
                area=alarm.area,
                domain=alarm.domain,
                note=f"{alarm.because_zh} · {alarm.because_en}",
                plan=plan,
                alarm=alarm,
                watched=self._atlas.watched(alarm.rule, alarm.scope),
                exercise=alarm.exercise,
            )
            number = self._report(pen, SYSTEM, _why(alarm), birth)
            self._system(pen, self.orders[number], "file", "filed at once by its rule | 规则自动立案")
        self._send(pen, self.orders[number])
        return number

    def alarm_changed(self, order_id: str) -> None:
        """An alarm of this order changed its condition or quality: judge the proof again this tick."""
        if order_id in self.orders:
            self._dirty.add(order_id)

    def end_exercise(self, pen: Pen, exercise: str, why: str) -> None:
        """Cancel what is still open of a drill that has ended."""
        for order in [o for o in self.orders.values() if o.is_exercise and o.data.get("exercise") == exercise]:
            if order.state not in ENDS:
                self._system(pen, order, "cancel", why)

    def is_open(self, order_id: str) -> bool:
        """True when the order exists and has not ended."""
        order = self.orders.get(order_id)
        return order is not None and order.state not in ENDS

    def _is_relapse(self, past: WorkOrder, alarm: Alarm, now_ms: int) -> bool:
        return alarm.dedup_key in past.data.get("keys", ()) and now_ms - past.state_ms <= REOPEN_WITHIN_S * 1000

    def _attach(self, pen: Pen, order: WorkOrder, alarm: Alarm, *, is_raise: bool) -> None:
        is_worse = alarm.level < order.level
        if order.state in WAITING and is_worse_than_put_off(order, alarm):
            order = self._joined(pen, order, alarm)
            self._system(pen, order, "resume", f"it became worse | 情况恶化: {_why(alarm)}")
            return
        if not is_raise and not is_worse:
            return
        is_known = alarm.dedup_key in order.data.get("keys", ())
        order = self._joined(pen, order, alarm)
        if order.state in VERIFIED_STATES:
            why = f"in alarm again after the report | 反馈后再次告警: {_why(alarm)}"
            if not is_known:  # somebody has to go again, but the repair was not botched
                why = f"another alarm for the same work | 同类新告警: {_why(alarm)}"
            self._system(pen, order, "rework", why, {"is_botched": is_known})
        elif is_worse:
            self._caller.tell(pen, order, "attached")

    def _joined(self, pen: Pen, order: WorkOrder, alarm: Alarm) -> WorkOrder:
        rule = self._atlas.rule_of(alarm)
        plan = rule.order if rule is not None else None
        watched, template = self._atlas.watched(alarm.rule, alarm.scope), self._templates.get(order.template)
        changes = joined(order, alarm, watched, plan, template, self._calendar)
        data = {"alarm": alarm.id, "level": alarm.level.colour, "order_level": changes["level"].colour}
        data |= self._marks(pen, order, replace(order, **changes))
        return self._keep(
            pen.order(order, "attached", _why(alarm), event_ms=alarm.raised_ms, data=data, changes=changes)
        )

    def _marks(self, pen: Pen, before: WorkOrder | None, after: WorkOrder) -> dict[str, Any]:
        found = marks(before, after, pen.now_ms, self._calendar, self._zone.key)
        return {KEY: found} if found else {}

    def _send(self, pen: Pen, order: WorkOrder) -> None:
        crews = self._caller.crews_for(order)
        if len(crews) == 1:
            why = f"only {crews[0]} is responsible here | 责任队伍唯一"
            self._system(pen, order, "dispatch", why, {"team": crews[0]})
        else:
            self._caller.tell(pen, order, "undispatched")

    # ── people ──────────────────────────────────────────────────────────────────────────────────

    def command(self, pen: Pen, command: Command, verb: str) -> Answer:
        """Do what a person asks, or say why not and what is allowed."""
        if verb == "new":
            return self._front.new(pen, command)
        order = self.orders.get(command.target) or self._front.past(pen, command.target, verb)
        if order is None:
            return refused(command, "not_found", f"没有此工单 no open or lately closed work order {command.target!r}")
        if verb in self._front.asked:
            return self._front.asked[verb](pen, command, order)
        actor, data = command.actor, command.data
        row = find_row(order.state, verb, actor.role, order.level, order.kind)
        if row is None or actor.role == "system":
            code, said = refusal(order.id, order.state, verb, actor.role, order.level, order.kind)
            return replace(not_allowed(command, order, code, ""), message=said)
        if wrong := missing(row.needs, data):
            return not_allowed(command, order, "bad_data", f'"{verb}": {wrong}')
        for guard in row.guards:
            if said := GUARDS[guard](self._ask(order, actor, data, pen.now_ms)):
                return not_allowed(command, order, "not_allowed", f'"{verb}" 被拒 is refused: {said}')
        acted = data.get("acted_ms")
        if isinstance(acted, int):  # a phone's clock may be a little ahead of ours
            acted = min(acted, pen.now_ms) if acted >= order.opened_ms else None
        why = str(data.get("reason") or data.get("note") or row.name.en)
        new = self._step(pen, order, row, f"{actor.name} ({actor.role}): {why}", actor, data,
                         event_ms=acted)  # fmt: skip
        message = f"{row.name.zh}: 工单 WorkOrder {new.id} is {new.state.name}"
        return Answer(command=command.id, ok=True, message=message, subject=new.id,
                      allowed=order_verbs(new.state, new.level, kind=new.kind))  # fmt: skip

    # ── time and sensors ────────────────────────────────────────────────────────────────────────

    def count(self, batch: ReadingBatch) -> None:
        """Let the sensors testify: count good live readings for the orders that wait for proof."""
        self._dirty |= self._witness.count(batch)

    def ring(self, pen: Pen) -> None:
        """Light lamps and end waits whose time has come."""
        for order in self._cases.due(pen.now_ms):
            if order.state in ENDS:
                if pen.now_ms - order.state_ms > REOPEN_WITHIN_S * 1000:
                    self._cases.forget(order)
                continue
            review = order.data.get("waiting", {}).get("review_ms")
            if order.state in WAITING and review is not None and review <= pen.now_ms:
                self._system(pen, order, "resume", "the review date has come | 复核日期已到")
            self._light(pen, self.orders[order.id])
            self._miss(pen, self.orders[order.id])
            if order.state in VERIFIED_STATES:
                self._dirty.add(order.id)

    def judge(self, pen: Pen) -> None:
        """Weigh the sensors' testimony of every order it may have changed for."""
        for number in sorted(self._dirty):
            order = self.orders.get(number)
            if order is not None and order.state in VERIFIED_STATES and order.fed_back_ms is not None:
                self._judge(pen, order)
        self._dirty.clear()

    def _judge(self, pen: Pen, order: WorkOrder) -> None:
        if "sensors_ok" not in order.data:
            weighed = weigh(order, self._alarms_of(order), self._witness, self._atlas.rule_of, pen.now_ms)
            if weighed.until_ms is not None:
                self._cases.wake(order.id, weighed.until_ms)
            if weighed.ruling is Ruling.NOT_REPAIRED:
                self._system(pen, order, "rework", weighed.because)
                return
            if weighed.ruling is Ruling.PROVEN:
                data = {**order.data, "sensors_ok": weighed.data}
                order = self._keep(
                    pen.order(order, "sensors_proven", weighed.because, data=weighed.data, changes={"data": data})
                )
            elif weighed.ruling is Ruling.NOT_SEEN and "proof_asked_ms" not in order.data:
                data = {**order.data, "proof_asked_ms": pen.now_ms}
                order = self._keep(
                    pen.order(order, "proof_wanted", weighed.because, data=weighed.data, changes={"data": data})
                )
                self._caller.tell(pen, order, "proof_wanted")
        row = find_row(order.state, "close", "system", order.level, order.kind)
        if row is None or "sensors_ok" not in order.data:
            return
        ask = self._ask(order, SYSTEM, {}, pen.now_ms)
        if not any(GUARDS[g](ask) for g in row.guards):
            self._step(pen, order, row, "sensors and checker agree | 传感器与核查员两证齐全", SYSTEM, {})

    def _light(self, pen: Pen, order: WorkOrder) -> None:
        for name, clock in clocks_of(order).items():
            new = lit(order, clock, pen.now_ms, self._calendar)
            for lamp in range(clock.lamps, new.lamps):
                is_red = lamp >= RED_LAMP
                changes: dict[str, Any] = {"is_supervised": order.is_supervised or is_red}
                changes["data"] = with_clocks(order.data, {**clocks_of(order), name: replace(clock, lamps=lamp + 1)})
                data = {"clock": name, "lamp": lamp, "limit_s": clock.limit_s}
                data["elapsed_s"] = elapsed_s(order, clock, pen.now_ms, self._calendar)
                why = lamp_sentence(order, clock, lamp, pen.now_ms, self._calendar)
                order = self._keep(
                    pen.order(order, "supervised" if is_red else "lamp", why, data=data, changes=changes)
                )
            if new.lamps > clock.lamps:
                self._caller.remind(pen, order, name, new.lamps - 1)

    def _miss(self, pen: Pen, order: WorkOrder) -> None:
        """Tell of the milestones that were not reached in time."""
        for milestone in self._milestones.missed(order, pen.now_ms):
            name, allowed = milestone.name, span(milestone.within_s)
            why = f"{allowed} 内未{name.zh} | not {name.en} within {allowed} ({milestone.origin})"
            data = {"milestone": milestone.id, "within_s": milestone.within_s}
            changes = {"data": marked(order, {milestone.id: MISSED})}
            order = self._keep(pen.order(order, "milestone_missed", why, data=data, changes=changes))
            self._caller.miss(pen, order, milestone)

    # ── one step ────────────────────────────────────────────────────────────────────────────────

    def _ask(self, order: WorkOrder, actor: Actor, data: dict[str, Any], now_ms: int) -> Ask:
        is_waiting = order.state in VERIFIED_STATES and order.fed_back_ms is not None
        return Ask(
            order=order,
            actor=actor,
            data=data,
            now_ms=now_ms,
            teams=self._teams,
            alarms=self._alarms_of(order),
            verdict=self._witness.verdict(order, order.fed_back_ms or 0) if is_waiting else None,
            window_s=self._witness.window_s(order),
            twin=self._cases.twin_of(order),
            template=self._templates.get(order.template),
        )

    def _system(
        self, pen: Pen, order: WorkOrder, verb: str, because: str, data: dict[str, Any] | None = None
    ) -> WorkOrder:
        row = find_row(order.state, verb, "system", order.level, order.kind)
        assert row is not None, f"no row for the system's {verb} in {order.state}"  # noqa: S101 - our own table
        return self._step(pen, order, row, because, SYSTEM, data or {})

    def _step(
        self,
        pen: Pen,
        order: WorkOrder,
        row: OrderRow,
        because: str,
        actor: Actor,
        data: dict[str, Any],
        *,
        event_ms: int | None = None,
    ) -> WorkOrder:
        step = self._of(pen, row, order, actor, data)
        said = {"transition": row.number, **{k: v for k, v in data.items() if k in KEPT}}
        changes = changes_of(step)
        changes["data"] = self._milestones.reached(replace(order, data=changes["data"]), row.done)
        said |= self._marks(pen, order, replace(order, **changes))
        if row.done == "fed_back":
            said |= verdict(order, pen.now_ms)
        new = pen.order(order, row.done, because, event_ms=event_ms, actor=actor, data=said, changes=changes)
        self._keep(new)
        self._witness.follow(new)
        if new.state in VERIFIED_STATES:
            self._dirty.add(new.id)
        if new.state is not order.state:
            pen.obsolete(new.id, f"the order is {new.state.name} now")
        if new.state in ENDS:
            self._confirm(pen, new)
        if row.done in TOLD:
            self._caller.tell(pen, new, row.done, crew=crew_to_tell(order, new))
        return new

    def _of(self, pen: Pen, row: OrderRow, order: WorkOrder, actor: Actor, data: dict[str, Any]) -> Step:
        active = [a.level for a in self._alarms_of(order) if a.condition is Condition.ACTIVE]
        return Step(row=row, order=order, actor=actor, data=data, now_ms=pen.now_ms, teams=self._teams,
                    calendar=self._calendar, template=self._templates.get(order.template),
                    alarm_level=min(active, default=None))  # fmt: skip

    def _report(self, pen: Pen, actor: Actor, because: str, birth: Birth, said: dict[str, Any] | None = None) -> str:
        day = local_day(pen.now_ms, self._zone)
        self._serials[day] = self._serials.get(day, 0) + 1
        order = born(f"WO-{day}-{self._serials[day]:04d}", birth, pen.now_ms)
        row = find_row(None, "new", actor.role, birth.level, birth.kind)
        assert row is not None, f"no row for a report by {actor.role}"  # noqa: S101 - our own table
        step = self._of(pen, row, order, actor, {"team": birth.team} if birth.team else {})
        alarm = birth.alarm
        snapshot = {} if alarm is None else {
            "alarm": alarm.id, "rule": alarm.rule, "version": alarm.rule_version, "value": alarm.peak_value
        }  # fmt: skip
        changes = changes_of(step)
        data = {"transition": row.number, **snapshot, **(said or {}), "level": birth.level.colour, "kind": birth.kind,
                "template": order.template, "asset": order.asset, "cause": order.cause,
                **self._marks(pen, None, replace(order, **changes))}  # fmt: skip
        new = pen.order(order, row.done, because, event_ms=alarm.raised_ms if alarm is not None else None, actor=actor,
                        data=data, changes=changes, is_new=True)  # fmt: skip
        self._keep(new)
        if row.done in TOLD:
            self._caller.tell(pen, new, row.done)
        return new.id

    def _keep(self, order: WorkOrder) -> WorkOrder:
        if order.state in VERIFIED_STATES:
            self._dirty.add(order.id)
        if order.state not in ENDS and (due := self._milestones.next_ms(order)) is not None:
            self._cases.wake(order.id, due)
        return self._cases.keep(order)

    # ── snapshots ───────────────────────────────────────────────────────────────────────────────

    def state(self) -> dict[str, Any]:
        """Return what the ledger does not hold: the sensors' testimony so far."""
        return self._witness.state()

    def restore(self, state: dict[str, Any]) -> None:
        """Take the testimony back."""
        self._witness.restore(state)


def is_worse_than_put_off(order: WorkOrder, alarm: Alarm) -> bool:
    """True when an alarm is at least one level worse than the worst that was active when the order was put off."""
    level = order.data.get("waiting", {}).get("level")
    return level is None or alarm.level < Priority.from_colour(level)


def _why(alarm: Alarm) -> str:
    return f"{alarm.because_zh} | {alarm.because_en} ({alarm.rule_origin})"
