"""The OpenAPI page, drawn from the same table of routes that serves the requests, so that it cannot drift."""

from __future__ import annotations

import re
from typing import Any

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
        operation["requestBody"] = {
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Command"}}},
        }
    return operation


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
