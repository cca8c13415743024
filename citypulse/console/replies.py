"""Where SMS and voice gateways bring what people answered: POST /in/<channel>, guarded by that channel's own secret.

The secret comes as `Authorization: Bearer …` or in `X-Citypulse-Secret`. The body is a JSON object or a form with the
fields the channel's settings name. The answer says in words what came of it, for the gateway to send back.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from citypulse.delivery import gateway_of, may_answer
from citypulse.mailbox import MailboxFullError

from .auth import bearer
from .limits import RateLimit
from .port import CityPort

BODY_BYTES_MAX = 16_384
ANSWER_WAIT_S = 15.0


class ReplyDoor:
    """Takes the answers of plain phones."""

    def __init__(self, port: CityPort) -> None:
        """Hand them to `port`; wrong secrets are bounded by address, answers by phone."""
        self._port = port
        self._strangers = RateLimit(burst=10, per_minute=10)
        self._phones = RateLimit(burst=20, per_minute=20)

    def routes(self) -> list[Route]:
        """Return POST /in/<channel>."""
        return [Route("/in/{channel}", self._take, methods=["POST"])]

    async def _take(self, request: Request) -> Response:
        channel, now_ms = request.path_params["channel"], self._port.now_ms()
        settings = gateway_of(self._port.config, channel)
        given = bearer(request) or request.headers.get("x-citypulse-secret", "")
        # One answer for "no such channel" and "wrong secret": the address tells nothing about the configuration.
        if settings is None or not await run_in_threadpool(may_answer, settings, given):
            address = request.client.host if request.client else ""
            status = 401 if self._strangers.allows(address, now_ms) else 429
            return _said(status, "auth", "密钥不对 the secret is wrong or this channel takes no answers")
        fields = await _fields(request)
        phone, text = fields.get(settings.inbound_phone, ""), fields.get(settings.inbound_text, "")
        if not phone or len(phone) > 40:
            return _said(400, "bad_request", f"field {settings.inbound_phone!r} must be the telephone number")
        if not self._phones.allows(phone, now_ms):
            return _said(429, "too_often", "回复太频繁 too many answers from this number")
        command, said = await run_in_threadpool(self._port.reply, channel, phone, text)
        if command is None:
            return _said(200, "not_understood", said, ok=False)  # the gateway did its part: no repeat wanted
        try:
            answer = await asyncio.wait_for(asyncio.wrap_future(self._port.submit(command)), ANSWER_WAIT_S)
        except (MailboxFullError, TimeoutError):
            return _said(503, "busy", "系统繁忙，请再试 busy, try again")
        return _said(200, answer.code, answer.message, ok=answer.ok)


def _said(status: int, code: str, message: str, *, ok: bool = False) -> JSONResponse:
    return JSONResponse({"ok": ok, "code": code, "message": message}, status)


async def _fields(request: Request) -> dict[str, str]:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            return {}
    if "json" in request.headers.get("content-type", ""):
        try:
            found: Any = json.loads(body)
        except (ValueError, RecursionError):
            return {}
        return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}
    try:
        listed = parse_qs(body.decode("utf-8"), max_num_fields=50)
    except ValueError:
        return {}
    return {name: values[0] for name, values in listed.items()}
