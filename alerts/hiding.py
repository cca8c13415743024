"""Which active alarm hides which other (inhibition): declared causes, how far each reaches, and what is hidden now.

A parent is an alarm of a rule named in `Rule.inhibited_by` that is active within the declared reach - the same sensor,
site, gateway or area, a site upstream, a site near by - or the cause a transition itself names. What is hidden is
listed with its cause and comes out when the cause ends; a red gas alarm is never hidden. No circle of alarms hides
itself: of every chain of causes the first is seen. Like does not hide like, except down a river.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final, TypeVar

from citypulse.model import Alarm, Condition, Inhibition, InhibitScope, Priority

from .facts import Atlas
from .reach import Reach

Live = Callable[[str], Alarm | None]
K = TypeVar("K", bound=Hashable)
Place = tuple[str, str, str, str]
"""(rule of the cause, drill or "", kind of place, id): where a cause stands, and where an effect looks for it."""

_PLACE, _SCOPE, _SITE, _GATEWAY, _AREA = "place", "scope", "site", "gateway", "area"
STANDS: Final = {  # the kind of place at which the cause of each scope is looked for
    InhibitScope.PLACE: _PLACE,
    InhibitScope.SENSOR: _SCOPE,
    InhibitScope.SITE: _SITE,
    InhibitScope.GATEWAY: _GATEWAY,
    InhibitScope.AREA: _AREA,
    InhibitScope.UPSTREAM: _SITE,
    InhibitScope.NEAR: _SITE,
}


class Hiding:
    """Indexes over retained alarms: by place, and by what hides them. Every list it gives is sorted."""

    def __init__(self, atlas: Atlas) -> None:
        """Nothing hides anything yet."""
        self._atlas = atlas
        self._reach = Reach(atlas.config.sites)
        self._parents: dict[str, set[str]] = {}  # rule of a cause → kinds of place it is looked for at
        for rule in atlas.config.rules:
            for cause in rule.inhibited_by:
                self._parents.setdefault(cause.rule, set()).add(STANDS[cause.scope])
        self._places: dict[tuple[str, str], tuple[tuple[str, str, str], ...]] = {}  # by (rule, scope) of an effect
        self._at: dict[Place, set[str]] = {}  # dedup keys active there
        self._waiting: dict[Place, set[str]] = {}  # ids a cause there would hide
        self._named: dict[str, set[str]] = {}  # dedup key named as parent → ids
        self._children: dict[str, set[str]] = {}  # cause → ids hidden by it now
        self._known: dict[str, tuple[bool, tuple[str, ...]]] = {}  # id → (active, causes it hides behind) as indexed

    def may_hide(self, alarm: Alarm) -> bool:
        """False for what must always be seen: gas at the red level."""
        return not (alarm.domain == "gas" and alarm.level is Priority.P1)

    def hidden_by(self, alarm: Alarm, live: Live) -> tuple[str, ...]:
        """Return the keys of active alarms that hide this one."""
        if not self.may_hide(alarm):
            return ()
        keys = {alarm.parent} if alarm.parent else set()
        if self._at:
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
        behind = alarm.suppressed_by if is_retained else ()
        was_active, was_behind = self._known.get(alarm.id, (False, ()))
        if is_active is not was_active:
            for place in self._stands_at(alarm):
                _set(self._at, place, alarm.dedup_key, is_there=is_active)
            for place in self._waits_at(alarm):
                _set(self._waiting, place, alarm.id, is_there=is_active)
            if alarm.parent:
                _set(self._named, alarm.parent, alarm.id, is_there=is_active)
        if behind != was_behind:
            for cause in was_behind:
                _set(self._children, cause, alarm.id, is_there=False)
            for cause in behind:
                _set(self._children, cause, alarm.id, is_there=True)
        if is_active or behind:
            self._known[alarm.id] = (is_active, behind)
        else:
            self._known.pop(alarm.id, None)

    def _stands_at(self, alarm: Alarm) -> list[Place]:
        kinds = self._parents.get(alarm.rule)
        if kinds is None:
            return []
        found: dict[Place, None] = {}
        for kind in sorted(kinds):
            for place in self._ids_of(alarm, kind):
                found[alarm.rule, alarm.exercise, kind, place] = None
        return list(found)

    def _ids_of(self, alarm: Alarm, kind: str) -> tuple[str, ...]:
        if kind == _PLACE:
            return tuple(p for p in (alarm.scope, alarm.site) if p)
        if kind == _GATEWAY:
            own = (alarm.scope,) if alarm.scope in self._atlas.config.gateways else ()
            return own or self._atlas.gateways_of(self._atlas.watched(alarm.rule, alarm.scope))
        one = {_SCOPE: alarm.scope, _SITE: alarm.site, _AREA: alarm.area}[kind]
        return (one,) if one else ()

    def _waits_at(self, alarm: Alarm) -> list[Place]:
        key = (alarm.rule, alarm.scope)
        places = self._places.get(key)
        if places is None:
            rule = self._atlas.rule_of(alarm)
            causes = rule.inhibited_by if rule is not None else ()
            looked = {p: None for cause in causes for p in self._looks_at(alarm, cause)}
            places = self._places[key] = tuple(looked)
        return [(rule_id, alarm.exercise, kind, place) for rule_id, kind, place in places]

    def _looks_at(self, alarm: Alarm, cause: Inhibition) -> list[tuple[str, str, str]]:
        scope, name = cause.scope, cause.rule
        if name == alarm.rule and scope is not InhibitScope.UPSTREAM:
            return []  # like does not hide like: two alarms of one rule are two facts, unless water runs between them
        gateways = self._atlas.gateways_of(self._atlas.watched(alarm.rule, alarm.scope))
        ids: tuple[str, ...]
        if scope is InhibitScope.PLACE:
            ids = (alarm.scope, alarm.site, *gateways)
        elif scope is InhibitScope.GATEWAY:
            ids = gateways
        elif scope is InhibitScope.UPSTREAM:
            ids = self._reach.upstream(alarm.site)
        elif scope is InhibitScope.NEAR:
            ids = self._reach.near(alarm.site, cause.within_m)
        else:
            ids = self._ids_of(alarm, STANDS[scope])
        return [(name, STANDS[scope], place) for place in ids if place]


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
