"""The outside world of messages, on loopback: a chat robot's server and an SMS gateway, as strict as the real ones.

The robot answers in DingTalk's words: HTTP 200 always, the truth in `errcode`, and whoever sends more than 20 messages
a minute is refused for ten minutes. The gateway keeps every text by telephone number, where `phones.py` reads it.
Minutes are the city's, so a sped clock brings no leniency.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

HOST = "127.0.0.1"
ROBOT_PER_MINUTE = 20
ROBOT_BLOCK_MS = 600_000
MINUTE_MS = 60_000
BODY_BYTES_MAX = 200_000
KEPT_MAX = 20_000  # messages remembered; the oldest go first

TAKEN = {"errcode": 0, "errmsg": "ok"}
TOO_MANY = {"errcode": 130101, "errmsg": "send too fast"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message people can read. by: robot or sms · to: telephone numbers, empty for the group of the robot."""

    number: int
    at_ms: int
    by: str
    to: tuple[str, ...]
    text: str


class Providers:
    """Both servers on one loopback port while the block runs."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        """`now_ms` is the city's time."""
        self._now_ms = now_ms
        self._lock = threading.Lock()
        self._messages: list[Message] = []
        self._count = 0
        self._robot_ms: list[int] = []
        self._blocked_until_ms = 0
        self.refused = 0  # messages the robot did not take
        self._server = _Server((HOST, 0), _handler(self))
        self._thread: threading.Thread | None = None

    @property
    def robot_url(self) -> str:
        """Where the robot takes messages."""
        return f"http://{HOST}:{self._server.server_port}/robot/send"

    @property
    def sms_url(self) -> str:
        """Where the SMS gateway takes messages."""
        return f"http://{HOST}:{self._server.server_port}/sms/send"

    def __enter__(self) -> Self:
        """Serve, in a thread of our own."""
        serve = self._server.serve_forever
        self._thread = threading.Thread(target=serve, kwargs={"poll_interval": 0.1}, name="providers", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        if self._thread is not None:
            self._thread.join(5.0)

    def since(self, number: int) -> list[Message]:
        """Return the messages after message `number`, in order."""
        with self._lock:
            return [m for m in self._messages if m.number > number]

    @property
    def taken(self) -> int:
        """How many messages were taken so far."""
        return self._count

    def take(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Answer one request as the provider at `path` does."""
        now_ms = self._now_ms()
        with self._lock:
            if path.startswith("/sms/"):
                numbers = body.get("to", "")
                listed = numbers.split(",") if isinstance(numbers, str) else list(numbers)
                self._keep(now_ms, "sms", tuple(n for n in listed if n), str(body.get("text", "")))
                return {"code": 0, "id": f"sms-{self._count}"}
            self._robot_ms = [at for at in self._robot_ms if at > now_ms - MINUTE_MS]
            if now_ms >= self._blocked_until_ms and len(self._robot_ms) >= ROBOT_PER_MINUTE:
                self._blocked_until_ms = now_ms + ROBOT_BLOCK_MS
            if now_ms < self._blocked_until_ms:
                self.refused += 1
                return TOO_MANY
            self._robot_ms.append(now_ms)
            self._keep(now_ms, "robot", (), str(body.get("markdown", {}).get("text", "")))
            return TAKEN

    def _keep(self, now_ms: int, by: str, to: tuple[str, ...], text: str) -> None:
        self._count += 1
        self._messages.append(Message(number=self._count, at_ms=now_ms, by=by, to=to, text=text))
        del self._messages[:-KEPT_MAX]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A sender that hung up is no news."""


def _handler(providers: Providers) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = min(int(self.headers.get("Content-Length") or 0), BODY_BYTES_MAX)
            try:
                body = json.loads(self.rfile.read(size))
            except ValueError:
                body = None
            raw = json.dumps(providers.take(self.path, body) if isinstance(body, dict) else {"errcode": 43}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: Any) -> None:
            """Say nothing: the terminal belongs to the demo."""

    return Handler
