"""A field gateway that keeps its promise: numbered before it is stored, deleted only when the city says it is durable.

A broker may lose what it has confirmed (mosquitto does, when killed), so a confirmation deletes nothing. Only the
durable watermark on `city/v1/<gateway>/ack` does, and what that calls missing is sent again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import Protocol

from ingest.codecs import CODECS, Codec

from .noise import key_of, uniform
from .wire import Message, pack, pack_state, read_watermark, readings_topic, state_topic

BUFFER_MAX = 20_000  # messages on its disk; beyond this the oldest are lost, and counted
SEND_AHEAD_MAX = 100  # handed to the link and not yet confirmed by the broker
PROBE_S = (15.0, 600.0)  # no watermark for confirmed messages this long: send the newest again, ever more patiently
HEARD_MAX = 10_000


class Receipt(Protocol):
    """What a link gives for a message it took."""

    def is_published(self) -> bool:
        """Whether the broker has confirmed it; RuntimeError when it never will."""
        ...


class Line(Protocol):
    """A gateway's way to the broker (lines.py)."""

    @property
    def is_up(self) -> bool:
        """Whether messages can be sent."""
        ...

    @property
    def problem(self) -> str:
        """Why it is down, as far as the broker said."""
        ...

    @property
    def connects(self) -> int:
        """How often it has come up; a rise means: say hello, and send again what was not confirmed."""
        ...

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> Receipt | None:
        """Send at QoS 1; None when it cannot be taken now."""
        ...

    def keep_up(self) -> None:
        """Connect, or connect again, without waiting."""
        ...

    def cut(self) -> None:
        """Lose the link without a farewell: the will is published."""
        ...

    def close(self) -> None:
        """Take leave."""
        ...

    def introduce(self, boot: str, at_ms: int, hear: Callable[[bytes], None]) -> None:
        """Say who will be online, and where to bring the city's answers."""
        ...


class _Stage(Enum):
    WAITING = "waiting"  # to be sent
    SENT = "sent"  # handed to the link
    CONFIRMED = "confirmed"  # the broker has it; the city has not said so


@dataclass(slots=True)
class _Kept:
    payload: bytes
    readings: int
    stage: _Stage = _Stage.WAITING
    receipt: Receipt | None = None


@dataclass(slots=True)
class GatewayStats:
    """Counters of one gateway since the start."""

    recorded: int = 0  # messages numbered
    readings: int = 0
    published: int = 0  # messages handed to the link, repeats included
    repeated: int = 0  # of those, sent before
    durable: int = 0  # messages the city has called durable
    durable_readings: int = 0
    overflowed: int = 0  # messages lost because the buffer was full
    reboots: int = 0


class SimGateway:
    """One gateway. Everything but `hear` belongs to one thread."""

    def __init__(
        self,
        name: str,
        line: Line,
        *,
        seed: int,
        start_ms: int,
        codec: Codec = CODECS["native"],
        as_objects: bool = False,
        buffer_max: int = BUFFER_MAX,
    ) -> None:
        """`seed` and `start_ms` make the boot id: a run repeated exactly repeats its numbers too.

        `as_objects` chooses native JSON with an object for each reading.
        """
        self.name = name
        self.line = line
        self.stats = GatewayStats()
        self.is_cut = False  # the link is out of order
        self.doubles = 0.0  # share of messages sent twice
        self.is_shuffling = False  # sends newest first
        self._seed = seed
        self._start_ms = start_ms
        self._codec, self._as_objects = codec, as_objects
        self._buffer_max = buffer_max
        self._heard: deque[bytes] = deque(maxlen=HEARD_MAX)
        self._kept: dict[tuple[str, int], _Kept] = {}  # in order of numbering
        self._in_flight: deque[tuple[str, int]] = deque()
        self._waiting: deque[tuple[str, int]] = deque()
        self._connects_seen = 0
        self._probe_at_s = 0.0
        self._probe_s = PROBE_S[0]
        self.boot = ""
        self._seq = 0
        self._boots = 0
        self._boot_up(start_ms)

    @property
    def pending(self) -> int:
        """Messages not yet known durable."""
        return len(self._kept)

    @property
    def pending_readings(self) -> int:
        """Readings not yet known durable."""
        return sum(k.readings for k in self._kept.values())

    def reboot(self, now_ms: int) -> None:
        """Start again: a new boot id and numbers from 1; what is on the disk stays there."""
        self.stats.reboots += 1
        self._boot_up(now_ms)

    def _boot_up(self, now_ms: int) -> None:
        self._boots += 1
        self.boot = f"b{key_of(self._seed, self.name, self._start_ms, self._boots) & 0xFFFFFFFF:08x}"
        self._seq = 0
        self._connects_seen = 0  # say hello with the new name
        self.line.introduce(self.boot, now_ms, self.hear)

    def hear(self, payload: bytes) -> None:
        """Take note of an answer of the city. Safe from any thread."""
        self._heard.append(payload)

    def record(self, sensor: Sequence[str], time_ms: Sequence[int], value: Sequence[float], sent_ms: int) -> None:
        """Number a message of these readings and put it on the disk; it is sent by `work`."""
        self._seq += 1
        message = Message(boot=self.boot, seq=self._seq, sent_ms=sent_ms, sensor=sensor, time_ms=time_ms, value=value)
        key = (self.boot, self._seq)
        self._kept[key] = _Kept(pack(message, self._codec, as_objects=self._as_objects), len(sensor))
        self._waiting.append(key)
        self.stats.recorded += 1
        self.stats.readings += len(sensor)
        if len(self._kept) > self._buffer_max:
            del self._kept[next(iter(self._kept))]
            self.stats.overflowed += 1

    def work(self, now_s: float, now_ms: int) -> None:
        """Hear the city, keep the link up and send what waits. `now_s` is a steady real time, for patience only."""
        while self._heard:
            self._take(self._heard.popleft(), now_s)
        if self.is_cut:
            return
        self.line.keep_up()
        if not self.line.is_up:
            return
        if self.line.connects != self._connects_seen:
            self._connects_seen = self.line.connects
            self._greet(now_s, now_ms)
        self._collect_receipts(now_s)
        self._send()
        self._probe(now_s)

    def cut(self) -> None:
        """Lose the link until `mend`."""
        if not self.is_cut:
            self.is_cut = True
            self.line.cut()

    def mend(self) -> None:
        """The link may come back."""
        self.is_cut = False

    @property
    def is_delivered(self) -> bool:
        """Whether the broker has confirmed everything there is."""
        return not self._waiting and not self._in_flight

    # ── inside ──────────────────────────────────────────────────────────────────────────────────

    def _greet(self, now_s: float, now_ms: int) -> None:
        """Say hello, and send again, in order, what an earlier connection may not have delivered."""
        first = min((seq for boot, seq in self._kept if boot == self.boot), default=self._seq + 1)
        self.line.publish(state_topic(self.name), pack_state("online", self.boot, now_ms, first), retain=True)
        lost = [k for k in self._in_flight if k in self._kept and self._kept[k].stage is _Stage.SENT]
        self._in_flight.clear()
        self._return_to_waiting(lost)
        self._probe_at_s = now_s + PROBE_S[0]

    def _return_to_waiting(self, keys: Sequence[tuple[str, int]]) -> None:
        again = set(keys)
        for key in again:
            kept = self._kept[key]
            kept.stage, kept.receipt = _Stage.WAITING, None
        rest = again | set(self._waiting)
        # Oldest first: a sensor's readings must arrive in order, or the later ones make history of the earlier.
        self._waiting = deque(k for k in self._kept if k in rest)
        self.stats.repeated += len(again)

    def _collect_receipts(self, now_s: float) -> None:
        while self._in_flight:
            kept = self._kept.get(self._in_flight[0])
            if kept is not None and kept.receipt is not None and kept.stage is _Stage.SENT:
                try:
                    if not kept.receipt.is_published():
                        return
                except (RuntimeError, ValueError):
                    self._return_to_waiting([self._in_flight.popleft()])
                    continue
                kept.stage = _Stage.CONFIRMED
                self._probe_at_s = now_s + self._probe_s
            self._in_flight.popleft()

    def _send(self) -> None:
        while self._waiting and len(self._in_flight) < SEND_AHEAD_MAX:
            key = self._waiting.pop() if self.is_shuffling else self._waiting[0]
            kept = self._kept.get(key)
            if kept is not None:
                receipt = self.line.publish(readings_topic(self.name), kept.payload)
                if receipt is None:
                    if self.is_shuffling:
                        self._waiting.append(key)
                    return
                kept.stage, kept.receipt = _Stage.SENT, receipt
                self._in_flight.append(key)
                self.stats.published += 1
                if self.doubles and uniform(key_of(self.name, *key), 0) < self.doubles:
                    self.line.publish(readings_topic(self.name), kept.payload)
                    self.stats.published += 1
                    self.stats.repeated += 1
            if not self.is_shuffling:
                self._waiting.popleft()

    def _probe(self, now_s: float) -> None:
        """Nothing durable for long: send the newest again; the answer names whatever else is missing."""
        if self._waiting or self._in_flight or not self._kept or now_s < self._probe_at_s:
            return
        self._probe_s = min(self._probe_s * 2, PROBE_S[1])
        self._probe_at_s = now_s + self._probe_s
        newest: dict[str, tuple[str, int]] = {boot: (boot, seq) for boot, seq in self._kept}
        self._return_to_waiting(list(newest.values()))

    def _take(self, payload: bytes, now_s: float) -> None:
        mark = read_watermark(payload)
        if mark is None:
            return
        for key in self._upto(mark.boot, mark.durable_upto, mark.missing):
            kept = self._kept.pop(key)
            self.stats.durable += 1
            self.stats.durable_readings += kept.readings
            self._probe_s, self._probe_at_s = PROBE_S[0], now_s + PROBE_S[0]
        wanted = [
            (mark.boot, seq)
            for first, last in mark.missing
            for seq in islice(range(first, last + 1), self._buffer_max)
            # What is on its way anyway need not go twice.
            if (mark.boot, seq) in self._kept and self._kept[mark.boot, seq].stage is _Stage.CONFIRMED
        ]
        if wanted:
            self._return_to_waiting(wanted)

    def _upto(self, boot: str, last: int, missing: Sequence[tuple[int, int]]) -> Iterator[tuple[str, int]]:
        holes = [(a, b) for a, b in missing if a <= last]
        found = [k for k in self._kept if k[0] == boot and k[1] <= last and not any(a <= k[1] <= b for a, b in holes)]
        return iter(found)
