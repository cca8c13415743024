"""Opening a ledger: one writer, any number of readers, and a clear word to everyone else's files."""

import sqlite3

import pytest
import sqlalchemy as sa

from citypulse.ledger import Ledger, LedgerError, Tick
from citypulse.ledger import schema as s
from tests.ledger.ledger_cast import T0, an_alarm, an_event, effects_of


def test_a_second_writer_is_told_that_the_folder_is_taken(tmp_path):
    first = Ledger.open(tmp_path)
    with pytest.raises(LedgerError, match="another citypulse is running"):
        Ledger.open(tmp_path)
    first.close()
    Ledger.open(tmp_path).close()


def test_a_reader_beside_the_writer_sees_each_commit_and_cannot_write(tmp_path):
    writer = Ledger.open(tmp_path)
    reader = Ledger.open(tmp_path, read_only=True)
    assert reader.alarms(state="all") == []
    writer.commit(Tick(number=1, now_ms=T0, effects=effects_of(alarms=[an_alarm()])))
    assert reader.alarms(state="all") == [an_alarm()]
    assert reader.journal_id == writer.journal_id != ""
    with pytest.raises(LedgerError, match="reading only"):
        reader.commit(Tick(number=2, now_ms=T0))
    with pytest.raises(LedgerError, match="reading only"):
        reader.sensor_ids(["new.depth"])
    with pytest.raises(LedgerError, match="readonly"), writer.reader.connection() as connection:
        connection.exec_driver_sql("DELETE FROM alarm")
    reader.close()
    writer.close()


def test_reading_where_there_is_no_ledger_says_so(tmp_path):
    with pytest.raises(LedgerError, match="there is no ledger here"):
        Ledger.open(tmp_path, read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_somebody_elses_database_is_left_alone(tmp_path):
    other = sqlite3.connect(tmp_path / "city.db")
    other.execute("CREATE TABLE photo (id)")
    other.commit()
    other.close()
    for read_only in (False, True):
        with pytest.raises(LedgerError, match="not a citypulse ledger"):
            Ledger.open(tmp_path, read_only=read_only)
    again = sqlite3.connect(tmp_path / "city.db")
    assert [row[0] for row in again.execute("SELECT name FROM sqlite_master")] == ["photo"]
    again.close()


@pytest.mark.parametrize(("version", "age"), [(99, "newer"), (0, "older")])
def test_another_versions_ledger_is_named_with_the_cure(tmp_path, version, age):
    Ledger.open(tmp_path).close()
    raw = sqlite3.connect(tmp_path / "city.db")
    raw.execute(f"PRAGMA user_version={version}")
    raw.close()
    with pytest.raises(LedgerError, match=f"{age} citypulse"):
        Ledger.open(tmp_path)


def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path):
    (tmp_path / "city.db").write_bytes(b"sensor,time,value\n" * 1000)
    with pytest.raises(LedgerError, match="not a database"):
        Ledger.open(tmp_path)
    (tmp_path / "city.db").unlink()
    Ledger.open(tmp_path).close()  # the failed opening let go of the folder


def test_a_field_that_a_noun_has_gained_since_is_added_with_its_empty_value(tmp_path):
    ledger = Ledger.open(tmp_path)
    ledger.commit(Tick(number=1, now_ms=T0, effects=effects_of(alarms=[an_alarm()])))
    ledger.close()
    raw = sqlite3.connect(tmp_path / "city.db")
    for column in ("parent", "suppressed_by", "is_historical", "peak_value", "acked_ms"):
        raw.execute(f"ALTER TABLE alarm DROP COLUMN {column}")
    raw.commit()
    raw.close()
    again = Ledger.open(tmp_path)
    found = again.alarm("alarm-1")
    assert (found.parent, found.suppressed_by, found.is_historical, found.acked_ms) == ("", (), False, None)
    assert found.peak_value != found.peak_value
    again.commit(Tick(number=2, now_ms=T0, effects=effects_of(alarms=[an_alarm()])))
    assert again.alarm("alarm-1") == an_alarm()
    again.close()


def test_the_record_can_only_be_added_to(tmp_path):
    ledger = Ledger.open(tmp_path)
    ledger.commit(Tick(number=1, now_ms=T0, effects=effects_of(events=[an_event()])))
    for statement in (sa.update(s.event).values(actor="Bo"), sa.delete(s.event)):
        with pytest.raises(LedgerError, match="append-only"), ledger.writer.transaction() as connection:
            connection.execute(statement)
    ledger.close()


def test_every_commit_is_synced_before_it_returns(tmp_path):
    ledger = Ledger.open(tmp_path)
    with ledger.writer.bare() as raw:
        assert raw.execute("PRAGMA synchronous").fetchone() == (2,)
        assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert raw.execute("PRAGMA foreign_keys").fetchone() == (1,)
    ledger.close()


def test_a_folder_that_cannot_be_written_is_an_error_with_its_name(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises((LedgerError, OSError), match="file"):
        Ledger.open(tmp_path / "file" / "data")


def test_housekeeping_empties_the_write_ahead_log(tmp_path):
    ledger = Ledger.open(tmp_path)
    for number in range(1, 20):
        ledger.commit(Tick(number=number, now_ms=T0, effects=effects_of(alarms=[an_alarm(number)])))
    assert (tmp_path / "city.db-wal").stat().st_size > 0
    assert ledger.checkpoint() == 0
    ledger.close()
