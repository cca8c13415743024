"""`backtest --scores`: the numbers in the file are the detector's own, reading by reading."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from citypulse.cli.backtest import command
from rules.detectors import surprise

CITY = """\
version: 1
city: {name: {zh: 磨坊镇, en: Mill Town}, timezone: Asia/Shanghai}
broker: {url: "mqtt://127.0.0.1:1883"}
areas: {north: {zh: 北片, en: North}}
gateways: [{id: gw, codec: native, silent_after: 365 d}]
templates: {river: {domain: water, kind: river, sensors: [{quantity: level, cadence: 5 min}, turb]}}
sites: [{template: river, area: north, gateway: gw, places: {mill-river: [磨坊河, Mill River, 30.2, 120.1]}}]
teams: {duty: {name: {zh: 值班室, en: Duty desk}, kind: duty, unit: duty}}
channels: {log: {kind: log}}
routes: [{id: all, to: duty, channel: log}]
rules:
  - id: rare
    name: {zh: 罕见, en: Rare}
    applies_to: {quantity: level}
    source: a test
    surprise: {warm_up: 100, quiet: 200}
    limits: [{level: yellow, at_least: 6}]
  - id: high
    name: {zh: 高, en: High}
    applies_to: {quantity: level}
    source: a test
    threshold: {}
    limits: [{level: yellow, at_least: 9 m}]
"""


@pytest.fixture
def recording(tmp_path: Path) -> tuple[np.ndarray, np.ndarray]:
    (tmp_path / "city.yaml").write_text(CITY, encoding="utf-8")
    n = 600
    times = 1_760_000_000_000 + np.arange(n, dtype=np.int64) * 300_000
    values = np.round(3 + np.random.default_rng(2).standard_normal(n) * 0.2, 6)
    values[450] = 8
    return times, values


def run(tmp_path: Path, times: np.ndarray, values: np.ndarray, order: np.ndarray) -> list[dict[str, str]]:
    lines = [f"mill-river.level,{times[k]},{values[k]}" for k in order]
    (tmp_path / "readings.csv").write_text("sensor,time,value\n" + "\n".join(lines) + "\n")
    options = ["--config", tmp_path / "city.yaml", "--readings", tmp_path / "readings.csv", "--json"]
    out = tmp_path / "scores.csv"
    done = CliRunner().invoke(command, [*map(str, options), "--scores", str(out)], catch_exceptions=False)
    assert done.exit_code == 0
    with out.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_file_holds_what_the_detector_said_of_every_reading(tmp_path: Path, recording):
    times, values = recording
    rows = run(tmp_path, times, values, np.arange(len(times)))
    memory = surprise.arrays([surprise.Surprise(warm_up=100, quiet=200)], "Asia/Shanghai")
    expected = surprise.kernels.step(times, values, np.zeros(len(times), np.int32), *memory)[100:]
    assert {(row["rule"], row["scope"]) for row in rows} == {("rare", "mill-river.level")}
    np.testing.assert_allclose([float(row["score"]) for row in rows], expected, rtol=1e-8)


def test_files_out_of_order_of_time_give_the_same_scores_once(tmp_path: Path, recording):
    times, values = recording
    straight = run(tmp_path, times, values, np.arange(len(times)))
    assert run(tmp_path, times, values, np.random.default_rng(1).permutation(len(times))) == straight
