"""Received numbers as ranges, against a plain set of numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ingest.intervals import RANGES_MAX, SeqSet

numbers = st.lists(st.integers(0, 120), max_size=150)


def gaps_of(seen: set[int]) -> list[tuple[int, int]]:
    gaps, start = [], None
    for k in range(1, max(seen, default=0) + 1):
        if k not in seen and start is None:
            start = k
        if k in seen and start is not None:
            gaps.append((start, k - 1))
            start = None
    return gaps


@given(numbers)
def test_it_says_new_exactly_once_for_each_number_and_names_exactly_what_is_missing(given_numbers) -> None:
    seqs, seen = SeqSet(), set()
    for seq in given_numbers:
        assert seqs.add(seq) == (seq not in seen)
        seen.add(seq)
        assert seqs.missing() == gaps_of(seen)
        upto = 0
        while upto + 1 in seen:
            upto += 1
        assert seqs.upto == upto
        assert seqs.has_gap == bool(gaps_of(seen))
    assert seqs.given_up == 0


@given(numbers, numbers)
def test_a_restored_set_goes_on_as_if_it_had_never_been_away(before, after) -> None:
    one = SeqSet()
    for seq in before:
        one.add(seq)
    other = SeqSet.restore(one.state())
    assert [one.add(seq) for seq in after] == [other.add(seq) for seq in after]
    assert one.state() == other.state()


@given(numbers, st.integers(0, 130), numbers)
def test_after_giving_up_nothing_new_is_ever_called_seen(before, first, after) -> None:
    """A number that was never given must be taken, even where the set has forgotten what it knew."""
    seqs, seen = SeqSet(), set()
    for seq in before:
        seqs.add(seq)
        seen.add(seq)
    missing = sum(1 for k in range(1, first) if k not in seen)
    assert seqs.give_up_below(first) == missing == seqs.given_up
    assert seqs.upto >= first - 1
    assert all(a >= first for a, _ in seqs.missing())
    for seq in after:
        if seq not in seen:
            assert seqs.add(seq)
        elif seq > max(first - 1, 0):
            assert not seqs.add(seq)
        seen.add(seq)


def test_the_ranges_are_bounded_and_the_oldest_gap_goes_first() -> None:
    seqs = SeqSet()
    for k in range(RANGES_MAX + 10):
        assert seqs.add(2 * k + 2)
    assert len(seqs.missing(10_000)) == RANGES_MAX
    assert seqs.given_up == 10
    assert seqs.upto == 20
    assert seqs.add(19)  # given up, but when it comes after all it is not lost


def test_counting_in_order_is_one_range() -> None:
    seqs = SeqSet()
    assert all(seqs.add(k) for k in range(1, 10_000))
    assert (seqs.upto, seqs.has_gap, seqs.missing()) == (9999, False, [])
