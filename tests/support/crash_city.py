"""A town where everything happens within the hour, run one moment at a time, and stopped between any two effects.

The run keeps its outside world beside it: a broker that redelivers what was not acknowledged, people who ask again
with the same command id when they got no answer, and providers that remember what they took. A crash takes everything
but these and the data folder.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from alerts.delivery.outbox import Deliverer
from citypulse.app import assemble
from citypulse.clock import VirtualClock
from citypulse.journal import Journal
from citypulse.ledger import Ledger
from citypulse.ledger import schema as s
from citypulse.ledger.packing import dump
from citypulse.ledger.tick import OutboxRow
from citypulse.mailbox import Mailbox
from citypulse.metrics import Metrics
from citypulse.model import Actor, Answer, CityConfig, Command, RawMessage, SensorTable
from ingest.inbox import Inbox
from tests.support import small_city
from tests.support.posting import Phone
from tests.support.publisher import reading_message

Fault = Callable[[str], None]
BASE_MS = 1_795_312_800_000  # a Sunday morning
SITES = 6
DUTY = Actor(name="Duty Dan", role="duty", unit="centre")
LEAD = Actor(name="Lead Lea", role="lead", unit="centre")
ADA = Actor(name="Ada", role="crew", unit="drainage")
CHEN = Actor(name="Chen", role="checker", unit="inspection")
REPAIR = {"photo_before": "sha256:" + "a" * 64, "photo_after": "sha256:" + "b" * 64, "action": "pump-out"}
PHONES = ("board", "phone")


class Crash(BaseException):
    """The process is gone: nothing below may catch it."""


def config_text() -> str:
    """Six underpasses; a desk told by two channels, a crew by one; drills on the board; a storm after three alarms."""
    quick = small_city.RULES.replace("on_delay: 10 s, off_delay: 20 s", "off_delay: 10 s")
    whole = small_city.text(sites=SITES, cadence="60 s", rules=quick)
    before, rest = whole.split("channels:\n")
    _, after = rest.split("order_templates:")
    return f"""{before}channels:
  board: {{kind: log, settings: {{file: board.jsonl}}}}
  phone: {{kind: log, settings: {{file: phone.jsonl}}}}
routes:
  - {{id: board, to: desk, channel: board}}
  - {{id: phone, to: desk, channel: phone, at_least: orange}}
  - {{id: crew, to: pumps, channel: phone}}
exercises: {{channels: [board], longest: 2 h}}
storm: {{starts_above: 3, ends_below: 2, window: 10 min, officers: {{desk: 1}}}}
order_templates:{after}"""


def key(site: int) -> str:
    return f"depth|u-{site:06d}.depth"


@dataclass(frozen=True)
class Ask:
    """What somebody asks at one moment. target: dedup key of an alarm, `point:<key>`, `order:<site>`, `mute`, or ""."""

    verb: str
    actor: Actor
    target: str = ""
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Moment:
    """One instant of the script: what the sensors say, and what people ask."""

    at_s: int
    depths: tuple[float, ...]
    asks: tuple[Ask, ...] = ()


def script() -> tuple[Moment, ...]:
    """Return the whole hour: steps of ten seconds while much happens, of a minute afterwards."""

    def after(minutes: float) -> int:
        return BASE_MS + round(minutes * 60_000)

    drill = {"reason": "muster", "sites": ["u-000006"], "level": "red", "minutes": 5}
    repaired = Ask("order.report", ADA, "order:1", REPAIR)
    asks: dict[int, tuple[Ask, ...]] = {
        0: (Ask("mute.new", LEAD, "", {"reason": "pump test", "ends_ms": after(4), "sites": ["u-000004"]}),),
        50: (Ask("alarm.acknowledge", DUTY, key(1)),),
        60: (Ask("order.accept", ADA, "order:1"), Ask("alarm.comment", DUTY, key(2), {"note": "called the crew"})),
        70: (Ask("exercise.start", LEAD, "", drill),),
        80: (
            Ask("order.arrive", ADA, "order:1", {"position": [30.27, 120.12]}),
            Ask("alarm.shelve", DUTY, key(5), {"reason": "known leak", "until_ms": after(6)}),
        ),
        110: (Ask("alarm.acknowledge", DUTY, key(2)), Ask("alarm.acknowledge", ADA, key(3))),  # the second is refused
        130: (repaired, repaired),
        200: (Ask("order.check", CHEN, "order:1"),),
        420: (Ask("order.close", LEAD, "order:1"), Ask("order.accept", ADA, "order:2")),
        600: (Ask("alarm.acknowledge", DUTY, key(3)), Ask("alarm.acknowledge", DUTY, key(4))),
    }
    times = [*range(0, 260, 10), *range(300, 900, 60), *range(900, 2_400, 300)]
    moments = []
    for at_s in times:
        flutter = 15.0 if at_s % 30 < 10 and 20 <= at_s < 220 else 0.0
        moments.append(
            Moment(
                at_s,
                (
                    30.0 if 20 <= at_s < 130 else 0.0,
                    0.0 if at_s < 20 or at_s >= 480 else 22.0 if at_s < 100 or at_s >= 360 else 29.0,
                    flutter,
                    12.0 if 30 <= at_s < 420 else 0.0,
                    25.0 if 40 <= at_s < 540 else 0.0,
                    0.0,
                ),
                asks.get(at_s, ()),
            )
        )
    return tuple(moments)


@dataclass
class Outside:
    """What a crash does not take: the broker, the people and the providers."""

    waiting: dict[int, RawMessage]
    answers: dict[str, Answer] = field(default_factory=dict)
    took: list[tuple[str, str]] = field(default_factory=list)  # (channel, key) of every message taken, in order

    @classmethod
    def of(cls, moments: Sequence[Moment]) -> Outside:
        return cls({k: _message(k, m) for k, m in enumerate(moments)})

    def copy(self) -> Outside:
        return Outside(dict(self.waiting), dict(self.answers), list(self.took))

    def acknowledge(self, messages: Sequence[RawMessage]) -> None:
        for m in messages:
            self.waiting.pop(m.token, None)

    def publish(self, _topic: str, _payload: bytes) -> bool:
        return True


def _message(number: int, moment: Moment) -> RawMessage:
    now_ms = BASE_MS + moment.at_s * 1000
    rows = [(f"u-{k + 1:06d}.depth", now_ms, value) for k, value in enumerate(moment.depths)]
    payload = reading_message("b1", number, rows, now_ms)
    return RawMessage(topic="city/v1/gw-01/readings", payload=payload, received_ms=now_ms, token=number)


_CHANGES = frozenset(
    {"take", "obsolete", "delivered", "retry", "put_back", "hand_over", "failed", "give_up", "put", "part"}
)


class Watched:
    """An outbox that says what it does before and after each of its writes."""

    def __init__(self, inner: Any, fault: Fault) -> None:
        self._inner, self._fault = inner, fault

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in _CHANGES:
            return found

        def told(*args: Any, **kwargs: Any) -> Any:
            self._fault(f"outbox.before_{name}")
            done = found(*args, **kwargs)
            self._fault(f"outbox.after_{name}")
            return done

        return told


class Life:
    """One life of the heart and its deliverer on a data folder, from recovery to the end of the script."""

    def __init__(
        self, folder: Path, config: CityConfig, moments: Sequence[Moment], outside: Outside, fault: Fault
    ) -> None:
        self.moments, self.outside, self.fault = moments, outside, fault
        self.ledger = Ledger.open(folder, fault=fault)
        self.at = 0  # the moment that is being lived through
        journal = Journal(self.ledger)
        self.inbox = Inbox()
        self.mailbox = Mailbox(self.inbox.ready.set)

        def save(tick: int, now_ms: int, parts: dict[str, Any]) -> None:
            fault("snapshot.before")
            journal.save_snapshot(tick, now_ms, parts)
            fault("snapshot.after")

        self.city = assemble(
            config,
            SensorTable.build(self.ledger.sensor_ids([x.id for x in config.sensors]), config.sensors),
            self.ledger, journal, inbox=self.inbox, mailbox=self.mailbox, source=outside, metrics=Metrics(),
            save_snapshot=save, fault=fault,
        )  # fmt: skip
        self.clock = VirtualClock(BASE_MS)
        channels = {name: self._phone(name) for name in PHONES}
        outbox: Any = Watched(self.ledger.outbox, fault)
        self.deliverer = Deliverer(outbox, channels, dict.fromkeys(PHONES, 600), self.clock)

    def _phone(self, name: str) -> Phone:
        phone = Phone()

        def take(notice: Any) -> None:
            self.fault("channel.before_send")
            self.outside.took.append((name, notice.idem_key))
            self.fault("channel.after_send")

        phone.does = take
        return phone

    def live(self, first: int, last: int | None = None, after: Callable[[int], None] = lambda _at: None) -> None:
        """Recover, in no time at all, and go on from moment `first` up to and with `last`; `after` each, be told."""
        counts = self.ledger.counts()
        self.city.recover(counts.last_now_ms or BASE_MS)
        for number in range(first, len(self.moments) if last is None else min(last + 1, len(self.moments))):
            self.at = number
            self._moment(number)
            after(number)

    def _moment(self, number: int) -> None:
        now_ms = BASE_MS + self.moments[number].at_s * 1000
        for token in sorted(t for t in self.outside.waiting if t <= number):
            self.inbox.put(self.outside.waiting[token])
        asked: list[tuple[str, Future[Answer]]] = []
        for k, ask in enumerate(self.moments[number].asks):
            name = f"c{number}-{k if ask.verb != 'order.report' else 0}"
            if name in self.outside.answers:
                continue
            command = Command(
                id=name, verb=ask.verb, target=self._target(ask.target), actor=ask.actor, at_ms=now_ms, data=ask.data
            )
            asked.append((name, self.mailbox.submit(command)))
        self.city.tick(now_ms)
        for name, future in asked:
            self.outside.answers[name] = future.result(timeout=0)
        self.fault("people.answered")
        self.deliverer.step(now_ms)

    def _target(self, name: str) -> str:
        kind, _, site = name.partition(":")
        if kind == "point":
            return site
        if kind == "order":
            asset = f"u-{int(site):06d}"
            found = [o for o in self.ledger.orders(limit=1_000) if o.asset == asset and not o.is_exercise]
            return found[-1].id if found else "none"
        alarms = [a for a in self.ledger.alarms(state="all", limit=1_000) if a.dedup_key == name]
        return max(alarms, key=lambda a: a.occurrence).id if alarms else name

    def end(self) -> None:
        """Close the files, or lose them: the kernel gives the lock back either way."""
        self.ledger.close()


def copy_of(folder: Path, to: Path) -> Path:
    """Copy what kill -9 would leave on the disk: the file and its write-ahead log as they stand now."""
    to.mkdir(parents=True)
    for name in ("city.db", "city.db-wal"):
        if (folder / name).exists():
            shutil.copyfile(folder / name, to / name)
    return to


@dataclass(frozen=True)
class Standing:
    """What stands at one moment, instants and all."""

    alarms: list[Any]
    orders: list[Any]
    others: list[Any]  # mutes, storms, exercises
    record: list[str]  # the hash of every line: equal lists are equal logs, byte for byte
    notices: list[Any]
    answers: dict[str, Any]
    heard: set[tuple[str, str]]
    rules: bytes  # what the heart remembers beside the ledger
    desk: bytes
    is_whole: bool
    kinds: set[str]


def standing(life: Life) -> Standing:
    """Read where a life stands."""
    ledger, state = life.ledger, life.city.state()
    with ledger.reader.connection() as connection:
        others = [
            tuple(row)
            for table in (s.mute, s.storm, s.exercise)
            for row in connection.execute(sa.select(table).order_by(table.c[0]))
        ]
    return Standing(
        alarms=sorted(map(repr, ledger.alarms(state="all", limit=10_000))),
        orders=sorted(map(repr, ledger.orders(limit=10_000))),
        others=others,
        record=[row.hash for row in ledger.events(limit=100_000)],
        notices=[repr(_told(row)) for row in ledger.outbox_rows(limit=10_000)],
        answers={name: repr(answer) for name, answer in sorted(life.outside.answers.items())},
        heard=set(life.outside.took),
        rules=dump(state["rules"]),
        desk=dump(state["desk"]),
        is_whole=ledger.verify().first_broken is None,
        kinds={row.event.kind for row in ledger.events(limit=100_000)},
    )


def _told(row: OutboxRow) -> OutboxRow:
    """A kill costs an attempt, and leaves marks that a provider may have had the message; nothing else may differ."""
    digest = "" if row.state == "obsolete" else row.digest
    return replace(row, id=0, attempts=0, maybe_by="", provider_code="", digest=digest)


def differences(got: Standing, expected: Standing) -> list[str]:
    """Name what differs between two standings, with the first example of each."""
    found = [] if got.is_whole else ["the record's chain is broken"]
    for name in ("alarms", "orders", "others", "record", "notices", "answers", "heard", "rules", "desk"):
        one, other = getattr(got, name), getattr(expected, name)
        if one != other:
            extra = [x for x in one if x not in other][:1] if isinstance(one, (list, set)) else ""
            lacks = [x for x in other if x not in one][:1] if isinstance(one, (list, set)) else ""
            found.append(f"{name} differ: {extra} instead of {lacks}")
    return found
