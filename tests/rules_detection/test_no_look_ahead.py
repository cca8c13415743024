"""What the evaluated commands say up to a moment does not change when everything after it is cut off."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "tests" / "bench" / "detection"
T0 = 1_489_280_400_000  # 2017-03-12T01:00:00Z
CUTS = (0.31, 0.83)

pytestmark = pytest.mark.slow  # eight processes that start numba


def citypulse(*words: object) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "citypulse", *map(str, words)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode <= (words[0] == "qc"), done.stdout + done.stderr


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write(path: Path, rows: list[tuple[str, int, float]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("sensor", "time", "value"), *rows])
    return path


def river() -> list[tuple[str, int, float]]:
    """Ten weeks of a river every 90 minutes: a daily rhythm, noise, spikes, shifts, holes and a silence of a day."""
    rng = np.random.default_rng(7)
    rows = []
    for k in range(1100):
        if 600 <= k < 616:
            continue
        time_ms = T0 + k * 5_400_000
        hour = np.sin(2 * np.pi * k / 16)
        wild = rng.random() < 0.02
        rows.append(("r.level", time_ms, round(0.8 + 0.05 * hour + rng.normal(0, 0.005), 3)))
        rows.append(("r.cond", time_ms, round(320 + 8 * hour + rng.normal(0, 2) + (300 if 800 <= k < 830 else 0), 2)))
        if rng.random() > 0.05:
            rows.append(("r.tur", time_ms, round(abs(30 + 5 * hour + rng.normal(0, 2)) * (6 if wild else 1), 2)))
    return rows


@pytest.mark.parametrize("share", CUTS)
def test_flags_up_to_a_moment_stay_when_the_future_is_cut_off(tmp_path: Path, share: float):
    rows = river()
    end_ms = rows[int(len(rows) * share)][1]
    early = [row for row in rows if row[1] <= end_ms]
    for name, part in (("whole", rows), ("cut", early)):
        citypulse("qc", "--config", HERE / "oddwater.yaml", write(tmp_path / f"{name}.csv", part),
                  "--out", tmp_path / f"{name}-flags.csv", "--json")  # fmt: skip
    whole = {(r["sensor"], r["time"]): (r["quality"], r["tests"]) for r in table(tmp_path / "whole-flags.csv")}
    cut = {(r["sensor"], r["time"]): (r["quality"], r["tests"]) for r in table(tmp_path / "cut-flags.csv")}
    assert len(cut) == len(early)
    assert any(quality == "3" for quality, _ in cut.values())
    last = dict(list(cut))  # the next reading may still amend a sensor's last one
    changed = {key for key, said in cut.items() if whole[key] != said}
    assert changed <= set(last.items())


@pytest.mark.parametrize("share", CUTS)
def test_scores_and_alarms_up_to_a_moment_stay_when_the_future_is_cut_off(tmp_path: Path, share: float):
    series = [("r.level", time_ms, value) for sensor, time_ms, value in river() if sensor == "r.cond"]
    early = series[: int(len(series) * share)]
    config = tmp_path / "sensors.yaml"
    config.write_text(
        f"version: 1\ninclude: [{HERE / 'nab.yaml'}]\nsites:\n  - template: recording\n    area: here\n"
        '    gateway: recorder\n    places: {r: ["r", "r", 40.7, -74.0]}\n',
        encoding="utf-8",
    )
    for name, part in (("whole", series), ("cut", early)):
        readings = write(tmp_path / f"{name}.csv", part)
        citypulse("backtest", "--config", config, "--readings", readings, "--alarms", tmp_path / f"{name}-alarms.csv",
                  "--scores", tmp_path / f"{name}-scores.csv", "--json")  # fmt: skip
    scored = table(tmp_path / "cut-scores.csv")
    assert scored == table(tmp_path / "whole-scores.csv")[: len(scored)]
    raised = [row["start"] for row in table(tmp_path / "cut-alarms.csv")]
    assert raised == [row["start"] for row in table(tmp_path / "whole-alarms.csv")][: len(raised)]
    assert scored
