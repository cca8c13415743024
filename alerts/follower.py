"""A desk that follows alarms and nothing else: for what-ifs, which count no orders and tell nobody.

It takes the same steps through the same tables as `Desk.receive`; what it leaves out (notices, orders, drills, the
record's lines) cannot change when an alarm begins, ends or what it hides (tests/backtest/test_what_if.py). Readings
come in large portions: each is grouped by sensor once, not once a transition.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from alerts.people.escalation import Escalation
from citypulse.model import Alarm, CityConfig, Effects, ReadingBatch, SensorTable, Transition

from .desk import Desk
from .pen import Pen
from .rounds import Rounds


class _Sketch(Pen):
    """A pen that writes versions of alarms, and no lines of the record."""

    __slots__ = ()

    def _event(self, *_: object) -> None:
        return


class _Nobody(Escalation):
    """No chain of people: nobody waits to be reminded."""

    def next_call_ms(self, alarm: Alarm) -> int | None:  # noqa: ARG002 - whatever alarm
        return None


class Follower(Desk):
    """Alarms as `Desk` would have them, where nobody acts. Begin a portion, follow its transitions, end it."""

    def __init__(self, config: CityConfig, table: SensorTable) -> None:
        """Begin in a city where nothing has happened."""
        rules = tuple(replace(rule, order=None) for rule in config.rules)
        super().__init__(replace(config, routes=(), rules=rules), table)
        self._rounds = Rounds(self, config.alarms, _Nobody(config), self._caller, self._chatter)

    def begin(self, batch: ReadingBatch, transitions: Sequence[Transition]) -> None:
        """Take a portion's readings, and all the transitions that came of it: which will be followed in order."""
        self._peaks.begin(batch)
        self._peaks.expect((t.rule, t.scope) for t in transitions)

    def follow(self, transitions: Iterable[Transition], now_ms: int) -> Effects:
        """Take the portion's next transitions at wall time `now_ms`; return the alarms they changed."""
        pen = _Sketch(now_ms=now_ms, collector=None)
        for transition in transitions:
            self._take(pen, transition)
        self._muting.ring(pen)
        self._rounds.ring(pen)
        return pen.effects

    def end(self, now_ms: int) -> Effects:
        """Let active alarms see the whole portion; return those that have seen worse."""
        pen = _Sketch(now_ms=now_ms, collector=None)
        self._peaks.fold(pen, self.alarms)
        return pen.effects
