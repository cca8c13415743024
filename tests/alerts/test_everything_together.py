"""Mutes, windows, shelves, causes that hide, chatter, storms and drills at once, with restarts between: one machine.

Real intake, engine, desk, ledger and deliverer. After each step the invariants of the whole loop hold, nothing hides
behind what does not stand, and every alarm's peak is the worst its sensor has said; at the end an undisturbed life of
the same history has left the same log.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from citypulse.config import load_city
from citypulse.model import CityConfig, Condition
from citypulse.vocabulary import extensions
from tests.alerts.test_invariants_whole_loop import ASK, DEPTH, asked, check
from tests.support.crash_city import (
    BASE_MS,
    DUTY,
    LEAD,
    SITES,
    Ask,
    Life,
    Moment,
    Outside,
    _message,
    config_text,
    differences,
    standing,
)

DEEP = """
  - id: deep
    name: {zh: 深水, en: Deep water}
    applies_to: {sensor: u-000001.depth}
    source: test
    threshold: {}
    limits: [{level: orange, at_least: 35 cm, deadband: 3 cm, off_delay: 10 s}]
"""
TERMS = """
alarms:
  chatter: {counts: [{raises: 2, within: 1 min}], calm: 2 min}
  shelf: {warn: 2 min}
  levels:
    yellow: {realarm: {after: 5 min, at_most: 2}, shelf: {longest: 30 min}}
  rules:
    deep: {shelf: {longest: never}}
"""


def whole_config() -> str:
    """The town of the crash tests; deep water at the first site hides the area's others."""
    text = config_text()
    order = "    order: {template: pump"
    assert order in text
    hidden = text.replace(order, f"    inhibited_by: [{{rule: deep, scope: area}}]\n{order}", 1)
    return f"{hidden}{DEEP}{TERMS}"


class Town(RuleBasedStateMachine):
    """One history, lived on with restarts wherever the machine puts them."""

    config: CityConfig | None = None

    @initialize()
    def begin(self) -> None:
        memory = Path("/dev/shm")
        self.made = TemporaryDirectory(dir=memory if memory.is_dir() else None)
        self.folder = Path(self.made.name)
        if Town.config is None:
            (self.folder / "city.yaml").write_text(whole_config(), encoding="utf-8")
            Town.config = load_city(self.folder / "city.yaml", extensions())
        self.moments: list[Moment] = []
        self.outside = Outside({})
        self.life = self._open("shaken", self.outside)
        self.life.live(0)

    def _open(self, name: str, outside: Outside) -> Life:
        assert Town.config is not None
        return Life(self.folder / name, Town.config, self.moments, outside, lambda _name: None)

    def _step(self, step_s: int, depths: tuple[float, ...], *asks: Ask) -> None:
        at_s = self.moments[-1].at_s + step_s if self.moments else 0
        number = len(self.moments)
        self.moments.append(Moment(at_s, depths, asks))
        self.outside.waiting[number] = _message(number, self.moments[-1])
        self.life._moment(number)

    @property
    def now_ms(self) -> int:
        return BASE_MS + (self.moments[-1].at_s * 1000 if self.moments else 0)

    @property
    def depths(self) -> tuple[float, ...]:
        return self.moments[-1].depths if self.moments else (0.0,) * SITES

    # ── what happens ────────────────────────────────────────────────────────────────────────────

    @rule(step_s=st.sampled_from([10, 20, 60, 600]), depths=st.tuples(*[DEPTH] * SITES), asks=st.lists(ASK, max_size=2))
    def lives(self, step_s: int, depths: tuple[float, ...], asks: list[Ask]) -> None:
        self._step(step_s, depths, *asks)

    @rule(site=st.integers(0, SITES - 1))
    def flutters(self, site: int) -> None:
        for depth in (12.0, 0.0, 0.0, 12.0, 0.0, 0.0):
            self._step(10, tuple(depth if k == site else d for k, d in enumerate(self.depths)))

    @rule(rule_=st.sampled_from(["FREQ=DAILY", "FREQ=WEEKLY;BYDAY=SU"]), minutes=st.sampled_from([1, 12, 45]))
    def plans_works(self, rule_: str, minutes: int) -> None:
        data = {"reason": "works", "starts_ms": self.now_ms, "ends_ms": self.now_ms + 9 * 86_400_000, "rrule": rule_,
                "duration_s": minutes * 60, "sites": ["u-000002", "u-000003"], "at_most": "red"}  # fmt: skip
        self._step(10, self.depths, Ask("mute.window", LEAD, "", data))

    @rule(site=st.integers(1, SITES), is_back=st.booleans(), minutes=st.sampled_from([None, 1, 30]))
    def points_rest(self, site: int, is_back: bool, minutes: int | None) -> None:
        data: dict[str, Any] = {"reason": "sensor swapped"}
        if minutes is not None:
            data["until_ms"] = self.now_ms + minutes * 60_000 + 10_000
        verb = "alarm.in_service" if is_back else "alarm.out_of_service"
        self._step(10, self.depths, Ask(verb, LEAD, f"point:depth|u-{site:06d}.depth", {} if is_back else data))

    @rule(site=st.integers(1, SITES), level=st.sampled_from(["red", "yellow"]))
    def drills(self, site: int, level: str) -> None:
        data = {"reason": "muster", "sites": [f"u-{site:06d}"], "level": level, "minutes": 5}
        self._step(10, self.depths, Ask("exercise.start", LEAD, "", data))

    @precondition(lambda self: self.moments)
    @rule()
    def restarts(self) -> None:
        self.life.end()
        self.life = self._open("shaken", self.outside)
        self.life.live(len(self.moments))

    # ── what holds ──────────────────────────────────────────────────────────────────────────────

    @invariant()
    def the_whole_loop_keeps_its_invariants(self) -> None:
        if self.moments:
            check(self.life)

    @invariant()
    def nothing_hides_behind_what_does_not_stand(self) -> None:
        if not self.moments:
            return
        ledger = self.life.ledger
        alarms = ledger.alarms(state="retained", limit=1_000)
        active = {a.dedup_key for a in alarms if a.condition is Condition.ACTIVE}
        mutes = {m.id: m for m in ledger.mutes(limit=1_000)}
        for alarm in alarms:
            for cause in alarm.suppressed_by:
                if cause in mutes:
                    until_ms = mutes[cause].open_until_ms
                    assert until_ms is not None
                    assert self.now_ms < until_ms <= mutes[cause].ends_ms  # I21
                else:
                    assert cause in active, "a child comes out with the end of its cause"  # I22
            is_deep = "deep|u-000001.depth" in active and alarm.rule == "depth"
            if is_deep and alarm.condition is Condition.ACTIVE and not alarm.exercise:
                assert "deep|u-000001.depth" in alarm.suppressed_by
            if alarm.exercise:
                assert not alarm.suppressed_by

    @invariant()
    def a_peak_is_the_worst_its_sensor_has_said_while_it_was_active(self) -> None:
        if not self.moments:
            return
        for alarm in self.life.ledger.alarms(state="open", limit=1_000):
            if alarm.exercise or alarm.chatter_since_ms is not None:
                continue
            site = int(alarm.scope.removeprefix("u-").partition(".")[0]) - 1
            own = [m.depths[site] for m in self.moments if BASE_MS + m.at_s * 1000 >= alarm.raised_ms]
            assert alarm.peak_value == max(own), alarm.scope

    def teardown(self) -> None:
        if not hasattr(self, "life"):
            return
        if self.moments:
            calm = self._open("calm", Outside.of(self.moments))
            calm.live(0)
            wrong = differences(standing(self.life), standing(calm))  # I17
            calm.end()
            assert not wrong, "\n".join(wrong)
        self.life.end()
        self.made.cleanup()


Town.TestCase.settings = settings(
    max_examples=12, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.slow
class TestEverythingTogether(Town.TestCase):  # type: ignore[misc,valid-type] # made at run time
    """Every history the machine draws keeps every invariant."""


def test_the_machine_reaches_all_that_it_is_about() -> None:
    """One history by hand, with restarts: what the machine draws at random does happen in this town."""
    town = Town()
    town.begin()
    high = (40.0, 12.0, 12.0, 12.0, 12.0, 0.0)
    town.plans_works("FREQ=DAILY", 1)
    town._step(10, (0.0, *high[1:]))
    town._step(10, high)
    town._step(10, high, asked("alarm.acknowledge", DUTY, 4, 5), asked("alarm.shelve", DUTY, 5, 4))
    town.restarts()
    town.drills(6, "red")
    town._step(60, high)
    low = (0.0, 12.0, 12.0, 12.0, 12.0, 0.0)
    for _ in range(3):
        town._step(60, low)
    town.restarts()
    town._step(10, low, asked("alarm.acknowledge", DUTY, 4, 5), asked("alarm.shelve", DUTY, 5, 8))
    for _ in range(8):
        town._step(60, low)
    town.flutters(5)
    town._step(600, low)
    for holds in (
        town.the_whole_loop_keeps_its_invariants,
        town.nothing_hides_behind_what_does_not_stand,
        town.a_peak_is_the_worst_its_sensor_has_said_while_it_was_active,
    ):
        holds()
    kinds = standing(town.life).kinds
    assert {"suppressed", "released", "opened", "closed", "shelved", "shelf_ending", "unshelved", "storm_started",
            "started", "chattering", "settled", "realarmed"} <= kinds, kinds  # fmt: skip
    town.teardown()
