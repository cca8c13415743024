"""A broker for the demo: mosquitto when this machine has it, else amqtt inside this process.

Neither is set up to survive a power cut here, and amqtt is slow and keeps everything in memory: for trying things
out only. A city needs a broker of its own (docs/operate/install.md). Correctness never depends on it: gateways
keep what the city has not confirmed.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import socket
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any, Self

from citypulse.clock import monotonic_s
from citypulse.errors import CityError

HOST = "127.0.0.1"
START_WAIT_S = 10.0
POLL_S = 0.02
WATCHED = '"$1" -c "$2" </dev/null & read -r _; kill $!; wait $!'
SPARE_PLACES = "/usr/sbin:/usr/local/sbin"  # where packages put mosquitto, and a user's PATH has no sbin


def find_mosquitto() -> str | None:
    """Return the path of mosquitto, or None."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path=SPARE_PLACES)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


class DemoBroker:
    """A broker on a free loopback port while the block runs. `kind` says which."""

    def __init__(self, *, is_embedded: bool = False) -> None:
        """Choose, without starting; `is_embedded` takes amqtt even where mosquitto is installed."""
        self._binary = None if is_embedded else find_mosquitto()
        self.kind = "mosquitto" if self._binary else "amqtt"
        self.port = _free_port()
        self.url = f"mqtt://{HOST}:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._done: asyncio.Event | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        """Start, and return once connections are taken. Raises CityError when that does not happen."""
        if self._binary:
            self._start_mosquitto(self._binary)
        else:
            self._thread = threading.Thread(target=self._run_amqtt, name="broker", daemon=True)
            self._thread.start()
        self._wait_until_it_listens()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait(START_WAIT_S)
        if self._loop is not None and self._done is not None:
            self._loop.call_soon_threadsafe(self._done.set)
        if self._thread is not None:
            self._thread.join(START_WAIT_S)
        if self._folder is not None:
            self._folder.cleanup()

    def _start_mosquitto(self, binary: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="citypulse-broker-")
        conf = Path(self._folder.name) / "mosquitto.conf"
        lines = (
            f"listener {self.port} {HOST}",
            "allow_anonymous true",  # on loopback, for one demo
            "persistence false",
            "max_queued_messages 0",
            "log_dest none",
        )
        conf.write_text("\n".join(lines) + "\n")
        # The watch pipe: whatever ends this process, kill -9 too, closes it, and the shell then ends the broker.
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", WATCHED, "sh", binary, str(conf)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,  # Ctrl-C in a terminal goes to the whole group: the broker must outlive the last messages
        )

    def _run_amqtt(self) -> None:
        asyncio.run(self._serve_amqtt())

    async def _serve_amqtt(self) -> None:
        from amqtt.broker import Broker  # noqa: PLC0415 - a second of imports, only where it is needed

        for name in ("amqtt", "transitions"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        settings: dict[str, Any] = {
            "listeners": {"default": {"type": "tcp", "bind": f"{HOST}:{self.port}"}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }
        self._loop, self._done = asyncio.get_running_loop(), asyncio.Event()
        # A gateway that hangs up while amqtt is writing to it is no news; amqtt leaves the exception to the loop.
        self._loop.set_exception_handler(lambda _loop, _context: None)
        broker = Broker(settings)
        await broker.start()
        await self._done.wait()
        await broker.shutdown()

    def _wait_until_it_listens(self) -> None:
        until_s = monotonic_s() + START_WAIT_S
        pause = threading.Event()
        while monotonic_s() < until_s:
            with socket.socket() as probe:
                if probe.connect_ex((HOST, self.port)) == 0:
                    return
            pause.wait(POLL_S)
        raise CityError(f"the demo's broker ({self.kind}) did not start within {START_WAIT_S:.0f} s")
