"""The battery every reading store passes: order, duplicates, reopening, history, crashes, ranges, retention, names.

It runs over every entry of STORES. A store behind a server takes part when its address is in the environment
(INFLUXDB2_URL, INFLUXDB2_ORG, INFLUXDB2_BUCKET, INFLUXDB_TOKEN); its parameter is not collected otherwise.
"""

import os
import uuid
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from citypulse.errors import StoreError
from citypulse.model import Lane, Quality, ReadingBatch
from citypulse.store import STORES, Cursor, open_store

T0 = 1_763_777_467_000
IDS = ["mill-bridge.depth", "harbour.do", "城脉-07.甲烷", "odd id,with=signs.ch4"]
# What opens each kind in a folder; a kind that is missing here fails test_every_store_takes_part.
OPENS = {"duckdb": "duckdb", "memory": "memory", "influx": None}
if "INFLUXDB2_URL" in os.environ:
    OPENS["influx"] = "influx+{INFLUXDB2_URL}?org={INFLUXDB2_ORG}&bucket={INFLUXDB2_BUCKET}".format(**os.environ)


def test_every_store_takes_part():
    assert set(OPENS) == set(STORES)


@dataclass
class Place:
    """Somewhere a store can be opened, closed and opened again. On a shared server each test has ids of its own."""

    text: str
    folder: object
    ids: list
    store: object = None
    examples: int = 0

    def open(self):
        self.store = open_store(self.text, self.folder)
        self.store.learn(self.ids)
        return self.store

    def reopen(self):
        self.store.close()
        return self.open()


@pytest.fixture(params=[kind for kind, text in OPENS.items() if text])
def place(request, tmp_path):
    text = OPENS[request.param]
    mark = f"{uuid.uuid4().hex}-" if request.param == "influx" else ""
    found = Place(text=text, folder=tmp_path, ids=[mark + name for name in IDS])
    found.open()
    yield found
    found.store.close()


def readings(sensor, seconds, value=None, lane=Lane.LIVE, quality=Quality.GOOD, received_s=None):
    times = [T0 + 1000 * s for s in seconds]
    batch = ReadingBatch.of(
        [sensor] * len(times) if isinstance(sensor, int) else sensor,
        times,
        [float(s) for s in seconds] if value is None else value,
        times if received_s is None else [T0 + 1000 * received_s] * len(times),
        [quality] * len(times),
    )
    return replace(batch, lane=np.full(len(times), lane, np.uint8))


def seconds(found):
    return [(t - T0) // 1000 for t in found.time_ms.tolist()]


def everything(store, sensor=0):
    return store.query(sensor, T0 - 10**9, T0 + 10**9)


def test_what_was_written_is_read_back_in_order_of_time(place):
    store = place.store
    assert store.write(readings(0, [1, 2, 3], [1.5, -2.25, 1e-9], quality=Quality.SUSPECT, received_s=5)) == 3
    found = everything(store)
    assert seconds(found) == [1, 2, 3]
    assert found.value.tolist() == [1.5, -2.25, 1e-9]
    assert found.quality.tolist() == [Quality.SUSPECT] * 3
    assert found.received_ms.tolist() == [T0 + 5000] * 3
    assert found.sensor.tolist() == [0, 0, 0]
    assert [c.dtype for c in (found.sensor, found.time_ms, found.value, found.quality)] == [
        np.int32,
        np.int64,
        np.float64,
        np.uint8,
    ]


def test_readings_of_many_sensors_in_any_order_find_their_own(place):
    place.store.write(readings([2, 0, 2, 1, 0], [1, 1, 2, 1, 2], [21.0, 1.0, 22.0, 11.0, 2.0]))
    assert everything(place.store, 0).value.tolist() == [1.0, 2.0]
    assert everything(place.store, 1).value.tolist() == [11.0]
    assert everything(place.store, 2).value.tolist() == [21.0, 22.0]
    assert len(everything(place.store, 3)) == 0


def test_a_missing_value_stays_missing(place):
    place.store.write(readings(0, [1, 2], [float("nan"), 2.0], quality=Quality.MISSING))
    found = everything(place.store)
    assert np.isnan(found.value).tolist() == [True, False]
    assert found.quality.tolist() == [Quality.MISSING] * 2


def test_a_range_includes_its_beginning_and_not_its_end(place):
    place.store.write(readings(0, range(10)))
    assert seconds(place.store.query(0, T0 + 2000, T0 + 5000)) == [2, 3, 4]
    assert seconds(place.store.query(0, T0 + 2001, T0 + 5001)) == [3, 4, 5]
    assert seconds(place.store.query(0, T0 + 5000, T0 + 5000)) == []
    assert seconds(place.store.query(0, T0 + 5000, T0 + 2000)) == []


def test_a_limit_keeps_the_newest(place):
    place.store.write(readings(0, range(10)))
    assert seconds(place.store.query(0, T0, T0 + 10**6, limit=3)) == [7, 8, 9]


def test_the_same_reading_twice_is_stored_once(place):
    place.store.write(readings(0, [1, 2]))
    place.store.write(readings(0, [1, 2]))
    place.store.write(readings([0, 0, 0], [3, 3, 3]))
    assert seconds(everything(place.store)) == [1, 2, 3]


def test_what_the_intake_found_to_be_a_duplicate_is_not_stored(place):
    place.store.write(readings(0, [1], lane=Lane.DUPLICATE))
    assert len(everything(place.store)) == 0


def test_history_finds_its_place_and_repeats_of_it_change_nothing(place):
    store = place.store
    store.write(readings(0, [10, 20]))
    store.write(readings(0, [5, 10, 15], lane=Lane.HISTORY))
    store.write(readings(0, [5, 15, 15, 7], lane=Lane.HISTORY))
    assert seconds(everything(store)) == [5, 7, 10, 15, 20]
    assert seconds(store.latest([0])) == [20]


def test_readings_from_the_future_are_kept_apart(place):
    store = place.store
    store.write(readings(0, [1]))
    before = store.count(quarantined=True)
    store.write(readings(0, [9000], lane=Lane.QUARANTINED))
    store.write(readings(0, [9000], lane=Lane.QUARANTINED))
    assert seconds(everything(store)) == [1]
    assert seconds(store.latest([0])) == [1]
    assert store.count(quarantined=True) == before + 1
    store.write(readings(0, [9000]))  # its time has come: now it is believed
    assert seconds(everything(store)) == [1, 9000]


def test_a_verdict_that_comes_later_changes_the_quality_only(place):
    store = place.store
    store.write(readings(0, [1, 2, 3], [1.5, 99.0, 1.6]))
    assert store.amend(0, T0 + 2000, Quality.SUSPECT)
    found = everything(store)
    assert found.quality.tolist() == [Quality.GOOD, Quality.SUSPECT, Quality.GOOD]
    assert found.value.tolist() == [1.5, 99.0, 1.6]


def test_a_verdict_may_come_with_the_next_readings_or_with_its_own(place):
    store = place.store
    store.write(readings(0, [1, 2]))
    verdicts = readings(0, [2, 3], [np.nan, np.nan], quality=Quality.FAIL)
    store.write(readings(0, [3, 4]), amendments=verdicts)
    assert everything(store).quality.tolist() == [Quality.GOOD, Quality.FAIL, Quality.FAIL, Quality.GOOD]
    assert everything(store).value.tolist() == [1.0, 2.0, 3.0, 4.0]


def test_a_verdict_on_a_reading_that_is_not_there_makes_none(place):
    place.store.write(readings(0, [1]))
    place.store.amend(0, T0 + 5000, Quality.FAIL)
    assert seconds(everything(place.store)) == [1]


def test_the_newest_reading_of_each_sensor_is_known(place):
    store = place.store
    store.write(readings([0, 1, 0, 2], [1, 2, 3, 1], [0.1, 1.2, 0.3, 2.1]))
    found = store.latest([2, 0])
    assert found.sensor.tolist() == [0, 2]
    assert found.value.tolist() == [0.3, 2.1]
    assert len(store.latest([3])) == 0
    assert len(store.latest([])) == 0


def test_a_scan_goes_through_all_readings_in_order_of_time(place):
    store = place.store
    store.write(readings([1, 0, 1, 0, 2], [2, 2, 1, 1, 3]))
    chunks = list(store.scan([0, 1, 2], T0, T0 + 3000))
    found = [(s, (t - T0) // 1000) for c in chunks for s, t in zip(c.sensor.tolist(), c.time_ms.tolist(), strict=True)]
    assert found == [(0, 1), (1, 1), (0, 2), (1, 2)]
    assert [s for c in store.scan([2], T0, T0 + 10_000) for s in c.sensor.tolist()] == [2]
    assert list(store.scan([3], T0, T0 + 10_000)) == []


def test_old_readings_are_deleted_up_to_an_instant(place):
    store = place.store
    store.write(readings(0, range(10)))
    store.write(readings(0, [99], lane=Lane.QUARANTINED, received_s=1))
    assert store.retain(T0 + 4000) >= 4
    assert seconds(everything(store)) == [4, 5, 6, 7, 8, 9]
    assert store.retain(T0 + 4000) == 0


def test_an_empty_batch_is_no_news(place):
    assert place.store.write(ReadingBatch.empty()) == 0
    assert len(everything(place.store)) == 0
    assert list(place.store.scan(None, 0, 1)) == []


def test_a_big_batch_goes_in_whole(place):
    n = 60_000
    batch = ReadingBatch.of(np.arange(n) % 3, T0 + np.arange(n) // 3 * 1000, np.arange(n) / 7)
    assert place.store.write(batch) == n
    for sensor in range(3):
        found = everything(place.store, sensor)
        assert len(found) == n // 3
        assert found.value.tolist() == (np.arange(n) / 7)[sensor::3].tolist()
    assert sum(len(c) for c in place.store.scan([0, 1, 2], T0, T0 + 10**9)) == n


def test_sensors_added_later_are_learnt(place):
    place.ids.append(place.ids[0] + "-new")
    place.store.learn(place.ids)
    place.store.write(readings(4, [1]))
    assert seconds(everything(place.store, 4)) == [1]
    assert place.store.names() == tuple(place.ids)


def test_what_was_written_is_there_after_reopening(place):
    if not place.store.promises.is_durable:
        assert len(everything(place.reopen())) == 0  # and a store that promises nothing pretends nothing
        return
    place.store.write(readings(0, [1, 2, 3]))
    place.store.write(readings(0, [2], lane=Lane.HISTORY))
    store = place.reopen()
    assert seconds(everything(store)) == [1, 2, 3]
    store.write(readings(0, [3, 4]))
    store.write(readings(0, [1], lane=Lane.HISTORY))
    assert seconds(everything(store)) == [1, 2, 3, 4]


def test_the_cursor_is_kept_per_journal_where_promised(place):
    store = place.store
    store.write(readings(0, [1]), upto=Cursor(journal="j1", tick=7))
    if not store.promises.keeps_cursor:
        assert store.cursor("j1") == 0
        return
    assert (store.cursor("j1"), store.cursor("j2")) == (7, 0)
    store.write(ReadingBatch.empty(), upto=Cursor(journal="j1", tick=9))
    store.write(readings(0, [2]))
    assert store.cursor("j1") == 9
    if store.promises.is_durable:
        assert place.reopen().cursor("j1") == 9


def test_a_batch_that_cannot_be_taken_leaves_neither_readings_nor_cursor(place):
    """Exactly once: what dies between the readings and the cursor leaves none of the two."""
    store = place.store
    if not (store.promises.keeps_cursor and store.promises.is_durable):
        return
    store.write(readings(0, [1]), upto=Cursor(journal="j", tick=1))
    unwritable = Cursor(journal="j", tick=2**70)  # the readings are in by then, the cursor does not fit its column
    with pytest.raises((StoreError, OverflowError)):
        store.write(readings(0, [2]), amendments=readings(0, [1], quality=Quality.FAIL), upto=unwritable)
    assert seconds(everything(store)) == [1]
    assert everything(store).quality.tolist() == [Quality.GOOD]
    assert store.cursor("j") == 1
    assert store.write(readings(0, [2]), upto=Cursor(journal="j", tick=2)) == 1
    assert (seconds(everything(place.reopen())), place.store.cursor("j")) == ([1, 2], 2)


def test_a_kind_that_is_not_in_the_table_is_refused_with_what_is(tmp_path):
    with pytest.raises(StoreError, match=r"'postgres' is not known; use one of duckdb, influx, memory") as refusal:
        open_store("postgres", tmp_path)
    assert refusal.value.permanent


LANES = st.sampled_from([Lane.LIVE, Lane.HISTORY, Lane.DUPLICATE, Lane.QUARANTINED])
ROWS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12), LANES), max_size=25)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(ROWS, min_size=1, max_size=4))
def test_any_arrivals_in_any_portions_leave_one_reading_per_sensor_and_time(place, batches):
    """Against the plainest model there is: a dict that keeps the first."""
    store, model, value = place.store, {}, 0.0
    place.examples += 1
    offset = place.examples * 100_000  # each example in a stretch of time of its own
    for rows in batches:
        columns = ([], [], [], [])
        for sensor, second, lane in rows:
            value += 1
            for column, item in zip(columns, (sensor, T0 + offset + 1000 * second, value, lane), strict=True):
                column.append(item)
            if lane in (Lane.LIVE, Lane.HISTORY):
                model.setdefault((sensor, T0 + offset + 1000 * second), value)
        batch = ReadingBatch.of(*columns[:3])
        store.write(replace(batch, lane=np.array(columns[3], np.uint8)))
    found = {}
    for sensor in range(3):
        some = store.query(sensor, T0 + offset, T0 + offset + 100_000)
        assert (np.diff(some.time_ms) > 0).all()
        found |= {(sensor, t): v for t, v in zip(some.time_ms.tolist(), some.value.tolist(), strict=True)}
    assert found.keys() == model.keys()
    if place.text.startswith("influx"):
        return  # a server that keeps the last copy is allowed to
    assert found == model
