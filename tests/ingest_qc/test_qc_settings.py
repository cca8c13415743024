"""The `quality:` section: what it refuses, and where it says so."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from citypulse.errors import ConfigError
from ingest.qc.files import load_quality
from ingest.qc.settings import QualitySettings, SensorQuality

GOOD = """
version: 1
quality:
  quantities:
    do:
      gross_range: {fail: [0, 20]}
      spike: {suspect: 2, fail: 4}
  sensors:
    harbour.do:
      spike: null
      gross_range: {fail: [0, 15]}
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "city.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_sensor_replaces_single_tests_of_its_quantity(tmp_path):
    settings = load_quality(write(tmp_path, GOOD))
    harbour, mill = settings.of("harbour.do", "do"), settings.of("mill.do", "do")
    assert harbour.gross_range.fail == (0, 15)
    assert harbour.spike is None
    assert mill.spike.fail == 4
    assert settings.of("mill.ph", "ph") is None


def test_every_problem_is_told_with_its_line(tmp_path):
    text = GOOD.replace("spike: {suspect: 2, fail: 4}", "spyke: {suspect: 2}").replace("[0, 20]", "[0, high]")
    with pytest.raises(ConfigError) as caught:
        load_quality(write(tmp_path, text))
    assert {d.line for d in caught.value.diagnostics} >= {6, 7}


def test_a_file_without_the_section_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no `quality:` section"):
        load_quality(write(tmp_path, "version: 1\n"))


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"jump": {}}, "needs `rise`"),
        ({"oversaturated": {"above": 1.1, "altitude_m": 0}}, "companion"),
        ({"attenuated": {"over_s": 0, "suspect_below": 1, "fail_below": 1}}, "greater than 0"),
        ({"missing": [1, 2, 3]}, "at most 2"),
        ({"spike": {"method": "median"}}, "average"),
        ({"returned": {"floor": 1, "within": 1}}, "less than 1"),
    ],
)
def test_nonsense_is_refused(section, says):
    with pytest.raises(ValidationError, match=says):
        SensorQuality.model_validate(section)


def test_an_override_that_makes_a_sensor_unsound_is_refused():
    with pytest.raises(ValidationError, match="within the fail span"):
        QualitySettings.model_validate(
            {
                "quantities": {"do": {"gross_range": {"fail": [0, 20]}}},
                "sensors": {"mill.do": {"gross_range": {"fail": [0, 5], "suspect": [0, 9]}}},
            }
        )


@pytest.mark.parametrize("name", ["lro", "oddwater"])
def test_the_configurations_of_the_evaluations_load(name):
    path = Path(__file__).parents[1] / "bench" / "detection" / f"{name}.yaml"
    assert load_quality(path).quantities


def test_a_city_is_controlled_by_its_sensor_table():
    from citypulse.model import Origin, ReadingBatch, Sensor, SensorTable
    from ingest.qc.controller import QualityControl

    sensor = Sensor(
        id="mill.do", site="mill", gateway="g", quantity="do", domain="water", site_kind="river", area="a", unit="mg/L",
        scale=1, offset=0, low=0, high=50, cadence_s=60, origin=Origin(file="x", line=1),
    )  # fmt: skip
    table = SensorTable.build(("retired.do", "mill.do"), (sensor,))
    settings = QualitySettings.model_validate({"quantities": {"do": {"gross_range": {"fail": [0, 20]}}}})
    control = QualityControl.of_table(settings, table)
    assert control.apply(ReadingBatch.of([0, 1], [1, 1], [99, 99])).flags.tolist() == [1, 4]
