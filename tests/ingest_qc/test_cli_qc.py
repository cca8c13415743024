"""`citypulse qc` over readings files: final flags, reasons, refused rows."""

import csv
import gzip
import json

import numpy as np
import pytest
from click.testing import CliRunner

from citypulse.cli.qc import command
from citypulse.model import ReadingBatch
from ingest.qc.controller import QualityControl
from ingest.qc.settings import SensorQuality
from ingest.qc.stream import QualityStream

CONFIG = """
quality:
  quantities:
    do:
      missing: [-9999]
      interval_s: 60
      gross_range: {fail: [0, 20]}
      spike: {suspect: 3}
      rate_of_change: {suspect: 1}
"""


@pytest.fixture
def city(tmp_path):
    (tmp_path / "city.yaml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


def run(city, *files, flags=()):
    out = city / "flags.csv"
    result = CliRunner().invoke(
        command, ["--config", str(city / "city.yaml"), *map(str, files), "--out", str(out), *flags]
    )
    with out.open(newline="") as file:
        return result, list(csv.DictReader(file))


def test_it_writes_settled_flags_with_their_reasons(city):
    path = city / "a.csv.gz"
    values = [8, 8, 19, 8, 8, -9999, 21]
    with gzip.open(path, "wt") as file:
        file.write("sensor,time,value\n")
        for i, value in enumerate(values):
            file.write(f"mill.do,2026-01-01T00:{i:02d}:00Z,{value}\n")
            file.write(f"mill.ph,2026-01-01T00:{i:02d}:00Z,7\n")
    result, rows = run(city, path)
    assert result.exit_code == 0, result.output
    oxygen = sorted((r["time"], r["quality"], r["tests"]) for r in rows if r["sensor"] == "mill.do")
    assert [(q, tests) for _, q, tests in oxygen] == [
        ("1", ""), ("3", "spike"), ("3", "spike"), ("3", "spike"), ("1", ""), ("9", ""), ("4", "gross_range")
    ]  # fmt: skip
    assert {r["quality"] for r in rows if r["sensor"] == "mill.ph"} == {"2"}


def test_it_counts_as_json_and_exits_1_when_rows_cannot_be_read(city):
    path = city / "a.csv"
    path.write_text("sensor,time,value\nmill.do,2026-01-01T00:00:00Z,8\nmill.do,yesterday,8\n", encoding="utf-8")
    result, rows = run(city, path, flags=("--json",))
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert (found["rows"], found["refused"], len(rows)) == (1, 1, 1)
    assert found["sensors"]["mill.do"]["quality"] == {"good": 1}


def test_it_needs_a_file(city):
    result = CliRunner().invoke(command, ["--config", str(city / "city.yaml")])
    assert result.exit_code == 2


def test_a_stream_settles_each_reading_once_however_it_is_cut():
    rng = np.random.default_rng(11)
    n = 400
    sensor = rng.integers(0, 3, n)
    time = np.arange(n, dtype=np.int64) * 1000 + rng.choice([0, 0, 0, -5000], n)
    value = rng.choice([5.0, 5.1, 9.0, 40.0], n)
    quality = SensorQuality.model_validate(
        {"spike": {"suspect": 3}, "gross_range": {"fail": [0, 20]}, "returned": {"floor": 2}}
    )
    batch = ReadingBatch.of(sensor, time, value, quality=np.zeros(n))

    def settled(size):
        stream = QualityStream(QualityControl([quality] * 3, [1.0] * 3), 3)
        parts = [stream.push(batch.take(slice(k, k + size))) for k in range(0, n, size)] + [stream.finish()]
        return sorted(
            (int(s), int(t), int(q), int(m))
            for p in parts
            for s, t, q, m in zip(p.sensor, p.time_ms, p.quality, p.tests, strict=True)
        )

    whole = settled(n)
    assert len(whole) == n
    assert settled(7) == whole == settled(1)
