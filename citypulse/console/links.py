"""The page behind a signed link: what is wrong, where, since when, and one big button. Works without a script.

Looking never acknowledges: chat programs open links by themselves to show a preview. The button does, as the person
the link was sent to, through the heart like every other command; twice is once. What is sent must be the page's own
form, with the alarm's level and revision as they were shown: a scanner that posts to every address does nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs
from zoneinfo import ZoneInfo

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from alerts.delivery.links import PATH, Link, LinkError
from alerts.delivery.replies import who_taps
from alerts.lifecycle import LETTERS
from citypulse.clock import utc
from citypulse.mailbox import MailboxFullError
from citypulse.model import Actor, Command, Priority, Text

from .limits import RateLimit
from .pages import Pages
from .port import CityPort

FORM_BYTES_MAX = 2_000
ANSWER_WAIT_S = 15.0
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex",
    "Cache-Control": "no-store",
}
FORGED = Text(
    zh="链接无效。请打开最新的通知，或在值班台确认。", en="This link is not valid. Use the newest notice or the board."
)
EXPIRED = Text(zh="链接已过期。请在值班台确认。", en="This link has expired. Acknowledge on the board.")
GONE = Text(zh="这次告警已经结束，不需要再确认。", en="This alarm is over; nothing is left to acknowledge.")
STRANGER = Text(zh="收件人已不在名册中，请在值班台确认。", en="Its recipient is no longer listed; use the board.")
TOO_OFTEN = Text(zh="操作太频繁，请一分钟后再试。", en="Too many tries; wait a minute.")
BUSY = Text(zh="系统繁忙，请再按一次。", en="Busy; please press once more.")
NO_BUTTON = Text(zh="未确认。请按页面上的按钮。", en="Nothing was done; press the button on the page.")
WORSE = Text(zh="告警已升级，请看清后再确认。", en="It has become worse meanwhile; look, then acknowledge.")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """A link that holds: what it says, the alarm as it is now, and in whose name it is used."""

    token: str
    link: Link
    alarm: dict[str, Any]
    who: Actor


class _Closed(Exception):  # noqa: N818 - an answer, not a failure
    """A link that opens nothing: HTTP status and what to say."""

    def __init__(self, status: int, text: Text) -> None:
        self.status, self.text = status, text
        super().__init__(text.en)


class LinkPages:
    """Serves the signed links of one city."""

    def __init__(self, port: CityPort, pages: Pages) -> None:
        """Answer from `port`; forged links are bounded by address, real ones by link."""
        self._port = port
        self._pages = pages
        self._strangers = RateLimit(burst=20, per_minute=20)
        self._holders = RateLimit(burst=20, per_minute=20)

    def routes(self) -> list[Route]:
        """Return GET and POST of /k/<token>."""
        path = PATH + "{token}"
        return [
            Route(path, self._guarded(self._look), methods=["GET"]),
            Route(path, self._guarded(self._acknowledge), methods=["POST"]),
        ]

    def _guarded(
        self, serve: Callable[[Request, _Opened], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def page(request: Request) -> Response:
            try:
                opened = await run_in_threadpool(self._open, request)
                return await serve(request, opened)
            except _Closed as closed:
                return self._said(closed.status, closed.text)

        return page

    def _open(self, request: Request) -> _Opened:
        token, now_ms = request.path_params["token"], self._port.now_ms()
        address = request.client.host if request.client else ""
        try:
            link = self._port.signer.read(token, now_ms)
        except LinkError as error:
            if not self._strangers.allows(address, now_ms):
                raise _Closed(429, TOO_OFTEN) from None
            raise (_Closed(410, EXPIRED) if error.reason == "expired" else _Closed(403, FORGED)) from None
        if not self._holders.allows(token, now_ms):
            raise _Closed(429, TOO_OFTEN)
        config = self._port.config
        who = who_taps(link.target, config.people, config.teams)
        if who is None:
            raise _Closed(403, STRANGER)
        alarm = self._port.alarm(link.alarm)
        if alarm is None:
            raise _Closed(404, GONE)
        if alarm["isa"] == "A":
            raise _Closed(410, GONE)
        return _Opened(token=token, link=link, alarm=alarm, who=who)

    async def _look(self, _request: Request, opened: _Opened) -> Response:
        return await run_in_threadpool(self._show, opened, 200)

    async def _acknowledge(self, request: Request, opened: _Opened) -> Response:
        seen = await _form(request)
        rev, was = seen.get("rev", ""), seen.get("level", "")
        if not (_is_number(rev) and _is_number(was)):  # not the page's button: nobody has seen what is wrong
            return await run_in_threadpool(self._show, opened, 400, NO_BUTTON)
        if int(opened.alarm["level"]) < int(was):
            return await run_in_threadpool(self._show, opened, 409, WORSE)
        digest = hashlib.sha256(f"{opened.token}|{rev}".encode()).hexdigest()
        command = Command(
            id=f"link-{digest[:40]}",
            verb="alarm.acknowledge",
            target=opened.link.alarm,
            actor=opened.who,
            at_ms=self._port.now_ms(),
            data={"note": "通知链接确认 by the link in a notice"},
        )
        try:
            answer = await asyncio.wait_for(asyncio.wrap_future(self._port.submit(command)), ANSWER_WAIT_S)
        except (MailboxFullError, TimeoutError):
            return await run_in_threadpool(self._show, opened, 503, BUSY)
        if answer.code == "not_found":
            raise _Closed(410, GONE)
        now = await run_in_threadpool(self._open, request)
        is_done = answer.ok or now.alarm["is_acked"]  # somebody else was quicker: the page says who
        text = None if is_done else Text(zh="未能确认。", en=answer.message)
        return await run_in_threadpool(self._show, now, 200 if is_done else 409, text)

    def _show(self, opened: _Opened, status: int, text: Text | None = None) -> Response:
        alarm, config = opened.alarm, self._port.config
        site = config.sites.get(alarm["site"])
        area = config.areas.get(alarm["area"])
        rule = next((r for r in config.rules if r.id == alarm["rule"]), None)
        level = Priority(alarm["level"])
        html = self._pages.render(
            "phone.html",
            status=status,
            message=text,
            alarm=alarm,
            level=level,
            letter=LETTERS[alarm["isa"]],
            rule=rule.name if rule is not None else Text(zh=alarm["rule"], en=alarm["rule"]),
            advice=rule.advice if rule is not None else None,
            site=site.name if site is not None else Text(zh=alarm["scope"], en=alarm["scope"]),
            area=area if area is not None else Text(zh=alarm["area"], en=alarm["area"]),
            who=opened.who.name,
            may_ack="acknowledge" in alarm["allowed"],
            raised=self._local(alarm["raised_ms"]),
            acked=self._local(alarm["acked_ms"]) if alarm["acked_ms"] else "",
            minutes=max(0, self._port.now_ms() - alarm["raised_ms"]) // 60_000,
            timezone=config.timezone,
        )
        return HTMLResponse(html, status, headers=HEADERS)

    def _local(self, ms: int) -> str:
        return utc(ms).astimezone(ZoneInfo(self._port.config.timezone)).strftime("%m-%d %H:%M:%S")

    def _said(self, status: int, text: Text) -> Response:
        html = self._pages.render("phone.html", status=status, message=text, alarm=None)
        return HTMLResponse(html, status, headers=HEADERS)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 12


async def _form(request: Request) -> dict[str, str]:
    """Read a small urlencoded form; what is larger is none."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_BYTES_MAX:
            return {}
    return {name: values[0] for name, values in parse_qs(body.decode("latin-1"), max_num_fields=10).items()}
