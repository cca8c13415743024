"""The broker, and the only door to paho: messages in, acknowledgements out after the commit, watermarks published.

Promises: a message is acknowledged only after `acknowledge()`; a token of an earlier connection is never
acknowledged (a new session may have given its packet id to another message); nothing here blocks or
raises into the heart; whatever goes wrong, the source reconnects and the broker redelivers.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY, Client, DisconnectFlags, MQTTMessage, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from citypulse.clock import Clock, monotonic_s

from . import bulk
from .access import Access, Address, access_from, parse_url
from .inbox import Inbox
from .packets import PacketReader, ProtocolError
from .source import PAUSED_POLL_S, BrokerSource, ConnectionLost, MqttStats, Outgoing

__all__ = ["TOPICS", "MqttPublisher", "MqttSource", "MqttStats"]

log = structlog.get_logger()

TOPICS = ("city/v1/+/readings", "city/v1/+/state")
SUBSCRIBE_QOS = 1  # not 2: paho keeps QoS 2 state in memory only, and our own numbering removes duplicates
RECEIVE_MAXIMUM = 5000  # unacknowledged messages the broker may send ahead (MQTT 5); mosquitto's own default is 20
SESSION_EXPIRY_S = 7 * 86_400  # how long the broker keeps our queue while we are away
KEEPALIVE_S = 30
CONNECT_TIMEOUT_S = 10.0
# A broker that has never answered MQTT 5 gets less time: amqtt takes the CONNECT for a longer one and waits.
VERSION_PROBE_S = 2.0
BACKOFF_S = (1.0, 15.0)
RECEIVE_BYTES = 256 << 10
COALESCE_S = 0.002  # the broker writes packet by packet; reading a little later costs 0.44 instead of 4.7 µs each
IDLE_POLL_S = 1.0
OUTGOING_IN_FLIGHT = 20  # paho ignores the server's Receive Maximum, so stay below any broker's default
RESUBSCRIBE_S = 30.0
PUBLISHER_QUEUE_MAX = 1000  # what a gateway's connection may hold for the broker; the rest waits in its own buffer
UNSUPPORTED_VERSION = 0x84
HAS_BULK = bulk.is_possible(Client)


class MqttSource(BrokerSource):
    """A persistent subscription that feeds the inbox and acknowledges what the heart has committed."""

    def __init__(
        self,
        url: str,
        inbox: Inbox,
        clock: Clock,
        *,
        client_id: str,
        access: Access | None = None,
        receive_maximum: int = RECEIVE_MAXIMUM,
        session_expiry_s: int = SESSION_EXPIRY_S,
        keepalive_s: int = KEEPALIVE_S,
        backoff_s: tuple[float, float] = BACKOFF_S,
        is_bulk: bool = HAS_BULK,
    ) -> None:
        """Prepare, without connecting. `access` defaults to what the environment says (see access.py).

        Raises CityError for a bad address, ambiguous secrets or an empty client id.
        """
        super().__init__(
            address=parse_url(url),
            access=access if access is not None else access_from(os.environ),
            inbox=inbox,
            clock=clock,
            client_id=client_id,
            backoff_s=backoff_s,
        )
        self._receive_maximum = receive_maximum
        self._session_expiry_s = session_expiry_s
        self._keepalive_s = keepalive_s
        self._is_bulk = is_bulk
        self._resubscribe_at_s = 0.0
        self._window = OUTGOING_IN_FLIGHT

    def _converse(self, *, is_v5: bool) -> None:
        self._connack: tuple[ReasonCode, Properties | None] | None = None
        self._farewell = ""  # what the broker said as it disconnected us
        self._in_flight: dict[int, Outgoing] = {}
        client = self._client(is_v5=is_v5)
        try:
            self._connect(client, is_v5=is_v5)
            self._established(is_v5=is_v5)
            self._subscribe(client)
            self._serve(client, PacketReader(is_v5=is_v5))
        finally:
            self._ended(list(self._in_flight.values()))
            sock = client.socket()
            if sock is not None:
                sock.close()

    def _client(self, *, is_v5: bool) -> Client:
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            protocol=MQTTProtocolVersion.MQTTv5 if is_v5 else MQTTProtocolVersion.MQTTv311,
            clean_session=None if is_v5 else False,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        _equip(client, self._address, self._access)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        return client

    # ── paho's callbacks: they run inside loop_read and loop_write, on our own thread ────────────

    def _on_connect(self, _c: Client, _u: Any, _f: Any, reason: ReasonCode, properties: Properties | None) -> None:
        self._connack = (reason, properties)

    def _on_disconnect(self, _c: Client, _u: Any, how: DisconnectFlags, reason: ReasonCode, _p: Any) -> None:
        if how.is_disconnect_packet_from_server:  # paho has a "reason" for all others too, which explains nothing
            self._farewell = f"the broker disconnects us: {reason}"

    def _on_subscribe(self, _c: Client, _u: Any, _m: int, reasons: Sequence[ReasonCode], _p: Any) -> None:
        refused = tuple(topic for topic, reason in zip(TOPICS, reasons, strict=False) if reason.is_failure)
        if refused and refused != self._refused:
            log.error("ingest.subscription_refused", topics=refused, reasons=[str(r) for r in reasons])
        self._refused = refused
        self._problem = f"the broker refuses our subscription to {', '.join(refused)}" if refused else ""

    def _on_publish(self, _c: Client, _u: Any, mid: int, _r: ReasonCode, _p: Properties) -> None:
        self._in_flight.pop(mid, None)
        self._counts["published"] += 1

    def _on_message(self, _c: Client, _u: Any, message: MQTTMessage) -> None:
        # Only without the bulk reader. The topic's bytes are private because the property raises on bad UTF-8.
        self._keep([(message._topic, bytes(message.payload), message.mid, message.qos)])  # noqa: SLF001

    # ── one connection ──────────────────────────────────────────────────────────────────────────

    def _connect(self, client: Client, *, is_v5: bool) -> None:
        properties = None
        if is_v5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = self._session_expiry_s
            properties.ReceiveMaximum = self._receive_maximum
        try:
            client.connect(
                self._address.host,
                self._address.port,
                self._keepalive_s,
                clean_start=False if is_v5 else MQTT_CLEAN_START_FIRST_ONLY,
                properties=properties,
            )
        except OSError as error:
            raise ConnectionLost(f"cannot reach {self._address.host}:{self._address.port}: {error}") from error
        suspect = is_v5 and not self._v5_worked
        give_up_s = monotonic_s() + (VERSION_PROBE_S if suspect else CONNECT_TIMEOUT_S)
        while self._connack is None:
            sock = client.socket()
            if sock is None:
                raise ConnectionLost(self._farewell or "closed before it answered", is_version_suspect=suspect)
            if self._stop.is_set() or monotonic_s() > give_up_s:
                raise ConnectionLost("the broker does not answer", is_version_suspect=suspect)
            if select.select([sock], [], [], PAUSED_POLL_S)[0]:
                client.loop_read()
            if client.want_write():
                client.loop_write()
        reason, answer = self._connack
        if reason.is_failure:
            is_old = is_v5 and reason.value == UNSUPPORTED_VERSION
            raise ConnectionLost(f"the broker refuses us: {reason}", is_version_suspect=is_old)
        self._window = min(OUTGOING_IN_FLIGHT, getattr(answer, "ReceiveMaximum", OUTGOING_IN_FLIGHT))

    def _subscribe(self, client: Client) -> None:
        # On every connection, session or not: it is idempotent, and a changed list of topics takes effect.
        client.subscribe([(topic, SUBSCRIBE_QOS) for topic in TOPICS])
        self._resubscribe_at_s = monotonic_s() + RESUBSCRIBE_S

    def _serve(self, client: Client, reader: PacketReader) -> None:
        sock = client.socket()
        if not isinstance(sock, socket.socket):
            raise ConnectionLost(self._farewell or "closed at once")
        fd, wake_fd = sock.fileno(), self._wake_out.fileno()
        poller = select.poll()
        poller.register(wake_fd, select.POLLIN)
        while not self._stop.is_set():
            self._send(client)
            is_reading = self._offer()
            is_pending = is_reading and _pending_bytes(client) > 0
            poller.register(fd, (is_reading and select.POLLIN) | (client.want_write() and select.POLLOUT))
            wait_s = 0.0 if is_pending else IDLE_POLL_S if is_reading else PAUSED_POLL_S
            events = dict(poller.poll(wait_s * 1000))
            if wake_fd in events:
                self._wake_out.recv(4096)
            happened = events.get(fd, 0)
            if happened & select.POLLOUT:
                client.loop_write()
            if is_reading and (is_pending or happened & ~select.POLLOUT):
                self._read(client, reader)
            elif happened & ~(select.POLLOUT | select.POLLIN):
                raise ConnectionLost("the connection broke while the inbox was full")
            if client.loop_misc() != MQTTErrorCode.MQTT_ERR_SUCCESS or client.socket() is None:
                raise ConnectionLost(self._farewell or "the connection broke, or the broker went silent")
        self._send(client)
        client.disconnect()

    def _read(self, client: Client, reader: PacketReader) -> None:
        if not self._is_bulk:
            client.loop_read()
            return
        try:
            chunk = bulk.receive(client, RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            raise ConnectionLost(str(error)) from error
        if not chunk:
            raise ConnectionLost("the broker closed the connection")
        try:
            published, others = reader.feed(chunk)
        except ProtocolError as error:
            raise ConnectionLost(str(error)) from error
        self._counts["truncated"] = reader.truncated
        for first, body in others:
            code = bulk.hand_over(client, first, body)
            if code > MQTTErrorCode.MQTT_ERR_SUCCESS:
                raise ConnectionLost(self._farewell or f"a packet 0x{first:02x} that paho refuses: {code.name}")
        if published:
            self._keep(published)
            if self._offer() and not _pending_bytes(client):
                self._stop.wait(COALESCE_S)

    def _send(self, client: Client) -> None:
        while self._acks:
            epoch, mids = self._acks.popleft()
            if epoch != self._epoch:
                self._counts["stale_tokens"] += len(mids)
                continue
            if self._is_bulk:
                bulk.acknowledge(client, mids)
            else:
                for mid in mids:
                    client.ack(mid, 1)
            self._counts["acknowledged"] += len(mids)
        while self._outgoing and len(self._in_flight) < self._window:
            message = self._outgoing.popleft()
            sent = client.publish(message.topic, message.payload, message.qos, message.retain)
            if message.qos:
                self._in_flight[sent.mid] = message


class MqttPublisher:
    """One gateway's connection, for the simulators: publishes at QoS 1, hears its own topics, leaves a will.

    Every connection is a new MQTT 3.1.1 client with a clean session, as a cheap gateway's is: what the broker
    has not confirmed when the link breaks is the gateway's to send again. Call `keep_up()` now and then from one
    thread; `on_message(topic, payload)` comes on paho's thread and must only take note.
    """

    def __init__(
        self,
        url: str,
        *,
        client_id: str,
        on_message: Callable[[str, bytes], None],
        access: Access | None = None,
        keepalive_s: int = KEEPALIVE_S,
        retry_s: float = 1.0,
    ) -> None:
        """Prepare, without connecting. `access` defaults to what the environment says; raises CityError as it does."""
        self._address = parse_url(url)
        self._access = access if access is not None else access_from(os.environ)
        self._client_id = client_id
        self._hear = on_message
        self._keepalive_s = keepalive_s
        self._retry_s = retry_s
        self._client: _GatewayClient | None = None
        self._retry_at_s = 0.0
        self._will: tuple[str, bytes] | None = None
        self._topics: tuple[str, ...] = ()
        self.connects = 0  # rises with every connection, so that its owner can say hello each time
        self.problem = ""

    def introduce(self, *, will: tuple[str, bytes] | None, topics: Sequence[str]) -> None:
        """Set the retained will and the topics to hear, from the next connection on."""
        self._will, self._topics = will, tuple(topics)

    @property
    def is_connected(self) -> bool:
        """Whether the broker has accepted us and the connection stands."""
        return self._client is not None and self._client.is_connected()

    def keep_up(self) -> None:
        """Connect, or connect again after `retry_s`; never waits for the network."""
        if self._client is not None and self._client.is_alive:
            return
        if monotonic_s() < self._retry_at_s:
            return
        self._retry_at_s = monotonic_s() + self._retry_s
        self._client = self._new_client()
        self._client.connect_async(self._address.host, self._address.port, self._keepalive_s)
        self._client.loop_start()

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> MQTTMessageInfo | None:
        """Hand a QoS 1 message to the connection; `.is_published()` of the result tells when the broker has it.

        None when there is no connection or paho's own queue is full; nothing was sent then.
        """
        if self._client is None or not self._client.is_connected():
            return None
        sent = self._client.publish(topic, payload, 1, retain)
        return sent if sent.rc == MQTTErrorCode.MQTT_ERR_SUCCESS else None

    def stop(self) -> None:
        """Take leave of the broker: no will is sent."""
        self._end(is_polite=True)

    def sever(self) -> None:
        """Lose the link, as a gateway in a power cut does: the broker publishes the will."""
        self._end(is_polite=False)

    def _end(self, *, is_polite: bool) -> None:
        client, self._client = self._client, None
        if client is None:
            return
        client.on_message = client.on_connect = None
        sock = client.socket()
        if is_polite:
            client.disconnect()
        elif isinstance(sock, socket.socket):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(AttributeError):  # paho forgets its thread as it ends, even while we join it
            client.loop_stop()
        if sock is not None:
            sock.close()

    def _new_client(self) -> _GatewayClient:
        client = _GatewayClient(
            CallbackAPIVersion.VERSION2, client_id=self._client_id, clean_session=True, reconnect_on_failure=False
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.reconnect_delay_set(1, 5)  # of the first connection only
        client.max_inflight_messages_set(OUTGOING_IN_FLIGHT)
        client.max_queued_messages_set(PUBLISHER_QUEUE_MAX)
        if self._access.username is not None:
            client.username_pw_set(self._access.username, self._access.password)
        if self._address.is_encrypted:
            client.tls_set(ca_certs=self._access.ca_file or None)
        if self._will is not None:
            client.will_set(self._will[0], self._will[1], 1, retain=True)
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        return client

    def _on_connect(self, client: Client, _u: Any, _f: Any, reason: ReasonCode, _p: Properties | None) -> None:
        if reason.is_failure:
            self.problem = f"the broker refuses {self._client_id}: {reason}"
            return
        self.problem = ""
        if self._topics:
            client.subscribe([(topic, 1) for topic in self._topics])
        self.connects += 1

    def _on_message(self, _c: Client, _u: Any, message: MQTTMessage) -> None:
        self._hear(message.topic, bytes(message.payload))


def _pending_bytes(client: Client) -> int:
    """Return how much TLS has decrypted and nobody has read: poll() cannot see it."""
    return int(getattr(client.socket(), "pending", int)())


def _equip(client: Client, address: Address, access: Access) -> None:
    """Give a client what it needs to be let in."""
    client.connect_timeout = CONNECT_TIMEOUT_S
    if access.username is not None:
        client.username_pw_set(access.username, access.password)
    if address.is_encrypted:
        client.tls_set(ca_certs=access.ca_file or None)


class _GatewayClient(Client):
    """paho's client, with the one question it does not answer in public."""

    @property
    def is_alive(self) -> bool:
        """Whether its network thread still runs; without automatic reconnection that ends with the connection."""
        return self._thread is not None and self._thread.is_alive()
