"""What a request asks for, read strictly: query fields by name and form, a bounded JSON body, a key for repeats."""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import Any, Final

from starlette.requests import Request

BODY_BYTES_MAX: Final = 64 * 1024  # a command is a form, not a file
KEY_CHARS_MAX: Final = 200
KEYS_MAX: Final = 10_000  # command ids remembered with what they stood for; the ledger remembers their answers longer


class BadRequest(Exception):  # noqa: N818 - an HTTP status, named as HTTP names it
    """The request itself is wrong: which field, and what it should be."""


def whole(request: Request, name: str, default: int, *, most: int) -> int:
    """Read a whole number 0..most from the query string."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 18 or int(text) > most:
        raise BadRequest(f"query field {name!r} must be a whole number from 0 to {most}, not {text[:40]!r}")
    return int(text)


def flag(request: Request, name: str, *, default: bool) -> bool:
    """Read true/false from the query string."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if text not in {"true", "false"}:
        raise BadRequest(f"query field {name!r} must be true or false, not {text[:40]!r}")
    return text == "true"


def word(request: Request, name: str, known: Collection[str]) -> str:
    """Read one of the known words, or "" when the field is not there: a wrong filter finds nothing and looks calm."""
    text = request.query_params.get(name, "")
    if text and text not in known:
        raise BadRequest(f"query field {name!r}: no {text[:40]!r}{near(text, known)}")
    return text


def near(text: str, known: Iterable[str]) -> str:
    """Return a hint at the nearest of the known words, or at a few of them."""
    names = sorted(known)
    close = get_close_matches(text[:200], names, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    more = ", …" if len(names) > 10 else ""
    return f"; there are {', '.join(names[:10])}{more}" if names else ""


def only_known(request: Request, names: Collection[str]) -> None:
    """Refuse a query field that the route does not have: a misspelt filter would be no filter."""
    for name in request.query_params:
        if name not in names:
            raise BadRequest(f"no query field {name[:40]!r} here{near(name, names)}")


async def body_of(request: Request) -> dict[str, Any]:
    """Read a JSON object of bounded size."""
    chunks = bytearray()
    async for chunk in request.stream():
        chunks += chunk
        if len(chunks) > BODY_BYTES_MAX:
            raise BadRequest(f"the body is larger than {BODY_BYTES_MAX} bytes")
    if not chunks:
        return {}
    try:
        data = json.loads(chunks)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON: {str(error)[:200]}") from None
    if not isinstance(data, dict):
        raise BadRequest("the body must be a JSON object")
    return data


def keys_of(request: Request) -> Keys:
    """Return the keys of the application that serves a request."""
    keys: Keys = request.app.state.keys
    return keys


def command_id_of(request: Request, data: dict[str, Any]) -> str:
    """Take the command's id out of the body, from the Idempotency-Key header, or make one."""
    said = data.pop("command_id", None)
    said = said if said is not None else request.headers.get("idempotency-key") or secrets.token_hex(16)
    if not isinstance(said, str) or not said or len(said) > KEY_CHARS_MAX or not said.isprintable():
        raise BadRequest(f"command_id must be a printable string of at most {KEY_CHARS_MAX} characters")
    return said


class Keys:
    """What each command id stood for, so that one used again for something else is refused. Thread-safe, bounded.

    Kept by this process only: after a restart a repeated id gets the first answer whatever it asks for.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._known: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def is_reused(self, command_id: str, *said: Any) -> bool:
        """Remember what an id stands for; True when it stood for something else before."""
        text = json.dumps(said, sort_keys=True, ensure_ascii=True, default=str)
        digest = hashlib.sha256(text.encode()).digest()
        with self._lock:
            before = self._known.setdefault(command_id, digest)
            self._known.move_to_end(command_id)
            while len(self._known) > KEYS_MAX:
                self._known.popitem(last=False)
        return before != digest
