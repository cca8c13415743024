"""A group robot's server as they really are: HTTP 200 for refusals, throttling, blocks, stalls and broken connections.

It answers in the words of DingTalk, WeCom or Feishu, or as a plain webhook, and remembers every message with what it
answered. Its clock is given, so that "20 a minute, then ten minutes blocked" needs no waiting.
"""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PER_MINUTE = 20
BLOCK_MS = 600_000
KEY = re.compile(r"#([0-9a-f]{12})\b")

# What each robot says: taken, too many, refused for good.
WORDS = {
    "dingtalk": ({"errcode": 0, "errmsg": "ok"}, {"errcode": 130101, "errmsg": "send too fast"},
                 {"errcode": 310000, "errmsg": "sign not match"}),
    "wecom": ({"errcode": 0, "errmsg": "ok"}, {"errcode": 45009, "errmsg": "api freq out of limit"},
              {"errcode": 93000, "errmsg": "invalid webhook url"}),
    "feishu": ({"code": 0, "msg": "success"}, {"code": 11232, "msg": "frequency limited"},
               {"code": 19021, "msg": "sign match fail or timestamp is not within one hour from current time"}),
    "webhook": ({}, {}, {}),
}  # fmt: skip

OK, REFUSES, BUSY, BREAKS, RESETS, MUTE, DRIPS, FLOODS, CLOSES_HALF = (
    "ok", "refuses", "busy", "breaks", "resets", "mute", "drips", "floods", "closes half",
)  # fmt: skip


@dataclass(frozen=True)
class Received:
    """One message that reached the server. answer: how it went · is_taken: whether people see it."""

    at_ms: int
    key: str
    text: str
    answer: str
    is_taken: bool
    path: str = ""
    headers: dict[str, str] = field(default_factory=dict)


class RobotServer:
    """One robot on a loopback port. `mood(message)` says how the next message goes; throttling comes first."""

    def __init__(
        self,
        kind: str = "dingtalk",
        *,
        now_ms: Callable[[], int] = lambda: 0,
        per_minute: int = PER_MINUTE,
        mood: Callable[[str], str] = lambda _text: OK,
    ) -> None:
        self.kind, self.now_ms, self.per_minute, self.mood = kind, now_ms, per_minute, mood
        self.received: list[Received] = []
        self.blocked_until_ms = 0
        self.let_go = threading.Event()
        self._lock = threading.Lock()
        robot = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
                robot._serve(self, body)

            def log_message(self, *_: Any) -> None:
                return

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                return  # the client was killed in the middle, which is what it is tested for

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/robot/send"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def taken(self) -> list[Received]:
        return [r for r in self.received if r.is_taken]

    def _serve(self, handler: BaseHTTPRequestHandler, body: str) -> None:
        ok, too_many, no = WORDS[self.kind]
        now_ms = self.now_ms()
        found = KEY.findall(json.dumps(json.loads(body), ensure_ascii=False))
        key = handler.headers.get("Idempotency-Key") or (found[-1] if found else "")
        with self._lock:
            recent = [r for r in self.received if r.at_ms > now_ms - 60_000]
            if now_ms >= self.blocked_until_ms and len(recent) >= self.per_minute:
                self.blocked_until_ms = now_ms + BLOCK_MS
            is_blocked = now_ms < self.blocked_until_ms
            mood = "too many" if is_blocked else self.mood(body)
            is_taken = mood in {OK, BREAKS, RESETS, MUTE, DRIPS, FLOODS, CLOSES_HALF}
            text = json.dumps(json.loads(body), ensure_ascii=False)
            self.received.append(
                Received(now_ms, key, text, mood, is_taken, handler.path, dict(handler.headers.items()))
            )
        if mood == "too many" and self.kind == "webhook":
            self._answer(handler, 429, {}, {"Retry-After": "30"})
        elif mood in {OK, REFUSES, "too many"}:
            self._answer(handler, 200, {OK: ok, REFUSES: no}.get(mood, too_many))
        elif mood == BUSY:
            self._answer(handler, 503, {})
        else:
            self._misbehave(handler, mood, ok)

    def _answer(
        self, handler: BaseHTTPRequestHandler, status: int, said: Any, more: dict[str, str] | None = None
    ) -> None:
        raw = json.dumps(said).encode()
        try:
            handler.send_response(status)
            for name, value in (more or {}).items():
                handler.send_header(name, value)
            handler.send_header("Content-Length", str(len(raw)))
            handler.end_headers()
            handler.wfile.write(raw)
        except OSError:
            return

    def _misbehave(self, handler: BaseHTTPRequestHandler, mood: str, ok: Any) -> None:
        """Take the message, and let the sender not know it."""
        connection = handler.connection
        handler.close_connection = True
        try:
            if mood == RESETS:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()
            elif mood == CLOSES_HALF:  # says it will not send any more, and never closes
                connection.shutdown(socket.SHUT_WR)
                self.let_go.wait(10)
            elif mood == MUTE:
                self.let_go.wait(10)
            elif mood == BREAKS:  # half an answer
                handler.send_response(200)
                handler.send_header("Content-Length", "500")
                handler.end_headers()
                handler.wfile.write(json.dumps(ok).encode()[:5])
            elif mood == DRIPS:
                handler.send_response(200)
                handler.send_header("Content-Length", "500")
                handler.end_headers()
                while not self.let_go.wait(0.05):
                    handler.wfile.write(b" ")
                    handler.wfile.flush()
            elif mood == FLOODS:
                handler.send_response(200)
                handler.end_headers()
                for _ in range(64):
                    handler.wfile.write(b" " * 65_536)
        except OSError:
            return  # the sender has hung up, which is what it is tested for

    def close(self) -> None:
        self.let_go.set()
        self.server.shutdown()
        self.server.server_close()
