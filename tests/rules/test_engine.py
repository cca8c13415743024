"""The engine's promises: any split of the stream says the same, a restore loses nothing, a backlog costs no more."""

from __future__ import annotations

import os
import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from citypulse.errors import BugError
from citypulse.ledger.packing import dump, load
from citypulse.model import Gap, GatewayHeard, Lane, Priority, Quality, ReadingBatch
from rules.fanout import SAMPLES_MAX, fan_out
from rules.watchdogs import watch
from tests.rules.world import MIN, S, World, limit, rule, said, sensor

MILL, HARBOUR, PH, GAS = "mill-underpass.depth", "harbour-road.depth", "mill-underpass.ph", "harbour-road.ch4"
NAMES = [MILL, HARBOUR, PH, GAS]
IS_INTERPRETED = bool(os.environ.get("NUMBA_DISABLE_JIT"))
EXAMPLES = 4 if IS_INTERPRETED else 150


SITE = "mill-underpass"
MEMBERS = ["depth", "class", "no-data"]
TWO = limit("red", "at_least", 2, on=60)
TEN = limit("yellow", "at_least", 10, 2, 60, 120)
ACID = limit("orange", "below", 6)


def small_city():
    return World(
        [sensor(MILL), sensor(PH), sensor(HARBOUR, gateway="gw-02"), sensor(GAS, gateway="gw-02")],
        [
            rule("depth", "threshold", [MILL, HARBOUR], TEN, limit("red", "at_least", 20, 2)),
            rule("ph", "threshold", [PH], ACID, limit("orange", "above", 9), accepts_suspect=True),
            rule("gas", "threshold", [GAS], limit("red", "at_least", 15, on=120), gap=Gap.RAISE),
            rule("rise", "rate", [MILL, HARBOUR], limit("orange", "at_least", 0.05, 0.01)),
            rule("stuck", "stuck", NAMES, limit("blue", "at_least", 300)),
            rule("often", "n_of_m", [GAS], limit("yellow", "at_least", 2), settings={"at_least": 9}),
            rule("near", "neighbours", [MILL, HARBOUR], limit("orange", "at_least", 2), settings={"at_least": 10}),
            rule("class", "water_class", [SITE], limit("yellow", "at_least", 5), sensors=[(PH, MILL)]),
            rule("both", "composite", [SITE], TWO, settings={"rules": MEMBERS}, sensors=[(PH, MILL)]),
            rule("no-data", "no_data", NAMES, settings={"after": 180}),
            rule("gw-silent", "gateway_silent", ["gw-01", "gw-02"], limit("yellow", "at_least", 300), sensors=[(), ()]),
        ],
    )  # fmt: skip


READINGS = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 1, 20, 30, 60, 120, 400]),  # seconds since the last message
        st.sampled_from(NAMES),
        st.sampled_from([0.0, 5.0, 8.0, 9.5, 10.0, 12.0, 19.0, 20.0, 25.0]),
        st.sampled_from([Quality.GOOD] * 7 + [Quality.SUSPECT, Quality.FAIL, Quality.MISSING]),
        st.sampled_from([Lane.LIVE] * 7 + [Lane.HISTORY, Lane.DUPLICATE, Lane.QUARANTINED]),
        st.integers(0, 50),  # seconds the reading was under way
        st.sampled_from([None] * 5 + [("gw-01", False), ("gw-01", True), ("gw-02", True), ("gw-02", False)]),
    ),
    min_size=1,
    max_size=80,
)


def stream(w, rows):
    """Return the rows as one batch and the gateways' news, live readings in event time per sensor."""
    received, newest, readings, news = 1_000_000, {}, [], []
    for wait, name, value, quality, lane, lag, gateway in rows:
        received += wait
        if gateway is not None:
            news.append((gateway[0], received * S, gateway[1]))
        t = received - lag
        if lane is Lane.LIVE:
            if t <= newest.get(name, 0):
                continue
            newest[name] = t
        readings.append((t, name, value, quality, lane, received))
    return w.batch(readings), news, received * S


def heard(news):
    return GatewayHeard(gateway=[n[0] for n in news], received_ms=[n[1] for n in news], is_offline=[n[2] for n in news])


def in_pieces(engine, batch, news, end_ms, cuts, *, swap=None):
    """Step the engine over the stream cut at `cuts`; `swap(engine)` may replace it between two steps."""
    out = []
    edges = sorted({0, len(batch), *(c % (len(batch) + 1) for c in cuts)})
    told = 0
    for a, b in pairwise(edges):
        last = b == len(batch)
        now_ms = end_ms if last else int(batch.received_ms[b - 1])
        upto = len(news) if last else sum(n[1] <= now_ms for n in news)
        out += engine.step(batch.take(slice(a, b)), now_ms, heard(news[told:upto]))
        told = upto
        if swap is not None:
            engine = swap(engine)
    if len(edges) == 1:
        out += engine.step(batch, end_ms, heard(news))
    return out


@settings(max_examples=EXAMPLES, deadline=None)
@given(READINGS, st.lists(st.integers(0, 100), max_size=8), st.integers(0, 1000))
def test_any_split_of_the_stream_says_the_same_in_the_same_order(rows, cuts, later_s):
    w = small_city()
    batch, news, end_ms = stream(w, rows)
    whole = in_pieces(w.fresh(), batch, news, end_ms + later_s * S, [])
    assert repr(in_pieces(w.fresh(), batch, news, end_ms + later_s * S, cuts)) == repr(whole)
    every = range(len(batch))
    assert repr(in_pieces(w.fresh(), batch, news, end_ms + later_s * S, every)) == repr(whole)


@settings(max_examples=EXAMPLES, deadline=None)
@given(READINGS, st.lists(st.integers(0, 100), max_size=4))
def test_a_restore_between_any_two_steps_changes_nothing(rows, cuts):
    w = small_city()
    batch, news, end_ms = stream(w, rows)

    def swap(engine):
        following = w.fresh()
        report = following.restore(engine.state())
        assert (report.closed, report.changed, report.fresh) == ((), (), 0)
        return following

    whole = in_pieces(w.fresh(), batch, news, end_ms + 900 * S, cuts)
    assert repr(in_pieces(w.fresh(), batch, news, end_ms + 900 * S, cuts, swap=swap)) == repr(whole)


def same_state(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same_state(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(same_state(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    return a == b


def test_a_restored_state_saves_as_the_same_state():
    w = small_city()
    rng = np.random.default_rng(7)
    w.run([(60 * k, NAMES[k % 4], float(rng.integers(0, 25))) for k in range(200)])
    state = w.engine.state()
    following = w.fresh()
    following.restore(state)
    assert same_state(following.state(), state)


def test_a_state_survives_being_packed_into_the_journal():
    w = small_city()
    rng = np.random.default_rng(7)
    w.run([(60 * k, NAMES[k % 4], float(rng.integers(0, 25))) for k in range(200)])
    following = w.fresh()
    following.restore(load(dump(w.engine.state())))
    assert same_state(following.state(), w.engine.state())


@pytest.mark.skipif(IS_INTERPRETED, reason="a batch of many slices takes minutes in plain Python")
def test_a_batch_of_many_slices_says_the_same_as_small_ones():
    w = small_city()
    rng = np.random.default_rng(3)
    n = 5 * SAMPLES_MAX
    batch = ReadingBatch.of(rng.integers(0, 4, n), 20 * S * np.arange(1, n + 1), rng.choice([1.0, 9.0, 12.0, 21.0], n))
    end_ms = int(batch.received_ms[-1])
    whole = w.fresh().step(batch, end_ms)
    assert len(whole) > 1000
    assert repr(in_pieces(w.fresh(), batch, [], end_ms, range(0, n, 999))) == repr(whole)


def test_warming_up_changes_nothing():
    w = small_city()
    w.run([(60 * k, NAMES[k % 4], 12.0) for k in range(40)])
    before = w.engine.state()
    w.engine.warm_up()
    assert same_state(w.engine.state(), before)


@pytest.mark.skipif(IS_INTERPRETED, reason="nothing is compiled")
def test_columns_that_are_read_only_or_strided_are_taken_without_compiling_again():
    w = small_city()
    batch = w.batch([(60 * k, NAMES[k % 4], 12.0) for k in range(40)])
    expected = repr(w.fresh().step(batch, 4000 * S))
    kinds = len(fan_out.signatures), len(watch.signatures)
    strided = batch.take(np.repeat(np.arange(40), 2)).take(slice(None, None, 2))
    frozen = batch.take(slice(None))
    for column in (frozen.sensor, frozen.time_ms, frozen.value, frozen.quality, frozen.lane, frozen.received_ms):
        column.flags.writeable = False
    assert repr(w.fresh().step(strided, 4000 * S)) == expected
    assert repr(w.fresh().step(frozen, 4000 * S)) == expected
    assert (len(fan_out.signatures), len(watch.signatures)) == kinds


# ── a reload with changed rules ─────────────────────────────────────────────────────────────────


def depth(*limits, name="depth", **kw):
    return rule(name, "threshold", [MILL, HARBOUR], *limits, **kw)


def reloaded(before, after, readings):
    w = World([sensor(MILL), sensor(HARBOUR)], before)
    w.run(readings)
    following = w.fresh(after)
    report = following.restore(w.engine.state())
    w.engine = following
    return w, report


def test_a_running_delay_goes_on_through_a_reload():
    yellow = limit("yellow", "at_least", 10, on=120)
    w, report = reloaded(
        [depth(yellow)], [depth(limit("red", "at_least", 40), yellow)], [(0, MILL, 12), (60, MILL, 12)]
    )
    assert report.changed == ()
    assert said(w.run([(120, MILL, 12)])) == [(120, "depth", "raise", "yellow")]


def test_deleting_a_rule_reports_its_active_alarms():
    _, report = reloaded(
        [depth(limit("red", "at_least", 10)), depth(limit("red", "at_least", 90), name="other")],
        [depth(limit("red", "at_least", 90), name="other")],
        [(0, MILL, 12)],
    )
    assert report.closed == (("depth", MILL),)
    assert (report.kept, report.fresh) == (2, 0)


def test_a_moved_limit_keeps_its_alarm_until_a_sample_is_good_by_the_new_one():
    w, report = reloaded([depth(limit("red", "at_least", 10))], [depth(limit("red", "at_least", 27))], [(0, MILL, 12)])
    assert (report.closed, report.changed) == ((), ())
    assert w.engine.active() == {("depth", MILL): Priority.P1}
    assert said(w.run([(60, MILL, 12)])) == [(60, "depth", "clear", None)]


def test_a_limit_that_is_gone_lowers_the_level_and_says_so():
    yellow, red = limit("yellow", "at_least", 10), limit("red", "at_least", 20)
    _, report = reloaded([depth(yellow, red)], [depth(yellow)], [(0, MILL, 30), (0, HARBOUR, 12)])
    assert report.changed == (("depth", MILL, Priority.P3),)


def test_a_new_sensor_gets_its_grace_after_a_reload():
    w = World([sensor(MILL)], [rule("no-data", "no_data", [MILL], settings={"after": 180})])
    w.run([(0, MILL, 1)])
    both = World(
        [sensor(MILL), sensor(HARBOUR)], [rule("no-data", "no_data", [MILL, HARBOUR], settings={"after": 180})]
    )
    report = both.engine.restore(w.engine.state())
    assert report.fresh == 1
    assert said(both.run([(100, MILL, 1)])) == []
    assert said(both.run([], now_s=290)) == [(280, "no-data", "raise", "yellow"), (280, "no-data", "raise", "yellow")]


def test_a_rule_that_applies_to_a_scope_twice_is_our_mistake():
    with pytest.raises(BugError, match="twice"):
        World([sensor(MILL), sensor(HARBOUR)], [depth(limit("red", "at_least", 10))] * 2)


# ── why ─────────────────────────────────────────────────────────────────────────────────────────


def test_why_shows_the_waiting_breach_with_its_timer_and_samples():
    w = World([sensor(MILL)], [rule("depth", "threshold", [MILL], limit("red", "at_least", 10, on=600))])
    w.run(w.series(MILL, [1, 12, 13]))
    why = w.engine.why("depth", MILL)
    assert (why.level, why.sight, why.feature.zh, why.last_ms) == (None, "good", "13 cm", 2 * MIN)
    (latch,) = why.latches
    assert (latch.state, latch.since_ms, latch.due_ms) == ("pending", MIN, 11 * MIN)
    assert why.samples == ((MIN, 12.0, "good"), (2 * MIN, 13.0, "good"))


def test_why_of_a_rule_that_does_not_apply_is_a_key_error():
    with pytest.raises(KeyError):
        small_city().engine.why("depth", PH)


# ── speed ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.skipif(IS_INTERPRETED, reason="speed is promised of the compiled kernels only")
def test_a_backlog_of_one_sensor_costs_no_more_per_reading_than_many_sensors():
    names = [f"site-{k:04d}.depth" for k in range(1000)]
    rules = [
        rule("depth", "threshold", names, TEN, limit("red", "at_least", 27, 3, 0, 600)),
        rule("rise", "rate", names, limit("orange", "at_least", 0.02)),
        rule("stuck", "stuck", names, limit("blue", "at_least", 86_400)),
        rule("no-data", "no_data", names, settings={"after": 180}),
    ]  # fmt: skip
    n = 200_000
    rng = np.random.default_rng(1)

    def cost_s(chosen):
        w = World([sensor(x) for x in names], rules)
        t = np.arange(n, dtype=np.int64) // len(set(chosen.tolist())) * 10 * S
        warm = ReadingBatch.of(chosen[:100], t[:100], rng.random(100))
        w.engine.step(warm, int(t[99]))
        batch = ReadingBatch.of(chosen[100:], t[100:], rng.random(n - 100))
        start = time.perf_counter()
        w.engine.step(batch, int(t[-1]))
        return time.perf_counter() - start

    many = min(cost_s(np.arange(n) % 1000) for _ in range(3))
    one = min(cost_s(np.zeros(n, np.int64)) for _ in range(3))
    assert one < 3 * many
