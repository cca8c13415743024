"""Numbers with units, read where they stand: `15 cm`, `5 cm/5 min`, `3 * cadence`, each problem at its own place."""

from __future__ import annotations

import re
import types
import typing
from dataclasses import dataclass
from typing import Any, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from citypulse.model import Quantity
from citypulse.units import UnitError, convert, duration_s, lookup, parse, parse_rate

from .load import is_refused
from .nodes import Node, Report, Scalar
from .values import MARKERS, Marker

_CADENCES = re.compile(r"^\s*(?:(\d+(?:\.\d+)?)\s*[*×]\s*)?cadence\s*$")
_METHANE_ONLY = "%LEL"


@dataclass(frozen=True, slots=True)
class Bound:
    """What a rule's numbers are read against: a quantity (None for gateways) and the sensor's cadence."""

    quantity: Quantity | None
    cadence_s: float | None


def marker_of(field: FieldInfo) -> Marker | None:
    """Return which unit-carrying kind a settings field is, if any; looks through `X | None`."""
    found = [m for m in field.metadata if m in MARKERS]
    return found[0] if found else _marker_in(field.annotation)


def _marker_in(annotation: Any) -> Marker | None:
    if get_origin(annotation) is typing.Annotated:
        for item in get_args(annotation)[1:]:
            if item in MARKERS:
                marker: Marker = item
                return marker
        return _marker_in(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        for part in get_args(annotation):
            inner = _marker_in(part)
            if inner:
                return inner
    return None


def read_duration(report: Report, node: Node, bound: Bound | None = None, *, is_signed: bool = False) -> float | None:
    """Read seconds; `3 * cadence` needs a bound sensor. None with the problem noted."""
    text = _text(report, node, "a duration", "for example `10 min`")
    if text is None:
        return None
    multiple = _CADENCES.match(text)
    if multiple:
        if bound is None or bound.cadence_s is None:
            report.add(
                "E126", node, f"`{text}`: there is no sensor here whose cadence could be meant", "write a duration"
            )
            return None
        return float(multiple[1] or 1) * bound.cadence_s
    try:
        return duration_s(text, is_signed=is_signed)
    except UnitError as error:
        code = "E120" if "has no unit" in str(error) else "E122" if "is not known" in str(error) else "E121"
        report.add(code, node, str(error), error.hint)
        return None


def read_value(report: Report, node: Node, quantity: Quantity, *, is_difference: bool = False) -> float | None:
    """Read a value in the quantity's canonical unit; a difference (dead band) ignores the unit's zero point."""
    text = _text(report, node, "a number with its unit", f"for example `15 {quantity.unit}`")
    if text is None:
        return None
    if isinstance(node, Scalar) and isinstance(node.value, int | float):
        # Nought is nought in every unit but a temperature's; pH is a number already.
        is_plain = quantity.unit == "pH" or (node.value == 0 and lookup(quantity.unit).dimension != "temperature")
        if is_plain:
            return float(node.value)
    try:
        measure = parse(text)
        _refuse_foreign_lel(measure.unit.symbol, quantity)
        if is_difference:
            return measure.to(quantity.unit) - convert(0.0, measure.unit.symbol, quantity.unit)
        return measure.to(quantity.unit)
    except UnitError as error:
        _note_unit(report, node, error, quantity)
        return None


def read_rate(report: Report, node: Node, quantity: Quantity) -> float | None:
    """Read a change in the quantity's canonical unit per second."""
    text = _text(report, node, "a change over time", f"for example `5 {quantity.unit}/5 min`")
    if text is None:
        return None
    try:
        rate = parse_rate(text)
        _refuse_foreign_lel(rate.unit.symbol, quantity)
        return rate.to(quantity.unit)
    except UnitError as error:
        if "change over time" in str(error) or "no time at all" in str(error):
            report.add("E124", node, str(error), f"write a change per time, for example `5 {quantity.unit}/5 min`")
        else:
            _note_unit(report, node, error, quantity)
        return None


def read_share(report: Report, node: Node) -> float | None:
    """Read a share from 0 to 1: `80 %` or `0.8`."""
    if isinstance(node, Scalar) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        share = float(node.value)
    else:
        text = _text(report, node, "a share", "for example `80 %`")
        if text is None:
            return None
        try:
            share = parse(text).to("%") / 100
        except UnitError as error:
            report.add("E123" if "is a unit of" in str(error) else "E122", node, str(error), "for example `80 %`")
            return None
    if not 0 < share <= 1:
        report.add("E105", node, f"`{_shown(node)}` must be above 0 % and at most 100 %", "for example `80 %`")
        return None
    return share


def read_number(report: Report, node: Node) -> float | None:
    """Read a bare number."""
    if isinstance(node, Scalar) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return float(node.value)
    if not (isinstance(node, Scalar) and is_refused(node.value)):
        report.add("E125", node, f"`{_shown(node)}` is not a bare number", "this detector's limits have no unit")
    return None


def _shown(node: Node) -> str:
    return node.text if isinstance(node, Scalar) else "this"


def _text(report: Report, node: Node, expected: str, hint: str) -> str | None:
    if isinstance(node, Scalar) and is_refused(node.value):
        return None
    if not isinstance(node, Scalar) or node.value is None or isinstance(node.value, bool):
        report.add("E102", node, f"`{_shown(node)}` must be {expected}", hint)
        return None
    return node.text


def _refuse_foreign_lel(symbol: str, quantity: Quantity) -> None:
    if symbol == _METHANE_ONLY and quantity.id != "ch4":
        raise UnitError(
            f"`%LEL` is of methane and cannot measure {quantity.name.en.lower()}", f"write it in `{quantity.unit}`"
        )


def _note_unit(report: Report, node: Node, error: UnitError, quantity: Quantity) -> None:
    message = str(error)
    subject = f"{quantity.name.en} is in `{quantity.unit}`"
    if "has no unit" in message:
        report.add("E120", node, f"{message}; {subject}", f"write `{_shown(node).strip()} {quantity.unit}`")
    elif "is not known" in message:
        report.add("E122", node, message, error.hint)
    elif "is not a number" in message:
        report.add("E125", node, message, error.hint)
    elif "%LEL" in message:
        report.add("E123", node, message, error.hint)
    else:
        report.add("E123", node, f"{message}; {subject}", error.hint)


def unit_is_known(report: Report, node: Node, quantity: Quantity) -> bool:
    """Check a `unit:` a gateway reports in against the quantity; note the problem when it cannot be converted."""
    try:
        unit = lookup(_shown(node))
        _refuse_foreign_lel(unit.symbol, quantity)
        convert(0.0, unit.symbol, quantity.unit)
    except UnitError as error:
        _note_unit(report, node, error, quantity)
        return False
    return True
