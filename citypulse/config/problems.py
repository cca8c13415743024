"""Turns what pydantic found into our own diagnostics: at the right key or value, in words an engineer uses."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from .load import is_refused
from .nodes import Listing, Node, Report, Scalar, Table, did_you_mean, step

_EXPECTED = {
    "string_type": "a text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "is_instance_of": "another value",
}
_PLACE = ("zh", "en", "lat", "lon")  # the short form of a place, in order
_BOUNDS = {
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "finite_number": "must be a finite number",
}


def note(report: Report, error: ValidationError, root: Node, model: type[BaseModel]) -> None:
    """Add every problem of `error`, found when `root` was checked against `model`."""
    for detail in error.errors(include_url=False):
        _note_one(report, detail, root, model)


def _note_one(report: Report, detail: ErrorDetails, root: Node, model: type[BaseModel]) -> None:
    parts = _real_path(detail["loc"], root)
    node, at_key = _locate(root, parts)
    if any(isinstance(n, Scalar) and is_refused(n.value) for n in (node, at_key)):
        return
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in _EXPECTED and isinstance(node, Scalar) and node.value is None:
        return  # nothing is given at all, which is noted for every key alike
    last = _name(detail["loc"], parts)
    if detail["loc"] and detail["loc"][-1] == "[key]" and at_key is not None:
        node, last = at_key, "id"  # the key itself is what is wrong
    if kind == "extra_forbidden":
        owner = _owner(model, parts[:-1])
        known = sorted(info.alias or name for name, info in owner.model_fields.items()) if owner else []
        hint = did_you_mean(last, known, several="keys")
        if " " in last and isinstance(node, Scalar) and node.value is None:
            hint = "quote the text: inside `{ }` a comma begins the next key"
        report.add("E104", at_key or node, f"unknown key `{last}` in {_what(owner)}", hint)
    elif kind == "missing":
        owner = _owner(model, parts[:-1])
        report.add("E101", node, f"`{last}` is missing in {_what(owner)}", f"add `{last}:`")
    elif kind in _EXPECTED:
        _note_type(report, node, _EXPECTED[kind], last)
    elif kind in ("literal_error", "enum"):
        _note_choice(report, node, detail)
    elif kind in _BOUNDS:
        bound = {key: f"{value:g}" for key, value in context.items() if isinstance(value, int | float)}
        message = f"`{last}` {_BOUNDS[kind].format(**bound)}, not {_shown(node)}"
        report.add("E105", node, message, _field_note(last))
    elif kind == "string_pattern_mismatch":
        report.add(
            "E106", node, f"{_shown(node)} is not a valid {last or 'text'}", _pattern_hint(str(context.get("pattern")))
        )
    elif kind in ("too_short", "string_too_short"):
        if isinstance(node, Listing) and node.items:
            return  # its items are wrong, which is noted at each of them
        report.add("E108", at_key or node, f"`{last}` is empty", "give at least one, or leave the key out")
    elif kind in ("too_long", "string_too_long"):
        report.add("E105", node, f"`{last}` is too long: at most {context.get('max_length')}", "shorten it")
    elif kind.startswith("E") and kind[1:].isdigit():
        report.add(kind, at_key or node, detail["msg"])
    else:
        report.add("E109", node, detail["msg"].removeprefix("Value error, "))


def _real_path(loc: Sequence[str | int], root: Node) -> list[str | int]:
    """Drop what pydantic adds for unions, dict keys and validators: keep what exists in the file, and the last part."""
    path: list[str | int] = []
    node: Node | None = root
    for index, part in enumerate(loc):
        if isinstance(node, Listing) and part in _PLACE:
            part = _PLACE.index(str(part))  # noqa: PLW2901 - a place in its short form is a list
        child = step(node, part) if node is not None else None
        if child is not None:
            path.append(part)
            node = child
        elif index == len(loc) - 1 and isinstance(part, str) and "[" not in part and isinstance(node, Table):
            path.append(part)
    return path


def _name(loc: Sequence[str | int], parts: Sequence[str | int]) -> str:
    """Return what to call the offending thing: its key, also where a short form has none."""
    last = loc[-1] if loc and loc[-1] in _PLACE else (parts[-1] if parts else "")
    return str(last)


def _locate(root: Node, parts: Sequence[str | int]) -> tuple[Node, Node | None]:
    """Return the deepest node of the path, and the key that names it when it stands in a mapping."""
    node, key = root, None
    for part in parts:
        child = step(node, part)
        if child is None:
            break
        key = node.key(part) if isinstance(node, Table) and isinstance(part, str) else None
        node = child
    return node, key


def _owner(model: type[BaseModel], parts: Sequence[str | int]) -> type[BaseModel] | None:
    """Follow a path through the models' annotations to the model that owns the last key."""
    current: Any = model
    for part in parts:
        current = _inner(current)
        if isinstance(current, type) and issubclass(current, BaseModel):
            field = current.model_fields.get(str(part))
            current = field.annotation if field else None
        elif get_origin(current) in (tuple, list):
            current = get_args(current)[0]
        elif get_origin(current) in (dict, Mapping):
            current = get_args(current)[1]
        else:
            return None
    current = _inner(current)
    return current if isinstance(current, type) and issubclass(current, BaseModel) else None


def _inner(annotation: Any) -> Any:
    """Look through Annotated and Optional."""
    while True:
        origin = get_origin(annotation)
        if origin is typing.Annotated:
            annotation = get_args(annotation)[0]
        elif origin in (Union, types.UnionType):
            models = [a for a in get_args(annotation) if a is not type(None) and get_origin(a) is not typing.Literal]
            if not models:
                return annotation
            annotation = models[0]
        else:
            return annotation


def _what(owner: type[BaseModel] | None) -> str:
    return str(getattr(owner, "what", "")) or "this section"


def _shown(node: Node) -> str:
    return f"`{node.text}`" if isinstance(node, Scalar) else "this"


def _note_type(report: Report, node: Node, expected: str, name: str) -> None:
    given = _kind(node)
    subject = f"`{name}`" if name and not name.isdigit() else "this"
    hint = ""
    if expected == "a text" and isinstance(node, Scalar):
        hint = f'quote it: `"{node.text}"`'
    report.add("E102", node, f"{subject} must be {expected}, not {given}", hint)


def _kind(node: Node) -> str:
    if not isinstance(node, Scalar):
        return "a mapping" if isinstance(node, Table) else "a list"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a text"}
    return f"{names.get(type(node.value), 'a value')} (`{node.text}`)"


def _note_choice(report: Report, node: Node, detail: ErrorDetails) -> None:
    allowed = str(detail.get("ctx", {}).get("expected", ""))
    words = [w.strip().strip("'") for w in allowed.replace(" or ", ", ").split(",")]
    report.add("E103", node, f"{_shown(node)} is not one of {', '.join(words)}", did_you_mean(_text(node), words))


def _text(node: Node) -> str:
    return node.text if isinstance(node, Scalar) else ""


def _field_note(name: str) -> str:
    return {
        "lat": "latitude in degrees, WGS 84; latitude comes before longitude",
        "lon": "longitude in degrees, WGS 84; latitude comes before longitude",
        "count": "a pattern makes 1 to 1000 sites",
    }.get(name, "")


def _pattern_hint(pattern: str) -> str:
    if "mqtt" in pattern:
        return "write `mqtt://host:1883` or `mqtts://host:8883`; credentials never stand in this file"
    if pattern.endswith("[0-9]+$"):
        return "end it with the first number, for example `g-0040`"
    return "use lower-case letters, digits, `-` and `_`; begin with a letter or digit"
