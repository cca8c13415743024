"""A packed batch and a dumped state come back bit for bit, or not at all."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from citypulse.ledger import DamagedError
from citypulse.ledger.packing import dump, load, pack, unpack
from citypulse.model import ReadingBatch

INT64 = st.integers(-(2**62), 2**62)
COLUMNS = ("sensor", "time_ms", "value", "quality", "lane", "received_ms")


@st.composite
def batches(draw):
    n = draw(st.integers(0, 40))
    base, spread = draw(INT64), draw(st.sampled_from([0, 1, 1000, 2**17, 2**33, 2**40]))
    sensors = draw(st.sampled_from([5, 2**16 - 1, 2**16, 2**31 - 1]))
    times = draw(hnp.arrays(np.int64, n, elements=st.integers(base, base + spread)))
    received = draw(hnp.arrays(np.int64, n, elements=st.integers(base, base + draw(st.sampled_from([0, 9, 2**16])))))
    return ReadingBatch(
        sensor=draw(hnp.arrays(np.int32, n, elements=st.integers(0, sensors))),
        time_ms=times,
        # raw 64-bit patterns: every NaN payload, both zeros, subnormals and infinities
        value=draw(hnp.arrays(np.uint64, n)).view(np.float64),
        quality=draw(hnp.arrays(np.uint8, n, elements=st.sampled_from([1, 2, 3, 4, 9]))),
        lane=draw(hnp.arrays(np.uint8, n, elements=st.integers(0, 3))),
        received_ms=np.sort(received),
    )


@given(batches())
def test_a_packed_batch_comes_back_bit_for_bit(batch):
    again = unpack(pack(batch))
    for name in COLUMNS:
        before, after = getattr(batch, name), getattr(again, name)
        assert after.dtype == before.dtype
        assert after.tobytes() == before.tobytes()


@given(batches(), st.data())
def test_one_changed_byte_of_a_packed_batch_is_noticed(batch, data):
    blob = bytearray(pack(batch))
    at = data.draw(st.integers(0, len(blob) - 1))
    blob[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DamagedError):
        unpack(bytes(blob))


@given(batches(), st.data())
def test_a_packed_batch_cut_short_is_noticed(batch, data):
    blob = pack(batch)
    with pytest.raises(DamagedError):
        unpack(blob[: data.draw(st.integers(0, len(blob) - 1))])


def test_an_unpacked_batch_can_be_written_to():
    again = unpack(pack(ReadingBatch.of([1, 2], [10, 20], [1.0, 2.0])))
    for name in COLUMNS:
        getattr(again, name)[0] = 0


def test_a_usual_batch_takes_no_more_than_eighteen_bytes_a_reading():
    n = 10_000
    batch = ReadingBatch.of(np.arange(n) % 5000, 1_763_777_467_000 + np.arange(n), np.arange(n) / 3)
    assert len(pack(batch)) / n < 18


def test_a_batch_of_a_single_reception_instant_does_not_keep_it_per_reading():
    n = 1000
    batch = ReadingBatch.of(np.arange(n), np.arange(n), np.zeros(n), np.full(n, 77))
    assert len(pack(batch)) / n < 16
    assert (unpack(pack(batch)).received_ms == 77).all()


arrays = st.one_of(
    hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)),
    hnp.arrays(np.dtype([("a", np.int32), ("b", np.float64)]), 3),
    hnp.arrays(np.dtype("<U5"), 2),
).filter(lambda a: a.dtype.kind not in "OV" or a.dtype.names)
plain = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text(), st.binary()
)
states = st.dictionaries(
    st.text(),
    st.dictionaries(
        st.text(), st.recursive(plain | arrays, lambda x: st.lists(x, max_size=3), max_leaves=5), max_size=4
    ),
    max_size=3,
)


def same(a, b):
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(v, b[k]) for k, v in a.items())
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@given(states)
def test_a_state_comes_back_as_it_was(state):
    assert same(state, load(dump(state)))


def test_arrays_of_python_objects_are_refused_with_the_cure():
    with pytest.raises(TypeError, match="use numbers"):
        dump({"a": np.array([object()])})


@pytest.mark.parametrize("blob", [b"", b"\xc1", b"\x81", dump([1])[:-1] + b"\xc7"])
def test_what_is_not_a_state_is_said_to_be_damaged(blob):
    with pytest.raises(DamagedError):
        load(blob)
