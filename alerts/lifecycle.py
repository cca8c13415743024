"""Every state of an alarm and of a work order, and every step between them: tables, and what consults them.

Nothing else changes a state. The same rows refuse a step, fill the buttons of a page, draw the diagrams of
docs/reference/lifecycle.md and feed the exhaustive tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from citypulse.model import Alarm, AlarmQuality, Condition, Mute, OrderState, Priority, Text

from .revise import revised

# ── alarms: orthogonal regions, the ISA-18.2 letter derived from them (alarms.md 8) ──────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Regions:
    """The regions of one alarm occurrence; each may change without the others."""

    condition: Condition = Condition.NORMAL
    is_acked: bool = True
    is_confirmed: bool = True  # OPC UA: False from the acknowledgement until the order has proven the repair
    is_shelved: bool = False
    is_suppressed: bool = False
    is_out_of_service: bool = False
    quality: AlarmQuality = AlarmQuality.GOOD
    is_chattering: bool = False  # it comes and goes: told once, until it has kept quiet

    @property
    def is_in_alarm(self) -> bool:
        """True while the condition holds or is held by a latch."""
        return self.condition is not Condition.NORMAL

    @property
    def overlays(self) -> int:
        """How many of shelved, suppressed and out of service hide it."""
        return self.is_shelved + self.is_suppressed + self.is_out_of_service


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmRow:
    """One step: on `event`, if every fact in `given` holds, the regions in `sets` change. First fit wins."""

    event: str
    given: tuple[tuple[str, Any], ...] = ()
    sets: tuple[tuple[str, Any], ...] = ()


def _row(event: str, given: dict[str, Any] | None = None, **sets: Any) -> AlarmRow:
    return AlarmRow(event=event, given=tuple((given or {}).items()), sets=tuple(sets.items()))


def _leaves(event: str, region: str) -> tuple[AlarmRow, ...]:
    """An overlay ends: the last to go re-announces what is active and settles what is not (ISA-18.2, EFG → B, A)."""
    return (
        _row(event, {region: True, "overlays": 1, "is_in_alarm": True}, **{region: False}, is_acked=False),
        _row(event, {region: True, "overlays": 1}, **{region: False}, is_acked=True),
        _row(event, {region: True}, **{region: False}),
    )


ALARM_ROWS: Final = (
    _row("raise", condition=Condition.ACTIVE, is_acked=False, is_confirmed=True),
    _row("worsen", {"condition": Condition.ACTIVE}, is_acked=False, is_confirmed=True),
    _row("ease", {"condition": Condition.ACTIVE}),
    _row(
        "clear",
        {"condition": Condition.ACTIVE, "latches": True},
        condition=Condition.LATCHED,
        quality=AlarmQuality.GOOD,
    ),
    _row("clear", {"condition": Condition.ACTIVE}, condition=Condition.NORMAL, quality=AlarmQuality.GOOD),
    _row("withdraw", condition=Condition.NORMAL, quality=AlarmQuality.GOOD),  # its rule is gone
    _row("comment"),
    _row("reset", {"condition": Condition.LATCHED, "is_acked": True, "overlays": 0}, condition=Condition.NORMAL),
    # An acknowledged alarm with an open order stays on the board until the repair is proven.
    _row("acknowledge", {"is_acked": False, "overlays": 0, "has_order": True}, is_acked=True, is_confirmed=False),
    _row("acknowledge", {"is_acked": False, "overlays": 0}, is_acked=True),
    _row("unacknowledge", {"is_acked": True, "overlays": 0}, is_acked=False, is_confirmed=True),
    _row("attach", {"is_acked": True}, is_confirmed=False),
    _row("attach"),
    _row("confirm", is_confirmed=True),
    # Putting aside withdraws the acknowledgement: the alarm stays retained until it comes back and is seen.
    _row("shelve", {"is_shelved": False, "is_in_alarm": True}, is_shelved=True, is_acked=False),
    *_leaves("unshelve", "is_shelved"),
    _row("suppress", {"is_suppressed": False}, is_suppressed=True),
    *_leaves("release", "is_suppressed"),
    _row("out_of_service", {"is_out_of_service": False}, is_out_of_service=True, is_acked=False),
    *_leaves("in_service", "is_out_of_service"),
    # Chatter: the turns of what comes and goes are recorded, told once, and what they end in is told for certain.
    _row("chatter", {"condition": Condition.ACTIVE, "is_chattering": False}, is_chattering=True),
    _row("again", {"is_chattering": True}, condition=Condition.ACTIVE),  # an acknowledgement holds meanwhile
    _row("flutter", {"is_chattering": True, "condition": Condition.ACTIVE}),  # to a level that has been told
    _row("settle", {"is_chattering": True}, is_chattering=False),
    # Acknowledged and still there after a long time: it asks again (OPC UA's ReAlarmTime).
    _row(
        "realarm",
        {"condition": Condition.ACTIVE, "is_acked": True, "overlays": 0, "is_chattering": False},
        is_acked=False,
        is_confirmed=True,
    ),
    _row("lose_sight", quality=AlarmQuality.STALE),
    _row("see_again", {"quality": AlarmQuality.STALE}, quality=AlarmQuality.GOOD),
    # A newer occurrence of the same key carries on; two rows for one fact would be noise.
    _row(
        "supersede",
        condition=Condition.NORMAL,
        is_acked=True,
        is_confirmed=True,
        is_shelved=False,
        is_suppressed=False,
        is_out_of_service=False,
        is_chattering=False,
    ),
)
ALARM_EVENTS: Final = tuple(dict.fromkeys(row.event for row in ALARM_ROWS))
_ROWS_OF: Final = {event: tuple(row for row in ALARM_ROWS if row.event == event) for event in ALARM_EVENTS}


def step_alarm(regions: Regions, event: str, *, latches: bool = False, has_order: bool = False) -> Regions | None:
    """Return the regions after `event`, or None where the table has no step."""
    facts = {"latches": latches, "has_order": has_order}
    for row in _ROWS_OF.get(event, ()):
        if all((facts[name] if name in facts else getattr(regions, name)) == value for name, value in row.given):
            return revised(regions, dict(row.sets))
    return None


def regions_of(alarm: Alarm) -> Regions:
    """Return the regions of an alarm."""
    return Regions(
        condition=alarm.condition,
        is_acked=alarm.is_acked,
        is_confirmed=alarm.is_confirmed,
        is_shelved=alarm.shelved_until_ms is not None,
        is_suppressed=bool(alarm.suppressed_by),
        is_out_of_service=alarm.is_out_of_service,
        quality=alarm.quality,
        is_chattering=alarm.is_chattering,
    )


def letter(of: Alarm | Regions) -> str:
    """Return the ISA-18.2 state: G > F > E > {B unacked, C acked, D returned unacked, A normal}."""
    if isinstance(of, Alarm):  # read off the alarm itself: a storm asks this tens of thousands of times
        is_suppressed, is_shelved = bool(of.suppressed_by), of.shelved_until_ms is not None
    else:
        is_suppressed, is_shelved = of.is_suppressed, of.is_shelved
    if of.is_out_of_service:
        return "G"
    if is_suppressed:
        return "F"
    if is_shelved:
        return "E"
    if of.condition is not Condition.NORMAL:
        return "C" if of.is_acked else "B"
    return "A" if of.is_acked else "D"


LETTERS: Final = {
    "A": Text(zh="正常", en="normal"),
    "B": Text(zh="未确认", en="unacknowledged"),
    "C": Text(zh="已确认", en="acknowledged"),
    "D": Text(zh="已恢复未确认", en="returned, unacknowledged"),
    "E": Text(zh="搁置", en="shelved"),
    "F": Text(zh="抑制", en="suppressed"),
    "G": Text(zh="停用", en="out of service"),
}


def is_retained(of: Alarm | Regions) -> bool:
    """True while somebody still has to do something about it: OPC UA's Retain; the ledger loads exactly these."""
    return of.condition is not Condition.NORMAL or not of.is_acked or not of.is_confirmed or of.is_chattering


def mute_state(mute: Mute) -> str:
    """Return waiting, open or over: what the record writes as a mute's state."""
    return "over" if mute.is_over else "waiting" if mute.open_until_ms is None else "open"


# ── what people may do to an alarm ──────────────────────────────────────────────────────────────

OFFICERS: Final = ("duty", "lead", "dispatcher", "supervisor", "boss")
KEEPERS: Final = ("duty", "lead", "boss", "engineer", "admin")
EVERYONE: Final = ("duty", "lead", "dispatcher", "unit", "crew", "checker", "supervisor", "boss", "engineer", "admin")


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmVerb:
    """One thing people may ask: who may, what they must say, and which letters accept it."""

    verb: str
    name: Text
    roles: tuple[str, ...]
    letters: str  # ISA letters in which the verb makes sense
    needs: tuple[str, ...] = ()
    done: str = ""  # the kind of the event it leaves


def _verb(verb: str, zh: str, en: str, roles: tuple[str, ...], letters: str, done: str, *needs: str) -> AlarmVerb:
    return AlarmVerb(verb=verb, name=Text(zh=zh, en=en), roles=roles, letters=letters, needs=needs, done=done)


ALARM_VERBS: Final = {
    v.verb: v
    for v in (
        _verb("acknowledge", "确认", "acknowledge", OFFICERS, "BD", "acknowledged"),
        _verb("unacknowledge", "撤销确认", "undo acknowledge", OFFICERS, "CA", "unacknowledged"),
        _verb("reset", "复位", "reset the latch", OFFICERS, "C", "reset", "reason"),
        _verb("shelve", "搁置", "shelve", OFFICERS, "BC", "shelved", "reason", "until_ms"),
        _verb("unshelve", "取消搁置", "unshelve", OFFICERS, "E", "unshelved"),
        _verb("out_of_service", "停用", "take out of service", KEEPERS, "ABCDEF", "out_of_service", "reason"),
        _verb("in_service", "启用", "put back in service", KEEPERS, "G", "in_service"),
        _verb("comment", "备注", "comment", EVERYONE, "ABCDEFG", "commented", "note"),
    )
}


def alarm_verbs(alarm: Alarm, role: str = "") -> tuple[str, ...]:
    """Return the verbs this alarm accepts now, of one role or of anybody; none once it needs nobody any more."""
    if not is_retained(alarm):
        return ()
    at = letter(alarm)
    latched = alarm.condition is Condition.LATCHED
    return tuple(
        v.verb
        for v in ALARM_VERBS.values()
        if at in v.letters and (not role or role in v.roles) and (v.verb != "reset" or latched)
    )


# ── work orders: 14 states, 20 transitions (domain.md 2.5; GB/T 30428's seven stages) ────────────

S = OrderState
ENDS: Final = frozenset({S.CLOSED, S.REJECTED, S.CANCELLED})
OPEN_STATES: Final = tuple(s for s in OrderState if s not in ENDS)
VERIFIED_STATES: Final = frozenset({S.FED_BACK, S.CHECKING})  # states in which the sensors are asked for proof

STATE_NAMES: Final = {
    S.REPORTED: "上报",
    S.VERIFYING: "核实",
    S.FILED: "立案",
    S.DISPATCHED: "派遣",
    S.ACCEPTED: "接单",
    S.HANDLING: "处置中",
    S.DEFERRED: "缓办",
    S.SUSPENDED: "挂账",
    S.RETURNED: "回退",
    S.FED_BACK: "处理反馈",
    S.CHECKING: "核查",
    S.CLOSED: "结案",
    S.REJECTED: "不予立案",
    S.CANCELLED: "作废",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRow:
    """One row of the table. `to` None keeps the state; `levels` says for which orders: serious is red or orange."""

    number: int  # the transition's number in domain.md 2.5
    name: Text
    verb: str
    sources: tuple[OrderState, ...]  # empty: from nothing
    to: OrderState | None
    roles: tuple[str, ...]
    done: str  # the kind of the event it leaves
    levels: str = "any"  # any | serious | ordinary
    guards: tuple[str, ...] = ()  # keys of alerts.guards.GUARDS
    needs: tuple[str, ...] = ()  # keys of alerts.guards.FIELDS
    starts: tuple[str, ...] = ()  # clocks
    stops: tuple[str, ...] = ()


def _o(
    number: int,
    zh: str,
    en: str,
    verb: str,
    sources: tuple[OrderState, ...],
    to: OrderState | None,
    roles: str,
    done: str,
    *,
    levels: str = "any",
    guards: str = "",
    needs: str = "",
    starts: str = "",
    stops: str = "",
) -> OrderRow:
    return OrderRow(
        number=number,
        name=Text(zh=zh, en=en),
        verb=verb,
        sources=sources,
        to=to,
        roles=tuple(roles.split()),
        done=done,
        levels=levels,
        guards=tuple(guards.split()),
        needs=tuple(needs.split()),
        starts=tuple(starts.split()),
        stops=tuple(stops.split()),
    )


_NEW = (S.REPORTED, S.VERIFYING)
_SENT = (S.DISPATCHED, S.ACCEPTED)
_WORK = (S.ACCEPTED, S.HANDLING)
_WAIT = (S.DEFERRED, S.SUSPENDED)
_DONE = (S.FED_BACK, S.CHECKING)
_FIXER = "crew unit"

ORDER_ROWS: Final = (
    _o(1, "上报", "report", "new", (), S.REPORTED, "system duty lead dispatcher supervisor public", "reported",
       needs="site cause", starts="T1"),
    _o(2, "核实", "verify", "verify", (S.REPORTED,), S.VERIFYING, "duty lead", "verifying", levels="ordinary",
       starts="T1b", stops="T1"),
    _o(3, "立案", "file", "file", _NEW, S.FILED, "duty lead system", "filed", starts="T2", stops="T1 T1b"),
    _o(4, "不予立案", "reject", "reject", _NEW, S.REJECTED, "duty", "rejected", levels="ordinary", needs="code"),
    _o(4, "不予立案", "reject", "reject", _NEW, S.REJECTED, "lead", "rejected", needs="code"),
    _o(5, "派遣", "dispatch", "dispatch", (S.FILED,), S.DISPATCHED, "dispatcher duty lead system", "dispatched",
       guards="is_crew", needs="team", starts="T3 T4", stops="T2"),
    _o(6, "接单", "accept", "accept", (S.DISPATCHED,), S.ACCEPTED, _FIXER, "accepted", guards="own_unit",
       starts="Tsite", stops="T3"),
    _o(7, "申请回退", "ask to return", "return", _SENT, None, _FIXER, "return_asked", guards="own_unit",
       needs="reason"),
    _o(7, "回退", "return", "return", _SENT, S.RETURNED, "lead", "returned", needs="reason", starts="T2",
       stops="T3 Tsite"),
    _o(8, "改派", "redispatch", "redispatch", (S.RETURNED,), S.DISPATCHED, "dispatcher duty lead", "redispatched",
       guards="is_crew", needs="team", starts="T3 T4", stops="T2"),
    _o(9, "到场处置", "arrive", "arrive", (S.ACCEPTED,), S.HANDLING, _FIXER, "arrived", guards="own_unit",
       stops="Tsite"),
    _o(10, "申请延期", "ask for an extension", "extend", _WORK, None, _FIXER, "extension_asked", guards="own_unit",
       needs="reason"),
    _o(10, "延期", "extend (first, preset)", "extend", _WORK, None, "lead", "extended",
       guards="before_deadline first_extension", needs="reason"),
    _o(10, "延期", "extend (second or custom)", "extend", _WORK, None, "boss", "extended",
       guards="before_deadline extensions_left", needs="reason until_ms"),
    _o(11, "缓办", "defer", "defer", _WORK, S.DEFERRED, "lead", "deferred", guards="review_within_30_d",
       needs="reason review_ms", stops="Tsite"),
    _o(12, "挂账", "suspend", "suspend", _WORK, S.SUSPENDED, "boss", "suspended", guards="review_within_90_d",
       needs="plan interim review_ms", stops="Tsite"),
    _o(13, "恢复处置", "resume", "resume", _WAIT, S.HANDLING, "dispatcher lead system", "resumed"),
    _o(14, "处理反馈", "report the repair", "report", (S.HANDLING,), S.FED_BACK, _FIXER, "fed_back",
       guards="own_unit", needs="photo_before photo_after action", starts="T5", stops="T4"),
    _o(15, "核查", "check", "check", (S.FED_BACK,), S.CHECKING, "checker", "checking", guards="not_the_fixer"),
    _o(15, "送核查", "send to check", "check", (S.FED_BACK,), S.CHECKING, "duty lead", "checking"),
    _o(16, "核查通过", "pass the check", "pass", (S.CHECKING,), None, "checker", "check_passed",
       guards="not_the_fixer evidence not_active"),
    _o(16, "结案", "close", "close", (S.CHECKING,), S.CLOSED, "checker", "closed", levels="ordinary",
       guards="not_the_fixer evidence sensor_witness", stops="T5"),
    _o(16, "结案", "close", "close", (S.CHECKING,), S.CLOSED, "lead", "closed",
       guards="not_the_fixer evidence person_witness sensor_witness", stops="T5"),
    _o(16, "两证齐全结案", "close on two witnesses", "close", (S.CHECKING,), S.CLOSED, "system", "closed",
       levels="ordinary", guards="evidence person_witness sensor_witness", stops="T5"),
    _o(17, "返工", "rework", "rework", (S.CHECKING,), S.HANDLING, "checker", "rework", guards="not_the_fixer",
       needs="reason", starts="T4", stops="T5"),
    _o(17, "自动返工", "rework, the sensors object", "rework", _DONE, S.HANDLING, "system", "rework",
       needs="reason", starts="T4", stops="T5"),
    _o(18, "作废", "cancel", "cancel", OPEN_STATES, S.CANCELLED, "lead", "cancelled", levels="ordinary",
       needs="reason"),
    _o(18, "作废", "cancel", "cancel", OPEN_STATES, S.CANCELLED, "boss", "cancelled", needs="reason"),
    _o(18, "演练结束", "end of the exercise", "cancel", OPEN_STATES, S.CANCELLED, "system", "cancelled",
       guards="is_exercise", needs="reason"),
    _o(19, "复发重开", "reopen", "reopen", (S.CLOSED,), S.FILED, "system supervisor", "reopened", guards="no_twin",
       needs="reason", starts="T2"),
    _o(20, "督办", "supervise", "supervise", OPEN_STATES, None, "system supervisor boss", "supervised",
       needs="reason"),
)  # fmt: skip
ORDER_VERBS: Final = tuple(dict.fromkeys(row.verb for row in ORDER_ROWS))
ORDER_ROLES: Final = tuple(dict.fromkeys(role for row in ORDER_ROWS for role in row.roles))


def is_serious(level: Priority) -> bool:
    """Red and orange orders need a second, higher signature."""
    return level <= Priority.P2


def _fits(row: OrderRow, level: Priority) -> bool:
    return row.levels == "any" or (row.levels == "serious") == is_serious(level)


def find_row(state: OrderState | None, verb: str, role: str, level: Priority) -> OrderRow | None:
    """Return the one row for this step, or None. `state` None asks for the birth of an order."""
    for row in ORDER_ROWS:
        here = state in row.sources if state is not None else not row.sources
        if here and row.verb == verb and role in row.roles and _fits(row, level):
            return row
    return None


def order_verbs(state: OrderState, level: Priority, role: str = "") -> tuple[str, ...]:
    """Return the verbs an order accepts now, of one role or of any person."""
    seen = dict.fromkeys(
        row.verb
        for row in ORDER_ROWS
        if state in row.sources
        and _fits(row, level)
        and (role in row.roles if role else any(r != "system" for r in row.roles))
    )
    return tuple(seen)


def refusal(order_id: str, state: OrderState, verb: str, role: str, level: Priority) -> tuple[str, str]:
    """Say why the table has no row for this step, and what is allowed; return (code, sentence)."""
    rows = [row for row in ORDER_ROWS if row.verb == verb and row.sources]
    if not rows:
        return "bad_data", f'WorkOrder {order_id}: no verb "{verb}"; there are {", ".join(ORDER_VERBS)}'
    here = [row for row in rows if state in row.sources]
    if not here:
        needs = " or ".join(dict.fromkeys(s.name for row in rows for s in row.sources))
        now = ", ".join(order_verbs(state, level)) or "nothing"
        return "not_allowed", f'WorkOrder {order_id} is {state.name}; "{verb}" needs {needs}. Allowed now: {now}'
    who = [row for row in here if _fits(row, level)] or here
    roles = " or ".join(dict.fromkeys(r for row in who for r in row.roles if r != "system")) or "the system"
    mine = ", ".join(order_verbs(state, level, role)) or "nothing"
    sentence = f'WorkOrder {order_id} ({level.colour}): "{verb}" in {state.name} needs {roles}; you are {role}.'
    return "forbidden", f"{sentence} Allowed to you now: {mine}"
