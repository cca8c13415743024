"""Readings files are read as columns, bad rows are named by their line, and what was written is read back."""

import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from citypulse.model import Quality
from citypulse.readings_files import ReadingsFileError, read_readings
from citypulse.store.readings_writer import ReadingsWriter

T0 = 1_763_777_467_000


def rows(path, **options):
    """All good rows of a file as tuples."""
    return [
        (p.names[n], t, v, q)
        for p in read_readings(path, **options)
        for n, t, v, q in zip(p.name, p.time_ms.tolist(), p.value.tolist(), p.quality.tolist(), strict=True)
    ]


def problems(path):
    return [(one.line, one.reason) for p in read_readings(path) for one in p.problems]


def file_of(tmp_path, text, name="readings.csv"):
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize("name", ["readings.csv", "readings.csv.gz"])
def test_times_may_be_epoch_milliseconds_or_iso_with_a_zone(tmp_path, name):
    text = (
        "sensor,time,value\n"
        f"w.do,{T0},1.5\n"
        "w.do,2025-11-22T02:11:07Z,2\n"
        "w.do,2025-11-22T10:11:07.120+08:00,3\n"
        "w.do,2025-11-22 02:11:07.1234567Z,4\n"
        "w.do,2025-11-22T10:11+0800,5\n"
    )
    assert rows(file_of(tmp_path, text, name)) == [
        ("w.do", T0, 1.5, Quality.NOT_EVALUATED),
        ("w.do", T0, 2.0, Quality.NOT_EVALUATED),
        ("w.do", T0 + 120, 3.0, Quality.NOT_EVALUATED),
        ("w.do", T0 + 123, 4.0, Quality.NOT_EVALUATED),
        ("w.do", T0 - 7000, 5.0, Quality.NOT_EVALUATED),
    ]


def test_columns_may_stand_in_any_order_and_others_are_passed_over(tmp_path):
    text = f"\ufeffnote,value,quality,time,sensor\nrainy,1.5,3,{T0},城脉.深\n"
    assert rows(file_of(tmp_path, text)) == [("城脉.深", T0, 1.5, Quality.SUSPECT)]


def test_an_empty_value_is_a_missing_reading_and_an_empty_quality_is_not_judged(tmp_path):
    text = f"sensor,time,value,quality\na,{T0},,1\na,{T0 + 1},nan,\na,{T0 + 2},2,\na,{T0 + 3},3,4\n"
    path = file_of(tmp_path, text)
    assert [row[3] for row in rows(path)] == [9, 9, 2, 4]
    assert [row[3] for row in rows(path, unjudged=Quality.GOOD)] == [9, 9, 1, 4]


def test_every_bad_row_is_named_by_its_line_and_the_good_ones_are_taken(tmp_path):
    text = (
        "sensor,time,value,quality\n"
        f"a,{T0},1,1\n"
        "a,yesterday,1,1\n"
        "\n"
        f"a,{T0}\n"
        "a,2025-11-22T02:11:07,1,1\n"
        f"a,{T0},wet,1\n"
        f"a,{T0},inf,1\n"
        f"a,{T0},1,7\n"
        f",{T0},1,1\n"
        "a,2025-02-30T00:00:00Z,1,1\n"
        f"a,{T0},1,1,1\n"
        f"a,{T0 + 1},2,1"
    )
    path = file_of(tmp_path, text)
    assert problems(path) == [
        (3, "time"),
        (5, "columns"),
        (6, "time"),
        (7, "value"),
        (8, "value"),
        (9, "quality"),
        (10, "sensor"),
        (11, "time"),
        (12, "columns"),
    ]
    assert [row[1:3] for row in rows(path)] == [(T0, 1.0), (T0 + 1, 2.0)]
    (portion,) = read_readings(path)
    assert portion.line.tolist() == [2, 13]
    assert str(portion.problems[0]) == (
        f"{path}:3: time 'yesterday' cannot be read; expected epoch milliseconds, "
        "or ISO 8601 with a zone such as 2026-11-22T02:11:07Z or …+08:00"
    )


def test_line_numbers_hold_across_portions(tmp_path, monkeypatch):
    monkeypatch.setattr("citypulse.readings_files.BLOCK_BYTES", 1000)
    lines = ["sensor,time,value"]
    lines += ["short" if n % 37 == 0 else f"a,{n},x" if n % 41 == 0 else f"a,{n},{n}" for n in range(2, 3000)]
    portions = list(read_readings(file_of(tmp_path, "\n".join(lines))))
    assert len(portions) > 20
    for portion in portions:
        assert portion.line.tolist() == portion.time_ms.tolist()
        assert all(p.line % (37 if p.reason == "columns" else 41) == 0 for p in portion.problems)
    assert sum(len(p.problems) for p in portions) == len([n for n in range(2, 3000) if n % 37 == 0 or n % 41 == 0])
    shares = [p.share_done for p in portions]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_rows_of_sensors_that_are_not_configured_are_named(tmp_path):
    path = file_of(tmp_path, f"sensor,time,value\nb,{T0},1\nghost,{T0},2\na,{T0},3\n")
    (portion,) = read_readings(path)
    batch, strangers = portion.batch({"a": 7, "b": 3}, received_ms=T0 + 5)
    assert batch.sensor.tolist() == [3, 7]
    assert batch.value.tolist() == [1.0, 3.0]
    assert batch.received_ms.tolist() == [T0 + 5] * 2
    assert [(s.line, s.reason) for s in strangers] == [(3, "unknown_sensor")]
    assert portion.batch({"a": 0, "b": 1})[0].received_ms.tolist() == [T0, T0]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"", "value not found"),
        ("a.csv", b"sensor,time\n", "value not found"),
        ("a.csv", "sensor,time,value\n下穿,1,2\n".encode("gbk"), "UTF-8"),
        ("a.csv.gz", b"sensor,time,value\n", "[Gg]zip"),
        ("a.csv.gz", gzip.compress(b"sensor,time,value\n" + b"a,1,2\n" * 90_000)[:-40], "a.csv.gz"),
        ("a.parquet", b"PAR1", "a.parquet"),
    ],
)
def test_a_file_that_is_no_readings_file_is_refused_with_its_name(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ReadingsFileError, match=words):
        list(read_readings(tmp_path / name))


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(ReadingsFileError, match="nowhere"):
        list(read_readings(tmp_path / "nowhere.csv"))


def test_an_empty_table_has_no_rows(tmp_path):
    assert rows(file_of(tmp_path, "sensor,time,value\n")) == []


def test_parquet_may_keep_times_as_integers_or_timestamps_with_or_without_zone(tmp_path):
    for kind in (pa.int64(), pa.timestamp("us"), pa.timestamp("ns", tz="Asia/Shanghai"), pa.timestamp("s", tz="UTC")):
        times = pa.array([T0, None], pa.int64())
        if pa.types.is_timestamp(kind):
            utc = times.cast(pa.timestamp("ms", tz="UTC"))
            times = utc.cast(kind) if kind.tz else utc.cast(pa.timestamp("us", tz="UTC")).cast(kind, safe=False)
        table = pa.table({"sensor": ["a", "b"], "time": times, "value": pa.array([1, 2], pa.int32())})
        pq.write_table(table, tmp_path / "a.parquet")
        assert rows(tmp_path / "a.parquet") == [("a", T0, 1.0, Quality.NOT_EVALUATED)]
        assert problems(tmp_path / "a.parquet") == [(2, "time")]


def test_parquet_without_the_columns_is_refused(tmp_path):
    pq.write_table(pa.table({"sensor": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(ReadingsFileError, match="column time, value not found; it has sensor"):
        list(read_readings(tmp_path / "a.parquet"))


NAMES = ["mill-bridge.depth", "城脉.深", 'odd "name", quoted']
CELLS = st.tuples(
    st.integers(0, 2),
    st.integers(0, 4 * 10**12),
    st.one_of(st.floats(allow_nan=True, allow_infinity=False)),
    st.sampled_from([1, 2, 3, 4]),
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cells=st.lists(CELLS, max_size=30), split=st.integers(0, 30))
@pytest.mark.parametrize("kind", [".csv", ".csv.gz", ".parquet"])
def test_what_was_written_is_read_back(tmp_path, kind, cells, split):
    path = tmp_path / f"out{kind}"
    with ReadingsWriter(path) as writer:
        for some in (cells[:split], cells[split:]):
            writer.write(NAMES, *([c[i] for c in some] for i in range(4)))
    assert writer.rows == len(cells)
    expected = [(NAMES[n], t, v, 9 if np.isnan(v) else q) for n, t, v, q in cells]
    assert repr(rows(path)) == repr(expected)
    assert problems(path) == []


def test_a_writing_that_fails_leaves_no_file_and_an_old_one_alone(tmp_path):
    path = tmp_path / "out.csv"
    path.write_text("old")
    with pytest.raises(IndexError), ReadingsWriter(path) as writer:
        writer.write(NAMES, [0, 99], [T0] * 2, [1.0] * 2, [1] * 2)
    assert [p.name for p in tmp_path.iterdir()] == ["out.csv"]
    assert path.read_text() == "old"


def test_only_known_kinds_of_files_are_written(tmp_path):
    with pytest.raises(ReadingsFileError, match=r"\.csv, \.csv\.gz or \.parquet"):
        ReadingsWriter(tmp_path / "out.xlsx")
    with pytest.raises(ReadingsFileError, match="No such file"), ReadingsWriter(tmp_path / "no" / "out.csv"):
        pass
