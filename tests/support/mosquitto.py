"""A real mosquitto on a free loopback port, for tests: started, killed, restarted and always cleaned up."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

BINARY = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
HOST = "127.0.0.1"
START_TIMEOUT_S = 10.0
POLL_S = 0.01


def is_installed() -> bool:
    """Tell whether this machine has mosquitto; tests that need it skip where it is missing, but never in CI."""
    is_there = Path(BINARY).exists()
    if not is_there and os.environ.get("CI"):
        raise RuntimeError("mosquitto is missing, and in CI a skipped check checks nothing: .ci/run installs it")
    return is_there


def free_port() -> int:
    """Return a loopback TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


class Mosquitto:
    """One broker process. Use as a context manager, or call `start()` and `stop()`.

    `config` lines are appended to the file as they are, e.g. `"max_inflight_messages 20"`. With
    `persistence=True` queued messages survive `restart()`; after `kill()` mosquitto keeps only what its
    last autosave wrote (it loses what it acknowledged: that is the point of some tests).
    """

    def __init__(
        self,
        persistence: bool = False,
        dir: Path | str | None = None,  # noqa: A002 - the word people say
        config: Sequence[str] = (),
        port: int | None = None,
        listener: Sequence[str] = (),
    ) -> None:
        """`dir` holds configuration, log and database; without it a temporary one is made and removed.

        `listener` lines follow the `listener` line (certificates); `config` lines stand above it.
        """
        self._own_dir = dir is None
        self.dir = Path(tempfile.mkdtemp(prefix="mosquitto-")) if dir is None else Path(dir)
        self.port = port or free_port()
        self.log = self.dir / "mosquitto.log"
        self._conf = self.dir / "mosquitto.conf"
        self._process: subprocess.Popen[bytes] | None = None
        lines = [
            "per_listener_settings false",
            # As root mosquitto would become the user "mosquitto", who may not read our folder.
            *(["user root"] if os.geteuid() == 0 else []),
            "allow_anonymous true",
            f"persistence {'true' if persistence else 'false'}",
            f"persistence_location {self.dir}/",
            "max_queued_messages 0",
            *config,
            f"listener {self.port} {HOST}",
            *listener,
        ]
        self._conf.write_text("\n".join(lines) + "\n")

    @property
    def url(self) -> str:
        """The broker's address as sensors.yaml would have it."""
        return f"mqtt://{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """The running broker's process id."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> Self:
        """Start the broker and return once it accepts connections."""
        assert self._process is None, "this broker is already running"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [BINARY, "-c", str(self._conf)], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"mosquitto ended at once:\n{self.log.read_text()}")
            try:
                socket.create_connection((HOST, self.port), timeout=1).close()
            except OSError:
                time.sleep(POLL_S)
            else:
                return self
        raise RuntimeError(f"mosquitto did not listen within {START_TIMEOUT_S} s")

    def _end(self, sign: int) -> None:
        if self._process is not None:
            self._process.send_signal(sign)
            self._process.wait(START_TIMEOUT_S)
            self._process = None

    def stop(self) -> None:
        """End the broker in good order (SIGTERM: the database is written)."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the broker as a power cut would (SIGKILL)."""
        self._end(signal.SIGKILL)

    def restart(self) -> Self:
        """Stop if running, and start again on the same port with the same directory."""
        self.stop()
        return self.start()

    def freeze(self) -> None:
        """Suspend the process: connections stay open and nothing answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen broker go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
        self.kill()
        if self._own_dir:
            shutil.rmtree(self.dir, ignore_errors=True)
