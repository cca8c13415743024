"""The one way to a citizen's contact: ask with a reason, be allowed by the heart, be on record, then see it."""

from __future__ import annotations

import json

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from citypulse.model import Actor

from .api import Route, submit
from .port import CityPort


async def see_contact(request: Request, port: CityPort, who: Actor) -> Response:
    """Answer with the contacts of an order once the look is on record; refusals are the heart's."""
    number = request.path_params["id"]
    answer = await submit(request, port, who, "order.contact", number)
    if answer.status_code != 200:
        return answer
    body = json.loads(bytes(answer.body))
    contacts = await run_in_threadpool(port.contacts, number, who)
    return JSONResponse(body | {"contacts": contacts}, headers={"Cache-Control": "no-store"})


ROUTES: tuple[Route, ...] = (
    Route(
        method="POST",
        path="/api/v1/orders/{id}/contact",
        summary="See a citizen's contact; who looked, when and why is on record",
        handler=see_contact,
        is_change=True,
        forms=("contact",),
    ),
)
