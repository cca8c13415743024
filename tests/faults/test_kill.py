"""The real process, a real broker, an independent publisher, and kill -9 at random moments.

Shown: every acknowledged reading is stored exactly once, and the alarms, orders and notices are those of an
undisturbed run of the same input.
"""

from __future__ import annotations

import os
import random
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from citypulse.ledger import Ledger
from citypulse.store import open_store
from tests.support import small_city
from tests.support.mosquitto import Mosquitto, is_installed
from tests.support.publisher import Publisher, reading_message
from tests.support.service import ServiceProcess, until

pytestmark = pytest.mark.skipif(not is_installed(), reason="needs mosquitto; .ci/run installs it")

SITES = 6
CADENCE_MS = 10_000
# Time limits of orders run on the wall's clock, and a killed run takes longer on it: lamps may differ, nothing else.
BY_THE_WALL = frozenset({"lamp", "supervised", "reminded"})
# What the sensors say happens at their own time; that an order was attached is dated when we did it.
BY_THE_SENSOR = frozenset({"raised", "level", "worsened", "eased", "cleared", "data_loss", "data_back"})


@dataclass(frozen=True)
class Script:
    """What one gateway says, message by message."""

    messages: list[list[tuple[str, int, float]]]  # (sensor, offset ms, value)

    @property
    def readings(self) -> int:
        return sum(len(m) for m in self.messages)


def script(seed: int, rounds: int) -> Script:
    """Depths that rise over every limit and fall again, each site at its own time, some values exactly on a limit."""
    rng = random.Random(seed)
    phase = [rng.random() for _ in range(SITES)]
    messages = []
    for k in range(rounds):
        row = []
        for site in range(SITES):
            wave = (k / 40 + phase[site]) % 1.0
            depth = 0.0 if wave < 0.3 else 60 * (wave - 0.3) if wave < 0.8 else 30 - 150 * (wave - 0.8)
            row.append((f"u-{site + 1:06d}.depth", k * CADENCE_MS, round(max(0.0, depth + rng.uniform(-1, 1)), 1)))
        messages.append(row)
    return Script(messages)


@dataclass(frozen=True)
class Outcome:
    """What a run left behind, with instants as offsets, so that runs at different times of day compare."""

    alarms: list[Any]
    steps: list[Any]
    orders: list[Any]
    notices: list[Any]
    readings: list[tuple[str, int, float]]


def outcome(data: Path, base_ms: int) -> Outcome:
    """Read the ledger and the store of a stopped service."""
    ledger = Ledger.open(data, read_only=True)
    store = open_store("duckdb", data)
    try:
        alarms = [
            (a.rule, a.scope, a.occurrence, a.raised_ms - base_ms, a.cleared_ms and a.cleared_ms - base_ms)
            + (a.condition.value, a.level, a.peak_level, a.peak_value, a.is_acked, a.quality.value)
            for a in ledger.alarms(state="all", limit=100_000)
        ]
        numbers = {o.id: f"{o.cause}|{o.asset}" for o in ledger.orders(limit=100_000)}
        numbers |= {a.id: f"{a.dedup_key}#{a.occurrence}" for a in ledger.alarms(state="all", limit=100_000)}
        # How fast alarms come, and so when a desk is in a storm, is the wall's clock too: only alarms and orders.
        events = [r.event for r in ledger.events(limit=1_000_000) if r.event.subject in numbers]
        steps = [
            (
                numbers[e.subject],
                e.kind,
                e.from_state,
                e.to_state,
                e.event_ms - base_ms if e.kind in BY_THE_SENSOR else 0,
            )
            for e in events
            if e.kind not in BY_THE_WALL
        ]
        orders = [
            (o.cause, o.asset, o.state.value, o.level, o.team, len(o.alarm_ids)) for o in ledger.orders(limit=100_000)
        ]
        notices = [
            (numbers[r.notice.subject], r.notice.kind.value, r.notice.channel, r.notice.target, r.notice.title)
            for r in ledger.outbox_rows(limit=1_000_000)
            if r.notice.kind.value != "reminder" and r.notice.subject in numbers
        ]
        names = ledger.known_sensor_ids()
        readings = [
            (names[s], t - base_ms, v)
            for part in store.scan(None, 0, 2**52)
            for s, t, v in zip(part.sensor.tolist(), part.time_ms.tolist(), part.value.tolist(), strict=True)
        ]
    finally:
        store.close()
        ledger.close()
    return Outcome(sorted(alarms, key=str), sorted(steps, key=str), sorted(orders), sorted(notices), readings)


def durable_upto(service: ServiceProcess) -> int:
    rows = service.get("/api/v1/gateways")
    return max((r["durable_upto"] for r in rows if r["gateway"] == "gw-01" and not r["missing"]), default=-1)


def run(folder: Path, told: Script, kills: int, seed: int) -> Outcome:
    """Publish the script through a real broker while killing the service `kills` times; stop it cleanly at the end."""
    folder.mkdir()
    data = folder / "data"
    data.mkdir(mode=0o700)
    rng = random.Random(seed)
    with Mosquitto(dir=folder, config=["max_queued_messages 0"]) as broker:
        config = small_city.write(folder, sites=SITES, broker_port=broker.port)
        service = ServiceProcess(config, data, broker.port)
        with service:
            # All of it lies in the past: readings from the future would be quarantined, and rightly.
            base_ms = int(service.get("/api/v1/time")["now_ms"]) - (len(told.messages) + 60) * CADENCE_MS
            is_over = threading.Event()
            failures: list[Exception] = []
            pace_s = max(0.002, 0.5 * kills / len(told.messages))

            def publish() -> None:
                try:
                    out = Publisher(broker.port, "gateway-1")
                    for seq, row in enumerate(told.messages):
                        moved = [(sensor, base_ms + offset, value) for sensor, offset, value in row]
                        out.send("city/v1/gw-01/readings", reading_message("b1", seq, moved, base_ms + row[0][1]))
                        is_over.wait(pace_s)
                    out.finish()
                except Exception as error:
                    failures.append(error)

            publisher = threading.Thread(target=publish)
            publisher.start()
            for _ in range(kills):
                # From "before it has even recovered" to "in the middle of the stream".
                service.kill()
                service.start(wait_ready=rng.random() < 0.7)
                threading.Event().wait(rng.uniform(0.0, 0.4))
            service.wait_ready()
            publisher.join()
            is_over.set()
            assert not failures, failures
            last = len(told.messages) - 1
            until(lambda: durable_upto(service) == last, why=f"not all became durable; seed {seed}\n{service.tail()}")
            took_s = service.stop()
            assert took_s < 3.0, f"a clean stop took {took_s:.1f} s"
    return outcome(data, base_ms)


def compare(tmp_path: Path, kills: int, rounds: int, seed: int) -> None:
    told = script(seed, rounds)
    calm = run(tmp_path / "calm", told, 0, seed)
    killed = run(tmp_path / "killed", told, kills, seed)
    expected = sorted((s, t, v) for row in told.messages for s, t, v in row)
    assert len(calm.alarms) > SITES
    assert any(o[2] != "closed" for o in calm.orders)
    assert calm.notices
    for name, got in (("calm", calm), ("killed", killed)):
        assert sorted(got.readings) == expected, f"{name} run, seed {seed}: not every reading exactly once"
    for part in ("alarms", "steps", "orders", "notices"):
        assert getattr(killed, part) == getattr(calm, part), f"{part} differ after {kills} kills, seed {seed}"


def test_five_kills_change_nothing(tmp_path: Path) -> None:
    compare(tmp_path, kills=5, rounds=200, seed=int(os.environ.get("KILL_SEED", "20261122")))


@pytest.mark.slow
def test_fifty_kills_change_nothing(tmp_path: Path) -> None:
    compare(tmp_path, kills=50, rounds=1500, seed=int(os.environ.get("KILL_SEED", "7")))
