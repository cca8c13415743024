"""Messages in, readings out: ownership, numbering, dead letters, recovery."""

from __future__ import annotations

import json
import math
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from citypulse.model import Lane, Quality, RawMessage
from ingest.codecs import CODECS
from ingest.codecs.native import NativeCodec
from ingest.deadletter import PER_MESSAGE_MAX, REASONS, group_letters, replay_message, sentence
from ingest.gateways import Gateways
from ingest.intake import Intake, Intaken
from ingest.quality import Grader
from ingest.registry import Registry
from tests.ingest.town import T0, make_config, make_intake, make_town, message

encode = NativeCodec().encode
encode_objects = NativeCodec().encode_objects
COLUMNS = ("sensor", "time_ms", "value", "quality", "lane", "received_ms")


def take(intake: Intake, *payloads: bytes, gateway: str = "mill", kind: str = "readings") -> Intaken:
    return intake.take([message(p, gateway, kind=kind) for p in payloads], T0 + 1000)


def names(intake: Intake, taken: Intaken) -> list[str]:
    return [intake.registry.table.ids[k] for k in taken.batch.sensor]


def reasons(taken: Intaken) -> list[str]:
    return [letter.reason for letter in taken.dead]


@pytest.mark.parametrize("form", [encode, encode_objects], ids=["columns", "objects"])
def test_good_readings_come_out_graded_in_order(form) -> None:
    intake = make_intake()
    taken = take(
        intake, form(["m-0.level", "m-1.level"], [T0, T0 + 1], [1.5, 250.0]), form(["m-0.level"], [T0 - 1], [2.0])
    )
    assert names(intake, taken) == ["m-0.level", "m-1.level", "m-0.level"]
    assert taken.batch.value.tolist() == [1.5, 250.0, 2.0]
    assert taken.batch.quality.tolist() == [Quality.GOOD, Quality.FAIL, Quality.GOOD]
    assert taken.batch.lane.tolist() == [Lane.LIVE, Lane.LIVE, Lane.HISTORY]
    assert set(taken.batch.received_ms.tolist()) == {T0 + 500}
    assert taken.dead == ()


def test_nothing_to_take_is_fine() -> None:
    taken = make_intake().take([], T0)
    assert len(taken.batch) == 0
    assert taken.heard.gateway == ()


def test_one_bad_reading_never_costs_the_others() -> None:
    intake = make_intake()
    payload = encode(
        ["m-0.level", "h-0.level", "nobody.level", "old.level", "m-1.level", "m-2.level"],
        [T0, T0, T0, T0, 1_763_777_467, T0],
        [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        boot="b1", seq=1,
    )  # fmt: skip
    taken = take(intake, payload)
    assert names(intake, taken) == ["m-0.level", "m-2.level"]
    assert sorted(reasons(taken)) == ["foreign_sensor", "retired_sensor", "time_out_of_range", "unknown_sensor"]
    foreign = next(letter for letter in taken.dead if letter.reason == "foreign_sensor")
    assert json.loads(foreign.payload) == {"sensor": "h-0.level", "time": T0, "value": 2.0}
    assert foreign.gateway == "mill"
    assert "harbour" in foreign.detail


def test_bad_readings_of_the_careful_way_are_kept_one_by_one_too() -> None:
    intake = make_intake()
    payload = b'{"sensor":["m-0.level","h-1.level",null,"m-1.level"],"time":[%d,%d,%d,"x"],"value":[1,2,3,NaN]}' % (
        T0,
        T0,
        T0,
    )
    taken = take(intake, payload)
    assert names(intake, taken) == ["m-0.level"]
    assert sorted(reasons(taken)) == ["bad_time", "foreign_sensor", "reading_shape"]


def test_a_message_full_of_bad_readings_is_kept_once_and_whole() -> None:
    intake = make_intake()
    n = PER_MESSAGE_MAX + 1
    payload = encode([f"x-{k}.level" for k in range(n)] + ["m-0.level"], [T0] * (n + 1), [1.0] * (n + 1))
    taken = take(intake, payload)
    assert reasons(taken) == ["unknown_sensor"]
    assert taken.dead[0].payload == payload
    assert str(n) in taken.dead[0].detail
    assert names(intake, taken) == ["m-0.level"]


def test_an_unreadable_message_is_kept_whole_and_its_neighbours_pass() -> None:
    intake = make_intake()
    good = encode(["m-0.level"], [T0], [1.0])
    taken = take(intake, b'{"boot":"b1","seq":4,"rea', good, b"\xff\xfe")
    assert reasons(taken) == ["json_syntax", "bad_encoding"]
    assert taken.dead[0].payload == b'{"boot":"b1","seq":4,"rea'
    assert taken.dead[0].topic == "city/v1/mill/readings"
    assert len(taken.batch) == 1


@pytest.mark.parametrize(
    ("topic", "reason"),
    [("city/v1/nobody/readings", "unknown_gateway"), ("other", "bad_topic"), ("city/v1/mill/ack", "bad_topic")],
)
def test_messages_of_nobody_are_kept(topic, reason) -> None:
    taken = make_intake().take([RawMessage(topic=topic, payload=b"{}", received_ms=T0)], T0)
    assert [(d.reason, d.gateway) for d in taken.dead] == [(reason, "")]


def test_a_gateway_whose_codec_is_not_installed_is_a_dead_letter_not_a_crash() -> None:
    taken = take(make_intake(codecs={}), encode(["m-0.level"], [T0], [1.0]))
    assert reasons(taken) == ["unknown_codec"]


class Broken:
    """A codec with a bug, or columns that do not fit together."""

    def __init__(self, decoded=None) -> None:
        self.decoded = decoded

    def decode(self, payload: bytes):
        if self.decoded is None:
            raise ZeroDivisionError("oops")
        return self.decoded

    def encode(self, *_: object, **__: object) -> bytes:
        return b""


def test_a_bug_in_a_codec_costs_only_its_own_messages() -> None:
    good = make_intake(codecs={"native": Broken()})
    taken = take(good, b"1", b"2")
    assert reasons(taken) == ["codec_failed"] * 2
    assert "oops" in taken.dead[0].detail


def test_columns_that_turn_out_wrong_half_way_do_not_shift_the_others() -> None:
    from array import array

    from ingest.codecs.decoded import Decoded

    class Mixed(NativeCodec):
        def decode(self, payload: bytes) -> Decoded:
            if payload == b"bad":
                return Decoded(["m-0.level", "m-1.level"], array("q", [T0, T0]), [1.0, "two"])  # type: ignore[arg-type]
            return super().decode(payload)

    intake = make_intake(codecs={"native": Mixed()})
    one = encode(["m-2.level"], [T0], [7.0])
    taken = take(intake, one, b"bad", encode(["m-3.level"], [T0], [8.0]))
    assert reasons(taken) == ["codec_failed"]
    assert names(intake, taken) == ["m-2.level", "m-3.level"]
    assert taken.batch.value.tolist() == [7.0, 8.0]


def test_a_whole_message_received_twice_is_taken_once_even_after_a_restart() -> None:
    intake = make_intake()
    payload = encode(["m-0.level"], [T0], [1.0], boot="b1", seq=1)
    first = take(intake, payload, payload)
    assert (len(first.batch), first.counts.repeated) == (1, 1)
    again = make_intake()
    again.restore(msgspec.json.decode(msgspec.json.encode(plain(intake.state()))))
    second = take(again, payload)
    assert (len(second.batch), second.counts.repeated) == (0, 1)


def plain(state):
    if isinstance(state, dict):
        return {k: plain(v) for k, v in state.items()}
    return [None if math.isnan(v) else v for v in state.tolist()] if isinstance(state, np.ndarray) else state


def test_a_bad_message_whose_number_can_be_read_counts_as_received_and_is_kept_once() -> None:
    """Otherwise its gateway would be asked for it again for ever."""
    intake = make_intake()
    bad = b'{"boot":"b1","seq":1,"readings":7}'
    taken = take(intake, bad, bad)
    assert reasons(taken) == ["message_shape"]
    assert taken.counts.repeated == 1
    _, mark = intake.gateways.watermarks_due(T0 + 1000)[0]
    assert json.loads(mark)["durable_upto"] == 1


def test_births_and_wills_are_heard() -> None:
    intake = make_intake()
    states = [
        b'{"boot":"b1","status":"online"}',
        b'{"boot":"b1","state":"offline","at":1}',
        b'{"boot":"b2","status":"online"}',
        b'{"boot":"b1","status":"offline"}',  # an old boot's will
        b"",  # the retained message was removed
    ]
    taken = take(intake, *states, kind="state")
    assert taken.dead == ()
    assert taken.heard.gateway == ("mill", "mill", "mill")
    assert taken.heard.is_offline.tolist() == [False, True, False]
    assert intake.gateways.record("mill").status == "online"


@pytest.mark.parametrize(
    "payload",
    [b"online", b'{"status":"gone"}', b"{}", b"[]", b'{"status":5}', b"\xff", b'{"status":"online","boot":7}',
     b'{"status":"online","first":-1}', b'{"status":"online","boot":"%s"}' % (b"b" * 65)],
)  # fmt: skip
def test_a_state_that_cannot_be_read_is_a_dead_letter(payload) -> None:
    taken = take(make_intake(), payload, kind="state")
    assert reasons(taken) == ["state_shape"]
    assert taken.heard.gateway == ("mill",)  # it spoke, whatever it said


def test_gateways_that_speak_without_usable_readings_are_heard_by_themselves() -> None:
    intake = make_intake()
    good = encode(["m-0.level"], [T0], [1.0], boot="b1", seq=1)
    assert take(intake, good).heard.gateway == ()  # its readings say so already
    assert take(intake, good).heard.gateway == ("mill",)  # a repetition has none
    assert take(intake, b"rubbish").heard.gateway == ("mill",)
    assert take(intake, encode([], [], [])).heard.gateway == ("mill",)
    assert take(intake, encode(["x.level"], [T0], [1.0])).heard.gateway == ("mill",)
    assert take(intake, encode(["m-0.level"], [5], [1.0])).heard.gateway == ("mill",)


def test_a_dead_letter_can_be_replayed_after_the_fix() -> None:
    small, large = make_intake(3), make_intake(6)
    payload = encode(["m-0.level", "m-4.level"], [T0, T0], [1.0, 2.0], boot="b1", seq=1)
    taken = take(small, payload)
    assert reasons(taken) == ["unknown_sensor"]
    replayed = large.take([replay_message(letter, T0 + 900) for letter in taken.dead], T0 + 1000)
    assert names(large, replayed) == ["m-4.level"]
    assert replayed.batch.value.tolist() == [2.0]
    assert replayed.dead == ()


def test_a_bad_reading_of_another_format_is_kept_as_a_message_of_its_own() -> None:
    config, table = make_town()
    registry = Registry(make_config(config.sensors, codec="senml"), table)
    intake = Intake(registry, Gateways(), Grader(registry))
    pack = b'[{"bn":"m-0.","bt":1763777467,"boot":"b1","seq":1},{"n":"level","v":1},{"n":"level","vs":"high","t":60}]'
    taken = take(intake, pack)
    assert (len(taken.batch), reasons(taken)) == (1, ["bad_value"])
    again = intake.take([replay_message(letter, T0 + 900) for letter in taken.dead], T0 + 1000)
    assert reasons(again) == ["bad_value"]
    assert again.dead[0].payload == taken.dead[0].payload


def test_a_gateway_that_counts_in_seconds_is_kept_message_by_message() -> None:
    intake = make_intake()
    payload = encode(["m-0.level"] * 300, [T0 // 1000] * 299 + [T0], [1.0] * 300)
    taken = take(intake, payload, payload)
    assert reasons(taken) == ["time_out_of_range"] * 2
    assert taken.dead[0].payload == payload
    assert "299 bad readings" in taken.dead[0].detail
    assert len(taken.batch) == 2


def test_a_flood_of_bad_readings_does_not_flood_the_ledger() -> None:
    intake = make_intake()
    payload = encode([f"x-{k}.level" for k in range(50)], [T0] * 50, [1.0] * 50)
    taken = take(intake, *[payload] * 500)
    assert len(taken.dead) < 6_000
    assert {letter.payload for letter in taken.dead[-300:]} == {payload}


def test_a_whole_message_is_replayed_although_its_number_is_known() -> None:
    intake = make_intake()
    n = PER_MESSAGE_MAX + 1
    payload = encode([f"x-{k}.level" for k in range(n)], [T0] * n, [1.0] * n, boot="b1", seq=1)
    letter = take(intake, payload).dead[0]
    again = intake.take([replay_message(letter, T0 + 900)], T0 + 1000)
    assert reasons(again) == ["unknown_sensor"]  # nothing is fixed yet: it is kept again, not swallowed


def test_dead_letters_are_grouped_and_explained() -> None:
    intake = make_intake()
    taken = take(intake, b"x", b"y", encode(["h-0.level"], [T0], [1.0]))
    groups = group_letters(taken.dead)
    assert [(g.gateway, g.reason, g.count) for g in groups] == [
        ("mill", "json_syntax", 2),
        ("mill", "foreign_sensor", 1),
    ]
    assert sentence("json_syntax").zh
    assert sentence("from_the_future").en == "from_the_future"


# ── a thousand kinds of rubbish ─────────────────────────────────────────────────────────────────

junk = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6),
        st.sampled_from(["m-0.level", "h-0.level", T0, T0 + 1, 1.5, 10**30, -1, "2025-11-22T02:11:07Z", "2025-11-22"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from(["sensor", "time", "value", "x"]), inner, max_size=4),
    ),
    max_leaves=12,
)  # fmt: skip
shapes = st.dictionaries(
    st.sampled_from(["boot", "seq", "sent", "readings", "sensor", "time", "value"]), junk, max_size=7
)


def dump(value: object) -> bytes:
    return json.dumps(value).encode()


@settings(max_examples=400, deadline=None)
@given(
    st.one_of(st.binary(max_size=80), junk.map(dump), shapes.map(dump)),
    st.sampled_from(["readings", "state", "reading", "replay"]),
)
def test_any_payload_ends_as_readings_or_as_dead_letters_with_a_reason(payload, kind) -> None:
    intake = SHARED
    before = encode(["h-1.level"], [T0], [1.0])
    taken = intake.take([message(payload, kind=kind), message(before, "harbour")], T0 + 1000)
    assert names(intake, taken)[-1:] == ["h-1.level"]  # whatever it was, the next message is taken
    for letter in taken.dead:
        assert letter.reason in REASONS
        assert letter.reason != "codec_failed", letter
        assert letter.detail
        assert letter.gateway == "mill"
    assert np.isin(taken.batch.quality, [1, 4, 9]).all()
    assert not np.isinf(taken.batch.value).any()


SHARED = make_intake()


# ── recovery ────────────────────────────────────────────────────────────────────────────────────

one_message = st.one_of(
    st.tuples(
        st.just("readings"),
        st.lists(
            st.tuples(st.sampled_from(["m-0.level", "m-1.level", "h-0.level", "x"]), st.integers(-3, 600)), max_size=4
        ),
        st.sampled_from([None, ("b1", 1), ("b1", 2), ("b1", 5), ("b2", 1)]),
    ),
    st.tuples(st.just("state"), st.sampled_from(["b1", "b2"]), st.sampled_from(["online", "offline"])),
    st.just(("rubbish",)),
)


def raw(k: int, spec: tuple) -> RawMessage:
    at = T0 + 50 * k
    if spec[0] == "rubbish":
        return message(b"rubbish", received_ms=at)
    if spec[0] == "state":
        return message(dump({"boot": spec[1], "status": spec[2]}), received_ms=at, kind="state")
    boot, seq = spec[2] or (None, None)
    ids, times = [r[0] for r in spec[1]], [T0 + 1000 * r[1] for r in spec[1]]
    return message(
        encode(ids, times, [float(t % 7) for t in times], boot=boot, seq=seq, sent_ms=at - 30), received_ms=at
    )


def through_the_journal(journal: dict) -> dict:
    """As msgpack gives it back."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(journal))


def states(intake: Intake) -> str:
    return json.dumps(plain(intake.state()))


@settings(max_examples=60, deadline=None)
@given(st.lists(one_message, max_size=25), st.lists(st.integers(0, 25), max_size=5))
def test_replaying_the_journal_leaves_the_state_that_taking_left(specs, cuts) -> None:
    messages = [raw(k, spec) for k, spec in enumerate(specs)]
    live, again = make_intake(), make_intake()
    edges = [0, *sorted(min(c, len(messages)) for c in cuts), len(messages)]
    for a, b in pairwise(edges):
        taken = live.take(messages[a:b], T0 + 50 * b)
        heard = again.replay(taken.batch, through_the_journal(taken.journal), T0 + 50 * b)
        assert heard.gateway == taken.heard.gateway
        assert heard.received_ms.tolist() == taken.heard.received_ms.tolist()
        assert heard.is_offline.tolist() == taken.heard.is_offline.tolist()
    assert states(live) == states(again)


@settings(max_examples=60, deadline=None)
@given(st.lists(one_message, max_size=25), st.lists(st.integers(0, 25), max_size=5))
def test_how_messages_are_cut_into_ticks_does_not_matter(specs, cuts) -> None:
    messages = [raw(k, spec) for k, spec in enumerate(specs)]
    whole, pieces = make_intake(), make_intake()
    want = whole.take(messages, T0 + 5000)
    edges = [0, *sorted(min(c, len(messages)) for c in cuts), len(messages)]
    got = [pieces.take(messages[a:b], T0 + 50 * b) for a, b in pairwise(edges)]
    for column in COLUMNS:
        joined = np.concatenate([getattr(t.batch, column) for t in got])
        assert np.array_equal(joined, getattr(want.batch, column), equal_nan=column == "value")
    assert [d for t in got for d in t.dead] == list(want.dead)
    assert sum((t.heard.gateway for t in got), ()) == want.heard.gateway
    assert states(whole) == states(pieces)


def test_every_codec_in_the_table_is_usable_by_name() -> None:
    assert "native" in CODECS
