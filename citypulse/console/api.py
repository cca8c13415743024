"""The HTTP API, /api/v1: a table of routes, each a few lines; what may be done is decided by the heart, not here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse

from alerts.orders import fields as order_fields
from citypulse.clock import iso
from citypulse.domains import DOMAINS
from citypulse.errors import CityError
from citypulse.evidence.incident_page import page
from citypulse.evidence.photos import references
from citypulse.ledger import ALARM_STATES
from citypulse.mailbox import MailboxFullError
from citypulse.model import Actor, Command, OrderState

from .asking import BadRequest, body_of, command_id_of, flag, keys_of, near, only_known, whole, word
from .auth import AuthError, actor, refuse
from .paging import AFTER, SORT, listed, start
from .pictures import keep_picture, one_picture
from .port import CityPort

LIMIT_DEFAULT = 200
LIMIT_MAX = 10_000
ANSWER_WAIT_S = 15.0  # a commit takes milliseconds; past this the caller asks again with the same command_id
ORDER_STATES = tuple(state.value for state in OrderState)
STANDALONE = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"
INSTANT_MS_MAX = 253_402_300_799_999  # the last millisecond of the year 9999


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One row of the API: also the source of its OpenAPI page."""

    method: str
    path: str
    summary: str
    handler: Callable[[Request, CityPort, Actor], Awaitable[Response]]
    is_change: bool = False
    query: tuple[tuple[str, str, str], ...] = ()  # name, type, description
    noun: str = ""  # what a read answers, one or a list of: a name of openapi_nouns
    answers: str = "object"  # object | array | csv | picture
    takes: str = "object"  # object | picture: what a change carries
    forms: tuple[str, ...] = ()  # verbs of orders whose data it takes (alerts.orders.fields)


async def submit(request: Request, port: CityPort, who: Actor, verb: str, target: str) -> Response:
    """Hand a command to the heart and answer after its commit: 200 done, 409 refused, 404 unknown, 503 no answer."""
    data = await body_of(request)
    command_id = command_id_of(request, data)
    if changed := await run_in_threadpool(_has_moved, request, port, verb, target):
        return JSONResponse({"ok": False, "code": "changed", "message": changed, "command_id": command_id}, 412)
    if keys_of(request).is_reused(command_id, verb, target, who.name, data):
        said = f"command_id {command_id!r} 已用于另一请求 was used for another request; take a new one"
        return JSONResponse({"ok": False, "code": "id_reused", "message": said, "command_id": command_id}, 409)
    command = Command(id=command_id, verb=verb, target=target, actor=who, at_ms=port.now_ms(), data=data)
    if absent := await run_in_threadpool(port.pictures.lacks, list(references(data))):
        said = f"图片未上传 no picture with sha256 {absent[0][:64]!r}: send it first to /api/v1/evidence"
        return JSONResponse({"ok": False, "code": "bad_data", "message": said, "command_id": command_id}, 422)
    try:
        future = port.submit(command)
    except MailboxFullError as error:
        return JSONResponse({"ok": False, "code": "busy", "message": str(error), "command_id": command_id}, 503)
    try:
        answer = await asyncio.wait_for(asyncio.wrap_future(future), ANSWER_WAIT_S)
    except TimeoutError:
        body = {"ok": False, "code": "no_answer", "message": "no answer yet; ask again with the same command_id"}
        return JSONResponse(body | {"command_id": command_id}, 503)
    status = 200 if answer.ok else {"not_found": 404, "forbidden": 403, "bad_data": 422}.get(answer.code, 409)
    body = {
        "ok": answer.ok,
        "message": answer.message,
        "code": answer.code,
        "allowed": list(answer.allowed),
        "subject": answer.subject,
        "command_id": command_id,
    }
    return JSONResponse(body, status)


def _has_moved(request: Request, port: CityPort, verb: str, target: str) -> str:
    """Say how a target differs from the revision that If-Match names, or "".

    It is looked at before the command is queued; what arrives in between is judged by the tables, as always.
    """
    wanted = request.headers.get("if-match", "").strip()
    if not wanted or wanted == "*" or not target or not verb.startswith(("alarm.", "order.")):
        return ""
    view = port.alarm(target) if verb.startswith("alarm.") else port.order(target)
    if view is None or tag(view) in {one.strip() for one in wanted.split(",")}:
        return ""
    return f"已有变化 {target} has changed: it is at revision {tag(view)} now, not {wanted[:40]}; look again"


def tag(view: dict[str, Any]) -> str:
    """Return the ETag of an alarm or order: its revision in the record."""
    return f'"{view["rev"]}"'


def shown(found: dict[str, Any]) -> JSONResponse:
    """Answer one alarm or order, with the tag that If-Match takes."""
    return JSONResponse(found, headers={"ETag": tag(found)})


def missing(what: str, name: str, known: Iterable[str] = ()) -> JSONResponse:
    """Answer 404 with a sentence, and with what is near among the `known`."""
    said = f"没有 no {what} {name[:80]!r}{near(name, known)}"
    return JSONResponse({"ok": False, "code": "not_found", "message": said}, 404)


async def list_alarms(request: Request, port: CityPort, _who: Actor) -> Response:
    """Alarms, most serious and newest first."""
    since = whole(request, "since_ms", 0, most=INSTANT_MS_MAX)
    limit = whole(request, "limit", LIMIT_DEFAULT, most=LIMIT_MAX)
    rows = await run_in_threadpool(
        port.alarms,
        open_only=flag(request, "open", default=True),
        limit=limit + 1,
        domain=word(request, "domain", DOMAINS),
        since_ms=since or None,
        state=word(request, "state", tuple(ALARM_STATES)),
        **start(request),
    )
    return listed(request, rows, limit, ("level", "raised_wall_ms", "id"))


async def list_situations(_request: Request, port: CityPort, _who: Actor) -> Response:
    """What is going on: open alarms by cause, asset and area."""
    return JSONResponse(await run_in_threadpool(port.situations))


async def one_alarm(request: Request, port: CityPort, _who: Actor) -> Response:
    """One alarm."""
    name = request.path_params["id"]
    found = await run_in_threadpool(port.alarm, name)
    return missing("alarm", name) if found is None else shown(found)


async def alarm_verb(request: Request, port: CityPort, who: Actor) -> Response:
    """Acknowledge, shelve, reset … an alarm."""
    return await submit(request, port, who, "alarm." + request.path_params["verb"], request.path_params["id"])


async def list_orders(request: Request, port: CityPort, _who: Actor) -> Response:
    """Work orders, most serious and newest first."""
    limit = whole(request, "limit", LIMIT_DEFAULT, most=LIMIT_MAX)
    rows = await run_in_threadpool(
        port.orders,
        open_only=flag(request, "open", default=True),
        limit=limit + 1,
        team=request.query_params.get("team", ""),
        state=word(request, "state", ORDER_STATES),
        **start(request),
    )
    return listed(request, rows, limit, ("level", "opened_ms", "id"))


async def one_order(request: Request, port: CityPort, _who: Actor) -> Response:
    """One work order."""
    name = request.path_params["id"]
    found = await run_in_threadpool(port.order, name)
    return missing("order", name) if found is None else shown(found)


async def new_order(request: Request, port: CityPort, who: Actor) -> Response:
    """Report something by hand: officer, citizen, patrol or drone."""
    return await submit(request, port, who, "order.new", "")


async def order_verb(request: Request, port: CityPort, who: Actor) -> Response:
    """Accept, arrive, report, check, close … a work order."""
    return await submit(request, port, who, "order." + request.path_params["verb"], request.path_params["id"])


async def list_events(request: Request, port: CityPort, _who: Actor) -> Response:
    """The record, in order: of one alarm or order, or of everything after a sequence number."""
    limit = whole(request, "limit", LIMIT_DEFAULT, most=LIMIT_MAX)
    rows = await run_in_threadpool(
        port.events,
        subject=request.query_params.get("subject", ""),
        after_seq=whole(request, "after", 0, most=2**53),
        limit=limit + 1,
    )
    return JSONResponse(rows[:limit], headers={"X-Has-More": "true" if len(rows) > limit else "false"})


async def list_sensors(_request: Request, port: CityPort, _who: Actor) -> Response:
    """Configured sensors with their newest reading."""
    return JSONResponse(await run_in_threadpool(port.sensors))


async def list_readings(request: Request, port: CityPort, _who: Actor) -> Response:
    """Readings of one sensor in time order."""
    sensor = request.query_params.get("sensor", "")
    rows = await run_in_threadpool(
        port.readings,
        sensor=sensor,
        since_ms=whole(request, "since_ms", 0, most=INSTANT_MS_MAX),
        until_ms=whole(request, "until_ms", INSTANT_MS_MAX, most=INSTANT_MS_MAX),
        limit=whole(request, "limit", LIMIT_DEFAULT, most=LIMIT_MAX),
    )
    return missing("sensor", sensor, (s.id for s in port.config.sensors)) if rows is None else JSONResponse(rows)


async def export(request: Request, port: CityPort, _who: Actor) -> Response:
    """Readings as CSV, streamed: what `citypulse export` asks a running service for."""
    wanted = request.query_params.getlist("sensor")
    known = {s.id for s in port.config.sensors} if wanted else set()
    if strange := [name for name in wanted if name not in known]:
        return missing("sensor", strange[0], known)
    lines = port.export_csv(
        sensors=wanted,
        since_ms=whole(request, "since_ms", 0, most=INSTANT_MS_MAX),
        until_ms=whole(request, "until_ms", INSTANT_MS_MAX, most=INSTANT_MS_MAX),
    )
    return StreamingResponse(lines, media_type="text/csv; charset=utf-8")


async def list_dead_letters(request: Request, port: CityPort, _who: Actor) -> Response:
    """The newest messages that could not be taken, with reasons."""
    limit = whole(request, "limit", LIMIT_DEFAULT, most=LIMIT_MAX)
    return JSONResponse(await run_in_threadpool(port.dead_letters, limit=limit))


async def replay_dead_letters(request: Request, port: CityPort, who: Actor) -> Response:
    """Put kept messages back into the inbox after a fix."""
    if who.role not in {"admin", "engineer", "lead"}:
        raise AuthError(f"role {who.role!r} may not replay dead letters; it needs lead, engineer or admin", 403)
    data = await body_of(request)
    reason = data.get("reason", "")
    if not isinstance(reason, str):
        raise BadRequest("reason must be a string")
    count = await run_in_threadpool(port.replay_dead_letters, reason=reason)
    return JSONResponse({"ok": True, "replayed": count})


async def list_gateways(_request: Request, port: CityPort, _who: Actor) -> Response:
    """Gateways with numbering, durable watermark, liveness and clock offset."""
    return JSONResponse(await run_in_threadpool(port.gateways))


async def why(request: Request, port: CityPort, _who: Actor) -> Response:
    """Why a rule does or does not alarm on a scope, now or at a past instant."""
    rule, scope = request.query_params.get("rule", ""), request.query_params.get("scope", "")
    at_ms = whole(request, "at_ms", 0, most=INSTANT_MS_MAX) if "at_ms" in request.query_params else None
    since_ms = whole(request, "since_ms", 0, most=INSTANT_MS_MAX) if "since_ms" in request.query_params else None
    try:
        found = await run_in_threadpool(port.why, rule=rule, scope=scope, at_ms=at_ms, since_ms=since_ms)
    except CityError as error:
        raise BadRequest(str(error)) from error
    if found is not None:
        return JSONResponse(found)
    rules = {r.id for r in port.config.rules}
    return missing("rule", rule, rules) if rule not in rules else missing(f"scope of rule {rule!r}", scope, ())


async def incident(request: Request, port: CityPort, _who: Actor) -> Response:
    """All evidence about one alarm or order: readings, rules, record, notices, photos, hashes."""
    number = request.path_params["id"]
    is_page = number.endswith(".html")
    piece = await run_in_threadpool(port.incident, number.removesuffix(".html"))
    if piece is None:
        return missing("alarm or order", number)
    if not is_page:
        return JSONResponse(piece)
    return HTMLResponse(await run_in_threadpool(page, piece), headers={"Content-Security-Policy": STANDALONE})


DAYS_MAX = 92


async def list_rotas(request: Request, port: CityPort, _who: Actor) -> Response:
    """Who is on duty at an instant, and who comes after them."""
    rows = await run_in_threadpool(
        port.rotas,
        team=request.query_params.get("team", ""),
        at_ms=whole(request, "at_ms", 0, most=INSTANT_MS_MAX) or None,
        days=max(1, whole(request, "days", 1, most=DAYS_MAX)),
    )
    return JSONResponse(rows)


async def rota_coverage(request: Request, port: CityPort, _who: Actor) -> Response:
    """The proof that every alarm of the coming days reaches somebody in time."""
    days = max(1, whole(request, "days", 14, most=DAYS_MAX))
    return JSONResponse(await run_in_threadpool(port.rota_coverage, days=days))


async def rota_verb(request: Request, port: CityPort, who: Actor) -> Response:
    """Let somebody stand in, take it back, hand the watch over."""
    return await submit(request, port, who, "rota." + request.path_params["verb"], request.path_params["team"])


async def time_now(_request: Request, port: CityPort, _who: Actor) -> Response:
    """The city's own time: a sped-up demo's differs from the wall's."""
    now = port.now_ms()
    return JSONResponse({"now_ms": now, "now_at": iso(now)})


_PAGE = (("limit", "integer", f"at most this many, up to {LIMIT_MAX}"),)
_PAGES = (*_PAGE, AFTER, SORT)
_SPAN = (
    ("since_ms", "integer", "from this instant, epoch ms"),
    ("until_ms", "integer", "up to this instant, epoch ms"),
)

ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/api/v1/alarms",
        summary="List alarms",
        handler=list_alarms,
        noun="Alarm",
        answers="array",
        query=(
            ("open", "boolean", "only alarms that still need eyes (default true)"),
            ("domain", "string", "water, road, gas or flood"),
            ("state", "string", f"instead of `open`, one of {', '.join(ALARM_STATES)}"),
            ("since_ms", "integer", "raised at or after, epoch ms"),
            *_PAGES,
        ),
    ),
    Route(
        method="GET",
        path="/api/v1/situations",
        summary="Group open alarms by cause, asset and area, worst first",
        handler=list_situations,
    ),
    Route(method="GET", path="/api/v1/alarms/{id}", summary="Show one alarm", handler=one_alarm, noun="Alarm"),
    Route(
        method="POST",
        path="/api/v1/alarms/{id}/{verb}",
        summary="Acknowledge, shelve, reset … an alarm",
        handler=alarm_verb,
        is_change=True,
    ),
    Route(
        method="GET",
        path="/api/v1/orders",
        summary="List work orders",
        handler=list_orders,
        noun="Order",
        answers="array",
        query=(
            ("open", "boolean", "only orders that have not ended (default true)"),
            ("team", "string", "dispatched to this team"),
            ("state", "string", "in this state"),
            *_PAGES,
        ),
    ),
    Route(
        method="POST",
        path="/api/v1/orders",
        summary="Report by hand",
        handler=new_order,
        is_change=True,
        forms=("new",),
    ),
    Route(method="GET", path="/api/v1/orders/{id}", summary="Show one work order", handler=one_order, noun="Order"),
    Route(
        method="POST",
        path="/api/v1/orders/{id}/{verb}",
        summary="Accept, arrive, report, check, close … an order",
        handler=order_verb,
        is_change=True,
        forms=order_fields.verbs(),
    ),
    Route(
        method="GET",
        path="/api/v1/events",
        summary="Read the record",
        handler=list_events,
        noun="Event",
        answers="array",
        query=(
            ("subject", "string", "an alarm or order id"),
            ("after", "integer", "after this sequence number"),
            *_PAGE,
        ),
    ),
    Route(method="GET", path="/api/v1/sensors", summary="List sensors", handler=list_sensors, answers="array"),
    Route(
        method="GET",
        path="/api/v1/readings",
        summary="Read one sensor's readings",
        handler=list_readings,
        answers="array",
        query=(("sensor", "string", "sensor id"), *_SPAN, *_PAGE),
    ),
    Route(
        method="GET",
        path="/api/v1/export",
        summary="Export readings as CSV",
        handler=export,
        answers="csv",
        query=(("sensor", "string", "sensor id; repeat for several, leave out for all"), *_SPAN),
    ),
    Route(
        method="GET",
        path="/api/v1/dead-letters",
        summary="List dead letters",
        handler=list_dead_letters,
        answers="array",
        query=_PAGE,
    ),
    Route(
        method="POST",
        path="/api/v1/dead-letters/replay",
        summary="Replay dead letters after a fix",
        handler=replay_dead_letters,
        is_change=True,
    ),
    Route(method="GET", path="/api/v1/gateways", summary="List gateways", handler=list_gateways, answers="array"),
    Route(
        method="GET",
        path="/api/v1/why",
        summary="Explain a rule on a scope",
        handler=why,
        query=(
            ("rule", "string", "rule id"),
            ("scope", "string", "sensor, site or gateway id"),
            ("at_ms", "integer", "as it stood at this instant, epoch ms (default: now)"),
            ("since_ms", "integer", "re-run stored readings from this instant on (default: 30 days before)"),
        ),
    ),
    Route(
        method="GET",
        path="/api/v1/incidents/{id}",
        summary="Evidence for one alarm or order; with .html after the id as one self-contained page",
        handler=incident,
    ),
    Route(
        method="POST",
        path="/api/v1/evidence",
        summary="Keep a picture (JPEG, PNG, WebP) and answer its name, sha256:…",
        handler=keep_picture,
        is_change=True,
        takes="picture",
    ),
    Route(
        method="GET",
        path="/api/v1/evidence/{id}",
        summary="Show a picture by its sha256",
        handler=one_picture,
        answers="picture",
    ),
    Route(
        method="GET",
        path="/api/v1/rota",
        summary="Show who is on duty",
        handler=list_rotas,
        answers="array",
        query=(
            ("team", "string", "only this team"),
            ("at_ms", "integer", "at this instant, epoch ms (default: now)"),
            ("days", "integer", "and who comes in the days after it, 1 to 92"),
        ),
    ),
    Route(
        method="GET",
        path="/api/v1/rota/coverage",
        summary="Prove that every alarm of the coming days reaches somebody in time",
        handler=rota_coverage,
        query=(("days", "integer", "how many days, 1 to 92 (default 14)"),),
    ),
    Route(
        method="POST",
        path="/api/v1/rota/{team}/{verb}",
        summary="override, withdraw or handover: stand in, take it back, hand the watch over",
        handler=rota_verb,
        is_change=True,
    ),
    Route(method="GET", path="/api/v1/time", summary="The city's time", handler=time_now),
)


def endpoint(route: Route, port: CityPort, *, reads_need_token: bool) -> Callable[[Request], Awaitable[Response]]:
    """Wrap a handler with identity, bad-request and size handling."""
    names = frozenset(name for name, _, _ in route.query)

    async def serve(request: Request) -> Response:
        try:
            who = actor(request, port, may_be_anonymous=not (route.is_change or reads_need_token))
            only_known(request, names)
            return await route.handler(request, port, who)
        except AuthError as error:
            return refuse(error)
        except BadRequest as error:
            return JSONResponse({"ok": False, "code": "bad_request", "message": str(error)}, 400)

    return serve
