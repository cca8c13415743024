"""The `quality:` section: numbers with units checked against their quantity, and overrides laid over each other.

Least to most specific: `quantities`, then `site_kinds`, `sites` and `sensors`; a test named further down replaces the
whole test, `false` switches it off. Which setting carries a unit is said by the model of ingest.qc.settings itself, by
the markers `value`, `difference`, `rate` and `duration` of its fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from citypulse.domains import QUANTITIES, SITE_KINDS
from citypulse.model import Quantity, Sensor

from . import problems
from .inventory import Inventory, unknown
from .nodes import Listing, Node, Report, Scalar, Table, did_you_mean
from .scalars import Bound, read_duration, read_rate, read_value

LAYERS = ("quantities", "site_kinds", "sites", "sensors")
_MARKERS = ("value", "difference", "rate", "duration")
_Tests = dict[str, tuple[Scalar, Node]]


@dataclass(frozen=True, slots=True, eq=False)
class QualityPlan:
    """The section as read: `built` for the city, `said` (sensor id → test → its node) for explain."""

    built: Any = None
    said: Mapping[str, Mapping[str, Node]] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class _Reader:
    """Reads the tests of one quantity: resolves units, checks against the model."""

    model: type[BaseModel]
    quantity: Quantity
    report: Report
    cadence_s: float | None = None

    def tests(self, table: Table) -> _Tests:
        """Return the section's tests with plain numbers in canonical units, each at its place."""
        return {key: (place, node) for key, place, node in self._entries(table, self.model)}

    def _entries(self, table: Table, model: type[BaseModel]) -> list[tuple[str, Scalar, Node]]:
        found = []
        for key, (place, node) in table.entries.items():
            info = model.model_fields.get(key)
            name = key
            if info is None and f"{key}_s" in model.model_fields:
                name, info = f"{key}_s", model.model_fields[f"{key}_s"]  # `after: 6 h` for `after_s: 21600`
            if info is None:
                found.append((key, place, node))  # unknown: the model says so, with the nearest word
                continue
            marker = _marker(info.metadata) or _marker_in(info.annotation)
            found.append((name, place, self._resolved(node, marker, _model_in(info.annotation))))
        return found

    def _resolved(self, node: Node, marker: str, inner: type[BaseModel] | None) -> Node:
        if isinstance(node, Listing):
            return replace(node, items=[self._resolved(item, marker, inner) for item in node.items])
        if isinstance(node, Table) and inner is not None:
            return replace(node, entries={k: (p, n) for k, p, n in self._entries(node, inner)})
        if isinstance(node, Scalar) and marker and isinstance(node.value, str):
            read = self._read(node, marker)
            return replace(node, value=read) if read is not None else node
        return node

    def _read(self, node: Scalar, marker: str) -> float | None:
        if marker == "duration":
            return read_duration(self.report, node, Bound(self.quantity, self.cadence_s))
        if marker == "rate":
            return read_rate(self.report, node, self.quantity)
        return read_value(self.report, node, self.quantity, is_difference=marker == "difference")


def read_quality(
    section: Node | None, model: type[BaseModel] | None, inventory: Inventory, report: Report
) -> QualityPlan:
    """Check the section and lay its layers over each other; every problem is noted at its place."""
    if not isinstance(section, Table) or model is None:
        return QualityPlan()
    before = len(report.found)
    tests = _model_in(model.model_fields["quantities"].annotation)
    assert tests is not None  # noqa: S101 - the section's own model
    for key in section.entries:
        if key not in LAYERS:
            report.add("E104", section.key(key), f"unknown key `{key}` in `quality`", did_you_mean(key, LAYERS))
    layers = {name: section.get(name) for name in LAYERS}
    for name, node in layers.items():
        if node is not None and not isinstance(node, Table):
            report.add("E102", node, f"`{name}` must be a mapping", "give it tests by name")
            layers[name] = None
    by_quantity = _by_quantity(layers["quantities"], tests, report)
    kinds = _two_deep(layers["site_kinds"], tests, SITE_KINDS, "site kind", report)
    sites = _two_deep(layers["sites"], tests, inventory.sites, "site", report)
    sensors = _sensors(layers["sensors"], tests, inventory, report)
    if len(report.found) > before:
        return QualityPlan()
    return _laid(section, model, tests, inventory, report, by_quantity, (kinds, sites, sensors))


def plain_section(section: Table, model: type[BaseModel], report: Report) -> Table:
    """Resolve the units of a section that stands without a city: its `quantities`, and `sensors` by their ids."""
    tests = _model_in(model.model_fields["quantities"].annotation)
    entries = dict(section.entries)
    for name in ("quantities", "sensors"):
        layer = section.get(name)
        if not isinstance(layer, Table) or tests is None:
            continue
        made = {}
        for word, (key, node) in layer.entries.items():
            quantity = QUANTITIES.get(word.rpartition(".")[2])
            if quantity is not None and isinstance(node, Table):
                node = replace(node, entries=_Reader(tests, quantity, report).tests(node))  # noqa: PLW2901
            made[word] = (key, node)
        entries[name] = (entries[name][0], replace(layer, entries=made))
    return replace(section, entries=entries)


def _by_quantity(layer: Node | None, tests: type[BaseModel], report: Report) -> dict[str, _Tests]:
    found: dict[str, _Tests] = {}
    for word, (key, node) in layer.entries.items() if isinstance(layer, Table) else ():
        quantity = QUANTITIES.get(word)
        if quantity is None:
            unknown(report, key, "quantity", word, QUANTITIES)
        elif isinstance(node, Table):
            found[word] = _checked(_Reader(tests, quantity, report), node, tests, report)
        else:
            report.add("E102", node, f"the tests of `{word}` must be a mapping")
    return found


def _two_deep(
    layer: Node | None, tests: type[BaseModel], known: Mapping[str, Any], what: str, report: Report
) -> dict[str, dict[str, _Tests]]:
    found = {}
    for word, (key, node) in layer.entries.items() if isinstance(layer, Table) else ():
        if word not in known:
            unknown(report, key, what, word, known)
        elif not isinstance(node, Table):
            report.add("E102", node, f"`{word}` must hold tests by quantity")
        else:
            found[word] = _by_quantity(node, tests, report)
    return found


def _sensors(layer: Node | None, tests: type[BaseModel], inventory: Inventory, report: Report) -> dict[str, _Tests]:
    found: dict[str, _Tests] = {}
    for word, (key, node) in layer.entries.items() if isinstance(layer, Table) else ():
        sensor = inventory.sensors.get(word)
        if sensor is None:
            unknown(report, key, "sensor", word, inventory.sensors)
        elif isinstance(node, Table):
            reader = _Reader(tests, QUANTITIES[sensor.quantity], report, float(sensor.cadence_s))
            found[word] = _checked(reader, node, tests, report)
        else:
            report.add("E102", node, f"the tests of `{word}` must be a mapping")
    return found


def _checked(reader: _Reader, node: Table, tests: type[BaseModel], report: Report) -> _Tests:
    """Resolve a layer's tests; each must be sound by itself, whatever the layers below it say."""
    before = len(report.found)
    read = reader.tests(node)
    if len(report.found) == before:
        plain = replace(node, entries={k: v for k, v in read.items() if not _is_nothing(v[1])})
        try:
            tests.model_validate(plain.data())
        except ValidationError as error:
            kept = [e for e in error.errors(include_url=False) if e["loc"]]  # a whole is judged when it is laid
            if kept:
                problems.note(report, error, plain, tests)
    return read


def _laid(
    section: Table,
    model: type[BaseModel],
    tests: type[BaseModel],
    inventory: Inventory,
    report: Report,
    base: dict[str, _Tests],
    layers: tuple[dict[str, dict[str, _Tests]], dict[str, dict[str, _Tests]], dict[str, _Tests]],
) -> QualityPlan:
    """Lay the layers over each other for every sensor, and build what ingest works with."""
    kinds, sites, sensors = layers
    said: dict[str, dict[str, Node]] = {}
    overrides: dict[str, dict[str, Any]] = {}
    judged: dict[tuple[tuple[str, int], ...], bool] = {}
    for sensor in inventory.sensors.values():
        over = _over(sensor, kinds, sites, sensors)
        whole = {**base.get(sensor.quantity, {}), **over}
        if not whole:
            continue
        said[sensor.id] = {key: node for key, (_, node) in whole.items() if not _is_nothing(node)}
        if over:
            overrides[sensor.id] = {key: _data(node) for key, (_, node) in over.items()}
        key = tuple((name, id(node)) for name, (_, node) in whole.items())
        if key not in judged:
            judged[key] = _is_sound(whole, sensor, section, tests, report)
    if not all(judged.values()):
        return QualityPlan()
    plain = {word: {key: _data(node) for key, (_, node) in found.items()} for word, found in base.items()}
    return QualityPlan(built=model.model_validate({"quantities": plain, "sensors": overrides}), said=said)


def _over(
    sensor: Sensor,
    kinds: dict[str, dict[str, _Tests]],
    sites: dict[str, dict[str, _Tests]],
    sensors: dict[str, _Tests],
) -> _Tests:
    return {
        **kinds.get(sensor.site_kind, {}).get(sensor.quantity, {}),
        **sites.get(sensor.site, {}).get(sensor.quantity, {}),
        **sensors.get(sensor.id, {}),
    }


def _is_sound(whole: _Tests, sensor: Sensor, section: Table, tests: type[BaseModel], report: Report) -> bool:
    kept = {key: pair for key, pair in whole.items() if not _is_nothing(pair[1])}
    try:
        tests.model_validate({key: node.data() for key, (_, node) in kept.items()})
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            name = str(detail["loc"][0]) if detail["loc"] else ""
            node = kept[name][1] if name in kept else next(iter(kept.values()), (section, section))[0]
            report.add("E109", node, f"`{sensor.id}`: {detail['msg'].removeprefix('Value error, ')}")
        return False
    return True


def _is_nothing(node: Node) -> bool:
    """Whether a test is switched off."""
    return isinstance(node, Scalar) and (node.value is None or node.value is False)


def _data(node: Node) -> Any:
    return None if _is_nothing(node) else node.data()


def _marker(metadata: list[Any]) -> str:
    return next((item for item in metadata if isinstance(item, str) and item in _MARKERS), "")


def _marker_in(annotation: Any) -> str:
    """Look for a marker inside `X | None`, lists and pairs."""
    for part in get_args(annotation):
        if isinstance(part, str) and part in _MARKERS:
            return part
        if inner := _marker_in(part):
            return inner
    return ""


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model inside `X | None`, a list or a mapping of it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part)) is not None), None)
