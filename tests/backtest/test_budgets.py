"""The `budget:` section: what a desk may be asked to bear, told by the backtest's exit code and by the check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from citypulse.app import extensions
from citypulse.backtest.desk_load import by_desk
from citypulse.cli import group
from citypulse.config import load_city
from citypulse.model import Priority, Text
from rules.backtest import Occurrence
from tests.support import small_city

BASE_MS = 1_767_542_400_000
NIGHT = "  night: {name: {zh: 夜班, en: Night desk}, kind: duty, unit: centre}\n"


def city(folder: Path, budget: str, name: str = "city.yaml") -> Path:
    path = folder / name
    text = small_city.text(sites=2).replace("channels:\n", f"{NIGHT}channels:\n", 1)
    text = text.replace("routes:\n", "routes:\n  - {id: serious, to: night, channel: log, at_least: red}\n", 1)
    path.write_text(f"{text}{budget}", encoding="utf-8")
    return path


def readings(folder: Path, waves: int) -> Path:
    """Write waves that raise one yellow and, on the second site, one red alarm an hour."""
    path = folder / "readings.csv"
    rows = ["sensor,time,value"]
    for k in range(waves * 360):
        high = k % 360 < 12
        at = BASE_MS + k * 10_000
        rows += [f"u-000001.depth,{at},{12 if high else 1}", f"u-000002.depth,{at},{30 if high else 1}"]
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


def call(*words: Any) -> Result:
    return CliRunner().invoke(group, [str(w) for w in words])


def test_a_file_over_its_own_budget_exits_1_and_says_which_desk(tmp_path: Path) -> None:
    path = city(tmp_path, "budget:\n  - {desk: night, peak_10min: 0}\n  - {desk: desk, per_day: 10000}\n")
    done = call("backtest", "--config", path, "--readings", readings(tmp_path, 3))
    assert done.exit_code == 1, done.output
    assert "night" in done.stdout
    assert "city.yaml:" in done.stdout
    assert "desk ·" not in done.stdout


def test_within_the_budget_it_exits_0(tmp_path: Path) -> None:
    path = city(tmp_path, "budget:\n  - {desk: night, peak_10min: 1}\n  - {per_day: 10000, chattering: 0}\n")
    done = call("backtest", "--config", path, "--readings", readings(tmp_path, 3), "--json")
    assert done.exit_code == 0, done.output
    desks = json.loads(done.stdout)["desks"]
    assert (desks["desk"]["alarms"], desks["night"]["alarms"]) == (6, 3)


def test_only_the_new_files_budget_counts(tmp_path: Path) -> None:
    strict, mild = city(tmp_path, "budget: [{per_day: 0}]\n", "strict.yaml"), city(tmp_path, "", "mild.yaml")
    data = readings(tmp_path, 2)
    assert call("backtest", "--config", mild, "--against", strict, "--readings", data).exit_code == 0
    assert call("backtest", "--config", strict, "--against", mild, "--readings", data).exit_code == 1


def test_check_warns_at_the_bound_when_a_history_is_given(tmp_path: Path) -> None:
    path = city(tmp_path, "budget:\n  - {desk: night, officers: 2, peak_10min: 0.2}\n")
    assert "W230" not in call("check", path).output
    done = call("check", path, "--readings", readings(tmp_path, 2))
    line, text = next((n, t) for n, t in enumerate(path.read_text().splitlines(), 1) if "peak_10min: 0.2" in t)
    assert f"city.yaml:{line}:{text.index('0.2') + 1}: W230 night" in done.output
    assert done.exit_code == 0
    assert call("check", path, "--readings", readings(tmp_path, 2), "--strict").exit_code == 1


def test_an_alarm_counts_for_every_desk_whose_route_wants_its_worst_level(tmp_path: Path) -> None:
    config = load_city(city(tmp_path, ""), extensions())

    def alarm(level: Priority) -> Occurrence:
        return Occurrence(
            rule="depth", scope="u-000001.depth", site="u-000001", level=level, start_ms=0, end_ms=1, peak=1.0,
            because=Text(zh="", en=""), origin="",
        )  # fmt: skip

    heard = by_desk(config, [alarm(Priority.P1), alarm(Priority.P3)])
    assert {desk: len(found) for desk, found in heard.items()} == {"desk": 2, "night": 1}


def test_an_interrupted_command_goes_on_with_resume_and_refuses_other_inputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from citypulse import readings_files
    from citypulse.backtest import checkpoint

    path, data = city(tmp_path, ""), readings(tmp_path, 3)
    whole = call("backtest", "--config", path, "--readings", data, "--json")
    monkeypatch.setattr(checkpoint, "EVERY_S", 0.0)
    monkeypatch.setattr(readings_files, "CSV_BLOCK", 4096, raising=False)
    kept = tmp_path / "kept"
    again = call("backtest", "--config", path, "--readings", data, "--json", "--checkpoint", kept, "--resume")
    assert again.stdout == whole.stdout
    assert not kept.exists()
    kept.write_bytes(b"something else")
    assert call("backtest", "--config", path, "--readings", data, "--checkpoint", kept, "--resume").exit_code != 0
    assert call("backtest", "--config", path, "--readings", data, "--resume").exit_code == 2
