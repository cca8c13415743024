"""Rule tests: the notation, what people do in them, the verdicts, and what is refused where."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from click.testing import CliRunner

from citypulse.app import extensions
from citypulse.cli import schema
from citypulse.errors import ConfigError
from citypulse.model import Quality
from citypulse.ruletest.run import Outcome, load_suite, run_suite
from rules.ruletest import RuleTestError, read_duration, read_series

WALKS = Path(__file__).parent.parent / "backtest" / "public" / "walks.city.yaml"
STRICTER = WALKS.with_name("stricter.city.yaml")


def values(text: str) -> list[float]:
    return [item.value for item in read_series(text)]


def played(tmp_path: Path, test: str) -> Outcome:
    """Run one test of the level `isa-level` on isa-1.depth: yellow over 5 cm, orange over 10, red over 15."""
    path = tmp_path / "mine.tests.yaml"
    path.write_text(f"tests:\n  - rule: isa-level\n{test}", encoding="utf-8")
    (result,) = run_suite(load_suite(path, extensions(), WALKS))
    return result.outcome


def refused(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "mine.tests.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_suite(path, extensions(), WALKS)
    return [f"{d.line}:{d.col} {d.code} {d.message} / {d.hint}" for d in caught.value.diagnostics]


# ── notation ────────────────────────────────────────────────────────────────────────────────────


def test_the_notation_is_promtools():
    assert values("5") == [5]
    assert values("0x2 5") == [0, 0, 0, 5]
    assert values("1+1x5") == [1, 2, 3, 4, 5, 6]
    assert values("-2+4x3") == [-2, 2, 6, 10]
    assert values("1-2x4") == [1, -1, -3, -5, -7]
    assert [math.isnan(v) for v in values("1 _x3 stale _")] == [False, True, True, True, True, True]
    assert [(i.value, i.quality) for i in read_series("5? 6!x1")] == [
        (5, Quality.SUSPECT), (6, Quality.FAIL), (6, Quality.FAIL),
    ]  # fmt: skip


def test_a_reading_without_a_value_is_not_the_same_as_no_reading():
    said, silent, stale = read_series("NaN _ stale")
    assert said.comes
    assert said.quality is Quality.MISSING
    assert not silent.comes
    assert not stale.comes


def test_a_reading_may_be_late_early_and_repeated():
    late, early, twice = read_series("5@-15m 6@+1h30m 7?@-5s*2")
    assert (late.off_ms, early.off_ms, twice.off_ms) == (-900_000, 5_400_000, -5_000)
    assert (late.copies, twice.copies, twice.quality) == (1, 2, Quality.SUSPECT)


@pytest.mark.parametrize("text", ["five", "5x", "5+1", "x3", "5xx3", "_3", "NaN?", "5*0", "5@15m", "5@-m", "5x9999999"])
def test_what_is_not_notation_is_refused(text):
    with pytest.raises(RuleTestError):
        read_series(text)


@pytest.mark.parametrize(
    ("text", "ms"), [("20s", 20_000), ("1m40s", 100_000), ("8m", 480_000), ("1 h 30 min", 5_400_000), ("500 ms", 500)]
)
def test_durations(text, ms):
    assert read_duration(text) == ms


@pytest.mark.parametrize("text", ["", "5", "5 parsecs", "m5"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(RuleTestError, match="is not a duration"):
        read_duration(text)


# ruff: noqa: E501 - a table is read by rows

# ── what is wrong is said where it stands ───────────────────────────────────────────────────────

HEAD = "tests:\n  - rule: isa-level\n"


@pytest.mark.parametrize(
    ("text", "where", "says"),
    [
        (HEAD + "    expect: [{at: 1m, isa-1.depth: red}]\n", "2:5 E402", "nothing happens"),
        (HEAD + '    series: {isa-1.depht: "1"}\n    raises: 0\n', "3:14 E302", "did you mean `isa-1.depth`?"),
        (HEAD + '    series: {isa-1.depth: "1 zwei"}\n    raises: 0\n', "3:30 E401", "'zwei' is not a series item"),
        (HEAD + '    series: {isa-1.depth: "1"}\n', "2:5 E402", "expects nothing"),
        (HEAD + '    series: {isa-1.depth: "1"}\n    expect: [{isa-1.depth: red}]\n', "4:14 E101", "`at` is missing"),
        (HEAD + '    series: {isa-1.depth: "1"}\n    expect: [{at: 1m, isa-1.depth: crimson}]\n', "4:36 E103", "level"),
        (HEAD + '    series: {isa-1.depth: "1"}\n    expect: [{at: 1m, opc-1.depth: red}]\n', "4:23 E302", "scope of rule"),
        (HEAD + '    series: {isa-1.depth: "1"}\n    expect: [{at: soon, isa: A}]\n', "4:15 E121", "not a duration"),
        (HEAD + '    series: {isa-1.depth: "1"}\n    expect: [{at: 1m, isa: H}]\n', "4:28 E103", "not one of A"),
        (HEAD + "    do: [{at: 1m, ack: isa-1.depth, reset: isa-1.depth}]\n    raises: 0\n", "3:10 E403", "one thing"),
        (HEAD + "    do: [{at: 1m, ack: isa-2.depth}]\n    raises: 0\n", "3:24 E302", "did you mean `isa-1.depth`?"),
        (HEAD + "    do: [{at: 1m, order: acept}]\n    raises: 0\n", "3:26 E302", "did you mean `accept`?"),
        (HEAD + "    do: [{at: 1m, reload: lost.yaml}]\n    raises: 0\n", "3:27 E015", "does not exist"),
        (HEAD + "    do: [{at: 1m, ack: isa-1.depth, by: king}]\n    raises: 0\n", "3:41 E103", "role `king`"),
        (HEAD + "    do: [{at: 1m, akc: isa-1.depth}]\n    raises: 0\n", "3:19 E104", "did you mean `ack`?"),
        (HEAD + '    series: {isa-1.depth: "1"}\n    notices: {rised: 1}\n', "4:15 E103", "did you mean `raised`?"),
        (HEAD + '    series: {isa-1.depth: "1"}\n    raises: {isa-levl: 1}\n', "4:14 E302", "did you mean `isa-level`?"),
        (HEAD + '    intervall: 1m\n    series: {isa-1.depth: "1"}\n    raises: 0\n', "3:5 E104", "did you mean `interval`?"),
        (HEAD + '    start: noon\n    series: {isa-1.depth: "1"}\n    raises: 0\n', "3:12 E109", "not a local time"),
    ],
)  # fmt: skip
def test_a_test_that_cannot_be_meant_is_refused_at_its_place(tmp_path, text, where, says):
    found = refused(tmp_path, text)
    assert any(line.startswith(where) and says in line for line in found), found


def test_every_problem_of_a_file_is_told_at_once(tmp_path):
    text = HEAD + '    series: {isa-1.depth: "1"}\n    expect:\n' + "".join(
        f"      - {{at: 1m, isa-{k}.depth: red}}\n" for k in range(2, 6)
    )  # fmt: skip
    assert len(refused(tmp_path, text)) == 4


# ── verdicts ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("expected", "says"),
    [
        ("isa: C", "its ISA-18.2 state is B (unacknowledged), expected C"),
        ("acked: true", "acked is false, expected true"),
        ("occurrence: 2", "occurrence is 1, expected 2"),
        ("order: closed", "its work order is none, expected closed"),
        ("raises: 0", "has raised 1 times so far, expected 0"),
        ("notices: {raised: 2}", "notices 1 raised, expected 2 raised"),
        ("isa-1.depth: red", "is orange, expected red"),
        ("isa-1.depth: orange/acked", "its alarm is unack, expected acked"),
        ("sight: stale", "sees good, expected stale"),
        ("historical: true", "no dated occurrence"),
    ],
)
def test_a_failure_says_what_was_instead(tmp_path, expected, says):
    result = played(tmp_path, f'    series: {{isa-1.depth: "0 13"}}\n    expect: [{{at: 1m, {expected}}}]\n')
    (failure,) = result.failures
    assert says in failure
    assert "mine.tests.yaml:4: at 1 min isa-level on isa-1.depth" in failure


@pytest.mark.parametrize(
    ("expected", "says"),
    [
        ("raises: 2", "rule isa-level raised 1 times, expected 2"),
        ("clears: 1", "rule isa-level cleared 0 times, expected 1"),
        ("levels: {isa-1.depth: red}", "went orange, expected red"),
        ("notices: {}", "notices 1 raised, expected none"),
        ("events: []", "event 1: raised of isa-1.depth at 1 min by citypulse, expected no more"),
        ("events: [{at: 2m, event: raised}]", "event 1 is raised of isa-1.depth at 1 min"),
        ("events: [{at: 1m, event: raised}, {at: 2m, event: cleared}]", "nothing more happened"),
    ],
)
def test_the_whole_of_a_test_is_judged_as_well(tmp_path, expected, says):
    (failure,) = played(tmp_path, f'    series: {{isa-1.depth: "0 13"}}\n    {expected}\n').failures
    assert says in failure


def test_a_refusal_that_was_not_expected_fails_and_says_what_is_allowed(tmp_path):
    test = '    series: {isa-1.depth: "0 13"}\n    do: [{at: 1m, unshelve: isa-1.depth}]\n    raises: 1\n'
    (failure,) = played(tmp_path, test).failures
    assert "unshelve was refused (not_allowed)" in failure
    assert "Allowed now: acknowledge" in failure


def test_something_done_that_should_have_been_refused_fails(tmp_path):
    test = '    series: {isa-1.depth: "0 13"}\n    do: [{at: 1m, ack: isa-1.depth, refused: forbidden}]\n'
    (failure,) = played(tmp_path, test).failures
    assert "acknowledge was done, expected forbidden" in failure


def test_readings_are_graded_as_live_so_what_no_instrument_can_say_raises_nothing(tmp_path):
    assert played(tmp_path, '    series: {isa-1.depth: "0 250x3"}\n    raises: 0\n').failures == ()


def test_series_may_have_their_own_pace_and_beginning(tmp_path):
    test = """    series: {isa-1.depth: {values: "0 13x2", every: 10 s, start: 5 s}}
    expect: [{at: 14s, isa: A}, {at: 15s, isa: B}]
"""
    assert played(tmp_path, test).failures == ()


def test_a_shelf_ends_between_two_readings_because_time_moves_by_itself(tmp_path):
    test = """    interval: 1 h
    evaluate: 10 s
    series: {isa-1.depth: "13"}
    do: [{at: 1m, shelve: isa-1.depth, for: 5m}]
    events:
      - {at: 0s, event: raised}
      - {at: 1m, event: shelved}
      - {at: 6m, event: unshelved}
    expect: [{at: 7m, isa: B}]
"""
    assert played(tmp_path, test).failures == ()


@pytest.mark.parametrize("at", [0, 1, 3, 4, 6, 9])
def test_a_restart_at_any_moment_changes_nothing(tmp_path, at):
    """Promise 3, from the tests' side: the same events with a restart in between and without."""
    test = """    series: {isa-1.depth: "0 13x2 20x1 6 0x2 13 0"}
    do:
      - {at: 2m, ack: isa-1.depth}
      - {at: 5m, shelve: isa-1.depth, for: 2m}
%s    raises: 2
"""
    plain = played(tmp_path, test % "")
    again = played(tmp_path, test % f"      - {{at: {at}m, restart: true}}\n")
    assert plain.failures == again.failures == ()
    assert again.events == plain.events
    assert again.transitions == plain.transitions


def test_the_schema_of_test_files_is_json_schema_and_knows_the_verbs():
    result = CliRunner().invoke(schema.command, ["--tests"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert {"ack", "shelve", "restart", "reload", "for"} <= set(found["$defs"]["StepIn"]["properties"])
    assert found["$defs"]["ExpectIn"]["properties"]["isa"]["enum"] == list("ABCDEFG")


def test_the_example_of_the_documentation_passes(tmp_path):
    page = (WALKS.parents[3] / "docs" / "reference" / "rule-tests.md").read_text(encoding="utf-8")
    example = page.split("```yaml\n")[1].split("```")[0]
    path = tmp_path / "example.tests.yaml"
    path.write_text(example, encoding="utf-8")
    (result,) = run_suite(load_suite(path, extensions(), WALKS.parents[3] / "sensors.yaml"))
    assert result.outcome.failures == ()
