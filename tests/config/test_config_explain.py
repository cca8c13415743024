"""Explanations: every value with the line that said it, and a page for every code in both languages."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from citypulse.config import Extensions, inspect_city
from citypulse.config.codes import CODES
from citypulse.config.explain import SensorExplained, explain_sensor

ROOT = Path(__file__).parent.parent.parent
BASE = ROOT / "tests" / "golden" / "config" / "base" / "city.yaml"
OVERRIDES = """version: 1
include: base.yaml
sensors:
  - {sensor: f-0001.depth, cadence: 60 s, scale: 0.1}
overrides:
  - {rule: depth, applies_to: {site: f-0001}, limits: [{level: red, at_least: 0.3 m}]}
"""


@pytest.fixture
def explained(tmp_path: Path, extensions: Extensions, monkeypatch: pytest.MonkeyPatch) -> SensorExplained:
    monkeypatch.chdir(tmp_path)
    Path("base.yaml").write_text(BASE.read_text(encoding="utf-8"), encoding="utf-8")
    Path("city.yaml").write_text(OVERRIDES, encoding="utf-8")
    found = explain_sensor(inspect_city("city.yaml", extensions), "f-0001.depth")
    assert found is not None
    return found


def line_of(path: str, text: str) -> str:
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return f"{path}:{1 + next(i for i, line in enumerate(lines) if text in line)}"


def test_a_sensor_says_where_its_own_values_come_from(explained: SensorExplained) -> None:
    said = {s.what: (s.value, s.origin) for s in explained.said}
    assert said["cadence"] == ("1 min", line_of("city.yaml", "sensor: f-0001.depth"))
    assert said["calibration"][0] == "raw × 0.1 + 0 cm"
    assert said["site"] == ("f-0001", line_of("base.yaml", "f-0001:"))
    assert said["range"][1] == "built in: citypulse/domains/flood.py"


def test_a_limit_says_what_was_written_and_what_it_means(explained: SensorExplained) -> None:
    (rule,) = explained.rules
    said = {s.what: (s.value, s.origin) for s in rule.said}
    assert said["red"] == ("≥ 0.3 m = 30 cm", line_of("city.yaml", "0.3 m"))
    assert said["yellow"] == ("≥ 15 cm", line_of("base.yaml", "level: yellow"))
    assert said["red deadband"][1] == line_of("base.yaml", "level: red")
    assert rule.overrides == (line_of("city.yaml", "rule: depth"),)


def test_an_unknown_sensor_has_no_explanation(extensions: Extensions) -> None:
    assert explain_sensor(inspect_city(BASE, extensions), "f-9999.depth") is None


def test_an_explanation_is_plain_json(explained: SensorExplained) -> None:
    assert json.loads(json.dumps(explained.as_dict()))["sensor"] == "f-0001.depth"


def test_every_code_that_can_be_shown_is_explained_and_no_other() -> None:
    used: set[str] = set()
    for file in (ROOT / "citypulse" / "config").glob("*.py"):
        if file.name != "codes.py":
            used |= set(re.findall(r'"([EW]\d{3})"', file.read_text(encoding="utf-8")))
    assert used == set(CODES)


@pytest.mark.parametrize("code", CODES.values(), ids=lambda c: c.code)
def test_a_code_is_explained_in_both_languages(code) -> None:
    for text in (code.title, code.text):
        assert re.search(r"[\u4e00-\u9fff]", text.zh)
        assert text.en
        assert not re.search(r"[\u4e00-\u9fff]", text.en)
