"""The web console: the HTTP API, health, metrics, and one calm page. Everything it shows was committed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from zoneinfo import ZoneInfo

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount
from starlette.routing import Route as Path_
from starlette.staticfiles import StaticFiles

from alerts.lifecycle import LETTERS
from citypulse.clock import iso, utc
from citypulse.errors import StoreError
from citypulse.event_words import state_words
from citypulse.model import Priority

from .api import endpoint
from .asking import Keys
from .auth import AuthError, actor, refuse
from .links import LinkPages
from .manners import Manners, broken, refused, store_shut
from .openapi import document
from .pages import Pages
from .port import CityPort
from .replies import ReplyDoor
from .routes import ROUTES

HERE = Path(__file__).parent
SITUATIONS_SHOWN = 50
SHAPES = "⬣▲◆●"  # by level: colour is never the only sign
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def build(port: CityPort, *, reads_need_token: bool, hosts: list[str]) -> Starlette:
    """Build the ASGI application over a running city. `hosts` are the accepted Host headers ("*" for any)."""
    pages = Pages()

    def guarded(page: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def serve(request: Request) -> Response:
            try:
                actor(request, port, may_be_anonymous=not reads_need_token)
            except AuthError as error:
                return refuse(error)
            return await page(request)

        return serve

    async def livez(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_request: Request) -> Response:
        health = await run_in_threadpool(port.health)
        body = {
            "ready": health.is_ready,
            "problems": [{"zh": zh, "en": en} for zh, en in health.problems],
            "facts": health.facts,
        }
        return JSONResponse(body, 200 if health.is_ready else 503)

    async def metrics(_request: Request) -> Response:
        text = await run_in_threadpool(port.metrics_text)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def openapi(_request: Request) -> Response:
        return JSONResponse(document(reads_need_token=reads_need_token))

    def board() -> str:
        now_ms, seen = port.now_ms(), port.situations()
        return pages.render(
            "board.html",
            storms=seen["storms"],
            situations=seen["situations"][:SITUATIONS_SHOWN],
            alarms=port.alarms(open_only=True, limit=200, domain="", since_ms=None),
            orders=port.orders(open_only=True, limit=200, team="", state=""),
            health=port.health(),
            now_ms=now_ms,
            now=iso(now_ms),
            timezone=port.config.timezone,
            local=lambda ms: utc(ms).astimezone(ZoneInfo(port.config.timezone)).strftime("%m-%d %H:%M:%S"),
            shape=lambda level: f"{SHAPES[level - 1]} {level}",
            level_name=lambda level: f"{Priority(level).colour_zh} {Priority(level).colour} {level}",
            letters=LETTERS,
            state=state_words,
        )

    async def front(_request: Request) -> Response:
        return HTMLResponse(await run_in_threadpool(board), headers=SECURITY_HEADERS)

    app = Starlette(
        routes=[
            Path_("/livez", livez),
            Path_("/readyz", readyz),
            Path_("/metrics", guarded(metrics)),
            Path_("/api/openapi.json", openapi),
            *(Path_(r.path, endpoint(r, port, reads_need_token=reads_need_token), methods=[r.method]) for r in ROUTES),
            *LinkPages(port, pages).routes(),
            *ReplyDoor(port).routes(),
            Path_("/", guarded(front)),
            Mount("/static", StaticFiles(directory=HERE / "static")),
        ],
        middleware=[Middleware(Manners), Middleware(TrustedHostMiddleware, allowed_hosts=hosts)],
        exception_handlers={HTTPException: refused, StoreError: store_shut, Exception: broken},
    )
    app.state.keys = Keys()
    return app
