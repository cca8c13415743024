"""The bulk reader of MQTT packets: any cut of the stream, any length, the same packets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.packets import PacketReader, ProtocolError


def length_of(n: int) -> bytes:
    out = b""
    while True:
        n, low = divmod(n, 128)
        out += bytes([low | (128 if n else 0)])
        if not n:
            return out


def publish(topic: bytes, payload: bytes, mid: int, qos: int, *, properties: bytes | None = None) -> bytes:
    body = len(topic).to_bytes(2, "big") + topic + (mid.to_bytes(2, "big") if qos else b"")
    if properties is not None:
        body += length_of(len(properties)) + properties
    body += payload
    return bytes([0x30 | qos << 1]) + length_of(len(body)) + body


packets = st.lists(
    st.one_of(
        st.tuples(
            st.just("publish"), st.binary(max_size=30), st.binary(max_size=400), st.integers(0, 65535),
            st.integers(0, 1), st.binary(max_size=200),
        ),
        st.tuples(st.just("other"), st.sampled_from([0x20, 0x40, 0x90, 0xD0, 0xE0]), st.binary(max_size=300)),
    ),
    max_size=12,
)  # fmt: skip


@given(packets, st.lists(st.integers(1, 500), max_size=40), st.booleans())
def test_however_the_stream_is_cut_the_packets_are_the_same(sent, cuts, is_v5) -> None:
    stream, want_published, want_others = b"", [], []
    for packet in sent:
        if packet[0] == "publish":
            _, topic, payload, mid, qos, properties = packet
            stream += publish(topic, payload, mid, qos, properties=properties if is_v5 else None)
            want_published.append((topic, payload, mid if qos else 0, qos))
        else:
            _, first, body = packet
            stream += bytes([first]) + length_of(len(body)) + body
            want_others.append((first, body))
    reader = PacketReader(is_v5=is_v5)
    published, others = [], []
    for size in [*cuts, len(stream) + 1]:
        one, two = reader.feed(stream[:size])
        stream = stream[size:]
        published += one
        others += two
    assert published == want_published
    assert others == want_others


@given(st.integers(1, 4000), st.lists(st.integers(1, 700), min_size=1, max_size=30))
def test_of_a_packet_beyond_the_bound_the_head_is_kept_and_the_next_is_whole(size, cuts) -> None:
    reader = PacketReader(is_v5=False, keep_bytes=500)
    stream = publish(b"t", b"x" * size, 1, 1) + publish(b"t", b"next", 2, 1)
    published = []
    for cut in [*cuts, len(stream) + 1]:
        published += reader.feed(stream[:cut])[0]
        stream = stream[cut:]
    assert [p[2] for p in published] == [1, 2]
    assert published[1] == (b"t", b"next", 2, 1)
    kept = published[0][1]
    assert set(kept) == {ord("x")}
    if reader.truncated:
        assert len(kept) == 500 - 5 < size  # two bytes of length, one of topic, two of packet id
    else:
        assert len(kept) == size


def test_qos_2_is_left_to_paho() -> None:
    raw = b"\x34\x05\x00\x01t\x00\x01"
    assert PacketReader(is_v5=False).feed(raw) == ([], [(0x34, raw[2:])])


@pytest.mark.parametrize(
    "raw",
    [
        b"\x30\xff\xff\xff\xff\x01",  # a length of five bytes
        b"\x30\x00",  # no topic length
        b"\x30\x02\x00\x05",  # a topic longer than the packet
        b"\x32\x03\x00\x01t",  # no packet id
        b"\x30\x03\x00\x01t",  # MQTT 5 without properties
        b"\x30\x04\x00\x01t\x05",  # properties longer than the packet
        b"\x30\x05\x00\x01t\xff\xff",  # a properties length cut short
        b"\x20\xff\xff\xff\x7f",  # a CONNACK of 256 MiB
    ],
)
def test_what_cannot_be_mqtt_is_refused(raw) -> None:
    with pytest.raises(ProtocolError):
        PacketReader(is_v5=True).feed(raw)


@given(st.binary(max_size=300), st.booleans())
def test_nonsense_ends_in_packets_or_a_protocol_error_and_nothing_else(raw, is_v5) -> None:
    reader = PacketReader(is_v5=is_v5)
    try:
        reader.feed(raw)
        reader.feed(raw)
    except ProtocolError:
        return
