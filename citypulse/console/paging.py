"""Pages of a long list: an opaque cursor that says where the last page ended, and the address of the next one.

A cursor holds the sort key of the last row, not a number of rows: what is raised meanwhile moves nothing, and no row
comes twice. It belongs to one list with one set of filters and is refused with any other.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse

from .asking import BadRequest, word

AFTER: Final = ("after", "string", "the cursor of the page before: X-Next-After, or within Link rel=next")
SORT: Final = ("sort", "string", "serious: most serious first (default); newest: by time alone, which never changes")
SORTS: Final = ("serious", "newest")
KEY_CHARS_MAX: Final = 400
NUMBER_MAX: Final = 2**62
Key = tuple[int | str, ...]


def after(request: Request, kinds: Sequence[type]) -> Key:
    """Read where the page begins, a sort key of these kinds, or () for the first page. Raises BadRequest."""
    text = request.query_params.get("after", "")
    if not text:
        return ()
    try:
        found: Any = json.loads(base64.urlsafe_b64decode(text[:KEY_CHARS_MAX] + "=" * (-len(text) % 4)))
        shape, *key = found
        is_key = len(key) == len(kinds) and all(type(k) is kind for k, kind in zip(key, kinds, strict=True))
        is_key = is_key and all(abs(k) < NUMBER_MAX for k in key if isinstance(k, int))
    except (ValueError, TypeError, RecursionError):
        is_key = False
    if not is_key:
        raise BadRequest(f"after {text[:40]!r} 不是本接口给出的游标 is no cursor of this list; begin without it")
    if shape != _shape(request):
        raise BadRequest("after 属于另一列表 this cursor is of another list or of other filters; begin without it")
    return tuple(key)


def start(request: Request) -> dict[str, Any]:
    """Read how a list is sorted and where its page begins: `newest` and `after` of the port's lists."""
    is_newest = word(request, "sort", SORTS) == "newest"
    return {"newest": is_newest, "after": after(request, (int, str) if is_newest else (int, int, str))}


def listed(request: Request, rows: list[dict[str, Any]], limit: int, key: Sequence[str]) -> JSONResponse:
    """Answer a list of at most `limit` of `rows`; the headers say whether there is more, and where it begins.

    `key` names the fields the list is sorted by, the level first; sorted by time it does not count.
    """
    fields_of = key[1:] if request.query_params.get("sort") == "newest" else key
    has_more = len(rows) > limit
    headers = {"X-Has-More": "true" if has_more else "false"}
    if has_more and limit:
        text = json.dumps([_shape(request), *(rows[limit - 1][name] for name in fields_of)], separators=(",", ":"))
        cursor = base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
        fields = [(name, value) for name, value in request.query_params.multi_items() if name != "after"]
        headers["X-Next-After"] = cursor
        headers["Link"] = f'<{request.url.path}?{urlencode([*fields, ("after", cursor)])}>; rel="next"'
    return JSONResponse(rows[:limit], headers=headers)


def _shape(request: Request) -> str:
    """Return what tells one list with its filters from another: how long a page is makes no difference."""
    fields = sorted(item for item in request.query_params.multi_items() if item[0] not in {"after", "limit"})
    return hashlib.sha256(json.dumps([request.url.path, fields]).encode()).hexdigest()[:12]
