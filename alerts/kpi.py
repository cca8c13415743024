"""Indicators of a period, each with the ids it was computed from: every number opens (domain.md 2.4).

Denominators are disputed in practice, so each formula says in words what it divides by what, and carries a version.
Pure functions over what the ledger holds; cancelled and rejected orders are in no denominator except the first.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

from alerts.orders import replay
from citypulse.model import Alarm, AlarmPlan, Event, OrderState, Priority, Text, WorkOrder

FORMULAS: Final = "2026-2"
"""Version of the formulas; a changed formula gets a new one, so that old reports stay comparable."""
TEN_MIN_MS: Final = 600_000
FLOOD_FROM: Final = 10  # more than this many alarms in ten minutes is a flood (ISA-18.2, EEMUA 191)
CHATTER_PER_MIN: Final = 3  # raises of one key within a minute (ISA-18.2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Indicator:
    """One figure. `value` is None when there is nothing to divide by or to take a median of."""

    id: str
    name: Text
    formula: Text
    unit: str  # 1 (a share), s, 1/10min …
    value: float | None
    numerator: tuple[str, ...] = ()
    denominator: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Course:
    """One order with the instants of its steps, from its events: kind → event times, epoch ms.

    `clocks` is what the record says of its clocks: whether it was on time is read there and computed nowhere else.
    """

    order: WorkOrder
    clocks: replay.Course
    at: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    codes: set[str] = field(default_factory=set)
    was_mis_sent: bool = False

    def first(self, kind: str) -> int | None:
        """Return when a step was first taken."""
        return self.at[kind][0] if kind in self.at else None

    @property
    def is_out(self) -> bool:
        """True for an order that was cancelled or not filed."""
        return self.order.state in {OrderState.CANCELLED, OrderState.REJECTED}


def courses(orders: Iterable[WorkOrder], events: Iterable[Event], since_ms: int, until_ms: int) -> list[Course]:
    """Return the courses of the orders opened in [since, until), in order of opening; drills are no part of it."""
    real = (o for o in orders if not o.is_exercise)
    chosen = sorted((o for o in real if since_ms <= o.opened_ms < until_ms), key=lambda o: (o.opened_ms, o.id))
    wanted = {o.id for o in chosen}
    lines: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        if event.subject in wanted:
            lines[event.subject].append(event)
    return [_course(o, lines[o.id]) for o in chosen]


def _course(order: WorkOrder, events: Sequence[Event]) -> Course:
    clocks = replay.replay(events) if events else replay.Course(order=order.id)
    course = Course(order=order, clocks=clocks)
    for event in events:
        course.at[event.kind].append(event.event_ms)
        course.codes |= {event.data["code"]} if "code" in event.data else set()
        course.was_mis_sent |= event.kind == "returned" and event.data.get("mis_dispatch") is True
    return course


Test = Callable[[Course], bool]
Ids = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A share of orders: those for which `is_in` holds among those for which `is_of` holds."""

    id: str
    name: Text
    formula: Text
    is_in: Test
    is_of: Test


def _share(id_: str, zh: str, en: str, zh_formula: str, formula: str, is_in: Test, is_of: Test) -> Share:
    return Share(id=id_, name=Text(zh=zh, en=en), formula=Text(zh=zh_formula, en=formula), is_in=is_in, is_of=is_of)


def _is_sent(c: Course) -> bool:
    return "dispatched" in c.at and not c.is_out


def _is_closed(c: Course) -> bool:
    return c.order.state is OrderState.CLOSED


def _is_any(_: Course) -> bool:
    return True


SHARES: Final = (
    _share("handled", "处置率", "handled", "处置数 / 派遣数", "reported back / dispatched",
           lambda c: "fed_back" in c.at, _is_sent),
    _share("handled_on_time", "按期处置率", "handled on time",
           "末次反馈不晚于原时限(扣除暂停, 返工与延期不顺延)的 / 派遣数",
           "last report by the original deadline, which pauses move but reworks and extensions do not / dispatched",
           lambda c: c.clocks.is_on_time is True, _is_sent),
    _share("handled_on_time_strict", "按期处置率(不扣暂停)", "handled on time, pauses not excused",
           "末次反馈不晚于原时限(不扣暂停)的 / 派遣数",
           "last report by the original deadline as it stood before any pause / dispatched",
           lambda c: c.clocks.is_on_time_strict is True, _is_sent),
    _share("closed", "结案率", "closed", "结案数 / 立案数", "closed / filed",
           _is_closed, lambda c: "filed" in c.at and not c.is_out),
    _share("reworked", "返工率", "reworked", "至少返工一次的 / 处置数", "sent back at least once / reported back",
           lambda c: c.order.rework_count > 0, lambda c: "fed_back" in c.at and not c.is_out),
    _share("first_time_fix", "一次修复率", "fixed at the first try", "未返工未复发的 / 结案数",
           "never reworked nor reopened / closed",
           lambda c: c.order.rework_count == 0 and "reopened" not in c.at, _is_closed),
    _share("recurred", "复发率", "recurred within 72 h", "72小时内复发重开的 / 曾结案数", "reopened / ever closed",
           lambda c: "reopened" in c.at, lambda c: "closed" in c.at),
    _share("extended", "延期率", "extended", "延期数 / 派遣数", "extended at least once / dispatched",
           lambda c: c.order.extensions > 0, _is_sent),
    _share("sent_right", "准确派遣率", "sent to the right crew", "未因错派回退的 / 派遣数",
           "never returned as mis-dispatched / dispatched",
           lambda c: not c.was_mis_sent, lambda c: "dispatched" in c.at),
    _share("false_alarm", "误报率", "false alarms", "以误报不予立案的 / 上报数", "rejected as false alarm / all opened",
           lambda c: "false_alarm" in c.codes, _is_any),
    _share("proven_by_sensor", "传感器核实率", "proven by sensors", "有传感器佐证的 / 结案数",
           "closed with the sensors' testimony / closed", lambda c: "sensors_proven" in c.at, _is_closed),
    _share("supervised", "督办率", "put under supervision", "督办数 / 上报数", "supervised / all opened",
           lambda c: c.order.is_supervised, _is_any),
)  # fmt: skip

TIMES: Final[tuple[tuple[str, str, str, str, str], ...]] = (
    # id, 名称, name, from step, to step
    ("time_to_dispatch", "派遣用时", "time to dispatch", "reported", "dispatched"),
    ("time_to_accept", "接单用时", "time to accept", "dispatched", "accepted"),
    ("time_to_site", "到场用时", "time to site", "dispatched", "arrived"),
    ("time_to_repair", "处置用时", "time to repair", "dispatched", "fed_back"),
    ("time_to_close", "结案用时", "time to close", "reported", "closed"),
)


def of_orders(found: Sequence[Course]) -> list[Indicator]:
    """Return the shares and median times of these orders."""
    result = []
    for share in SHARES:
        below = [c for c in found if share.is_of(c)]
        above = [c for c in below if share.is_in(c)]
        result.append(
            Indicator(
                id=share.id,
                name=share.name,
                formula=share.formula,
                unit="1",
                value=len(above) / len(below) if below else None,
                numerator=tuple(c.order.id for c in above),
                denominator=tuple(c.order.id for c in below),
            )
        )
    for id_, zh, en, start, end in TIMES:
        pairs = [(c.order.id, c.first(start), c.first(end)) for c in found]
        spans = [(i, (b - a) / 1000) for i, a, b in pairs if a is not None and b is not None]
        said = Text(zh=f"首次 {end} 减首次 {start} 的中位数", en=f"median of first {end} minus first {start}")
        result.append(_median(id_, Text(zh=zh, en=en), said, spans))
    return result


def of_alarms(alarms: Iterable[Alarm], since_ms: int, until_ms: int, plan: AlarmPlan | None = None) -> list[Indicator]:
    """Return the alarm load of [since, until) by ISA-18.2, chapter 16, without historical occurrences and drills.

    `plan` says when a standing alarm is stale; 24 h without one.
    """
    plan = plan or AlarmPlan()
    real = (a for a in alarms if not a.is_historical and not a.exercise and not a.is_point)
    chosen = [a for a in real if since_ms <= a.raised_wall_ms < until_ms]
    ids = tuple(a.id for a in chosen)
    slots = max(1, -(-(until_ms - since_ms) // TEN_MIN_MS))
    by_slot = Counter((a.raised_wall_ms - since_ms) // TEN_MIN_MS for a in chosen)
    floods = {slot for slot, n in by_slot.items() if n > FLOOD_FROM}
    by_key: dict[str, list[Alarm]] = defaultdict(list)
    for alarm in chosen:
        by_key[alarm.dedup_key].append(alarm)
    worst = sorted(by_key.values(), key=lambda group: (-len(group), group[0].dedup_key))[:10]
    top = tuple(a.id for group in worst for a in group)
    stale = tuple(
        a.id
        for a in chosen
        if (a.cleared_ms or until_ms) - a.raised_ms > plan.terms(a.rule, a.domain, a.level).stale_s * 1000
    )
    chatter = tuple(a.id for group in by_key.values() if _chatters(group) for a in group)
    red = tuple(a.id for a in chosen if a.peak_level is Priority.P1)
    acked = [(a.id, (a.acked_ms - a.raised_wall_ms) / 1000) for a in chosen if a.acked_ms is not None]

    def share(id_: str, zh: str, en: str, zh_formula: str, formula: str, part: Ids) -> Indicator:
        return Indicator(id=id_, name=Text(zh=zh, en=en), formula=Text(zh=zh_formula, en=formula), unit="1",
                         value=len(part) / len(ids) if ids else None, numerator=part, denominator=ids)  # fmt: skip

    def rate(id_: str, zh: str, en: str, zh_formula: str, formula: str, value: float, part: Ids) -> Indicator:
        return Indicator(id=id_, name=Text(zh=zh, en=en), formula=Text(zh=zh_formula, en=formula), unit="1/10min",
                         value=value, numerator=part)  # fmt: skip

    peak = max(by_slot.values(), default=0)
    full = {slot for slot, n in by_slot.items() if n == peak}
    flooded = tuple(a.id for a in chosen if (a.raised_wall_ms - since_ms) // TEN_MIN_MS in floods)
    fullest = tuple(a.id for a in chosen if (a.raised_wall_ms - since_ms) // TEN_MIN_MS in full)
    return [
        rate("alarm_rate", "平均告警率", "alarms per 10 min", "告警数 / 十分钟段数", "alarms / ten-minute periods",
             len(ids) / slots, ids),
        rate("alarm_rate_peak", "峰值告警率", "most alarms in 10 min", "最多的十分钟段", "the fullest period",
             float(peak), fullest),
        Indicator(id="flood_share", name=Text(zh="告警洪泛时间占比", en="time in flood"), unit="1", numerator=flooded,
                  formula=Text(zh="超过10条的十分钟段 / 全部", en="ten-minute periods with more than 10 alarms / all"),
                  value=len(floods) / slots),
        share("top_ten_share", "前十来源占比", "load of the ten worst sources", "最多的十个来源的告警 / 告警数",
              "alarms of the ten worst keys / alarms", top),
        share("chatter_share", "抖动告警占比", "chattering", "一分钟内三次及以上的来源的告警 / 告警数",
              "alarms of keys with 3 raises within a minute / alarms", chatter),
        share("stale_share", "陈旧告警占比", "stale", "持续超过 stale.after (24小时) 的 / 告警数",
              "alarms active for longer than `stale: after` (24 h) / alarms", stale),
        share("red_share", "红色占比", "red", "达到红色的 / 告警数", "alarms that reached red / alarms", red),
        _median("time_to_acknowledge", Text(zh="确认用时", en="time to acknowledge"),
                Text(zh="确认减告警的中位数", en="median of acknowledged minus raised"), acked),
    ]  # fmt: skip


def report(
    alarms: Iterable[Alarm],
    orders: Iterable[WorkOrder],
    events: Iterable[Event],
    since_ms: int,
    until_ms: int,
    plan: AlarmPlan | None = None,
) -> dict[str, Any]:
    """Return all indicators of [since, until) with the version of the formulas."""
    found = courses(orders, events, since_ms, until_ms)
    return {
        "formulas": FORMULAS,
        "since_ms": since_ms,
        "until_ms": until_ms,
        "orders": of_orders(found),
        "alarms": of_alarms(alarms, since_ms, until_ms, plan),
    }


def _median(id_: str, name: Text, formula: Text, spans: Sequence[tuple[str, float]]) -> Indicator:
    return Indicator(
        id=id_,
        name=name,
        formula=formula,
        unit="s",
        value=median(s for _, s in spans) if spans else None,
        numerator=tuple(i for i, _ in spans),
    )


def _chatters(group: Sequence[Alarm]) -> bool:
    at = sorted(a.raised_ms for a in group)
    return any(b - a <= 60_000 for a, b in zip(at, at[CHATTER_PER_MIN - 1 :], strict=False))
