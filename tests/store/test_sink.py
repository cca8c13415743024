"""A sink carries every committed reading into its store, once where the store can promise it, however often it dies."""

import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from citypulse.clock import VirtualClock
from citypulse.errors import StoreError
from citypulse.journal import Journal
from citypulse.ledger import Ledger, Tick
from citypulse.model import Quality, ReadingBatch
from citypulse.store import Promises, open_store
from citypulse.store.memory import MemoryStore
from citypulse.store.sink import BACKOFF_FIRST_S, BACKOFF_MAX_S, IDLE_S, Sink

T0 = 1_763_777_467_000
IDS = ["mill-bridge.depth", "harbour.do"]


class Softly(MemoryStore):
    """A server: keeps no cursor, believes itself durable after ten seconds, and can be told to fail."""

    promises = Promises(is_durable=True, keeps_cursor=False, durability_lag_s=10.0)

    def __init__(self):
        super().__init__()
        self.refuses = None
        self.writes = 0
        self.started = "once"

    def incarnation(self):
        return self.started

    def cursor(self, journal):
        return 0

    def write(self, batch, *, amendments=None, upto=None):
        if self.refuses:
            raise self.refuses
        self.writes += 1
        return super().write(batch, amendments=amendments, upto=upto)


class World:
    def __init__(self, folder, store):
        self.folder, self.store, self.clock = folder, store, VirtualClock(T0)
        self.ledger = Ledger.open(folder)
        self.journal = Journal(self.ledger)
        self.sink = self.follow()

    def follow(self, **options):
        ids = self.ledger.sensor_ids(IDS)
        return Sink(self.store, self.journal, name="s", sensor_ids=lambda: ids, clock=self.clock, **options)

    def commit(self, ticks=1):
        for _ in range(ticks):
            number = self.ledger.last_tick + 1
            batch = ReadingBatch.of([0, 1], [T0 + 1000 * number] * 2, [float(number), -float(number)])
            self.ledger.commit(Tick(number=number, now_ms=T0 + number, batch=batch))

    def values(self):
        return self.store.query(0, 0, T0 * 2).value.tolist()

    def close(self):
        self.store.close()
        self.ledger.close()


@pytest.fixture(params=["memory", "duckdb", "softly"])
def world(request, tmp_path):
    store = Softly() if request.param == "softly" else open_store(request.param, tmp_path)
    found = World(tmp_path, store)
    yield found
    found.close()


@pytest.fixture
def softly(tmp_path):
    found = World(tmp_path, Softly())
    yield found
    found.close()


def test_what_was_committed_arrives_in_order(world):
    world.commit(5)
    assert world.sink.step() == 5
    assert world.sink.step() == 0
    assert world.values() == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert world.store.names() == tuple(IDS)
    stats = world.sink.stats()
    assert (stats.tick, stats.lag_readings, stats.written, stats.problem) == (5, 0, 10, "")


def test_a_step_is_bounded_by_ticks_and_readings(world):
    world.commit(9)
    sink = world.follow(ticks_max=2)
    assert sink.step() == 2
    world.store.retain(T0 * 2)
    sink = world.follow(readings_max=6)
    lag = sink.stats().lag_readings
    assert sink.step() == 3
    assert sink.stats().lag_readings == lag - 6


def test_ticks_without_readings_are_passed_over_without_a_write(softly):
    for number in range(1, 4):
        softly.ledger.commit(Tick(number=number, now_ms=T0))
    assert softly.sink.step() == 3
    assert softly.store.writes == 0


def test_late_verdicts_arrive_with_their_tick(world):
    world.commit(2)
    verdict = ReadingBatch.of([0], [T0 + 1000], [np.nan], quality=[Quality.SUSPECT])
    world.ledger.commit(Tick(number=3, now_ms=T0, amendments=verdict))
    world.sink.step()
    assert world.store.query(0, 0, T0 * 2).quality.tolist() == [Quality.SUSPECT, Quality.GOOD]


@pytest.mark.parametrize("world", ["duckdb", "softly"], indirect=True)
def test_a_sink_that_died_goes_on_where_the_store_stands(world):
    world.commit(5)
    world.sink.step()
    world.commit(3)
    again = world.follow()  # the first one never wrote its cursor down
    while again.step():
        pass
    assert world.values() == [float(n) for n in range(1, 9)]
    assert world.store.count() == 16


def test_a_store_that_is_down_is_tried_again_with_growing_pauses_and_loses_nothing(softly):
    softly.commit(3)
    softly.store.refuses = StoreError("HTTP 503", permanent=False)
    pauses = []
    for _ in range(12):
        assert softly.sink.step() == 0
        pauses.append(softly.sink.pause_s)
    assert pauses[:3] == [BACKOFF_FIRST_S, 2 * BACKOFF_FIRST_S, 4 * BACKOFF_FIRST_S]
    assert pauses[-1] == BACKOFF_MAX_S
    stats = softly.sink.stats()
    assert (stats.failures, stats.problem, stats.is_permanent, stats.lag_readings) == (12, "HTTP 503", False, 6)
    softly.store.refuses = None
    while softly.sink.step():
        pass
    assert softly.sink.pause_s == IDLE_S
    assert softly.values() == [1.0, 2.0, 3.0]


def test_what_waiting_cannot_mend_is_tried_rarely_and_never_skipped(softly):
    softly.commit(1)
    softly.store.refuses = StoreError("HTTP 401", permanent=True)
    softly.sink.step()
    assert softly.sink.pause_s == BACKOFF_MAX_S
    assert softly.sink.stats().is_permanent
    softly.store.refuses = None
    softly.sink.step()
    assert softly.values() == [1.0]


def test_only_what_is_older_than_the_stores_lag_counts_as_durable(softly):
    softly.commit(2)
    softly.sink.step()
    softly.clock.advance(9)
    softly.commit(1)
    softly.sink.step()
    assert softly.sink.stats().durable_tick == 0
    softly.clock.advance(1)
    softly.sink.step()
    assert softly.sink.stats().durable_tick == 2
    assert softly.journal.cursors()[0].durable_tick == 2


def test_after_an_outage_the_last_seconds_are_written_again(softly):
    softly.commit(2)
    softly.sink.step()
    softly.clock.advance(10)
    softly.sink.step()
    softly.commit(2)
    softly.sink.step()
    softly.store.retain(T0 + 2500)  # the server restarts without what it had not synced: ticks 1 and 2 were older
    lost = softly.store.query(0, 0, T0 * 2).time_ms.max() + 1
    softly.store.retain(int(lost))
    softly.store.refuses = StoreError("connection refused", permanent=False)
    softly.commit(1)
    softly.sink.step()
    softly.store.refuses = None
    while softly.sink.step():
        pass
    assert softly.values() == [3.0, 4.0, 5.0]


def test_a_restart_of_the_store_that_no_write_noticed_is_noticed_all_the_same(softly):
    softly.commit(2)
    softly.sink.step()
    softly.clock.advance(10)
    softly.sink.step()
    softly.commit(2)
    softly.sink.step()
    softly.store.retain(T0 * 2)  # it lost everything it held in memory
    softly.store.started = "later"
    softly.clock.advance(6)
    while softly.sink.step() or softly.sink.stats().lag_readings:
        pass
    assert softly.values() == [3.0, 4.0]  # all that was younger than its lag


def test_the_journal_keeps_what_the_sink_has_not_seen(world):
    world.commit(4)
    for tick in (4, 5):
        world.journal.save_snapshot(tick, T0, {})
    assert world.journal.prune().ticks == 0
    world.sink.step()
    world.clock.advance(20)
    world.sink.finish()
    assert world.journal.prune().ticks == 3


def test_a_ledger_restored_from_a_backup_makes_no_second_copies(tmp_path):
    world = World(tmp_path / "first", open_store("duckdb", tmp_path))
    world.commit(5)
    world.sink.step()
    cursor, journal_id = world.store.cursor(world.journal.id), world.journal.id
    world.ledger.close()
    restored = World(tmp_path / "second", world.store)
    with restored.ledger.writer.transaction() as connection:  # a backup has the same identity, and fewer ticks
        connection.exec_driver_sql("UPDATE meta SET value = ? WHERE key = 'journal_id'", (journal_id,))
    restored.ledger.close()
    restored = World(tmp_path / "second", world.store)
    assert restored.journal.id == journal_id
    assert restored.sink.stats().tick == 0 < cursor
    restored.commit(6)
    restored.sink.step()
    assert restored.values() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    restored.close()


def test_a_new_journal_is_followed_from_its_beginning(tmp_path):
    world = World(tmp_path / "first", open_store("duckdb", tmp_path))
    world.commit(5)
    world.sink.step()
    world.ledger.close()
    other = World(tmp_path / "second", world.store)
    assert other.sink.stats().tick == 0
    other.close()


def test_a_running_sink_empties_the_journal_before_it_stops(world):
    stop = threading.Event()
    world.commit(200)
    world.clock.wait = lambda event, seconds: event.wait(0.001)
    thread = threading.Thread(target=world.sink.run, args=(stop,))
    thread.start()
    world.commit(10)
    stop.set()
    thread.join()
    assert len(world.values()) == 210
    assert world.journal.cursors()[0].tick == 210


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(st.sampled_from(["commit", "step", "die", "fail", "wait", "save", "prune"]), min_size=5, max_size=40)
)
def test_any_order_of_commits_deaths_outages_and_prunings_loses_nothing(tmp_path, steps):
    world = World(Path(tempfile.mkdtemp(dir=tmp_path)), Softly())
    for step in steps:
        if step == "commit":
            world.commit(2)
        elif step == "step":
            world.store.refuses = None
            world.sink.step()
        elif step == "die":
            world.sink = world.follow(ticks_max=3)
        elif step == "fail":
            world.store.refuses = StoreError("down", permanent=False)
            world.sink.step()
        elif step == "wait":
            world.clock.advance(6)
        elif step == "save" and world.ledger.last_tick:
            world.journal.save_snapshot(world.ledger.last_tick, T0, {})
        elif step == "prune":
            world.journal.prune()
    world.store.refuses = None
    while world.sink.step():
        pass
    assert world.values() == [float(n) for n in range(1, world.ledger.last_tick + 1)]
    world.close()
