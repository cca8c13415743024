"""The deliverer against the real outbox of the ledger and channels that fail in every way they can."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import stamina

from alerts.channels import Channel, ChannelSettings
from alerts.channels.log import LogChannel
from alerts.delivery.outbox import ATTEMPTS_MAX, LEASE_MS, Deliverer, wait_ms
from citypulse.clock import SystemClock, VirtualClock
from citypulse.errors import DeliveryError
from citypulse.ledger import Ledger, Tick
from citypulse.model import Command, Notice, Priority
from tests.alerts.cast import DUTY, RED, YELLOW, World, city


@pytest.fixture(autouse=True)
def no_quick_retries():
    stamina.set_testing(True, attempts=1)
    yield
    stamina.set_testing(False)


class Phone(Channel):
    """A provider that does what the test says, and remembers what it took."""

    settings = ChannelSettings
    sample: ClassVar[dict[str, Any]] = {}

    def __init__(self, does: Callable[[Notice], str] = lambda _n: "ok") -> None:
        super().__init__(ChannelSettings(), Path())
        self.does = does
        self.took: list[Notice] = []

    def send(self, notice: Notice, now_ms: int) -> str:
        code = self.does(notice)
        self.took.append(notice)
        return code


def fails(*, permanent: bool) -> Callable[[Notice], str]:
    def does(_: Notice) -> str:
        raise DeliveryError("the provider says no", permanent=permanent, provider_code="E7")

    return does


def crashes(_: Notice) -> str:
    raise RuntimeError("a mistake of ours")


class Desk:
    """A world whose effects are committed to a real ledger, and a deliverer that reads it."""

    def __init__(self, tmp_path: Path, **phones: Phone) -> None:
        self.world = World()
        self.path = tmp_path
        self.ledger = Ledger.open(tmp_path)
        self.number = 0
        self.phones = phones
        self.limits = dict.fromkeys(phones, 600)
        self.deliverer = Deliverer(self.ledger.outbox, phones, self.limits, VirtualClock(self.world.now_ms))

    def commit(self, effects: Any) -> None:
        self.number += 1
        self.ledger.commit(Tick(number=self.number, now_ms=self.world.now_ms, effects=effects))

    def after(self, seconds: float) -> int:
        self.world.now_ms += round(seconds * 1000)
        return self.deliverer.step(self.world.now_ms)

    def states(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for row in sorted(self.ledger.outbox_rows(limit=1000), key=lambda r: r.id):
            found.setdefault(row.notice.channel, []).append(row.state)
        return found


@pytest.fixture
def desk(tmp_path):
    made = Desk(tmp_path, board=Phone(), phone=Phone())
    yield made
    made.ledger.close()


def red_gas(desk: Desk) -> Any:
    """One alarm with two notices: the board's and the phone's, and no order."""
    return desk.world.raises("well.ch4", RED, "gas")


def test_a_notice_is_sent_once_and_its_answer_kept(desk):
    desk.phones["phone"].does = lambda _n: "msg-42"
    desk.commit(red_gas(desk))
    assert desk.after(0) == 2
    assert desk.after(60) == 0
    row = next(r for r in desk.ledger.outbox_rows() if r.notice.channel == "phone")
    assert (row.state, row.provider_code, row.delivered_ms) == ("delivered", "msg-42", desk.world.now_ms - 60_000)
    assert desk.deliverer.health["phone"].delivered == 1


def test_a_passing_failure_is_tried_again_later_with_the_same_key(desk):
    desk.phones["phone"].does = fails(permanent=False)
    desk.commit(red_gas(desk))
    desk.after(0)
    assert desk.after(wait_ms(1) / 1000 - 1) == 0
    desk.phones["phone"].does = lambda _n: "ok"
    assert desk.after(1) == 1
    row = next(r for r in desk.ledger.outbox_rows() if r.notice.channel == "phone")
    assert (row.state, row.attempts) == ("delivered", 2)
    health = desk.deliverer.health["phone"]
    assert (health.retried, health.delivered, health.in_a_row, health.last_error) == (1, 1, 0, "")


def test_a_permanent_refusal_is_not_tried_again(desk):
    desk.phones["phone"].does = fails(permanent=True)
    desk.commit(red_gas(desk))
    desk.after(0)
    assert desk.after(86_400) == 0
    row = next(r for r in desk.ledger.outbox_rows() if r.notice.channel == "phone")
    assert (row.state, row.last_error, row.provider_code) == ("failed", "the provider says no", "E7")


@pytest.mark.parametrize("does", [fails(permanent=False), crashes], ids=["no answer", "our bug"])
def test_nothing_is_tried_for_ever(desk, does):
    desk.phones["board"].does = does
    desk.commit(desk.world.raises("well.ch4", YELLOW, "gas"))
    for _ in range(ATTEMPTS_MAX[False] + 5):
        desk.after(600)
    row = next(r for r in desk.ledger.outbox_rows() if r.notice.channel == "board")
    assert (row.state, row.attempts) == ("dead", ATTEMPTS_MAX[False])
    assert "given up after 12 attempts" in row.last_error


def test_a_dead_channel_holds_up_nobody_else(desk):
    desk.phones["phone"].does = fails(permanent=False)
    desk.commit(red_gas(desk))
    desk.after(0)
    assert [n.channel for n in desk.phones["board"].took] == ["board"]
    assert desk.deliverer.health["phone"].failing_since_ms == desk.world.now_ms
    assert desk.deliverer.health["board"].failing_since_ms is None


def test_what_was_acknowledged_before_it_was_sent_is_not_sent(desk):
    desk.phones["phone"].does = fails(permanent=False)
    desk.commit(red_gas(desk))
    desk.after(0)
    number = desk.world.alarm("gas|well.ch4").id
    command = Command(id="c", verb="alarm.acknowledge", target=number, actor=DUTY, at_ms=desk.world.now_ms)
    desk.commit(desk.world.tick(commands=[command]))
    desk.phones["phone"].does = lambda _n: "ok"
    desk.after(3600)
    assert not desk.phones["phone"].took
    assert desk.states()["phone"] == ["obsolete"]


def test_what_came_and_went_before_it_was_sent_is_told_with_its_end(desk):
    desk.commit(red_gas(desk))
    desk.commit(desk.world.clears("well.ch4", "gas"))
    desk.after(0)
    desk.after(1)
    assert [n.kind.value for n in desk.phones["board"].took] == ["raised", "cleared"]


def test_nobody_hears_the_end_of_what_he_never_heard_begin(desk):
    desk.commit(red_gas(desk))
    number = desk.world.alarm("gas|well.ch4").id
    command = Command(id="c", verb="alarm.acknowledge", target=number, actor=DUTY, at_ms=desk.world.now_ms)
    desk.commit(desk.world.tick(commands=[command]))
    desk.commit(desk.world.clears("well.ch4", "gas"))
    desk.after(0)
    assert desk.phones["board"].took == []
    assert desk.states()["board"] == ["obsolete", "obsolete"]


def test_the_end_comes_after_the_beginning_even_when_the_beginning_had_to_wait(desk):
    desk.phones["phone"].does = fails(permanent=False)
    desk.commit(red_gas(desk))
    desk.after(0)
    desk.commit(desk.world.clears("well.ch4", "gas"))
    desk.phones["phone"].does = lambda _n: "ok"
    for _ in range(5):
        desk.after(60)
    kinds = [n.kind.value for n in desk.phones["phone"].took]
    assert kinds in (["raised", "cleared"], ["cleared"])


def test_a_sender_that_dies_in_the_middle_loses_nothing(desk):
    desk.commit(red_gas(desk))
    leased = desk.ledger.outbox.lease(desk.world.now_ms, 10, LEASE_MS, channels=["phone"])
    assert len(leased) == 1  # and here the process dies
    assert desk.after(LEASE_MS / 1000 - 1) == 1, "only the board's"
    assert desk.after(1) == 1
    assert desk.states() == {"board": ["delivered"], "phone": ["delivered"]}


def test_a_provider_is_not_asked_more_often_than_it_takes(desk):
    desk.deliverer._limits["board"] = 3
    points = [("mill.depth", "flood-depth"), ("mill.depth2", "flood-depth"), ("weir.do", "low-oxygen")]
    points += [("well.ch4", "gas"), ("gw-1", "gateway-silent")]
    for scope, rule in points:
        desk.commit(desk.world.raises(scope, RED, rule))
    desk.after(0)
    assert len(desk.phones["board"].took) == 3
    desk.after(30)
    assert len(desk.phones["board"].took) == 3
    desk.after(31)
    assert len(desk.phones["board"].took) > 3


def test_the_waits_grow_to_a_limit_and_red_ones_are_shorter():
    assert [wait_ms(n) // 1000 for n in (1, 2, 3, 8, 40)] == [5, 10, 20, 600, 600]
    assert [wait_ms(n, Priority.P1) // 1000 for n in (1, 4, 5, 40)] == [5, 40, 60, 60]


def test_a_configured_city_gets_its_channels_and_the_threads_deliver(desk, tmp_path):
    config = city()
    channels = {
        name: type(c)(id=name, kind="log", settings=LogChannel.settings(file=f"{name}.jsonl"), origin=c.origin)
        for name, c in config.channels.items()
    }
    config = type(config)(**{f: getattr(config, f) for f in config.__slots__} | {"channels": channels})
    deliverer = Deliverer.of(config, desk.ledger.outbox, SystemClock(), tmp_path)
    desk.commit(red_gas(desk))
    stop = threading.Event()
    thread = threading.Thread(target=deliverer.run, args=(stop,))
    thread.start()
    try:
        for name in ("board", "phone"):
            while not (tmp_path / f"{name}.jsonl").exists():
                stop.wait(0.01)
    finally:
        stop.set()
        thread.join(5)
    line = json.loads((tmp_path / "phone.jsonl").read_text("utf-8").splitlines()[0])
    assert line["level"] == "red"
    assert not thread.is_alive()


def test_a_thread_that_dies_is_not_hidden(desk):
    class Broken:
        def sent_since(self, *_: Any, **__: Any) -> Any:
            raise OSError("the disk is gone")

    deliverer = Deliverer(Broken(), {"phone": Phone()}, {"phone": 600}, SystemClock())
    with pytest.raises(OSError, match="disk is gone"):
        deliverer.run(threading.Event())
