"""Rule tests: verbs for mutes and orders, explicit moments and clocks, what may be expected of an alarm and a desk."""

from __future__ import annotations

from pathlib import Path

import pytest

from citypulse.app import extensions
from citypulse.ruletest.run import Outcome, load_suite, run_suite
from rules.ruletest import RuleTestError, read_offset, read_series

ORACLES = Path(__file__).parent.parent / "backtest" / "public" / "oracles.city.yaml"


def played(tmp_path: Path, test: str, rule: str = "isa-walk", config: Path = ORACLES) -> Outcome:
    path = tmp_path / "mine.tests.yaml"
    path.write_text(f"tests:\n  - rule: {rule}\n{test}", encoding="utf-8")
    (result,) = run_suite(load_suite(path, extensions(), config))
    return result.outcome


def passes(tmp_path: Path, test: str, rule: str = "isa-walk", config: Path = ORACLES) -> None:
    assert played(tmp_path, test, rule, config).failures == ()


# ── readings ────────────────────────────────────────────────────────────────────────────────────


def test_numbers_may_be_written_as_promtool_takes_them():
    assert [i.value for i in read_series(".5 1. 1e1 -.5+.5x2")] == [0.5, 1, 10, -0.5, 0, 0.5]


def test_an_offset_has_a_sign():
    assert (read_offset("+7m"), read_offset("-90s")) == (420_000, -90_000)
    with pytest.raises(RuleTestError, match="has no sign"):
        read_offset("7m")


def test_points_arrive_at_the_moments_they_name_several_at_once_and_in_any_order_of_the_file(tmp_path):
    passes(tmp_path, """    series: {isa-1.depth: {points: {90s: "5", 10s: "40 45@-5s", 0s: 0}}}
    expect:
      - {at: 9s, isa: A}
      - {at: 10s, isa: B, late: 1}
      - {at: 90s, isa: D}
""")  # fmt: skip


def test_a_clock_that_runs_ahead_within_reason_is_believed_and_one_far_ahead_is_not(tmp_path):
    passes(tmp_path, """    series: {isa-1.depth: {values: "0 40x3", clock: +2m}}
    expect: [{at: 1m, isa: B, quarantined: 0}]
""")  # fmt: skip
    passes(tmp_path, """    series: {isa-1.depth: {values: "0 40x3", clock: +7m}}
    expect: [{at: 3m, isa: A, quarantined: 4}]
""")  # fmt: skip


def test_readings_that_come_again_late_or_too_early_are_counted_by_sensor(tmp_path):
    test = """    series: {isa-1.depth: "0 40*3 40@-90s 40@+10m"}
    expect: [{at: 4m, isa: B, duplicates: 1, late: 2, quarantined: 0}]
"""
    found = played(tmp_path, test).failures
    assert [line.partition(": ")[2].partition(": ")[2] for line in found] == [
        "2 readings came again so far, expected 1",
        "1 readings were late so far, expected 2",
        "1 readings are from the future so far, expected 0",
    ]


# ── mutes ───────────────────────────────────────────────────────────────────────────────────────


def test_a_mute_has_a_name_in_the_test_is_extended_and_cancelled_by_it(tmp_path):
    passes(tmp_path, """    series: {isa-1.depth: "0 40x60"}
    do:
      - {at: 2m, mute: works, at_most: red, for: 10m}
      - {at: 5m, extend: works, for: 30m}
      - {at: 6m, extend: works, until: 7m, refused: bad_data}
      - {at: 20m, unmute: works}
      - {at: 21m, unmute: works, refused: not_found}
    expect:
      - {at: 2m, isa: F, hidden_by: works, mutes: {works: open}}
      - {at: 13m, isa: F}
      - {at: 20m, isa: B, hidden_by: none}
      - {at: 20m, mutes: {works: over}}
""")  # fmt: skip


def test_a_mute_hides_what_it_names_and_no_more_serious_than_it_says(tmp_path):
    passes(tmp_path, """    series: {isa-1.depth: "0 40x5", isa-1.rain: "0 20x5"}
    do:
      - {at: 0s, mute: yellow, sites: isa-1, for: 1h}
    expect:
      - {at: 2m, isa-1.depth: red/unack, hidden_by: none}
      - {at: 2m, rule: keep-dedup, isa-1.rain: yellow/hidden, hidden_by: yellow}
""")  # fmt: skip


def test_only_a_lead_hides_red_and_everybody_says_how_long(tmp_path):
    passes(tmp_path, """    series: {isa-1.depth: "0 40"}
    do:
      - {at: 0s, mute: a, at_most: red, by: duty, refused: forbidden}
      - {at: 0s, mute: b, at_most: red, for: 5h, refused: bad_data}
      - {at: 0s, mute: c, rules: isa-walk, by: crew, refused: forbidden}
    raises: 1
""")  # fmt: skip


def test_a_window_opens_each_time_and_is_known_to_a_restart(tmp_path):
    passes(tmp_path, """    interval: 10 min
    start: 2026-01-05 00:00
    series: {am-1.depth: "0 40x200"}
    do:
      - {at: 0s, window: nights, begins: 2h, rrule: FREQ=DAILY, lasts: 1h, for: 40h, rules: am-group}
      - {at: 2h30m, restart: true}
    expect:
      - {at: 1h, am-1.depth: yellow/unack, mutes: {nights: waiting}}
      - {at: 2h, am-1.depth: yellow/hidden, mutes: {nights: open}}
      - {at: 2h50m, am-1.depth: yellow/hidden, hidden_by: nights}
      - {at: 3h, am-1.depth: yellow/unack, mutes: {nights: waiting}}
      - {at: 26h, am-1.depth: yellow/hidden}
      - {at: 27h, am-1.depth: yellow/unack}
""", "am-group")  # fmt: skip


# ── orders ──────────────────────────────────────────────────────────────────────────────────────


def test_repair_and_confirm_work_an_order_off_and_are_refused_too_early(tmp_path):
    passes(tmp_path, """    series: {opc-1.rain: "0 12x5 0x30"}
    do:
      - {at: 2m, ack: opc-1.rain}
      - {at: 3m, confirm: opc-1.rain, refused: not_allowed}
      - {at: 8m, repair: opc-1.rain}
      - {at: 20m, confirm: opc-1.rain}
    expect:
      - {at: 2m, confirmed: false, order: dispatched}
      - {at: 9m, order: checking}
      - {at: 20m, confirmed: true, order: closed, retained: false}
""", "opc-branch")  # fmt: skip


def test_repair_without_an_order_is_refused(tmp_path):
    passes(tmp_path, """    series: {isa-1.depth: "0 40"}
    do: [{at: 1m, repair: isa-1.depth, refused: not_found}]
""")  # fmt: skip


# ── what may be expected ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("expected", "says"),
    [
        ("state: acked", "state is unacked, expected acked"),
        ("allowed: [ack]", "allowed is ack, shelve, out_of_service, comment, expected ack"),
        ("peak: yellow", "peak is red, expected yellow"),
        ("peak_value: 41", "peak_value is 40.0, expected 41.0"),
        ("acked_by: Wang", "acked_by is none, expected Wang"),
        ("hidden_by: isa-cause", "it is hidden by nothing, expected isa-cause"),
        ("chattering: true", "chattering is false, expected true"),
        ("turns: 1", "turns is 0, expected 1"),
        ("reminders: 1", "has reminded 0 times so far, expected 1"),
        ("realarms: 1", "has asked again 0 times so far, expected 1"),
        ("counts: {raised: 2, cleared: 0}", "its record has 1 raised, expected 2 raised"),
        ("told: none", "told were desk, expected none"),
        ("storm: {desk: true}", "desk is not in a storm"),
    ],
)
def test_a_failure_says_what_was_instead(tmp_path, expected, says):
    test = f'    series: {{isa-1.depth: "0 40"}}\n    expect: [{{at: 1m, isa-1.depth: red, {expected}}}]\n'
    (failure,) = played(tmp_path, test).failures
    assert says in failure
    assert "mine.tests.yaml:4: at 1 min isa-walk on isa-1.depth" in failure


def test_a_storm_is_seen_where_the_configuration_lets_it_begin(tmp_path):
    config = tmp_path / "stormy.city.yaml"
    storm = "storm: {starts_on: isa-cause}\n"
    config.write_text(ORACLES.read_text(encoding="utf-8") + storm, encoding="utf-8")
    passes(tmp_path, """    series: {isa-2.rain: "0 12x2 0x30"}
    expect:
      - {at: 0s, storm: {desk: false}}
      - {at: 2m, storm: {desk: true}}
      - {at: 30m, storm: {desk: false}}
""", "isa-cause", config)  # fmt: skip


def test_the_whole_record_may_be_counted_by_kind(tmp_path):
    test = '    series: {isa-1.depth: "0 40 0 40"}\n    counts: {raised: 2, cleared: 2, commented: 0}\n'
    (failure,) = played(tmp_path, test).failures
    assert failure == "the record has 1 cleared, expected 2"


def test_the_alarms_of_a_configuration_set_what_the_tests_meet(tmp_path):
    """A shelf as long as a test asks for is refused by the desk's own limits, and its default is one the desk takes."""
    passes(tmp_path, """    series: {isa-1.depth: "0 40x200"}
    do:
      - {at: 1m, shelve: isa-1.depth, for: 3h, refused: bad_data}
      - {at: 2m, shelve: isa-1.depth}
    expect:
      - {at: 2h1m, state: shelved}
      - {at: 2h2m, state: unacked}
""")  # fmt: skip
