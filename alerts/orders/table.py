"""Every state of a work order and every step between them: 14 states, 20 transitions (domain.md 2.5), as tables.

A dispatch order must be acted on and proven; a notice (抄告) must only be acknowledged and has a short table of its
own. Nothing else changes an order's state. GB/T 30428.8 names the stages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from citypulse.model import OrderState, Priority, Text

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
_SENDERS = "duty lead dispatcher supervisor boss"

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
    _o(6, "接单", "accept", "accept", (S.DISPATCHED,), S.ACCEPTED, _FIXER, "accepted",
       guards="own_unit acted_after_dispatch", starts="Tsite", stops="T3"),
    _o(7, "申请回退", "ask to return", "return", _SENT, None, _FIXER, "return_asked", guards="own_unit",
       needs="reason"),
    _o(7, "回退", "return", "return", _SENT, S.RETURNED, "lead", "returned", needs="reason", starts="T2",
       stops="T3 Tsite"),
    _o(8, "改派", "redispatch", "redispatch", (S.RETURNED,), S.DISPATCHED, "dispatcher duty lead", "redispatched",
       guards="is_crew", needs="team", starts="T3 T4", stops="T2"),
    _o(9, "到场处置", "arrive", "arrive", (S.ACCEPTED,), S.HANDLING, _FIXER, "arrived",
       guards="own_unit acted_after_dispatch", needs="position", stops="Tsite"),
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
       guards="own_unit acted_after_dispatch checklist_done steps_done", needs="photo_before photo_after action",
       starts="T5", stops="T4"),
    _o(14, "勾选检查项", "tick an item", "tick", _WORK, None, _FIXER, "ticked",
       guards="own_unit is_item", needs="item"),
    _o(14, "完成分步", "finish a step", "finish", _WORK, None, _FIXER, "step_finished", guards="own_unit is_open_step",
       needs="step"),
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
NOTICE_ROWS: Final = (  # 抄告: numbered as the like step of a dispatch order; nothing is proven, so nothing is reopened
    _o(1, "抄告", "send a notice", "new", (), S.DISPATCHED, _SENDERS, "sent", guards="is_crew", needs="site cause team",
       starts="Tack"),
    _o(6, "已读", "read", "read", (S.DISPATCHED,), None, _FIXER, "read", guards="own_unit acted_after_dispatch"),
    _o(6, "签收", "acknowledge", "acknowledge", (S.DISPATCHED,), S.ACCEPTED, _FIXER, "acknowledged",
       guards="own_unit acted_after_dispatch", starts="Tclose", stops="Tack"),
    _o(16, "办结", "close", "close", (S.ACCEPTED,), S.CLOSED, _SENDERS, "closed",
       stops="Tclose"),
    _o(18, "撤回", "withdraw", "cancel", _SENT, S.CANCELLED, "lead boss", "cancelled", needs="reason"),
    _o(20, "督办", "supervise", "supervise", _SENT, None, "system supervisor boss", "supervised", needs="reason"),
)  # fmt: skip
TABLES: Final = {"dispatch": ORDER_ROWS, "notice": NOTICE_ROWS}
"""By `WorkOrder.kind`."""
ORDER_VERBS: Final = tuple(dict.fromkeys(row.verb for row in ORDER_ROWS))
NOTICE_VERBS: Final = tuple(dict.fromkeys(row.verb for row in NOTICE_ROWS))
ORDER_ROLES: Final = tuple(dict.fromkeys(role for row in ORDER_ROWS for role in row.roles))


def is_serious(level: Priority) -> bool:
    """Red and orange orders need a second, higher signature."""
    return level <= Priority.P2


def _fits(row: OrderRow, level: Priority) -> bool:
    return row.levels == "any" or (row.levels == "serious") == is_serious(level)


def find_row(
    state: OrderState | None, verb: str, role: str, level: Priority, kind: str = "dispatch"
) -> OrderRow | None:
    """Return the one row for this step, or None. `state` None asks for the birth of an order."""
    for row in TABLES[kind]:
        here = state in row.sources if state is not None else not row.sources
        if here and row.verb == verb and role in row.roles and _fits(row, level):
            return row
    return None


def order_verbs(state: OrderState, level: Priority, role: str = "", kind: str = "dispatch") -> tuple[str, ...]:
    """Return the verbs an order accepts now, of one role or of any person."""
    seen = dict.fromkeys(
        row.verb
        for row in TABLES[kind]
        if state in row.sources
        and _fits(row, level)
        and (role in row.roles if role else any(r != "system" for r in row.roles))
    )
    return tuple(seen)


def refusal(
    order_id: str, state: OrderState, verb: str, role: str, level: Priority, kind: str = "dispatch"
) -> tuple[str, str]:
    """Say why the table has no row for this step, and what is allowed; return (code, sentence)."""
    rows = [row for row in TABLES[kind] if row.verb == verb and row.sources]
    if not rows:
        verbs = dict.fromkeys(row.verb for row in TABLES[kind])
        return "bad_data", f'工单 WorkOrder {order_id}: 没有此步骤 no verb "{verb}"; there are {", ".join(verbs)}'
    here = [row for row in rows if state in row.sources]
    if not here:
        needs = " or ".join(dict.fromkeys(s.name for row in rows for s in row.sources))
        now = ", ".join(order_verbs(state, level, "", kind)) or "无 nothing"
        at = f"工单 WorkOrder {order_id} 现为{STATE_NAMES[state]} is {state.name}"
        return "not_allowed", f'{at}; "{verb}" 须在 needs {needs}. 现在可做 Allowed now: {now}'
    who = [row for row in here if _fits(row, level)] or here
    roles = " or ".join(dict.fromkeys(r for row in who for r in row.roles if r != "system")) or "系统 the system"
    mine = ", ".join(order_verbs(state, level, role, kind)) or "无 nothing"
    head = f"工单 WorkOrder {order_id} ({level.colour})"
    sentence = f'{head}: "{verb}" in {state.name} 须由 needs {roles}; 您是 you are {role}.'
    return "forbidden", f"{sentence} 您现在可做 Allowed to you now: {mine}"
