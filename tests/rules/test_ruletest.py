"""Rule tests: the notation, the verdicts, and oracles from outside (promtool, Prometheus compliance, alarms.md 8)."""

from __future__ import annotations

import math

import pytest

from citypulse.model import Quality
from rules.ruletest import RuleTestError, read_duration, read_series, read_test, run_test
from tests.rules.world import World, limit, rule, sensor

WL = "wl-017.depth"


def world(*rules, cadence_s=20):
    return World([sensor(WL, cadence_s=cadence_s)], rules)


def outcome(w, node):
    test = read_test(node, w.rules, w.table)
    return run_test(test, w.rules, w.table, w.sites, w.gateways)


def values(text):
    return [v for v, _ in read_series(text)]


def test_the_notation_is_promtools():
    assert values("5") == [5]
    assert values("0x2 5") == [0, 0, 0, 5]
    assert values("1+1x5") == [1, 2, 3, 4, 5, 6]
    assert values("-2+4x3") == [-2, 2, 6, 10]
    assert values("1-2x4") == [1, -1, -3, -5, -7]
    assert [math.isnan(v) for v in values("1 _x3 2 _")] == [False, True, True, True, False, True]
    assert read_series("5? 6!x1") == ((5, Quality.SUSPECT), (6, Quality.FAIL), (6, Quality.FAIL))


@pytest.mark.parametrize("text", ["five", "5x", "5+1", "x3", "5xx3", "_3"])
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


def test_the_test_of_the_design_page_passes():
    """alarms.md 8: a breach at 1m20s with 20 s on-delay, silence that does not clear, and a recovery with evidence."""
    w = world(
        rule(
            "waterlog-depth",
            "threshold",
            [WL],
            limit("yellow", "at_least", 0.15, 0.03, 60, 300),
            limit("red", "at_least", 0.3, 0.05, 20, 600),
        ),
        rule("no-data", "no_data", [WL], settings={"after": 60}),
    )
    result = outcome(
        w,
        {
            "rule": "waterlog-depth",
            "interval": "20s",
            "series": {WL: "0.10x3 0.32x4 _x30 0.32 0.05x40"},
            "expect": [
                {"at": "1m39s", WL: "normal"},
                {"at": "1m40s", WL: "red"},
                {"at": "8m", WL: "red", "sight": "stale"},
                {"at": "23m", WL: "red", "sight": "good"},
                {"at": "25m", WL: "normal"},
            ],
            "raises": {"waterlog-depth": 1, "no-data": 1},
        },
    )
    assert result.failures == ()


def test_prometheus_compliance_pending_firing_resolved():
    """prometheus/compliance (a): samples every 15 s, > 10 for 6 m: pending, firing, resolved, pending again as new."""
    w = world(rule("a", "threshold", [WL], limit("red", "above", 10, on=360)), cadence_s=15)
    items = "3 5 0x2 9 0x3 11 0x12 15 0x11 0x20 19 0x15 9 0x19 15 0x24 0x20 8 0x15"
    series, current = [], 0.0
    for item in items.split():  # `NxM` there adds N, M times
        step, _, times = item.partition("x")
        if times:
            series += [current + float(step)] * int(times)
        else:
            current = float(step)
            series.append(current)
    first = next(k for k, v in enumerate(series) if v > 10)
    quiet = next(k for k in range(first, len(series)) if series[k] <= 10)
    again = next(k for k in range(quiet, len(series)) if series[k] > 10)
    at = lambda k: f"{15 * k}s"  # noqa: E731 - shorter than a function
    result = outcome(
        w,
        {
            "rule": "a",
            "interval": "15s",
            "series": {WL: " ".join(f"{v:g}" for v in series)},
            "expect": [
                {"at": at(first + 23), WL: "normal"},
                {"at": at(first + 24), WL: "red"},
                {"at": at(quiet - 1), WL: "red"},
                {"at": at(quiet), WL: "normal"},
                {"at": at(again + 24), WL: "red"},
            ],
            "raises": {"a": 2},
        },
    )
    assert result.failures == ()


@pytest.mark.parametrize(
    ("values", "firing"),
    [
        ("75 85 95 105 105 95 85", [False, True, True, False, False, False, True]),
        ("80 90 100 110 120 130 140", [False, True, False, False, False, False, False]),
    ],
)
def test_prometheus_alerting_rule(values, firing):
    """rules/manager_test.go TestAlertingRule: < 100 for 1 m, five minutes apart."""
    w = world(rule("r", "threshold", [WL], limit("red", "below", 100, on=60)), cadence_s=300)
    expect = [{"at": f"{5 * k} min", WL: "red" if is_firing else "normal"} for k, is_firing in enumerate(firing)]
    assert outcome(w, {"rule": "r", "interval": "5 min", "series": {WL: values}, "expect": expect}).failures == ()


def test_a_failure_says_what_was_and_why():
    w = world(rule("r", "threshold", [WL], limit("red", "at_least", 10, on=60)))
    result = outcome(w, {"rule": "r", "interval": "20 s", "series": {WL: "12x2"}, "expect": [{"at": "40s", WL: "red"}]})
    assert result.failures == (
        "at 40 s r on wl-017.depth is normal, expected red: Water depth 12 cm; red ≥ 10 is pending".replace(
            "Water depth", "depth"
        ),
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"series": {}}, "no series"),
        ({"series": {"wl-018.depth": "1"}}, "did you mean 'wl-017.depth'"),
        ({"expect": []}, "expects nothing"),
        ({"expect": [{WL: "red"}]}, "needs `at`"),
        ({"expect": [{"at": "1m", WL: "crimson"}]}, "level 'crimson' is not known"),
        ({"expect": [{"at": "1m", WL: "red", "sight": "stael"}]}, "did you mean 'stale'"),
        ({"rule": "rr"}, "did you mean 'r'"),
        ({"intervall": "1m"}, "did you mean 'interval'"),
    ],
)
def test_a_test_that_tests_nothing_is_refused(change, message):
    w = world(rule("r", "threshold", [WL], limit("red", "at_least", 10)))
    node = {"rule": "r", "interval": "1 min", "series": {WL: "1"}, "expect": [{"at": "1m", WL: "normal"}]} | change
    with pytest.raises(RuleTestError, match=message):
        read_test(node, w.rules, w.table)
