"""The verbs check, schema and explain: what they print where, and how they exit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from citypulse.cli import check, explain, schema

ROOT = Path(__file__).parent.parent.parent
GOLDEN = ROOT / "tests" / "golden" / "config"


def run(command, *args: str) -> Result:
    return CliRunner().invoke(command, list(args))


def test_check_of_the_sample_is_quiet_and_sums_up() -> None:
    result = run(check.command, str(ROOT / "sensors.yaml"), "--strict")
    assert result.exit_code == 0, result.output
    assert "1000 sensors at 324 sites on 60 gateways, 0 errors, 0 warnings" in result.output
    assert result.stdout.count("\n") == 1


def test_check_of_a_broken_city_exits_1_and_loads_nothing() -> None:
    result = run(check.command, str(GOLDEN / "unknown-keys.yaml"))
    assert result.exit_code == 1
    assert "E104 unknown key `rulez` in file" in result.output
    assert "help: did you mean `rules`?" in result.output
    assert result.output.rstrip().endswith("2 errors, 0 warnings · `citypulse explain E104` · nothing was loaded")


def test_warnings_are_findings_only_when_strict() -> None:
    file = str(GOLDEN / "warn-never-clears.yaml")
    assert run(check.command, file).exit_code == 0
    assert run(check.command, file, "--strict").exit_code == 1


def test_a_rule_that_no_test_beside_it_names_is_said_to_be_untested(tmp_path: Path) -> None:
    walks = (ROOT / "tests" / "backtest" / "public" / "walks.city.yaml").read_text(encoding="utf-8")
    (tmp_path / "city.yaml").write_text(walks, encoding="utf-8")
    untested = run(check.command, str(tmp_path / "city.yaml"))
    assert untested.exit_code == 0, untested.output
    assert untested.output.count(": W214 ") == 16
    assert "rule `isa-level` is untested: no *.tests.yaml stands beside it" in untested.output
    test = 'config: city.yaml\ntests:\n  - {rule: isa-level, series: {isa-1.depth: "1"}, raises: {opc-state: 0}}\n'
    (tmp_path / "mine.tests.yaml").write_text(test, encoding="utf-8")
    some = run(check.command, str(tmp_path / "city.yaml"), "--json")
    messages = [d["message"] for d in json.loads(some.output)["diagnostics"]]
    assert len(messages) == 14
    assert not any("isa-level" in m or "opc-state" in m for m in messages)


def test_check_json_is_one_document() -> None:
    result = run(check.command, str(GOLDEN / "unknown-keys.yaml"), "--json")
    assert result.exit_code == 1
    found = json.loads(result.output)
    assert (found["ok"], found["errors"], found["loaded"]) == (False, 2, None)
    first = found["diagnostics"][0]
    assert (first["code"], first["line"], first["col"], first["width"]) == ("E104", 3, 1, 5)


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    assert run(check.command, str(tmp_path / "none.yaml")).exit_code == 2


def test_output_that_is_not_a_terminal_has_no_colours() -> None:
    assert "\x1b" not in run(check.command, str(GOLDEN / "unknown-keys.yaml")).output


def test_schema_prints_json() -> None:
    result = run(schema.command)
    assert result.exit_code == 0
    found = json.loads(result.output)
    assert {"threshold", "rate", "no_data"} <= set(found["$defs"]["Rule"]["properties"])


def test_explain_tells_a_sensor_with_lines() -> None:
    result = run(explain.command, "f-0070.depth", "--config", str(ROOT / "sensors.yaml"))
    assert result.exit_code == 0, result.output
    assert "≥ 22 cm" in result.output
    assert "sensors.yaml:" in result.output
    assert "flood-no-data" in result.output


def test_explain_tells_a_code_in_both_languages() -> None:
    result = run(explain.command, "e104")
    assert result.exit_code == 0
    assert "不认识的键" in result.output
    assert "unknown key" in result.output


@pytest.mark.parametrize("what", ["E999", "f-0070.dpeth"])
def test_explain_suggests_the_nearest(what: str) -> None:
    result = run(explain.command, what, "--config", str(ROOT / "sensors.yaml"))
    assert result.exit_code == 2
    assert "E" in result.output
