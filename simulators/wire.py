"""What stands in a simulated gateway's messages: readings as bytes, its state, and the city's answers read back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ingest.codecs import Codec
from ingest.codecs.native import NativeCodec

ROOT = "city/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Readings of one gateway, ready to be packed: columns of one length, and the gateway's own numbering."""

    boot: str
    seq: int
    sent_ms: int
    sensor: Sequence[str]
    time_ms: Sequence[int]
    value: Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watermark:
    """What the city says is durable: all of `boot` up to `durable_upto`, but not the ranges in `missing`."""

    boot: str
    durable_upto: int
    missing: tuple[tuple[int, int], ...]  # inclusive ranges


def readings_topic(gateway: str) -> str:
    """Return where a gateway publishes readings."""
    return f"{ROOT}/{gateway}/readings"


def state_topic(gateway: str) -> str:
    """Return where its birth and will are kept."""
    return f"{ROOT}/{gateway}/state"


def ack_topic(gateway: str) -> str:
    """Return where the city tells it what is durable."""
    return f"{ROOT}/{gateway}/ack"


def pack(message: Message, codec: Codec, *, as_objects: bool = False) -> bytes:
    """Return the message in a codec's format; native JSON also as one object a reading instead of columns."""
    write = codec.encode_objects if as_objects and isinstance(codec, NativeCodec) else codec.encode
    return write(
        message.sensor, message.time_ms, message.value, boot=message.boot, seq=message.seq, sent_ms=message.sent_ms
    )


def pack_state(state: str, boot: str, at_ms: int, first: int | None = None) -> bytes:
    """Return a birth (`online`) or a will (`offline`); the boot id keeps an old will from hiding a new birth.

    `first` is the lowest number of this boot that the gateway still holds: nothing below it will ever come.
    """
    body: dict[str, Any] = {"boot": boot, "state": state, "at": at_ms}
    return json.dumps(body if first is None else body | {"first": first}, separators=(",", ":")).encode()


def read_watermark(payload: bytes) -> Watermark | None:
    """Read the city's answer; None when it is not one (a gateway shrugs at what it does not understand)."""
    try:
        body = json.loads(payload)
        ranges = tuple(_range(part) for part in body.get("missing", ()))
        return Watermark(boot=str(body["boot"]), durable_upto=int(body["durable_upto"]), missing=ranges)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _range(part: Any) -> tuple[int, int]:
    """Read 7, "3-5" or [3, 5]."""
    if isinstance(part, str):
        first, _, last = part.partition("-")
        return int(first), int(last or first)
    if isinstance(part, list):
        return int(part[0]), int(part[-1])
    return int(part), int(part)
