"""Who is asking. Changes always need a token; reads need one unless the console listens on loopback only.

Tokens are 256 random bits, stored only as their sha256; comparing hashes of high-entropy secrets needs no
slow password hash. The Host header is checked, so that a web page elsewhere cannot reach a loopback console
through a rebound name.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse

from citypulse.model import Actor

from .port import CityPort

ANONYMOUS = Actor(name="", role="viewer")


class AuthError(Exception):
    """The request carries no token, or one nobody holds."""

    def __init__(self, message: str, status: int) -> None:
        """`status` is 401 without a valid token, 403 where the role does not suffice."""
        self.status = status
        super().__init__(message)


def bearer(request: Request) -> str:
    """Return the token of the Authorization header, or an empty string."""
    header = request.headers.get("authorization", "")
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def actor(request: Request, port: CityPort, *, may_be_anonymous: bool) -> Actor:
    """Return who asks; raise AuthError where nobody in particular is not enough."""
    token = bearer(request)
    if token:
        found = port.actor_of(token)
        if found is None:
            raise AuthError("this token is not known; make one with `citypulse user add NAME --role ROLE`", 401)
        return found
    if may_be_anonymous:
        return ANONYMOUS
    raise AuthError("a token is needed: Authorization: Bearer …; make one with `citypulse user add`", 401)


def refuse(error: AuthError) -> JSONResponse:
    """Answer an AuthError as JSON."""
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else None
    return JSONResponse({"ok": False, "code": "auth", "message": str(error)}, error.status, headers=headers)
