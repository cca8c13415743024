"""A what-if over the rules that differ says of them what running everything says; a stopped backtest goes on alike."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from citypulse.app import extensions
from citypulse.backtest.checkpoint import Checkpoint, CheckpointError
from citypulse.backtest.history import Columns, FileHistory, History, StoreHistory
from citypulse.backtest.run import Outcome, backtest
from citypulse.config import load_city
from citypulse.model import CityConfig, ReadingBatch
from citypulse.store import open_store
from citypulse.store.ordering import in_order
from rules.backtest import Change, differences
from rules.report import Ran
from rules.whatif import ALL_ALARMS, BY_LANE, NO_ALARMS, TELLING_ONLY, select
from tests.support import small_city

BASE_MS = 1_767_542_400_000
SITES, GATEWAYS, STEP_MS = 6, 3, 10_000
RULES = (
    small_city.RULES
    + """    inhibited_by: gateway-off
  - id: rise
    name: {zh: 上涨, en: Rising}
    applies_to: {quantity: depth}
    source: test
    rate: {window: 1 min, min_points: 3}
    limits: [{level: orange, at_least: 8 cm/min, deadband: 3 cm/min, off_delay: 30 s}]
    gap: hold
    inhibited_by: depth
  - id: both
    name: {zh: 深且涨, en: Deep and rising}
    applies_to: {domain: flood}
    source: test
    composite: {rules: [depth, rise]}
    limits: [{level: red, at_least: 2}]
"""
    + small_city.WATCHDOGS
)
CHANGES = {
    "a limit": ("at_least: 20 cm, deadband", "at_least: 16 cm, deadband"),
    "a dead band": ("10 cm, deadband: 3 cm", "10 cm, deadband: 1 cm"),
    "a rate": ("8 cm/min", "5 cm/min"),
    "a composite": ("at_least: 2}", "at_least: 1}"),
    "a watchdog": ("3 * cadence", "5 * cadence"),
    "a gateway's patience": ("silent_after: 2 min", "silent_after: 4 min"),
    "who explains whom": ("    inhibited_by: depth\n", ""),
    "one sensor": (
        "rules:\n",
        (
            "overrides:\n  - rule: depth\n    applies_to: {sensor: u-000002.depth}\n"
            "    limits: [{level: yellow, at_least: 6 cm}]\n"
            "rules:\n"
        ),
    ),
}


def loaded(folder: Path, name: str, *changes: str) -> CityConfig:
    text = small_city.text(sites=SITES, gateways=GATEWAYS, rules=RULES)
    text = text.replace("silent_after: 7 d", "silent_after: 2 min")
    for change in changes:
        old, new = CHANGES[change]
        assert old in text, change
        text = text.replace(old, new)
    path = folder / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    return load_city(path, extensions())


def lived(seed: int, rounds: int) -> ReadingBatch:
    """Waves of water with noise, bad values, sensors and gateways that fall silent for a while; in order of time."""
    rng = random.Random(seed)
    quiet: dict[int, int] = {}
    rows = []
    for k in range(rounds):
        for site in range(SITES):
            if rng.random() < 0.01:
                quiet[site] = k + rng.randrange(2, 30)
            if rng.random() < 0.003:  # a whole gateway: two sites that lie together
                quiet[site - site % 2] = quiet[site - site % 2 + 1] = k + rng.randrange(15, 40)
            if k >= quiet.get(site, 0):
                wave = (k / 25 + site / SITES) % 1.0
                value = round(45 * max(0.0, wave - 0.4) + rng.random(), 1) if rng.random() > 0.02 else 999.0
                rows.append((site, BASE_MS + k * STEP_MS, value))
    columns = list(zip(*rows, strict=True))
    return ReadingBatch.of(np.array(columns[0]), np.array(columns[1], np.int64), np.array(columns[2], float))


def stored(folder: Path, config: CityConfig, batch: ReadingBatch) -> StoreHistory:
    store = open_store("duckdb", folder)
    ids = [s.id for s in config.sensors]
    store.learn(ids)
    cuts = sorted(random.Random(len(batch)).sample(range(1, len(batch)), 5))
    for start, end in zip([0, *cuts], [*cuts, len(batch)], strict=True):
        store.write(batch.take(slice(start, end)))
    return StoreHistory(store, ids, since_ms=0, until_ms=2**53)


def key(outcome: Outcome, told: frozenset[tuple[str, str]]) -> list[object]:
    return [(o, repr(o.peak)) for o in map(_bare, outcome.occurrences) if (o.rule, o.scope) in told]


def _bare(o: object) -> object:
    return replace(o, peak=0.0 if o.peak != o.peak else o.peak)  # type: ignore[attr-defined,type-var]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("what-if")


@pytest.mark.parametrize("change", CHANGES)
def test_a_what_if_says_of_what_it_judges_what_running_everything_says(change: str, tmp_path: Path) -> None:
    old, new = loaded(tmp_path, "old"), loaded(tmp_path, "new", change)
    history = stored(tmp_path, old, lived(3, 450))
    assert_same(new, old, history)


@given(seed=st.integers(0, 10_000), changes=st.sets(st.sampled_from(sorted(CHANGES)), min_size=1, max_size=3))
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
def test_it_does_so_for_any_changes_and_any_readings(folder: Path, seed: int, changes: set[str]) -> None:
    old, new = loaded(folder, "old"), loaded(folder, "new", *sorted(changes))
    path = folder / "readings.csv"
    batch = lived(seed, 220)
    ids = [s.id for s in old.sensors]
    rows = zip(batch.sensor.tolist(), batch.time_ms.tolist(), batch.value.tolist(), strict=True)
    path.write_text("sensor,time,value\n" + "".join(f"{ids[s]},{t},{v}\n" for s, t, v in rows), encoding="utf-8")
    assert_same(new, old, FileHistory([path]))


def assert_same(new: CityConfig, old: CityConfig, history: History) -> None:
    selection = select(new, old)
    span, whole, _ = backtest([new, old], history)
    short, part, _ = backtest([selection.new, selection.old], history, selection=selection)
    assert (span.since_ms, span.until_ms) == (short.since_ms, short.until_ms)
    for everything, judged in zip(whole, part, strict=True):
        assert key(everything, selection.told) == key(judged, selection.told)
        assert len(judged.occurrences) == len(key(judged, selection.told))
    for d in differences(whole[1].occurrences, whole[0].occurrences, until_ms=span.until_ms):
        assert d.change is Change.SAME or (d.one.rule, d.one.scope) in selection.told


def test_a_change_for_one_sensor_reads_its_own_gateway_only(tmp_path: Path) -> None:
    old, new = loaded(tmp_path, "old"), loaded(tmp_path, "new", "one sensor")
    selection = select(new, old)
    gateway = next(s.gateway for s in old.sensors if s.id == "u-000002.depth")
    assert selection.sensors == {s.id for s in old.sensors if s.gateway == gateway}
    assert selection.differs == {("depth", "u-000002.depth")}
    assert not selection.whole


def test_every_part_of_a_configuration_has_its_place_in_the_comparison() -> None:
    known = [*BY_LANE, *ALL_ALARMS, *TELLING_ONLY, *NO_ALARMS]
    assert sorted(known) == sorted(f.name for f in fields(CityConfig))


@pytest.mark.parametrize("section", ["storm", "windows", "quality", "timezone", "sites", "gateways", "quantities"])
def test_a_difference_that_may_change_any_alarm_runs_every_rule_and_the_report_says_why(
    section: str, tmp_path: Path
) -> None:
    old = loaded(tmp_path, "old")
    new = changed(old, section)
    selection = select(new, old)
    assert selection.whole == (section,)
    assert selection.sensors == {s.id for s in old.sensors}
    assert {rule for rule, _ in selection.told} == {rule.id for rule in old.rules}
    said = Ran(differ=(), reached=(), needed=(), whole=selection.whole).said
    assert section in said.zh
    assert f"{section} differ, which may change any alarm" in said.en


@pytest.mark.parametrize("section", ["routes", "teams", "chains", "templates", "channels", "people", "rotas"])
def test_a_difference_in_who_is_told_is_named_and_not_called_no_difference(section: str, tmp_path: Path) -> None:
    old = loaded(tmp_path, "old")
    selection = select(changed(old, section), old)
    assert selection.whole == ()
    assert selection.unjudged == (section,)
    said = Ran(differ=(), reached=(), needed=(), unjudged=selection.unjudged).said
    assert f"{section} differ too" in said.en
    assert section in said.zh


def changed(config: CityConfig, section: str) -> CityConfig:
    """Return a city in which one section differs: anything of it will do for the comparison."""
    now = getattr(config, section)
    if section == "storm":
        other: object = replace(now, starts_above=now.starts_above + 1)
    elif section == "timezone":
        other = "Asia/Urumqi"
    elif section == "quality":
        other = {"spike": {}} if now is None else None
    elif isinstance(now, dict):
        other = {**now, "another": next(iter(now.values()), "another")}
    else:
        other = (*now, *(now[:1] or ("another",)))
    return replace(config, **{section: other})


def test_where_a_rule_is_written_makes_no_difference(tmp_path: Path) -> None:
    old = loaded(tmp_path, "old")
    moved = loaded(tmp_path, "a-file-of-another-name")
    selection = select(moved, old)
    assert (selection.told, selection.whole, selection.unjudged) == (frozenset(), (), ())


def test_identical_configurations_need_no_reading(tmp_path: Path) -> None:
    old = loaded(tmp_path, "old")
    assert select(old, old).sensors == frozenset()


# ── going on ────────────────────────────────────────────────────────────────────────────────────


class Stopped(Exception):
    """The machine went down."""


class Portions(History):
    """A history in small portions that fails after some of them."""

    def __init__(self, whole: History, size: int, lasts: int = 10**9, since_ms: int = 0) -> None:
        super().__init__(since_ms=since_ms)
        self.whole, self.size, self.lasts = whole, size, lasts

    def _columns(self) -> Iterator[Columns]:
        done = 0
        for columns in self.whole:
            left = columns
            while len(left):
                if done == self.lasts:
                    raise Stopped
                done += 1
                yield left.upto(self.size)
                left = left.cut(self.size)

    def between(self, since_ms: int, until_ms: int) -> History:
        return Portions(self.whole, self.size, since_ms=since_ms)


@pytest.mark.parametrize("lasts", [1, 7, 20])
def test_a_backtest_that_was_stopped_goes_on_to_the_same_result(lasts: int, tmp_path: Path) -> None:
    old, new = loaded(tmp_path, "old"), loaded(tmp_path, "new", "a limit", "a watchdog")
    history = stored(tmp_path, old, lived(5, 600))
    expected = backtest([new, old], history)[:2]
    path = tmp_path / "checkpoint"
    with pytest.raises(Stopped):
        backtest([new, old], Portions(history, 101, lasts), checkpoint=Checkpoint(path, "q", goes_on=False, every_s=0))
    taken: list[int] = []
    span, outcomes, _ = backtest(
        [new, old],
        Portions(history, 87),
        checkpoint=Checkpoint(path, "q", goes_on=True, every_s=0),
        show=lambda _share, readings, _alarms: taken.append(readings),
    )
    assert taken[0] > 101 * lasts  # it did not begin again
    assert span == expected[0]
    for found, whole in zip(outcomes, expected[1], strict=True):
        assert (found.orders, found.notices) == (whole.orders, whole.notices)
        assert list(map(_bare, found.occurrences)) == list(map(_bare, whole.occurrences))
    assert not path.exists()


def test_a_checkpoint_of_another_question_is_refused(tmp_path: Path) -> None:
    old = loaded(tmp_path, "old")
    history = stored(tmp_path, old, lived(5, 100))
    path = tmp_path / "checkpoint"
    with pytest.raises(Stopped):
        backtest([old], Portions(history, 50, 3), checkpoint=Checkpoint(path, "these", goes_on=False, every_s=0))
    with pytest.raises(CheckpointError, match="belongs to other"):
        Checkpoint(path, "those", goes_on=True)
    path.write_bytes(b"not ours")
    with pytest.raises(CheckpointError, match="delete it"):
        Checkpoint(path, "these", goes_on=True)


# ── the store's order ───────────────────────────────────────────────────────────────────────────


@given(
    rows=st.lists(st.tuples(st.integers(0, 3_000), st.integers(0, 400)), max_size=300),
    stretch=st.sampled_from([1, 977, 86_400_000, 2**45]),
)
@settings(max_examples=60, deadline=None)
def test_readings_are_put_in_order_of_time_and_sensor(rows: list[tuple[int, int]], stretch: int) -> None:
    time_ms = np.array([BASE_MS + t * stretch for t, _ in rows], np.int64)
    sensor = np.array([s for _, s in rows], np.int32)
    order = in_order(time_ms, sensor)
    found = np.arange(len(rows)) if order is None else order
    assert found.tolist() == np.lexsort((sensor, time_ms)).tolist()
