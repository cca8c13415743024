"""Every effective value of one sensor and of the rules that watch it, each with the file and line that said it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from citypulse.domains import QUANTITIES
from citypulse.model import Limit, Origin, Rule, Sensor
from citypulse.units import spell, spell_duration

from .alarms import said_of
from .binding import Binding
from .check import Loaded
from .layers import LimitLayer
from .nodes import Listing, Node, Scalar, Table
from .scalars import marker_of
from .values import DetectorSettings, Marker

_BUILT_IN = "built in"
_RISING = ("at_least", "above")


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One effective value, as people read it, and where it was said."""

    what: str
    value: str
    origin: str  # file:line, or "built in"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleExplained:
    """One rule on one sensor."""

    id: str
    name_zh: str
    name_en: str
    version: str
    detector: str
    scope: str
    source: str
    origin: str
    overrides: tuple[str, ...]  # origins, least specific first
    said: tuple[Said, ...]
    alarms: tuple[Said, ...] = ()  # chatter, shelves, re-alarms: the `alarms:` section


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorExplained:
    """A sensor, what is said of it, its rules, and the rules that were switched off for it."""

    sensor: str
    name_zh: str
    name_en: str
    site_zh: str
    site_en: str
    said: tuple[Said, ...]
    quality: tuple[Said, ...]  # the tests its readings must pass
    rules: tuple[RuleExplained, ...]
    switched_off: tuple[Said, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it for `--json`."""
        return asdict(self)


def explain_sensor(loaded: Loaded, sensor_id: str) -> SensorExplained | None:
    """Return everything that holds for a sensor; None when there is no such sensor."""
    sensor = loaded.inventory.sensors.get(sensor_id)
    if sensor is None:
        return None
    site, quantity = loaded.inventory.sites[sensor.site], QUANTITIES[sensor.quantity]
    off = tuple(
        Said(what=o.rule, value="disabled", origin=str(o.origin)) for o in loaded.switched_off if sensor_id in o.sensors
    )
    return SensorExplained(
        sensor=sensor_id,
        name_zh=quantity.name.zh,
        name_en=quantity.name.en,
        site_zh=site.name.zh,
        site_en=site.name.en,
        said=tuple(_sensor_said(sensor, loaded.inventory.origins.get(sensor_id, {}))),
        quality=tuple(_quality_said(loaded.quality.said.get(sensor_id, {}), sensor)),
        rules=tuple(_rules(loaded, sensor)),
        switched_off=off,
    )


def _sensor_said(sensor: Sensor, origins: Mapping[str, Origin]) -> Iterator[Said]:
    built_in = f"{_BUILT_IN}: citypulse/domains/{sensor.domain}.py"

    def origin(key: str) -> str:
        return str(origins[key]) if key in origins else built_in

    yield Said(what="site", value=sensor.site, origin=origin("site"))
    yield Said(what="gateway", value=sensor.gateway, origin=origin("site"))
    yield Said(what="quantity", value=f"{sensor.quantity} in {sensor.unit}", origin=origin("template"))
    span = f"{sensor.low:.6g} to {spell(sensor.high, sensor.unit)}"
    yield Said(what="range", value=span, origin=origin("range"))
    yield Said(what="cadence", value=spell_duration(sensor.cadence_s), origin=origin("cadence"))
    if (sensor.scale, sensor.offset) != (1.0, 0.0):
        value = f"raw × {sensor.scale:.6g} + {spell(sensor.offset, sensor.unit)}"
        yield Said(what="calibration", value=value, origin=origin("calibration"))


def _quality_said(tests: Mapping[str, Node], sensor: Sensor) -> Iterator[Said]:
    span = f"{sensor.low:.6g} to {spell(sensor.high, sensor.unit)}"
    yield Said(what="range", value=f"outside {span} a reading fails", origin="the sensor's range")
    for test, node in tests.items():
        yield from _test_said(test, node)


def _test_said(what: str, node: Node) -> Iterator[Said]:
    """Say a test of quality control setting by setting, in words as written, with the line of each."""
    if isinstance(node, Table):
        for key, (_, value) in node.entries.items():
            yield from _test_said(f"{what} {key}", value)
    elif isinstance(node, Listing) and any(isinstance(item, Table) for item in node.items):
        for number, item in enumerate(node.items, 1):
            yield from _test_said(f"{what} {number}", item)
    else:
        yield Said(what=what, value=_as_written(node), origin=str(node.origin))


def _as_written(node: Node) -> str:
    if isinstance(node, Listing):
        return " to ".join(_as_written(item) for item in node.items)
    return node.text.strip() if isinstance(node, Scalar) else str(node.data())


def _rules(loaded: Loaded, sensor: Sensor) -> Iterator[RuleExplained]:
    for binding in loaded.bindings:
        rule = binding.rule
        for scope, members in zip(rule.scopes, rule.sensors, strict=True):
            if sensor.id not in members:
                continue
            yield RuleExplained(
                id=rule.id,
                name_zh=rule.name.zh,
                name_en=rule.name.en,
                version=rule.version,
                detector=rule.detector,
                scope=scope,
                source=rule.source,
                origin=str(rule.origin),
                overrides=tuple(str(node.origin) for node in binding.overrides),
                said=tuple(_rule_said(binding, sensor.unit)),
                alarms=tuple(_alarms_said(loaded, rule)),
            )


def _alarms_said(loaded: Loaded, rule: Rule) -> Iterator[Said]:
    if loaded.city is not None:
        levels = sorted({limit.level for limit in rule.limits})
        for what, value, origin in said_of(loaded.city.alarms, rule.id, rule.domain, levels):
            yield Said(what=what, value=value, origin=origin)


def _rule_said(binding: Binding, unit: str) -> Iterator[Said]:
    rule, layers = binding.rule, binding.layers
    yield from _settings_said(binding, unit)
    for limit in rule.limits:
        layer = layers.limits.get((limit.level.colour, limit.side.value in _RISING))
        if layer is None:
            value = f"after {spell_duration(limit.value)}"
            yield Said(what=limit.level.colour, value=value, origin=str(limit.origin))
        else:
            yield from _limit_said(rule, limit, layer)
    for key in ("gap", "latch", "accepts", "diagnostic", "inhibited_by"):
        node = layers.fields.get(key)
        if node is not None:
            data = [str(c) for c in rule.inhibited_by] if key == "inhibited_by" else node.data()
            value = (
                ", ".join(data) if isinstance(data, list) else str(data).lower() if data in (True, False) else str(data)
            )
            yield Said(what=key, value=value, origin=str(node.origin))
    order = layers.fields.get("order")
    if order is not None and rule.order is not None:
        value = (
            f"{rule.order.template} from {rule.order.opens_at.colour} on,"
            f" proven by {spell_duration(rule.order.verify_for_s)} normal with {rule.order.coverage:.0%} of readings"
        )
        yield Said(what="order", value=value, origin=str(order.origin))


def _settings_said(binding: Binding, unit: str) -> Iterator[Said]:
    settings: DetectorSettings = binding.rule.settings
    for key, info in type(settings).model_fields.items():
        value, entry = getattr(settings, key), binding.layers.settings.get(key)
        if value is None and entry is None:
            continue
        shown = _setting(value, marker_of(info), unit)
        yield Said(what=key, value=_with_words(entry[1], shown) if entry else shown, origin=_origin(entry))


def _setting(value: Any, marker: Marker | None, unit: str) -> str:
    if value is None or marker is None:
        return str(value)
    if marker == "duration":
        return spell_duration(value)
    return spell(value, unit if marker == "value" else f"{unit}/s")


def _origin(entry: tuple[Scalar, Node] | None) -> str:
    return str(entry[1].origin) if entry else _BUILT_IN


def _with_words(node: Node, value: str) -> str:
    """Show the value as written, and as understood where that differs."""
    written = node.text.strip() if isinstance(node, Scalar) else ""
    return value if not written or written == value else f"{written} = {value}"


def _limit_said(rule: Rule, limit: Limit, layer: LimitLayer) -> Iterator[Said]:
    def amount(value: float) -> str:
        return spell_duration(value) if rule.unit == "s" else spell(value, rule.unit)

    colour = limit.level.colour
    node = layer.keys[layer.side]
    value = f"{limit.side.sign} {_with_words(node, amount(limit.value))}"
    yield Said(what=colour, value=value, origin=str(node.origin))
    for key, text in (
        ("deadband", amount(limit.deadband)),
        ("on_delay", spell_duration(limit.on_delay_s)),
        ("off_delay", spell_duration(limit.off_delay_s)),
    ):
        if key in layer.keys:
            said = layer.keys[key]
            yield Said(what=f"{colour} {key}", value=_with_words(said, text), origin=str(said.origin))
