"""A store that is opened late: what cannot be opened is said and stops nothing, and nothing of it is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from citypulse.clock import VirtualClock
from citypulse.errors import StoreError
from citypulse.journal import Journal
from citypulse.ledger import Ledger, Tick
from citypulse.model import ReadingBatch
from citypulse.store import EMBEDDED, ReadingStore, open_late, open_store
from citypulse.store.duck import FILE
from citypulse.store.late import LateStore
from citypulse.store.memory import MemoryStore
from citypulse.store.sink import Sink

T0 = 1_763_777_467_000
IDS = ("mill-bridge.depth", "harbour.do")


class Door:
    """An opener that may be shut, and counts who comes."""

    def __init__(self, open_: Callable[[], ReadingStore] = MemoryStore) -> None:
        self.open, self.problem, self.came = open_, "", 0

    def __call__(self) -> ReadingStore:
        self.came += 1
        if self.problem:
            raise StoreError(self.problem, permanent=True)
        return self.open()


def batch(second: int) -> ReadingBatch:
    return ReadingBatch.of([0, 1], [T0 + 1000 * second] * 2, [float(second), -float(second)])


def commit(ledger: Ledger, number: int) -> None:
    ledger.commit(Tick(number=number, now_ms=T0 + number, batch=batch(number)))


def test_it_is_opened_by_the_first_who_needs_it_and_once(tmp_path: Path) -> None:
    door = Door()
    late = LateStore(door, EMBEDDED)
    assert late.promises == EMBEDDED
    late.close()
    assert door.came == 0, "who only closes it need not open it"
    late.learn(IDS)
    late.write(batch(1))
    assert late.query(0, 0, 2 * T0).value.tolist() == [1.0]
    assert (late.names(), late.count(), door.came) == (IDS, 2, 1)


def test_all_who_come_while_it_is_being_opened_wait_for_the_one_opening() -> None:
    may_open, inside = threading.Event(), threading.Event()

    def slowly() -> ReadingStore:
        inside.set()
        assert may_open.wait(30)
        store = MemoryStore()
        store.write(batch(1))
        return store

    door = Door(slowly)
    late = LateStore(door, EMBEDDED)
    found: list[int] = []
    askers = [threading.Thread(target=lambda: found.append(late.count())) for _ in range(4)]
    for asker in askers:
        asker.start()
    assert inside.wait(30)
    assert not found
    may_open.set()
    for asker in askers:
        asker.join(30)
    assert found == [2] * 4
    assert door.came == 1


def test_every_function_says_that_it_cannot_be_opened_and_the_next_call_tries_again() -> None:
    door = Door()
    door.problem = "readings.duckdb: held by another process"
    late = LateStore(door, EMBEDDED)
    calls: tuple[Callable[[], object], ...] = (
        lambda: late.learn(IDS), late.names, lambda: late.cursor("j"), lambda: late.write(batch(1)),
        lambda: late.amend(0, T0, 1), lambda: late.query(0, 0, T0), late.latest, lambda: list(late.scan(None, 0, T0)),
        late.count, lambda: late.retain(T0), late.incarnation,
    )  # fmt: skip
    for call in calls:
        with pytest.raises(StoreError, match="held by another process"):
            call()
    assert door.came == len(calls)
    late.close()
    door.problem = ""
    assert late.count() == 0


def test_what_is_committed_while_it_cannot_be_opened_arrives_once_it_can(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path)
    door = Door(lambda: open_store("duckdb", tmp_path))
    door.problem = "no"
    late = LateStore(door, EMBEDDED)
    journal = Journal(ledger)
    table = ledger.sensor_ids(IDS)
    sink = Sink(late, journal, name="duckdb", sensor_ids=lambda: table, clock=VirtualClock(T0))
    for number in range(1, 5):
        commit(ledger, number)
        assert sink.step() == 0
    stats = sink.stats()
    assert (stats.problem, stats.is_permanent, stats.lag_readings) == ("no", True, 8)
    assert not journal.prune().is_more
    door.problem = ""
    assert sink.step() == 4
    assert late.query(0, 0, 2 * T0).value.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert (sink.stats().problem, sink.stats().lag_readings) == ("", 0)
    late.close()
    ledger.close()


def test_a_sink_that_ends_before_its_store_was_ever_opened_leaves_the_cursor_alone(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path)
    table = ledger.sensor_ids(IDS)
    whole = open_store("duckdb", tmp_path)
    first = Sink(whole, Journal(ledger), name="duckdb", sensor_ids=lambda: table, clock=VirtualClock(T0))
    commit(ledger, 1)
    assert first.step() == 1
    first.finish()
    whole.close()
    commit(ledger, 2)
    door = Door(lambda: open_store("duckdb", tmp_path))
    door.problem = "no"
    shut = Sink(LateStore(door, EMBEDDED), Journal(ledger), name="duckdb", sensor_ids=lambda: table,
                clock=VirtualClock(T0))  # fmt: skip
    shut.finish()
    door.problem = ""
    late = LateStore(door, EMBEDDED)
    last = Sink(late, Journal(ledger), name="duckdb", sensor_ids=lambda: table, clock=VirtualClock(T0))
    assert last.step() == 1
    assert late.query(0, 0, 2 * T0).value.tolist() == [1.0, 2.0]
    late.close()
    ledger.close()


def test_a_store_that_opens_quickly_is_opened_at_once_and_a_wrong_name_is_refused_at_once(tmp_path: Path) -> None:
    assert isinstance(open_late("memory", tmp_path), MemoryStore)
    assert isinstance(open_late("duckdb", tmp_path), LateStore)
    assert not (tmp_path / FILE).exists()
    with pytest.raises(StoreError, match="not known"):
        open_late("mongo", tmp_path)
