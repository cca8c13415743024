"""A district for a month on a virtual clock: sensors that alarm and relapse, people who work, err and forget."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from alerts.desk import Desk
from alerts.orders.table import ENDS, VERIFIED_STATES
from citypulse.ledger import Ledger, Tick
from citypulse.model import (
    Actor,
    Command,
    Crossing,
    Effects,
    OrderPlan,
    OrderState,
    OrderStep,
    OrderTemplate,
    Priority,
    Quality,
    ReadingBatch,
    SensorTable,
    Side,
    Site,
    Team,
    Text,
    TimeLimit,
    Transition,
    TransitionKind,
    WorkOrder,
)
from tests.alerts.cast import CM, HERE, city, photo, rule, sensor, text

START = 1_789_344_000_000  # Monday 14 September 2026, 08:00 in Hangzhou
DAYS = 30
S = OrderState
WD, WH = 28_800.0, 3_600.0
TEMPLATES = {
    "pump": OrderTemplate(id="pump", name=text("pump")),
    "sewer": OrderTemplate(
        id="sewer", name=text("sewer"), checklist=(text("fence"), text("measure")), is_checklist_required=True,
        timers={
            Priority.P3: {"T3": TimeLimit(seconds=1800.0)},
            Priority.P4: {"T4": TimeLimit(seconds=3 * WD, is_work=True)},
        },
    ),
    "build": OrderTemplate(
        id="build", name=text("build"),
        timers={level: {"T4": TimeLimit(seconds=20 * WD, is_work=True)} for level in Priority},
        steps=(
            OrderStep(id="stop", name=text("stop"), within=TimeLimit(seconds=4 * WH, is_work=True)),
            OrderStep(id="fine", name=text("fine"), within=TimeLimit(seconds=7 * WD, is_work=True), after="stop"),
            OrderStep(id="clear", name=text("clear"), within=TimeLimit(seconds=40 * 86_400.0)),
        ),
    ),
}  # fmt: skip
CREWS = {"pumps": ("flood",), "east": ("water",), "west": ("water",)}
DUTY = Actor(name="Dan", role="duty", unit="desk")
LEAD = Actor(name="Lea", role="lead", unit="desk")
DISPATCHER = Actor(name="Di", role="dispatcher", unit="desk")
BOSS = Actor(name="Bao", role="boss", unit="bureau")
SUP = Actor(name="Sun", role="supervisor", unit="bureau")
CITIZEN = Actor(name="line 12345", role="public")
CHECKERS = [Actor(name=f"Chen {n}", role="checker", unit="inspection") for n in range(4)]
REPAIR = {"photo_before": photo("before"), "photo_after": photo("after"), "action": "mended"}
HERE_NOW = [30.27, 120.12]


def month_city(places: int, slot_s: int) -> tuple[Any, SensorTable]:
    """Flood sites that one crew serves, and water sites for which two could go."""
    names = [(f"s{n:03d}", "flood" if n % 3 else "water") for n in range(places)]
    sensors = tuple(sensor(f"{n}.depth", n, "gw-1", d, cadence_s=slot_s) for n, d in names)
    rules = tuple(
        rule(f"{d}-depth", "threshold", tuple(f"{n}.depth" for n, o in names if o == d),
             tuple((f"{n}.depth",) for n, o in names if o == d), domain=d,
             order=OrderPlan(template=t, verify_for_s=600.0, coverage=0.5, opens_at=Priority.P4))
        for d, t in (("flood", "pump"), ("water", "sewer"))
    )  # fmt: skip
    crews = {c: Team(id=c, name=text(c), kind="crew", domains=d, unit=c) for c, d in CREWS.items()}
    teams = {"desk": Team(id="desk", name=text("desk"), kind="duty")} | crews
    place = {"kind": "underpass", "area": "north", "lat": 30.2, "lon": 120.1, "gateway": "gw-1"}
    sites = {n: Site(id=n, name=text(n), domain=d, **place) for n, d in names}
    config = city(rules, sensors=sensors, templates=TEMPLATES, teams=teams, sites=sites)
    return config, SensorTable.build(tuple(s.id for s in sensors), sensors)


class Month:
    """Runs the district slot by slot: what is due in one slot is one tick."""

    def __init__(self, folder: Path, *, orders: int, slot_s: int, places: int, seed: int = 7) -> None:
        self.config, self.table = month_city(places, slot_s)
        self.folder, self.slot_s, self.wanted, self.seed = folder, slot_s, orders, seed
        self.draw = random.Random(seed)
        self.ledger = Ledger.open(folder)
        self.now = START
        self.desk = Desk(self.config, self.table, self.ledger.load_open(self.now))
        self.orders: dict[str, WorkOrder] = {}
        self.next: dict[str, int] = {}
        self.alarmed: dict[str, Priority] = {}  # scope → level
        self.quiet_from: dict[str, int] = {}  # when an alarm's cause will be gone
        self.relapse: list[tuple[int, str]] = []
        self.rows: Counter[tuple[str, int, str]] = Counter()
        self.refused: Counter[str] = Counter()
        self.tick_number = self.ids = self.restarts = 0
        self.refusals_seen: list[str] = []

    # ── a slot ──────────────────────────────────────────────────────────────────────────────────

    def run(self) -> None:
        slots = DAYS * 86_400 // self.slot_s
        for slot in range(slots):
            self.now = START + (slot + 1) * self.slot_s * 1000
            by_now = min(self.wanted, self.wanted * (slot + 1) / (slots * 0.9))
            fresh = max(0, min(20, round(by_now - len(self.orders))))
            changes = self._sensors(fresh)
            commands = [c for _ in range(fresh) if self.draw.random() < 0.55 and (c := self._report())]
            commands += self._people()
            self._tick(changes, commands)
            if slot and slot % (slots // 6) == 0:
                self._restart()

    def _tick(self, changes: list[Transition], commands: list[Command]) -> None:
        effects = self.desk.receive(changes, self._readings(), commands, self.now)
        self.tick_number += 1
        self.ledger.commit(Tick(number=self.tick_number, now_ms=self.now, effects=effects))
        self._learn(effects)
        for command, answer in zip(commands, effects.answers, strict=True):
            if not answer.ok:
                assert answer.code in {"not_allowed", "exists", "forbidden"}, (command, answer.message)
                self.refused[f"{command.verb}: {answer.code}"] += 1
                self.refusals_seen.append(answer.message)

    def _learn(self, effects: Effects) -> None:
        for order in effects.orders.values():
            self.orders[order.id] = order
            self.next[order.id] = self.now + round(self.draw.expovariate(1 / (2.5 * self.slot_s)) * 1000)
            if order.state in ENDS and self.draw.random() > 0.05:
                self.next.pop(order.id, None)
        for event in effects.events:
            if event.subject_kind == "order" and "transition" in event.data:
                self.rows[self.orders[event.subject].kind, event.data["transition"], event.kind] += 1

    def _restart(self) -> None:
        """Stop and stand up again from the ledger and a snapshot of the witness; nothing may have changed."""
        state, before = self.desk.state(), {k: o for k, o in self.desk.book.orders.items() if o.state not in ENDS}
        self.ledger.close()
        self.ledger = Ledger.open(self.folder)
        self.desk = Desk(self.config, self.table, self.ledger.load_open(self.now))
        self.desk.restore(state)
        after = {k: o for k, o in self.desk.book.orders.items() if o.state not in ENDS}
        assert after == before
        self.restarts += 1

    # ── sensors ─────────────────────────────────────────────────────────────────────────────────

    def _sensors(self, fresh: int) -> list[Transition]:
        found = []
        for scope in [s for s, at in self.quiet_from.items() if at <= self.now and s in self.alarmed]:
            del self.alarmed[scope], self.quiet_from[scope]
            found.append(self._change(TransitionKind.CLEAR, scope, None))
            if self.draw.random() < 0.12:
                self.relapse.append((self.now + round(self.draw.uniform(1, 60) * 3_600_000), scope))
        scopes = [s.id for s in self.config.sensors]
        due = [s for at, s in self.relapse if at <= self.now]
        self.relapse = [(at, s) for at, s in self.relapse if at > self.now]
        due += [self.draw.choice(scopes) for _ in range(fresh) if self.draw.random() < 0.6]
        for scope in dict.fromkeys(due):
            if scope in self.alarmed:
                worse = Priority(max(1, self.alarmed[scope] - 1))
                if worse < self.alarmed[scope]:
                    self.alarmed[scope] = worse
                    found.append(self._change(TransitionKind.LEVEL, scope, worse))
                continue
            level = self.draw.choice((Priority.P1, Priority.P2, Priority.P3, Priority.P3, Priority.P4, Priority.P4))
            self.alarmed[scope] = level
            if self.draw.random() < 0.2:  # it goes by itself
                self.quiet_from[scope] = self.now + round(self.draw.uniform(1, 24) * 3_600_000)
            found.append(self._change(TransitionKind.RAISE, scope, level))
        return found

    def _change(self, kind: TransitionKind, scope: str, level: Priority | None) -> Transition:
        domain = next(s.domain for s in self.config.sensors if s.id == scope)
        crossed = tuple(
            Crossing(level=at, limit=cm, side=Side.AT_LEAST, origin=HERE)
            for at, cm in CM.items() if level is not None and at >= level
        )  # fmt: skip
        return Transition(
            rule=f"{domain}-depth", scope=scope, kind=kind, level=level, value=30.0 if level else 1.0,
            rule_version="v1", event_ms=self.now, received_ms=self.now, crossed=crossed,
            because=Text(zh=scope, en=scope),
        )  # fmt: skip

    def _readings(self) -> ReadingBatch:
        """Sensors of places that wait for proof send a good reading a slot; every eleventh sensor is dead."""
        watched = {i for o in self.desk.book.orders.values() if o.state in VERIFIED_STATES for i in o.watched}
        index = sorted(self.table.index[i] for i in watched if self.table.index[i] % 11)
        if not index:
            return ReadingBatch.empty()
        return ReadingBatch.of(index, [self.now] * len(index), [1.0] * len(index),
                               quality=np.full(len(index), Quality.GOOD, np.uint8))  # fmt: skip

    # ── people ──────────────────────────────────────────────────────────────────────────────────

    def _command(self, actor: Actor, verb: str, target: str, data: dict[str, Any]) -> Command:
        self.ids += 1
        return Command(id=f"c{self.ids}", verb=f"order.{verb}", target=target, actor=actor, at_ms=self.now, data=data)

    def _report(self) -> Command:
        pick, site = self.draw.random(), self.draw.choice(list(self.config.sites))
        level = self.draw.choice(("orange", "yellow", "yellow", "blue"))
        data: dict[str, Any] = {
            "site": site,
            "cause": self.draw.choice(("litter", "illegal-works", "smell")),
            "level": level,
        }
        if data["cause"] == "illegal-works":
            data["template"] = "build"
        if pick < 0.25:
            team = self.draw.choice(list(CREWS))
            return self._command(DUTY, "new", "", data | {"kind": "notice", "team": team, "note": "for your eyes"})
        if pick < 0.5:
            return self._command(CITIZEN, "new", "", data | {"contact": "138 0000 0000", "note": "it smells"})
        if pick < 0.65:
            return self._command(DUTY, "new", "", data | {"source": "drone", "confidence": 0.8, "photo": photo("air")})
        return self._command(DUTY, "new", "", data | {"source": self.draw.choice(("officer", "patrol"))})

    def _people(self) -> list[Command]:
        found = []
        for number in [n for n, at in self.next.items() if at <= self.now]:
            order = self.orders[number]
            self.next[number] = self.now + round(self.draw.expovariate(1 / (4 * self.slot_s)) * 1000)
            asked = self._notice(order) if order.kind == "notice" else self._dispatch(order)
            if asked is None:
                if order.state in ENDS:
                    del self.next[number]
                continue
            actor, verb, data = asked
            found.append(self._command(actor, verb, number, data))
        return found

    def _crew(self, order: WorkOrder) -> Actor:
        return Actor(
            name=f"{order.team} {self.draw.randrange(3)}", role=self.draw.choice(("crew", "unit")), unit=order.unit
        )

    def _notice(self, order: WorkOrder) -> tuple[Actor, str, dict[str, Any]] | None:
        roll = self.draw.random()
        if order.state in ENDS:
            return None
        if roll < 0.04:
            return LEAD, "cancel", {"reason": "sent in error"}
        if roll < 0.08:
            return SUP, "supervise", {"reason": "slow"}
        if order.state is S.ACCEPTED:
            return DISPATCHER, "close", {"note": "answered"}
        return self._crew(order), "read" if roll < 0.4 else "acknowledge", {}

    def _dispatch(self, order: WorkOrder) -> tuple[Actor, str, dict[str, Any]] | None:
        roll, is_serious = self.draw.random(), order.level <= Priority.P2
        why = {"reason": "as the story goes"}
        crews = [c for c, domains in CREWS.items() if order.domain in domains]
        if order.state is S.CLOSED:
            return (SUP, "reopen", why) if roll < 0.5 else None
        if order.state in ENDS:
            return None
        if self.draw.random() < 0.012:
            return (BOSS if is_serious else LEAD), "cancel", why
        if self.draw.random() < 0.02:
            return SUP, "supervise", why
        match order.state:
            case S.REPORTED:
                if roll < 0.2 and not is_serious:
                    return DUTY, "verify", {}
                if roll < 0.3:
                    return LEAD, "reject", {"code": self.draw.choice(("false_alarm", "duplicate", "test"))}
                return DUTY, "file", {"class_code": "0203040506"}
            case S.VERIFYING:
                return (DUTY, "file", {}) if roll < 0.8 else (DUTY, "reject", {"code": "false_alarm"})
            case S.FILED:
                return DISPATCHER, "dispatch", {"team": self.draw.choice(crews)}
            case S.RETURNED:
                return DISPATCHER, "redispatch", {"team": self.draw.choice(crews)}
            case S.DISPATCHED:
                return self._sent(order, roll, why)
            case S.ACCEPTED | S.HANDLING:
                return self._at_work(order, roll, why)
            case S.DEFERRED | S.SUSPENDED:
                return (DISPATCHER, "resume", {}) if roll < 0.25 else None
            case S.FED_BACK:
                return (self.draw.choice(CHECKERS), "check", {}) if roll < 0.7 else (DUTY, "check", {})
            case _:
                return self._check(order, roll, why)

    def _sent(self, order: WorkOrder, roll: float, why: dict[str, Any]) -> tuple[Actor, str, dict[str, Any]]:
        if roll < 0.08:
            return self._crew(order), "return", why
        if roll < 0.16:
            return LEAD, "return", why | {"mis_dispatch": self.draw.random() < 0.5}
        acted = max(order.data["sent_ms"], self.now - 600_000)
        return self._crew(order), "accept", {"acted_ms": acted} if roll < 0.5 else {}

    def _at_work(self, order: WorkOrder, roll: float, why: dict[str, Any]) -> tuple[Actor, str, dict[str, Any]]:
        crew = self._crew(order)
        if roll < 0.04:
            return crew, "extend", why
        if roll < 0.10:
            return LEAD, "extend", why
        if roll < 0.15:
            until = (order.due_ms or self.now) + round(self.draw.uniform(1, 72) * 3_600) * 1000
            return BOSS, "extend", why | {"until_ms": until}
        if roll < 0.22:
            return LEAD, "defer", why | {"review_ms": self.now + round(self.draw.uniform(0.5, 9) * 86_400) * 1000}
        if roll < 0.27:
            review = self.now + round(self.draw.uniform(0.5, 14) * 86_400) * 1000
            return BOSS, "suspend", {"plan": "next season", "interim": "fenced", "review_ms": review}
        if order.state is S.ACCEPTED:
            return (LEAD, "return", why) if roll < 0.31 else (crew, "arrive", {"position": HERE_NOW})
        if order.template == "sewer" and roll < 0.5:
            return crew, "tick", {"item": self.draw.choice((1, 2))}
        if order.template == "build":
            left = [s for s in ("stop", "fine", "clear") if s not in order.data.get("steps", {})]
            if left and roll < 0.8:
                return crew, "finish", {"step": left[0]}
        for name in order.watched:
            if name in self.alarmed and self.draw.random() < 0.85:
                self.quiet_from.setdefault(name, self.now + self.slot_s * 1000)
        data = dict(REPAIR)
        return crew, "report", data | ({"checklist": [1, 2]} if order.template == "sewer" and roll < 0.9 else {})

    def _check(self, order: WorkOrder, roll: float, why: dict[str, Any]) -> tuple[Actor, str, dict[str, Any]]:
        checker = self.draw.choice(CHECKERS)
        proof = {"proof": {"photo": photo("proof"), "lat": 30.2, "lon": 120.1}}
        if roll < 0.12:
            return checker, "rework", why
        if roll < 0.45 and "passed" not in order.data:
            return checker, "pass", {"photo": photo("check")}
        if order.level <= Priority.P2:
            return (LEAD, "close", proof) if "passed" in order.data else (checker, "pass", {})
        return checker, "close", proof
