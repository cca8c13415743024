"""A gateway for tests: publishes over a real broker and reads back what the city publishes to it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

TIMEOUT_S = 20.0


def wait_until(is_so: Callable[[], Any], timeout_s: float = TIMEOUT_S) -> None:
    """Return as soon as `is_so()` is true; AssertionError if it is not within `timeout_s`."""
    ticker = threading.Event()
    for _ in range(int(timeout_s / 0.005)):
        if is_so():
            return
        ticker.wait(0.005)
    raise AssertionError(f"not so within {timeout_s} s")


class Field:
    """Publishes as gateways do, and keeps what it hears."""

    def __init__(self, port: int, listen: str = "", client_id: str = "", host: str = "127.0.0.1") -> None:
        """Connect to a loopback broker; `listen` is a topic filter to hear."""
        self.heard: list[tuple[str, bytes]] = []
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTProtocolVersion.MQTTv311)
        self._client.max_inflight_messages = 1000
        self._client.on_message = lambda _c, _u, m: self.heard.append((m.topic, m.payload))
        subscribed = threading.Event()
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.connect(host, port)
        self._client.loop_start()
        if listen:
            wait_until(self._client.is_connected)
            self._client.subscribe(listen, 1)
            assert subscribed.wait(TIMEOUT_S)

    def publish(self, topic: str, payload: bytes, qos: int = 1, *, retain: bool = False) -> None:
        """Publish and wait for the broker's word."""
        self._client.publish(topic, payload, qos, retain).wait_for_publish(TIMEOUT_S)

    def publish_all(self, messages: list[tuple[str, bytes]], qos: int = 1) -> None:
        """Publish many at once and wait for the last."""
        infos = [self._client.publish(topic, payload, qos) for topic, payload in messages]
        for info in infos:
            info.wait_for_publish(TIMEOUT_S)

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
