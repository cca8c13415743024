"""Suggestions for a rule with a limit on both sides: one side or both, and a patch that does what was promised."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from citypulse.cli import group
from citypulse.model import Limit, Origin, Priority, Side
from rules.suggest import candidates, room
from tests.support import small_city

BASE_MS = 1_767_542_400_000
MINUTE_MS = 60_000
SENSOR = "river-001.ph"
RULE = """
rules:
  - id: acid
    name: {zh: 酸碱度, en: pH}
    applies_to: {quantity: ph}
    source: test
    threshold: {}
    limits:
      - {level: red, below: 5 pH, deadband: 0.1 pH}
      - {level: yellow, below: 6 pH, deadband: 0.1 pH}
      - {level: yellow, above: 9 pH, deadband: 0.1 pH}
"""


def call(*args: object) -> Result:
    return CliRunner().invoke(group, [str(a) for a in args])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A river station over two days: mostly 7.4, down to 6.6, 6.4, 5.6 and up to 8.2, 8.6, 9.4 for a while each."""
    folder = tmp_path_factory.mktemp("sides")
    text = small_city.text(sites=1, rules=RULE, cadence="60 s").replace("log_path", "notices.jsonl")
    text = text.replace("domain: flood, kind: underpass", "domain: water, kind: river").replace("u-0", "river-0")
    text = text.replace("quantity: depth", "quantity: ph").replace("river-00000", "river-00")
    (folder / "city.yaml").write_text(text, encoding="utf-8")
    away = {4: 6.6, 12: 6.4, 20: 5.6, 26: 8.2, 34: 8.6, 42: 9.4}  # in these hours
    rows = [
        f"{SENSOR},{BASE_MS + m * MINUTE_MS},{away.get(m // 60, 7.4) if m % 60 < 20 else 7.4}" for m in range(48 * 60)
    ]
    (folder / "readings.csv").write_text("sensor,time,value\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return folder


def options(world: Path, name: str = "city.yaml") -> list[object]:
    return ["--config", world / name, "--readings", world / "readings.csv", "--json"]


def test_both_sides_are_suggested_and_the_patch_gives_the_alarms_it_promised(world: Path) -> None:
    asked = call("suggest", "acid", *options(world), "--level", "yellow", "--alarms-per-day", 2)
    assert asked.exit_code == 0, asked.output
    found = json.loads(asked.stdout)
    low, high = found["limits"]
    assert (low["end"], high["end"]) == ("low", "high")
    promised = [one["points"][one["chosen"]] for one in (low, high)]
    assert all(0 < p["alarms"] <= 2 for p in promised)  # half of two a day each, over two days
    patched = world / "patched.yaml"
    patched.write_text((world / "city.yaml").read_text(encoding="utf-8") + found["patch"], encoding="utf-8")
    checked = call("check", patched)
    assert checked.exit_code == 0, checked.output
    judged = json.loads(call("backtest", *options(world, "patched.yaml")).stdout)
    assert judged["new"]["load"]["alarms"] == sum(p["alarms"] for p in promised)


@pytest.mark.parametrize(("side", "key"), [("low", "below"), ("high", "above")])
def test_one_side_moves_only_its_own_limit(side: str, key: str, world: Path) -> None:
    found = json.loads(call("suggest", "acid", *options(world), "--side", side, "--alarms-per-day", 1).stdout)
    assert (found["end"], found["side"], found["level"]) == (side, key, "yellow")
    assert f"level: yellow, {key}: " in found["patch"]
    assert found["patch"].count("level:") == 1
    for p in found["points"]:
        assert p["per_day_low"] <= p["per_day"] <= p["per_day_high"]


def test_the_level_says_which_limit_and_a_side_it_does_not_have_is_refused(world: Path) -> None:
    found = json.loads(call("suggest", "acid", *options(world), "--level", "red", "--alarms-per-day", 9).stdout)
    assert (found["level"], found["side"]) == ("red", "below")
    refused = call("suggest", "acid", *options(world), "--level", "red", "--side", "high")
    assert "no red high limit; it has" in str(refused.exception)


def limit(level: Priority, side: Side, value: float) -> Limit:
    return Limit(
        level=level, value=value, side=side, deadband=0.1, on_delay_s=0, off_delay_s=0, origin=Origin(file="", line=0)
    )


def test_no_candidate_passes_a_worse_a_milder_or_the_opposite_limit() -> None:
    red, yellow = limit(Priority.P1, Side.BELOW, 5.0), limit(Priority.P3, Side.BELOW, 6.0)
    high = limit(Priority.P3, Side.ABOVE, 9.0)
    everything = [red, yellow, high]
    assert room(yellow, everything) == (5.0, pytest.approx(8.8))
    assert room(red, everything) == (-math.inf, 6.0)
    assert room(high, everything) == (pytest.approx(6.2), math.inf)
    tried = candidates(np.linspace(2.0, 12.0, 5_000), yellow, between=room(yellow, everything))
    assert min(tried) > 5.0
    assert max(tried) < 8.8
    assert 6.0 in tried
