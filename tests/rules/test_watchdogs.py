"""The watchdogs: silence is an alarm of its own, told once per cause, and never blamed on the wrong one."""

from __future__ import annotations

from citypulse.model import GatewayHeard
from tests.rules.world import S, World, limit, rule, said, sensor

MILL, HARBOUR = "mill-underpass.depth", "harbour-road.depth"
PH = "mill-underpass.ph"


def quiet(*scopes, after=180):
    return rule("no-data", "no_data", scopes, settings={"after": after})


def silent(*gateways, after=300):
    return rule(
        "gateway-silent", "gateway_silent", gateways, limit("orange", "at_least", after), sensors=[()] * len(gateways)
    )


def test_a_sensor_not_heard_until_its_deadline_raises_at_the_deadline_and_clears_when_heard():
    w = World([sensor(MILL)], [quiet(MILL)])
    w.run([(0, MILL, 1)])
    assert w.run([], now_s=179.999) == []
    (up,) = w.run([], now_s=500)
    assert (up.kind.value, up.event_ms, up.received_ms, up.breach_ms) == ("raise", 180 * S, 180 * S, 0)
    assert up.because.zh.startswith("无可用数据 3 min ≥ 3 min(黄)")
    (down,) = w.run([(600, MILL, 1)])
    assert (down.kind.value, down.event_ms) == ("clear", 600 * S)
    assert "10 min" in down.because.en


def test_a_sensor_that_was_never_heard_is_missed_too():
    w = World([sensor(MILL)], [quiet(MILL)])
    assert w.run([], now_s=1000) == []
    assert said(w.run([], now_s=1180)) == [(1180, "no-data", "raise", "yellow")]


def test_rubbish_is_silence():
    from citypulse.model import Lane, Quality

    w = World([sensor(MILL)], [quiet(MILL)])
    w.run([(0, MILL, 1)])
    rubbish = [
        (60 * k, MILL, 1, q, lane)
        for k, (q, lane) in enumerate([(Quality.FAIL, Lane.LIVE)] * 2 + [(Quality.GOOD, Lane.HISTORY)] * 2)
    ]
    assert said(w.run(rubbish, now_s=180)) == [(180, "no-data", "raise", "yellow")]


def test_deadlines_and_readings_come_in_the_order_of_receive_time():
    w = World(
        [sensor(MILL), sensor(HARBOUR)],
        [quiet(MILL, HARBOUR), rule("depth", "threshold", [HARBOUR], limit("red", "at_least", 27))],
    )
    readings = [(0, MILL, 1), (0, HARBOUR, 1), (100, HARBOUR, 1), (170, HARBOUR, 30), (190, HARBOUR, 1), (200, MILL, 1)]
    assert said(w.run(readings)) == [
        (170, "depth", "raise", "red"),
        (180, "no-data", "raise", "yellow"),
        (190, "depth", "clear", None),
        (200, "no-data", "clear", None),
    ]


def test_an_active_alarm_of_a_sensor_that_went_quiet_is_stale_not_recovered():
    w = World([sensor(MILL)], [quiet(MILL), rule("depth", "threshold", [MILL], limit("red", "at_least", 27, off=120))])
    w.run([(0, MILL, 30), (60, MILL, 1)])
    assert said(w.run([], now_s=900)) == [(240, "no-data", "raise", "yellow"), (240, "depth", "data_loss", "red")]
    out = w.run([(960, MILL, 1), (1020, MILL, 1), (1080, MILL, 1)])
    assert said(out) == [
        (960, "no-data", "clear", None),
        (960, "depth", "data_back", "red"),
        (1080, "depth", "clear", None),
    ]


def test_a_gas_probe_that_dies_while_the_breach_is_waiting_raises():
    from citypulse.model import Gap

    w = World(
        [sensor(MILL)],
        [quiet(MILL), rule("gas", "threshold", [MILL], limit("red", "at_least", 1, on=300), gap=Gap.RAISE)],
    )
    w.run([(0, MILL, 0.1), (60, MILL, 2)])
    assert said(w.run([], now_s=900)) == [
        (240, "no-data", "raise", "yellow"),
        (240, "gas", "raise", "red"),
        (240, "gas", "data_loss", "red"),
    ]


def test_one_silent_gateway_is_one_alarm_and_its_sensors_get_fresh_grace_afterwards():
    depth = rule("depth", "threshold", [MILL], limit("red", "at_least", 27))
    w = World([sensor(MILL), sensor(PH)], [quiet(MILL, PH), silent("gw-01"), depth])
    w.run([(0, MILL, 30), (10, PH, 7)])
    out = w.run([], now_s=4000)
    assert said(out) == [(180, "depth", "data_loss", "red"), (310, "gateway-silent", "raise", "orange")]
    out = w.run([(5000, PH, 7)])
    assert said(out) == [(5000, "gateway-silent", "clear", None)]
    assert w.run([(5100, PH, 7), (5170, PH, 7)], now_s=5179) == []
    assert said(w.run([(5179.5, PH, 7)], now_s=5200)) == [(5180, "no-data", "raise", "yellow")]


def test_the_stale_mark_names_the_silent_gateway_as_its_cause():
    depth = rule("depth", "threshold", [MILL], limit("red", "at_least", 27))
    w = World([sensor(MILL)], [quiet(MILL, after=1000), silent("gw-01"), depth])
    w.run([(0, MILL, 30)])
    out = w.run([], now_s=400)
    assert said(out) == [(300, "gateway-silent", "raise", "orange"), (300, "depth", "data_loss", "red")]
    assert out[1].parent == "gateway-silent|gw-01"


def test_a_dead_sensor_behind_a_living_gateway_is_its_own_alarm():
    w = World([sensor(MILL), sensor(PH)], [quiet(MILL, PH), silent("gw-01")])
    w.run([(0, MILL, 1)])
    out = w.run([(60 * k + 30, PH, 7) for k in range(10)])
    assert said(out) == [(180, "no-data", "raise", "yellow")]


def test_a_gateway_is_heard_by_any_message():
    w = World([sensor(MILL)], [silent("gw-01")])
    w.run([(0, MILL, 1)])
    heard = GatewayHeard(gateway=["gw-01", "gw-99"], received_ms=[200 * S, 210 * S], is_offline=[False, False])
    assert w.engine.step(w.batch([]), 400 * S, heard) == []
    assert said(w.engine.step(w.batch([]), 600 * S)) == [(500, "gateway-silent", "raise", "orange")]


def test_a_gateway_that_said_goodbye_gets_a_short_hold_down():
    w = World([sensor(MILL)], [silent("gw-01")])
    w.run([(0, MILL, 1)])
    goodbye = GatewayHeard(gateway=["gw-01"], received_ms=[10 * S], is_offline=[True])
    assert w.engine.step(w.batch([]), 39 * S, goodbye) == []
    out = w.engine.step(w.batch([]), 41 * S)
    assert said(out) == [(40, "gateway-silent", "raise", "orange")]
    assert out[0].because.en.startswith("gateway silent for 40 s after it said goodbye (orange)")


def test_a_goodbye_followed_by_a_birth_in_time_is_nothing():
    w = World([sensor(MILL)], [silent("gw-01")])
    w.run([(0, MILL, 1)])
    news = GatewayHeard(gateway=["gw-01", "gw-01"], received_ms=[10 * S, 20 * S], is_offline=[True, False])
    assert w.engine.step(w.batch([]), 100 * S, news) == []


def test_our_own_downtime_is_not_the_sensors_silence():
    w = World([sensor(MILL)], [quiet(MILL), silent("gw-01")])
    w.run([(0, MILL, 1)])
    w.engine.resume(3600 * S)
    assert w.run([], now_s=3600 + 179) == []
    assert said(w.run([], now_s=3600 + 400)) == [(3900, "gateway-silent", "raise", "orange")]


def test_a_thousand_sensors_failing_at_once_are_told_in_the_order_of_their_deadlines():
    names = [f"site-{k:04d}.depth" for k in range(1000)]
    w = World([sensor(n) for n in names], [quiet(*names)])
    w.run([(k % 100, n, 1) for k, n in sorted(enumerate(names), key=lambda p: p[0] % 100)])
    out = w.run([], now_s=900)
    assert len(out) == 1000
    assert [t.event_ms for t in out] == sorted(t.event_ms for t in out)
    assert {t.event_ms for t in out} == {(180 + k) * S for k in range(100)}
