"""One bounded HTTP POST: no redirects, no proxies, an end in time and size, failures sorted into passing and not.

The standard library is enough here, and it lets us keep a deadline over the whole exchange: a server that sends one
byte a second is cut off, because its socket is closed under it.
"""

from __future__ import annotations

import contextlib
import http.client
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from citypulse.errors import DeliveryError

REPLY_BYTES_MAX: Final = 65_536
BODY_BYTES_MAX: Final = 262_144
PASSING: Final = frozenset({408, 425, 429})  # and every 5xx: worth another try
WAIT_S_MAX: Final = 600.0  # however long a provider asks to be left alone
THROTTLED_S: Final = 60.0  # how long to leave it alone when it only says "too many"
_CUT: Final = "no complete answer in time"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the provider answered: status 200-299 and at most REPLY_BYTES_MAX of body."""

    status: int
    body: bytes


def check_url(url: str) -> str:
    """Return `url` if it can be posted to; raise ValueError otherwise. Only http and https, no user or password."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"}:
        raise ValueError(f"the address must begin with https:// or http://, not {parts.scheme or 'nothing'}")
    if not parts.hostname:
        raise ValueError("the address names no host")
    if parts.username or parts.password:
        raise ValueError("a secret does not belong in an address; use secret_env or secret_file")
    if parts.fragment or any(ord(c) <= 32 or ord(c) == 127 for c in url):
        raise ValueError("the address contains blanks, control characters or a #fragment")
    _ = parts.port  # raises ValueError when it is no number
    return url


def post(url: str, body: bytes, headers: Mapping[str, str], *, timeout_s: float, method: str = "POST") -> Reply:
    """Send `body` within `timeout_s` in all; return the reply of a 2xx, raise DeliveryError for anything else."""
    if len(body) > BODY_BYTES_MAX:
        raise DeliveryError(f"the notice is larger than {BODY_BYTES_MAX} bytes", permanent=True)
    parts = urlsplit(check_url(url))
    host = parts.hostname or ""
    connection = (
        http.client.HTTPSConnection(host, parts.port, timeout=timeout_s, context=ssl.create_default_context())
        if parts.scheme == "https"
        else http.client.HTTPConnection(host, parts.port, timeout=timeout_s)
    )
    late = threading.Event()
    socket: list[Any] = []  # ours to close: http.client forgets it once the answer has begun

    def cut() -> None:
        late.set()
        for held in socket:
            with contextlib.suppress(OSError):  # it may have ended by itself just now
                held.shutdown(2)

    timer = threading.Timer(timeout_s, cut)
    timer.daemon = True
    timer.start()
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.connect()
        socket.append(connection.sock)
        connection.request(method, path, body=body, headers={**headers, "Content-Length": str(len(body))})
        response = connection.getresponse()
        text = response.read(REPLY_BYTES_MAX + 1)
        status, place = response.status, response.headers.get("Location", "")
        wait = response.headers.get("Retry-After", "")
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = _CUT if late.is_set() or isinstance(error, TimeoutError) else f"{type(error).__name__}: {error}"
        code = "no-answer" if socket else "no-connection"
        said = f"{host}: {why}"
        raise DeliveryError(said, permanent=False, provider_code=code, may_be_taken=bool(socket)) from None
    finally:
        timer.cancel()
        connection.close()
    if late.is_set():
        raise DeliveryError(f"{host}: {_CUT}", permanent=False, provider_code="no-answer")
    return _sorted(host, status, text, place, wait)


def _wait_s(status: int, said: str) -> float:
    """Return how long the provider wants to be left alone: what it says in seconds, or a minute for a bare 429."""
    if said.isascii() and said.isdigit() and len(said) < 8:
        return min(float(said), WAIT_S_MAX)
    return THROTTLED_S if status == 429 else 0.0


def _sorted(host: str, status: int, text: bytes, place: str, wait: str) -> Reply:
    code = str(status)
    if len(text) > REPLY_BYTES_MAX:
        # It may well have been taken; but what follows a flood of bytes cannot be trusted to be an answer.
        raise DeliveryError(
            f"{host}: the answer is larger than {REPLY_BYTES_MAX} bytes",
            permanent=True,
            provider_code=code,
            may_be_taken=200 <= status < 300,
        )
    if 200 <= status < 300:
        return Reply(status=status, body=text)
    if 300 <= status < 400:
        said = (
            f"{host}: redirects to {place[:200]!r}; redirects are not followed, put the final address in sensors.yaml"
        )
        raise DeliveryError(said, permanent=True, provider_code=code)
    is_passing = status in PASSING or status >= 500
    raise DeliveryError(
        f"{host}: HTTP {status}: {text[:200].decode('utf-8', 'replace')}",
        permanent=not is_passing,
        provider_code=code,
        wait_s=_wait_s(status, wait) if is_passing else 0.0,
        may_be_taken=status >= 500 and status != 503,
    )
