"""Which active alarm hides which other (inhibition), and which silences hang over which places.

A parent is an alarm of a rule named in `Rule.inhibited_by` that is active on the same sensor, site or gateway, or the
cause a transition itself names. What is hidden is listed with its cause and comes out when the cause ends; a red
gas alarm is never hidden. Two alarms never hide each other.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar

from citypulse.model import Alarm, Condition, Priority

from .facts import Atlas

Live = Callable[[str], Alarm | None]
K = TypeVar("K", bound=Hashable)


class Hiding:
    """Indexes over retained alarms: by place, and by what hides them. Every list it gives is sorted."""

    def __init__(self, atlas: Atlas) -> None:
        """Nothing hides anything yet."""
        self._atlas = atlas
        self._parents = {name for rule in atlas.rules.values() for name in rule.inhibited_by}
        self._at: dict[tuple[str, str], set[str]] = {}  # (parent rule, place) → dedup keys active there
        self._waiting: dict[tuple[str, str], set[str]] = {}  # (parent rule, place) → ids it would hide
        self._named: dict[str, set[str]] = {}  # dedup key named as parent → ids
        self._children: dict[str, set[str]] = {}  # cause → ids hidden by it now
        self._behind: dict[str, tuple[str, ...]] = {}  # id → causes it hides behind

    def may_hide(self, alarm: Alarm) -> bool:
        """False for what must always be seen: gas at the red level."""
        return not (alarm.domain == "gas" and alarm.level is Priority.P1)

    def hidden_by(self, alarm: Alarm, live: Live) -> tuple[str, ...]:
        """Return the keys of active alarms that hide this one."""
        if not self.may_hide(alarm):
            return ()
        keys = {alarm.parent} if alarm.parent else set()
        for place in self._waits_at(alarm):
            keys |= self._at.get(place, set())
        return tuple(k for k in sorted(keys) if k != alarm.dedup_key and _is_over(k, alarm, live))

    def candidates(self, parent: Alarm) -> list[str]:
        """Return the ids of active alarms that this new parent may hide."""
        found = set(self._named.get(parent.dedup_key, ()))
        for place in self._stands_at(parent):
            found |= self._waiting.get(place, set())
        return sorted(found - {parent.id})

    def children(self, cause: str) -> list[str]:
        """Return the ids of alarms hidden by `cause` now."""
        return sorted(self._children.get(cause, ()))

    def keep(self, alarm: Alarm, *, is_retained: bool) -> None:
        """Take note of an alarm's newest version."""
        is_active = is_retained and alarm.condition is Condition.ACTIVE
        for place in self._stands_at(alarm):
            _set(self._at, place, alarm.dedup_key, is_there=is_active)
        for place in self._waits_at(alarm):
            _set(self._waiting, place, alarm.id, is_there=is_active)
        if alarm.parent:
            _set(self._named, alarm.parent, alarm.id, is_there=is_active)
        for cause in self._behind.pop(alarm.id, ()):
            _set(self._children, cause, alarm.id, is_there=False)
        if is_retained and alarm.suppressed_by:
            self._behind[alarm.id] = alarm.suppressed_by
            for cause in alarm.suppressed_by:
                _set(self._children, cause, alarm.id, is_there=True)

    def _stands_at(self, alarm: Alarm) -> list[tuple[str, str]]:
        if alarm.rule not in self._parents:
            return []
        return [(alarm.rule, place) for place in dict.fromkeys((alarm.scope, alarm.site)) if place]

    def _waits_at(self, alarm: Alarm) -> list[tuple[str, str]]:
        rule = self._atlas.rule_of(alarm)
        if rule is None or not rule.inhibited_by:
            return []
        gateways = self._atlas.gateways_of(self._atlas.watched(alarm.rule, alarm.scope))
        places = [p for p in dict.fromkeys((alarm.scope, alarm.site, *gateways)) if p]
        return [(name, place) for name in rule.inhibited_by for place in places]


def _is_over(key: str, child: Alarm, live: Live) -> bool:
    parent = live(key)
    if parent is None or parent.condition is not Condition.ACTIVE:
        return False
    seen: set[str] = set()
    todo = list(parent.suppressed_by)
    while todo:  # a parent that hides behind the child cannot hide it: something has to be seen
        cause = todo.pop()
        if cause == child.dedup_key:
            return False
        above = live(cause)
        if cause not in seen and above is not None:
            seen.add(cause)
            todo.extend(above.suppressed_by)
    return True


def _set(index: dict[K, set[str]], key: K, member: str, *, is_there: bool) -> None:
    if is_there:
        index.setdefault(key, set()).add(member)
    elif key in index:
        index[key].discard(member)
        if not index[key]:
            del index[key]
