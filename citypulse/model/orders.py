"""Work orders: their templates, limits and states."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from citypulse.model.basics import Priority, Text

WORKDAY_S = 28_800.0  # a working day (工作日) has eight working hours (工作时)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeLimit:
    """How long something may take: seconds of natural time, or of working time (工作时, 工作日)."""

    seconds: float
    is_work: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderStep:
    """One of several limits in one order: its clock runs from the dispatch, or from the end of step `after`."""

    id: str
    name: Text
    within: TimeLimit
    after: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderTemplate:
    """What an order of this kind tells the crew, and where its time limits differ from the built-in ones."""

    id: str
    name: Text
    checklist: tuple[Text, ...] = ()
    safety: tuple[Text, ...] = ()
    profile: str = ""  # its milestones
    is_checklist_required: bool = False  # every item ticked before the repair can be reported
    timers: dict[Priority, dict[str, TimeLimit]] = field(default_factory=dict)  # by level, then by clock: T1 … T5
    steps: tuple[OrderStep, ...] = ()


class OrderState(Enum):
    """The fourteen resting states of a work order (GB/T 30428; domain.md 2.5)."""

    REPORTED = "reported"  # 上报
    VERIFYING = "verifying"  # 核实
    FILED = "filed"  # 立案
    DISPATCHED = "dispatched"  # 派遣
    ACCEPTED = "accepted"  # 接单
    HANDLING = "handling"  # 处置中
    DEFERRED = "deferred"  # 缓办
    SUSPENDED = "suspended"  # 挂账
    RETURNED = "returned"  # 回退
    FED_BACK = "fed_back"  # 处理反馈
    CHECKING = "checking"  # 核查
    CLOSED = "closed"  # 结案, end
    REJECTED = "rejected"  # 不予立案, end
    CANCELLED = "cancelled"  # 作废, end


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkOrder:
    """A work order: one open per (cause, asset). Times are epoch ms; `data` holds evidence references."""

    id: str  # WO-<yyyymmdd>-<serial>
    kind: str  # dispatch (must act) | notice (must acknowledge)
    state: OrderState
    cause: str  # rule id, or a manual category
    asset: str  # site id
    area: str
    domain: str
    level: Priority
    template: str
    alarm_ids: tuple[str, ...]
    watched: tuple[str, ...]  # sensor ids whose normality proves the repair
    verify_for_s: float
    coverage: float
    team: str  # crew it is dispatched to
    unit: str
    handler: str  # person who reported the repair: never the one who checks it
    opened_ms: int
    state_ms: int  # since when in this state
    due_ms: int | None  # handling deadline in force
    first_due_ms: int | None  # the original deadline, which on-time metrics use
    fed_back_ms: int | None
    checked_by: str
    rework_count: int
    recurrence_of: str
    extensions: int
    paused_s: float
    paused_since_ms: int | None
    is_supervised: bool
    is_exercise: bool
    note: str
    rev: int
    data: dict[str, Any] = field(default_factory=dict)  # evidence references, witnesses, stage clocks; JSON only
