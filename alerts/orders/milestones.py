"""Milestones of an order: what its template's profile asks it to have reached, by when, and who is told if it has not.

A milestone has no meaning but what the configuration gives it. What became of each is kept in the order's own data,
so a restart neither forgets one nor tells of it twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from alerts.people.workdays import WorkCalendar
from citypulse.model import CityConfig, Milestone, WorkOrder

MET: Final = "met"
MISSED: Final = "missed"
KEY: Final = "milestones"  # in WorkOrder.data: {id: met | missed}


class Milestones:
    """The profiles of one configuration, seen from its orders."""

    def __init__(self, config: CityConfig, calendar: WorkCalendar) -> None:
        """Find each template's profile."""
        self._calendar = calendar
        self._of_template: dict[str, tuple[Milestone, ...]] = {
            template.id: config.profiles[template.profile].milestones
            for template in config.templates.values()
            if template.profile
        }

    def due_ms(self, order: WorkOrder, milestone: Milestone) -> int:
        """Return when the milestone has to have been reached, epoch ms."""
        if milestone.is_work:
            return self._calendar.after_ms(order.opened_ms, milestone.within_s)
        return order.opened_ms + round(milestone.within_s * 1000)

    def open(self, order: WorkOrder) -> tuple[Milestone, ...]:
        """Return the milestones neither met nor missed yet, in the order of the file."""
        kept = order.data.get(KEY, {})
        return tuple(m for m in self._of_template.get(order.template, ()) if m.id not in kept)

    def next_ms(self, order: WorkOrder) -> int | None:
        """Return when the next open milestone is due, epoch ms; None when none is open."""
        return min((self.due_ms(order, m) for m in self.open(order)), default=None)

    def missed(self, order: WorkOrder, now_ms: int) -> tuple[Milestone, ...]:
        """Return the open milestones whose time has come."""
        return tuple(m for m in self.open(order) if self.due_ms(order, m) <= now_ms)

    def reached(self, order: WorkOrder, done: str) -> Mapping[str, Any]:
        """Return the order's data after the step `done`: the open milestones it reaches are met."""
        met = [m.id for m in self.open(order) if done in m.reached]
        return order.data if not met else marked(order, dict.fromkeys(met, MET))


def marked(order: WorkOrder, marks: Mapping[str, str]) -> dict[str, Any]:
    """Return the order's data with these milestones marked."""
    return {**order.data, KEY: {**order.data.get(KEY, {}), **marks}}
