"""What every answer has in common: headers that keep it private and inert, and errors in one form."""

from __future__ import annotations

from typing import Any

import structlog
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

STATIC = "/static/"
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",  # alarms are news: no browser or proxy may show an old list
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
WORDS = {404: "没有此地址 no such address", 405: "此地址不接受这种请求 not a method of this address"}
log = structlog.get_logger()


class Manners:
    """ASGI middleware: adds to every answer the headers it does not set itself."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_static = scope["path"].startswith(STATIC)

        async def polite(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    if not (is_static and name == "Cache-Control"):
                        headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, polite)


async def refused(request: Request, error: Exception) -> JSONResponse:
    """Answer what no route answers in the form of every other refusal."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    said = f"{WORDS.get(status, str(error))}: {request.method} {request.url.path[:200]}"
    if status == 404:
        said += "; /api/openapi.json lists the addresses"
    body: dict[str, Any] = {"ok": False, "code": {404: "not_found", 405: "method"}.get(status, "http"), "message": said}
    return JSONResponse(body, status, headers=getattr(error, "headers", None))


async def store_shut(_request: Request, error: Exception) -> JSONResponse:
    """Answer what only the reading store knows while it cannot be read: alarms and orders go on without it."""
    said = f"读数库暂不可用，告警与工单照常 the reading store cannot be read now; alarms and orders go on: {error}"
    return JSONResponse({"ok": False, "code": "store", "message": said}, 503)


async def broken(request: Request, error: Exception) -> JSONResponse:
    """Answer a fault of ours: no detail for the asker, all of it for the log."""
    log.error("console.fault", method=request.method, path=request.url.path[:200], exc_info=error)
    said = "内部错误，已记入日志 a fault inside; it stands in the service's log"
    return JSONResponse({"ok": False, "code": "fault", "message": said}, 500)
