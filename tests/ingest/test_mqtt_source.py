"""The broker source against a real mosquitto: what is acknowledged, what comes again, what survives a restart."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from citypulse.clock import SystemClock
from citypulse.errors import CityError
from ingest.access import Access
from ingest.inbox import Inbox
from ingest.mqtt import HAS_BULK, MqttSource
from tests.support.field import Field, wait_until
from tests.support.mosquitto import Mosquitto, is_installed

pytestmark = pytest.mark.skipif(not is_installed(), reason="needs mosquitto")

TOPIC = "city/v1/mill/readings"


@pytest.fixture
def broker() -> Iterator[Mosquitto]:
    with Mosquitto() as running:
        yield running


@pytest.fixture(params=[True, False], ids=["bulk", "plain"])
def is_bulk(request: pytest.FixtureRequest) -> bool:
    return request.param


class Opened:
    """Sources opened in a test, all closed at its end."""

    def __init__(self) -> None:
        self.sources: list[MqttSource] = []

    def __call__(self, broker: Mosquitto, inbox: Inbox | None = None, **settings) -> tuple[MqttSource, Inbox]:
        inbox = inbox or Inbox()
        settings.setdefault("client_id", "citypulse-test")
        source = MqttSource(
            settings.pop("url", broker.url), inbox, SystemClock(), access=Access(), backoff_s=(0.05, 0.2), **settings
        )
        source.start()
        self.sources.append(source)
        return source, inbox


@pytest.fixture
def opened() -> Iterator[Opened]:
    opener = Opened()
    yield opener
    for source in opener.sources:
        source.stop()


def collect(inbox: Inbox, n: int) -> list:
    got: list = []

    def enough() -> bool:
        got.extend(inbox.drain(100_000))
        return len(got) >= n

    wait_until(enough)
    return got


def numbered(n: int, start: int = 0) -> list[tuple[str, bytes]]:
    return [(TOPIC, b"%d" % k) for k in range(start, start + n)]


def cut(source: MqttSource) -> None:
    """End the source without a word to the broker, as kill -9 would: no acknowledgement leaves any more."""
    source._acks.clear()
    source.stop()


def test_the_bulk_path_is_in_use_with_the_installed_paho() -> None:
    """If this fails a paho release moved its private parts: all still works, ten times slower (mqtt.py)."""
    assert HAS_BULK


def test_messages_arrive_in_order_with_their_topic_and_a_time_that_never_goes_back(broker, opened, is_bulk) -> None:
    source, inbox = opened(broker, is_bulk=is_bulk)
    wait_until(lambda: source.is_connected)
    assert source.stats().protocol == "5"
    with Field(broker.port) as field:
        field.publish_all(numbered(300))
        got = collect(inbox, 300)
    assert [m.payload for m in got] == [b"%d" % k for k in range(300)]
    assert {m.topic for m in got} == {TOPIC}
    received = [m.received_ms for m in got]
    assert received == sorted(received)


def test_what_was_not_acknowledged_comes_again_and_what_was_does_not(broker, opened, is_bulk) -> None:
    source, inbox = opened(broker, is_bulk=is_bulk)
    wait_until(lambda: source.is_connected)
    with Field(broker.port) as field:
        field.publish_all(numbered(50))
    got = collect(inbox, 50)
    source.acknowledge(got[:30])
    wait_until(lambda: source.stats().acknowledged == 30)
    cut(source)
    again, inbox = opened(broker, is_bulk=is_bulk)
    assert [m.payload for m in collect(inbox, 20)] == [b"%d" % k for k in range(30, 50)]
    again.stop()


VICTIM = """
import sys
import structlog
from citypulse.clock import SystemClock
from ingest.access import Access
from ingest.inbox import Inbox
from ingest.mqtt import MqttSource
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
inbox = Inbox()
source = MqttSource(sys.argv[1], inbox, SystemClock(), client_id="citypulse-test", access=Access())
source.start()
while not source.stats().protocol:
    pass
source.publish("probe", b"")  # the broker answers in order: by then it has taken the subscription
while not source.stats().published:
    pass
print("connected", flush=True)
got = []
while len(got) < 60:
    inbox.ready.wait(1)
    got += inbox.drain(1000)
source.acknowledge(got[:25])
while source.stats().acknowledged < 25:
    pass
print("acknowledged", flush=True)
sys.stdin.read()  # here it waits for its commit, and is killed
"""


def test_a_process_killed_before_its_commit_leaves_the_rest_to_the_next(broker, opened) -> None:
    root = Path(__file__).parents[2]
    victim = subprocess.Popen(
        [sys.executable, "-c", VICTIM, broker.url],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root, env=os.environ | {"PYTHONPATH": str(root)},
    )  # fmt: skip
    try:
        assert victim.stdout.readline() == b"connected\n"
        with Field(broker.port) as field:
            field.publish_all(numbered(60))
        assert victim.stdout.readline() == b"acknowledged\n"
    finally:
        victim.kill()
        victim.communicate()
    source, inbox = opened(broker)
    rest = [m.payload for m in collect(inbox, 35)]
    assert rest == [b"%d" % k for k in range(25, 60)]
    source.stop()


def test_thousands_wait_unacknowledged_because_receive_maximum_is_asked_for(broker, opened, is_bulk) -> None:
    """Mosquitto's own default of 20 in flight would stall a client that acknowledges after a commit."""
    source, inbox = opened(broker, is_bulk=is_bulk, receive_maximum=3000)
    wait_until(lambda: source.is_connected)
    with Field(broker.port) as field:
        field.publish_all(numbered(2000))
        assert len(collect(inbox, 2000)) == 2000
    assert source.stats().acknowledged == 0


def test_acknowledging_lets_more_come_than_receive_maximum(broker, opened, is_bulk) -> None:
    source, inbox = opened(broker, is_bulk=is_bulk, receive_maximum=100)
    wait_until(lambda: source.is_connected)
    seen: list[bytes] = []
    with Field(broker.port) as field:
        field.publish_all(numbered(1500))

        def all_seen() -> bool:
            messages = inbox.drain(1000)
            seen.extend(m.payload for m in messages)
            source.acknowledge(messages)
            return len(seen) >= 1500

        wait_until(all_seen)
    assert seen == [b"%d" % k for k in range(1500)]


def test_tokens_of_an_earlier_connection_are_never_acknowledged(opened, is_bulk) -> None:
    with Mosquitto() as broker:
        source, inbox = opened(broker, is_bulk=is_bulk)
        wait_until(lambda: source.is_connected)
        with Field(broker.port) as field:
            field.publish_all(numbered(5))
        old = collect(inbox, 5)
        broker.kill()
        wait_until(lambda: not source.is_connected)
        broker.start()
        wait_until(lambda: source.is_connected)
        with Field(broker.port) as field:  # the new session gives these the packet ids of the old ones
            field.publish_all(numbered(5, start=100))
        collect(inbox, 5)
        source.acknowledge(old)
        assert source.stats().stale_tokens == 5
        cut(source)
        _, inbox = opened(broker, is_bulk=is_bulk)
        assert [m.payload for m in collect(inbox, 5)] == [b"%d" % k for k in range(100, 105)]


def test_it_goes_on_after_the_broker_restarts_and_nothing_queued_is_lost(tmp_path, opened, is_bulk) -> None:
    with Mosquitto(persistence=True, dir=tmp_path) as broker:
        source, inbox = opened(broker, is_bulk=is_bulk)
        wait_until(lambda: source.is_connected)
        with Field(broker.port) as field:
            field.publish_all(numbered(10))
        collect(inbox, 10)
        broker.restart()
        wait_until(lambda: source.stats().connects == 2 and source.is_connected)
        assert source.stats().problem == ""
        with Field(broker.port) as field:
            field.publish_all(numbered(10, start=10))
        got = {m.payload for m in collect(inbox, 20)}
        assert got == {b"%d" % k for k in range(20)}


def test_a_full_inbox_pauses_reading_and_loses_nothing(broker, opened, is_bulk) -> None:
    source, inbox = opened(broker, Inbox(messages_max=50), is_bulk=is_bulk)
    wait_until(lambda: source.is_connected)
    with Field(broker.port) as field:
        field.publish_all(numbered(500))
        wait_until(lambda: source.stats().is_paused)
        assert inbox.depth <= 50
        assert inbox.stats().refused_by_count > 0
        seen: list[bytes] = []

        def all_seen() -> bool:
            messages = inbox.drain(20)
            source.acknowledge(messages)
            seen.extend(m.payload for m in messages)
            return len(seen) >= 500

        wait_until(all_seen)
    assert seen == [b"%d" % k for k in range(500)]
    wait_until(lambda: not source.stats().is_paused)


def test_a_source_that_is_paused_when_the_connection_breaks_gets_all_of_it_again(opened) -> None:
    with Mosquitto() as broker:
        source, inbox = opened(broker, Inbox(messages_max=10), keepalive_s=2)
        wait_until(lambda: source.is_connected)
        with Field(broker.port) as field:
            field.publish_all(numbered(100))
        wait_until(lambda: source.stats().is_paused)
        # Nothing is read, so the broker's ping answers are not seen either: paho gives up after two keepalives.
        wait_until(lambda: not source.is_connected)
        seen: set[bytes] = set()

        def all_seen() -> bool:
            messages = inbox.drain(100)
            source.acknowledge(messages)
            seen.update(m.payload for m in messages)
            return len(seen) >= 100

        wait_until(all_seen)


def test_it_publishes_and_does_not_lose_what_waits_while_the_broker_is_away(opened) -> None:
    with Mosquitto() as broker:
        source, _ = opened(broker)
        wait_until(lambda: source.is_connected)
        broker.kill()
        wait_until(lambda: not source.is_connected)
        assert source.publish("city/v1/mill/ack", b"w1")
        assert source.publish("city/v1/mill/ack", b"w2", retain=True)
        broker.start()
        wait_until(lambda: source.stats().published == 2)
        with Field(broker.port, listen="city/v1/+/ack") as field:
            wait_until(lambda: field.heard == [("city/v1/mill/ack", b"w2")])


def test_the_outgoing_queue_is_bounded_and_counts_what_it_dropped(broker) -> None:
    source = MqttSource(broker.url, Inbox(), SystemClock(), client_id="x", access=Access())
    answers = [source.publish("city/v1/mill/ack", b"w") for _ in range(1001)]
    assert answers.count(False) == 1
    assert source.stats().publish_dropped == 1
    source.stop()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_dead_thread_is_replaced_and_reading_goes_on(broker, opened) -> None:
    source, inbox = opened(broker)
    wait_until(lambda: source.is_connected)
    worker = next(t for t in threading.enumerate() if t.name == "mqtt")
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(worker.ident), ctypes.py_object(SystemExit))
    source.publish("city/v1/mill/ack", b"wake up")  # the exception is seen when the thread next runs Python
    wait_until(lambda: source.stats().thread_deaths == 1)
    wait_until(lambda: source.stats().connects == 2 and source.is_connected)
    with Field(broker.port) as field:
        field.publish_all(numbered(3))
        assert len(collect(inbox, 3)) == 3


def test_a_frozen_broker_is_noticed_and_left(opened) -> None:
    with Mosquitto() as broker:
        source, _ = opened(broker, keepalive_s=1)
        wait_until(lambda: source.is_connected)
        broker.freeze()
        wait_until(lambda: not source.is_connected)
        assert source.stats().problem
        broker.thaw()
        wait_until(lambda: source.is_connected)


def test_wrong_passwords_are_a_problem_that_can_be_read_not_an_exception(tmp_path, opened) -> None:
    (tmp_path / "passwords").write_text("")
    with Mosquitto(config=[f"password_file {tmp_path}/passwords", "allow_anonymous false"]) as broker:
        source, _ = opened(broker)
        wait_until(lambda: "refuses us" in source.stats().problem)
        assert not source.is_connected


def test_a_message_larger_than_any_limit_is_cut_and_still_comes_through(broker, opened) -> None:
    source, inbox = opened(broker)
    wait_until(lambda: source.is_connected)
    with Field(broker.port) as field:
        field.publish_all([(TOPIC, b"x" * (5 << 20)), (TOPIC, b"after")])
        got = collect(inbox, 2)
    assert len(got[0].payload) < 3 << 20
    assert got[1].payload == b"after"
    assert source.stats().truncated == 1


def test_a_source_without_a_client_id_is_refused() -> None:
    with pytest.raises(CityError, match="client id"):
        MqttSource("mqtt://127.0.0.1:1", Inbox(), SystemClock(), client_id="", access=Access())
