"""Gateways against a real broker: numbering, the durable watermark, backlogs, and a broker that forgets."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from simulators import gateways as module
from simulators.gateways import SimGateway
from simulators.lines import OwnLine, SharedLine, Trunk
from simulators.wire import read_watermark
from tests.simulators.cast import NOON_MS
from tests.support.mosquitto import Mosquitto, is_installed
from tests.support.publisher import Publisher, Subscriber

pytestmark = pytest.mark.skipif(not is_installed(), reason="mosquitto is not installed")
PATIENCE_S = 15.0
_breath = threading.Event()


@pytest.fixture(scope="module")
def broker() -> Iterator[Mosquitto]:
    with Mosquitto() as running:
        yield running


class TinyCity:
    """Hears one gateway and answers with watermarks when told to."""

    def __init__(self, port: int, name: str) -> None:
        self.name = name
        self.port = port
        self.listen()
        self.voice = Publisher(port, f"voice-{name}")
        self.kept: list[dict] = []

    def listen(self) -> None:
        self.ears = Subscriber(self.port, f"city/v1/{self.name}/readings", f"ears-{self.name}-{time.monotonic_ns()}")
        self.ears.start()

    def heard(self) -> list[dict]:
        return self.kept + [json.loads(payload) for _, payload in list(self.ears.messages)]

    def seqs(self) -> list[int]:
        return [m["seq"] for m in self.heard()]

    def say(self, boot: str, durable_upto: int, missing: list | None = None) -> None:
        body = {"boot": boot, "durable_upto": durable_upto, "missing": missing or []}
        self.voice.send(f"city/v1/{self.name}/ack", json.dumps(body).encode())


def until(gateway: SimGateway, done: Callable[[], bool], now_s: Callable[[], float] = time.monotonic) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while not done():
        gateway.work(now_s(), NOON_MS)
        assert time.monotonic() < give_up, "it did not happen in time"
        _breath.wait(0.005)


def fill(gateway: SimGateway, count: int, first: int = 0) -> None:
    for k in range(first, first + count):
        gateway.record(["w-1.ch4", "w-1.o2"], [NOON_MS + k * 1000] * 2, [0.1, 20.8], NOON_MS + k * 1000)


def made(broker: Mosquitto, name: str, **options) -> tuple[SimGateway, TinyCity]:
    city = TinyCity(broker.port, name)
    gateway = SimGateway(name, OwnLine(broker.url, name), seed=1, start_ms=NOON_MS, **options)
    return gateway, city


def test_a_gateway_numbers_before_it_sends_and_deletes_only_what_is_durable(broker):
    gateway, city = made(broker, "gw-a")
    fill(gateway, 5)
    assert gateway.pending == 5
    until(gateway, lambda: city.seqs() == [1, 2, 3, 4, 5])
    first = city.heard()[0]
    assert first["boot"] == gateway.boot
    assert first["sent"] == NOON_MS
    assert gateway.pending == 5  # the broker's word deletes nothing
    city.say(gateway.boot, 3)
    until(gateway, lambda: gateway.pending == 2)
    assert gateway.stats.durable == 3
    assert gateway.stats.durable_readings == 6
    city.say("another-boot", 5)
    city.say(gateway.boot, 4)
    until(gateway, lambda: gateway.pending == 1)
    gateway.line.close()


def test_both_native_forms_are_spoken(broker):
    gateway, city = made(broker, "gw-objects", as_objects=True)
    fill(gateway, 1)
    until(gateway, lambda: bool(city.heard()))
    assert city.heard()[0]["readings"][1] == {"sensor": "w-1.o2", "time": NOON_MS, "value": 20.8}
    gateway.line.close()
    gateway, city = made(broker, "gw-columns")
    fill(gateway, 1)
    until(gateway, lambda: bool(city.heard()))
    assert city.heard()[0]["sensor"] == ["w-1.ch4", "w-1.o2"]
    gateway.line.close()


def test_what_the_city_calls_missing_is_sent_again_and_nothing_else(broker):
    gateway, city = made(broker, "gw-b")
    fill(gateway, 10)
    until(gateway, lambda: len(city.seqs()) == 10 and not gateway._in_flight)
    city.say(gateway.boot, 2, [[3, 4], "7-7", 9])
    until(gateway, lambda: len(city.seqs()) == 14)
    assert city.seqs()[10:] == [3, 4, 7, 9]
    assert gateway.pending == 8
    gateway.line.close()


def test_an_outage_becomes_a_backlog_delivered_in_order(broker):
    gateway, city = made(broker, "gw-c")
    fill(gateway, 3)
    until(gateway, lambda: len(city.seqs()) == 3)
    states = Subscriber(broker.port, "city/v1/gw-c/state", "states-c")
    states.start()
    gateway.cut()
    fill(gateway, 400, first=3)
    for _ in range(3):
        gateway.work(time.monotonic(), NOON_MS)
    until(gateway, lambda: any(b"offline" in p for _, p in states.messages))  # its will
    assert len(city.seqs()) == 3
    gateway.mend()
    until(gateway, lambda: len(set(city.seqs())) == 403)
    firsts = list(dict.fromkeys(city.seqs()))  # a line that broke may deliver a message twice, never out of order
    assert firsts == list(range(1, 404))
    assert json.loads(states.messages[-1][1])["state"] == "online"
    assert json.loads(states.messages[-1][1])["boot"] == gateway.boot
    gateway.line.close()


def test_a_reboot_starts_a_new_numbering_and_keeps_what_was_on_the_disk(broker):
    gateway, city = made(broker, "gw-d")
    old = gateway.boot
    gateway.cut()
    fill(gateway, 3)
    gateway.reboot(NOON_MS + 1000)
    assert gateway.boot != old
    fill(gateway, 2)
    gateway.mend()
    until(gateway, lambda: len(city.seqs()) == 5)
    assert [(m["boot"], m["seq"]) for m in city.heard()] == [
        (old, 1),
        (old, 2),
        (old, 3),
        (gateway.boot, 1),
        (gateway.boot, 2),
    ]
    city.say(old, 3)
    until(gateway, lambda: gateway.pending == 2)
    gateway.line.close()


def test_a_full_disk_loses_the_oldest_and_counts_it(broker):
    gateway, _ = made(broker, "gw-e", buffer_max=10)
    gateway.cut()
    fill(gateway, 25)
    assert gateway.pending == 10
    assert gateway.stats.overflowed == 15
    assert next(iter(gateway._kept))[1] == 16


def test_duplicates_are_really_sent_twice(broker):
    gateway, city = made(broker, "gw-f")
    gateway.doubles = 1.0
    fill(gateway, 5)
    until(gateway, lambda: len(city.seqs()) == 10)
    assert sorted(city.seqs()) == sorted([1, 2, 3, 4, 5] * 2)
    gateway.line.close()


def test_a_shuffling_gateway_sends_newest_first(broker):
    gateway, city = made(broker, "gw-g")
    gateway.is_shuffling = True
    fill(gateway, 5)
    until(gateway, lambda: len(city.seqs()) == 5)
    assert city.seqs() == [5, 4, 3, 2, 1]
    gateway.line.close()


def test_a_tail_lost_by_the_broker_comes_back_through_the_probe(broker):
    gateway, city = made(broker, "gw-h")
    fill(gateway, 4)
    late = 0.0
    until(gateway, lambda: len(city.seqs()) == 4 and not gateway._in_flight, lambda: time.monotonic() + late)
    # Suppose the city has heard none of them: nothing durable, and nothing missing that it could know of.
    late = module.PROBE_S[0] + 1
    until(gateway, lambda: len(city.seqs()) == 5, lambda: time.monotonic() + late)
    assert city.seqs()[-1] == 4  # only the newest is sent again; the answer names the rest
    city.say(gateway.boot, 0, [[1, 3]])
    until(gateway, lambda: len(city.seqs()) == 8, lambda: time.monotonic() + late)
    assert city.seqs()[5:] == [1, 2, 3]
    city.say(gateway.boot, 4)
    until(gateway, lambda: gateway.pending == 0, lambda: time.monotonic() + late)
    gateway.line.close()


def test_a_broker_killed_with_messages_unconfirmed_costs_nothing():
    with Mosquitto() as broker:
        gateway, city = made(broker, "gw-k")
        fill(gateway, 50)
        until(gateway, lambda: len(city.seqs()) >= 10)
        broker.kill()
        fill(gateway, 50, first=50)
        gateway.work(time.monotonic(), NOON_MS)
        before = set(city.seqs())
        broker.start()
        city.kept = city.heard()
        city.listen()
        city.voice = Publisher(broker.port, "voice-again")
        late = 0.0
        until(gateway, lambda: set(range(51, 101)) <= set(city.seqs()), lambda: time.monotonic() + late)
        lost = sorted(set(range(1, 101)) - set(city.seqs()))
        if lost:  # the broker had confirmed them and then forgot
            city.say(gateway.boot, lost[0] - 1, [[s, s] for s in lost])
            until(gateway, lambda: set(range(1, 101)) <= set(city.seqs()))
        assert before
        city.say(gateway.boot, 100)
        until(gateway, lambda: gateway.pending == 0)
        gateway.line.close()


def test_gateways_on_one_trunk_hear_each_their_own_answers_and_fail_alone(broker):
    trunk = Trunk(broker.url, 1)
    names = ("gw-s1", "gw-s2")
    cities = [TinyCity(broker.port, name) for name in names]
    pair = [SimGateway(name, SharedLine(trunk, name), seed=1, start_ms=NOON_MS) for name in names]
    for gateway in pair:
        fill(gateway, 3)
    until(pair[0], lambda: len(cities[0].seqs()) == 3)
    until(pair[1], lambda: len(cities[1].seqs()) == 3)
    cities[0].say(pair[0].boot, 3)
    until(pair[0], lambda: pair[0].pending == 0)
    assert pair[1].pending == 3
    states = Subscriber(broker.port, "city/v1/gw-s1/state", "states-s1")
    states.start()
    pair[0].cut()
    until(pair[1], lambda: any(b"offline" in p for _, p in states.messages))
    fill(pair[0], 1, first=3)
    fill(pair[1], 1, first=3)
    until(pair[1], lambda: len(cities[1].seqs()) == 4)
    assert len(cities[0].seqs()) == 3
    pair[0].mend()
    until(pair[0], lambda: len(cities[0].seqs()) == 4)
    trunk.publisher.stop()


@pytest.mark.parametrize("payload", [b"", b"[]", b"{}", b'{"boot":1}', b"\xff", b'{"boot":"b","durable_upto":"x"}'])
def test_a_gateway_shrugs_at_answers_it_does_not_understand(payload):
    assert read_watermark(payload) is None


def test_ranges_are_understood_in_every_spelling():
    mark = read_watermark(b'{"boot":"b","durable_upto":7,"missing":[3,"5-6",[8,9],[10]]}')
    assert mark is not None
    assert mark.missing == ((3, 3), (5, 6), (8, 9), (10, 10))
