"""The stage a rule test is played on: quality control, rules and desk as they run live, with a clock that is told.

A restart throws all of it away and stands up again from a snapshot and the ledger, exactly as the service does; a
reload is the service's own turn from one configuration to another. Only tests that do either keep a real ledger.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from alerts.desk import Desk
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
    Notice,
    Quality,
    ReadingBatch,
    SensorTable,
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

from .backtesting import calibrated

NOTHING = GatewayHeard()


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
    subjects: dict[str, Alarm] = field(default_factory=dict)  # alarm id → newest version

    def take(self, transitions: Sequence[Transition], effects: Effects) -> None:
        """Add what one tick changed."""
        self.transitions += transitions
        for alarm in effects.alarms.values():
            self.subjects[alarm.id] = alarm
            newest = self.historical if alarm.is_historical else self.alarms
            before = newest.get(alarm.dedup_key)
            if before is None or alarm.occurrence >= before.occurrence:
                newest[alarm.dedup_key] = alarm
        self.orders |= effects.orders
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
        if self._ledger is None or not (effects.events or effects.alarms or effects.orders or effects.mutes):
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
        return self.tick(now_ms, commands=[command])[0]

    def _absolute(self, value: Any) -> Any:
        is_moment = isinstance(value, dict) and value.keys() == {"at"}
        return self.start_ms + value["at"] if is_moment else value

    def _target(self, step: Step) -> tuple[str, str]:
        alarm = self.record.alarms.get(step.target)
        if step.verb.startswith("order."):
            order = self.order_of(step.target)
            if order is None:
                return "", ""
            return order.id, order.unit if step.role in {"crew", "unit"} else ""
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
