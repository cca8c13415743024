"""What the single detectors say at their edges: equality, spikes, ice, lost neighbours, missing items."""

from __future__ import annotations

import numpy as np
import pytest

from citypulse.model import Quality
from rules.detectors.cumulative_rate import grade_of
from rules.detectors.water_class import AT_LEAST, AT_MOST, BLACK_ODOROUS
from rules.neighbourhood import City
from tests.rules.world import S, World, limit, rule, said, sensor

MILL = "mill-river.depth"
DAY = 86_400


def one(detector, *limits, settings=None, name=MILL, cadence_s=60, **kw):
    return World([sensor(name, cadence_s=cadence_s)], [rule("it", detector, [name], *limits, settings=settings, **kw)])


# ── rate ────────────────────────────────────────────────────────────────────────────────────────


def test_one_spike_is_no_flood():
    w = one("rate", limit("red", "at_least", 1 / 60))
    assert w.run(w.series(MILL, [3, 3, 3, 3, 90, 3, 3, 3, 3, 3])) == []


def test_two_points_are_no_slope_unless_the_rule_says_so():
    w = one("rate", limit("red", "at_least", 1 / 60))
    assert w.run(w.series(MILL, [3, 9])) == []
    w = one("rate", limit("red", "at_least", 1 / 60), settings={"min_points": 2})
    assert said(w.run(w.series(MILL, [3, 9]))) == [(60, "it", "raise", "red")]


def test_points_older_than_the_window_do_not_count():
    w = one("rate", limit("red", "at_least", 1 / 60), settings={"window": 300})
    assert w.run([(0, MILL, 3), (60, MILL, 3), (1000, MILL, 50), (1060, MILL, 60)]) == []


def test_the_slope_is_the_median_of_all_pairs():
    rng = np.random.default_rng(5)
    values = np.cumsum(rng.normal(0, 1, 40))
    w = one("rate", limit("red", "at_least", 1e-9), limit("blue", "at_most", -1e-9))
    w.run(w.series(MILL, values))
    times = np.arange(40) * 60.0
    t, v = times[-11:], values[-11:]  # a window of 600 s, both ends included
    pairs = [(v[j] - v[i]) / (t[j] - t[i]) for j in range(11) for i in range(j)]
    assert w.engine.why("it", MILL).last_x == pytest.approx(np.median(pairs), rel=1e-12)


def test_a_falling_value_is_caught_from_below():
    w = one("rate", limit("red", "at_most", -1 / 60))
    assert said(w.run(w.series(MILL, [30, 27, 24])))[0] == (120, "it", "raise", "red")


# ── stuck ───────────────────────────────────────────────────────────────────────────────────────


def test_exactly_equal_values_are_stuck_with_a_tolerance_of_zero():
    w = one("stuck", limit("blue", "at_least", 600))
    assert said(w.run(w.series(MILL, [7.1] * 20))) == [(600, "it", "raise", "blue")]


def test_a_creep_within_the_tolerance_is_stuck_and_beyond_it_is_not():
    steps = [7 + 0.01 * k for k in range(20)]
    w = one("stuck", limit("blue", "at_least", 600), settings={"tolerance": 0.5})
    assert len(w.run(w.series(MILL, steps))) == 1
    w = one("stuck", limit("blue", "at_least", 600), settings={"tolerance": 0.05})
    assert w.run(w.series(MILL, steps)) == []


def test_water_at_the_ice_point_and_a_dry_gauge_may_stand_still():
    w = one("stuck", limit("blue", "at_least", 600), settings={"unless_at_or_below": 0.3})
    assert w.run(w.series(MILL, [0.1] * 60)) == []
    assert said(w.run(w.series(MILL, [5.0] * 12, start_s=3600))) == [(4200, "it", "raise", "blue")]


def test_two_equal_readings_far_apart_are_no_evidence():
    w = one("stuck", limit("blue", "at_least", 600))
    assert w.run([(0, MILL, 5), (7200, MILL, 5), (14_400, MILL, 5)]) == []


# ── counting ────────────────────────────────────────────────────────────────────────────────────


def test_three_of_the_last_five():
    w = one("n_of_m", limit("yellow", "at_least", 3), settings={"at_least": 10})
    assert said(w.run(w.series(MILL, [10, 1, 10, 1, 10, 1, 1, 1]))) == [
        (240, "it", "raise", "yellow"),
        (300, "it", "clear", None),
    ]


def test_samples_older_than_the_window_do_not_count():
    w = one("n_of_m", limit("yellow", "at_least", 3), settings={"at_least": 10, "window": 100})
    assert w.run(w.series(MILL, [10, 10, 10, 10])) == []


def test_a_household_without_water_is_not_a_meter_without_signal():
    w = one("absence", limit("red", "at_most", 0.01), cadence_s=300)
    assert w.run(w.series(MILL, [100.0] * 60, every_s=300)) == []  # five hours: says nothing yet
    assert said(w.run(w.series(MILL, [100.0] * 90, every_s=300, start_s=18_000)))[0][2:] == ("raise", "red")
    w = one("absence", limit("red", "at_most", 0.01), cadence_s=300)
    w.run(w.series(MILL, [100.0] * 30, every_s=300))
    assert w.run(w.series(MILL, [100.0] * 30, every_s=300, start_s=2 * DAY)) == []


# ── forecast ────────────────────────────────────────────────────────────────────────────────────


def test_the_forecast_is_the_time_left_at_the_present_speed():
    w = one("forecast", limit("yellow", "at_most", 600), settings={"reaches": 27})
    out = w.run(w.series(MILL, range(0, 40, 2)))
    assert said(out) == [(240, "it", "raise", "yellow")]  # 8 cm, 2 cm/min: 27 cm in 9.5 min
    assert out[0].value == pytest.approx(570)


def test_what_recedes_never_arrives():
    w = one("forecast", limit("yellow", "at_most", 600), settings={"reaches": 27})
    assert w.run(w.series(MILL, range(26, 0, -1))) == []


# ── settlement ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("total", "rate", "grade"),
    [
        (0.69, 0.84, 0), (0.7, 0.7, 1), (0.85, 0.0, 1), (0.0, 0.85, 1), (0.85, 0.85, 2),
        (1.0, 0.0, 2), (0.0, 1.0, 2), (1.0, 0.99, 2), (1.0, 1.0, 3), (0.69, 0.69, 0),
    ],
)  # fmt: skip
def test_double_control_grades(total, rate, grade):
    assert grade_of(total, rate) == grade


def test_one_fast_day_is_not_two_and_a_missing_day_breaks_the_run():
    limits = [limit("orange", "at_least", 2)]
    start = 16 * 3600  # midnight in Hangzhou
    fast = [0, 0, 4, 8, 8, 8]

    def days(values):
        return [
            (start + d * DAY + h * 3600, MILL, v) for d, v in enumerate(values) for h in (6, 12, 18) if v is not None
        ]

    w = one("cumulative_rate", *limits, cadence_s=3600 * 6)
    assert said(w.run(days(fast)))[0] == (start + 4 * DAY + 6 * 3600, "it", "raise", "orange")
    assert one("cumulative_rate", *limits, cadence_s=3600 * 6).run(days([0, 0, 4, 4, 8, 8])) == []
    assert one("cumulative_rate", *limits, cadence_s=3600 * 6).run(days([0, 0, 4, None, 12, 12])) == []


# ── water class ─────────────────────────────────────────────────────────────────────────────────


def water(*quantities, detector="water_class", settings=None, at_least=1):
    names = [f"mill-river.{q}" for q in quantities]
    limits = [limit("blue", "at_least", at_least)]
    return World(
        [sensor(n, cadence_s=3600) for n in names],
        [rule("it", detector, ["mill-river"], *limits, settings=settings, sensors=[tuple(names)])],
    )


@pytest.mark.parametrize("quantity", [*AT_MOST, *AT_LEAST])
def test_equality_with_a_limit_is_in_the_class(quantity):
    limits = AT_MOST.get(quantity) or AT_LEAST[quantity]
    worse = 1e-6 if quantity in AT_MOST else -1e-6
    for bound in limits:
        first = limits.index(bound) + 1  # where two classes share a limit the better one has it
        for value, expected in ((bound, first), (bound + worse, len(limits) - limits[::-1].index(bound) + 1)):
            w = water(quantity)
            w.run([(0, f"mill-river.{quantity}", value)])
            assert w.engine.why("it", "mill-river").last_x == expected


def test_the_worst_item_decides_and_is_named_by_its_class():
    w = water("do", "nh3n", "ph", at_least=5)
    out = w.run([(0, "mill-river.do", 8), (1, "mill-river.nh3n", 1.9), (2, "mill-river.ph", 7)])
    assert said(out) == [(1, "it", "raise", "blue")]
    assert out[0].because.zh.startswith("水质类别 V 类 ≥ V 类(蓝)")


def test_ph_outside_six_to_nine_is_worse_than_five():
    for value, expected in ((6, 1), (9, 1), (5.99, 6), (9.01, 6)):
        w = water("ph")
        w.run([(0, "mill-river.ph", value)])
        assert w.engine.why("it", "mill-river").last_x == expected


def test_a_lost_item_that_was_bad_keeps_the_class_and_one_that_was_good_drops_out():
    w = water("do", "nh3n", at_least=5)
    w.run([(0, "mill-river.do", 8), (1, "mill-river.nh3n", 1.9)])
    lost = [(3600, "mill-river.nh3n", 1.0, Quality.FAIL), (3601, "mill-river.do", 8), (7200, "mill-river.do", 8)]
    assert w.run(lost) == []
    assert ("it", "mill-river") in w.engine.active()
    assert said(w.run([(7300, "mill-river.nh3n", 0.4)])) == [(7300, "it", "clear", None)]
    w = water("do", "nh3n", at_least=5)
    w.run([(0, "mill-river.do", 1), (1, "mill-river.nh3n", 0.1), (2, "mill-river.nh3n", 0.1, Quality.FAIL)])
    assert said(w.run([(3600, "mill-river.do", 8)])) == [(3600, "it", "clear", None)]


@pytest.mark.parametrize("quantity", BLACK_ODOROUS)
def test_light_begins_with_its_limit_and_heavy_beyond_its_own(quantity):
    light, heavy, is_small_bad = BLACK_ODOROUS[quantity]
    worse = -1e-6 if is_small_bad else 1e-6
    for value, expected in ((light - worse, 0), (light, 1), (heavy, 1), (heavy + worse, 2)):
        w = water(quantity, detector="black_odorous")
        w.run([(0, f"mill-river.{quantity}", value)])
        assert w.engine.why("it", "mill-river").last_x == expected


# ── places ──────────────────────────────────────────────────────────────────────────────────────


def gas(*names, settings=None):
    wells = list(names)
    return World(
        [sensor(n) for n in wells],
        [
            rule(
                "it",
                "neighbours",
                [wells[0]],
                limit("orange", "at_least", 2),
                settings={"at_least": 1, **(settings or {})},
            )
        ],
    )


def test_a_silent_neighbour_does_not_clear():
    a, b = "well-01.ch4", "well-02.ch4"
    w = gas(a, b)
    out = w.run([(0, b, 2), (60, a, 2)])
    assert said(out) == [(60, "it", "raise", "orange")]
    quiet = [(t, a, 2) for t in range(120, 3000, 60)]
    assert w.run(quiet) == []
    assert said(w.run([(3000, b, 0)])) == [(3000, "it", "clear", None)]


def test_while_this_one_cannot_be_seen_its_neighbours_clear_nothing():
    a, b = "well-01.ch4", "well-02.ch4"
    w = gas(a, b)
    w.run([(0, b, 2), (60, a, 2)])
    out = w.run([(120, a, 0, Quality.FAIL), *((t, b, 0) for t in range(180, 6000, 60))])
    assert said(out) == [(120, "it", "data_loss", "orange")]


def test_near_is_measured_over_the_ground():
    w = World([sensor("a.ch4"), sensor("b.ch4"), sensor("c.ch4")], [])
    from dataclasses import replace

    places = {"a": (30.0, 120.0), "b": (30.0, 120.001), "c": (30.002, 120.0)}  # b 96 m east, c 222 m north
    sites = {
        s: replace(w.sites[s], lat=lat, lon=lon, upstream={"b": ("a",), "c": ("b",)}.get(s, ()))
        for s, (lat, lon) in places.items()
    }
    city = City({s.id: s for s in w.sensors}, sites)
    assert [s.id for _, s in city.near("a", "ch4", 100)] == ["a.ch4", "b.ch4"]
    assert [s.id for _, s in city.near("a", "ch4", 250)] == ["a.ch4", "b.ch4", "c.ch4"]
    assert [s.id for s in city.along("c", "ch4", 1, upstream=True)] == ["b.ch4"]
    assert [s.id for s in city.along("a", "ch4", 5, upstream=False)] == ["b.ch4", "c.ch4"]


def test_a_lost_rain_gauge_hides_nothing():
    turb, rain = "mill-river.turb", "mill-roof.rain"
    w = World(
        [sensor(turb), sensor(rain)],
        [rule("it", "rain_context", [turb], limit("yellow", "at_least", 100), settings={"hold": 3600})],
    )
    assert w.run([(0, rain, 20), (60, turb, 500)]) == []
    assert said(w.run([(70, rain, 20, Quality.FAIL), (3600, turb, 500), (3660, turb, 500)])) == [
        (3660, "it", "raise", "yellow")
    ]


def test_rain_may_make_a_value_count_for_more():
    turb, rain = "mill-river.turb", "mill-roof.rain"
    settings = {"effect": "scale", "factor": 2}
    w = World(
        [sensor(turb), sensor(rain)],
        [rule("it", "rain_context", [turb], limit("yellow", "at_least", 100), settings=settings)],
    )
    assert said(w.run([(0, turb, 60), (30, rain, 20), (60, turb, 60)])) == [(60, "it", "raise", "yellow")]


# ── composite ───────────────────────────────────────────────────────────────────────────────────

DO, TURB = "mill-river.do", "mill-river.turb"
BOTH = {"rules": ["low", "cloudy"]}


def pair(at_least, **kw):
    red = limit("red", "at_least", at_least, **kw)
    return World(
        [sensor(DO), sensor(TURB)],
        [
            rule("low", "threshold", [DO], limit("yellow", "below", 3)),
            rule("cloudy", "threshold", [TURB], limit("yellow", "at_least", 100)),
            rule("both", "composite", ["mill-river"], red, settings=BOTH, sensors=[(DO, TURB)]),
        ],
    )  # fmt: skip


def test_all_of_two_rules_is_two_and_any_is_one():
    readings = [(0, DO, 2), (60, TURB, 200), (120, DO, 8)]
    assert said(pair(2).run(readings)) == [
        (0, "low", "raise", "yellow"),
        (60, "cloudy", "raise", "yellow"),
        (60, "both", "raise", "red"),
        (120, "low", "clear", None),
        (120, "both", "clear", None),
    ]
    assert (0, "both", "raise", "red") in said(pair(1).run(readings))


def test_a_composite_with_a_delay_is_judged_at_every_sample_of_its_members():
    w = pair(2, on=120)
    out = w.run([(0, DO, 2), (0, TURB, 200), (60, DO, 2), (120, DO, 2)])
    assert said(out)[-1] == (120, "both", "raise", "red")


def test_a_member_that_cannot_see_never_helps_to_clear():
    w = pair(1)
    out = w.run([(0, DO, 2), (60, TURB, 10, Quality.FAIL), (120, DO, 8), (180, DO, 8)])
    assert "clear" not in [k for _, r, k, _ in said(out) if r == "both"]
    assert (60, "both", "data_loss", "red") in said(out)
    assert said(w.run([(240, TURB, 10)]))[-1] == (240, "both", "clear", None)


def test_several_deadlines_and_readings_of_many_sites_do_not_mix():
    names = [f"site-{k}.do" for k in range(5)]
    w = World([sensor(n) for n in names], [rule("low", "threshold", names, limit("red", "below", 3))])
    out = w.run([(k, n, 2 if k % 2 else 8) for k, n in enumerate(names)])
    assert [(t.scope, t.event_ms) for t in out] == [("site-1.do", S), ("site-3.do", 3 * S)]
