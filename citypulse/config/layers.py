"""A rule with its overrides laid over it: the effective content, each piece still knowing where it was said."""

from __future__ import annotations

from dataclasses import dataclass, field

from .nodes import Listing, Node, Report, Scalar, Table
from .schema import SIDES

_RISING = {"at_least", "above"}
_FIELDS = ("name", "source", "level", "gap", "latch", "accepts", "diagnostic", "inhibited_by", "order", "advice")


@dataclass(slots=True)
class LimitLayer:
    """One limit: its keys' nodes, and the place that names it."""

    node: Node
    level: str
    side: str  # one of SIDES
    keys: dict[str, Node]

    @property
    def is_rising(self) -> bool:
        """Whether a high value breaches."""
        return self.side in _RISING


@dataclass(slots=True)
class Layers:
    """A rule's effective content as nodes."""

    rule_id: str
    node: Table  # the rule itself
    detector: str
    section: Node  # the detector's section in the rule
    settings: dict[str, tuple[Scalar, Node]] = field(default_factory=dict)
    fields: dict[str, Node] = field(default_factory=dict)
    limits: dict[tuple[str, bool], LimitLayer] = field(default_factory=dict)
    is_disabled: bool = False
    is_sound: bool = True  # False when a limit had to be left out


def base_layers(rule_id: str, node: Table, detector: str, report: Report) -> Layers:
    """Return the rule's own content."""
    section = node.get(detector)
    layers = Layers(rule_id=rule_id, node=node, detector=detector, section=section or node)
    _lay(layers, node, report, is_override=False)
    return layers


def overlaid(layers: Layers, override: Table, report: Report) -> Layers:
    """Return a copy with an override laid over it."""
    copy = Layers(
        rule_id=layers.rule_id,
        node=layers.node,
        detector=layers.detector,
        section=layers.section,
        settings=dict(layers.settings),
        fields=dict(layers.fields),
        limits=dict(layers.limits),
        is_disabled=layers.is_disabled,
        is_sound=layers.is_sound,
    )
    disabled = override.get("disabled")
    if isinstance(disabled, Scalar):
        copy.is_disabled = disabled.value is True
    _lay(copy, override, report, is_override=True)
    return copy


def _lay(layers: Layers, node: Table, report: Report, *, is_override: bool) -> None:
    for key in _FIELDS:
        value = node.get(key)
        if value is not None:
            layers.fields[key] = value
    section = node.get(layers.detector)
    if isinstance(section, Table):
        layers.settings.update(section.entries)
    limits = node.get("limits")
    before = len(report.found)
    if isinstance(limits, Listing):
        for item in limits.items:
            if isinstance(item, Table):
                _lay_limit(layers, item, report, is_override=is_override)
    layers.is_sound &= len(report.found) == before


def _lay_limit(layers: Layers, item: Table, report: Report, *, is_override: bool) -> None:
    sides = [side for side in SIDES if side in item.entries]
    level_node = item.get("level")
    level = str(level_node.data()) if level_node else ""
    same_level = [key for key in layers.limits if key[0] == level]
    if len(sides) > 1:
        place = item.key(sides[1])
        report.add("E115", place, f"a limit has one side, not `{sides[0]}` and `{sides[1]}`", "make two limits of it")
        return
    if not sides:
        if not is_override or len(same_level) != 1:
            hint = "one of " + ", ".join(f"`{s}`" for s in SIDES)
            why = f": the rule has {len(same_level)} {level} limits" if is_override else ""
            report.add("E115", item, f"a limit needs its side{why}", hint)
            return
        key = same_level[0]
    else:
        key = (level, sides[0] in _RISING)
    keys = {k: v for k, (_, v) in item.entries.items()}
    below = layers.limits.get(key)
    if below is not None and not is_override:
        hint = "keep the stricter one, or give them different levels"
        report.add("E301", item, f"the rule has two {level} limits on the same side", hint)
        return
    off = keys.get("disabled")
    if isinstance(off, Scalar) and off.value is True:
        layers.limits.pop(key, None)
        return
    if below is None:
        layers.limits[key] = LimitLayer(node=item, level=level, side=sides[0], keys=keys)
        return
    kept = {k: v for k, v in below.keys.items() if k not in SIDES or not sides}
    side = sides[0] if sides else below.side
    layers.limits[key] = LimitLayer(node=item, level=level, side=side, keys=kept | keys)
