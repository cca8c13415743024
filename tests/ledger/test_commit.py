"""A tick is durable whole or not at all, and what the ledger refuses it refuses with a reason."""

import shutil
import stat
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from citypulse.journal import Journal
from citypulse.ledger import FAULTS, GatewayRow, Ledger, LedgerError, Tick
from citypulse.model import Actor, Command
from tests.ledger.ledger_cast import (
    T0,
    a_letter,
    a_notice,
    an_alarm,
    an_answer,
    an_event,
    an_order,
    effects_of,
    some_readings,
)


class Crash(Exception):
    """The power has gone."""


def full_tick(number):
    """A tick that touches every table."""
    return Tick(
        number=number,
        now_ms=T0 + 1000 * number,
        batch=some_readings(4, T0 + 10_000 * number),
        messages={"intake": [["g1", "b7", number]]},
        commands=[
            Command(id=f"c{number}", verb="acknowledge", target="a", actor=Actor(name="Ada", role="duty"), at_ms=T0)
        ],
        effects=effects_of(
            alarms=[an_alarm(number)],
            orders=[an_order(number)],
            events=[an_event(f"alarm-{number}"), an_event(f"alarm-{number}", rev=2)],
            notices=[a_notice(f"k{number}", f"alarm-{number}")],
            answers=[an_answer(f"c{number}")],
            obsolete=[(f"alarm-{number - 1}", "acknowledged")],
        ),
        dead=[a_letter(b"x" * number)],
        gateways=[GatewayRow(gateway="g1", boot="b7", durable_upto=number, missing=((number + 2, number + 3),))],
        note="a note",
    )


def contents(ledger):
    """Everything the ledger shows, as one comparable value."""
    entries = Journal(ledger).entries(0)
    return (
        [(e.tick, e.now_ms, e.batch.value.tobytes(), e.messages, e.commands, e.note) for e in entries],
        ledger.alarms(state="all"),
        ledger.orders(),
        ledger.events(),
        ledger.outbox_rows(),
        ledger.dead_letters(),
        ledger.gateways(),
        ledger.counts(),
        ledger.answer_of("c1"),
        ledger.answer_of("c2"),
        ledger.verify(),
    )


def test_what_was_committed_is_there_after_reopening(tmp_path):
    ledger = Ledger.open(tmp_path)
    ledger.commit(full_tick(1))
    ledger.commit(full_tick(2))
    before = contents(ledger)
    ledger.close()
    again = Ledger.open(tmp_path)
    assert contents(again) == before
    assert again.last_tick == 2
    assert again.alarm("alarm-1") == an_alarm(1)
    assert again.order(an_order(2).id) == an_order(2)
    assert [row.event for row in again.events(subject="alarm-2")] == [an_event("alarm-2"), an_event("alarm-2", rev=2)]
    assert again.answer_of("c2") == an_answer("c2")
    again.close()


@pytest.mark.parametrize("where", FAULTS)
def test_a_crash_inside_a_commit_leaves_the_whole_tick_or_nothing(tmp_path, where):
    armed = []

    def fault(name):
        if armed and name == where:
            shutil.copytree(tmp_path / "city", tmp_path / "after")  # the disk at that instant, logs included
            raise Crash(name)

    reference = Ledger.open(tmp_path / "reference")
    reference.commit(full_tick(1))
    without = contents(reference)
    reference.commit(full_tick(2))
    with_it = contents(reference)
    reference.close()

    ledger = Ledger.open(tmp_path / "city", fault=fault)
    ledger.commit(full_tick(1))
    armed.append(True)
    with pytest.raises(Crash):
        ledger.commit(full_tick(2))
    assert contents(ledger) == (with_it if where == "ledger.after_commit" else without)
    ledger.close()
    survivor = Ledger.open(tmp_path / "after")
    assert contents(survivor) == (with_it if where == "ledger.after_commit" else without)
    if where != "ledger.after_commit":
        survivor.commit(full_tick(2))
    assert contents(survivor) == with_it
    survivor.close()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(crashes=st.lists(st.sampled_from([*FAULTS, ""]), min_size=1, max_size=6))
def test_any_run_of_failed_commits_ends_with_the_record_of_an_undisturbed_one(tmp_path, crashes):
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    pending = [""]

    def fault(name):
        if name == pending[0]:
            pending[0] = ""
            raise Crash(name)

    calm = Ledger.open(folder / "calm")
    rough = Ledger.open(folder / "rough", fault=fault)
    for number, crash in enumerate(crashes, start=1):
        calm.commit(full_tick(number))
        pending[0] = crash
        try:
            rough.commit(full_tick(number))
        except Crash:
            if crash != "ledger.after_commit":
                rough.commit(full_tick(number))
    assert contents(rough) == contents(calm)
    assert rough.verify().first_broken is None
    calm.close()
    rough.close()


def test_ticks_only_rise(tmp_path):
    ledger = Ledger.open(tmp_path)
    ledger.commit(Tick(number=5, now_ms=T0))
    with pytest.raises(LedgerError, match="tick 5 was offered after tick 5"):
        ledger.commit(Tick(number=5, now_ms=T0))
    ledger.close()


def test_the_last_version_of_an_alarm_and_an_order_stays(tmp_path):
    ledger = Ledger.open(tmp_path)
    ledger.commit(Tick(number=1, now_ms=T0, effects=effects_of(alarms=[an_alarm()], orders=[an_order()])))
    newer = (an_alarm(rev=2, is_acked=True, acked_by="Ada"), an_order(rev=2, handler="Bo"))
    ledger.commit(Tick(number=2, now_ms=T0, effects=effects_of(alarms=newer[:1], orders=newer[1:])))
    assert ledger.alarms(state="all") == [newer[0]]
    assert ledger.orders() == [newer[1]]
    ledger.close()


def test_a_value_that_is_not_a_number_comes_back_as_one(tmp_path):
    ledger = Ledger.open(tmp_path)
    ledger.commit(Tick(number=1, now_ms=T0, effects=effects_of(alarms=[an_alarm(peak_value=float("nan"))])))
    assert np.isnan(ledger.alarm("alarm-1").peak_value)
    ledger.close()


def test_the_first_answer_to_a_command_stays(tmp_path):
    ledger = Ledger.open(tmp_path)
    ledger.commit(Tick(number=1, now_ms=T0, effects=effects_of(answers=[an_answer("c1", message="first")])))
    ledger.commit(Tick(number=2, now_ms=T0 + 9, effects=effects_of(answers=[an_answer("c1", message="second")])))
    assert ledger.answer_of("c1").message == "first"
    assert ledger.answer_of("never") is None
    assert ledger.prune_answers(before_ms=T0) == 0
    assert ledger.prune_answers(before_ms=T0 + 1) == 1
    assert ledger.answer_of("c1") is None
    ledger.close()


def test_a_flood_of_rubbish_is_bounded_by_rows_and_counted(tmp_path):
    ledger = Ledger.open(tmp_path, dead_rows_max=10)
    for number in range(1, 6):
        ledger.commit(Tick(number=number, now_ms=T0, dead=[a_letter(b"%d" % i) for i in range(4)]))
    counts = ledger.counts()
    assert len(ledger.dead_letters()) == counts.dead_letters == 10
    assert counts.dead_letters_pushed_out == 10
    assert [row.tick for row in ledger.dead_letters()] == [5, 5, 5, 5, 4, 4, 4, 4, 3, 3]
    ledger.close()


def test_a_flood_of_rubbish_is_bounded_by_bytes_even_within_one_tick(tmp_path):
    ledger = Ledger.open(tmp_path, dead_bytes_max=1000)
    ledger.commit(Tick(number=1, now_ms=T0, dead=[a_letter(b"a" * 100) for _ in range(8)]))
    ledger.commit(Tick(number=2, now_ms=T0, dead=[a_letter(b"b" * 300) for _ in range(7)]))
    kept = ledger.dead_letters()
    assert [row.letter.payload[:1] for row in kept] == [b"b", b"b", b"b", b"a"]
    counts = ledger.counts()
    assert counts.dead_letters_bytes == sum(len(row.letter.payload) for row in kept) == 1000
    assert (counts.dead_letters_pushed_out, counts.dead_letters_pushed_out_bytes) == (11, 8 * 100 + 7 * 300 - 1000)
    ledger.close()


def test_a_letter_larger_than_all_the_room_is_only_counted(tmp_path):
    ledger = Ledger.open(tmp_path, dead_bytes_max=10)
    ledger.commit(Tick(number=1, now_ms=T0, dead=[a_letter(b"a" * 11)]))
    assert ledger.dead_letters() == []
    assert ledger.counts().dead_letters_pushed_out_bytes == 11
    ledger.close()


def test_replayed_letters_are_marked(tmp_path):
    ledger = Ledger.open(tmp_path)
    ledger.commit(Tick(number=1, now_ms=T0, dead=[a_letter(), a_letter(reason="unknown_sensor")]))
    (unknown,) = ledger.dead_letters(reason="unknown_sensor")
    assert ledger.mark_replayed([unknown.id, 999], now_ms=T0 + 7) == 1
    assert [row.replayed_ms for row in ledger.dead_letters()] == [T0 + 7, None]
    assert [row.letter.reason for row in ledger.dead_letters(is_replayed=False)] == ["json_syntax"]
    ledger.close()


def test_the_database_is_readable_by_its_owner_only(tmp_path):
    ledger = Ledger.open(tmp_path / "data")
    ledger.commit(full_tick(1))
    for file in (tmp_path / "data").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    ledger.close()


def test_sensor_indexes_are_given_once_and_for_ever(tmp_path):
    ledger = Ledger.open(tmp_path)
    assert ledger.sensor_ids(["b.depth", "a.do"]) == ("b.depth", "a.do")
    assert ledger.sensor_ids(["城.深", "a.do"]) == ("b.depth", "a.do", "城.深")
    ledger.close()
    again = Ledger.open(tmp_path)
    assert again.sensor_ids([]) == ("b.depth", "a.do", "城.深")
    again.close()


def test_a_commit_on_a_full_disk_says_so_and_the_tick_can_be_tried_again(tmp_path):
    ledger = Ledger.open(tmp_path)
    ledger.commit(full_tick(1))
    with ledger.writer.bare() as raw:
        pages = raw.execute("PRAGMA page_count").fetchone()[0]
        raw.execute(f"PRAGMA max_page_count={pages}")
    big = Tick(number=2, now_ms=T0, batch=some_readings(100_000))
    with pytest.raises(LedgerError, match="full"):
        ledger.commit(big)
    assert ledger.counts().last_tick == 1
    with ledger.writer.bare() as raw:
        raw.execute("PRAGMA max_page_count=1000000")
    ledger.commit(big)
    assert len(Journal(ledger).entries(1)[0].batch) == 100_000
    ledger.close()


def test_a_configuration_is_kept_once_per_fingerprint(tmp_path):
    ledger = Ledger.open(tmp_path)
    for now_ms in (1, 2):
        ledger.record_config("f" * 64, {"sensors.yaml": "version: 1\n"}, now_ms=now_ms)
    with ledger.reader.connection() as connection:
        rows = connection.exec_driver_sql("SELECT first_ms, last_ms, files FROM config_version").all()
    assert [tuple(row) for row in rows] == [(1, 2, '{"sensors.yaml":"version: 1\\n"}')]
    ledger.close()
