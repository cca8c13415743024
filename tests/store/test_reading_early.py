"""Readings that are fetched before anybody asks: all of them, in order once arranged, and nothing hangs or hides."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from citypulse.backtest.history import Ahead, StoreHistory, ahead, read_early
from citypulse.errors import StoreError
from citypulse.model import ReadingBatch
from citypulse.store import Readings, open_store
from citypulse.store.duck import DuckStore
from citypulse.store.memory import MemoryStore
from citypulse.store.ordering import arranged

T0 = 1_763_777_467_000
IDS = tuple(f"u-{k:06d}.depth" for k in range(5))


def filled(folder: Path, seed: int, many: int) -> DuckStore:
    """Return a store with readings in no order at all, over spans that change."""
    rng = random.Random(seed)
    store = open_store("duckdb", folder)
    assert isinstance(store, DuckStore)
    store.learn(IDS)
    rows = sorted({(rng.randrange(5), T0 + rng.randrange(10 ** rng.randrange(1, 8))) for _ in range(many)})
    rng.shuffle(rows)
    for start in range(0, len(rows), 37):
        some = rows[start : start + 37]
        store.write(ReadingBatch.of([s for s, _ in some], [t for _, t in some], [float(t % 97) for _, t in some]))
    return store


def rows_of(chunks: Iterator[Readings] | list[Readings]) -> list[tuple[int, int, float]]:
    return [row for c in chunks for row in zip(c.time_ms.tolist(), c.sensor.tolist(), c.value.tolist(), strict=True)]


@given(seed=st.integers(0, 10**6), many=st.integers(1, 150), window=st.sampled_from([8, 40, 1000]))
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
def test_windows_arranged_are_what_a_scan_gives(
    tmp_path_factory: pytest.TempPathFactory, seed: int, many: int, window: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("citypulse.store.duck.WINDOW_ROWS", window)
        patch.setattr("citypulse.store.duck.WINDOW_ROWS_MAX", 4 * window)
        store = filled(tmp_path_factory.mktemp("early"), seed, many)
        expected = rows_of(store.scan(None, 0, 2**53))
        assert rows_of([arranged(w) for w in store.recall(None, 0, 2**53)]) == expected
        assert expected == sorted(expected)
        until = T0 + 1000
        some = rows_of([arranged(w) for w in store.recall([1, 3], T0 + 5, until)])
        assert some == [r for r in expected if r[1] in (1, 3) and T0 + 5 <= r[0] < until]
        store.close()


def test_who_reads_a_history_whole_gets_what_was_read_early_and_the_next_reads_anew(tmp_path: Path) -> None:
    store = filled(tmp_path, 1, 200)
    expected = [(t, s) for t, s, _ in rows_of(store.scan(None, 0, 2**53))]
    early = read_early(store, 0, 2**53)
    assert early is not None
    history = StoreHistory(store, IDS, since_ms=0, until_ms=2**53, early=early)
    for _ in range(2):
        found = [p for c in history for p in zip(c.time_ms.tolist(), c.code.tolist(), strict=True)]
        assert found == expected
    store.close()


def test_who_wants_fewer_sensors_or_less_time_reads_anew_and_lets_go_of_what_was_begun(tmp_path: Path) -> None:
    store = filled(tmp_path, 2, 200)
    everything = rows_of(store.scan(None, 0, 2**53))
    early = read_early(store, 0, 2**53)
    history = StoreHistory(store, IDS, since_ms=0, until_ms=2**53, early=early)
    middle = everything[len(everything) // 2][0]
    later = [t for c in history.between(middle, 2**53) for t in c.time_ms.tolist()]
    assert later == [t for t, _, _ in everything if t >= middle]
    few = [s for c in history.only({IDS[2]}) for s in c.code.tolist()]
    assert set(few) == {2}
    assert early is not None
    with pytest.raises(StopIteration):
        next(early)
    store.close()


def test_a_store_that_cannot_be_read_whole_is_not_read_early() -> None:
    assert read_early(MemoryStore(), 0, 2**53) is None


def test_an_error_while_reading_early_reaches_who_reads(tmp_path: Path) -> None:
    store = filled(tmp_path, 3, 50)
    store._connection.execute("DROP TABLE reading")
    history = StoreHistory(store, IDS, since_ms=0, until_ms=2**53, early=read_early(store, 0, 2**53))
    with pytest.raises(StoreError):
        list(history)
    store.close()


def test_readings_that_share_every_instant_and_came_in_no_order_are_arranged() -> None:
    rng = np.random.default_rng(4)
    n = 60_000
    time_ms = T0 + rng.integers(0, 4, n)
    sensor = rng.permutation(n).astype(np.int32)
    found = arranged(Readings(sensor=sensor, time_ms=time_ms, value=sensor * 1.0, quality=np.ones(n, np.uint8),
                              received_ms=time_ms))  # fmt: skip
    order = np.lexsort((sensor, time_ms))
    assert (found.time_ms == time_ms[order]).all()
    assert (found.sensor == sensor[order]).all()
    assert (found.value == sensor[order]).all()
    assert found.received_ms is found.time_ms


# ── the thread that reads ahead ─────────────────────────────────────────────────────────────────


def test_ahead_gives_everything_in_order() -> None:
    assert list(ahead(range(1000))) == list(range(1000))


def test_it_reads_no_further_ahead_than_it_may() -> None:
    taken: list[int] = []
    two_waiting = threading.Event()

    def numbers() -> Iterator[int]:
        for k in range(100):
            taken.append(k)
            if k == 2:
                two_waiting.set()  # two lie ready, and one is in hand
            yield k

    reading = Ahead(numbers(), 2)
    assert two_waiting.wait(30)
    assert len(taken) <= 4
    assert next(reading) == 0
    reading.close()
    assert len(taken) <= 5


def test_what_the_stream_raises_comes_after_what_it_gave() -> None:
    def stream() -> Iterator[int]:
        yield 1
        yield 2
        raise StoreError("the disk", permanent=False)

    found: list[int] = []
    with pytest.raises(StoreError, match="the disk"):
        found.extend(ahead(stream()))
    reading = ahead(stream())
    assert [next(reading), next(reading)] == [1, 2]
    with pytest.raises(StoreError, match="the disk"):
        next(reading)


def test_who_stops_early_ends_the_thread() -> None:
    before = threading.active_count()
    reading = ahead(iter(range(10**9)))
    assert next(reading) == 0
    reading.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
