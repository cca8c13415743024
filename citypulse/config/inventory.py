"""What stands in the city: areas, gateways, sites and sensors, expanded from groups and patterns."""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from citypulse.domains import DOMAINS, QUANTITIES, SITE_KINDS
from citypulse.model import Gateway, Origin, Sensor, Site, Text
from citypulse.units import UnitError, convert, parse

from .files import Document, Reading
from .forms import TextIn
from .nodes import Node, Report, Table, did_you_mean, walk
from .scalars import Bound, read_duration, read_value, unit_is_known
from .schema import PatternIn, PlaceIn, SitesIn, TemplateIn, TemplateSensorIn

_METRES_PER_DEGREE = 111_320.0
T = TypeVar("T")
_GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))
_SEED_DISTANCE = 1.6  # between neighbouring seeds at radius √k, found by trying


@dataclass(slots=True)
class Inventory:
    """Everything that stands somewhere. `places` and `origins` remember where it was said, for checks and explain."""

    areas: dict[str, Text] = field(default_factory=dict)
    gateways: dict[str, Gateway] = field(default_factory=dict)
    sites: dict[str, Site] = field(default_factory=dict)
    sensors: dict[str, Sensor] = field(default_factory=dict)
    places: dict[str, Node] = field(default_factory=dict)  # "site:<id>", "gateway:<id>" → node
    origins: dict[str, dict[str, Origin]] = field(default_factory=dict)  # sensor id → field → where it was said


def text_of(model: TextIn) -> Text:
    """Return a text from the file as the house's own."""
    return Text(zh=model.zh, en=model.en)


def take_inventory(reading: Reading, report: Report) -> Inventory:
    """Expand every document's areas, gateways, sites and sensors; every problem is noted."""
    inventory = Inventory()
    for document in reading.documents:
        for key, area in document.model.areas.items():
            _claim(report, inventory.areas, key, text_of(area), walk(document.root, ["areas"]), "area")
        _take_gateways(document, inventory, reading, report)
    templates = _templates(reading, report)
    for document in reading.documents:
        for index, group in enumerate(document.model.sites):
            node = walk(document.root, ["sites", index])
            if _group_is_sound(group, node, inventory, reading, report) and group.template in templates:
                _take_group(group, node, templates[group.template], inventory, report)
    _check_upstream(inventory, reading, report)
    for document in reading.documents:
        _adjust_sensors(document, inventory, reading, report)
    return inventory


def unknown(report: Report, node: Node, what: str, word: str, known: Iterable[str]) -> None:
    """Note a reference to something that does not exist."""
    report.add("E302", node, f"{what} `{word}` does not exist", did_you_mean(word, known, several="there are"))


def _claim(report: Report, taken: dict[str, T], key: str, value: T, node: Node, what: str) -> bool:
    if key in taken:
        place = node.key(key) if isinstance(node, Table) else node
        report.add("E301", place, f"{what} `{key}` is defined twice", "ids are unique over all included files")
        return False
    taken[key] = value
    return True


def _take_gateways(document: Document, inventory: Inventory, reading: Reading, report: Report) -> None:
    for index, entry in enumerate(document.model.gateways):
        node = walk(document.root, ["gateways", index])
        ids = ((entry.id,) if entry.id else ()) + entry.ids
        if not ids or (entry.id and entry.ids):
            report.add("E101", node, "a gateway needs either `id` or `ids`", "give exactly one of them")
        silent_s = read_duration(report, walk(node, ["silent_after"]))
        if entry.area is not None and entry.area not in reading.declared.get("areas", ()):
            unknown(report, walk(node, ["area"]), "area", entry.area, reading.declared.get("areas", ()))
        for position, key in enumerate(ids):
            place = walk(node, ["ids", position] if entry.ids else ["id"])
            gateway = Gateway(id=key, codec=entry.codec, silent_after_s=int(silent_s or 0), area=entry.area or "")
            if _claim(report, inventory.gateways, key, gateway, place, "gateway"):
                inventory.places[f"gateway:{key}"] = place


@dataclass(frozen=True, slots=True)
class _Template:
    """A template with its place."""

    model: TemplateIn
    node: Node


def _templates(reading: Reading, report: Report) -> dict[str, _Template]:
    found: dict[str, _Template] = {}
    for document in reading.documents:
        table = walk(document.root, ["templates"])
        for key, model in document.model.templates.items():
            node = walk(table, [key])
            if _template_is_sound(model, node, report):
                _claim(report, found, key, _Template(model, node), table, "template")
    return found


def _template_is_sound(model: TemplateIn, node: Node, report: Report) -> bool:
    domain = DOMAINS.get(model.domain)
    if domain is None:
        unknown(report, walk(node, ["domain"]), "domain", model.domain, DOMAINS)
        return False
    kinds = [k.id for k in domain.site_kinds]
    before = len(report.found)
    if model.kind not in kinds:
        at = walk(node, ["kind"])
        if model.kind in SITE_KINDS:
            other = SITE_KINDS[model.kind][0]
            report.add("E303", at, f"site kind `{model.kind}` belongs to {other}, not to {domain.id}", _list(kinds))
        else:
            unknown(report, at, "site kind", model.kind, kinds)
    mine = {q.id for q in domain.quantities}
    seen: set[str] = set()
    for index, sensor in enumerate(model.sensors):
        at = walk(node, ["sensors", index, "quantity"])
        if sensor.quantity not in QUANTITIES:
            unknown(report, at, "quantity", sensor.quantity, mine)
            continue
        if sensor.quantity not in mine:
            other = QUANTITIES[sensor.quantity].domain
            report.add("E303", at, f"quantity `{sensor.quantity}` belongs to {other}, not to {domain.id}", _list(mine))
        if sensor.quantity in seen:
            report.add("E301", at, f"quantity `{sensor.quantity}` is listed twice", "a site has one sensor of a kind")
        seen.add(sensor.quantity)
    return len(report.found) == before


def _list(words: Iterable[str]) -> str:
    return "there are: " + ", ".join(f"`{w}`" for w in sorted(words))


def _group_is_sound(group: SitesIn, node: Node, inventory: Inventory, reading: Reading, report: Report) -> bool:
    before = len(report.found)
    for section, key, word in (
        ("templates", "template", group.template),
        ("areas", "area", group.area),
        ("gateways", "gateway", group.gateway),
    ):
        declared = reading.declared.get(section, set())
        if word not in declared:
            unknown(report, walk(node, [key]), key, word, declared)
    for key, place in group.places.items():
        if place.gateway is not None and place.gateway not in inventory.gateways:
            at = walk(node, ["places", key, "gateway"])
            unknown(report, at, "gateway", place.gateway, reading.declared.get("gateways", ()))
    return len(report.found) == before


def _take_group(group: SitesIn, node: Node, template: _Template, inventory: Inventory, report: Report) -> None:
    places = {key: (place, walk(node, ["places", key])) for key, place in group.places.items()}
    if group.pattern is not None:
        at = walk(node, ["pattern"])
        for key, place in _spread(group.pattern, at, report).items():
            if key in places:
                report.add("E301", at, f"site `{key}` is defined twice", "the pattern runs into the places")
            places[key] = (place, at)
    sensors = [(spec, walk(template.node, ["sensors", index])) for index, spec in enumerate(template.model.sensors)]
    for key, (place, at) in places.items():
        site = Site(
            id=key,
            name=Text(zh=place.zh, en=place.en),
            domain=template.model.domain,
            kind=template.model.kind,
            area=group.area,
            lat=place.lat,
            lon=place.lon,
            gateway=place.gateway or group.gateway,
            upstream=place.upstream,
            labels=tuple(sorted(place.labels.items())),
        )
        if not _claim(report, inventory.sites, key, site, at, "site"):
            continue
        inventory.places[f"site:{key}"] = at
        for spec, said in sensors:
            _take_sensor(spec, said, site, at, inventory, report)


def _spread(pattern: PatternIn, node: Node, report: Report) -> dict[str, PlaceIn]:
    """Lay places out as sunflower seeds around the middle: even, the same everywhere, and none moves when more come."""
    found = re.fullmatch(r"(.*?)(\d+)", pattern.first)
    assert found is not None  # noqa: S101 - the schema's pattern demands a number at the end
    stem, digits = found.groups()
    spacing_m = _metres(report, walk(node, ["spacing"]), str(pattern.spacing))
    east_scale = _METRES_PER_DEGREE * max(0.01, math.cos(math.radians(pattern.lat)))
    places = {}
    for k in range(pattern.count):
        reach_m = spacing_m / _SEED_DISTANCE * math.sqrt(k + 0.5)
        lat = pattern.lat + reach_m * math.sin(k * _GOLDEN_ANGLE) / _METRES_PER_DEGREE
        lon = pattern.lon + reach_m * math.cos(k * _GOLDEN_ANGLE) / east_scale
        places[f"{stem}{int(digits) + k:0{len(digits)}d}"] = PlaceIn(
            zh=pattern.zh.replace("{n}", str(k + 1)),
            en=pattern.en.replace("{n}", str(k + 1)),
            lat=round(lat, 5),
            lon=round(lon, 5),
        )
    return places


def _metres(report: Report, node: Node, text: str) -> float:
    try:
        return parse(text).to("m")
    except UnitError as error:
        report.add("E123", node, str(error), "for example `500 m`")
        return 0.0


def _take_sensor(
    spec: TemplateSensorIn, said: Node, site: Site, place: Node, inventory: Inventory, report: Report
) -> None:
    quantity = QUANTITIES[spec.quantity]
    key = f"{site.id}.{quantity.id}"
    sensor = Sensor(
        id=key,
        site=site.id,
        gateway=site.gateway,
        quantity=quantity.id,
        domain=site.domain,
        site_kind=site.kind,
        area=site.area,
        unit=quantity.unit,
        scale=1.0,
        offset=0.0,
        low=quantity.low,
        high=quantity.high,
        cadence_s=quantity.cadence_s,
        direction=quantity.direction,
        origin=place.origin,
    )
    inventory.origins[key] = {"site": place.origin, "template": said.origin}
    inventory.sensors[key] = _with(sensor, said, spec.unit, spec.scale, spec.offset, inventory.origins[key], report)


def _with(
    sensor: Sensor,
    node: Node,
    unit: str | None,
    scale: float | None,
    offset: float | None,
    origins: dict[str, Origin],
    report: Report,
) -> Sensor:
    """Return the sensor with what `node` says of its cadence, calibration and range."""
    if not isinstance(node, Table):
        return sensor
    quantity = QUANTITIES[sensor.quantity]
    changes: dict[str, float] = {}
    cadence = node.get("cadence")
    if cadence is not None:
        seconds = read_duration(report, cadence, Bound(quantity, float(sensor.cadence_s)))
        if seconds is not None and seconds < 1:
            report.add("E105", cadence, "a cadence must be at least 1 s", "faster signals belong in edge features")
        changes["cadence_s"] = max(1, int(seconds or 1))
        origins["cadence"] = cadence.origin
    span = node.get("range")
    if span is not None:
        low, high = (read_value(report, walk(span, [k]), quantity) for k in (0, 1))
        if low is not None and high is not None:
            if low >= high:
                report.add("E105", span, "the range is empty: its low end is not below its high end", "swap them")
            changes["low"], changes["high"] = low, high
        origins["range"] = span.origin
    if {"unit", "scale", "offset"} & set(node.entries):
        at = node.get("unit")
        reported = unit or sensor.unit
        if at is None or unit_is_known(report, at, quantity):
            zero = convert(0.0, reported, sensor.unit)
            slope = convert(1.0, reported, sensor.unit) - zero
            changes["scale"] = slope * (1.0 if scale is None else scale)
            changes["offset"] = slope * (offset or 0.0) + zero
        if changes.get("scale") == 0.0:
            report.add("E105", walk(node, ["scale"]), "a scale of 0 makes every reading the same", "give another")
        origins["calibration"] = node.key("scale").origin if "scale" in node.entries else node.origin
    return replace(sensor, **changes)  # type: ignore[arg-type]  # the keys above are the fields' own


def _check_upstream(inventory: Inventory, reading: Reading, report: Report) -> None:
    known = set(inventory.sites) | reading.declared.get("sites", set())
    for site in inventory.sites.values():
        node = inventory.places[f"site:{site.id}"]
        for index, word in enumerate(site.upstream):
            if word not in known:
                unknown(report, walk(node, ["upstream", index]), "upstream site", word, known)
            elif word == site.id:
                report.add("E304", walk(node, ["upstream", index]), f"site `{word}` is upstream of itself", "remove it")


def _adjust_sensors(document: Document, inventory: Inventory, reading: Reading, report: Report) -> None:
    for index, entry in enumerate(document.model.sensors):
        node = walk(document.root, ["sensors", index])
        matched = fnmatch.filter(inventory.sensors, entry.sensor)
        if not matched and reading.is_whole:
            unknown(report, walk(node, ["sensor"]), "sensor", entry.sensor, inventory.sensors)
        for key in matched:
            origins = inventory.origins[key]
            sensor = inventory.sensors[key]
            inventory.sensors[key] = _with(sensor, node, entry.unit, entry.scale, entry.offset, origins, report)
