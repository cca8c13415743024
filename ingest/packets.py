"""Splits the byte stream of an MQTT connection into packets, many PUBLISH packets at a time. No input or output here.

paho reads every packet with three system calls and some fifteen Python calls (bulk.py);
walking a large buffer costs 0.4 µs a packet. Only PUBLISH of QoS 0 and 1 is understood here; all other
packets are handed back whole for paho to judge.
"""

from __future__ import annotations

PACKET_KEEP_BYTES = 2 << 20  # of a larger PUBLISH only the head is kept: enough for a dead letter to be named
OTHER_MAX_BYTES = 1 << 20  # no CONNACK, SUBACK or DISCONNECT is anywhere near this
PUBLISH = 0x30


class ProtocolError(Exception):
    """The peer does not speak MQTT as agreed; the connection cannot be read any further."""


Publish = tuple[bytes, bytes, int, int]  # topic, payload, packet id (0 at QoS 0), QoS


class PacketReader:
    """Reads one connection. `is_v5` says whether PUBLISH carries properties."""

    def __init__(self, *, is_v5: bool, keep_bytes: int = PACKET_KEEP_BYTES) -> None:
        """Keep at most `keep_bytes` of a PUBLISH; the rest is skipped and counted in `truncated`."""
        self._is_v5 = is_v5
        self._keep_bytes = keep_bytes
        self._rest = b""
        self._skip = 0
        self.truncated = 0

    def feed(self, chunk: bytes) -> tuple[list[Publish], list[tuple[int, bytes]]]:
        """Take bytes; return the PUBLISH packets completed by them and all others as (first byte, body).

        Raises ProtocolError for a length or topic that cannot be.
        """
        if self._skip:
            drop = min(self._skip, len(chunk))
            self._skip -= drop
            chunk = chunk[drop:]
        buffer = self._rest + chunk if self._rest else chunk
        published: list[Publish] = []
        others: list[tuple[int, bytes]] = []
        position, end = 0, len(buffer)
        while end - position >= 2:
            first = buffer[position]
            length = buffer[position + 1]
            body = position + 2
            if length > 127:
                length, body = _long_length(buffer, position + 1, end)
                if body == 0:
                    break
            stop = body + length
            if first & 0xF4 == PUBLISH:  # QoS 0 or 1
                if stop > end:
                    if length <= self._keep_bytes or end - body < self._keep_bytes:
                        break
                    published.append(self._publish(buffer, first, body, body + self._keep_bytes))
                    self.truncated += 1
                    self._skip = stop - end
                    position = end
                    break
                published.append(self._publish(buffer, first, body, stop))
            elif length > OTHER_MAX_BYTES:
                raise ProtocolError(f"a control packet 0x{first:02x} of {length} bytes")
            elif stop > end:
                break
            else:
                others.append((first, buffer[body:stop]))
            position = stop
        self._rest = buffer[position:]
        return published, others

    def _publish(self, buffer: bytes, first: int, body: int, stop: int) -> Publish:
        topic = body + 2
        at = topic + (buffer[body] << 8 | buffer[body + 1]) if stop - body >= 2 else stop + 1
        topic_stop = at
        mid = 0
        if first & 0x06:
            if at + 2 > stop:
                raise ProtocolError("a PUBLISH packet ends inside its topic or packet id")
            mid = buffer[at] << 8 | buffer[at + 1]
            at += 2
        if self._is_v5:
            size = buffer[at] if at < stop else 128
            if size < 128:
                at += 1 + size
            else:
                size, at = _long_length(buffer, at, stop)
                at = at + size if at else stop + 1
        if at > stop:
            raise ProtocolError("a PUBLISH packet ends inside its head")
        return buffer[topic:topic_stop], buffer[at:stop], mid, 1 if first & 0x02 else 0


def _long_length(buffer: bytes, position: int, end: int) -> tuple[int, int]:
    """Return a variable byte integer of up to four bytes and the position after it; position 0 if cut short."""
    value = 0
    for shift in (0, 7, 14, 21):
        if position >= end:
            return 0, 0
        byte = buffer[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise ProtocolError("a length of more than four bytes")
