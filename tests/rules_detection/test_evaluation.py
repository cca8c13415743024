"""`make evaluate` runs on whatever lies in the data folder, and shows the command behind every figure."""

from __future__ import annotations

import csv
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# A scorer of our own: prints how many rows were flagged in which file, and which files it was given.
SCORER = """\
import argparse, collections, csv, os
parser = argparse.ArgumentParser()
for name in ("--flags", "--preset"):
    parser.add_argument(name)
for name in ("--data", "--sensors"):
    parser.add_argument(name, nargs="*")
options = parser.parse_args()
flagged = collections.Counter(row["file"] for row in csv.DictReader(open(options.flags)))
for path in options.data:
    name = os.path.basename(path).split(".")[0]
    header = open(path, encoding="utf-8-sig").readline().strip()
    print("scored", options.preset, name, flagged[name], "type_Level" in header)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval" / "qc_eval.py").write_text(SCORER)
    rivers = tmp_path / "data" / "oddwater"
    rivers.mkdir(parents=True)
    start = datetime(2017, 3, 12)
    times = [f"{start + timedelta(minutes=90 * k):%Y-%m-%d %H:%M:%S}" for k in range(200)]
    whole = ["Timestamp", "Level", "Cond", "Tur", "type_Level", "type_Cond", "type_Tur"]
    # one river as usual, with a spike; one with no level at all; one every half hour; and something else altogether
    write(rivers / "whole.csv", whole, [[t, 0.6, 320, 900 if k == 150 else 30, 0, 0, 0] for k, t in enumerate(times)])
    write(rivers / "nolevel.csv", ["Timestamp", "Cond", "Tur"], [[t, 320, 30] for t in times])
    often = [f"{start + timedelta(minutes=30 * k):%Y-%m-%d %H:%M:%S}" for k in range(200)]
    write(rivers / "often.csv", whole, [[t, 0.6, 320, "" if k % 7 == 0 else 30, 0, 0, 0] for k, t in enumerate(often)])
    write(rivers / "notes.csv", ["who", "what"], [["someone", "something"]])
    (tmp_path / "data" / "aquarium").mkdir()
    return tmp_path


def write(path: Path, header: list[str], rows: list[list[object]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def test_it_runs_on_what_is_there_and_says_what_is_not(folder: Path):
    command = [sys.executable, "-m", "tests.bench.detection", "--data", str(folder), "--keep", str(folder / "kept")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "scored oddwater whole 1 True" in done.stdout
    assert "scored oddwater nolevel 0 True" in done.stdout  # its missing labels were filled in for the scorer
    assert "scored oddwater often 0 True" in done.stdout
    assert "scored oddwater notes" not in done.stdout
    assert "notes.csv: not there" in done.stdout
    for name in ("qartod", "lro", "nab", "gecco", "skab", "flood"):
        assert f"{name}: {folder / 'data'}" in done.stdout
    assert "aquarium" in done.stdout


def test_the_printed_command_gives_the_same_flags_again(folder: Path):
    command = [sys.executable, "-m", "tests.bench.detection", "--data", str(folder), "--keep", str(folder / "kept")]
    done = subprocess.run([*command, "--only", "oddwater"], cwd=ROOT, capture_output=True, text=True, check=False)
    printed = next(line for line in done.stdout.splitlines() if line.startswith("$ citypulse qc "))
    verdicts = folder / "kept" / "oddwater" / "verdicts.csv"
    first = verdicts.read_text()
    verdicts.unlink()
    again = [sys.executable, "-m", "citypulse", *printed.removeprefix("$ citypulse ").split()]
    subprocess.run(again, cwd=ROOT, capture_output=True, check=True)
    assert verdicts.read_text() == first
    assert ",3,jump" in first


def test_files_of_any_name_and_form_are_judged_and_what_is_no_recording_is_left_out(folder: Path):
    rivers = folder / "data" / "oddwater"
    lines = (rivers / "whole.csv").read_text().splitlines()
    turned = "\r\n".join(",".join([*line.split(",")[::-1], "more"]) for line in lines)  # other order, a column more
    (rivers / "上游 Station (2).csv").write_bytes(turned.encode("utf-8-sig"))
    (rivers / "whole 2.CSV.csv").write_text("\n".join([*lines[:100], "no time" + lines[100][19:], *lines[101:]]))
    (rivers / "nothing.csv").write_bytes(b"")
    (rivers / "header.csv").write_text(lines[0] + "\n")
    (rivers / "picture.csv.gz").write_bytes(b"\x89PNG")
    command = [sys.executable, "-m", "tests.bench.detection", "--data", str(folder), "--keep", str(folder / "kept")]
    done = subprocess.run([*command, "--only", "oddwater"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "scored oddwater 上游 Station (2) 1 True" in done.stdout
    assert "scored oddwater whole 2 " in done.stdout
    assert "whole 2.CSV.csv: 1 rows have no time" in done.stdout
    assert all(f"{name}: n" in done.stdout for name in ("nothing.csv", "header.csv", "picture.csv.gz"))
