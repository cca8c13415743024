"""A what-if's desk follows alarms as the whole desk would, worst values too; judging and telling run side by side."""

from __future__ import annotations

import random
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from citypulse.backtest.checkpoint import Checkpoint
from citypulse.backtest.history import Columns, History
from citypulse.backtest.run import UNTOLD_MAX, _Judges, backtest
from citypulse.backtest.trial import Trial
from citypulse.config import load_city
from citypulse.errors import CityError
from citypulse.model import CityConfig
from citypulse.vocabulary import extensions
from rules.backtest import Occurrence
from tests.support import small_city

BASE_MS = 1_767_542_400_000
STEP_MS = 10_000
SITES = 4
RULES = (
    small_city.RULES
    + """  - id: dry
    name: {zh: 过低, en: Too dry}
    applies_to: {quantity: depth}
    source: test
    threshold: {}
    limits: [{level: blue, below: 0.4 cm, deadband: 0.2 cm}]
    accepts: suspect
"""
    + small_city.WATCHDOGS
)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> CityConfig:
    text = small_city.text(sites=SITES, gateways=2, rules=RULES).replace("silent_after: 7 d", "silent_after: 2 min")
    path = tmp_path_factory.mktemp("city") / "city.yaml"
    path.write_text(text, encoding="utf-8")
    return load_city(path, extensions())


def readings(seed: int, rounds: int = 200) -> Columns:
    """Waves, limits crossed again and again, wild and suspect values, sensors and gateways that fall silent."""
    rng = random.Random(seed)
    quiet: dict[int, int] = {}
    rows = []
    for k in range(rounds):
        for site in range(SITES):
            if rng.random() < 0.01:
                quiet[site] = k + rng.randrange(2, 40)
            if k < quiet.get(site, 0):
                continue
            wave = (k / 25 + site / SITES) % 1.0
            value = 45 * max(0.0, wave - 0.4) + rng.choice([0.3, 1.0, 8.0]) * rng.random()
            if rng.random() < 0.02:
                value = rng.choice([999.0, float("nan"), -5.0])
            rows.append((site, BASE_MS + k * STEP_MS, round(value, 2), rng.choice([1] * 9 + [3])))
    site, time_ms, value, quality = zip(*rows, strict=True)
    return Columns(
        names=[f"u-{k + 1:06d}.depth" for k in range(SITES)],
        code=np.array(site, np.int32),
        time_ms=np.array(time_ms, np.int64),
        value=np.array(value),
        quality=np.array(quality, np.uint8),
        share_done=1.0,
    )


def cut(whole: Columns, cuts: list[int]) -> list[Columns]:
    edges = [0, *sorted({c % (len(whole) + 1) for c in cuts}), len(whole)]
    return [whole.upto(b).cut(a) for a, b in zip(edges, edges[1:], strict=False) if b > a]


def facts(occurrences: tuple[Occurrence, ...]) -> list[Any]:
    return [replace(o, peak=0.0) for o in occurrences] + [repr(o.peak) for o in occurrences]


def tried(config: CityConfig, parts: list[Columns], *, alarms_only: bool) -> list[Any]:
    trial = Trial(config, alarms_only=alarms_only)
    for part in parts:
        trial.take(part)
    return facts(trial.finish(int(parts[-1].time_ms[-1])).occurrences)


# ── the desk that follows ───────────────────────────────────────────────────────────────────────


@given(seed=st.integers(0, 2**32 - 1), cuts=st.lists(st.integers(0, 10_000), max_size=20))
@settings(max_examples=12, deadline=None)
def test_it_finds_what_the_whole_desk_finds_however_the_readings_are_cut(
    config: CityConfig, seed: int, cuts: list[int]
) -> None:
    whole = readings(seed)
    expected = tried(config, [whole], alarms_only=False)
    assert expected
    assert tried(config, cut(whole, cuts), alarms_only=True) == expected


@given(seed=st.integers(0, 2**32 - 1), cuts=st.lists(st.integers(0, 10_000), max_size=6), size=st.integers(1, 400))
@settings(max_examples=8, deadline=None)
def test_the_worst_value_is_the_worst_reading_while_the_alarm_stood(
    config: CityConfig, seed: int, cuts: list[int], size: int
) -> None:
    """Told by the definition: of the readings an alarm's rule may judge, from its beginning to its end."""
    whole = readings(seed)
    trial = Trial(config, alarms_only=True)
    for part in cut(whole, [*cuts, size]):
        trial.take(part)
    seen = 0
    for o in trial.finish(int(whole.time_ms[-1])).occurrences:
        if o.rule != "depth":
            continue
        code = whole.names.index(o.scope)
        end_ms = o.end_ms if o.end_ms is not None else int(whole.time_ms[-1])
        mine = (whole.code == code) & (whole.time_ms >= o.start_ms) & (whole.time_ms <= end_ms)
        good = mine & (whole.quality < 3) & (whole.value >= 0) & (whole.value < 900)
        assert o.peak == whole.value[good].max()
        seen += 1
    assert seen


@given(seed=st.integers(0, 2**32 - 1), at=st.integers(1, 10_000))
@settings(max_examples=8, deadline=None)
def test_a_trial_put_back_where_it_stood_goes_on_to_the_same_worst_values(
    config: CityConfig, seed: int, at: int
) -> None:
    whole = readings(seed)
    first, *rest = cut(whole, [1 + at % (len(whole) - 1)])
    before = Trial(config, alarms_only=True, keeps=True)
    before.take(first)
    after = Trial(config, alarms_only=True, keeps=True)
    after.restore(before.state())
    for part in rest:
        after.take(part)
    assert facts(after.finish(int(whole.time_ms[-1])).occurrences) == tried(config, [whole], alarms_only=True)


def test_it_counts_neither_orders_nor_notices(config: CityConfig) -> None:
    trial = Trial(config, alarms_only=True)
    trial.take(readings(1))
    outcome = trial.finish(BASE_MS + 200 * STEP_MS)
    assert (outcome.orders, outcome.notices) == (None, None)
    assert outcome.occurrences


# ── side by side ────────────────────────────────────────────────────────────────────────────────


class Told:
    """Stands before a trial's `tell`: remembers the calls, and may fail or wait."""

    def __init__(self, trial: Trial) -> None:
        self.now_ms: list[int] = []
        self.threads: set[str] = set()
        self.fails_at, self.gate = -1, threading.Event()
        self.gate.set()
        self._tell = trial.tell
        trial.tell = self  # type: ignore[method-assign, assignment]

    def __call__(self, transitions: Any, now_ms: int, *rest: Any) -> None:
        assert self.gate.wait(30)
        if len(self.now_ms) == self.fails_at:
            raise CityError("the desk has fallen over")
        self._tell(transitions, now_ms, *rest)
        self.now_ms.append(now_ms)
        self.threads.add(threading.current_thread().name)


class Given(History):
    """Portions as they are."""

    def __init__(self, parts: list[Columns]) -> None:
        super().__init__()
        self.parts = parts

    def _columns(self) -> Any:
        yield from self.parts

    def between(self, since_ms: int, until_ms: int) -> History:
        raise NotImplementedError


def portions(seed: int, many: int = 40) -> list[Columns]:
    whole = readings(seed)
    return cut(whole, list(range(0, len(whole), len(whole) // many)))


def test_desks_are_told_every_portion_in_order_and_beside_the_engines(config: CityConfig) -> None:
    trials = [Trial(config), Trial(config)]
    told = [Told(trial) for trial in trials]
    parts = portions(1)
    with _Judges(trials) as judges:
        for part in parts:
            judges.take(part)
    for one in told:
        assert one.now_ms == [int(p.time_ms[-1]) for p in parts]
        assert len(one.threads) == 1
        assert not one.threads & {threading.main_thread().name}


@pytest.mark.parametrize("fails_at", [0, 20, -1])
def test_an_error_at_a_desk_reaches_the_caller_soon_or_at_the_end(config: CityConfig, fails_at: int) -> None:
    parts = portions(1)
    trial = Trial(config)
    told = Told(trial)
    told.fails_at = fails_at % len(parts)
    taken = []

    def judge_all() -> None:
        with _Judges([trial]) as judges:
            for part in parts:
                judges.take(part)
                taken.append(part)

    with pytest.raises(CityError, match="fallen over"):
        judge_all()
    assert len(told.now_ms) == told.fails_at
    assert len(taken) <= told.fails_at + UNTOLD_MAX + 1


def test_an_error_at_a_desk_ends_the_backtest_and_leaves_no_thread(
    config: CityConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = threading.active_count()

    def fall(*_: Any) -> None:
        raise CityError("the desk has fallen over")

    monkeypatch.setattr(Trial, "tell", fall)
    with pytest.raises(CityError, match="fallen over"):
        backtest([config, config], Given(portions(2)))
    assert threading.active_count() == before


def test_a_checkpoint_waits_until_every_desk_knows_what_its_engine_knows(config: CityConfig) -> None:
    trial = Trial(config, keeps=True)
    told = Told(trial)
    told.gate.clear()
    parts = portions(3)[:5]
    with _Judges([trial]) as judges:
        for part in parts:
            judges.take(part)
        assert not told.now_ms, "the engine is ahead"
        told.gate.set()
        judges.settle()
        assert told.now_ms == [int(p.time_ms[-1]) for p in parts]


def test_each_checkpoint_of_a_backtest_is_taken_with_desks_that_stand_where_the_place_says(
    config: CityConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []
    state = Trial.state

    def looked_at(trial: Trial) -> dict[str, Any]:
        found = state(trial)
        seen.append((found["now_ms"], trial.alarms))
        return found

    monkeypatch.setattr(Trial, "state", looked_at)
    parts = portions(4, many=12)
    checkpoint = Checkpoint(tmp_path / "c", "q", goes_on=False, every_s=0.0)
    backtest([config], Given(parts), checkpoint=checkpoint)
    assert [now_ms for now_ms, _ in seen] == [int(p.time_ms[-1]) for p in parts]
    trial = Trial(config)
    expected = []
    for part in parts:
        trial.take(part)
        expected.append(trial.alarms)
    assert [alarms for _, alarms in seen] == expected
