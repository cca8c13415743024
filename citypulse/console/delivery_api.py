"""The HTTP API of notices and channels: a table of routes beside api.ROUTES."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from citypulse.model import Actor

from .api import LIMIT_DEFAULT, LIMIT_MAX, Route, missing
from .asking import whole, word
from .auth import AuthError
from .paging import AFTER, after, listed
from .port import CityPort

STATES = ("pending", "leased", "delivered", "failed", "dead", "obsolete", "split")


async def list_notices(request: Request, port: CityPort, _who: Actor) -> Response:
    """Notices with what came of them, newest first."""
    words = {name: request.query_params.get(name, "") for name in ("channel", "subject")}
    words["state"] = word(request, "state", STATES)
    limit = whole(request, "limit", LIMIT_DEFAULT, most=LIMIT_MAX)
    before = next((int(number) for number in after(request, (int,))), None)
    rows = await run_in_threadpool(port.notices, limit=limit + 1, before=before, **words)
    return listed(request, rows, limit, ("id",))


def _number(request: Request) -> int:
    text = request.path_params["id"]
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else -1


async def one_notice(request: Request, port: CityPort, _who: Actor) -> Response:
    """One notice."""
    found = await run_in_threadpool(port.notice, _number(request))
    return missing("notice", request.path_params["id"]) if found is None else JSONResponse(found)


async def retry_notice(request: Request, port: CityPort, who: Actor) -> Response:
    """Send a failed or dead notice again, once its channel is mended."""
    if who.role not in {"admin", "engineer", "lead", "duty"}:
        raise AuthError(f"role {who.role!r} may not send notices again; it needs duty, lead, engineer or admin", 403)
    name = request.path_params["id"]
    found = await run_in_threadpool(port.notice, _number(request))
    if found is None:
        return missing("notice", name)
    if await run_in_threadpool(port.retry_notice, _number(request)):
        return JSONResponse({"ok": True, "message": f"重新发送 notice {name} is to be sent again", "subject": name})
    said = f"notice {name} is {found['state']}; only a failed or dead one can be sent again"
    return JSONResponse({"ok": False, "code": "not_allowed", "message": said, "allowed": []}, 409)


async def list_channels(_request: Request, port: CityPort, _who: Actor) -> Response:
    """Channels with their health and what waits for them."""
    return JSONResponse(await run_in_threadpool(port.channels))


_PAGE = (("limit", "integer", f"at most this many, up to {LIMIT_MAX}"),)
ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/api/v1/notices",
        summary="List notices with what came of them",
        handler=list_notices,
        noun="Notice",
        answers="array",
        query=(
            ("state", "string", "pending, leased, delivered, failed, dead or obsolete"),
            ("channel", "string", "its own channel, or the one it is sent by"),
            ("subject", "string", "an alarm or order id"),
            *_PAGE,
            AFTER,
        ),
    ),
    Route(method="GET", path="/api/v1/notices/{id}", summary="Show one notice", handler=one_notice, noun="Notice"),
    Route(
        method="POST",
        path="/api/v1/notices/{id}/retry",
        summary="Send a failed or dead notice again",
        handler=retry_notice,
        is_change=True,
    ),
    Route(method="GET", path="/api/v1/channels", summary="List channels", handler=list_channels, answers="array"),
)
