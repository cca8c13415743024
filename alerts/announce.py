"""Who is told what: the notices of each change, written in the same transaction as the change.

None for what is hidden, one a change, and an end to everybody who heard of the beginning. What later news overtakes
before it was sent, the outbox drops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final
from zoneinfo import ZoneInfo

from alerts.orders.sla import RED_LAMP, clock_name, clocks_of, due_ms, is_crew_clock, lamp_name
from alerts.people.escalation import Escalation
from alerts.people.ladder import level_of_lamp
from alerts.people.targets import Place, Targets
from alerts.people.workdays import WorkCalendar
from citypulse.model import Alarm, CityConfig, Milestone, NoticeKind, OrderState, Rule, Text, WorkOrder

from .lifecycle import regions_of
from .pen import Pen, Way
from .revise import revised
from .routes import NoticeReason, RouteTable
from .storm import StormWatch
from .texts import KINDS, alarm_notice, order_notice, span

# After which steps of an order who is told, and with which words.
TOLD: Final[dict[str, tuple[str, Text]]] = {
    "dispatched": ("crew", Text(zh="新工单, 请接单", en="new order, please accept")),
    "redispatched": ("crew", Text(zh="改派给你们, 请接单", en="redispatched to you, please accept")),
    "return_asked": ("duty", Text(zh="申请回退, 请值班长审批", en="crew asks to return it; lead decides")),
    "returned": ("duty", Text(zh="已回退, 请改派", en="returned, please redispatch")),
    "extension_asked": ("duty", Text(zh="申请延期, 请审批", en="crew asks for an extension")),
    "extended": ("crew", Text(zh="已延期", en="extended")),
    "resumed": ("crew", Text(zh="恢复处置", en="resumed, please go on")),
    "fed_back": ("duty", Text(zh="已反馈, 请安排核查", en="repair reported, please have it checked")),
    "check_passed": ("duty", Text(zh="核查通过, 待结案", en="check passed, to be closed")),
    "rework": ("crew", Text(zh="返工", en="rework")),
    "cancelled": ("crew", Text(zh="已作废, 请停止", en="cancelled, please stop")),
    "reopened": ("duty", Text(zh="复发重开", en="reopened, the same trouble again")),
    "attached": ("crew", Text(zh="同点位告警升级", en="a worse alarm at the same place")),
    "proof_wanted": ("duty", Text(zh="数据不足, 请人工举证", en="data missing, manual proof wanted")),
    "sent": ("crew", Text(zh="抄告, 请签收", en="a notice, please acknowledge")),
    "step_finished": ("duty", Text(zh="分步完成", en="a step is finished")),
    "reported_again": ("duty", Text(zh="再次上报", en="reported again")),
    "undispatched": ("duty", Text(zh="责任队伍不唯一, 请派遣", en="no single crew is responsible, please dispatch")),
}
OF_NO_DOMAIN: Final = "gateway"  # what a gateway's alarms are collected under


class AlarmCaller:
    """Collects which alarms a change concerns, and writes their notices once the change is complete."""

    def __init__(
        self,
        config: CityConfig,
        rule_of: Callable[[Alarm], Rule | None],
        escalation: Escalation,
        targets: Targets,
        storms: StormWatch,
    ) -> None:
        """Tell by the routes of `config`; who a chain's steps mean is for `targets` to say."""
        self._escalation = escalation
        self._targets = targets
        self._storms = storms
        self._sites = config.sites
        self._zone = ZoneInfo(config.timezone)
        self._routes = RouteTable(config)
        self._rule_of = rule_of
        self._wants: dict[str, dict[NoticeReason, None]] = {}

    def want(self, alarm: Alarm, reason: NoticeReason) -> None:
        """Remember that this alarm wants to be told of."""
        self._wants.setdefault(alarm.id, {})[reason] = None

    def announce(self, pen: Pen) -> list[Alarm]:
        """Write the notices wanted since the last call; return the alarms whose list of told people grew."""
        changed = []
        for number, reasons in self._wants.items():
            before = alarm = pen.effects.alarms[number]
            calls = [r for r in reasons if r is not NoticeReason.ENDED]
            if calls and not regions_of(alarm).overlays:
                ways = self._called(alarm, pen.now_ms)
                self._storms.heard(pen, alarm, ways)  # before it is told: the one that is too many may wait already
                alarm = self._tell(pen, alarm, calls[0], ways)
            if NoticeReason.ENDED in reasons:
                self._tell(pen, alarm, NoticeReason.ENDED, _who_heard(alarm))
            if alarm is not before:
                pen.effects.alarms[number] = alarm
                changed.append(alarm)
        self._wants = {}
        return changed

    def _called(self, alarm: Alarm, now_ms: int) -> tuple[Way, ...]:
        """Return who hears at once: the desks of its routes, and whom the chain's steps without a wait name."""
        ways = self._routes.of_alarm(alarm)
        plan = self._escalation.plan(alarm)
        if not plan.calls:
            return ways
        place = Place(domain=alarm.domain, area=alarm.area, level=alarm.level)
        found = {way.key: way for way in ways}
        for step in plan.calls:
            for way in self._targets.ways(plan, 0, step, place, now_ms):
                found.setdefault(way.key, way)
        return tuple(found.values())

    def remind(self, pen: Pen, alarm: Alarm, since: int) -> Alarm:
        """Tell those whom the chain's steps after number `since` name that nobody has acknowledged."""
        plan = self._escalation.plan(alarm)
        place = Place(domain=alarm.domain, area=alarm.area, level=alarm.level)
        found: dict[str, Way] = {}
        for number in range(since + 1, alarm.reminded + 1):
            for way in self._targets.ways(plan, number, plan.steps[number - 1], place, pen.now_ms):
                found[way.key] = way
        alarm = self._tell(pen, alarm, NoticeReason.REMINDED, found.values(), step=alarm.reminded)
        pen.effects.alarms[alarm.id] = alarm
        return alarm

    def warn_of_shelf(self, pen: Pen, alarm: Alarm) -> Alarm:
        """Say that an alarm on a shelf comes back soon: to those who would hear of it. Once for each end."""
        until_ms = alarm.shelved_until_ms or pen.now_ms
        left = span((until_ms - pen.now_ms) / 1000)
        why = f"the shelf ends in {left}, the alarm is still there | 搁置将于 {left} 后到期, 告警仍在"
        changes = {"shelf_warned_ms": until_ms}
        alarm = pen.alarm(alarm, "shelf_ending", why, data={"until_ms": until_ms}, changes=changes)
        place = self._sites[alarm.site].name if alarm.site in self._sites else Text(zh=alarm.scope, en=alarm.scope)
        title = f"搁置将到期 {place.zh} {alarm.rule} · shelf ends soon: {place.en}, {alarm.rule}"
        for way in self._routes.of_alarm(alarm):
            pen.notice(  # of the shelf, not of the alarm: the outbox drops calls about what is hidden
                way,
                subject=alarm.id,
                subject_kind="shelf",
                rev=alarm.rev,
                kind=NoticeKind.REMINDER,
                level=alarm.level,
                title=title,
                body=f"{why}\n{alarm.because_zh}\n{alarm.because_en}",
            )
        return alarm

    def _tell(self, pen: Pen, alarm: Alarm, reason: NoticeReason, ways: Iterable[Way], *, step: int = 0) -> Alarm:
        title, body = alarm_notice(alarm, reason, self._rule_of(alarm), self._sites.get(alarm.site), self._zone)
        told = dict.fromkeys(alarm.told)
        for way in ways:
            pen.notice(
                way,
                subject=alarm.id,
                subject_kind="alarm",
                rev=alarm.rev,
                kind=KINDS[reason],
                level=alarm.level,
                title=title,
                body=body,
                step=step,
                domain=alarm.domain or OF_NO_DOMAIN,
                area=alarm.area,
            )
            told[way.key] = None
        # Nobody new heard: the same version, so that the desk need not keep it again.
        return alarm if len(told) == len(alarm.told) else revised(alarm, {"told": tuple(told)})


def _who_heard(alarm: Alarm) -> tuple[Way, ...]:
    why = "heard of the alarm, hears of its end | 有始有终"
    pairs = (told.partition("|") for told in alarm.told)
    return tuple(Way(channel=channel, target=target, reason=why) for channel, _, target in pairs)


class OrderCaller:
    """Writes the notices about work orders."""

    def __init__(self, config: CityConfig, calendar: WorkCalendar, targets: Targets) -> None:
        """Tell by the routes of `config`; who answers for a place is for `targets` to say."""
        self._calendar = calendar
        self._targets = targets
        self._sites = config.sites
        self._zone = ZoneInfo(config.timezone)
        self._routes = RouteTable(config)

    def crews_for(self, order: WorkOrder) -> tuple[str, ...]:
        """Return the ids of the crews responsible for this order's place."""
        return tuple(team.id for team in self._routes.crews_for(order.domain, order.area, order.template))

    def tell(self, pen: Pen, order: WorkOrder, done: str, *, crew: str = "") -> None:
        """Tell those whom `TOLD` names after this step; `crew` is the crew it was with, if it no longer is."""
        whom, what = TOLD[done]
        self._write(pen, order, NoticeKind.ORDER, what, self._ways(order, whom, crew or order.team), 0)

    def remind(self, pen: Pen, order: WorkOrder, clock: str, lamp: int) -> None:
        """Tell whose clock it is that lamp number `lamp` has lit; from the orange one on, the duty desk too."""
        name = Text(
            zh=f"{clock_name(clock).zh}{lamp_name(lamp).zh}", en=f"{clock_name(clock).en}: {lamp_name(lamp).en}"
        )
        ways = self._ways(order, "crew", order.team) if is_crew_clock(clock) else ()
        if not is_crew_clock(clock) or lamp >= 1:
            ways = (*ways, *self._ways(order, "duty", ""))
        if level := level_of_lamp(lamp, RED_LAMP):
            place = Place(domain=order.domain, area=order.area, level=order.level)
            ways = (*ways, *self._targets.climb(level, place, name.en))
        running = clocks_of(order).get(clock)
        step_due_ms = due_ms(order, running, self._calendar) if running is not None and clock != "T4" else None
        self._write(pen, order, NoticeKind.REMINDER, name, ways, lamp, due_ms=step_due_ms)

    def miss(self, pen: Pen, order: WorkOrder, milestone: Milestone) -> None:
        """Tell those whom a milestone names that it was not reached in time."""
        place = Place(domain=order.domain, area=order.area, level=order.level)
        own = [word for word in ("crew", "desk") if word in milestone.to]
        ways = [way for word in own for way in self._ways(order, "crew" if word == "crew" else "duty", order.team)]
        others = [word for word in milestone.to if word not in own]
        if others or not ways:
            desks = self._ways(order, "duty", "")
            team = desks[0].target if desks else ""
            head = f"milestone {milestone.id} ({milestone.origin})"
            ways += self._targets.told(others, (), place, team, head, pen.now_ms)
        what = Text(zh=f"未按时{milestone.name.zh}", en=f"not {milestone.name.en} in time")
        once = {way.key: way for way in reversed(ways)}
        self._write(pen, order, NoticeKind.REMINDER, what, once.values(), 0)

    def _ways(self, order: WorkOrder, whom: str, crew: str) -> tuple[Way, ...]:
        if whom == "crew":
            return self._routes.crew(crew, order.domain, order.area, order.level) if crew else ()
        return self._routes.duty(order.domain, order.area, order.level)

    def _write(
        self,
        pen: Pen,
        order: WorkOrder,
        kind: NoticeKind,
        what: Text,
        ways: Iterable[Way],
        step: int,
        *,
        due_ms: int | None = None,
    ) -> None:
        title, body = order_notice(order, what, self._sites.get(order.asset), self._zone, due_ms)
        for way in ways:
            pen.notice(
                way,
                subject=order.id,
                subject_kind="order",
                rev=order.rev,
                kind=kind,
                level=order.level,
                title=title,
                body=body,
                step=step,
                domain=order.domain,
                area=order.area,
            )


def crew_to_tell(before: WorkOrder, after: WorkOrder) -> str:
    """Return the crew a step concerns: the one that had the order, when it has just been taken away."""
    return before.team if after.state in {OrderState.CANCELLED, OrderState.RETURNED} else after.team
