"""The clocks of an order from its record alone: when each started, stood still and stopped, and what came of it.

`marks` writes into an event what the step did to the clocks, every elapsed and due time resolved; `replay` folds the
events back. A holiday that is edited later therefore changes no past verdict, only what is still running.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from alerts.people.workdays import WorkCalendar, when_changed
from citypulse.model import Event, OrderState, WorkOrder

from .sla import LAMPS, SlaClock, can_pause, clock_name, clocks_of, due_ms, elapsed_s
from .table import ENDS

KEY: Final = "clocks"  # in an order event's data: a list of marks
VERDICT: Final = ("original_due_ms", "is_on_time", "is_on_time_strict")
_WAITS: Final = frozenset({OrderState.DEFERRED, OrderState.SUSPENDED})


# ── writing ─────────────────────────────────────────────────────────────────────────────────────


def marks(
    before: WorkOrder | None, after: WorkOrder, now_ms: int, calendar: WorkCalendar, zone: str
) -> list[dict[str, Any]]:
    """Return what changed of the clocks between two versions of an order, resolved at `now_ms`."""
    old = clocks_of(before) if before is not None else {}
    new = clocks_of(after)
    was_paused = before is not None and before.paused_since_ms is not None
    is_paused = after.paused_since_ms is not None
    found: list[dict[str, Any]] = []
    for name, clock in old.items():
        assert before is not None  # noqa: S101 - only then are there old clocks
        if name not in new or new[name].start_ms != clock.start_ms:
            found.append(_mark("stop", before, clock, now_ms, calendar, zone))
    for name, clock in new.items():
        was = old.get(name)
        if was is None or was.start_ms != clock.start_ms:
            found.append(_mark("start", after, clock, now_ms, calendar, zone))
        elif can_pause(name) and was_paused != is_paused:
            found.append(_mark("pause" if is_paused else "resume", after, clock, now_ms, calendar, zone))
        elif (was.limit_s, was.is_work) != (clock.limit_s, clock.is_work):
            found.append(_mark("limit", after, clock, now_ms, calendar, zone))
    return found


def _mark(
    did: str, order: WorkOrder, clock: SlaClock, now_ms: int, calendar: WorkCalendar, zone: str
) -> dict[str, Any]:
    mark: dict[str, Any] = {
        "clock": clock.name,
        "did": did,
        "start_ms": clock.start_ms,
        "limit_s": clock.limit_s,
        "is_work": clock.is_work,
        "due_ms": due_ms(order, clock, calendar),
        "elapsed_s": elapsed_s(order, clock, now_ms, calendar),
    }
    return mark | {"zone": zone} if clock.is_work else mark


def verdict(order: WorkOrder, now_ms: int) -> dict[str, Any]:
    """Return the original deadline, and whether a report at `now_ms` keeps it: what on-time figures count.

    Pauses have moved it; extensions and reworks have not. Strictly it is kept only where no pause was needed for that.
    """
    due = order.data.get("original", {}).get("due_ms", order.first_due_ms)
    if due is None:
        return {}
    strict = due if order.first_due_ms is None else min(due, order.first_due_ms)
    return {"original_due_ms": due, "is_on_time": now_ms <= due, "is_on_time_strict": now_ms <= strict}


# ── reading ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of one clock. Seconds are of the clock's own kind; `as_of_ms` is when `elapsed_s` was resolved.

    due_ms: None while it stands still · stopped_ms: None while it runs · lamps: how many have lit.
    """

    clock: str
    start_ms: int
    limit_s: float
    is_work: bool
    due_ms: int | None
    elapsed_s: float
    as_of_ms: int
    is_paused: bool = False
    stopped_ms: int | None = None
    lamps: int = 0
    zone: str = ""

    @property
    def is_breached(self) -> bool:
        """True when it took longer than allowed; exactly at the deadline is in time."""
        if self.due_ms is not None:
            return self.as_of_ms > self.due_ms
        return self.elapsed_s > self.limit_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A stay in one state; `until_ms` is None for the present one, unless it is an end."""

    state: OrderState
    from_ms: int
    until_ms: int | None = None


@dataclass(slots=True, kw_only=True)
class Course:
    """What the record says of one order, in order of time."""

    order: str
    stages: list[Stage] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    reports: list[dict[str, Any]] = field(default_factory=list)  # at_ms, original_due_ms, is_on_time of each report
    at_hand: dict[str, int] = field(default_factory=dict)  # clock → place in `runs` of the one that runs now

    @property
    def is_on_time(self) -> bool | None:
        """Whether the last report came by the original deadline; None before the first, or where there is none."""
        return self.reports[-1].get("is_on_time") if self.reports else None

    @property
    def is_on_time_strict(self) -> bool | None:
        """The same by the deadline as it stood before any pause."""
        return self.reports[-1].get("is_on_time_strict") if self.reports else None

    def paused_s(self, now_ms: int) -> float:
        """Return how long it was deferred or suspended, natural seconds."""
        return sum(
            ((s.until_ms if s.until_ms is not None else now_ms) - s.from_ms) / 1000
            for s in self.stages
            if s.state in _WAITS
        )

    def running(self) -> list[Run]:
        """Return the runs that have not stopped."""
        return [self.runs[i] for i in self.at_hand.values()]


def replay(events: Iterable[Event]) -> Course:
    """Fold the events of ONE order, in order of the record."""
    course: Course | None = None
    for event in events:
        if course is None:
            course = Course(order=event.subject)
        _fold(course, event)
    if course is None:
        raise ValueError("an order has at least the event of its report; there is none here")
    return course


def _fold(course: Course, event: Event) -> None:
    at_ms, state = event.wall_ms, OrderState(event.to_state)
    if not course.stages or course.stages[-1].state is not state:
        if course.stages:  # an end that was reopened lasted until then
            course.stages[-1] = replace(course.stages[-1], until_ms=at_ms)
        course.stages.append(Stage(state=state, from_ms=at_ms, until_ms=at_ms if state in ENDS else None))
    for mark in event.data.get(KEY, ()):
        _take(course, mark, at_ms)
    if event.kind == "fed_back":
        found: dict[str, Any] = {k: event.data[k] for k in VERDICT if k in event.data}
        course.reports.append({"at_ms": at_ms, **found})
    clock, lamp = event.data.get("clock"), event.data.get("lamp")
    if isinstance(clock, str) and isinstance(lamp, int) and clock in course.at_hand:
        index = course.at_hand[clock]
        course.runs[index] = replace(course.runs[index], lamps=lamp + 1)


def _take(course: Course, mark: dict[str, Any], at_ms: int) -> None:
    name, did = str(mark["clock"]), mark["did"]
    lamps = 0
    if name in course.at_hand and did in {"pause", "resume", "stop"}:  # a new limit lights its lamps anew
        lamps = course.runs[course.at_hand[name]].lamps
    run = Run(
        clock=name,
        start_ms=mark["start_ms"],
        limit_s=mark["limit_s"],
        is_work=mark["is_work"],
        due_ms=mark["due_ms"],
        elapsed_s=mark["elapsed_s"],
        as_of_ms=at_ms,
        is_paused=did == "pause",
        stopped_ms=at_ms if did == "stop" else None,
        lamps=lamps,
        zone=mark.get("zone", ""),
    )
    if did == "start":
        course.at_hand[name] = len(course.runs)
        course.runs.append(run)
    elif name in course.at_hand:
        course.runs[course.at_hand[name]] = run
        if did == "stop":
            del course.at_hand[name]


def at(run: Run, now_ms: int) -> Run:
    """Return the run as it stands at `now_ms`; one that stopped or stands still is returned as it is."""
    if run.stopped_ms is not None or run.is_paused or now_ms <= run.as_of_ms:
        return run
    natural_s = (now_ms - run.as_of_ms) / 1000
    more = _calendar(run.zone).worked_s(run.as_of_ms, now_ms) if run.is_work else natural_s
    return replace(run, elapsed_s=run.elapsed_s + more, as_of_ms=now_ms)


@lru_cache(maxsize=16)
def _calendar(zone: str) -> WorkCalendar:
    return WorkCalendar(ZoneInfo(zone))


when_changed(_calendar.cache_clear)


# ── for people ──────────────────────────────────────────────────────────────────────────────────


def clocks_view(events: Sequence[Event], now_ms: int) -> dict[str, Any]:
    """Return an order's clocks, stages and verdicts at `now_ms`, ready for JSON: what the API and the CLI show."""
    course = replay(events)
    return {
        "clocks": [_run_view(at(run, now_ms)) for run in course.runs],
        "stages": [
            {
                "state": s.state.value,
                "from_ms": s.from_ms,
                "until_ms": s.until_ms,
                "seconds": ((s.until_ms if s.until_ms is not None else now_ms) - s.from_ms) / 1000,
            }
            for s in course.stages
        ],
        "reports": course.reports,
        "paused_s": course.paused_s(now_ms),
        "is_on_time": course.is_on_time,
    }


def _run_view(run: Run) -> dict[str, Any]:
    name = clock_name(run.clock)
    return {
        "clock": run.clock,
        "name": {"zh": name.zh, "en": name.en},
        "start_ms": run.start_ms,
        "limit_s": run.limit_s,
        "is_work": run.is_work,
        "due_ms": run.due_ms,
        "elapsed_s": run.elapsed_s,
        "is_paused": run.is_paused,
        "stopped_ms": run.stopped_ms,
        "is_breached": run.is_breached,
        "lamps": run.lamps,
        "lamps_of": len(LAMPS),
    }
