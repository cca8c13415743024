"""The addresses beside /api/v1 in the OpenAPI page: health, metrics, signed links, answers of telephones."""

from __future__ import annotations

from typing import Any, Final

_ANSWER: Final = {"application/json": {"schema": {"$ref": "#/components/schemas/Answer"}}}
_PAGE: Final = {"text/html": {"schema": {"type": "string"}}}
_TEXT: Final = {"text/plain": {"schema": {"type": "string"}}}


def _said(content: dict[str, Any], **statuses: str) -> dict[str, Any]:
    return {status[1:]: {"description": text, "content": content} for status, text in statuses.items()}


def _path(name: str) -> list[dict[str, Any]]:
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}}]


_BUTTON: dict[str, Any] = {
    "type": "object",
    "description": "what the page's button sends: the alarm's revision and level as they were shown",
    "required": ["rev", "level"],
    "properties": {
        "rev": {"type": "string", "pattern": "^[0-9]{1,12}$"},
        "level": {"type": "string", "pattern": "^[0-9]{1,12}$"},
    },
}
PAGE_HEADERS: dict[str, Any] = {
    "X-Has-More": {"schema": {"type": "string", "enum": ["true", "false"]}, "description": "whether the list was cut"},
    "X-Next-After": {"schema": {"type": "string"}, "description": "the cursor of the next page, for `after`"},
    "Link": {"schema": {"type": "string"}, "description": "the address of the next page, rel=next"},
}
PAGES: Final[dict[str, dict[str, Any]]] = {
    "/livez": {
        "get": {"summary": "Does the process answer", "tags": ["health"], "responses": _said(_TEXT, s200="It does")}
    },
    "/metrics": {
        "get": {
            "summary": "All counters in the Prometheus text format",
            "tags": ["health"],
            "responses": _said(_TEXT, s200="The counters") | _said(_ANSWER, s401="A token is needed, off loopback"),
        }
    },
    "/readyz": {
        "get": {
            "summary": "Does the city work: problems in sentences, facts in numbers",
            "tags": ["health"],
            "responses": _said(
                {
                    "application/json": {
                        "schema": {
                            "type": "object",
                            "required": ["ready", "problems", "facts"],
                            "properties": {
                                "ready": {"type": "boolean"},
                                "problems": {"type": "array", "items": {"type": "object"}},
                                "facts": {"type": "object"},
                            },
                        }
                    }
                },
                s200="It does",
                s503="It does not; `problems` says why",
            ),
        }
    },
    "/k/{token}": {
        "get": {
            "summary": "Look at the alarm behind a signed link; looking never acknowledges",
            "tags": ["phone"],
            "parameters": _path("token"),
            "responses": _said(
                _PAGE,
                s200="The alarm",
                s403="Not a link of ours",
                s404="Over",
                s410="Over or expired",
                s429="Too often",
            ),
        },
        "post": {
            "summary": "Acknowledge as the one the link was sent to; twice is once",
            "tags": ["phone"],
            "parameters": _path("token"),
            "requestBody": {"required": True, "content": {"application/x-www-form-urlencoded": {"schema": _BUTTON}}},
            "responses": _said(
                _PAGE,
                s200="Acknowledged",
                s400="Not the page's form: nothing was done",
                s403="Not a link of ours",
                s404="Over",
                s409="It has become worse, or cannot be acknowledged now: look again",
                s410="Over or expired",
                s429="Too often",
                s503="Busy; once more",
            ),
        },
    },
    "/in/{channel}": {
        "post": {
            "summary": "What somebody answered by SMS or telephone, from the gateway of a channel",
            "tags": ["phone"],
            "parameters": _path("channel"),
            "requestBody": {
                "content": {
                    "application/json": {"schema": {"type": "object"}},
                    "application/x-www-form-urlencoded": {"schema": {"type": "object"}},
                }
            },
            "responses": _said(
                _ANSWER,
                s200="Taken; `message` is for the phone",
                s400="A field is missing",
                s401="The secret is wrong",
                s429="Too often",
                s503="Busy; once more",
            ),
        }
    },
}
