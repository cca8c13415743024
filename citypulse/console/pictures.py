"""Pictures over HTTP: a phone sends one and gets its name back, which an order then cites."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from citypulse.evidence.photos import EvidenceError, kind_of
from citypulse.model import Actor

from .port import CityPort

_STATUS = {"too_large": 413, "not_a_picture": 415, "no_room": 507}


async def keep_picture(request: Request, port: CityPort, _who: Actor) -> Response:
    """Keep the body, a JPEG, PNG or WebP, and answer its name `sha256:…`."""
    pictures = port.pictures
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > pictures.bytes_max:
            return _refused(EvidenceError(f"larger than {pictures.bytes_max:,} bytes", "too_large"))
    try:
        name = await run_in_threadpool(pictures.put, bytes(content))
    except EvidenceError as error:
        return _refused(error)
    return JSONResponse({"ok": True, "subject": name, "message": f"已保存 kept as {name}"})


async def one_picture(request: Request, port: CityPort, _who: Actor) -> Response:
    """Return a picture by its digest, 64 hex digits."""
    digest = request.path_params["id"].removeprefix("sha256:")
    content = await run_in_threadpool(port.pictures.get, digest)
    if content is None:
        return JSONResponse({"ok": False, "code": "not_found", "message": f"no picture {digest[:80]!r}"}, 404)
    headers = {
        "Cache-Control": "private, max-age=31536000, immutable",
        "Content-Security-Policy": "default-src 'none'",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(content, media_type=kind_of(content), headers=headers)


def _refused(error: EvidenceError) -> JSONResponse:
    return JSONResponse({"ok": False, "code": error.code, "message": str(error)}, _STATUS[error.code])
