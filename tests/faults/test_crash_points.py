"""The heart stopped at every effect of a tick, in process: what is left must carry on as if it had not died.

A crash is an exception that nobody catches, raised between two effects; the ledger's file is then opened anew, and
the broker delivers again what was not acknowledged, as brokers do.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from citypulse.app import assemble, extensions
from citypulse.clock import VirtualClock
from citypulse.config import load_city
from citypulse.journal import Journal
from citypulse.ledger import Ledger
from citypulse.mailbox import Mailbox
from citypulse.metrics import Metrics
from citypulse.model import Actor, CityConfig, Command, RawMessage, SensorTable
from citypulse.store import open_store
from citypulse.store.sink import Sink
from ingest.inbox import Inbox
from tests.support import small_city
from tests.support.publisher import reading_message

BASE_MS = 1_790_000_000_000
SITES = 3
STEP_MS = 10_000
PER_TICK = 4
OFFICER = Actor(name="Alice", role="duty", unit="centre")


class Crash(BaseException):
    """The process is gone: nothing below may catch it."""


class Broker:
    """Holds messages until they are acknowledged, and delivers again what was not."""

    def __init__(self, messages: list[RawMessage]) -> None:
        self.waiting = {m.token: m for m in messages}
        self.published: list[tuple[str, bytes]] = []

    def acknowledge(self, messages: Sequence[RawMessage]) -> None:
        for m in messages:
            self.waiting.pop(m.token, None)

    def publish(self, topic: str, payload: bytes) -> bool:
        self.published.append((topic, payload))
        return True


def depths(rounds: int) -> list[RawMessage]:
    rng = random.Random(5)
    messages = []
    for k in range(rounds):
        row = []
        for site in range(SITES):
            wave = (k / 14 + site / SITES) % 1.0
            row.append(
                (f"u-{site + 1:06d}.depth", BASE_MS + k * STEP_MS, round(45 * max(0.0, wave - 0.3) + rng.random(), 1))
            )
        payload = reading_message("b1", k, row, BASE_MS + k * STEP_MS)
        messages.append(
            RawMessage(topic="city/v1/gw-01/readings", payload=payload, received_ms=BASE_MS + k * STEP_MS, token=k)
        )
    return messages


class World:
    """One data folder, one broker, and however many lives the heart needs."""

    def __init__(self, folder: Path, config: CityConfig, messages: list[RawMessage]) -> None:
        self.folder, self.config = folder, config
        self.broker = Broker(messages)
        self.ledger: Ledger | None = None
        self.acked: set[str] = set()

    def live(self, fault: Callable[[str], None]) -> None:
        """Run until the broker holds nothing more and the desk has acknowledged the first alarm, or until a crash."""
        inbox = Inbox()
        mailbox = Mailbox(inbox.ready.set)
        self.ledger = Ledger.open(self.folder, fault=fault)
        journal = Journal(self.ledger)
        table = SensorTable.build(self.ledger.sensor_ids([s.id for s in self.config.sensors]), self.config.sensors)
        city = assemble(
            self.config,
            table,
            self.ledger,
            journal,
            inbox=inbox,
            mailbox=mailbox,
            source=self.broker,
            metrics=Metrics(),
            fault=fault,
        )
        todo = list(self.broker.waiting.values())
        now_ms = todo[0].received_ms if todo else BASE_MS
        city.recover(now_ms)
        while self.broker.waiting:
            first_ms = todo[0].received_ms if todo else now_ms
            for m in todo[:PER_TICK]:
                inbox.put(m)
                now_ms = m.received_ms
            todo = todo[PER_TICK:]
            for alarm in self.ledger.alarms(state="unacked"):
                if alarm.raised_wall_ms >= first_ms:
                    continue  # she looks at the board before this tick's messages, also when they come again
                # The same officer asks with the same id after a crash, as a phone does that got no answer.
                command = Command(
                    id=f"ack-{alarm.id}", verb="alarm.acknowledge", target=alarm.id, actor=OFFICER, at_ms=now_ms
                )
                mailbox.submit(command)
            city.tick(now_ms)
        store = open_store("duckdb", self.folder)
        sink = Sink(store, journal, name="duckdb", sensor_ids=lambda: table.ids, clock=VirtualClock(now_ms))
        sink.finish()
        store.close()
        self.ledger.close()

    def die(self) -> None:
        """Drop the heart without any goodbye; only the file's lock is given back, as the kernel would."""
        assert self.ledger is not None
        self.ledger.close()

    def outcome(self) -> dict[str, Any]:
        ledger = Ledger.open(self.folder, read_only=True)
        store = open_store("duckdb", self.folder)
        try:
            names = {a.id: f"{a.dedup_key}#{a.occurrence}" for a in ledger.alarms(state="all", limit=10_000)}
            events = [r.event for r in ledger.events(limit=100_000)]
            return {
                "alarms": sorted(
                    (names[a.id], a.raised_ms, a.cleared_ms, a.condition.value, a.peak_value, a.is_acked, a.acked_by)
                    for a in ledger.alarms(state="all", limit=10_000)
                ),
                "steps": sorted(
                    (e.subject, e.rev, e.kind, e.from_state, e.to_state) for e in events if e.kind != "lamp"
                ),
                "orders": sorted((o.id, o.cause, o.asset, o.state.value, o.level) for o in ledger.orders(limit=10_000)),
                "notices": sorted(
                    (r.notice.subject, r.notice.kind.value, r.notice.target)
                    for r in ledger.outbox_rows(limit=10_000)
                    if r.notice.kind.value != "reminder"
                ),
                "chain": ledger.verify().first_broken,
                "readings": [
                    (s, t, v)
                    for part in store.scan(None, 0, 2**52)
                    for s, t, v in zip(part.sensor.tolist(), part.time_ms.tolist(), part.value.tolist(), strict=True)
                ],
            }
        finally:
            store.close()
            ledger.close()


def count_effects(folder: Path, config: CityConfig, messages: list[RawMessage]) -> tuple[dict[str, Any], list[str]]:
    """Run undisturbed; return what it left and the names of all effects in order."""
    seen: list[str] = []
    world = World(folder, config, messages)
    world.live(seen.append)
    return world.outcome(), seen


def crash_at(folder: Path, config: CityConfig, messages: list[RawMessage], number: int) -> dict[str, Any]:
    """Die at effect `number`, come back, and run to the end."""
    left = number

    def fault(_name: str) -> None:
        nonlocal left
        if left == 0:
            left = -1
            raise Crash
        left -= 1

    world = World(folder, config, messages)
    try:
        world.live(fault)
    except Crash:
        world.die()
        world.live(lambda _name: None)
    return world.outcome()


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> CityConfig:
    return load_city(small_city.write(tmp_path_factory.mktemp("city"), sites=SITES), extensions())


def check(tmp_path: Path, city: CityConfig, every: int, rounds: int) -> None:
    messages = depths(rounds)
    calm, effects = count_effects(tmp_path / "calm", city, messages)
    assert calm["chain"] is None
    assert len(calm["alarms"]) >= SITES
    assert calm["orders"]
    assert len(set(effects)) >= 6
    for number in range(0, len(effects), every):
        got = crash_at(tmp_path / f"crash-{number}", city, messages, number)
        for part, expected in calm.items():
            assert got[part] == expected, f"{part} differ after a crash at effect {number} ({effects[number]})"


@pytest.mark.slow  # one crash of each kind of effect is in test_crash_every_effect.py
def test_a_crash_between_any_two_effects_changes_nothing(tmp_path: Path, city: CityConfig) -> None:
    check(tmp_path, city, every=7, rounds=40)


@pytest.mark.slow
def test_a_crash_at_every_single_effect_changes_nothing(tmp_path: Path, city: CityConfig) -> None:
    check(tmp_path, city, every=1, rounds=60)
