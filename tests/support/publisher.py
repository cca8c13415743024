"""An independent MQTT 3.1.1 publisher on a bare socket: numbered readings at QoS 1, and what the broker confirmed.

It shares no code with the system under test, and costs little enough to leave the cores to it.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import threading
import time


def remaining_length(n: int) -> bytes:
    out = bytearray()
    while True:
        n, digit = divmod(n, 128)
        out.append(digit | (0x80 if n else 0))
        if not n:
            return bytes(out)


def connect_packet(client_id: str, *, clean: bool = True, keepalive_s: int = 60) -> bytes:
    body = b"\x00\x04MQTT\x04" + bytes([2 if clean else 0]) + struct.pack(">H", keepalive_s)
    name = client_id.encode()
    body += struct.pack(">H", len(name)) + name
    return b"\x10" + remaining_length(len(body)) + body


def publish_packet(topic: bytes, payload: bytes, mid: int) -> bytes:
    body = struct.pack(">H", len(topic)) + topic + struct.pack(">H", mid) + payload
    return b"\x32" + remaining_length(len(body)) + body


def subscribe_packet(topic: bytes, qos: int) -> bytes:
    body = struct.pack(">HH", 1, len(topic)) + topic + bytes([qos])
    return b"\x82" + remaining_length(len(body)) + body


class Publisher:
    """One connection to the broker; `send` keeps at most `window` messages unconfirmed."""

    def __init__(self, port: int, client_id: str, *, window: int = 200) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(connect_packet(client_id))
        if self.socket.recv(4)[:1] != b"\x20":
            raise ConnectionError("the broker did not accept the connection")
        self.window = window
        self.sent = 0
        self.confirmed = 0
        self._left = b""

    def _confirmations(self, *, block: bool) -> None:
        while True:
            ready, _, _ = select.select([self.socket], [], [], 10 if block else 0)
            if not ready:
                if block:
                    raise TimeoutError("the broker confirmed nothing for 10 s")
                return
            data = self._left + self.socket.recv(65536)
            if not data:
                raise ConnectionError("the broker closed the connection")
            # QoS 1 answers are all four bytes: 0x40 0x02 mid mid
            whole = len(data) // 4
            self.confirmed += whole
            self._left = data[whole * 4 :]
            if whole:
                return

    def send(self, topic: str, payload: bytes) -> None:
        while self.sent - self.confirmed >= self.window:
            self._confirmations(block=True)
        self.sent += 1
        self.socket.sendall(publish_packet(topic.encode(), payload, self.sent % 65535 + 1))
        self._confirmations(block=False)

    def send_packed(self, packets: list[bytes]) -> None:
        """Send ready-made QoS 1 packets in one write; the window counts them together."""
        while self.sent - self.confirmed >= self.window:
            self._confirmations(block=True)
        self.socket.sendall(b"".join(packets))
        self.sent += len(packets)
        self._confirmations(block=False)

    def finish(self) -> None:
        """Wait until the broker has confirmed everything, then part."""
        while self.confirmed < self.sent:
            self._confirmations(block=True)
        self.socket.sendall(b"\xe0\x00")
        self.socket.close()


def reading_message(boot: str, seq: int, readings: list[tuple[str, int, float]], sent_ms: int) -> bytes:
    """The native object form of one numbered message."""
    return json.dumps(
        {
            "boot": boot,
            "seq": seq,
            "sent": sent_ms,
            "readings": [{"sensor": s, "time": t, "value": v} for s, t, v in readings],
        },
        separators=(",", ":"),
    ).encode()


class Subscriber(threading.Thread):
    """Collects every message of a topic with its arrival time, on a bare socket, QoS 0."""

    def __init__(self, port: int, topic: str, client_id: str) -> None:
        super().__init__(daemon=True)
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.sendall(connect_packet(client_id))
        self.socket.recv(4)
        self.socket.sendall(subscribe_packet(topic.encode(), 0))
        self.socket.recv(5)
        self.messages: list[tuple[float, bytes]] = []
        self.count = 0

    def run(self) -> None:
        data = b""
        self.socket.settimeout(None)
        while True:
            try:
                chunk = self.socket.recv(1 << 20)
            except OSError:
                return
            if not chunk:
                return
            now = time.time()
            data += chunk
            at = 0
            while True:
                length, shift, head = 0, 0, at + 1
                while head < len(data):
                    byte = data[head]
                    length |= (byte & 0x7F) << shift
                    shift += 7
                    head += 1
                    if not byte & 0x80:
                        break
                else:
                    break
                if head + length > len(data):
                    break
                if data[at] & 0xF0 == 0x30:
                    self.count += 1
                    topic_len = struct.unpack_from(">H", data, head)[0]
                    self.messages.append((now, data[head + 2 + topic_len : head + length]))
                at = head + length
            data = data[at:]

    def close(self) -> None:
        self.socket.close()
