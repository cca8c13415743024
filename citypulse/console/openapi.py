"""The OpenAPI page, drawn from the same table of routes that serves the requests, so that it cannot drift."""

from __future__ import annotations

import re
from typing import Any

from alerts.lifecycle import ALARM_VERBS
from alerts.orders import fields as order_fields

from . import points_api
from .api import Route
from .openapi_nouns import noun_schemas
from .openapi_pages import PAGE_HEADERS, PAGES
from .paging import AFTER, SORTS
from .routes import ROUTES

PICTURES = ("image/jpeg", "image/png", "image/webp")
_ERROR = {"$ref": "#/components/schemas/Answer"}
# What {verb} may stand for, by the start of the path.
VERBS: dict[str, tuple[str, ...]] = {
    "/api/v1/alarms/": tuple(ALARM_VERBS),
    "/api/v1/orders/": tuple(order_fields.verbs()),
    "/api/v1/points/": points_api.VERBS,
    "/api/v1/mutes/": ("extend", "cancel"),
    "/api/v1/rota/": ("override", "withdraw", "handover"),
}
_ALARM = "gas-ch4-space|g-0001.ch4 #1"
# One answer of each kind, as the service gives it.
EXAMPLES: dict[str, dict[str, Any]] = {
    "200": {
        "ok": True,
        "code": "",
        "message": f"确认 acknowledge: {_ALARM} 现为已确认 is C (acknowledged)",
        "allowed": ["comment"],
    },
    "400": {
        "ok": False,
        "code": "bad_request",
        "message": "query field 'limit' must be a whole number from 0 to 10000, not '-1'",
    },
    "401": {"ok": False, "code": "auth", "message": "a token is needed: Authorization: Bearer …"},
    "403": {
        "ok": False,
        "code": "forbidden",
        "message": '告警 Alarm … 现为未确认 is B; "acknowledge" 限 is for duty, lead; 您是 you are crew',
    },
    "404": {"ok": False, "code": "not_found", "message": "没有 no sensor 'f-0001.dept'; did you mean 'f-0001.depth'?"},
    "409": {
        "ok": False,
        "code": "not_allowed",
        "message": f'告警 Alarm {_ALARM} 现为未确认 is B; "reset" 须为 needs C. 现在可做 Allowed now: acknowledge',
        "allowed": ["acknowledge"],
    },
    "412": {"ok": False, "code": "changed", "message": '已有变化 it is at revision "4" now, not "3"; look again'},
    "422": {"ok": False, "code": "bad_data", "message": f'告警 {_ALARM} is B: "shelve": 缺少 needs reason, until_ms'},
    "503": {"ok": False, "code": "no_answer", "message": "no answer yet; ask again with the same command_id"},
}


def _path_schema(name: str, path: str) -> dict[str, Any]:
    verbs = next((verbs for start, verbs in VERBS.items() if name == "verb" and path.startswith(start)), ())
    return {"type": "string"} | ({"enum": list(verbs)} if verbs else {})


def _operation(route: Route, *, reads_need_token: bool) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": _path_schema(name, route.path)}
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
        if name == "after" and kind == "integer":
            schema["maximum"] = 2**53
        if name == "sort":
            schema["enum"] = list(SORTS)
        parameters.append({"name": name, "in": "query", "description": description, "schema": schema})
    noun: dict[str, Any] = {"$ref": f"#/components/schemas/{route.noun}"} if route.noun else {}
    schema = {"type": "array", "items": noun} if route.answers == "array" else noun or {"type": route.answers}
    content: dict[str, Any] = {"application/json": {"schema": schema}}
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
    if route.method == "GET" and "{" in route.path and route.noun:
        responses["200"]["headers"] = {"ETag": {"schema": {"type": "string"}, "description": "its revision"}}
    if AFTER in route.query:
        responses["200"]["headers"] = PAGE_HEADERS
    operation: dict[str, Any] = {"summary": route.summary, "parameters": parameters, "responses": responses}
    if route.is_change:
        responses["403"] = {"description": "Not for this role"} | refused
        if route.takes != "picture":
            responses["412"] = {"description": "Changed since the revision that If-Match names"} | refused
            parameters += _CHANGE_HEADERS
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


_CHANGE_HEADERS: list[dict[str, Any]] = [
    {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "the same as command_id in the body: asked again with it, the first answer comes again",
        "schema": {"type": "string", "maxLength": 200, "pattern": "^[A-Za-z0-9._-]{1,200}$"},
    },
    {
        "name": "If-Match",
        "in": "header",
        "description": "the ETag of the alarm or order as it was seen; 412 when it has changed since",
        "schema": {"type": "string", "pattern": '^"[0-9]{1,9}"$'},
    },
]


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


def _finished(route: Route, operation: dict[str, Any]) -> dict[str, Any]:
    """Name an operation, sort it under a heading and give each of its errors an example."""
    for status, response in operation["responses"].items():
        for kind, content in response["content"].items():
            is_answer = content["schema"] == _ERROR
            if kind == "application/json" and is_answer and status in EXAMPLES:
                content["example"] = EXAMPLES[status]
    words = [w.strip("{}") for w in route.path.removeprefix("/api/v1/").split("/")]
    return operation | {"operationId": "_".join((route.method.lower(), *words)), "tags": [words[0]]}


def document(*, reads_need_token: bool) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of the API."""
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        operation = _operation(route, reads_need_token=reads_need_token)
        paths.setdefault(route.path, {})[route.method.lower()] = _finished(route, operation)
    paths |= PAGES
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
                **noun_schemas(),
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
