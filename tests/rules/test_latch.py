"""The latch: every arrow of the diagram in rules/kernels.py, and agreement with a second, plainer implementation."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from citypulse.model import Gap, Lane, Priority, Quality, Side
from tests.rules.reference import RefLane
from tests.rules.world import HERE, S, World, limit, rule, said, sensor

MILL = "mill-underpass.depth"


def world(*limits, gap=Gap.RESET, accepts_suspect=False, cadence_s=60):
    return World(
        [sensor(MILL, cadence_s=cadence_s)],
        [rule("depth", "threshold", [MILL], *limits, gap=gap, accepts_suspect=accepts_suspect)],
    )


@pytest.mark.parametrize(
    ("side", "value", "breaches"),
    [
        ("at_least", 26.9, False), ("at_least", 27.0, True), ("at_least", 27.1, True),
        ("above", 27.0, False), ("above", 27.1, True),
        ("below", 27.0, False), ("below", 26.9, True),
        ("at_most", 27.1, False), ("at_most", 27.0, True), ("at_most", 26.9, True),
    ],
)  # fmt: skip
def test_equality_is_part_of_the_sides_word(side, value, breaches):
    w = world(limit("red", side, 27))
    assert bool(w.run([(0, MILL, value)])) is breaches


def test_with_no_delay_the_first_breach_raises_and_the_first_good_sample_clears():
    w = world(limit("red", "at_least", 27))
    assert said(w.run(w.series(MILL, [1, 27, 26.9]))) == [
        (60, "depth", "raise", "red"),
        (120, "depth", "clear", None),
    ]


def test_on_delay_counts_from_the_first_breach_in_event_time():
    w = world(limit("red", "at_least", 27, on=120))
    out = w.run([(0, MILL, 30), (60, MILL, 30), (119, MILL, 30), (120, MILL, 30)])
    assert said(out) == [(120, "depth", "raise", "red")]
    assert out[0].breach_ms == 0


def test_a_sample_that_does_not_breach_ends_the_wait():
    w = world(limit("red", "at_least", 27, deadband=5, on=120))
    assert w.run([(0, MILL, 30), (60, MILL, 26), (120, MILL, 30), (180, MILL, 30)]) == []


def test_between_breach_and_good_the_alarm_stays_and_the_good_run_starts_again():
    w = world(limit("red", "at_least", 27, deadband=3, off=120))
    out = w.run([(0, MILL, 30), (60, MILL, 20), (120, MILL, 25), (180, MILL, 20), (240, MILL, 20), (300, MILL, 23.9)])
    assert said(out) == [(0, "depth", "raise", "red"), (300, "depth", "clear", None)]
    assert out[1].breach_ms == 180 * S


def test_on_the_edge_of_the_deadband_is_not_yet_good():
    w = world(limit("red", "at_least", 27, deadband=3))
    assert said(w.run(w.series(MILL, [27, 24, 23.99]))) == [(0, "depth", "raise", "red"), (120, "depth", "clear", None)]


def test_a_jump_over_several_levels_is_one_raise_that_names_them_all():
    """PUB, 5 June 2011: the level went from 50 % to over 100 % in two minutes, past both bands that had an alarm."""
    limits = [limit(c, "at_least", v) for c, v in (("blue", 5), ("yellow", 15), ("orange", 27), ("red", 40))]
    w = world(*limits)
    (out,) = w.run(w.series(MILL, [2, 101]))
    assert (out.kind.value, out.level) == ("raise", Priority.P1)
    assert [(c.level.colour, c.limit, c.side) for c in out.crossed] == [
        ("red", 40, Side.AT_LEAST),
        ("orange", 27, Side.AT_LEAST),
        ("yellow", 15, Side.AT_LEAST),
        ("blue", 5, Side.AT_LEAST),
    ]


def test_the_level_falls_step_by_step():
    limits = [limit(c, "at_least", v, 3, 0, 60) for c, v in (("yellow", 15), ("orange", 27), ("red", 40))]
    w = world(*limits)
    out = w.run(w.series(MILL, [45, 30, 30, 20, 20, 5, 5]))
    assert said(out) == [
        (0, "depth", "raise", "red"),
        (120, "depth", "level", "orange"),
        (240, "depth", "level", "yellow"),
        (360, "depth", "clear", None),
    ]


def test_missing_or_bad_data_never_clears_and_is_told_once():
    w = world(limit("red", "at_least", 27))
    out = w.run(
        [
            (0, MILL, 30),
            (60, MILL, 1, Quality.FAIL),
            (120, MILL, float("nan"), Quality.MISSING),
            (180, MILL, 30),
            (240, MILL, 1),
        ]
    )
    assert said(out) == [
        (0, "depth", "raise", "red"),
        (60, "depth", "data_loss", "red"),
        (180, "depth", "data_back", "red"),
        (240, "depth", "clear", None),
    ]


def test_data_loss_restarts_the_good_run():
    w = world(limit("red", "at_least", 27, off=120))
    out = w.run(
        [(0, MILL, 30), (60, MILL, 1), (120, MILL, 1, Quality.FAIL), (180, MILL, 1), (240, MILL, 1), (300, MILL, 1)]
    )
    assert said(out)[-1] == (300, "depth", "clear", None)


def test_a_gap_in_event_time_restarts_the_good_run():
    w = world(limit("red", "at_least", 27, off=600))
    out = w.run(
        [(0, MILL, 30), (60, MILL, 1), (600, MILL, 1), (780, MILL, 1), (960, MILL, 1), (1140, MILL, 1), (1200, MILL, 1)]
    )
    assert said(out)[-1] == (1200, "depth", "clear", None)
    assert out[-1].breach_ms == 600 * S


@pytest.mark.parametrize(
    ("gap", "expected"),
    [
        (Gap.RESET, [(300, "depth", "raise", "red")]),
        (Gap.HOLD, [(180, "depth", "raise", "red")]),
        (
            Gap.RAISE,
            [(60, "depth", "raise", "red"), (60, "depth", "data_loss", "red"), (120, "depth", "data_back", "red")],
        ),
    ],
)
def test_the_gap_policy_decides_what_a_loss_does_to_a_waiting_breach(gap, expected):
    w = world(limit("red", "at_least", 27, on=180), gap=gap)
    readings = [(0, MILL, 30), (60, MILL, 1, Quality.FAIL)] + [(t, MILL, 30) for t in (120, 180, 240, 300)]
    assert said(w.run(readings)) == expected


def test_suspect_readings_count_only_where_the_rule_accepts_them_and_then_never_clear():
    spike = [(0, MILL, 30, Quality.SUSPECT), (60, MILL, 1, Quality.SUSPECT), (120, MILL, 1)]
    assert world(limit("red", "at_least", 27)).run(spike) == []
    w = world(limit("red", "at_least", 27), accepts_suspect=True)
    assert said(w.run(spike)) == [(0, "depth", "raise", "red"), (120, "depth", "clear", None)]


def test_late_readings_make_one_dated_occurrence_and_leave_the_live_latch_alone():
    w = world(limit("yellow", "at_least", 15), limit("red", "at_least", 27))
    w.run([(3600, MILL, 1)])
    late = [
        (t, MILL, v, Quality.GOOD, Lane.HISTORY, 3700)
        for t, v in ((60, 16), (120, 18), (180, 30), (240, 31), (300, 2), (360, 20))
    ]
    out = w.run(late)
    assert said(out) == [
        (60, "depth", "raise", "yellow"),
        (180, "depth", "level", "red"),
        (360, "depth", "raise", "yellow"),
    ]
    assert {t.lane for t in out} == {Lane.HISTORY}
    assert w.engine.active() == {}
    assert said(w.run([(3720, MILL, 30)])) == [(3720, "depth", "raise", "red")]


def test_quarantined_and_duplicate_readings_do_nothing():
    w = world(limit("red", "at_least", 27))
    assert w.run([(0, MILL, 30, Quality.GOOD, Lane.QUARANTINED), (0, MILL, 30, Quality.GOOD, Lane.DUPLICATE)]) == []


def test_every_transition_says_why_in_both_languages():
    w = world(limit("red", "at_least", 27, on=20, deadband=3, off=600), cadence_s=20)
    up, down = w.run([(0, MILL, 30), (20, MILL, 31.2)] + [(40 + 20 * k, MILL, 4) for k in range(31)])
    assert up.because.zh == "积水深度 31.2 cm ≥ 27 cm(红),持续 20 s;规则 depth 于 rules/packs/test.yaml:7"
    assert up.because.en == "Water depth 31.2 cm ≥ 27 cm (red) for 20 s; rule depth at rules/packs/test.yaml:7"
    assert down.because.zh == "积水深度 4 cm,低于 24 cm 已 10 min,解除红;规则 depth 于 rules/packs/test.yaml:7"


# ── against the reference ───────────────────────────────────────────────────────────────────────

VALUES = st.sampled_from([0.0, 4.0, 5.0, 6.0, 9.0, 10.0, 11.0, 14.0, 15.0, 20.0, float("nan")])
DELAYS = st.sampled_from([0.0, 1.0, 60.0, 120.0, 300.0])
LIMITS = st.lists(
    st.builds(
        limit,
        st.sampled_from(["red", "orange", "yellow", "blue"]),
        st.sampled_from([s.value for s in Side]),
        st.sampled_from([5.0, 10.0, 15.0]),
        st.sampled_from([0.0, 1.0, 5.0]),
        DELAYS,
        DELAYS,
    ),
    min_size=1,
    max_size=4,
)
STEPS = st.lists(
    st.tuples(
        st.sampled_from([1, 60, 60, 60, 120, 180, 181, 600]),
        VALUES,
        st.sampled_from([Quality.GOOD] * 6 + [Quality.SUSPECT, Quality.FAIL, Quality.MISSING, Quality.NOT_EVALUATED]),
        st.sampled_from([Lane.LIVE] * 8 + [Lane.DUPLICATE, Lane.QUARANTINED]),
    ),
    max_size=60,
)
EXAMPLES = 20 if os.environ.get("NUMBA_DISABLE_JIT") else 300


@settings(max_examples=EXAMPLES, deadline=None)
@given(LIMITS, STEPS, st.sampled_from(list(Gap)), st.booleans())
def test_it_agrees_with_the_definition_on_any_input(limits, steps, gap, accepts):
    the_rule = rule("depth", "threshold", [MILL], *limits, gap=gap, accepts_suspect=accepts)
    w = World([sensor(MILL)], [the_rule])
    reference = RefLane(the_rule, 180 * S)
    t, readings = 0, []
    for step, value, quality, lane in steps:
        t += step
        readings.append((t, MILL, value, quality, lane))
        reference.take(t * S, value, quality, lane)
    out = w.run(readings, now_s=t)
    told = [(x.event_ms, x.kind.value, None if x.level is None else int(x.level), x.lane is Lane.HISTORY) for x in out]
    assert told == reference.said


def test_the_origin_of_every_limit_travels_with_its_crossing():
    (out,) = world(limit("red", "at_least", 27)).run([(0, MILL, 30)])
    assert out.crossed[0].origin == HERE


# ── metamorphic: what every engineer assumes about the knobs (alarms.md 8, I26 and I27) ──────────

WALK = st.lists(st.sampled_from([0.0, 8.0, 12.0, 14.0, 15.0, 18.0, 30.0]), min_size=1, max_size=80)


def alarm_story(values, **knobs):
    """Return how often it raised, and in which minutes it stood in alarm."""
    w = world(limit("red", "at_least", **({"value": 15.0, "deadband": 1.0, "on": 60.0, "off": 120.0} | knobs)))
    out = w.run(w.series(MILL, values))
    minutes, since = set(), None
    for t in out:
        if t.kind.value == "raise":
            since = t.event_ms
        else:
            minutes |= set(range(since, t.event_ms, 60 * S))
            since = None
    if since is not None:
        minutes |= set(range(since, len(values) * 60 * S, 60 * S))
    return sum(t.kind.value == "raise" for t in out), minutes


@settings(max_examples=EXAMPLES // 3 + 1, deadline=None)
@given(WALK)
def test_a_higher_limit_is_never_longer_in_alarm(values):
    _, low = alarm_story(values, value=15.0)
    _, high = alarm_story(values, value=18.0)
    assert high <= low


@settings(max_examples=EXAMPLES // 3 + 1, deadline=None)
@given(WALK, st.sampled_from([{"deadband": 4.0}, {"on": 180.0}, {"off": 600.0}]))
def test_a_wider_deadband_or_a_longer_delay_never_raises_more_often(values, knob):
    usual, _ = alarm_story(values)
    patient, _ = alarm_story(values, **knob)
    assert patient <= usual
