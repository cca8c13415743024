"""One life of the whole service in a process of its own, forked from an interpreter that has loaded everything.

What runs is `citypulse run` without its first seconds of importing and of loading compiled kernels: the same Service
with its broker client, heart, reading store, deliverer, housekeeping and console. Five hundred lives fit into minutes.
"""

from __future__ import annotations

import http.client
import json
import multiprocessing
import multiprocessing.process
import os
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from citypulse.app import Service, assemble, extensions, until_signalled
from citypulse.cli.serving import serve_console
from citypulse.clock import SystemClock
from citypulse.config import load_city
from citypulse.journal import Journal
from citypulse.ledger import Ledger
from citypulse.logs import set_up_logs
from citypulse.mailbox import Mailbox
from citypulse.metrics import Metrics
from citypulse.model import RawMessage, SensorTable
from ingest.inbox import Inbox
from tests.support import small_city
from tests.support.publisher import reading_message
from tests.support.service import until


class Nobody:
    """A source that nothing comes from."""

    def acknowledge(self, _messages: Any) -> None:
        return

    def publish(self, _topic: str, _payload: bytes) -> bool:
        return True


def load_kernels() -> None:
    """Let a city of one sensor take one reading and come back, without any thread: forked lives have the kernels."""
    with tempfile.TemporaryDirectory() as name:
        config = load_city(small_city.write(Path(name), sites=1), extensions())
        for now_ms in (1_790_000_000_000, 1_790_000_010_000):
            ledger = Ledger.open(Path(name))
            table = SensorTable.build(ledger.sensor_ids([s.id for s in config.sensors]), config.sensors)
            inbox = Inbox()
            city = assemble(
                config, table, ledger, Journal(ledger), inbox=inbox, mailbox=Mailbox(inbox.ready.set),
                source=Nobody(), metrics=Metrics(),
            )  # fmt: skip
            city.recover(now_ms)
            payload = reading_message("b1", now_ms, [("u-000001.depth", now_ms, 30.0)], now_ms)
            inbox.put(RawMessage(topic="city/v1/gw-01/readings", payload=payload, received_ms=now_ms, token=0))
            city.tick(now_ms)
            ledger.close()


def live(config: str, data: str, broker: str) -> None:
    """Run the service until it is told to stop, or killed."""
    log = (Path(data).parent / "service.log").open("a", buffering=1)
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    sys.stdout = sys.stderr = log
    set_up_logs(as_json=True)
    service = Service.open(
        config_path=Path(config), data_dir=Path(data), broker_url=broker, clock=SystemClock(), watches=False
    )
    with service, serve_console(service, "127.0.0.1:0", Path(data)):
        until_signalled(service)


class Life:
    """Starts, kills and ends the service again and again; asks it over HTTP."""

    def __init__(self, config: Path, data: Path, broker_port: int) -> None:
        self.config, self.data, self.broker = config, data, f"mqtt://127.0.0.1:{broker_port}"
        self.log = data.parent / "service.log"
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["tests.support.city_life_loaded"])
        self._process: multiprocessing.process.BaseProcess | None = None

    def start(self) -> None:
        (self.data / "service.json").unlink(missing_ok=True)
        self._process = self._context.Process(target=live, args=(str(self.config), str(self.data), self.broker))
        self._process.start()

    @property
    def is_up(self) -> bool:
        """True once the console answers for this life: recovery is over then."""
        return (self.data / "service.json").exists()

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.is_alive()

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-4000:] if self.log.exists() else ""

    def wait_up(self, timeout_s: float = 90.0) -> None:
        until(lambda: self.is_up or not self.is_alive, timeout_s, why=f"it did not come up\n{self.tail()}")
        assert self.is_alive, f"it ended by itself\n{self.tail()}"

    def wait(self, seconds: float) -> None:
        """Let it live for so long, or until it dies by itself."""
        assert self._process is not None
        self._process.join(seconds)

    def kill(self) -> None:
        assert self._process is not None
        assert self._process.is_alive(), f"it ended by itself\n{self.tail()}"
        self._process.kill()
        self._process.join()

    def stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.join(30)
        assert self._process.exitcode == 0, f"exit code {self._process.exitcode}\n{self.tail()}"

    def end(self) -> None:
        if self._process is not None and self._process.is_alive():
            self._process.kill()
            self._process.join()

    def ask(self, path: str, body: dict[str, Any] | None = None, *, timeout_s: float = 5.0) -> Any:
        """Return what the console answers; OSError while nobody is there, an answer of refusal too."""
        try:
            address = json.loads((self.data / "service.json").read_text())["address"]
            token = (self.data / "desk.token").read_text().strip()
        except ValueError as error:
            raise ConnectionError("half written") from error
        request = urllib.request.Request(
            address + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return json.load(error)
        except (ValueError, http.client.HTTPException) as error:
            raise ConnectionError("half an answer") from error
