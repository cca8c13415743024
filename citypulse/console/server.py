"""Runs the console on its own thread, so that no page can hold up the heart."""

from __future__ import annotations

import socket
import threading
from urllib.parse import urlsplit

import structlog
import uvicorn

from citypulse.errors import CityError

from .app import build
from .port import CityPort

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
STOP_WAIT_S = 2  # open streams must not hold up a shutdown
log = structlog.get_logger()


class ConsoleServer:
    """uvicorn on a thread, bound before it starts so that a busy port is an error now and not later."""

    def __init__(self, port: CityPort, *, host: str, tcp_port: int) -> None:
        """Bind host:tcp_port (0 picks a free one). Off loopback, reads need a token too."""
        is_loopback = host in LOOPBACK
        hosts = ["127.0.0.1", "localhost", "[::1]", "testserver"] if is_loopback else ["*"]
        public = urlsplit(port.config.public_url).hostname  # what links in notices name; a proxy passes it on
        hosts = [*hosts, public] if public and "*" not in hosts else hosts
        app = build(port, reads_need_token=not is_loopback, hosts=hosts)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host, tcp_port))
        except OSError as error:
            self._socket.close()
            raise CityError(f"cannot listen on {host}:{tcp_port}: {error.strerror}; choose another --http") from error
        self._socket.listen(128)
        self.address = f"http://{host}:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=STOP_WAIT_S,
            lifespan="off",
            server_header=False,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="console", daemon=True)

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()
        log.info("console.listening", address=self.address)

    def stop(self) -> None:
        """Stop serving within STOP_WAIT_S."""
        self._server.should_exit = True
        self._thread.join(STOP_WAIT_S + 1)
        self._socket.close()
