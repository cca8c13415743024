"""Looking back: what the live engine said at an instant is what a look back at that instant says again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from citypulse.app import extensions
from citypulse.config import load_city
from citypulse.evidence.hindsight import look_back, needed_rules, standing
from citypulse.ledger import Ledger
from citypulse.model import CityConfig, Event, SensorTable
from citypulse.store.memory import MemoryStore
from ingest.qc.controller import QualityControl
from ingest.quality import Grader
from ingest.registry import Registry
from rules.engine import Engine
from tests.support import small_city

T0 = 1_790_000_000_000
S = 1_000
RULES = """
rules:
  - id: depth
    name: {zh: 积水, en: Water depth}
    applies_to: {quantity: depth}
    source: test
    threshold: {}
    limits: [{level: yellow, at_least: 50 cm, deadband: 5 cm, on_delay: 20 s, off_delay: 30 s}]
  - id: silent
    name: {zh: 无数据, en: No data}
    applies_to: {quantity: depth}
    source: test
    no_data: {after: 60 s}
    level: blue
"""
MILL = "u-000001.depth"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> CityConfig:
    folder = tmp_path_factory.mktemp("city")
    return load_city(small_city.write(folder, gateways=1, sites=3, broker_port=1, rules=RULES), extensions())


steps = st.lists(
    st.tuples(
        st.integers(0, 2),  # which sensor
        st.integers(1, 90),  # seconds since the last arrival
        st.integers(-40, 30),  # how far its own clock is off: late ones and early ones
        st.integers(0, 99),  # cm
    ),
    min_size=1,
    max_size=60,
)


@settings(max_examples=40, deadline=None)
@given(steps=steps, look=st.integers(0, 59), rule=st.sampled_from(["depth", "silent"]))
def test_a_look_back_says_what_the_engine_said_at_that_time(
    config: CityConfig, steps: list[tuple[int, int, int, int]], look: int, rule: str
) -> None:
    table = SensorTable.build(tuple(s.id for s in config.sensors), config.sensors)
    grader = Grader(Registry(config, table), QualityControl.of_config(config, table))
    engine = Engine(config.rules, table, config.sites, config.gateways, quantities=config.quantities)
    store = MemoryStore()
    store.learn(table.ids)
    at_ms, then = T0, None
    seen: set[tuple[int, int]] = set()
    for number, (sensor, wait_s, off_s, cm) in enumerate(steps):
        at_ms += wait_s * S
        own_ms = at_ms + off_s * S
        if (sensor, own_ms) in seen:
            own_ms -= (1_000 + number) * S  # a copy shows that a sensor lives, but the store keeps no copies
        seen.add((sensor, own_ms))
        mine = np.array([sensor], np.int32)
        time_ms, received_ms = np.array([own_ms]), np.array([at_ms])
        batch = grader.grade(mine, time_ms, np.array([float(cm)]), received_ms).batch
        store.write(batch)
        engine.step(batch, at_ms)
        if number == min(look, len(steps) - 1):
            then = engine.why(rule, MILL), at_ms
    assert then is not None
    past = look_back(config, store, table.ids, rule, MILL, then[1], since_ms=T0 - 3_600 * S)
    live = then[0]
    assert replace(past.why, rule=live.rule, last_x=0.0, samples=()) == replace(live, last_x=0.0, samples=())
    assert past.why.last_x == live.last_x or (np.isnan(past.why.last_x) and np.isnan(live.last_x))
    assert [s[0] for s in past.why.samples] == [s[0] for s in live.samples]


def test_a_rule_that_does_not_apply_is_not_found(config: CityConfig) -> None:
    assert needed_rules(config, "depth", "nowhere") == ()
    with pytest.raises(KeyError):
        look_back(config, MemoryStore(), (), "nothing", MILL, T0, since_ms=0)


def _line(kind: str, at_s: int, *, actor: str = "citypulse", state: str = "B", **data: object) -> Event:
    at_ms = T0 + at_s * S
    return Event(
        subject="a", subject_kind="alarm", rev=at_s, kind=kind, event_ms=at_ms, wall_ms=at_ms, actor=actor,
        actor_role="duty", from_state="", to_state=state, because="", data=data,
    )  # fmt: skip


def test_what_people_had_done_by_then_is_folded_from_the_record() -> None:
    record = [
        _line("raised", 0, hidden_by=["gateway|gw-1"], state="F"),
        _line("released", 10, cause="gateway|gw-1"),
        _line("acknowledged", 20, actor="Alice", state="C"),
        _line("shelved", 30, until_ms=5, state="E"),
        _line("unshelved", 40),
    ]
    assert standing(record, T0 + 5 * S).suppressed_by == ["gateway|gw-1"]
    assert standing(record, T0 + 10 * S).suppressed_by == []
    assert (standing(record, T0 + 25 * S).acked_by, standing(record, T0 + 25 * S).isa) == ("Alice", "C")
    assert standing(record, T0 + 35 * S).shelved_until_ms == 5
    assert standing(record, T0 + 45 * S).shelved_until_ms is None


def test_the_ledger_knows_which_configuration_was_in_force(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path)
    try:
        ledger.record_config("aa", {}, now_ms=100)
        ledger.record_config("bb", {}, now_ms=200)
        ledger.record_config("aa", {}, now_ms=300)
        assert [ledger.config_at(t) for t in (50, 100, 250, 300, 999)] == ["", "aa", "bb", "aa", "aa"]
    finally:
        ledger.close()
