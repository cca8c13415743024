"""The stage a rule test is played on: quality control, rules and desk as they run live, with a clock that is told.

A restart throws all of it away and stands up again from a snapshot and the ledger, exactly as the service does; a
reload is the service's own turn from one configuration to another. Only tests that do either keep a real ledger.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from alerts.desk import Desk
from alerts.lifecycle import is_retained
from alerts.orders.table import is_serious
from citypulse.backtest.run import calibrated
from citypulse.ledger import Ledger, Tick
from citypulse.ledger.packing import dump, load
from citypulse.model import (
    Actor,
    Alarm,
    Answer,
    CityConfig,
    Command,
    Effects,
    Event,
    GatewayHeard,
    Lane,
    Mute,
    Notice,
    OrderState,
    Quality,
    ReadingBatch,
    SensorTable,
    Storm,
    Transition,
    WorkOrder,
)
from citypulse.turn import Regime, turn
from ingest.gateways import Gateways
from ingest.intake import Intake
from ingest.qc.controller import QualityControl
from ingest.quality import Grader
from ingest.registry import Registry
from rules.engine import Engine
from rules.ruletest import Step

NOTHING = GatewayHeard()
_S = OrderState
_REPAIR = {_S.DISPATCHED: "accept", _S.ACCEPTED: "arrive", _S.HANDLING: "report", _S.FED_BACK: "check"}
_PICTURE = "sha256:" + "0" * 64  # stands for one: no picture is needed to try a rule
ORDER_DATA: dict[str, dict[str, Any]] = {
    "arrive": {"position": [30.0, 120.0]},
    "report": {"photo_before": _PICTURE, "photo_after": _PICTURE, "action": "repaired"},
}
"""What a step of an order says when the test does not."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One reading on its way: when it arrives, and what it says."""

    at_ms: int
    sensor: str
    time_ms: int
    value: float
    quality: Quality


@dataclass(slots=True)
class Record:
    """All that came of a test so far."""

    transitions: list[Transition] = field(default_factory=list)
    alarms: dict[str, Alarm] = field(default_factory=dict)  # dedup key → its newest occurrence
    historical: dict[str, Alarm] = field(default_factory=dict)  # dedup key → its newest dated one
    orders: dict[str, WorkOrder] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    mutes: dict[str, Mute] = field(default_factory=dict)  # by id
    storms: dict[str, Storm] = field(default_factory=dict)  # by desk
    lanes: Counter[tuple[str, Lane]] = field(default_factory=Counter)  # readings so far, by sensor and lane
    subjects: dict[str, Alarm] = field(default_factory=dict)  # alarm id → newest version

    def take(self, transitions: Sequence[Transition], effects: Effects) -> None:
        """Add what one tick changed."""
        self.transitions += transitions
        for alarm in effects.alarms.values():
            self.subjects[alarm.id] = alarm
            newest = self.historical if alarm.is_historical else self.alarms
            before = newest.get(alarm.dedup_key)
            if before is None or alarm.occurrence >= before.occurrence or is_retained(alarm):
                newest[alarm.dedup_key] = alarm
        self.orders |= effects.orders
        self.mutes |= effects.mutes
        self.storms |= effects.storms
        self.events += effects.events
        self.notices += effects.notices


class Stage:
    """One city on a virtual clock. Use as a context manager: a kept ledger is removed at the end."""

    def __init__(self, config: CityConfig, *, keeps: bool, start_ms: int) -> None:
        """Begin in an empty city. `keeps`: whether it must be able to stand up again."""
        self._folder = tempfile.TemporaryDirectory(prefix="citypulse-ruletest-") if keeps else None
        self._ledger = Ledger.open(Path(self._folder.name)) if self._folder else None
        self.record = Record()
        self._ticks = self._commands = self._away_ms = 0
        self._names: dict[str, str] = {}  # of mutes: what the test calls them → id
        self.start_ms = start_ms
        self._grader: Grader
        self._regime = self._made(config)
        self._desk = Desk(self._regime.config, self._regime.table)
        self.engine.begin(start_ms)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._ledger is not None:
            self._ledger.close()
        if self._folder is not None:
            self._folder.cleanup()

    @property
    def engine(self) -> Engine:
        """The rules in force."""
        return self._regime.engine

    @property
    def config(self) -> CityConfig:
        """The configuration in force."""
        return self._regime.config

    def _made(self, config: CityConfig) -> Regime:
        """Make fresh parts; readings of a test are in canonical units already."""
        config = calibrated(config)
        ids = tuple(s.id for s in config.sensors)
        if self._ledger is not None:
            ids = self._ledger.sensor_ids(ids)
        table = SensorTable.build(ids, config.sensors)
        registry = Registry(config, table)
        self._grader = Grader(registry, QualityControl.of_config(config, table))
        return Regime(
            config=config,
            table=table,
            intake=Intake(registry, Gateways(), self._grader),
            engine=Engine(
                config.rules,
                table,
                config.sites,
                config.gateways,
                quantities=config.quantities,
                timezone=config.timezone,
            ),
        )

    # ── time and readings ───────────────────────────────────────────────────────────────────────

    def tick(
        self,
        now_ms: int,
        arrivals: Sequence[Arrival] = (),
        commands: Sequence[Command] = (),
        heard: GatewayHeard = NOTHING,
        before: Sequence[Transition] = (),
        effects_before: Effects | None = None,
    ) -> tuple[Answer, ...]:
        """Let time move to `now_ms` with what arrived since; return the answers to the commands."""
        batch = self._graded(arrivals) if arrivals else ReadingBatch.empty()
        if self._away_ms:
            self.engine.resume(self._away_ms)
            self._away_ms = 0
        transitions = [*before, *self.engine.step(batch, now_ms, heard)]
        effects = self._desk.receive(transitions, batch, commands, now_ms)
        for part in (effects_before, effects) if effects_before is not None else (effects,):
            self._keep(now_ms, part)
        self.record.take(transitions, effects)
        return tuple(effects.answers)

    def _keep(self, now_ms: int, effects: Effects) -> None:
        if self._ledger is None or not (
            effects.events or effects.alarms or effects.orders or effects.mutes or effects.storms
        ):
            return
        self._ticks += 1
        self._ledger.commit(Tick(number=self._ticks, now_ms=now_ms, effects=effects))

    def _graded(self, arrivals: Sequence[Arrival]) -> ReadingBatch:
        """Grade as live; a worse quality that the test itself states stays."""
        index = self._regime.table.index
        batch = self._grader.grade(
            np.array([index[a.sensor] for a in arrivals], np.int32),
            np.array([a.time_ms for a in arrivals], np.int64),
            np.array([a.value for a in arrivals], np.float64),
            np.array([a.at_ms for a in arrivals], np.int64),
        ).batch
        ids = self._regime.table.ids
        lanes = zip(batch.sensor.tolist(), batch.lane.tolist(), strict=True)
        self.record.lanes.update((ids[sensor], Lane(lane)) for sensor, lane in lanes)
        given = np.array([int(a.quality) for a in arrivals], np.uint8)
        quality = np.where(given >= Quality.SUSPECT, np.maximum(batch.quality, given), batch.quality)
        return ReadingBatch(
            sensor=batch.sensor,
            time_ms=batch.time_ms,
            value=batch.value,
            quality=quality.astype(np.uint8),
            lane=batch.lane,
            received_ms=batch.received_ms,
        )

    # ── people and what happens to the service ──────────────────────────────────────────────────

    def act(self, step: Step, now_ms: int) -> Answer:
        """Do as a person asks, through the desk's own commands."""
        if step.verb == "repair":
            return self._repair(step, now_ms)
        if step.verb == "confirm":
            return self._confirm(step, now_ms)
        target, unit = self._target(step)
        self._commands += 1
        command = Command(
            id=f"step-{self._commands}",
            verb=step.verb,
            target=target,
            actor=Actor(name=step.name, role=step.role, unit=step.unit or unit),
            at_ms=now_ms,
            data={key: self._absolute(value) for key, value in step.data.items()},
        )
        answer = self.tick(now_ms, commands=[command])[0]
        if answer.ok and step.verb in {"mute.new", "mute.window"}:
            self._names[step.label] = answer.subject
        return answer

    def _repair(self, step: Step, now_ms: int) -> Answer:
        """Let the crew take what steps of the alarm's order are left, and the desk send it to be checked."""
        while True:
            order = self.order_of(step.target)
            verb = "accept" if order is None else _REPAIR.get(order.state, "check")
            is_crew = verb != "check"
            one = replace(
                step, verb=f"order.{verb}", role=step.role if is_crew else "lead",
                name=step.name if is_crew else "somebody (lead)", unit=step.unit if is_crew else "",
                data={**ORDER_DATA.get(verb, {}), **(step.data if verb == "report" else {})},
            )  # fmt: skip
            answer = self.act(one, now_ms)
            if not answer.ok or not is_crew:
                return answer

    def _confirm(self, step: Step, now_ms: int) -> Answer:
        """Let the checker pass the order and, where it is serious, the lead close it."""
        answer = self.act(replace(step, verb="order.pass"), now_ms)
        order = self.order_of(step.target)
        if not answer.ok or order is None or order.state is not OrderState.CHECKING or not is_serious(order.level):
            return answer
        return self.act(replace(step, verb="order.close", role="lead", name="somebody (lead)", unit=""), now_ms)

    def mute_of(self, name: str) -> str:
        """Return the id of a mute that the test calls so; the name itself where it is an id."""
        return self._names.get(name, name)

    def _absolute(self, value: Any) -> Any:
        is_moment = isinstance(value, dict) and value.keys() == {"at"}
        return self.start_ms + value["at"] if is_moment else value

    def _target(self, step: Step) -> tuple[str, str]:
        alarm = self.record.alarms.get(step.target)
        if step.verb.startswith("mute.") and step.label:
            return self.mute_of(step.label) if step.verb in {"mute.extend", "mute.cancel"} else "", ""
        if step.label:
            return self.mute_of(step.label), ""
        if step.verb.startswith("order."):
            order = self.order_of(step.target)
            if order is None:
                return "", ""
            return order.id, order.unit if step.role in {"crew", "unit"} else ""
        is_live = alarm is not None and is_retained(alarm)
        if step.verb == "alarm.out_of_service" and not is_live:
            return step.target, ""  # a point at rest
        return ("" if alarm is None else alarm.id), ""

    def order_of(self, key: str) -> WorkOrder | None:
        """Return the work order of a key's newest alarm, the newest of all when its alarm has none."""
        alarm = self.record.alarms.get(key)
        return None if alarm is None else self.record.orders.get(alarm.order_id)

    def say(self, gateway: str, now_ms: int, *, is_offline: bool) -> None:
        """Let a gateway be heard without readings."""
        self.tick(now_ms, heard=GatewayHeard(gateway=[gateway], received_ms=[now_ms], is_offline=[is_offline]))

    def restart(self, down_ms: int) -> None:
        """Throw everything away and stand up again from a snapshot and the ledger, after so long a downtime."""
        assert self._ledger is not None  # noqa: S101 - a test with a restart keeps one
        state = load(dump(self._state()))
        self._regime = self._made(self._regime.config)
        self._regime.intake.restore(state["intake"])
        self.engine.restore(state["rules"])
        self._desk = Desk(self._regime.config, self._regime.table, self._ledger.load_open())
        self._desk.restore(state["desk"])
        self._away_ms += down_ms

    def reload(self, config: CityConfig, now_ms: int) -> None:
        """Let another configuration come into force, exactly as in the running service."""
        assert self._ledger is not None  # noqa: S101 - a test with a reload keeps one
        state = load(dump(self._state()))
        before = self._regime.config
        new = turn(self._made(config), state, self._ledger.load_open(), before, now_ms)
        self._regime, self._desk = new.regime, new.desk
        self.record.take((), new.effects)
        self.tick(now_ms, before=new.transitions, effects_before=new.effects)

    def _state(self) -> dict[str, Any]:
        return {"intake": self._regime.intake.state(), "rules": self.engine.state(), "desk": self._desk.state()}

    # ── what is so ──────────────────────────────────────────────────────────────────────────────

    def live(self, key: str) -> Alarm | None:
        """Return the retained alarm of a key."""
        return self._desk.live(key)

    def sensors_of(self, rule: str, scope: str) -> tuple[str, ...]:
        """Return the sensors a rule looks at for a scope."""
        for found in self.config.rules:
            if found.id == rule and scope in found.scopes:
                return found.sensors[found.scopes.index(scope)]
        return ()
