"""What a broker source needs whatever library speaks to the broker: threads, queues, patience and counts.

One thread owns the connection and is the only one that touches the library. Others leave work in two
bounded queues and wake it. A second thread does nothing but start the first one again should it ever die.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from zlib import crc32

import structlog

from citypulse.clock import Clock
from citypulse.errors import CityError
from citypulse.model import RawMessage

from .access import Access, Address
from .inbox import Inbox
from .packets import Publish

log = structlog.get_logger()

OUTGOING_MAX = 1000
PAUSED_POLL_S = 0.02
TOPIC_CACHE_MAX = 65_536


class ConnectionLost(Exception):  # noqa: N818 - it is an event, and a frequent one
    """The conversation with the broker has ended; the text says why."""

    def __init__(self, why: str, *, is_version_suspect: bool = False) -> None:
        """`is_version_suspect`: a broker too old for MQTT 5 would have behaved just like this."""
        super().__init__(why)
        self.is_version_suspect = is_version_suspect


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttStats:
    """How the source is doing; counters since the start."""

    is_connected: bool
    protocol: str  # "5", "3.1.1", or "" before the first connection
    is_paused: bool  # the inbox is full and nothing is read
    problem: str  # what is wrong at present, "" when healthy
    refused_topics: tuple[str, ...]  # subscriptions the broker denies us
    connects: int
    received: int
    received_bytes: int
    acknowledged: int
    stale_tokens: int  # not acknowledged because their connection is gone; the broker redelivers
    pauses: int
    published: int
    publish_dropped: int
    truncated: int
    thread_deaths: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A message we want published."""

    topic: str
    payload: bytes
    qos: int
    retain: bool


class BrokerSource(ABC):
    """Keeps a connection to one broker for ever; subclasses hold one conversation at a time."""

    def __init__(
        self,
        *,
        address: Address,
        access: Access,
        inbox: Inbox,
        clock: Clock,
        client_id: str,
        backoff_s: tuple[float, float],
    ) -> None:
        """Prepare, without connecting.

        Raises CityError for an empty client id: a persistent session belongs to its id, and two systems
        with one id would throw each other out.
        """
        if not client_id:
            raise CityError("the broker needs a client id that stays the same over restarts")
        self._address = address
        self._access = access
        self._inbox = inbox
        self._clock = clock
        self._client_id = client_id
        self._backoff_s = backoff_s
        self._jitter = Random(crc32(client_id.encode()))  # noqa: S311 - spreads reconnects, guards nothing
        self._stop = threading.Event()
        self._supervisor: threading.Thread | None = None
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._acks: deque[tuple[int, list[int]]] = deque()  # (epoch, packet ids); bounded by what is in flight
        self._outgoing: deque[Outgoing] = deque()
        self._held: list[RawMessage] = []  # read, but not yet taken by the inbox
        self._topic_names: dict[bytes, str] = {}
        self._last_ms = 0
        self._epochs = 0
        self._epoch = 0  # of the connection in force, 0 while there is none
        self._protocol = ""
        self._v5_worked = False
        self._is_paused = False
        self._is_quiet = False  # the present trouble has been logged
        self._refused: tuple[str, ...] = ()
        self._problem = ""
        self._counts = {
            "received": 0,
            "received_bytes": 0,
            "acknowledged": 0,
            "stale_tokens": 0,
            "pauses": 0,
            "published": 0,
            "publish_dropped": 0,
            "truncated": 0,
            "thread_deaths": 0,
        }

    @abstractmethod
    def _converse(self, *, is_v5: bool) -> None:
        """Connect, and serve until told to stop. Ends with ConnectionLost otherwise; always leaves `_epoch` 0."""

    # ── what the heart and the app call ─────────────────────────────────────────────────────────

    def start(self) -> None:
        """Connect, and stay connected, in a thread of our own. Returns at once."""
        if self._supervisor is None:
            self._supervisor = threading.Thread(target=self._supervise, name="mqtt-supervisor", daemon=True)
            self._supervisor.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Send what is still waiting, take leave of the broker (the session stays) and end the threads."""
        self._stop.set()
        self._wake()
        if self._supervisor is not None:
            self._supervisor.join(timeout_s)
            self._supervisor = None
            self._wake_in.close()
            self._wake_out.close()

    @property
    def is_connected(self) -> bool:
        """Whether the broker has accepted us and the connection stands."""
        return self._epoch != 0

    def acknowledge(self, messages: Sequence[RawMessage]) -> None:
        """Acknowledge committed messages, in their order of arrival. Call after the commit, from any one thread."""
        epoch = self._epoch
        mids = [m.token[1] for m in messages if m.token is not None and m.token[0] == epoch and m.token[2]]
        if len(mids) != len(messages):
            self._counts["stale_tokens"] += sum(1 for m in messages if m.token is not None and m.token[0] != epoch)
        if mids:
            self._acks.append((epoch, mids))
            self._wake()

    def publish(self, topic: str, payload: bytes, qos: int = 1, *, retain: bool = False) -> bool:
        """Queue a message for the broker without waiting; False when the queue is full and it was dropped."""
        if len(self._outgoing) >= OUTGOING_MAX:
            self._counts["publish_dropped"] += 1
            return False
        self._outgoing.append(Outgoing(topic=topic, payload=payload, qos=qos, retain=retain))
        self._wake()
        return True

    def stats(self) -> MqttStats:
        """Return the counters and the present trouble, for health pages and metrics."""
        return MqttStats(
            is_connected=self.is_connected,
            protocol=self._protocol,
            is_paused=self._is_paused,
            problem=self._problem,
            refused_topics=self._refused,
            connects=self._epochs,
            **self._counts,
        )

    # ── threads ─────────────────────────────────────────────────────────────────────────────────

    def _wake(self) -> None:
        # A full pipe means a wake is already under way; a closed one that we have stopped.
        with contextlib.suppress(OSError):
            self._wake_in.send(b"\0")

    def _supervise(self) -> None:
        while not self._stop.is_set():
            worker = threading.Thread(target=self._work, name="mqtt", daemon=True)
            worker.start()
            worker.join()
            if not self._stop.is_set():
                self._epoch = 0
                self._counts["thread_deaths"] += 1
                log.error("ingest.mqtt_thread_died", deaths=self._counts["thread_deaths"])
                self._stop.wait(self._backoff_s[0])

    def _work(self) -> None:
        is_v5 = True
        delay_s = self._backoff_s[0]
        while not self._stop.is_set():
            epochs = self._epochs
            while not (self._inbox.is_roomy or self._stop.is_set()):
                self._stop.wait(PAUSED_POLL_S)  # a redelivery into a full inbox would be refused again
            try:
                self._converse(is_v5=is_v5)
                continue
            except ConnectionLost as error:
                why, suspect = str(error), error.is_version_suspect
            except Exception as error:  # noqa: BLE001 - paho raises what it likes on strange packets; we must live on
                why, suspect = f"{type(error).__name__}: {error}", self._epochs == epochs and not self._v5_worked
            self._complain(why)
            if is_v5 and suspect:
                is_v5 = False  # at once: nothing is broken, the broker is only old
                continue
            is_v5 = True
            if self._epochs != epochs:
                delay_s = self._backoff_s[0]
            # Full jitter: after a broker's restart all its clients come back, but not all at the same moment.
            self._stop.wait(self._jitter.uniform(0, delay_s))
            delay_s = min(delay_s * 2, self._backoff_s[1])

    def _complain(self, why: str) -> None:
        self._problem = why
        if not (self._is_quiet or self._stop.is_set()):
            self._is_quiet = True
            log.warning("ingest.broker_lost", host=self._address.host, port=self._address.port, why=why)

    # ── for the subclass, on its own thread ─────────────────────────────────────────────────────

    def _established(self, *, is_v5: bool) -> None:
        """Open a new epoch: from now on tokens are of this connection."""
        self._v5_worked |= is_v5
        self._protocol = "5" if is_v5 else "3.1.1"
        self._problem, self._is_quiet = "", False
        self._epochs += 1
        self._epoch = self._epochs
        log.info("ingest.broker_connected", host=self._address.host, port=self._address.port, protocol=self._protocol)

    def _ended(self, unconfirmed: Sequence[Outgoing]) -> None:
        """Close the epoch; what was published without an answer goes back to the front of the queue."""
        self._epoch = 0
        self._held = [m for m in self._held if not m.token[2]]  # the broker redelivers all but QoS 0
        self._outgoing.extendleft(reversed(unconfirmed))

    def _keep(self, published: Sequence[Publish]) -> None:
        """Turn packets into messages. One instant for all that came in one read; it never goes back."""
        self._last_ms = now_ms = max(self._last_ms, self._clock.now_ms())
        names, epoch = self._topic_names, self._epoch
        for topic, payload, mid, qos in published:
            name = names.get(topic)
            if name is None:
                if len(names) >= TOPIC_CACHE_MAX:
                    names.clear()
                name = names[topic] = topic.decode("utf-8", "backslashreplace")
            self._held.append(RawMessage(topic=name, payload=payload, received_ms=now_ms, token=(epoch, mid, qos)))
        self._counts["received"] += len(published)
        self._counts["received_bytes"] += sum(len(packet[1]) for packet in published)

    def _offer(self) -> bool:
        """Hand what was read to the inbox; False while some of it has to be held and nothing more may be read."""
        if self._held:
            if self._is_paused and not self._inbox.is_roomy:
                return False
            taken = self._inbox.put_many(self._held)
            del self._held[:taken]
        if self._held:
            if not self._is_paused:
                self._is_paused = True
                self._counts["pauses"] += 1
                log.warning("ingest.inbox_full", depth=self._inbox.depth)
            return False
        if self._is_paused:
            self._is_paused = False
            log.info("ingest.inbox_drained")
        return True
