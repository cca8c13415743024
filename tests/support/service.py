"""The real service as a process, for tests that kill it: started on a free port, asked over HTTP, killed or stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Self

START_TIMEOUT_S = 90.0  # the first start on a fresh checkout compiles the kernels
POLL_S = 0.02


class ServiceProcess:
    """`citypulse run` on a data folder of its own."""

    def __init__(self, config: Path, data: Path, broker_port: int) -> None:
        self.config, self.data, self.broker_port = config, data, broker_port
        self.log = data.parent / "service.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.address = ""

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, *, wait_ready: bool = True) -> Self:
        (self.data / "service.json").unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "citypulse", "run", "--config", str(self.config)),
                    *("--data", str(self.data), "--http", "127.0.0.1:0", "--log-json"),
                    *("--broker", f"mqtt://127.0.0.1:{self.broker_port}"),
                ],
                stdout=log,
                stderr=log,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )
        if wait_ready:
            self.wait_ready()
        return self

    def wait_ready(self) -> None:
        until = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < until:
            assert self._process is not None
            if self._process.poll() is not None:
                raise AssertionError(f"the service ended with {self._process.returncode}:\n{self.tail()}")
            try:
                self.address = json.loads((self.data / "service.json").read_text())["address"]
                urllib.request.urlopen(self.address + "/readyz", timeout=5).close()
            except (OSError, ValueError, urllib.error.URLError):
                time.sleep(POLL_S)
            else:
                return
        raise AssertionError(f"the service was not ready within {START_TIMEOUT_S} s:\n{self.tail()}")

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-4000:] if self.log.exists() else ""

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.address + path, timeout=20) as answer:
            return json.load(answer)

    def metric(self, name: str) -> float:
        with urllib.request.urlopen(self.address + "/metrics", timeout=20) as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith(name + " "):
                    return float(line.rpartition(" ")[2])
        return 0.0

    def post(self, path: str, body: dict[str, Any], *, token: str | None = None) -> tuple[int, Any]:
        token = token if token is not None else (self.data / "desk.token").read_text().strip()
        request = urllib.request.Request(
            self.address + path,
            data=json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def send_picture(self, content: bytes, *, token: str) -> str:
        request = urllib.request.Request(
            self.address + "/api/v1/evidence",
            data=content,
            headers={"Authorization": f"Bearer {token}", "Content-Type": "image/png"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return str(json.load(answer)["subject"])

    def kill(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> float:
        """SIGTERM; return how long the clean stop took, seconds."""
        assert self._process is not None
        began = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(timeout=30)
        took = time.monotonic() - began
        assert code == 0, f"exit code {code}:\n{self.tail()}"
        return took

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()


def until(what: Any, timeout_s: float = 60.0, *, why: str = "") -> Any:
    """Wait until `what()` is true and return it; an AssertionError after the timeout says why."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(POLL_S)
    raise AssertionError(why or f"not within {timeout_s} s")
