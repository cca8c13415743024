"""Points of alarm by rule and scope: out of service and back, though nothing rings there (ISA-18.2: A to G)."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from citypulse.model import Actor

from .api import Route, submit
from .port import CityPort

VERBS = ("out_of_service", "in_service", "comment")


async def point_verb(request: Request, port: CityPort, who: Actor) -> Response:
    """Do something to the alarm of a point, or to the point itself while it is at rest."""
    at = request.path_params
    return await submit(request, port, who, f"alarm.{at['verb']}", f"{at['rule']}|{at['scope']}")


ROUTES: tuple[Route, ...] = (
    Route(
        method="POST",
        path="/api/v1/points/{rule}/{scope}/{verb}",
        summary="Take a point out of service, whether it is in alarm or not, or put it back",
        handler=point_verb,
        is_change=True,
    ),
)
"""Listed by `GET /api/v1/alarms?state=out_of_service`."""
