"""The HTTP API of silences, maintenance windows and drills: a table of routes beside api.ROUTES."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from citypulse.errors import CityError
from citypulse.model import Actor

from .api import LIMIT_DEFAULT, LIMIT_MAX, Route, missing, submit
from .asking import body_of, flag, whole
from .port import CityPort


async def list_mutes(request: Request, port: CityPort, _who: Actor) -> Response:
    """Silences and windows, newest first."""
    rows = await run_in_threadpool(
        port.mutes,
        with_past=flag(request, "past", default=False),
        limit=whole(request, "limit", LIMIT_DEFAULT, most=LIMIT_MAX),
    )
    return JSONResponse(rows)


async def new_silence(request: Request, port: CityPort, who: Actor) -> Response:
    """Hide matching alarms for a while, with a reason and an end."""
    return await submit(request, port, who, "mute.new", "")


async def new_window(request: Request, port: CityPort, who: Actor) -> Response:
    """Plan a maintenance window, once or by recurrence."""
    return await submit(request, port, who, "mute.window", "")


async def preview_mute(request: Request, port: CityPort, who: Actor) -> Response:
    """What a mute of these terms would have hidden in the last thirty days; changes nothing."""
    data = await body_of(request)
    try:
        return JSONResponse(await run_in_threadpool(port.preview_mute, data, who))
    except CityError as error:
        return JSONResponse({"ok": False, "code": "bad_data", "message": str(error)}, 422)


async def mute_verb(request: Request, port: CityPort, who: Actor) -> Response:
    """Extend or cancel a mute."""
    return await submit(request, port, who, "mute." + request.path_params["verb"], request.path_params["id"])


async def list_exercises(request: Request, port: CityPort, _who: Actor) -> Response:
    """Drills, newest first."""
    limit = whole(request, "limit", LIMIT_DEFAULT, most=LIMIT_MAX)
    return JSONResponse(await run_in_threadpool(port.exercises, limit=limit))


async def one_exercise(request: Request, port: CityPort, _who: Actor) -> Response:
    """One drill with its score."""
    name = request.path_params["id"]
    found = await run_in_threadpool(port.exercise, name)
    return missing("exercise", name) if found is None else JSONResponse(found)


async def start_exercise(request: Request, port: CityPort, who: Actor) -> Response:
    """Start a drill: scripted alarms that run the whole loop, told only to those who take part."""
    return await submit(request, port, who, "exercise.start", "")


async def stop_exercise(request: Request, port: CityPort, who: Actor) -> Response:
    """End a drill now."""
    return await submit(request, port, who, "exercise.stop", request.path_params["id"])


_PAGE = (("limit", "integer", f"at most this many, up to {LIMIT_MAX}"),)

ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/api/v1/mutes",
        summary="List silences and windows",
        handler=list_mutes,
        answers="array",
        query=(("past", "boolean", "also those that are over (default false)"), *_PAGE),
    ),
    Route(
        method="POST", path="/api/v1/mutes", summary="Silence alarms for a while", handler=new_silence, is_change=True
    ),
    Route(
        method="POST",
        path="/api/v1/mutes/window",
        summary="Plan a maintenance window",
        handler=new_window,
        is_change=True,
    ),
    Route(
        method="POST",
        path="/api/v1/mutes/preview",
        summary="Say what a mute would have hidden",
        handler=preview_mute,
        is_change=True,
    ),
    Route(
        method="POST",
        path="/api/v1/mutes/{id}/{verb}",
        summary="Extend or cancel a mute",
        handler=mute_verb,
        is_change=True,
    ),
    Route(
        method="GET",
        path="/api/v1/exercises",
        summary="List drills",
        handler=list_exercises,
        answers="array",
        query=_PAGE,
    ),
    Route(method="POST", path="/api/v1/exercises", summary="Start a drill", handler=start_exercise, is_change=True),
    Route(method="GET", path="/api/v1/exercises/{id}", summary="Show a drill and its score", handler=one_exercise),
    Route(
        method="POST", path="/api/v1/exercises/{id}/stop", summary="End a drill", handler=stop_exercise, is_change=True
    ),
)
