"""The record's hash chain: any edit of any line shows, and the verdict names the line."""

import sqlite3

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from citypulse.ledger import Ledger, Tick
from tests.ledger.ledger_cast import T0, an_event, effects_of

LINES = 6
COLUMNS = [
    "subject",
    "subject_kind",
    "rev",
    "kind",
    "event_ms",
    "wall_ms",
    "actor",
    "actor_role",
    "from_state",
    "to_state",
    "because",
    "data",
    "prev_hash",
    "hash",
]


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """A ledger with six lines, and a raw connection that knows no triggers: somebody with the disk in hand."""
    folder = tmp_path_factory.mktemp("record")
    ledger = Ledger.open(folder)
    for number in range(1, LINES + 1):
        ledger.commit(Tick(number=number, now_ms=T0, effects=effects_of(events=[an_event(f"alarm-{number}")])))
    raw = sqlite3.connect(folder / "city.db", isolation_level=None)
    for verb in ("update", "delete"):
        raw.execute(f"DROP TRIGGER event_no_{verb}")
    yield ledger, raw
    raw.close()
    ledger.close()


def test_an_untouched_record_is_whole(record):
    verdict = record[0].verify()
    assert (verdict.checked, verdict.first_broken, verdict.head_seq) == (LINES, None, LINES)
    assert len(verdict.head_hash) == 64


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seq=st.integers(1, LINES), column=st.sampled_from(COLUMNS), at=st.integers(0, 2**16), flip=st.integers(1, 127))
def test_any_one_byte_edit_of_any_column_of_any_line_is_found_at_that_line(record, seq, column, at, flip):
    ledger, raw = record
    (before,) = raw.execute(f"SELECT {column} FROM event WHERE seq = ?", [seq]).fetchone()
    if isinstance(before, int):
        after = before ^ flip
    else:
        edited = bytearray(before.encode()) or bytearray(b"\0")
        edited[at % len(edited)] ^= flip
        after = edited.decode("utf-8", "surrogateescape")
        if not before:
            after = chr(flip)
        try:
            after.encode()
        except UnicodeEncodeError:  # not text any more: put a plain letter there instead
            after = "Z" + before[1:] if before[0] != "Z" else "Y" + before[1:]
    raw.execute(f"UPDATE event SET {column} = ? WHERE seq = ?", [after, seq])
    try:
        verdict = ledger.verify()
        assert verdict.first_broken == seq
        assert verdict.checked == seq - 1
    finally:
        raw.execute(f"UPDATE event SET {column} = ? WHERE seq = ?", [before, seq])
    assert ledger.verify().first_broken is None


@pytest.mark.parametrize("seq", range(1, LINES + 1))
def test_a_removed_line_is_found_also_the_last(record, seq):
    ledger, raw = record
    raw.execute("BEGIN")
    raw.execute("DELETE FROM event WHERE seq = ?", [seq])
    raw.execute("COMMIT")
    row = None
    try:
        assert ledger.verify().first_broken == seq
    finally:
        assert row is None
        restore(raw, seq)
    assert ledger.verify().first_broken is None


def restore(raw, seq):
    """Put a line back as it was, by computing it again from its neighbours."""
    from citypulse.ledger import schema as s
    from citypulse.ledger.chain import GENESIS, link

    found = raw.execute("SELECT hash FROM event WHERE seq = ?", [seq - 1]).fetchone()
    prev = found[0] if found else GENESIS
    columns = s.EVENTS.row(an_event(f"alarm-{seq}"))
    marks = ",".join("?" * (len(columns) + 3))
    raw.execute(f"INSERT INTO event VALUES ({marks})", [seq, *columns, prev, link(seq, prev, columns)])


def test_two_lines_changed_places_are_found(record):
    ledger, raw = record
    swap = "UPDATE event SET seq = CASE seq WHEN -2 THEN 3 WHEN -3 THEN 2 END WHERE seq < 0"
    for statement in ("UPDATE event SET seq = -seq WHERE seq IN (2, 3)", swap):
        raw.execute(statement)
    assert ledger.verify().first_broken == 2
    for statement in ("UPDATE event SET seq = -seq WHERE seq IN (2, 3)", swap):
        raw.execute(statement)
    assert ledger.verify().first_broken is None


def test_a_stretch_of_the_record_can_be_checked_by_itself(record):
    ledger, _ = record
    verdict = ledger.verify(3, 5)
    assert (verdict.checked, verdict.first_broken) == (3, None)


def test_an_empty_record_is_whole(tmp_path):
    ledger = Ledger.open(tmp_path)
    assert ledger.verify().first_broken is None
    ledger.close()


def test_an_empty_record_that_should_have_lines_is_not(tmp_path):
    ledger = Ledger.open(tmp_path)
    ledger.commit(Tick(number=1, now_ms=T0, effects=effects_of(events=[an_event()])))
    raw = sqlite3.connect(tmp_path / "city.db")
    raw.execute("DROP TRIGGER event_no_delete")
    raw.execute("DELETE FROM event")
    raw.commit()
    raw.close()
    assert ledger.verify().first_broken == 1
    ledger.close()
