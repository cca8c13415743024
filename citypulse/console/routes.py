"""The whole table of the HTTP API, in the order in which paths are tried."""

from __future__ import annotations

from . import api, contact_api, delivery_api, mutes_api, points_api

ROUTES: tuple[api.Route, ...] = (
    *contact_api.ROUTES,
    *api.ROUTES,
    *mutes_api.ROUTES,
    *delivery_api.ROUTES,
    *points_api.ROUTES,
)
