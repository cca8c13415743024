"""Clocks of work orders: how long a step may take, what it has taken, and the lamps that light on the way.

A clock is part of its order's data, so it survives a restart as the order does and can be recomputed from the
order's events. elapsed = wall - union(pauses): only T4 pauses, while an order is deferred or suspended.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from alerts.people.workdays import WORKDAY_S, WorkCalendar
from alerts.texts import span
from citypulse.model import OrderTemplate, Priority, Text, TimeLimit, WorkOrder

M: Final = 60.0
H: Final = 3_600.0
D: Final = 86_400.0


def limit_text(limit: TimeLimit) -> str:
    """Write a limit for people: 30 min, 4 工作时 working h, 5 工作日 working d."""
    if not limit.is_work:
        return span(limit.seconds)
    days, rest = divmod(limit.seconds, WORKDAY_S)
    return f"{limit.seconds / H:.3g} 工作时 working h" if rest else f"{days:.0f} 工作日 working d"


def _natural(**limits: float) -> dict[str, TimeLimit]:
    return {name: TimeLimit(seconds=seconds) for name, seconds in limits.items()}


def _work(seconds: float) -> TimeLimit:
    return TimeLimit(seconds=seconds, is_work=True)


LIMITS: Final[dict[Priority, dict[str, TimeLimit]]] = {
    # Proposal of domain.md 2.5 (no national figure). T1 file, T1b field check, T2 dispatch, T3 sign for, Tsite be
    # there, T4 handle, T5 check. Where 2.5 gives none (T1b; Tsite of yellow and blue) the longer neighbour is used.
    # A notice is to be acknowledged within Tack (as T3 is) and closed within Tclose.
    Priority.P1: _natural(T1=M, T1b=3 * M, T2=3 * M, T3=5 * M, Tsite=15 * M, T4=2 * H, T5=2 * H, Tack=5 * M, Tclose=D),
    Priority.P2: _natural(T1=3 * M, T1b=5 * M, T2=5 * M, T3=10 * M, Tsite=30 * M, T4=4 * H, T5=4 * H, Tack=10 * M)
    | {"Tclose": _work(WORKDAY_S)},
    Priority.P3: _natural(T1=10 * M, T1b=2 * H, T2=20 * M, T3=H, Tsite=4 * H, T5=D)
    | {"T4": _work(WORKDAY_S), "Tack": _work(4 * H), "Tclose": _work(2 * WORKDAY_S)},
    Priority.P4: _natural(T1=30 * M, T1b=D, T2=H, Tsite=D, T5=2 * D)
    | {"T3": _work(4 * H), "T4": _work(5 * WORKDAY_S), "Tack": _work(WORKDAY_S), "Tclose": _work(5 * WORKDAY_S)},
}
STEP: Final = "step:"
"""Begins the names of the clocks of an order's own steps, `step:<id>`."""
REWORK_SHARE: Final = 0.5  # T4' of a rework: half the original,
REWORK_S_MAX: Final = D  # at most a day (domain.md 2.5, 17)
EXTENSION_SHARE: Final = 0.5  # the preset first extension: half the original limit
EXTENSIONS_MAX: Final = 2

LAMPS: Final = (0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5)
"""Shares of the limit at which something happens: yellow, orange, red, then five steps of the responsibility chain."""
LAMP_NAMES: Final = (
    Text(zh="黄灯", en="yellow lamp"),
    Text(zh="橙灯", en="orange lamp"),
    Text(zh="红灯", en="red lamp"),
)
RED_LAMP: Final = 2  # from this lamp on an order is under supervision
CLOCK_NAMES: Final = {
    "T1": Text(zh="立案", en="filing"),
    "T1b": Text(zh="核实", en="verifying"),
    "T2": Text(zh="派遣", en="dispatching"),
    "T3": Text(zh="接单", en="accepting"),
    "Tsite": Text(zh="到场", en="arriving"),
    "T4": Text(zh="处置", en="handling"),
    "T5": Text(zh="核查", en="checking"),
    "Tack": Text(zh="签收", en="acknowledging"),
    "Tclose": Text(zh="办结", en="closing"),
}
_CREW_CLOCKS: Final = frozenset({"T3", "Tsite", "T4", "Tack"})  # the crew's own; the others are the desk's


def clock_name(clock: str) -> Text:
    """Return what a clock measures."""
    if clock.startswith(STEP):
        return Text(zh=f"分步“{clock.removeprefix(STEP)}”", en=f"step {clock.removeprefix(STEP)!r}")
    return CLOCK_NAMES[clock]


def is_crew_clock(clock: str) -> bool:
    """True for the clocks that a crew has to meet."""
    return clock in _CREW_CLOCKS or clock.startswith(STEP)


def can_pause(clock: str) -> bool:
    """True for the clocks that stand still while an order is deferred or suspended."""
    return clock == "T4" or clock.startswith(STEP)


def limit_of(template: OrderTemplate | None, level: Priority, clock: str) -> TimeLimit:
    """Return the limit of a clock: the template's own for this level, else the built-in one."""
    own = template.timers.get(level, {}) if template is not None else {}
    return own.get(clock) or LIMITS[level][clock]


def lamp_name(step: int) -> Text:
    """Return what lamp number `step` (from 0) is called."""
    if step < len(LAMP_NAMES):
        return LAMP_NAMES[step]
    climbed = step - len(LAMP_NAMES) + 1
    return Text(zh=f"超期督办第{climbed}级", en=f"overdue, step {climbed} of the responsibility chain")


@dataclass(frozen=True, slots=True, kw_only=True)
class SlaClock:
    """One running clock of an order, in natural or working seconds.

    `paused_before_s` is the order's pause total, in the clock's own kind of time, when the clock was started;
    `other_before_s` is the same in the other kind, for a limit that changes its kind.
    """

    name: str
    start_ms: int
    limit_s: float
    is_work: bool = False
    lamps: int = 0  # how many have lit
    paused_before_s: float = 0.0
    other_before_s: float = 0.0

    def with_limit(self, limit: TimeLimit) -> SlaClock:
        """Return the clock with another limit, counted from the same start."""
        before = (self.paused_before_s, self.other_before_s)
        mine, other = before if limit.is_work == self.is_work else before[::-1]
        return replace(self, limit_s=limit.seconds, is_work=limit.is_work, paused_before_s=mine, other_before_s=other)

    def as_data(self) -> dict[str, Any]:
        """Return the clock as kept in `WorkOrder.data["clocks"]`."""
        return {
            "start_ms": self.start_ms,
            "limit_s": self.limit_s,
            "is_work": self.is_work,
            "lamps": self.lamps,
            "paused_before_s": self.paused_before_s,
            "other_before_s": self.other_before_s,
        }


def started(order: WorkOrder, name: str, allowed: TimeLimit, now_ms: int) -> SlaClock:
    """Return a clock that starts now."""
    return SlaClock(
        name=name,
        start_ms=now_ms,
        limit_s=allowed.seconds,
        is_work=allowed.is_work,
        paused_before_s=_paused_total(order, is_work=allowed.is_work),
        other_before_s=_paused_total(order, is_work=not allowed.is_work),
    )


def clocks_of(order: WorkOrder) -> dict[str, SlaClock]:
    """Return the order's running clocks by name."""
    return {name: SlaClock(name=name, **kept) for name, kept in order.data.get("clocks", {}).items()}


def with_clocks(order_data: dict[str, Any], clocks: dict[str, SlaClock]) -> dict[str, Any]:
    """Return order data in which `clocks` are the running ones."""
    return {**order_data, "clocks": {name: clock.as_data() for name, clock in clocks.items()}}


def _paused_total(order: WorkOrder, *, is_work: bool) -> float:
    return float(order.data.get("paused_work_s", 0.0)) if is_work else order.paused_s


def _between(clock: SlaClock, from_ms: int, until_ms: int, calendar: WorkCalendar) -> float:
    return calendar.worked_s(from_ms, until_ms) if clock.is_work else max(0, until_ms - from_ms) / 1000


def paused_s(order: WorkOrder, clock: SlaClock, now_ms: int, calendar: WorkCalendar) -> float:
    """Return how long this clock has stood still, in its own seconds; only T4 and the order's own steps ever do."""
    if not can_pause(clock.name):
        return 0.0
    since = order.paused_since_ms
    running = 0.0 if since is None else _between(clock, since, now_ms, calendar)
    return _paused_total(order, is_work=clock.is_work) - clock.paused_before_s + running


def elapsed_s(order: WorkOrder, clock: SlaClock, now_ms: int, calendar: WorkCalendar) -> float:
    """Return the seconds that count: those between minus the pauses, never negative."""
    ran = _between(clock, clock.start_ms, now_ms, calendar)
    return max(0.0, ran - paused_s(order, clock, now_ms, calendar))


def due_ms(order: WorkOrder, clock: SlaClock, calendar: WorkCalendar, share: float = 1.0) -> int | None:
    """Return when the clock will have used `share` of its limit, epoch ms; None while it stands still."""
    needed = clock.limit_s * share
    if can_pause(clock.name):
        if order.paused_since_ms is not None:
            return None
        needed += _paused_total(order, is_work=clock.is_work) - clock.paused_before_s
    return calendar.after_ms(clock.start_ms, needed) if clock.is_work else clock.start_ms + round(needed * 1000)


def next_lamp_ms(order: WorkOrder, clock: SlaClock, calendar: WorkCalendar) -> int | None:
    """Return when the next lamp lights, epoch ms; None when all have, or the clock stands still."""
    if clock.lamps >= len(LAMPS):
        return None
    return due_ms(order, clock, calendar, LAMPS[clock.lamps])


def lit(order: WorkOrder, clock: SlaClock, now_ms: int, calendar: WorkCalendar) -> SlaClock:
    """Return the clock with every lamp lit whose time has come."""
    lamps = clock.lamps
    # Compared in whole milliseconds, as the alarm clock was set: 180 s x 0.8 is not 144 in floating point.
    while lamps < len(LAMPS) and (at := due_ms(order, clock, calendar, LAMPS[lamps])) is not None and now_ms >= at:
        lamps += 1
    return replace(clock, lamps=lamps)


def extended(order: WorkOrder, clock: SlaClock, until_ms: int | None, now_ms: int, calendar: WorkCalendar) -> SlaClock:
    """Return the clock with its preset extension, or, if `until_ms` is given, ending exactly then.

    Lamps that are no longer due may light again.
    """
    longer = replace(clock, limit_s=clock.limit_s * (1 + EXTENSION_SHARE), lamps=0)
    if until_ms is not None:
        natural = longer.with_limit(TimeLimit(seconds=0.0))
        stood_s = order.paused_s - natural.paused_before_s
        longer = replace(natural, limit_s=(until_ms - clock.start_ms) / 1000 - stood_s)
    return lit(order, longer, now_ms, calendar)


def rework_limit(whole: TimeLimit) -> TimeLimit:
    """Return T4' of a rework: half of the original, at most a day of its own kind (24 h, or one working day)."""
    return replace(whole, seconds=min(whole.seconds * REWORK_SHARE, WORKDAY_S if whole.is_work else REWORK_S_MAX))


def lamp_sentence(order: WorkOrder, clock: SlaClock, lamp: int, now_ms: int, calendar: WorkCalendar) -> str:
    """Say which lamp has lit and why."""
    used, what, of = elapsed_s(order, clock, now_ms, calendar), lamp_name(lamp), clock_name(clock.name)
    kind = "working time, " if clock.is_work else ""
    return f"{of.en} has used {span(used)} of {span(clock.limit_s)}: {kind}{what.en} | {of.zh}{what.zh}"
