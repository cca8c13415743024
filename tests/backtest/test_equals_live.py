"""What was backtested is what runs: the same readings through the real heart, in any batching, give the same alarms."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from citypulse.app import assemble, extensions
from citypulse.backtest.history import Columns, FileHistory
from citypulse.backtest.run import Trial, backtest, occurrence_of
from citypulse.config import load_city
from citypulse.journal import Journal
from citypulse.ledger import Ledger
from citypulse.mailbox import Mailbox
from citypulse.metrics import Metrics
from citypulse.model import CityConfig, RawMessage, SensorTable
from ingest.inbox import Inbox
from rules.backtest import Occurrence
from tests.support import small_city

BASE_MS = 1_767_542_400_000
STEP_MS = 10_000
SITES = 4
RULES = (
    small_city.RULES
    + """
  - id: rise
    name: {zh: 上涨, en: Rising}
    applies_to: {quantity: depth}
    source: test
    rate: {window: 1 min, min_points: 3}
    limits: [{level: orange, at_least: 8 cm/min, deadband: 3 cm/min, off_delay: 30 s}]
    gap: hold
"""
    + small_city.WATCHDOGS
)

Row = tuple[int, str, float]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> CityConfig:
    text = small_city.text(sites=SITES, gateways=2, rules=RULES).replace("silent_after: 7 d", "silent_after: 2 min")
    path = tmp_path_factory.mktemp("city") / "city.yaml"
    path.write_text(text, encoding="utf-8")
    return load_city(path, extensions())


def rows(seed: int, rounds: int) -> list[Row]:
    """Waves of water with noise, bad values, sensors and gateways that fall silent for a while; in order of time."""
    rng = random.Random(seed)
    quiet: dict[int, int] = {}
    found: list[Row] = []
    for k in range(rounds):
        for site in range(SITES):
            if rng.random() < 0.01:
                quiet[site] = k + rng.randrange(2, 30)
            if k < quiet.get(site, 0):
                continue
            wave = (k / 25 + site / SITES) % 1.0
            value = round(45 * max(0.0, wave - 0.4) + rng.random(), 1) if rng.random() > 0.02 else 999.0
            found.append((BASE_MS + k * STEP_MS, f"u-{site + 1:06d}.depth", value))
    return found


class Wire:
    """A broker that takes every acknowledgement."""

    def acknowledge(self, messages: Any) -> None:
        """Nothing waits here."""

    def publish(self, topic: str, payload: bytes) -> bool:
        """Nobody listens."""
        return True


def lived(folder: Path, config: CityConfig, readings: list[Row], seed: int) -> list[Any]:
    """Run the real heart over the readings, one message per gateway and moment, some messages a tick."""
    rng = random.Random(seed)
    gateway_of = {s.id: s.gateway for s in config.sensors}
    grouped: dict[tuple[int, str], list[tuple[str, float]]] = {}
    for time_ms, sensor, value in readings:
        grouped.setdefault((time_ms, gateway_of[sensor]), []).append((sensor, value))
    messages = [
        RawMessage(
            topic=f"city/v1/{gateway}/readings",
            payload=json.dumps(
                {
                    "boot": "b1",
                    "seq": k,
                    "sent": time_ms,
                    "readings": [{"sensor": s, "time": time_ms, "value": v} for s, v in group],
                }
            ).encode(),
            received_ms=time_ms,
        )
        for k, ((time_ms, gateway), group) in enumerate(grouped.items())
    ]
    ledger = Ledger.open(folder)
    try:
        table = SensorTable.build(ledger.sensor_ids([s.id for s in config.sensors]), config.sensors)
        inbox = Inbox()
        city = assemble(
            config, table, ledger, Journal(ledger), inbox=inbox, mailbox=Mailbox(inbox.ready.set), source=Wire(),
            metrics=Metrics(),
        )  # fmt: skip
        city.recover(messages[0].received_ms)
        while messages:
            n = rng.choice([1, 2, 5, 40, 200])
            for message in messages[:n]:
                inbox.put(message)
            city.tick(messages[:n][-1].received_ms)
            messages = messages[n:]
        return facts([occurrence_of(a) for a in ledger.alarms(state="all", limit=100_000)])
    finally:
        ledger.close()


def facts(occurrences: Any) -> list[Any]:
    def one(o: Occurrence) -> Any:
        return o.rule, o.scope, o.level, o.start_ms, o.end_ms or 0, repr(o.peak), o.because.en, o.origin

    return sorted(one(o) for o in occurrences)


def columns(readings: list[Row], cuts: list[int]) -> list[Columns]:
    names = sorted({r[1] for r in readings})
    code = {name: k for k, name in enumerate(names)}
    edges = [0, *sorted({c % (len(readings) + 1) for c in cuts}), len(readings)]
    return [
        Columns(
            names=names,
            code=np.array([code[r[1]] for r in readings[a:b]], np.int32),
            time_ms=np.array([r[0] for r in readings[a:b]], np.int64),
            value=np.array([r[2] for r in readings[a:b]]),
            quality=np.full(b - a, 2, np.uint8),
            share_done=1.0,
        )
        for a, b in zip(edges, edges[1:], strict=False)
        if b > a
    ]


def tried(config: CityConfig, readings: list[Row], cuts: list[int]) -> list[Any]:
    trial = Trial(config)
    for part in columns(readings, cuts):
        trial.take(part)
    return facts(trial.finish(readings[-1][0]).occurrences)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), cuts=st.lists(st.integers(0, 10_000), max_size=12))
def test_a_backtest_finds_the_alarms_that_the_heart_would_have_raised(
    config: CityConfig, tmp_path_factory: pytest.TempPathFactory, seed: int, cuts: list[int]
) -> None:
    readings = rows(seed, 150)
    live = lived(tmp_path_factory.mktemp("live"), config, readings, seed)
    assert live
    assert tried(config, readings, cuts) == live


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cuts=st.lists(st.integers(0, 10_000), max_size=20))
def test_how_a_history_is_cut_changes_nothing(config: CityConfig, seed: int, cuts: list[int]) -> None:
    readings = rows(seed, 200)
    assert tried(config, readings, cuts) == tried(config, readings, [])


def test_files_give_the_same_alarms_whole_split_or_out_of_order(config: CityConfig, tmp_path: Path) -> None:
    readings = rows(7, 200)
    expected = tried(config, readings, [])

    def write(name: str, some: list[Row]) -> Path:
        path = tmp_path / name
        path.write_text("sensor,time,value\n" + "".join(f"{s},{t},{v}\n" for t, s, v in some), encoding="utf-8")
        return path

    whole = [write("whole.csv", readings)]
    split = [write(f"{k}.csv", [r for r in readings if r[1].endswith(f"{k + 1}.depth")]) for k in range(SITES)]
    unsorted_ = [write("by-sensor.csv", sorted(readings, key=lambda r: (r[1], r[0])))]
    digests = set()
    for paths in (whole, split, unsorted_):
        span, (outcome,), _ = backtest([config], FileHistory(paths))
        assert facts(outcome.occurrences) == expected
        assert span.readings == len(readings)
        digests.add(span.digest if paths is whole else "")
    assert len(digests) == 2
