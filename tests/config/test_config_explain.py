"""Explanations: every value with the line that said it, and a page for every code in both languages."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from citypulse.app import extensions as real_extensions
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


QUALITY = """version: 1
include: base.yaml
quality:
  quantities:
    depth:
      gross_range: {fail: [0 mm, 1.5 m]}
      spike: {suspect: 5 cm}
      frozen: {after: 6 h}
  site_kinds: {road: {depth: {spike: {suspect: 10 cm}}}}
  sites: {f-0001: {depth: {frozen: false}}}
  sensors: {f-0001.depth: {rate_of_change: {suspect: 2 cm/min}}}
"""


def test_quality_control_is_explained_with_the_line_that_said_each_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("base.yaml").write_text(BASE.read_text(encoding="utf-8"), encoding="utf-8")
    Path("city.yaml").write_text(QUALITY, encoding="utf-8")
    loaded = inspect_city("city.yaml", real_extensions())
    assert loaded.diagnostics == ()
    found = explain_sensor(loaded, "f-0001.depth")
    assert found is not None
    said = {s.what: (s.value, s.origin) for s in found.quality}
    assert said["gross_range fail"] == ("0 mm to 1.5 m", "city.yaml:6")
    assert said["rate_of_change suspect"] == ("2 cm/min", "city.yaml:11")
    assert not any(what.startswith("frozen") for what in said)
    is_road = loaded.inventory.sites["f-0001"].kind == "road"
    assert said["spike suspect"] == (("10 cm", "city.yaml:9") if is_road else ("5 cm", "city.yaml:7"))


def test_numbers_with_units_reach_quality_control_in_canonical_units(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("base.yaml").write_text(BASE.read_text(encoding="utf-8"), encoding="utf-8")
    Path("city.yaml").write_text(QUALITY, encoding="utf-8")
    city = inspect_city("city.yaml", real_extensions()).city
    assert city is not None
    tests = city.quality.of("f-0001.depth", "depth")
    assert tests.gross_range.fail == (0, 150)
    assert tests.rate_of_change.suspect == pytest.approx(2 / 60)
    assert tests.frozen is None
    assert city.quality.quantities["depth"].frozen.after_s == 21_600


@pytest.mark.parametrize(
    ("good", "bad", "code", "says"),
    [
        ("1.5 m]", "1.5 kPa]", "E123", "pressure"),
        ("2 cm/min", "2 cm", "E124", "not a change over time"),
        ("after: 6 h", "after: 6 hh", "E122", "did you mean `h`?"),
        ("frozen: {after", "frozem: {after", "E104", "did you mean `frozen`?"),
        ("    depth:\n", "    dpeth:\n", "E302", "did you mean `depth`?"),
        ("sites: {f-0001", "sites: {f-0009", "E302", "site `f-0009`"),
        ("f-0001.depth:", "f-0001.deepth:", "E302", "did you mean `f-0001.depth`?"),
        ("sites:", "sitess:", "E104", "did you mean `sites`?"),
        ("[0 mm, 1.5 m]", "[0 mm]", "E10", ""),
        ("[0 mm, 1.5 m]", "[0 mm, 1.5 m], suspect: [0 cm, 2 m]", "E109", "must lie within the fail span"),
    ],
)
def test_quality_settings_are_refused_at_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, good: str, bad: str, code: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("base.yaml").write_text(BASE.read_text(encoding="utf-8"), encoding="utf-8")
    assert good in QUALITY
    Path("city.yaml").write_text(QUALITY.replace(good, bad, 1), encoding="utf-8")
    loaded = inspect_city("city.yaml", real_extensions())
    assert loaded.city is None
    found = [f"{d.code} {d.message} {d.hint}" for d in loaded.diagnostics if d.line and d.col]
    assert any(line.startswith(code) and says in line for line in found), found


def test_an_explanation_is_plain_json(explained: SensorExplained) -> None:
    assert json.loads(json.dumps(explained.as_dict()))["sensor"] == "f-0001.depth"


def test_every_code_that_can_be_shown_is_explained_and_no_other() -> None:
    used: set[str] = set()
    for file in (ROOT / "citypulse").rglob("*.py"):
        if file.name != "codes.py":
            used |= set(re.findall(r'"([EW]\d{3})"', file.read_text(encoding="utf-8")))
    assert used == set(CODES)


@pytest.mark.parametrize("code", CODES.values(), ids=lambda c: c.code)
def test_a_code_is_explained_in_both_languages(code) -> None:
    for text in (code.title, code.text):
        assert re.search(r"[\u4e00-\u9fff]", text.zh)
        assert text.en
        assert not re.search(r"[\u4e00-\u9fff]", text.en)
