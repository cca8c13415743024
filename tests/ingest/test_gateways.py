"""Numbering, watermarks, births and wills of gateways."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from ingest import gateways as module
from ingest.gateways import Gateways
from tests.ingest.town import T0


def heard(gateways: Gateways, *seqs: int, boot: str = "b1", gateway: str = "mill", at_ms: int = T0) -> list[bool]:
    record = gateways.record(gateway)
    gateways.advance(at_ms)
    return [gateways.hear(record, at_ms, boot, seq) for seq in seqs]


def told(gateways: Gateways, at_ms: int) -> list[tuple[str, dict]]:
    gateways.advance(at_ms)
    return [(topic, json.loads(payload)) for topic, payload in gateways.watermarks_due(at_ms)]


def test_a_watermark_names_what_is_durable_and_what_is_missing() -> None:
    gateways = Gateways()
    heard(gateways, 1, 2, 3, 6, 9, 10)
    assert told(gateways, T0) == [("city/v1/mill/ack", {"boot": "b1", "durable_upto": 3, "missing": [[4, 5], [7, 8]]})]


def test_watermarks_come_every_five_seconds_or_thousand_messages_and_only_with_news() -> None:
    gateways = Gateways()
    heard(gateways, 1)
    assert len(told(gateways, T0)) == 1
    assert told(gateways, T0 + 60_000) == []
    heard(gateways, 2, at_ms=T0 + 61_000)
    assert len(told(gateways, T0 + 61_000)) == 1
    heard(gateways, 3, at_ms=T0 + 62_000)
    assert told(gateways, T0 + 62_000) == []
    assert told(gateways, T0 + 65_999) == []
    assert len(told(gateways, T0 + 67_000)) == 1
    heard(gateways, *range(4, 1003), at_ms=T0 + 67_100)
    assert told(gateways, T0 + 67_100) == []
    heard(gateways, 1003, at_ms=T0 + 67_100)
    assert told(gateways, T0 + 67_101)[0][1]["durable_upto"] == 1003


def test_a_message_sent_again_is_told_apart_and_answered_again() -> None:
    """It was sent again because the watermark did not arrive."""
    gateways = Gateways()
    assert heard(gateways, 1, 2, 2, 1) == [True, True, False, False]
    told(gateways, T0)
    assert heard(gateways, 2, at_ms=T0 + 10_000) == [False]
    assert told(gateways, T0 + 10_000)[0][1]["durable_upto"] == 2
    assert gateways.record("mill").duplicates == 3


def test_each_boot_is_numbered_by_itself_and_the_queue_of_the_last_one_still_counts() -> None:
    gateways = Gateways()
    heard(gateways, 1, 2, 4, boot="b1")
    heard(gateways, 1, boot="b2")
    assert heard(gateways, 3, 4, boot="b1") == [True, False]
    marks = {body["boot"]: body for _, body in told(gateways, T0)}
    assert marks["b1"] == {"boot": "b1", "durable_upto": 4, "missing": []}
    assert marks["b2"]["durable_upto"] == 1
    assert gateways.record("mill").current == "b2"


def test_boots_are_bounded_and_the_longest_unheard_is_forgotten() -> None:
    gateways = Gateways()
    for k in range(module.BOOTS_MAX + 3):
        heard(gateways, 1, boot=f"b{k}", at_ms=T0 + k)
    assert list(gateways.record("mill").boots) == [f"b{k}" for k in range(3, module.BOOTS_MAX + 3)]
    assert gateways.boots_forgotten == 3


def test_a_will_of_an_old_boot_does_not_hide_a_new_birth() -> None:
    gateways = Gateways()
    mill = gateways.record("mill")
    assert gateways.hear_state(mill, T0, "online", "b1")
    assert gateways.hear_state(mill, T0 + 1, "online", "b2") is False  # online already
    assert gateways.hear_state(mill, T0 + 2, "offline", "b1") is False
    assert mill.status == "online"
    assert gateways.hear_state(mill, T0 + 3, "offline", "b2")
    assert mill.status == "offline"


def test_a_new_boot_known_by_its_readings_also_outlives_the_old_will() -> None:
    gateways = Gateways()
    mill = gateways.record("mill")
    gateways.hear_state(mill, T0, "online", "b1")
    heard(gateways, 1, boot="b2")
    gateways.hear_state(mill, T0 + 2, "offline", "b1")
    assert mill.status == "online"


def test_fresh_readings_after_a_will_mean_it_is_back_and_repeated_ones_do_not() -> None:
    gateways = Gateways()
    mill = gateways.record("mill")
    heard(gateways, 1)
    gateways.hear_state(mill, T0, "offline", "b1")
    heard(gateways, 1)
    assert mill.status == "offline"
    heard(gateways, 2)
    assert mill.status == "online"


def test_a_gateway_may_say_what_it_no_longer_holds() -> None:
    gateways = Gateways()
    heard(gateways, 1, 2, 900)
    gateways.hear_state(gateways.record("mill"), T0, "online", "b1", first=800)
    assert told(gateways, T0)[0][1] == {"boot": "b1", "durable_upto": 799, "missing": [[800, 899]]}
    assert gateways.numbers_given_up == 797
    assert heard(gateways, 5) == [True]  # and if it comes after all, it is taken


def test_a_gap_that_never_fills_is_given_up_after_the_longest_backfill() -> None:
    gateways = Gateways()
    heard(gateways, 1, 3)
    assert told(gateways, T0)[0][1]["missing"] == [[2, 2]]
    later = T0 + module.GAP_KEEP_MS + 60_000
    heard(gateways, 4, at_ms=later)
    assert told(gateways, later)[0][1] == {"boot": "b1", "durable_upto": 4, "missing": []}
    assert gateways.numbers_given_up == 1


def test_the_clock_offset_is_the_median_of_the_recent_lags() -> None:
    gateways = Gateways()
    mill = gateways.record("mill")
    assert mill.clock_offset_ms is None
    for lag in [100, 90_000, 110, 105, 95]:
        gateways.hear(mill, T0, "b1", 1, lag)
    assert mill.clock_offset_ms == 105.0


def test_rows_tell_at_once_of_boots_and_states_and_otherwise_every_few_seconds() -> None:
    gateways = Gateways()
    heard(gateways, 1, 3)
    row = gateways.rows_changed()[0]
    assert (row.gateway, row.boot, row.durable_upto, row.missing, row.heard_ms) == ("mill", "b1", 1, ((2, 2),), T0)
    heard(gateways, 2, at_ms=T0 + 1000)
    assert gateways.rows_changed() == []
    heard(gateways, 4, at_ms=T0 + 5000)
    assert gateways.rows_changed()[0].durable_upto == 4
    gateways.hear_state(gateways.record("mill"), T0 + 5001, "offline", "b1")
    assert gateways.rows_changed()[0].state == "offline"
    assert gateways.rows_changed() == []


def test_a_row_that_had_to_wait_comes_when_its_time_has_come_although_the_gateway_fell_silent() -> None:
    gateways = Gateways()
    heard(gateways, 1)
    gateways.rows_changed()
    heard(gateways, 2, at_ms=T0 + 100)
    gateways.advance(T0 + 10_000)
    assert gateways.rows_changed()[0].durable_upto == 2


def test_a_gateway_that_does_not_number_has_a_row_too() -> None:
    gateways = Gateways()
    gateways.hear(gateways.record("mill"), T0)
    gateways.hear_state(gateways.record("mill"), T0, "online")
    row = gateways.rows_changed()[0]
    assert (row.boot, row.durable_upto, row.state) == ("", -1, "online")


boots = st.sampled_from(["b1", "b2"])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("hear"), st.sampled_from(["mill", "harbour"]), boots, st.integers(1, 15)),
        st.tuples(st.just("state"), st.just("mill"), boots, st.booleans()),
    ),
    max_size=40,
)  # fmt: skip


def walk(gateways: Gateways, some: list, start_ms: int) -> list:
    out = []
    for k, (what, gateway, boot, value) in enumerate(some):
        record = gateways.record(gateway)
        if what == "hear":
            out.append(gateways.hear(record, start_ms + k, boot, value, 50))
        else:
            out.append(gateways.hear_state(record, start_ms + k, "online" if value else "offline", boot))
    return out


@given(steps, steps)
def test_a_restart_changes_nothing(before, after) -> None:
    one, other = Gateways(), Gateways()
    walk(one, before, T0)
    other.restore(json.loads(json.dumps(one.state())))
    assert walk(one, after, T0 + 1000) == walk(other, after, T0 + 1000)
    assert one.state() == other.state()


def test_after_a_restart_every_gateway_is_told_again_where_it_stands() -> None:
    one, other = Gateways(), Gateways()
    heard(one, 1, 2)
    told(one, T0)
    other.restore(one.state())
    assert told(other, T0 + 1)[0][1]["durable_upto"] == 2
    assert other.rows_changed()[0].durable_upto == 2
