"""The world of the alert tests: Mill Bridge's underpass, a gas well, crews Ada and Bo, a ledger to restart from."""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from alerts.desk import Desk
from alerts.lifecycle import is_retained
from alerts.orders.table import ENDS
from alerts.state import RECENT_S, REOPEN_WITHIN_S, OpenState
from citypulse.model import (
    Actor,
    Alarm,
    Answer,
    ChannelConfig,
    CityConfig,
    Command,
    Crossing,
    Effects,
    Event,
    Exercise,
    Gateway,
    Inhibition,
    Lane,
    Limit,
    Mute,
    Notice,
    OrderPlan,
    OrderState,
    OrderTemplate,
    Origin,
    Priority,
    Quality,
    ReadingBatch,
    Route,
    Rule,
    Sensor,
    SensorTable,
    Side,
    Site,
    Storm,
    Team,
    Text,
    Transition,
    TransitionKind,
    WorkOrder,
)

T0 = 1_795_312_800_000  # 2026-11-22T02:00:00Z, 10:00 in Hangzhou
HERE = Origin(file="sensors.yaml", line=1)
RED, ORANGE, YELLOW, BLUE = Priority.P1, Priority.P2, Priority.P3, Priority.P4

DUTY = Actor(name="Duty Dan", role="duty", unit="desk")
LEAD = Actor(name="Lead Lea", role="lead", unit="desk")
BOSS = Actor(name="Boss Bao", role="boss", unit="bureau")
ADA = Actor(name="Ada", role="crew", unit="pumps")
CHEN = Actor(name="Chen", role="checker", unit="inspection")
SUP = Actor(name="Sun", role="supervisor", unit="bureau")


def photo(word: str) -> str:
    """The name a picture of this word would be kept by."""
    return "sha256:" + hashlib.sha256(word.encode()).hexdigest()


REPAIR = {"photo_before": photo("before"), "photo_after": photo("after"), "action": "pump-out"}


def text(word: str) -> Text:
    return Text(zh=word, en=word)


def sensor(name: str, site: str, gateway: str, domain: str, *, cadence_s: int = 60) -> Sensor:
    return Sensor(
        id=name, site=site, gateway=gateway, quantity=name.split(".")[1], domain=domain, site_kind="underpass",
        area="north", unit="cm", scale=1.0, offset=0.0, low=0.0, high=500.0, cadence_s=cadence_s, origin=HERE,
    )  # fmt: skip


SENSORS = (
    sensor("mill.depth", "mill", "gw-1", "flood"),
    sensor("mill.depth2", "mill", "gw-1", "flood"),
    sensor("mill.rain", "mill", "gw-1", "flood"),
    sensor("well.ch4", "well", "gw-2", "gas"),
    sensor("weir.do", "weir", "gw-2", "water", cadence_s=300),
)
CM = {BLUE: 3.0, YELLOW: 10.0, ORANGE: 20.0, RED: 27.0}


def rule(name: str, detector: str, scopes: tuple[str, ...], sensors: tuple[tuple[str, ...], ...], **more: Any) -> Rule:
    given: dict[str, Any] = {
        "name": text(name), "version": "v1", "origin": Origin(file="rules.yaml", line=7), "settings": None,
        "domain": "flood", "unit": "cm",
        "limits": tuple(
            Limit(level=level, side=Side.AT_LEAST, value=cm, deadband=3.0, off_delay_s=600.0,
                  origin=Origin(file="rules.yaml", line=10 + level))
            for level, cm in CM.items()
        ),
    }  # fmt: skip
    return Rule(id=name, detector=detector, scopes=scopes, sensors=sensors, **(given | more))


BY_GATEWAY = Inhibition(rule="gateway-silent")
PLAN = OrderPlan(template="pump", verify_for_s=1800.0, coverage=0.8, opens_at=YELLOW)
RULES = (
    rule("flood-depth", "threshold", ("mill.depth", "mill.depth2"), (("mill.depth",), ("mill.depth2",)), order=PLAN,
         inhibited_by=(BY_GATEWAY,)),
    rule("flood-rise", "rate", ("mill.depth",), (("mill.depth",),), order=replace(PLAN, verify_for_s=3600.0)),
    rule("gas", "threshold", ("well.ch4",), (("well.ch4",),), domain="gas", is_latching=True,
         inhibited_by=(BY_GATEWAY,)),
    rule("low-oxygen", "threshold", ("weir.do",), (("weir.do",),), domain="water",
         order=replace(PLAN, template="water")),
    rule("no-data", "no_data", ("mill.depth", "well.ch4"), (("mill.depth",), ("well.ch4",)), is_diagnostic=True,
         limits=(), inhibited_by=(BY_GATEWAY,)),
    rule("gateway-silent", "gateway_silent", ("gw-1", "gw-2"), ((), ()), is_diagnostic=True, limits=()),
)  # fmt: skip


def city(rules: tuple[Rule, ...] = RULES, **more: Any) -> CityConfig:
    teams = (
        Team(id="desk", name=text("desk"), kind="duty", unit="desk"),
        Team(id="pumps", name=text("pumps"), kind="crew", domains=("flood",), unit="pumps"),
        Team(id="waterworks", name=text("waterworks"), kind="crew", domains=("water",), unit="waterworks"),
        Team(id="bo", name=text("crew Bo"), kind="crew", domains=("water",), unit="bo"),
    )
    given: dict[str, Any] = {
        "name": text("Mill City"), "timezone": "Asia/Shanghai", "broker_url": "mqtt://localhost",
        "sites": {
            name: Site(id=name, name=text(name), domain=domain, kind="underpass", area="north", lat=30.2, lon=120.1,
                       gateway=gateway)
            for name, domain, gateway in (
                ("mill", "flood", "gw-1"), ("well", "gas", "gw-2"), ("weir", "water", "gw-2"))
        },
        "gateways": {g: Gateway(id=g, codec="json", silent_after_s=180, area="north") for g in ("gw-1", "gw-2")},
        "quantities": {}, "sensors": SENSORS, "rules": rules, "teams": {t.id: t for t in teams},
        "routes": (
            Route(id="all-to-desk", to="desk", channel="board", origin=HERE),
            Route(id="red-to-desk", to="desk", channel="phone", at_least=RED, origin=HERE),
            Route(id="pump-crew", to="pumps", channel="phone", domains=("flood",), origin=HERE),
        ),
        "channels": {c: ChannelConfig(id=c, kind="log", settings=None, origin=HERE) for c in ("board", "phone")},
        "templates": {"pump": OrderTemplate(id="pump", name=text("pump"))},
        "fingerprint": "f", "files": (),
    }  # fmt: skip
    return CityConfig(**(given | more))


TABLE = SensorTable.build(tuple(s.id for s in SENSORS), SENSORS)


@dataclass
class Ledger:
    """What was committed: enough to open the desk again."""

    alarms: dict[str, Alarm] = field(default_factory=dict)
    orders: dict[str, WorkOrder] = field(default_factory=dict)
    mutes: dict[str, Mute] = field(default_factory=dict)
    storms: dict[str, Storm] = field(default_factory=dict)
    exercises: dict[str, Exercise] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    obsolete: list[tuple[str, str]] = field(default_factory=list)

    def commit(self, effects: Effects) -> None:
        self.alarms |= effects.alarms
        # The ledger keeps order data as JSON, so a restart gets it back as JSON does.
        self.orders |= {k: replace(o, data=json.loads(json.dumps(o.data))) for k, o in effects.orders.items()}
        self.mutes |= effects.mutes
        self.storms |= effects.storms
        self.exercises |= effects.exercises
        self.events += effects.events
        self.notices += effects.notices
        self.obsolete += effects.obsolete

    def open_state(self, now_ms: int) -> OpenState:
        numbers: dict[str, int] = {}
        for alarm in self.alarms.values():
            numbers[alarm.dedup_key] = max(alarm.occurrence, numbers.get(alarm.dedup_key, 0))
        serials: dict[str, int] = {}
        for order in self.orders.values():
            _, day, serial = order.id.split("-")
            serials[day] = max(int(serial), serials.get(day, 0))
        recent = now_ms - REOPEN_WITHIN_S * 1000
        return OpenState(
            alarms=tuple(a for a in self.alarms.values() if is_retained(a) or a.is_point),
            orders=tuple(
                o for o in self.orders.values()
                if o.state not in ENDS or (o.state is OrderState.CLOSED and o.state_ms >= recent)
            ),
            occurrences=numbers,
            order_serials=serials,
            rota_events=tuple(e for e in self.events if e.subject_kind == "rota"),
            mutes=tuple(m for m in self.mutes.values() if not m.is_over or m.origin),
            exercises=tuple(e for e in self.exercises.values() if e.ended_ms is None),
            raises=self._raises(now_ms),
            storms=tuple(self.storms.values()),
        )  # fmt: skip

    def _raises(self, now_ms: int) -> dict[str, tuple[tuple[int, int], ...]]:
        found: dict[str, list[tuple[int, int]]] = {}
        for alarm in sorted(self.alarms.values(), key=lambda a: (a.dedup_key, a.occurrence)):
            if alarm.raised_wall_ms > now_ms - RECENT_S * 1000 and not alarm.is_historical:
                found.setdefault(alarm.dedup_key, []).append((alarm.raised_ms, alarm.raised_wall_ms))
        return {key: tuple(raises) for key, raises in found.items()}


class World:
    """A desk, its ledger, and a clock that moves when told to."""

    def __init__(self, config: CityConfig | None = None) -> None:
        self.config = config or city()
        self.now_ms = T0
        self.table = SensorTable.build(tuple(s.id for s in self.config.sensors), self.config.sensors)
        self.desk = Desk(self.config, self.table)
        self.ledger = Ledger()
        self.journal: list[ReadingBatch] = []
        self._snapshot: dict[str, Any] = {}
        self._ids = itertools.count(1)

    # time and restarts

    def wait(self, seconds: float) -> Effects:
        """Let time pass and give the desk one tick at its end."""
        self.now_ms += round(seconds * 1000)
        return self.tick()

    def tick(self, *transitions: Transition, batch: ReadingBatch | None = None, commands: Any = ()) -> Effects:
        batch = batch if batch is not None else ReadingBatch.empty()
        self.journal.append(batch)
        effects = self.desk.receive(transitions, batch, commands, self.now_ms)
        self.ledger.commit(effects)
        return effects

    def snapshot(self) -> None:
        self._snapshot = self.desk.state()
        self.journal = []

    def restart(self, config: CityConfig | None = None) -> None:
        """Kill the desk; stand up another from the ledger, the last snapshot and the journal after it."""
        self.config = config or self.config
        self.desk = Desk(self.config, self.table, self.ledger.open_state(self.now_ms))
        self.desk.restore(self._snapshot)
        for number, batch in enumerate(self.journal):
            self.desk.replay(batch, number)

    # what happens

    def change(self, kind: TransitionKind, rule_id: str = "flood-depth", scope: str = "mill.depth",
               level: Priority | None = None, value: float = 30.0, **more: Any) -> Transition:  # fmt: skip
        crossed = tuple(
            Crossing(level=at, limit=cm, side=Side.AT_LEAST, origin=Origin(file="rules.yaml", line=10 + at))
            for at, cm in CM.items()
            if level is not None and at >= level
        )
        given: dict[str, Any] = {
            "rule_version": "v1", "event_ms": self.now_ms, "received_ms": self.now_ms, "crossed": crossed,
            "because": Text(zh=f"{scope} 水深 {value} cm", en=f"{scope} is {value} cm"),
        }  # fmt: skip
        return Transition(rule=rule_id, scope=scope, kind=kind, level=level, value=value, **(given | more))

    def raises(
        self, scope: str = "mill.depth", level: Priority = RED, rule_id: str = "flood-depth", **more: Any
    ) -> Effects:
        return self.tick(self.change(TransitionKind.RAISE, rule_id, scope, level, **more))

    def levels(self, level: Priority, scope: str = "mill.depth", rule_id: str = "flood-depth") -> Effects:
        return self.tick(self.change(TransitionKind.LEVEL, rule_id, scope, level))

    def clears(self, scope: str = "mill.depth", rule_id: str = "flood-depth", **more: Any) -> Effects:
        return self.tick(self.change(TransitionKind.CLEAR, rule_id, scope, value=1.0, **more))

    def late(self, scope: str = "mill.depth", level: Priority = YELLOW, event_ms: int | None = None) -> Effects:
        change = self.change(TransitionKind.RAISE, scope=scope, level=level, lane=Lane.HISTORY)
        return self.tick(replace(change, event_ms=event_ms or T0 - 3_600_000))

    def readings(self, name: str, minutes: int, *, every_s: int = 60, quality: Quality = Quality.GOOD) -> list[Effects]:
        """Let `minutes` pass in which a sensor sends good readings, a tick each."""
        found = []
        for _ in range(minutes * 60 // every_s):
            self.now_ms += every_s * 1000
            batch = ReadingBatch.of([TABLE.index[name]], [self.now_ms], [1.0], quality=np.array([quality], np.uint8))
            found.append(self.tick(batch=batch))
        return found

    def asks(self, actor: Actor, verb: str, target: str, **data: Any) -> Answer:
        command = Command(id=f"c{next(self._ids)}", verb=verb, target=target, actor=actor, at_ms=self.now_ms, data=data)
        return self.tick(commands=[command]).answers[0]

    def does(self, actor: Actor, verb: str, target: str, **data: Any) -> Answer:
        answer = self.asks(actor, verb, target, **data)
        assert answer.ok, answer.message
        return answer

    # what is so

    def alarm(self, key: str = "flood-depth|mill.depth") -> Alarm:
        """The newest occurrence of a key, from the ledger."""
        return max((a for a in self.ledger.alarms.values() if a.dedup_key == key), key=lambda a: a.occurrence)

    def order(self) -> WorkOrder:
        """The newest order."""
        return max(self.ledger.orders.values(), key=lambda o: o.id)

    def kinds(self, subject: str) -> list[str]:
        return [e.kind for e in self.ledger.events if e.subject == subject]

    def repaired(self, order_id: str) -> None:
        """Crew Ada accepts, arrives and reports."""
        self.does(ADA, "order.accept", order_id)
        self.wait(300)
        self.does(ADA, "order.arrive", order_id, position=[30.2, 120.1])
        self.wait(600)
        self.does(ADA, "order.report", order_id, **REPAIR)
