"""5,000 alarms in 60 s from 1,000 sensors at 8 officers: the desk, the real ledger, the real deliverer and robots.

The robots are servers on loopback that refuse a 21st message within a minute, as the providers do; time is virtual.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alerts.channels import CHANNELS
from alerts.delivery.outbox import Deliverer
from alerts.desk import Desk
from citypulse.clock import VirtualClock
from citypulse.ledger import Ledger, Tick
from citypulse.model import Priority, ReadingBatch, Transition
from tests.alerts.cast import T0
from tests.alerts.red_first import untold
from tests.alerts.storm_cast import cleared, storm, storm_city

ALARMS = 5_000
TICK_MS = 250
LIMIT = 20  # a minute, for each robot
PER_MINUTE = {"robot-a": 18, "robot-b": 18, "phone": 600}
TICK_P99_S = 0.2


class Robots:
    """The provider's server: a robot a path; it counts by the test's clock and refuses what is too much."""

    def __init__(self) -> None:
        self.now_ms = T0
        self.took: dict[str, list[tuple[int, str]]] = {}
        self.refused = 0
        robots = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
                answer = robots.answer(self.path.split("?")[0], body)
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/{name}"

    def answer(self, path: str, body: str) -> bytes:
        took = self.took.setdefault(path.strip("/"), [])
        if sum(at > self.now_ms - 60_000 for at, _ in took) >= LIMIT:
            self.refused += 1
            return b'{"errcode": 130101, "errmsg": "send too fast"}'
        took.append((self.now_ms, json.loads(body)["markdown"]["text"]))
        return b'{"errcode": 0, "errmsg": "ok"}'

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def robots(monkeypatch: pytest.MonkeyPatch) -> Iterator[Robots]:
    monkeypatch.setenv("ROBOT_TOKEN", "t")
    made = Robots()
    yield made
    made.close()


class City:
    """Desk, ledger and deliverer in virtual time."""

    def __init__(self, folder: Path, robots: Robots) -> None:
        self.config, self.table = storm_city()
        self.folder, self.robots, self.number, self.now_ms = folder, robots, 0, T0
        self.ledger = Ledger.open(folder)
        self.desk = Desk(self.config, self.table)
        kind, log = CHANNELS["dingtalk"], CHANNELS["log"]
        self.channels = {
            name: kind(kind.settings.model_validate({"url": robots.url(name), "token_env": "ROBOT_TOKEN"}), folder)
            for name in ("robot-a", "robot-b")
        } | {"phone": log(log.settings.model_validate({}), folder)}
        self.deliverer = Deliverer(self.ledger.outbox, self.channels, PER_MINUTE, VirtualClock(T0))
        self.tick_s: list[float] = []

    def tick(self, changes: list[Transition]) -> None:
        began_s = time.thread_time()
        effects = self.desk.receive(changes, ReadingBatch.empty(), [], self.now_ms)
        self.number += 1
        self.ledger.commit(Tick(number=self.number, now_ms=self.now_ms, effects=effects))
        self.tick_s.append(time.thread_time() - began_s)

    def restart(self) -> None:
        self.ledger.close()
        self.ledger = Ledger.open(self.folder)
        self.desk = Desk(self.config, self.table, self.ledger.load_open())
        self.deliverer = Deliverer(self.ledger.outbox, self.channels, PER_MINUTE, VirtualClock(T0))

    def deliver(self) -> None:
        self.robots.now_ms = self.now_ms
        self.deliverer.step(self.now_ms)


@pytest.mark.slow
def test_a_storm_of_five_thousand_alarms_reaches_people_in_order(tmp_path, robots):
    city = City(tmp_path, robots)
    waiting = list(storm(city.config, ALARMS))
    raises = list(waiting)
    while waiting:
        city.now_ms += TICK_MS
        due = [t for t in waiting[: ALARMS // 100] if t.received_ms <= city.now_ms]
        waiting = waiting[len(due) :]
        city.tick(due)
        if city.now_ms % 1_000 == 0:
            city.deliver()
        if city.now_ms == T0 + 30_000:
            city.restart()  # in the middle of it
    storms = [e for e in city.ledger.events(limit=100_000) if e.event.subject_kind == "storm"]
    assert {e.event.subject for e in storms} == {"storm:desk-a", "storm:desk-b"}
    assert [e.event.kind for e in storms] == ["storm_started"] * 2, "the restart began none anew"

    city.tick([cleared(t, city.now_ms) for t in raises[:500]])
    quiet_ms = city.now_ms + 20 * 60_000
    while city.now_ms < quiet_ms:  # the robots work off what waits
        city.now_ms += 10_000
        city.deliver()

    rows = city.ledger.outbox_rows(limit=1_000_000)
    states = Counter(row.state for row in rows)
    assert set(states) <= {"delivered", "obsolete"}, "every notice is accounted for"
    assert all(row.last_error for row in rows if row.state == "obsolete"), "and what was dropped says why"
    assert robots.refused == 0, "no robot was asked for more than its limit"
    for took in robots.took.values():
        at = [ms for ms, _ in took]
        assert all(sum(ms - 60_000 < other <= ms for other in at) <= LIMIT for ms in at)

    # Red: the first message that says so is at its first channel within five seconds, or it was over by then.
    events: dict[str, list[Any]] = defaultdict(list)
    for row in city.ledger.events(limit=1_000_000):
        if row.event.subject_kind == "alarm":
            events[row.event.subject].append(row.event)
    spells, late = untold(rows, events)
    assert spells > 30
    assert late == []
    assert not [n for n in (r.notice for r in rows) if n.may_wait and n.level is Priority.P1]

    # Hundreds of messages a person cannot read: a few that say what counts.
    texts = [text for took in robots.took.values() for _, text in took]
    digests = [text for text in texts if "汇总" in text]
    covered = sum(states.values()) - len(texts)
    assert digests
    assert covered > 10 * len(digests)
    assert max(len(text) for text in digests) < 5_000
    fullest = max(digests, key=len)
    assert "digest of" in fullest
    assert "红" not in fullest.split("\n")[0], "red ones come alone"
    assert np.quantile(city.tick_s, 0.99) < TICK_P99_S
    city.ledger.close()
