"""A changed configuration takes over between two ticks: what runs on, what ends, and what a crash leaves behind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from citypulse.app import assemble, extensions
from citypulse.city import City
from citypulse.config import load_city
from citypulse.journal import Journal
from citypulse.ledger import Ledger
from citypulse.mailbox import Mailbox
from citypulse.metrics import Metrics
from citypulse.model import Actor, Alarm, CityConfig, Command, Event, RawMessage, SensorTable
from citypulse.reloading import Outcome, Reloader, past_config, texts_of
from citypulse.turn import Regime, Turn
from ingest.inbox import Inbox
from tests.support import small_city
from tests.support.publisher import reading_message

T0 = 1_790_000_000_000
S = 1_000
ALICE = Actor(name="Alice", role="duty", unit="centre")
MILL, HARBOUR = "u-000001.depth", "u-000002.depth"

RULES = """
rules:
  - id: depth
    name: {{zh: 积水, en: Water depth}}
    applies_to: {{quantity: depth}}
    source: test
    threshold: {{}}
    limits:
      - {{level: yellow, at_least: {yellow} cm, deadband: 3 cm, on_delay: {on}, off_delay: 20 s}}
      - {{level: red, at_least: {red} cm, deadband: 3 cm, off_delay: 20 s}}
    order: {{template: pump, verify_for: 1 min, coverage: 80 %, opens_at: red}}
"""
OTHER = """
rules:
  - id: river
    name: {zh: 水位, en: Level}
    applies_to: {quantity: depth}
    source: test
    threshold: {}
    limits: [{level: blue, at_least: 500 cm, deadband: 3 cm, off_delay: 20 s}]
"""
YELLOW_GONE = """
rules:
  - id: depth
    name: {zh: 积水, en: Water depth}
    applies_to: {quantity: depth}
    source: test
    threshold: {}
    limits: [{level: red, at_least: 40 cm, deadband: 3 cm, off_delay: 20 s}]
"""


def rules(yellow: int = 10, red: int = 40, on: str = "60 s") -> str:
    return RULES.format(yellow=yellow, red=red, on=on)


class Crash(BaseException):
    """The process is gone: nothing below may catch it."""


class Wire:
    """A source that remembers what was acknowledged."""

    def acknowledge(self, messages: Any) -> None:
        self.last = messages

    def publish(self, topic: str, payload: bytes) -> bool:
        return bool(topic and payload)


class World:
    """A small city on a folder: its file, its ledger, its heart and what the gateway has said so far."""

    def __init__(self, folder: Path, text: str | None = None, sites: int = 2) -> None:
        self.folder = folder
        self.file = small_city.write(folder, sites=sites, rules=text or rules())
        self.seq = 0
        self.fault: Callable[[str], None] = lambda _name: None
        self.open()

    def write(self, text: str, sites: int = 2) -> None:
        small_city.write(self.folder, sites=sites, rules=text)

    def open(self, now_ms: int = T0) -> None:
        """Start a heart on what is there, as a process that starts does."""
        self.config = load_city(self.file, extensions())
        self.ledger = Ledger.open(self.folder / "data", fault=self._fault)
        self.inbox = Inbox()
        self.mailbox = Mailbox(self.inbox.ready.set)
        self.city: City = assemble(
            self.config,
            SensorTable.build(self.ledger.sensor_ids([s.id for s in self.config.sensors]), self.config.sensors),
            self.ledger,
            Journal(self.ledger),
            source=Wire(),
            inbox=self.inbox,
            mailbox=self.mailbox,
            metrics=Metrics(),
            fault=self._fault,
        )
        self.city.recover(now_ms)
        self.ledger.record_config(self.config.fingerprint, texts_of(self.config), now_ms=now_ms)
        self.reloader = Reloader(self.file, extensions(), in_force=lambda: self.city.config, adopt=self.adopt)

    def restart(self, now_ms: int) -> None:
        """Die without a goodbye and come back."""
        self.fault = lambda _name: None
        self.ledger.close()
        self.open(now_ms)

    def _fault(self, name: str) -> None:
        self.fault(name)

    def adopt(self, config: CityConfig) -> Future[Turn]:
        """As the service does: the parts are made here, the heart's next tick takes them."""
        table = SensorTable.build(self.ledger.sensor_ids([s.id for s in config.sensors]), config.sensors)
        self.ledger.record_config(config.fingerprint, texts_of(config), now_ms=self.now_ms)
        self.future = self.city.offer(Regime.of(config, table))
        self.offered.set()
        return self.future

    def reload(self, now_ms: int) -> Outcome:
        """Read the file again on a thread of its own, as the service does, and tick when it has been offered."""
        self.now_ms = now_ms
        self.offered = threading.Event()
        outcome: list[Outcome] = []

        def read() -> None:
            outcome.append(self.reloader.reload("test"))
            self.offered.set()

        thread = threading.Thread(target=read)
        thread.start()
        assert self.offered.wait(60)
        try:
            self.city.tick(now_ms)
        except Crash:
            self.future.set_exception(RuntimeError("the process is gone"))
            raise
        finally:
            thread.join(60)
        return outcome[0]

    def say(self, at_ms: int, *readings: tuple[str, float], now_ms: int | None = None) -> None:
        row = [(sensor, at_ms, value) for sensor, value in readings]
        payload = reading_message("b1", self.seq, row, at_ms)
        self.inbox.put(RawMessage(topic="city/v1/gw-01/readings", payload=payload, received_ms=at_ms, token=self.seq))
        self.seq += 1
        self.city.tick(at_ms if now_ms is None else now_ms)

    def ack(self, alarm: Alarm, at_ms: int) -> None:
        self.mailbox.submit(Command(id="c1", verb="alarm.acknowledge", target=alarm.id, actor=ALICE, at_ms=at_ms))
        self.city.tick(at_ms)

    def alarms(self, state: str = "open") -> list[Alarm]:
        return self.ledger.alarms(state=state)

    def events(self, kind: str = "") -> list[Event]:
        return [r.event for r in self.ledger.events(limit=10_000) if kind in ("", r.event.kind)]


@pytest.fixture
def world(tmp_path: Path) -> Any:
    world = World(tmp_path)
    yield world
    world.ledger.close()


def test_an_on_delay_that_has_run_for_59_of_60_seconds_fires_at_60(world: World) -> None:
    for k in range(0, 60, 10):
        world.say(T0 + k * S, (MILL, 15.0))
    world.say(T0 + 59 * S, (MILL, 15.0))
    assert world.alarms() == []
    world.write(rules(red=50))  # the other limit changes, this one does not
    assert world.reload(T0 + 59 * S).kind == "applied"
    assert world.alarms() == []
    world.say(T0 + 60 * S, (MILL, 15.0))
    (alarm,) = world.alarms()
    assert (alarm.raised_ms, alarm.breach_ms) == (T0 + 60 * S, T0)


def test_a_shorter_on_delay_counts_from_the_first_breach(world: World) -> None:
    world.say(T0, (MILL, 15.0))
    world.write(rules(on="20 s"))
    world.reload(T0 + 10 * S)
    world.say(T0 + 20 * S, (MILL, 15.0))
    assert [a.breach_ms for a in world.alarms()] == [T0]


def test_an_active_alarm_keeps_its_id_and_acknowledgement_and_says_what_changed(world: World) -> None:
    world.say(T0, (MILL, 45.0))
    (before,) = world.alarms()
    world.ack(before, T0 + 5 * S)
    world.write(rules(red=30))
    outcome = world.reload(T0 + 10 * S)
    assert (outcome.kind, outcome.alarms_changed, outcome.alarms_withdrawn) == ("applied", 1, 0)
    (after,) = world.alarms()
    assert (after.id, after.is_acked, after.acked_by) == (before.id, True, "Alice")
    (event,) = world.events("rule_changed")
    assert event.subject == before.id
    assert (event.data["old_version"], event.data["new_version"]) == (before.rule_version, after.rule_version)
    assert before.rule_version != after.rule_version
    assert event.data["old_origin"].endswith("city.yaml:" + before.rule_origin.rpartition(":")[2])
    assert (event.data["old_limit"], event.data["new_limit"]) == ("≥ 40 cm", "≥ 30 cm")
    assert event.data["outcome"] == "active"
    world.say(T0 + 20 * S, (MILL, 45.0))
    assert [a.id for a in world.alarms()] == [before.id], "the same trouble is not raised again"
    world.say(T0 + 30 * S, (MILL, 1.0))
    world.say(T0 + 60 * S, (MILL, 1.0))
    assert world.alarms() == []
    assert world.ledger.verify().first_broken is None


def test_an_identical_file_makes_no_event_and_replaces_nothing(world: World) -> None:
    world.say(T0, (MILL, 45.0))
    events, engine, tick = len(world.events()), world.city.engine, world.ledger.last_tick
    world.write(rules())
    assert world.reload(T0 + 1 * S).kind == "unchanged"
    assert len(world.events()) == events
    assert world.city.engine is engine
    assert world.ledger.last_tick == tick


def test_a_file_with_only_another_comment_makes_no_event(world: World) -> None:
    world.say(T0, (MILL, 45.0))
    events = len(world.events())
    world.write("# tuned by nobody\n" + rules())
    assert world.reload(T0 + 1 * S).kind == "applied"
    assert len(world.events()) == events


def test_a_deleted_rule_withdraws_its_alarms_with_a_reason_and_those_who_heard_hear_it(world: World) -> None:
    world.say(T0, (MILL, 45.0))
    (alarm,) = world.alarms()
    world.write(OTHER)
    assert world.reload(T0 + 1 * S).alarms_withdrawn == 1
    assert world.alarms() == []
    kinds = [e.kind for e in world.events() if e.subject == alarm.id]
    assert kinds[-2:] == ["rule_changed", "withdrawn"]
    (withdrawn,) = world.events("withdrawn")
    assert "撤销" in withdrawn.because
    assert "withdrawn" in withdrawn.because
    notices = [r.notice.kind.value for r in world.ledger.outbox_rows(subject=alarm.id)]
    assert "cleared" in notices


def test_a_deleted_limit_withdraws_what_only_it_held(world: World) -> None:
    for k in range(0, 70, 10):
        world.say(T0 + k * S, (MILL, 15.0), (HARBOUR, 45.0))
    assert len(world.alarms()) == 2
    world.write(YELLOW_GONE)
    assert world.reload(T0 + 61 * S).alarms_withdrawn == 1
    (left,) = world.alarms()
    assert left.scope == HARBOUR
    world.say(T0 + 70 * S, (MILL, 15.0))
    assert len(world.alarms()) == 1


def test_a_wrong_file_is_refused_whole_with_every_problem_and_the_city_runs_on(world: World) -> None:
    world.say(T0, (MILL, 45.0))
    events, engine = len(world.events()), world.city.engine
    wrong = rules().replace("level: red", "level: purple").replace("off_delay: 20 s", "of_delay: 20 s")
    world.write(wrong, sites=3)
    outcome = world.reload(T0 + 1 * S)
    assert outcome.kind == "refused"
    assert len(outcome.diagnostics) >= 2
    assert {d.file.rpartition("/")[2] for d in outcome.diagnostics} == {"city.yaml"}
    assert world.reloader.problem is not None
    zh, en = world.reloader.problem
    assert "未采用" in zh
    assert "not used" in en
    assert world.city.engine is engine
    assert len(world.events()) == events
    assert "u-000003.depth" not in world.ledger.known_sensor_ids(), "not even its sensors were taken"
    world.write(rules(red=41))
    assert world.reload(T0 + 2 * S).kind == "applied"
    assert world.reloader.problem is None


def test_a_new_sensor_is_taken_and_the_old_ones_keep_their_places(world: World) -> None:
    world.say(T0, (MILL, 1.0), ("u-000003.depth", 45.0))
    assert [d.letter.reason for d in world.ledger.dead_letters()] == ["unknown_sensor"]
    before = world.ledger.known_sensor_ids()
    world.write(rules(), sites=3)
    world.reload(T0 + 1 * S)
    assert world.ledger.known_sensor_ids()[: len(before)] == before
    world.say(T0 + 2 * S, ("u-000003.depth", 45.0))
    assert [a.scope for a in world.alarms()] == ["u-000003.depth"]


def test_a_sensor_that_is_left_out_is_refused_from_then_on(world: World) -> None:
    world.say(T0, (HARBOUR, 45.0))
    world.write(rules(), sites=1)
    assert world.reload(T0 + 1 * S).alarms_withdrawn == 1
    world.say(T0 + 2 * S, (HARBOUR, 45.0))
    assert [d.letter.reason for d in world.ledger.dead_letters()] == ["retired_sensor"]
    assert world.alarms() == []


def after(world: World, at_ms: int) -> dict[str, Any]:
    """Go on in a way that shows on-delays, latches and acknowledgements, and return all that came of it."""
    for k in range(0, 50, 10):
        world.say(at_ms + k * S, (MILL, 15.0), (HARBOUR, 45.0 if k < 20 else 1.0))
    return {
        "alarms": sorted(
            (a.id, a.rule_version, a.condition.value, a.raised_ms, a.cleared_ms, a.breach_ms, a.is_acked, a.level)
            for a in world.alarms("all")
        ),
        "events": [(e.subject, e.kind, e.rev, e.event_ms) for e in world.events()],
        "notices": sorted((r.notice.subject, r.notice.kind.value, r.notice.rev) for r in world.ledger.outbox_rows()),
        "chain": world.ledger.verify().first_broken,
    }


def script(world: World) -> None:
    """A pending on-delay on one sensor, an acknowledged alarm on the other."""
    world.say(T0, (MILL, 15.0), (HARBOUR, 45.0))
    world.ack(world.alarms()[0], T0 + 1 * S)
    for k in range(10, 40, 10):
        world.say(T0 + k * S, (MILL, 15.0), (HARBOUR, 45.0))


def test_a_crash_at_any_effect_of_a_reload_changes_nothing(tmp_path: Path) -> None:
    seen: list[str] = []

    def live(folder: Path, crash_at: int | None) -> dict[str, Any]:
        folder.mkdir()
        world = World(folder)
        script(world)
        left = -1 if crash_at is None else crash_at

        def fault(name: str) -> None:
            nonlocal left
            if crash_at is None:
                seen.append(name)
            elif left == 0:
                left = -1
                raise Crash
            elif left > 0:
                left -= 1

        world.write(rules(red=30))
        world.fault = fault
        try:
            world.reload(T0 + 40 * S)
        except Crash:
            world.restart(T0 + 40 * S)
            world.city.tick(T0 + 40 * S)
        world.fault = lambda _name: None
        found = after(world, T0 + 50 * S)
        world.ledger.close()
        return found

    calm = live(tmp_path / "calm", None)
    assert len(seen) > 8
    assert [kind for _, kind, _, _ in calm["events"]].count("rule_changed") == 1
    for number in range(len(seen)):
        got = live(tmp_path / f"crash-{number}", number)
        for part, expected in calm.items():
            assert got[part] == expected, f"{part} differ after a crash at effect {number} ({seen[number]})"


def test_ticks_are_re_run_under_the_rules_they_ran_under(tmp_path: Path) -> None:
    """A file changed while the process was dead: the breach that was pending began under the old rule, and counts."""
    calm = World(tmp_path / "a" if (tmp_path / "a").mkdir() is None else tmp_path)
    script(calm)
    calm.write(rules(red=30))
    calm.reload(T0 + 40 * S)
    dead = World(tmp_path / "b" if (tmp_path / "b").mkdir() is None else tmp_path)
    script(dead)
    dead.write(rules(red=30))
    dead.restart(T0 + 40 * S)
    dead.city.tick(T0 + 40 * S)
    assert after(dead, T0 + 50 * S) == after(calm, T0 + 50 * S)
    calm.ledger.close()
    dead.ledger.close()


def test_a_second_change_after_a_crash_finds_both_earlier_configurations(world: World) -> None:
    script(world)
    first = world.config.fingerprint
    world.write(rules(red=30))
    world.reload(T0 + 40 * S)
    second = world.city.config.fingerprint
    world.say(T0 + 50 * S, (MILL, 15.0), (HARBOUR, 45.0))
    world.write(rules(red=35))
    world.restart(T0 + 55 * S)
    for name in (first, second):
        config = past_config(world.ledger, name, extensions())
        assert config is not None
        assert config.fingerprint == name
    world.say(T0 + 60 * S, (MILL, 15.0), (HARBOUR, 45.0))
    assert sorted(a.scope for a in world.alarms()) == [MILL, HARBOUR]
    assert [e.data["new_limit"] for e in world.events("rule_changed")] == ["≥ 30 cm", "≥ 35 cm"]
    assert [a.breach_ms for a in world.alarms() if a.scope == MILL] == [T0]


def test_going_back_to_the_first_file_while_dead_re_runs_both_and_loses_nothing(world: World) -> None:
    script(world)
    world.write(rules(red=30))
    world.reload(T0 + 40 * S)
    world.write(rules())
    world.restart(T0 + 45 * S)
    world.say(T0 + 60 * S, (MILL, 15.0), (HARBOUR, 45.0))
    assert [a.breach_ms for a in world.alarms() if a.scope == MILL] == [T0]
    assert [e.data["new_limit"] for e in world.events("rule_changed")] == ["≥ 30 cm", "≥ 40 cm"]


def test_a_lane_in_alarm_that_the_ledger_does_not_know_is_raised_at_the_start(world: World) -> None:
    """Texts lost: the ticks are re-run under the present rules, which see an alarm where the old ones saw none."""
    world.say(T0, (MILL, 35.0))
    assert world.alarms() == []
    with world.ledger.writer.transaction() as connection:
        connection.exec_driver_sql("DELETE FROM config_version")
    world.write(rules(red=30))
    world.restart(T0 + 5 * S)
    assert world.alarms() == []
    world.city.tick(T0 + 5 * S)
    (alarm,) = world.alarms()
    assert (alarm.scope, alarm.level, alarm.peak_value) == (MILL, 1, 35.0)
    assert "配置变更" in alarm.because_zh


def test_a_clean_stop_and_a_changed_file_say_what_changed(world: World) -> None:
    world.say(T0, (MILL, 45.0))
    world.city.snapshot()
    world.write(rules(red=30))
    world.restart(T0 + 5 * S)
    world.city.tick(T0 + 5 * S)
    (event,) = world.events("rule_changed")
    assert (event.data["old_limit"], event.data["new_limit"]) == ("≥ 40 cm", "≥ 30 cm")
    world.restart(T0 + 6 * S)
    world.city.tick(T0 + 6 * S)
    assert len(world.events("rule_changed")) == 1


def test_a_watched_file_is_read_once_it_stands_still(world: World) -> None:
    assert world.reloader.look() is None
    world.write(rules(red=30) + "# being written")
    assert world.reloader.look() is None, "the first look only notes the change"
    world.write(rules(red=30) + "# being written still")
    assert world.reloader.look() is None
    world.write(rules() + " " * 3 + "- wrong")
    world.reloader.look()
    outcome = world.reloader.look()
    assert outcome is not None
    assert outcome.kind == "refused"
    assert world.reloader.look() is None, "a refused file is not read again until it changes"


def test_the_heart_explains_itself_from_any_thread(world: World) -> None:
    world.say(T0, (MILL, 15.0))
    why = world.city.why("depth", MILL)
    assert [view.state for view in why.latches] == ["normal", "pending"]
    with pytest.raises(KeyError):
        world.city.why("depth", "nowhere.depth")
