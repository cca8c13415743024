"""The bounded queue between the network and the heart."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from citypulse.model import RawMessage
from ingest.inbox import OVERHEAD_BYTES, Inbox


def note(k: int, size: int = 10) -> RawMessage:
    return RawMessage(topic="city/v1/mill/readings", payload=b"x" * size, received_ms=k)


def test_it_refuses_what_does_not_fit_in_number_and_counts_it() -> None:
    inbox = Inbox(messages_max=2)
    assert [inbox.put(note(k)) for k in range(4)] == [True, True, False, False]
    stats = inbox.stats()
    assert (stats.depth, stats.taken, stats.refused_by_count, stats.refused_by_bytes) == (2, 2, 2, 0)


def test_it_refuses_what_does_not_fit_in_bytes_and_counts_it() -> None:
    inbox = Inbox(bytes_max=2000 + 2 * OVERHEAD_BYTES)
    assert [inbox.put(note(k, 1000)) for k in range(3)] == [True, True, False]
    assert inbox.stats().refused_by_bytes == 1
    inbox.drain(1)
    assert inbox.put(note(3, 1000))


def test_a_message_larger_than_the_bound_passes_alone_or_its_source_would_wait_for_ever() -> None:
    inbox = Inbox(bytes_max=100)
    assert inbox.put(note(0, 5000))
    assert not inbox.put(note(1, 1))
    assert [m.received_ms for m in inbox.drain(10)] == [0]
    assert inbox.put(note(1, 1))


def test_it_takes_as_many_of_a_group_as_fit_and_keeps_their_order() -> None:
    inbox = Inbox(messages_max=5)
    assert inbox.put_many([note(k) for k in range(8)]) == 5
    assert [m.received_ms for m in inbox.drain(3)] == [0, 1, 2]
    assert inbox.put_many([note(8), note(9)]) == 2
    assert [m.received_ms for m in inbox.drain(100)] == [3, 4, 8, 9]


def test_it_says_how_old_its_oldest_is_and_whether_anything_waits() -> None:
    inbox = Inbox()
    assert inbox.oldest_ms() is None
    assert not inbox.ready.is_set()
    inbox.put_many([note(7), note(9)])
    assert inbox.oldest_ms() == 7
    assert inbox.ready.is_set()
    inbox.drain(1)
    assert inbox.oldest_ms() == 9
    assert inbox.ready.is_set()
    inbox.drain(1)
    assert not inbox.ready.is_set()
    assert inbox.oldest_ms() is None


@given(st.lists(st.one_of(st.integers(1, 300), st.just(-1), st.just(-3)), max_size=60))
def test_its_counters_are_what_a_plain_list_says(steps) -> None:
    inbox, plain = Inbox(messages_max=7, bytes_max=4 * OVERHEAD_BYTES), []
    for step in steps:
        if step < 0:
            assert [len(m.payload) for m in inbox.drain(-step)] == plain[:-step]
            plain = plain[-step:]
            continue
        size = sum(plain) + OVERHEAD_BYTES * len(plain)
        fits = len(plain) < 7 and (not plain or size + step + OVERHEAD_BYTES <= 4 * OVERHEAD_BYTES)
        assert inbox.put(note(0, step)) == fits
        if fits:
            plain.append(step)
        assert inbox.stats().bytes == sum(plain) + OVERHEAD_BYTES * len(plain)
        assert inbox.depth == len(plain)
        assert inbox.ready.is_set() == bool(plain)


def test_threads_may_put_while_another_drains() -> None:
    inbox, got, n = Inbox(messages_max=50), [], 2000

    def put(start: int) -> None:
        for k in range(start, start + n):
            while not inbox.put(note(k)):
                pass

    putters = [threading.Thread(target=put, args=(start,)) for start in (0, n)]
    for putter in putters:
        putter.start()
    while len(got) < 2 * n:
        inbox.ready.wait(1)
        got += [m.received_ms for m in inbox.drain(20)]
    for putter in putters:
        putter.join()
    assert sorted(got) == list(range(2 * n))
    assert [k for k in got if k < n] == list(range(n))
