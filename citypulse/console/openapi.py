"""The OpenAPI page, drawn from the same table of routes that serves the requests, so that it cannot drift."""

from __future__ import annotations

import re
from typing import Any

from alerts import order_fields

from .api import Route
from .routes import ROUTES

PICTURES = ("image/jpeg", "image/png", "image/webp")
_ERROR = {"$ref": "#/components/schemas/Answer"}


def _operation(route: Route, *, reads_need_token: bool) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", route.path)
    ]
    for name, kind, description in route.query:
        schema: dict[str, Any] = {"type": kind}
        if kind == "integer":
            schema["minimum"] = 0
        if name == "limit":
            schema["maximum"] = 10_000
        if name.endswith("_ms"):
            schema["maximum"] = 253_402_300_799_999
        if name == "after":
            schema["maximum"] = 2**53
        parameters.append({"name": name, "in": "query", "description": description, "schema": schema})
    content: dict[str, Any] = {"application/json": {"schema": {"type": route.answers}}}
    if route.answers == "csv":
        content = {"text/csv": {"schema": {"type": "string"}}}
    if route.answers == "picture":
        content = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in PICTURES}
    if route.is_change:
        content = {"application/json": {"schema": _ERROR}}
    refused = {"content": {"application/json": {"schema": _ERROR}}}
    responses: dict[str, Any] = {
        "200": {"description": "Done", "content": content},
        "400": {"description": "The request is wrong"} | refused,
        "404": {"description": "Not known"} | refused,
    }
    if route.is_change or reads_need_token:
        responses["401"] = {"description": "A token is needed"} | refused
    operation: dict[str, Any] = {"summary": route.summary, "parameters": parameters, "responses": responses}
    if route.is_change:
        responses["403"] = {"description": "Not for this role"} | refused
        responses["409"] = {"description": "Refused: says the state and what is allowed"} | refused
        responses["422"] = {"description": "Something the step needs is missing"} | refused
        responses["503"] = {"description": "No answer yet; ask again with the same command_id"} | refused
        operation["security"] = [{"token": []}]
        if route.takes == "picture":
            responses |= {
                "413": {"description": "The picture is too large"} | refused,
                "415": {"description": "This is no picture"} | refused,
                "507": {"description": "There is no room for more pictures"} | refused,
            }
            operation["requestBody"] = {
                "required": True,
                "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in PICTURES},
            }
            return operation
        schema = {"$ref": "#/components/schemas/Command"}
        if route.forms:
            operation["description"] = "\n\n".join(_told(verb) for verb in route.forms)
            schema = {"anyOf": [*({"$ref": f"#/components/schemas/order.{v}"} for v in route.forms), schema]}
        operation["requestBody"] = {"content": {"application/json": {"schema": schema}}}
    return operation


_SCHEMAS: dict[str, dict[str, Any]] = {
    "photo": {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"},
    "position": {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2},
    "items": {"type": "array", "items": {"type": "integer", "minimum": 1}},
    "proof": {
        "type": "object",
        "required": ["photo", "lat", "lon"],
        "properties": {"photo": {"type": "string"}, "lat": {"type": "number"}, "lon": {"type": "number"}},
    },
}


def _told(verb: str) -> str:
    """Say of one verb who may use it, in which states, and what each has to say."""
    rows = order_fields.rows_of(verb)
    who = sorted({r for row in rows for r in row.roles if r != "system"}) or ["everyone"]
    states = dict.fromkeys(s.name for row in rows for s in row.sources)
    needs = [f"{f.name} ({', '.join(f.needed_by)})" for f in order_fields.fields_of(verb) if f.needed_by]
    said = f"`{verb}`: {', '.join(who)}"
    said += f"; in {', '.join(states)}" if states else ""
    return said + (f"; needs {', '.join(needs)}" if needs else "; needs nothing")


def _form(verb: str) -> dict[str, Any]:
    properties: dict[str, Any] = {"command_id": {"type": "string", "maxLength": 200}}
    for field in order_fields.fields_of(verb):
        schema = dict(_SCHEMAS.get(field.kind, {"type": field.kind}))
        if field.choices:
            schema["enum"] = list(field.choices)
        properties[field.name] = schema | {"description": field.about}
    required = list(order_fields.always_needed(verb))
    form = {"type": "object", "description": _told(verb), "properties": properties}
    return form | ({"required": required} if required else {})


def document(*, reads_need_token: bool) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of the API."""
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        operation = _operation(route, reads_need_token=reads_need_token)
        paths.setdefault(route.path, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "citypulse 城脉", "version": "1"},
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Command": {
                    "type": "object",
                    "properties": {"command_id": {"type": "string", "maxLength": 200}},
                    "additionalProperties": True,
                },
                **{f"order.{verb}": _form(verb) for verb in ("new", *order_fields.verbs())},
                "Answer": {
                    "type": "object",
                    "required": ["ok"],
                    "properties": {
                        "ok": {"type": "boolean"},
                        "message": {"type": "string"},
                        "code": {"type": "string"},
                        "allowed": {"type": "array", "items": {"type": "string"}},
                        "subject": {"type": "string"},
                        "command_id": {"type": "string"},
                    },
                },
            },
        },
    }
