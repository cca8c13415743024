"""The journal gives back what was committed, keeps what is needed, and forgets the rest in slices."""

import sqlite3

import numpy as np
import pytest

from citypulse import journal as journal_module
from citypulse.journal import DamagedError, Journal, UsageState
from citypulse.ledger import Ledger, Tick
from citypulse.model import Actor, Command, Quality, ReadingBatch
from tests.ledger.ledger_cast import T0, some_readings

PARTS = {"rules": {"latched": np.array([1, 0, 1], np.uint8), "rev": 3}, "desk": {"names": ["a", "b"], "none": None}}


@pytest.fixture
def ledger(tmp_path):
    opened = Ledger.open(tmp_path)
    yield opened
    opened.close()


def fill(ledger, ticks, readings=5):
    for _ in range(ticks):
        number = ledger.last_tick + 1
        ledger.commit(Tick(number=number, now_ms=T0 + number, batch=some_readings(readings, T0 + 1000 * number)))


def test_entries_come_back_as_they_were_committed(ledger):
    command = Command(id="c1", verb="shelve", target="alarm-1", actor=Actor(name="Ada", role="duty"), at_ms=T0)
    late = ReadingBatch.of([1], [T0], [np.nan], quality=[Quality.SUSPECT])
    messages = {"intake": [["g1", "b7", 42]], "seqs": np.array([1, 2], np.int64), "away_ms": 0}
    batch = some_readings(7)
    ledger.commit(Tick(number=1, now_ms=T0))
    ledger.commit(
        Tick(number=4, now_ms=T0 + 9, batch=batch, amendments=late, messages=messages, commands=[command], note="我们")
    )
    empty, entry = Journal(ledger).entries(0)
    assert (empty.tick, len(empty.batch), empty.messages, empty.commands) == (1, 0, None, ())
    assert (entry.tick, entry.now_ms, entry.commands, entry.note) == (4, T0 + 9, (command,), "我们")
    assert entry.batch.value.tobytes() == batch.value.tobytes()
    assert entry.amendments.quality.tolist() == [Quality.SUSPECT]
    assert entry.messages["intake"] == [["g1", "b7", 42]]
    assert entry.messages["seqs"].tolist() == [1, 2]


def test_entries_are_read_in_bounded_portions(ledger):
    fill(ledger, 10)
    journal = Journal(ledger)
    assert [e.tick for e in journal.entries(0, ticks_max=4)] == [1, 2, 3, 4]
    assert [e.tick for e in journal.entries(4, readings_max=11)] == [5, 6, 7]
    assert [e.tick for e in journal.entries(4, readings_max=1)] == [5]
    assert journal.entries(10) == []


def test_a_damaged_entry_is_named_and_never_passed_over(ledger, tmp_path):
    fill(ledger, 3)
    raw = sqlite3.connect(tmp_path / "city.db")
    (blob,) = raw.execute("SELECT columns FROM journal WHERE tick = 2").fetchone()
    raw.execute("UPDATE journal SET columns = ? WHERE tick = 2", [blob[:40] + bytes([blob[40] ^ 1]) + blob[41:]])
    raw.commit()
    raw.close()
    journal = Journal(ledger)
    assert [e.tick for e in journal.entries(0, ticks_max=1)] == [1]
    with pytest.raises(DamagedError, match="journal tick 2"):
        journal.entries(1)


def test_the_newest_whole_snapshot_is_loaded_and_two_are_kept(ledger):
    journal = Journal(ledger)
    assert journal.load_snapshot() is None
    for tick in (10, 20, 30):
        journal.save_snapshot(tick, T0 + tick, PARTS | {"tick": {"n": tick}})
    found = journal.load_snapshot()
    assert (found.tick, found.now_ms, found.parts["tick"]) == (30, T0 + 30, {"n": 30})
    assert found.parts["rules"]["latched"].tolist() == [1, 0, 1]
    found.parts["rules"]["latched"][0] = 7  # a restored part owns its arrays
    assert kept(ledger) == [20, 30]


def test_when_no_snapshot_is_whole_nobody_starts_from_nothing(ledger, tmp_path):
    journal = Journal(ledger)
    journal.save_snapshot(10, T0, PARTS)
    journal.save_snapshot(20, T0, PARTS)
    raw = sqlite3.connect(tmp_path / "city.db")
    raw.execute("UPDATE snapshot_part SET blob = substr(blob, 2)")
    raw.commit()
    raw.close()
    with pytest.raises(DamagedError, match="restore the newest backup"):
        journal.load_snapshot()


def save_two(journal, tick):
    """Snapshots at a tick and at the next: the older one is the bound."""
    journal.save_snapshot(tick, T0, PARTS)
    journal.save_snapshot(tick + 1, T0, PARTS)


def kept(ledger):
    with ledger.reader.connection() as connection:
        heads = connection.exec_driver_sql("SELECT tick FROM snapshot ORDER BY tick").scalars().all()
        parts = connection.exec_driver_sql("SELECT DISTINCT tick FROM snapshot_part ORDER BY tick").scalars().all()
    assert heads == parts
    return heads


def test_a_snapshot_of_many_slices_comes_back_whole(ledger):
    big = np.random.default_rng(7).normal(size=400_000)
    journal = Journal(ledger)
    size = journal.save_snapshot(1, T0, {"rules": {"state": big}})
    assert size > 3 * journal_module.SNAPSHOT_SLICE_BYTES
    assert journal.load_snapshot().parts["rules"]["state"].tobytes() == big.tobytes()


def test_a_damaged_snapshot_gives_way_to_the_one_before(ledger, tmp_path):
    journal = Journal(ledger)
    journal.save_snapshot(10, T0, PARTS)
    journal.save_snapshot(20, T0, PARTS)
    raw = sqlite3.connect(tmp_path / "city.db")
    raw.execute("UPDATE snapshot_part SET blob = substr(blob, 2) WHERE tick = 20")
    raw.commit()
    raw.close()
    assert journal.load_snapshot().tick == 10


def test_a_save_that_was_cut_short_does_not_count_and_is_swept_up(ledger, monkeypatch):
    journal = Journal(ledger)
    journal.save_snapshot(10, T0, PARTS)

    class Crash(Exception):
        pass

    def die(_blob):
        raise Crash

    monkeypatch.setattr(journal_module.zlib, "crc32", die)  # after the parts, before the head
    with pytest.raises(Crash):
        journal.save_snapshot(20, T0, PARTS)
    monkeypatch.undo()
    assert journal.load_snapshot().tick == 10
    journal.save_snapshot(30, T0, PARTS)
    assert kept(ledger) == [10, 30]


def test_nothing_is_forgotten_before_there_are_two_snapshots(ledger):
    fill(ledger, 5)
    journal = Journal(ledger)
    assert journal.prune().ticks == 0
    journal.save_snapshot(4, T0, PARTS)
    assert journal.prune().ticks == 0


def test_ticks_before_the_oldest_kept_snapshot_are_forgotten(ledger):
    fill(ledger, 10)
    journal = Journal(ledger)
    journal.save_snapshot(4, T0, PARTS)
    journal.save_snapshot(8, T0, PARTS)
    assert journal.prune().ticks == 4
    assert [e.tick for e in journal.entries(0)] == [5, 6, 7, 8, 9, 10]


def test_ticks_a_follower_still_needs_are_kept(ledger):
    fill(ledger, 10)
    journal = Journal(ledger)
    save_two(journal, 8)
    assert journal.follow("duckdb").durable_tick == 0
    assert journal.prune().ticks == 0
    journal.advance("duckdb", tick=7, durable_tick=3, now_ms=T0)
    assert journal.follow("duckdb").tick == 7
    assert journal.prune().ticks == 3
    journal.forget("duckdb")
    assert journal.prune().ticks == 5
    assert journal.cursors() == []


def test_the_caller_may_keep_more(ledger):
    fill(ledger, 10)
    journal = Journal(ledger)
    save_two(journal, 8)
    assert journal.prune(up_to_tick=2).ticks == 2


def test_the_newest_tick_is_never_forgotten(ledger, tmp_path):
    fill(ledger, 3)
    journal = Journal(ledger)
    save_two(journal, 3)
    journal.prune()
    assert journal.last_tick == 3
    ledger.close()
    again = Ledger.open(tmp_path)
    assert (again.last_tick, again.load_open().last_now_ms) == (3, T0 + 3)
    again.close()


def test_pruning_goes_in_slices(ledger, monkeypatch):
    monkeypatch.setattr(journal_module, "PRUNE_TICKS_MAX", 4)
    fill(ledger, 10)
    journal = Journal(ledger)
    save_two(journal, 9)
    found = [journal.prune() for _ in range(4)]
    assert [(p.ticks, p.is_more) for p in found] == [(4, True), (4, True), (1, False), (0, False)]


def test_pruning_a_slice_stops_at_its_bytes(ledger, monkeypatch):
    fill(ledger, 10, readings=1000)
    monkeypatch.setattr(journal_module, "PRUNE_BYTES_MAX", 40_000)
    journal = Journal(ledger)
    save_two(journal, 9)
    first = journal.prune()
    assert 1 <= first.ticks <= 4
    assert first.is_more


def test_the_budget_is_said_to_be_near_and_over(ledger):
    fill(ledger, 10, readings=1000)
    size = Journal(ledger).usage().bytes
    assert size > 9 * 1000 * 15
    for budget, state in ((2 * size, UsageState.OK), (int(1.1 * size), UsageState.NEAR), (size - 1, UsageState.OVER)):
        journal = Journal(ledger, budget_bytes=budget)
        assert journal.usage().state is state
    journal.follow("influx")
    used = journal.usage()
    assert (used.slowest_sink, used.readings, used.first_tick, used.last_tick) == ("influx", 10_000, 1, 10)


def test_usage_after_pruning_counts_only_what_is_left(ledger):
    fill(ledger, 10, readings=1000)
    journal = Journal(ledger)
    before = journal.usage()
    save_two(journal, 9)
    journal.prune()
    after = journal.usage()
    assert (after.first_tick, after.readings) == (10, 1000)
    assert after.bytes < before.bytes


def test_the_lag_counts_readings_not_yet_carried_over(ledger):
    fill(ledger, 10)
    journal = Journal(ledger)
    assert [journal.lag(tick) for tick in (0, 4, 10, 99)] == [50, 30, 0, 0]
    save_two(journal, 6)
    journal.prune()
    assert journal.lag(0) == 20


def test_an_empty_journal_says_so(ledger):
    used = Journal(ledger).usage()
    assert (used.bytes, used.readings, used.first_tick, used.last_tick, used.state) == (0, 0, 0, 0, UsageState.OK)
    assert Journal(ledger).lag(0) == 0
