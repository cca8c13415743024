"""The battery every detector passes: fires on its own fault, silent on healthy data, the same however it is fed."""

from __future__ import annotations

import numpy as np
import pytest

from citypulse.model import Lane, Quality, ReadingBatch, TransitionKind
from rules.detectors import DETECTORS
from tests.rules.world import S, World, limit, rule, sensor

SEED = 20261122


def build(name: str) -> World:
    detector = DETECTORS[name]
    example = detector.example
    assert example is not None
    sites = sorted({s.split(".")[0] for s in example.sensors})
    scope = detector.settings.scope
    scopes = {"sensor": example.sensors[:1], "site": sites[:1], "gateway": ["gw-01"]}[scope]
    if name == "neighbours":
        scopes = list(example.sensors)
    inputs = [tuple(example.sensors)] if scope == "site" else [() if scope == "gateway" else (s,) for s in scopes]
    rules = [
        rule(
            "it",
            name,
            scopes,
            *(limit("yellow", side, value) for side, value in example.limits),
            settings=dict(example.settings),
            sensors=inputs,
        )
    ]
    for other, kind, settings, limits in example.others:
        own = [s for s in example.sensors if not rules[1:] or s not in rules[1].scopes]
        bounds = [limit("yellow", side, value) for side, value in limits]
        rules.append(rule(other, kind, own[:1], *bounds, settings=dict(settings)))
    cadence_s = example.cadence_s
    return World([sensor(s, cadence_s=cadence_s) for s in example.sensors], rules, silent_after_s=3 * cadence_s)


def raised(transitions):
    return [t for t in transitions if t.rule == "it" and t.kind is TransitionKind.RAISE]


def feed(engine, batch, end_ms, *, pieces=1):
    out = []
    for part in np.array_split(np.arange(len(batch)), pieces):
        now_ms = int(batch.received_ms[part[-1]]) if len(part) else 0
        out += engine.step(batch.take(part), now_ms)
    return out + engine.step(ReadingBatch.empty(), end_ms)


VALUED = [name for name, detector in DETECTORS.items() if not detector.is_watchdog]


@pytest.mark.parametrize("name", DETECTORS)
def test_it_has_an_example_of_its_own_fault(name):
    assert DETECTORS[name].example is not None
    assert DETECTORS[name].name == name


@pytest.mark.parametrize("name", DETECTORS)
def test_it_fires_on_its_own_fault_with_default_parameters(name):
    w, example = build(name), DETECTORS[name].example
    out = raised(feed(w.engine, w.batch(example.faulty(np.random.default_rng(SEED))), round(example.end_s * S)))
    assert out
    for transition in out:
        assert transition.because.zh
        assert "rules/packs/test.yaml:7" in transition.because.en


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("seed", [SEED, SEED + 1, SEED + 2])
def test_it_is_silent_on_healthy_data(name, seed):
    w, example = build(name), DETECTORS[name].example
    out = feed(w.engine, w.batch(example.healthy(np.random.default_rng(seed))), round((example.end_s + 60) * S))
    assert raised(out) == []


@pytest.mark.parametrize("name", DETECTORS)
def test_it_says_the_same_however_it_is_fed_and_restored(name):
    w, example = build(name), DETECTORS[name].example
    batch = w.batch(example.faulty(np.random.default_rng(SEED)))
    end_ms = round(example.end_s * S)
    whole = feed(w.fresh(), batch, end_ms)
    assert repr(feed(w.fresh(), batch, end_ms, pieces=37)) == repr(whole)
    half = len(batch) // 2
    first, second = w.fresh(), w.fresh()
    out = first.step(batch.take(slice(0, half)), int(batch.received_ms[half - 1]))
    second.restore(first.state())
    out += second.step(batch.take(slice(half, None)), int(batch.received_ms[-1]))
    out += second.step(ReadingBatch.empty(), end_ms)
    assert repr(out) == repr(whole)


@pytest.mark.parametrize("name", VALUED)  # a watchdog does not look at values
def test_bad_late_and_repeated_readings_never_raise_and_teach_it_nothing(name):
    """Unusable readings between the good ones change no live transition, except what data loss itself says."""
    w, example = build(name), DETECTORS[name].example
    rng = np.random.default_rng(SEED)
    mixed = []
    for k, (t, s, x) in enumerate(example.healthy(rng)):
        mixed.append((t, s, x))
        if k % 7 == 3:
            mixed.append((t + 1, s, 1e6, Quality.GOOD, Lane.QUARANTINED, t))
            mixed.append((t, s, -1e6, Quality.GOOD, Lane.DUPLICATE, t))
    out = feed(w.engine, w.batch(mixed), round(example.end_s * S))
    assert raised(out) == []


@pytest.mark.parametrize("name", VALUED)  # silence is what a watchdog is about
def test_losing_all_data_in_the_middle_of_the_fault_never_clears(name):
    w, example = build(name), DETECTORS[name].example
    readings = example.faulty(np.random.default_rng(SEED))
    out = feed(w.engine, w.batch(readings), round(example.end_s * S))
    first = raised(out)[0]
    cut = next(k for k, r in enumerate(readings) if r[0] * S > first.event_ms)
    again = World(w.sensors, w.rules)
    head = [r for r in readings[:cut] if r[0] * S <= first.event_ms]
    rubbish = [(t, s, x, Quality.FAIL) for t, s, x in readings[cut:]]
    before = again.run(head)
    after = again.run(rubbish) if rubbish else []
    active = again.engine.active()
    assert ("it", first.scope) in active
    assert not [
        t for t in before + after if t.rule == "it" and t.scope == first.scope and t.kind is TransitionKind.CLEAR
    ]
