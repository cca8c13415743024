"""From a rule's layered nodes to numbers in the house's units, for one kind of sensor."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from citypulse.model import Gap, Inhibition, Limit, OrderPlan, Priority, Side, Text

from . import problems
from .causes import as_data, causes_of
from .inventory import unknown
from .layers import Layers, LimitLayer
from .nodes import Node, Report, Scalar, Table
from .scalars import Bound, marker_of, read_duration, read_number, read_rate, read_share, read_value
from .values import DetectorSettings, Marker

_MARKER_OF_LIMIT: dict[str, Marker] = {"value": "value", "rate": "rate", "seconds": "duration"}
_NO_ORDER = "none"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Effective:
    """A rule's effective content, in the house's units."""

    settings: DetectorSettings
    limits: tuple[Limit, ...]
    order: OrderPlan | None
    unit: str
    version: str
    name: Text
    source: str
    gap: Gap
    is_latching: bool
    accepts_suspect: bool
    is_diagnostic: bool
    inhibited_by: tuple[Inhibition, ...]
    advice: Text | None


def resolve(
    layers: Layers,
    settings: type[DetectorSettings],
    bound: Bound,
    silent_s: float | None,
    templates: set[str],
    report: Report,
) -> Effective | None:
    """Return the effective rule for sensors like `bound`, or None with every problem noted."""
    before = len(report.found)
    built = _settings(layers, settings, bound, report)
    limits = [_limit(layer, settings, bound, report) for layer in layers.limits.values()]
    order = _order(layers, bound, templates, report)
    if settings.needs_limits and not limits and layers.is_sound:
        report.add(
            "E112", layers.node.key("limits"), "overrides leave this rule without a limit", "use `disabled: true`"
        )
    if built is None or len(report.found) > before or not layers.is_sound:
        return None
    sound = tuple(limit for limit in limits if limit is not None)
    if not settings.needs_limits:
        sound = (_watchdog_limit(layers, built, silent_s),)
    name, advice = layers.fields["name"], layers.fields.get("advice")
    effective = Effective(
        settings=built,
        limits=tuple(sorted(sound, key=lambda lim: (lim.level, lim.side.value))),
        order=order,
        unit=_unit(settings, bound),
        version="",
        name=_text(name),
        source=_word(layers, "source", ""),
        gap=Gap(_word(layers, "gap", "reset")),
        is_latching=_flag(layers, "latch"),
        accepts_suspect=_word(layers, "accepts", "good") == "suspect",
        is_diagnostic=_flag(layers, "diagnostic"),
        inhibited_by=tuple(cause for _, cause in causes_of(layers.fields.get("inhibited_by"))),
        advice=_text(advice) if advice else None,
    )
    object.__setattr__(effective, "version", _version(layers, effective))
    return effective


def _settings(
    layers: Layers, settings: type[DetectorSettings], bound: Bound, report: Report
) -> DetectorSettings | None:
    plain: dict[str, Any] = {}
    before = len(report.found)
    for key, (_, node) in layers.settings.items():
        info = settings.model_fields.get(key)
        if info is None:
            continue
        marker = marker_of(info)
        # A detector bounds its own settings, so a negative one (an offset from UTC) is for it to judge.
        plain[key] = _read(marker, node, bound, report, is_setting=True) if marker else node.data()
    if len(report.found) > before:
        return None
    try:
        return settings.model_validate(plain)
    except ValidationError as error:
        section = layers.section
        root = Table(source=section.source, line=section.line, col=section.col, entries=layers.settings)
        problems.note(report, error, root, settings)
        return None


def _read(
    marker: Marker,
    node: Node,
    bound: Bound,
    report: Report,
    *,
    is_difference: bool = False,
    is_setting: bool = False,
) -> float | None:
    if isinstance(node, Scalar) and node.value is None:
        report.add("E102", node, "nothing is given here", "give a value, or leave the key out")
        return None
    if marker == "duration":
        return read_duration(report, node, bound, is_signed=is_setting)
    if bound.quantity is None:
        return read_number(report, node)
    if marker == "rate":
        return read_rate(report, node, bound.quantity)
    return read_value(report, node, bound.quantity, is_difference=is_difference)


def _limit(layer: LimitLayer, settings: type[DetectorSettings], bound: Bound, report: Report) -> Limit | None:
    marker = _MARKER_OF_LIMIT.get(settings.limits_in)

    def amount(key: str, *, is_difference: bool) -> float | None:
        node = layer.keys[key]
        if marker is None:
            return read_number(report, node)
        return _read(marker, node, bound, report, is_difference=is_difference)

    value = amount(layer.side, is_difference=False)
    extras = {"deadband": 0.0, "on_delay": 0.0, "off_delay": 0.0}
    for key in extras:
        if key in layer.keys:
            node = layer.keys[key]
            read = amount(key, is_difference=True) if key == "deadband" else read_duration(report, node, bound)
            if read is not None and read < 0:
                report.add("E105", node, f"`{key}` must not be negative", "it is a distance, not a direction")
            extras[key] = read or 0.0
    if value is None:
        return None
    return Limit(
        level=Priority.from_colour(layer.level),
        side=Side(layer.side),
        value=value,
        deadband=extras["deadband"],
        on_delay_s=extras["on_delay"],
        off_delay_s=extras["off_delay"],
        origin=layer.keys[layer.side].origin,
    )


def _watchdog_limit(layers: Layers, built: DetectorSettings, silent_s: float | None) -> Limit:
    """The one limit of a watchdog: silent for at least this many seconds."""
    level = layers.fields["level"]
    after_s = getattr(built, "after", None)
    return Limit(
        level=Priority.from_colour(str(level.data())),
        side=Side.AT_LEAST,
        value=float(after_s if after_s is not None else silent_s or 0.0),
        origin=level.origin,
    )


def _order(layers: Layers, bound: Bound, templates: set[str], report: Report) -> OrderPlan | None:
    node = layers.fields.get("order")
    if not isinstance(node, Table):
        return None
    template, verify = node.get("template"), node.get("verify_for")
    word = str(template.data()) if template else ""
    if template is not None and word not in templates:
        unknown(report, template, "order template", word, templates)
    verify_s = read_duration(report, verify, bound) if verify else None
    coverage = node.get("coverage")
    share = read_share(report, coverage) if coverage else 0.8
    opens_at = node.get("opens_at")
    return OrderPlan(
        template=word,
        verify_for_s=verify_s or 0.0,
        coverage=share or 0.8,
        opens_at=Priority.from_colour(str(opens_at.data())) if opens_at else Priority.P3,
    )


def _unit(settings: type[DetectorSettings], bound: Bound) -> str:
    unit = bound.quantity.unit if bound.quantity else ""
    return {"value": unit, "rate": f"{unit}/s", "seconds": "s", "none": ""}[settings.limits_in]


def _version(layers: Layers, effective: Effective) -> str:
    """Digest what decides: not names, advice or sources, so that better words are not a new rule."""
    content = {
        "rule": layers.rule_id,
        "detector": layers.detector,
        "settings": effective.settings.model_dump(mode="json"),
        "limits": [
            [int(lim.level), lim.side.value, lim.value, lim.deadband, lim.on_delay_s, lim.off_delay_s]
            for lim in effective.limits
        ],
        "unit": effective.unit,
        "gap": effective.gap.value,
        "latch": effective.is_latching,
        "suspect": effective.accepts_suspect,
        "diagnostic": effective.is_diagnostic,
        "inhibited_by": [as_data(cause) for cause in effective.inhibited_by],
        "order": None
        if effective.order is None
        else [
            effective.order.template,
            effective.order.verify_for_s,
            effective.order.coverage,
            int(effective.order.opens_at),
        ],
    }
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _text(node: Node) -> Text:
    data = node.data()
    return Text(zh=data["zh"], en=data["en"])


def _word(layers: Layers, key: str, default: str) -> str:
    node = layers.fields.get(key)
    return str(node.data()) if node else default


def _flag(layers: Layers, key: str) -> bool:
    node = layers.fields.get(key)
    return node is not None and node.data() is True
