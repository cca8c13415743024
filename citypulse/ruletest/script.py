"""From a checked file of rule tests to tests that can run: every name in it is known, or a problem at its place.

Actors: `by: duty` is somebody of that role; `by: Chen, checker` has a name, `by: Ada, crew, pumps` a unit as well.
A crew without a unit belongs to the unit the order was given to.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from alerts.lifecycle import ALARM_VERBS, EVERYONE
from alerts.orders.table import ORDER_ROLES, ORDER_VERBS
from citypulse.config.nodes import Listing, Node, Report, Table, did_you_mean, walk
from citypulse.model import CityConfig, NoticeKind, OrderState, Priority, SensorTable
from rules.ruletest import (
    ALARM_WORDS,
    START_MS,
    Expectation,
    RuleTest,
    RuleTestError,
    Series,
    Step,
    Told,
    read_duration,
    read_offset,
    read_series,
)

from .commands import ALARM_NAMES, MUTE_VERBS, TERMS, alarm_data, instant, mute_data, mute_role, named_mutes
from .shape import SYNONYMS, ExpectIn, StepIn, TestIn
from .stage import ORDER_DATA

_COLOURS: Final = {p.colour: p for p in Priority}
_LEVELS: Final = (*_COLOURS, "normal")
_VERBS: Final = (
    *("ack", "unack", "reset", "shelve", "unshelve", "out_of_service", "in_service", "comment"),
    *("mute", "window", "extend", "unmute", "repair", "confirm"),
    *("order", "command", "restart", "reload", "offline", "online"),
)
_ROLES: Final = {"reset": "lead", "out_of_service": "lead", "in_service": "lead"}
_ORDER_ROLES: Final = {
    "accept": "crew", "arrive": "crew", "report": "crew", "return": "crew", "extend": "crew", "check": "checker",
    "pass": "checker", "close": "checker", "rework": "checker", "dispatch": "dispatcher", "redispatch": "dispatcher",
}  # fmt: skip
_KINDS: Final = tuple(kind.value for kind in NoticeKind)
_ORDERS: Final = ("none", *(state.value for state in OrderState))
_VERBS_OF_ALARMS: Final = ("none", *({v: k for k, v in ALARM_NAMES.items()}.get(verb, verb) for verb in ALARM_VERBS))
_NO_ALARM: Final = frozenset({"storm", "mutes"})  # expectations that ask nothing of an alarm


@dataclass(slots=True)
class Scribe:
    """Turns the tests of one file into RuleTests, noting every problem.

    files: configurations named by `reload`, already found to exist.
    """

    config: CityConfig
    table: SensorTable
    report: Report
    files: Mapping[str, Any]
    mutes: list[str] = field(default_factory=list)  # names of the test being read

    def test(self, model: TestIn, node: Node) -> RuleTest | None:
        """Return the test, or None with its problems noted."""
        before = len(self.report.found)
        self.mutes = named_mutes(model, (w.id for w in self.config.windows))
        rule = self._rule(model.rule, walk(node, ["rule"])) if model.rule else ""
        interval_ms = read_duration(model.interval)
        series = [self._series(k, v, interval_ms, node) for k, v in model.series.items()]
        steps = [self._step(s, walk(node, ["do", k]), rule) for k, s in enumerate(model.do)]
        expect = [e for k, s in enumerate(model.expect) for e in self._expect(s, walk(node, ["expect", k]), rule)]
        start_ms = self._start(model, node)
        if not series and not steps:
            self._add("E402", node, "nothing happens in this test: it has neither `series` nor `do`", "add `series:`")
        if interval_ms <= 0 or (model.evaluate and read_duration(model.evaluate) <= 0):
            self._add("E105", node, "an interval must be above 0 s")
        raises = self._counts(model.raises, walk(node, ["raises"]), rule)
        clears = self._counts(model.clears, walk(node, ["clears"]), rule)
        levels = self._levels(model.levels or {}, walk(node, ["levels"]), rule)
        notices = self._notices(model.notices, walk(node, ["notices"]))
        events = None if model.events is None else self._events(model, node, rule)
        counts = dict(model.counts or {})
        refused = any(step is not None and step.refused for step in steps)
        if not (model.expect or raises or clears or levels or counts or refused) and notices is None and events is None:
            self._add("E402", node, "this test expects nothing: it would always pass", "add `expect:` or `raises:`")
        if len(self.report.found) > before:
            return None
        return RuleTest(
            name=model.name or rule or "unnamed",
            rule=rule,
            start_ms=start_ms,
            evaluate_ms=read_duration(model.evaluate) if model.evaluate else interval_ms,
            series=tuple(s for s in series if s is not None),
            steps=tuple(sorted((s for s in steps if s is not None), key=lambda s: s.at_ms)),
            expect=tuple(sorted(expect, key=lambda e: e.at_ms)),
            raises=raises,
            clears=clears,
            levels=levels,
            notices=notices,
            counts=counts,
            events=events,
            differs=model.differs or "",
            source=model.source or "",
        )

    # ── words ───────────────────────────────────────────────────────────────────────────────────

    def _add(self, code: str, node: Node, message: str, hint: str = "") -> None:
        self.report.add(code, node, message, hint)

    def _known(self, word: str, words: Iterable[str], what: str, node: Node, code: str = "E302") -> bool:
        listed = list(words)
        if word in listed:
            return True
        verb = "is not one of these" if code == "E103" else "does not exist"
        self._add(code, node, f"{what} `{word}` {verb}", did_you_mean(word, listed, several="there are"))
        return False

    def _rule(self, word: str, node: Node) -> str:
        self._known(word, {rule.id for rule in self.config.rules}, "rule", node)
        return word

    def _scopes(self, rule: str) -> list[str]:
        return sorted({scope for r in self.config.rules if r.id == rule for scope in r.scopes})

    def _scope(self, word: str, rule: str, node: Node) -> bool:
        if not rule:
            self._add("E101", node, f"no rule is named for `{word}`", "add `rule:` to the test or to this line")
            return False
        scopes = self._scopes(rule)  # none: the rule itself is unknown, which is noted at its own place
        return not scopes or self._known(word, scopes, f"scope of rule `{rule}`", node)

    def _start(self, model: TestIn, node: Node) -> int:
        if not model.start:
            return START_MS
        try:
            zone = zoneinfo.ZoneInfo(self.config.timezone)
            return round(datetime.fromisoformat(model.start).replace(tzinfo=zone).timestamp() * 1000)
        except ValueError:
            self._add("E109", walk(node, ["start"]), f"`{model.start}` is not a local time", "write 2026-01-05 00:00")
            return START_MS

    # ── readings ────────────────────────────────────────────────────────────────────────────────

    def _series(self, sensor: str, model: Any, interval_ms: int, node: Node) -> Series | None:
        table = walk(node, ["series"])
        key = table.key(sensor) if isinstance(table, Table) else table
        if not self._known(sensor, [s for s in self.table.ids if self.table.index[s] is not None], "sensor", key):
            return None
        off_ms = read_offset(model.clock) if model.clock else 0
        start_ms = read_duration(model.start) if model.start else 0
        groups = sorted((start_ms + read_duration(at), read_series(text)) for at, text in (model.points or {}).items())
        items = (
            read_series(model.values) if model.values is not None else tuple(i for _, found in groups for i in found)
        )
        return Series(
            sensor=sensor,
            every_ms=read_duration(model.every) if model.every else interval_ms,
            start_ms=start_ms,
            items=tuple(replace(item, off_ms=item.off_ms + off_ms) for item in items) if off_ms else items,
            moments=tuple(at_ms for at_ms, found in groups for _ in found),
        )

    # ── steps ───────────────────────────────────────────────────────────────────────────────────

    def _step(self, model: StepIn, node: Node, usual: str) -> Step | None:
        said = [verb for verb in _VERBS if getattr(model, verb) is not None]
        if len(said) != 1:
            hint = "one of " + ", ".join(f"`{verb}`" for verb in _VERBS)
            self._add("E403", node, f"a step does one thing, not {len(said)}", hint)
            return None
        verb, place = said[0], walk(node, [said[0]])
        at_ms, word = read_duration(model.at), getattr(model, said[0])
        given: dict[str, Any] = {"at_ms": at_ms, "place": str(node.origin), "refused": model.refused or ""}
        if verb == "restart":
            text = "0s" if word is True else word
            return Step(verb=verb, down_ms=read_duration(model.for_ or text), **given)
        if verb == "reload":
            return Step(verb=verb, config=word, **given) if self._known(word, self.files, "file", place) else None
        if verb in {"offline", "online"}:
            is_known = self._known(word, self.config.gateways, "gateway", place)
            return Step(verb=verb, target=word, **given) if is_known else None
        for term in TERMS if verb not in MUTE_VERBS else ():
            if getattr(model, term) is not None:
                self._add("E403", walk(node, [term]), f"`{term}` is of a mute, not of `{verb}`")
        if verb in MUTE_VERBS:
            return self._mute(model, node, verb, word, usual, given)
        return self._command(model, node, verb, word, usual, given)

    def _mute(self, model: StepIn, node: Node, verb: str, word: str, usual: str, given: dict[str, Any]) -> Step | None:
        is_old = verb in {"extend", "unmute"}
        if is_old and not self._known(word, self.mutes, "mute", walk(node, [verb])):
            return None
        if verb == "window" and model.rrule and not (model.for_ or model.until):
            self._add("E101", node, "this window has no end", "add `for: 30 d` or `until:`, and `lasts:` for each time")
            return None
        name, role, unit = self._actor(model, node, mute_role(model, verb))
        rule = self._rule(model.rule, walk(node, ["rule"])) if model.rule else usual
        data = mute_data(model, verb, given["at_ms"], rule)
        return Step(verb=MUTE_VERBS[verb], label=word, role=role, name=name, unit=unit, data=data, **given)

    def _command(
        self, model: StepIn, node: Node, verb: str, word: str, usual: str, given: dict[str, Any]
    ) -> Step | None:
        rule = self._rule(model.rule, walk(node, ["rule"])) if model.rule else usual
        try:
            data = {key: instant(key, value, given["at_ms"]) for key, value in (model.data or {}).items()}
        except RuleTestError as error:
            self._add("E121", walk(node, ["data"]), str(error))
            return None
        if verb in {"order", "command"}:
            scope, full = model.scope or "", f"order.{word}" if verb == "order" else word
            if verb == "order" and not scope and len(only := self._scopes(rule)) == 1:
                scope = only[0]
            if verb == "order" and not self._known(word, ORDER_VERBS, "step of an order", walk(node, ["order"])):
                return None
            data = {**(ORDER_DATA.get(word, {}) if verb == "order" else {}), **data}
            role = _ORDER_ROLES.get(word, "lead")
        elif verb in {"repair", "confirm"}:
            scope, full, role = word, verb, "crew" if verb == "repair" else "checker"
        else:
            scope, full, role = word, "alarm." + ALARM_NAMES.get(verb, verb), _ROLES.get(verb, "duty")
            data = {**alarm_data(model, verb, given["at_ms"]), **data}
        if (scope or verb == "order") and not self._scope(
            scope, rule, walk(node, [verb if scope == word else "scope"])
        ):
            return None
        name, role, unit = self._actor(model, node, role)
        key = f"{rule}|{scope}" if scope else ""
        label = model.target or ""
        return Step(verb=full, target=key, role=role, name=name, unit=unit, data=data, label=label, **given)

    def _actor(self, model: StepIn, node: Node, role: str) -> tuple[str, str, str]:
        parts = [part.strip() for part in (model.by or role).split(",")]
        name = parts[0] if len(parts) > 1 else ""
        role = parts[1] if len(parts) > 1 else parts[0]
        roles = sorted({*EVERYONE, *ORDER_ROLES} - {"system"})
        self._known(role, roles, "role", walk(node, ["by"]), "E103")
        return name or f"somebody ({role})", role, parts[2] if len(parts) > 2 else ""

    # ── what must hold ──────────────────────────────────────────────────────────────────────────

    def _expect(self, model: ExpectIn, node: Node, usual: str) -> list[Expectation]:
        rule = self._rule(model.rule, walk(node, ["rule"])) if model.rule else usual
        scopes: dict[str, Any] = dict(model.__pydantic_extra__ or {})
        wants = {
            key: value
            for key in ExpectIn.model_fields
            if key not in {"at", "rule"} and (value := getattr(model, key)) is not None
        }
        if "order" in wants and not self._known(wants["order"], _ORDERS, "state of an order", walk(node, ["order"])):
            return []
        if "notices" in wants:
            self._notices(wants["notices"], walk(node, ["notices"]))
        self._words(wants, node)
        if wants and not scopes and wants.keys() <= _NO_ALARM:
            return [
                Expectation(at_ms=read_duration(model.at), rule=rule, scope="", wants=wants, place=str(node.origin))
            ]
        if not scopes:
            found = self._scopes(rule)
            if len(found) != 1 or not wants:
                hint = "write for example `mill.depth: red`"
                self._add("E402", node, "this line expects nothing of any scope", hint)
                return []
            scopes = {found[0]: None}  # the rule has one scope: it need not be named
        made = []
        for scope, level in scopes.items():
            place = node.key(scope) if isinstance(node, Table) else node
            if not self._is_meant(scope, rule, place) or not self._scope(scope, rule, place):
                continue
            mine = dict(wants)
            if level is not None and not self._level(level, walk(node, [scope]), mine):
                continue
            made.append(
                Expectation(at_ms=read_duration(model.at), rule=rule, scope=scope, wants=mine, place=str(node.origin))
            )
        return made

    def _is_meant(self, word: str, rule: str, node: Node) -> bool:
        """Tell a misspelt key from a misspelt scope, both of which may stand in an expectation."""
        keys = [key for key in ExpectIn.model_fields if key not in {"at", "rule"}]
        if word in (scopes := self._scopes(rule)):
            return True
        if (meant := SYNONYMS.get(word)) or word.isidentifier():
            hint = f"here it is `{meant}`" if meant else did_you_mean(word, [*keys, *scopes], several="keys")
            self._add("E104", node, f"unknown key `{word}` in expectation, and no scope of rule `{rule}`", hint)
            return False
        return True

    def _words(self, wants: Mapping[str, Any], node: Node) -> None:
        """Check the words of an expectation that name something."""
        for word in wants.get("allowed", ()):
            self._known(word, _VERBS_OF_ALARMS, "verb of alarms", walk(node, ["allowed"]), "E103")
        desks = [team.id for team in self.config.teams.values() if team.kind == "duty"]
        known: dict[str, Iterable[str]] = {"storm": desks, "mutes": self.mutes}
        for key, words in known.items():
            table = walk(node, [key])
            for word in wants.get(key, ()):
                what = "duty desk" if key == "storm" else "mute"
                self._known(word, words, what, table.key(word) if isinstance(table, Table) else table)
        for word in wants.get("told", ()):
            people = [*self.config.teams, *self.config.people, "none"]
            self._known(word, people, "team or person", walk(node, ["told"]))
        rules = {r.id for r in self.config.rules}
        for word in wants.get("hidden_by", ()):
            name = word.partition("|")[0]
            self._known(name, [*rules, *self.mutes, "none"], "rule or mute", walk(node, ["hidden_by"]))

    def _level(self, said: Any, node: Node, wants: dict[str, Any]) -> bool:
        if not isinstance(said, str):
            self._add("E102", node, "a level is a word", "red, orange, yellow, blue or normal")
            return False
        colour, _, alarm = said.partition("/")
        if not self._known(colour, _LEVELS, "level", node, "E103"):
            return False
        wants["level"] = _COLOURS.get(colour)
        if alarm:
            wants["alarm"] = alarm
            return self._known(alarm, ALARM_WORDS, "alarm state", node, "E103")
        return True

    def _counts(self, said: Any, node: Node, rule: str) -> dict[str, int]:
        if said is None:
            return {}
        if isinstance(said, int) and not isinstance(said, bool) and said >= 0:
            if not rule:
                self._add("E101", node, "whose? no rule is named", "write `{rule: 1}`, or add `rule:` to the test")
            return {rule: said}
        if not isinstance(said, dict) or any(isinstance(n, bool) or not isinstance(n, int) for n in said.values()):
            self._add(
                "E102", node, "this must be a whole number, or one for each rule", "write for example `{rule: 1}`"
            )
            return {}
        for word in said:
            self._rule(word, node.key(word) if isinstance(node, Table) else node)
        return dict(said)

    def _levels(
        self, said: Mapping[str, str], node: Node, rule: str
    ) -> dict[tuple[str, str], tuple[Priority | None, ...]]:
        found = {}
        for scope, words in said.items():
            place = walk(node, [scope])
            if self._scope(scope, rule, node.key(scope) if isinstance(node, Table) else node) and all(
                self._known(word, _LEVELS, "level", place, "E103") for word in words.split()
            ):
                found[rule, scope] = tuple(_COLOURS.get(word) for word in words.split())
        return found

    def _notices(self, said: Mapping[str, int] | None, node: Node) -> dict[str, int] | None:
        for word in said or {}:
            self._known(word, _KINDS, "kind of notice", node.key(word) if isinstance(node, Table) else node, "E103")
        return None if said is None else dict(said)

    def _events(self, model: TestIn, node: Node, rule: str) -> tuple[Told, ...]:
        listing = walk(node, ["events"])
        if not rule:
            self._add("E101", listing, "whose record? no rule is named", "add `rule:` to the test")
        nodes = listing.items if isinstance(listing, Listing) else []
        found = []
        for line, place in zip(model.events or (), nodes, strict=False):
            if line.scope:
                self._scope(line.scope, rule, walk(place, ["scope"]))
            found.append(
                Told(
                    at_ms=read_duration(line.at),
                    event=line.event,
                    scope=line.scope or "",
                    actor=line.by or "",
                    place=str(place.origin),
                )
            )
        return tuple(found)
