"""Binds rules to what stands in the city: overrides by specificity, and one `Rule` per set of effective settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from citypulse.domains import QUANTITIES
from citypulse.model import Gateway, Origin, Rule, Sensor

from .drafts import Draft, draft_rules, section_is_sound
from .extensions import Extensions
from .files import Reading, is_pack
from .inventory import Inventory
from .layers import Layers, base_layers, overlaid
from .nodes import Node, Report, Table, walk
from .resolve import Effective, resolve
from .scalars import Bound
from .selectors import Selector
from .values import DetectorSettings

_Scope = tuple[str, tuple[Sensor, ...], Gateway | None]


@dataclass(frozen=True, slots=True, eq=False)
class Binding:
    """An effective rule with what it was made of: for lint and explain."""

    rule: Rule
    layers: Layers
    overrides: tuple[Table, ...]  # least specific first


@dataclass(frozen=True, slots=True, eq=False)
class SwitchedOff:
    """A rule that an override turns off for one scope: remembered so that nobody wonders where it went."""

    rule: str
    scope: str
    sensors: tuple[str, ...]
    origin: Origin


@dataclass(slots=True, eq=False)
class _Group:
    """Scopes that share one effective rule."""

    effective: Effective
    layers: Layers
    chosen: tuple[int, ...]
    domain: str
    scopes: list[str] = field(default_factory=list)
    sensors: list[tuple[str, ...]] = field(default_factory=list)


def bind_rules(
    reading: Reading, inventory: Inventory, extensions: Extensions, report: Report
) -> tuple[list[Binding], list[SwitchedOff]]:
    """Bind every rule of every document; problems are noted, sound rules returned in the order they were said."""
    bindings: list[Binding] = []
    switched_off: list[SwitchedOff] = []
    for draft in draft_rules(reading, inventory, extensions, report).values():
        settings = extensions.detectors[draft.detector]
        binder = _Binder(draft, settings, inventory, reading, extensions, report)
        bindings += binder.bind()
        switched_off += binder.switched_off
    return bindings, switched_off


class _Binder:
    """Binds one rule."""

    def __init__(
        self,
        draft: Draft,
        settings: type[DetectorSettings],
        inventory: Inventory,
        reading: Reading,
        extensions: Extensions,
        report: Report,
    ) -> None:
        self._draft = draft
        self._settings = settings
        self._inventory = inventory
        self._reading = reading
        self._extensions = extensions
        self._report = report
        self._layers: dict[tuple[int, ...], Layers] = {}
        self._effective: dict[tuple[Any, ...], Effective | None] = {}
        # Least specific first, so that the most specific is laid on top; among equals the later one wins.
        self._overrides = sorted(draft.overrides, key=lambda o: (o.selector.specificity, o.order))
        self._used: set[int] = set()
        self.switched_off: list[SwitchedOff] = []

    def bind(self) -> list[Binding]:
        """Return the rule once per distinct effective settings."""
        before = len(self._report.found)
        self._check_overrides()
        groups: dict[tuple[Any, ...], _Group] = {}
        scopes = {"sensor": self._sensor_scopes, "site": self._site_scopes, "gateway": self._gateway_scopes}
        selector = Selector.of(self._draft.model.applies_to)
        found = scopes[self._settings.scope](selector)
        if self._note_crowd(found):
            return []
        for scope, members, gateway in found:
            chosen = self._chosen(members, gateway)
            layers = self._laid(chosen)
            if layers.is_disabled:
                self._switch_off(scope, members, chosen)
                continue
            effective = self._resolved(layers, chosen, members, gateway)
            if effective is None:
                continue
            domains = {s.domain for s in members}
            domain = domains.pop() if len(domains) == 1 else ""
            key = (effective.version, domain, chosen)
            group = groups.setdefault(key, _Group(effective, layers, chosen, domain))
            group.scopes.append(scope)
            group.sensors.append(tuple(s.id for s in members))
        if self._reading.is_whole and len(self._report.found) == before:
            self._note_unused(groups)
        return [self._binding(group) for group in groups.values()]

    def _note_crowd(self, found: Sequence[_Scope]) -> bool:
        """Note a scope with more sensors than the detector can look at; say whether there is one."""
        scope, members, _ = max(found, key=lambda s: len(s[1]), default=("", (), None))
        most = self._settings.inputs_max
        if most is None or len(members) <= most:
            return False
        rule, detector = self._draft.model.id, self._draft.detector
        message = f"rule `{rule}` would look at {len(members)} sensors of `{scope}`; a `{detector}` takes {most}"
        self._report.add("E117", walk(self._draft.node, ["applies_to"]), message, "name fewer with `quantity:`")
        return True

    def _switch_off(self, scope: str, members: Sequence[Sensor], chosen: tuple[int, ...]) -> None:
        said = [o.node for o in (self._overrides[i] for i in chosen) if o.model.disabled]
        ids = tuple(s.id for s in members)
        off = SwitchedOff(self._draft.model.id, scope, ids, said[-1].key("disabled").origin)
        self.switched_off.append(off)

    def _check_overrides(self) -> None:
        mine = self._draft.detector
        for override in self._overrides:
            for key in self._extensions.detectors:
                if key in override.node.entries and key != mine:
                    message = f"rule `{self._draft.model.id}` is a `{mine}`, not a `{key}`"
                    self._report.add("E111", override.node.key(key), message, f"write `{mine}:`")
            section_is_sound(self._report, override.node, mine, self._settings, is_override=True)

    def _sensor_scopes(self, selector: Selector) -> list[_Scope]:
        wanted, every = selector.quantity, self._inventory.sensors.values()
        likely = (s for s in every if s.quantity in wanted) if wanted else every  # few rules look at every quantity
        return [(s.id, (s,), None) for s in likely if selector.matches(s)]

    def _site_scopes(self, selector: Selector) -> list[_Scope]:
        by_site: dict[str, list[Sensor]] = {}
        for sensor in self._inventory.sensors.values():
            if selector.matches(sensor):
                by_site.setdefault(sensor.site, []).append(sensor)
        needed = selector.quantity
        return [(k, tuple(v), None) for k, v in by_site.items() if needed <= {s.quantity for s in v}]

    def _gateway_scopes(self, selector: Selector) -> list[_Scope]:
        members: dict[str, list[Sensor]] = {}
        for sensor in self._inventory.sensors.values():
            members.setdefault(sensor.gateway, []).append(sensor)
        scopes = [(g.id, tuple(members.get(g.id, ())), g) for g in self._inventory.gateways.values()]
        return [(key, mine, g) for key, mine, g in scopes if selector.matches_gateway(g, mine)]

    def _chosen(self, members: Sequence[Sensor], gateway: Gateway | None) -> tuple[int, ...]:
        chosen = []
        for index, override in enumerate(self._overrides):
            selector = override.selector
            if selector.matches_gateway(gateway, members) if gateway else any(selector.matches(s) for s in members):
                chosen.append(index)
                self._used.add(index)
        return tuple(chosen)

    def _laid(self, chosen: tuple[int, ...]) -> Layers:
        if chosen not in self._layers:
            layers = base_layers(self._draft.model.id, self._draft.node, self._draft.detector, self._report)
            for index in chosen:
                layers = overlaid(layers, self._overrides[index].node, self._report)
            self._layers[chosen] = layers
        return self._layers[chosen]

    def _resolved(
        self, layers: Layers, chosen: tuple[int, ...], members: Sequence[Sensor], gateway: Gateway | None
    ) -> Effective | None:
        quantities = {s.quantity for s in members}
        cadences = {s.cadence_s for s in members}
        quantity = QUANTITIES[quantities.pop()] if len(quantities) == 1 and gateway is None else None
        # A site's slowest sensor sets the pace of a rule that looks at all of them.
        cadence_s = float(max(cadences)) if cadences and gateway is None else None
        silent_s = float(gateway.silent_after_s) if gateway else None
        key = (chosen, quantity.id if quantity else None, cadence_s, silent_s)
        if key not in self._effective:
            templates = self._reading.declared.get("order_templates", set())
            bound = Bound(quantity, cadence_s)
            self._effective[key] = resolve(layers, self._settings, bound, silent_s, templates, self._report)
        return self._effective[key]

    def _note_unused(self, groups: Mapping[Any, Any]) -> None:
        is_pack_rule = is_pack(self._draft.node.source)
        if not groups and not is_pack_rule and not any(o.model.disabled for o in self._overrides):
            message = f"rule `{self._draft.model.id}` matches no {self._settings.scope}: it will never fire"
            self._note_w203(self._draft.node, message, "rule")
        for index, override in enumerate(self._overrides):
            if index not in self._used:
                message = f"this override of `{override.model.rule}` matches nothing"
                self._note_w203(override.node, message, "override")

    def _note_w203(self, node: Node, message: str, what: str) -> None:
        self._report.add("W203", walk(node, ["applies_to"]), message, f"check `applies_to`, or remove the {what}")

    def _binding(self, group: _Group) -> Binding:
        effective, layers = group.effective, group.layers
        rule = Rule(
            id=layers.rule_id,
            name=effective.name,
            version=effective.version,
            origin=layers.node.origin,
            detector=layers.detector,
            settings=effective.settings,
            limits=effective.limits,
            scopes=tuple(group.scopes),
            sensors=tuple(group.sensors),
            domain=group.domain,
            unit=effective.unit,
            is_diagnostic=effective.is_diagnostic,
            gap=effective.gap,
            is_latching=effective.is_latching,
            accepts_suspect=effective.accepts_suspect,
            order=effective.order,
            inhibited_by=effective.inhibited_by,
            source=effective.source,
            advice=effective.advice,
        )
        return Binding(rule, layers, tuple(self._overrides[i].node for i in group.chosen))
