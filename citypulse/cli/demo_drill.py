"""The demo's drill: started by the lead through the HTTP API at its time, as `citypulse exercise start` does."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass, field

import structlog

from citypulse.clock import Clock

log = structlog.get_logger()

LOOK_S = 0.2
TIMEOUT_S = 20.0
MINUTES = 90


@dataclass(slots=True)
class Drill:
    """One drill at `site`, red, from `start_ms` on; nothing when there is no site."""

    address: str
    token: str
    clock: Clock
    site: str
    start_ms: int
    number: str = ""  # its id, once it runs
    refused: str = ""  # why it does not
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Wait for its time, in a thread of our own."""
        if self.site and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="drill", daemon=True)
            self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Start none any more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S):
            if self.clock.now_ms() >= self.start_ms:
                self._ask()
                return

    def _ask(self) -> None:
        body = {
            "sites": [self.site],
            "level": "red",
            "minutes": MINUTES,
            "name": "夜间燃气演练 night gas drill",
            "reason": "季度演练 quarterly drill",
            "command_id": f"demo-drill-{self.start_ms}",
        }
        request = urllib.request.Request(  # noqa: S310 - our own console
            f"{self.address}/api/v1/exercises",
            data=json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as reply:  # noqa: S310
                answer = json.load(reply)
        except urllib.error.HTTPError as error:
            answer = json.load(error)
        except (OSError, ValueError) as error:
            answer = {"message": str(error)}
        if answer.get("ok"):
            self.number = answer["subject"]
        else:
            self.refused = str(answer.get("message", answer))
            log.warning("demo.drill_refused", why=self.refused)
