"""The orders at hand: open ones by what they stand for, lately closed ones, and who is to be looked at when.

Alarm clocks are set from an order's own data, so standing up from the ledger sets the same ones again.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Final

from alerts.people.workdays import WorkCalendar
from alerts.state import REOPEN_WITHIN_S
from citypulse.model import OrderState, WorkOrder

from .births import Trouble, trouble_of
from .sla import clocks_of, next_lamp_ms
from .table import ENDS

WAITING: Final = frozenset({OrderState.DEFERRED, OrderState.SUSPENDED})


class Caseload:
    """Work orders by id, by trouble and by time."""

    def __init__(self, calendar: WorkCalendar) -> None:
        """Nothing at hand yet."""
        self.orders: dict[str, WorkOrder] = {}
        self._calendar = calendar
        self._open: dict[Trouble, str] = {}
        self._closed: dict[Trouble, str] = {}
        self._heap: list[tuple[int, str]] = []
        self._set: set[tuple[int, str]] = set()  # what is in the heap, so that no clock is set twice

    def open_for(self, trouble: Trouble) -> WorkOrder | None:
        """Return the one open order that stands for this trouble."""
        number = self._open.get(trouble)
        return None if number is None else self.orders[number]

    def closed_for(self, trouble: Trouble) -> WorkOrder | None:
        """Return the order that was last closed for this trouble, within the relapse time."""
        return self.orders.get(self._closed.get(trouble, ""))

    def twin_of(self, order: WorkOrder) -> str:
        """Return the id of another open order for the same trouble, or ""."""
        twin = self._open.get(_trouble(order), "")
        return twin if twin != order.id else ""

    def keep(self, order: WorkOrder) -> WorkOrder:
        """Remember the newest version of an order, set its alarm clocks, and return it."""
        self.orders[order.id] = order
        trouble = _trouble(order)
        if order.state in ENDS:
            if self._open.get(trouble) == order.id:
                del self._open[trouble]
            if order.state is OrderState.CLOSED:
                self._closed[trouble] = order.id
                self.wake(order.id, order.state_ms + REOPEN_WITHIN_S * 1000 + 1)
            else:
                self.forget(order)
            return order
        self._open[trouble] = order.id
        for clock in clocks_of(order).values():
            if (at_ms := next_lamp_ms(order, clock, self._calendar)) is not None:
                self.wake(order.id, at_ms)
        review_ms = order.data.get("waiting", {}).get("review_ms")
        if order.state in WAITING and review_ms is not None:
            self.wake(order.id, review_ms)
        return order

    def forget(self, order: WorkOrder) -> None:
        """Let go of an order that has ended for good."""
        self.orders.pop(order.id, None)
        if self._closed.get(_trouble(order)) == order.id:
            del self._closed[_trouble(order)]

    def wake(self, number: str, at_ms: int) -> None:
        """Have this order looked at when `at_ms` (wall time, epoch ms) has come."""
        if (at_ms, number) not in self._set:
            self._set.add((at_ms, number))
            heapq.heappush(self._heap, (at_ms, number))

    def due(self, now_ms: int) -> Iterator[WorkOrder]:
        """Yield the orders whose alarm clocks ring, by number; clocks set meanwhile ring in a further round.

        Not in order of the clocks: a long life still has clocks that were overtaken, one after a restart has not.
        """
        while self._heap and self._heap[0][0] <= now_ms:
            ringing = set()
            while self._heap and self._heap[0][0] <= now_ms:
                entry = heapq.heappop(self._heap)
                self._set.discard(entry)
                ringing.add(entry[1])
            for number in sorted(ringing):
                order = self.orders.get(number)
                if order is not None:
                    yield order


def _trouble(order: WorkOrder) -> Trouble:
    told = order.team if order.kind == "notice" else ""
    return trouble_of(order.template, order.cause, order.asset, order.data.get("exercise", ""), told=told)
