"""Brokers that are old, encrypted or unwilling: MQTT 3.1.1, TLS, refused subscriptions, nonsense on the line."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from citypulse.clock import SystemClock
from ingest.access import Access
from ingest.inbox import Inbox
from ingest.mqtt import MqttSource
from tests.support.field import Field, wait_until
from tests.support.mosquitto import Mosquitto, free_port, is_installed

TOPIC = "city/v1/mill/readings"
ANONYMOUS = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}


class OldBroker:
    """amqtt, which speaks MQTT 3.1.1 only, in a thread of its own."""

    def __init__(self, plugins: dict[str, Any] | None = None) -> None:
        self.port = free_port()
        self._plugins = ANONYMOUS | (plugins or {})
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def _run(self, coroutine) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(20)

    async def _make(self):
        from amqtt.broker import Broker

        listeners = {"default": {"type": "tcp", "bind": f"127.0.0.1:{self.port}"}}
        broker = Broker({"listeners": listeners, "plugins": self._plugins})
        await broker.start()
        return broker

    def __enter__(self) -> Self:
        self._thread.start()
        self._broker = self._run(self._make())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._broker.shutdown())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


def open_source(url: str, inbox: Inbox, **settings) -> MqttSource:
    settings.setdefault("access", Access())
    source = MqttSource(url, inbox, SystemClock(), client_id="citypulse-test", backoff_s=(0.05, 0.2), **settings)
    source.start()
    return source


pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.mark.parametrize("is_bulk", [True, False], ids=["bulk", "plain"])
def test_a_broker_that_knows_only_3_1_1_is_served_in_3_1_1(inbox, is_bulk) -> None:
    with OldBroker() as broker:
        source = open_source(f"mqtt://127.0.0.1:{broker.port}", inbox, is_bulk=is_bulk)
        wait_until(lambda: source.is_connected)
        assert source.stats().protocol == "3.1.1"
        with Field(broker.port) as field:
            field.publish(TOPIC, b"hello")
            wait_until(lambda: inbox.depth == 1)
        messages = inbox.drain(10)
        assert messages[0].payload == b"hello"
        source.acknowledge(messages)
        wait_until(lambda: source.stats().acknowledged == 1)
        source.stop()


def test_a_refused_subscription_is_a_problem_somebody_can_see(inbox) -> None:
    acl = {"amqtt.plugins.topic_checking.TopicAccessControlListPlugin": {"acl": {"anonymous": ["city/v1/+/state"]}}}
    with OldBroker(acl) as broker:
        source = open_source(f"mqtt://127.0.0.1:{broker.port}", inbox)
        wait_until(lambda: source.stats().refused_topics)
        assert source.stats().refused_topics == ("city/v1/+/readings",)
        assert "refuses our subscription" in source.stats().problem
        source.stop()


def make_certificates(folder: Path) -> None:
    """A private authority and a server certificate for 127.0.0.1, as an intranet would have them."""
    (folder / "ext").write_text("subjectAltName=IP:127.0.0.1\n")
    for command in (
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=test-authority",
        "req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=127.0.0.1",
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 -extfile ext",
    ):
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)


@pytest.mark.skipif(not is_installed(), reason="needs mosquitto")
def test_an_encrypted_broker_is_served_when_its_certificate_can_be_checked(tmp_path, inbox) -> None:
    make_certificates(tmp_path)
    files = [f"certfile {tmp_path}/server.pem", f"keyfile {tmp_path}/server.key"]
    plain = free_port()
    with Mosquitto(dir=tmp_path, config=[f"listener {plain} 127.0.0.1"], listener=files) as broker:
        url = f"mqtts://127.0.0.1:{broker.port}"
        source = open_source(url, inbox, access=Access(ca_file=str(tmp_path / "ca.pem")))
        wait_until(lambda: source.is_connected)
        payload = b"x" * 100_000  # several TLS records: decrypted bytes wait where poll cannot see them
        with Field(plain) as field:
            field.publish_all([(TOPIC, payload)] * 20)
            wait_until(lambda: inbox.depth == 20)
        source.acknowledge(inbox.drain(100))
        wait_until(lambda: source.stats().acknowledged == 20)
        source.stop()
        stranger = open_source(url, inbox)
        wait_until(lambda: "certificate" in stranger.stats().problem)
        assert not stranger.is_connected
        stranger.stop()


class Scripted:
    """A listener that answers every connection with the same bytes, then closes or stays silent."""

    def __init__(self, answer: bytes, *, closes: bool) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._answer = answer
        self._closes = closes
        self.connections = 0
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            peer.settimeout(5)
            try:
                peer.recv(4096)
                peer.sendall(self._answer)
            except OSError:
                pass
            if self._closes:
                peer.close()
            else:
                self._open.append(peer)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for peer in self._open:
            peer.close()
        self._thread.join(5)


@pytest.fixture
def scripted() -> Iterator[Any]:
    made: list[Scripted] = []

    def make(answer: bytes, *, closes: bool) -> Scripted:
        made.append(Scripted(answer, closes=closes))
        return made[-1]

    yield make
    for one in made:
        one.close()


CONNACK_V5 = b"\x20\x03\x00\x00\x00"


@pytest.mark.parametrize(
    ("answer", "closes"),
    [
        (b"", True),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", True),
        (b"\x20\x02\x00\x01", True),  # 3.1.1: unacceptable protocol version
        (b"\x20\x03\x00\x84\x00", True),  # 5: unsupported protocol version
        (b"\x20\x03\x00\x87\x00", True),  # 5: not authorised
        (b"\x20\x03\x00\xee\x00", True),  # a reason code that does not exist
        (CONNACK_V5 + b"\x30\xff\xff\xff\xff\xff", False),  # a length of five bytes
        (CONNACK_V5 + b"\x32\x02\x00\xff", False),  # a topic longer than its packet
        (CONNACK_V5 + b"\x90\x01\x00", False),  # a SUBACK cut short
        (CONNACK_V5 + b"\x00\x00", False),  # a packet type that does not exist
        (CONNACK_V5 + b"\xe0\x01\x8e", True),  # session taken over
    ],
)
def test_nonsense_from_a_broker_never_ends_the_source(scripted, inbox, answer, closes) -> None:
    peer = scripted(answer, closes=closes)
    source = open_source(f"mqtt://127.0.0.1:{peer.port}", inbox)
    wait_until(lambda: peer.connections >= 4)
    assert source.stats().thread_deaths == 0
    source.stop()


def test_nobody_at_the_address_is_a_problem_and_not_an_exception(inbox) -> None:
    source = open_source(f"mqtt://127.0.0.1:{free_port()}", inbox)
    wait_until(lambda: "cannot reach" in source.stats().problem)
    source.stop()
