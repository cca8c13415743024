"""A city reduced to its promise: it keeps every message it hears and answers with durable watermarks."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from typing import Self

from citypulse.clock import SystemClock
from ingest.access import Access
from ingest.inbox import Inbox
from ingest.mqtt import MqttSource


class AnsweringCity:
    """Runs the real source in front of a dictionary. Use as a context manager."""

    def __init__(self, url: str) -> None:
        self.inbox = Inbox()
        self.source = MqttSource(url, self.inbox, SystemClock(), client_id="answering-city", access=Access())
        self.messages: list[tuple[str, dict]] = []
        self.states: list[tuple[str, dict]] = []
        self.seqs: dict[tuple[str, str], set[int]] = defaultdict(set)
        self.is_answering = True
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self.source.start()
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        self._thread.join(5)
        self.source.stop()

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            drained = self.inbox.drain(10_000)
            touched = set()
            for raw in drained:
                _, _, gateway, kind = raw.topic.split("/")
                body = json.loads(raw.payload)
                if kind == "state":
                    self.states.append((gateway, body))
                    continue
                self.messages.append((gateway, body))
                self.seqs[gateway, body["boot"]].add(body["seq"])
                touched.add((gateway, body["boot"]))
            self.source.acknowledge(drained)
            for gateway, boot in touched if self.is_answering else ():
                upto = 0
                while upto + 1 in self.seqs[gateway, boot]:
                    upto += 1
                top = max(self.seqs[gateway, boot])
                missing = [[s, s] for s in range(upto + 1, top) if s not in self.seqs[gateway, boot]]
                answer = {"boot": boot, "durable_upto": upto, "missing": missing}
                self.source.publish(f"city/v1/{gateway}/ack", json.dumps(answer).encode())

    def readings(self) -> dict[tuple[str, int], float | None]:
        """Return everything heard as (sensor, time) → value."""
        found = {}
        for _, body in list(self.messages):
            rows = body.get("readings")
            if rows is None:
                rows = [
                    {"sensor": s, "time": t, "value": v}
                    for s, t, v in zip(body["sensor"], body["time"], body["value"], strict=True)
                ]
            found |= {(r["sensor"], r["time"]): r["value"] for r in rows}
        return found
