"""The battery every entry of CODECS passes: round trips, golden bytes, rubbish, and that it keeps no state.

A new codec needs nothing here: it brings a folder tests/ingest/golden/<name>/ with pairs of files, `<case>.bin`
and `<case>.json` (what it decodes to) or `<case>.error` (the reason it is refused for).
"""

from __future__ import annotations

import json
import math
from array import array
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from citypulse.errors import PayloadError
from ingest.codecs import CODECS
from ingest.codecs.decoded import TIME_MAX_MS, TIME_MIN_MS, Decoded
from ingest.codecs.native import with_names
from ingest.deadletter import REASONS

GOLDEN = Path(__file__).parents[1] / "ingest" / "golden"
ALL = sorted(CODECS)

ids = st.from_regex(r"[a-z0-9_-]{1,12}\.[a-z0-9_]{1,8}", fullmatch=True)
readings = st.lists(
    st.tuples(
        ids,
        st.integers(TIME_MIN_MS, TIME_MAX_MS - 1),
        st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.just(math.nan)),
    ),
    max_size=30,
)
numbering = st.one_of(
    st.just((None, None)),
    st.tuples(st.from_regex(r"[a-z0-9]{1,20}", fullmatch=True), st.integers(0, 2**63 - 1)),
)
sent = st.one_of(st.none(), st.integers(TIME_MIN_MS, TIME_MAX_MS - 1))


def columns(decoded: Decoded) -> tuple:
    named = with_names(decoded)
    values = [None if math.isnan(v) else v for v in named.values]
    return list(named.sensors), list(named.times), values, named.boot, named.seq, named.sent_ms


def encode(codec, rows, numbers, sent_ms) -> bytes:
    sensors, times, values = ([row[k] for row in rows] for k in range(3))
    return codec.encode(sensors, times, values, boot=numbers[0], seq=numbers[1], sent_ms=sent_ms)


@pytest.mark.parametrize("name", ALL)
@given(rows=readings, numbers=numbering, sent_ms=sent)
def test_what_is_encoded_is_decoded_to_the_same_columns(name, rows, numbers, sent_ms) -> None:
    codec = CODECS[name]
    decoded = codec.decode(encode(codec, rows, numbers, sent_ms))
    assert decoded.bad == ()
    want_values = [None if math.isnan(r[2]) else r[2] for r in rows]
    assert columns(decoded) == ([r[0] for r in rows], [r[1] for r in rows], want_values, *numbers, sent_ms)


@pytest.mark.parametrize("name", ALL)
def test_columns_are_typed_arrays_of_one_length(name) -> None:
    codec = CODECS[name]
    decoded = codec.decode(codec.encode(["a.x", "b.x"], [TIME_MIN_MS, TIME_MIN_MS + 1], [1.0, math.nan]))
    assert isinstance(decoded.times, array)
    assert isinstance(decoded.values, array)
    assert (decoded.times.typecode, decoded.values.typecode) == ("q", "d")
    assert len(decoded.times) == len(decoded.values) == len(with_names(decoded).sensors) == 2


def reason_of(error: PayloadError) -> str:
    return error.reason


@pytest.mark.parametrize("name", ALL)
def test_deep_nesting_is_refused_and_not_an_exhausted_stack(name) -> None:
    with pytest.raises(PayloadError):
        CODECS[name].decode(b'{"readings":' + b"[" * 60_000 + b"]" * 60_000 + b"}")


@pytest.mark.parametrize("name", ALL)
@given(raw=st.binary(max_size=400))
def test_rubbish_is_refused_with_a_known_reason_and_nothing_else(name, raw) -> None:
    try:
        CODECS[name].decode(raw)
    except PayloadError as error:
        assert reason_of(error) in REASONS  # noqa: PT017 - most damage is refused, some is not


@pytest.mark.parametrize("name", ALL)
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(rows=readings.filter(len), numbers=numbering, data=st.data())
def test_a_damaged_message_is_read_or_refused_with_a_known_reason(name, rows, numbers, data) -> None:
    raw = bytearray(encode(CODECS[name], rows, numbers, None))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        if not raw:
            break
    try:
        decoded = CODECS[name].decode(bytes(raw))
        named = with_names(decoded)
    except PayloadError as error:
        assert reason_of(error) in REASONS  # noqa: PT017 - most damage is refused, some is not
    else:
        assert len(named.sensors) == len(named.times) == len(named.values)
        assert not any(math.isinf(v) for v in named.values)
        assert all(b.reason in REASONS for b in named.bad)


@pytest.mark.parametrize("name", ALL)
def test_a_message_beyond_the_limits_is_refused(name) -> None:
    codec = CODECS[name]
    with pytest.raises(PayloadError) as caught:
        codec.decode(b" " * ((1 << 20) + 1))
    assert caught.value.reason == "payload_too_large"
    n = 10_001
    with pytest.raises(PayloadError) as caught:
        codec.decode(codec.encode(["a.b"] * n, [TIME_MIN_MS] * n, [0.0] * n))
    assert caught.value.reason == "too_many_readings"


@pytest.mark.parametrize("name", ALL)
def test_it_keeps_nothing_from_one_message_to_the_next(name) -> None:
    codec = CODECS[name]
    one = codec.encode(["a.x"], [TIME_MIN_MS], [1.0], boot="b1", seq=1)
    other = codec.encode(["b.y"], [TIME_MIN_MS + 5], [2.0])
    first = columns(codec.decode(one))
    with pytest.raises(PayloadError):
        codec.decode(b"\xff\x00rubbish")
    codec.decode(other)
    assert columns(codec.decode(one)) == first


def golden_cases() -> list:
    return [
        pytest.param(name, path, id=f"{name}-{path.stem}")
        for name in ALL
        for path in sorted((GOLDEN / name).glob("*.bin"))
    ]


@pytest.mark.parametrize(("name", "path"), golden_cases())
def test_golden_bytes_decode_as_they_always_did(name, path) -> None:
    raw = path.read_bytes()
    expected = path.with_suffix(".json")
    if not expected.exists():
        with pytest.raises(PayloadError) as caught:
            CODECS[name].decode(raw)
        assert caught.value.reason == path.with_suffix(".error").read_text().strip()
        return
    want = json.loads(expected.read_text())
    named = with_names(CODECS[name].decode(raw))
    assert columns(named) == tuple(want[k] for k in ("sensors", "times", "values", "boot", "seq", "sent_ms"))
    assert [b.reason for b in named.bad] == want["bad"]


@pytest.mark.parametrize("name", ALL)
def test_every_codec_has_golden_bytes_of_both_outcomes(name) -> None:
    suffixes = {p.suffix for p in (GOLDEN / name).iterdir()}
    assert {".bin", ".json", ".error"} <= suffixes
