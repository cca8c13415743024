"""What becomes due for an alarm by time alone: the end of a shelf, calm after chatter, a re-alarm, a reminder.

The clocks are computed from the alarms themselves and from the `alarms:` section, so that a restart or a changed
configuration neither forgets nor repeats anything.
"""

from __future__ import annotations

import heapq
from typing import Any, Protocol

from alerts.people.escalation import Escalation
from citypulse.model import Alarm, AlarmPlan

from .announce import AlarmCaller
from .chatter import Chatter, settle_ms
from .pen import Pen
from .routes import NoticeReason
from .shelves import ask_again, realarm_ms, shelf_warn_ms
from .texts import span


class Desk(Protocol):
    """What the rounds need of the desk."""

    alarms: dict[str, Alarm]

    def step(self, pen: Pen, alarm: Alarm, event: str, kind: str, why: str, **more: Any) -> Alarm:
        """Move an alarm by the table and write it."""
        ...

    def uncover(self, pen: Pen, alarm: Alarm, event: str, kind: str, why: str, **more: Any) -> Alarm:
        """End an overlay, re-announcing what is still active."""
        ...

    def want(self, alarm: Alarm, reason: NoticeReason) -> None:
        """Have an alarm told of at the end of this change."""
        ...

    def keep(self, alarm: Alarm) -> Alarm:
        """Remember an alarm's newest version."""
        ...


class Rounds:
    """The alarm clocks of all retained alarms."""

    def __init__(
        self, desk: Desk, plan: AlarmPlan, escalation: Escalation, caller: AlarmCaller, chatter: Chatter
    ) -> None:
        """No clock is set yet."""
        self._desk, self._plan, self._chatter = desk, plan, chatter
        self._escalation, self._caller = escalation, caller
        self._heap: list[tuple[int, str]] = []

    def keep(self, alarm: Alarm) -> None:
        """Set the clocks of an alarm's newest version; those of older ones find nothing to do."""
        terms = self._plan.terms(alarm.rule, alarm.domain, alarm.level)
        for at_ms in (
            alarm.shelved_until_ms,
            alarm.service_until_ms,
            self._escalation.next_call_ms(alarm),
            shelf_warn_ms(alarm, terms),
            settle_ms(alarm, terms),
            realarm_ms(alarm, terms),
        ):
            if at_ms is not None:
                heapq.heappush(self._heap, (at_ms, alarm.id))

    def ring(self, pen: Pen) -> None:
        """Do all that is due."""
        alarms = self._desk.alarms
        while self._heap and self._heap[0][0] <= pen.now_ms:
            ringing = set()
            while self._heap and self._heap[0][0] <= pen.now_ms:
                ringing.add(heapq.heappop(self._heap)[1])
            # Not in order of the clocks: a long life has overtaken ones among them, one after a restart has not.
            found = [alarms[number] for number in ringing if number in alarms]
            for alarm in sorted(found, key=lambda a: (a.raised_wall_ms, a.id)):
                if alarm.id in alarms:
                    self._look_at(pen, alarms[alarm.id])

    def _look_at(self, pen: Pen, alarm: Alarm) -> None:
        """Do what is due for one alarm; what is due after that has a clock of its own by now."""
        terms = self._plan.terms(alarm.rule, alarm.domain, alarm.level)
        if alarm.shelved_until_ms is not None and alarm.shelved_until_ms <= pen.now_ms:
            self._desk.uncover(pen, alarm, "unshelve", "unshelved", "the shelf has ended | 搁置到期",
                               event_ms=alarm.shelved_until_ms, changes={"shelved_until_ms": None})  # fmt: skip
        elif alarm.service_until_ms is not None and alarm.service_until_ms <= pen.now_ms:
            self._desk.uncover(pen, alarm, "in_service", "in_service", "the time out of service is over | 停用到期",
                               event_ms=alarm.service_until_ms,
                               changes={"is_out_of_service": False, "service_until_ms": None})  # fmt: skip
        elif (due_ms := settle_ms(alarm, terms)) is not None and due_ms <= pen.now_ms:
            self._chatter.settle(pen, alarm, f"quiet for {span(terms.quiet_s)}")
        elif (due_ms := realarm_ms(alarm, terms)) is not None and due_ms <= pen.now_ms:
            ask_again(self._desk, pen, alarm, due_ms)
        elif (due_ms := self._escalation.next_call_ms(alarm)) is not None and due_ms <= pen.now_ms:
            self._remind(pen, alarm)
        elif (due_ms := shelf_warn_ms(alarm, terms)) is not None and due_ms <= pen.now_ms:
            self._desk.keep(self._caller.warn_of_shelf(pen, alarm))

    def _remind(self, pen: Pen, alarm: Alarm) -> None:
        waited_s = (pen.now_ms - alarm.called_ms) / 1000
        step = self._escalation.steps_passed(alarm, pen.now_ms)
        why = f"not acknowledged for {span(waited_s)}: reminder {step} | {span(waited_s)} 未确认, 第{step}次催办"
        new = pen.alarm(alarm, "reminded", why, data={"step": step}, changes={"reminded": step})
        self._desk.keep(self._caller.remind(pen, new, since=alarm.reminded))
