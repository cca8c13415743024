"""A tick's readings as one compact blob, and any state as msgpack with arrays in it. No pickle: nothing here runs code.

Blob, little endian: magic "CPJ", version u8, crc32 u32 of all that follows it, n u32, layout u8, three zero bytes,
then the columns one after the other:
    time base i64, received base i64, value f64[n], time (offset u32[n], or i64[n] when LONG_TIME),
    received (u16[n] offset; u32/i64 for LONG_RECEIVED; absent when all equal the base), sensor (u16[n] or i32[n]),
    grade u8[n] = lane << 4 | quality.
Typically 17 bytes a reading instead of the 30 of the plain columns.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from citypulse.errors import CityError
from citypulse.model import ReadingBatch

MAGIC = b"CPJ"
VERSION = 1
_HEAD = struct.Struct("<3sBIIBxxx")
_BASES = struct.Struct("<qq")
_CRC_FROM = 8  # the checksum covers everything after itself

_LONG_TIME = 1  # times span more than 49 days
_WIDE_SENSOR = 2  # an index does not fit 16 bits
_RECEIVED_U16 = 4
_RECEIVED_I64 = 8  # neither of the two: every reading was received at the base instant
_GRADE_MAX = 16

ARRAY_EXT = 1  # msgpack extension type of a numpy array


class DamagedError(CityError):
    """Bytes read back from the journal are not the bytes that were written."""


def pack(batch: ReadingBatch) -> bytes:
    """Pack a batch; `unpack` returns equal columns, bit for bit, NaN payloads included."""
    n = len(batch)
    time_ms = np.ascontiguousarray(batch.time_ms, "<i8")
    received = np.ascontiguousarray(batch.received_ms, "<i8")
    sensor = np.ascontiguousarray(batch.sensor, "<i4")
    quality, lane = batch.quality, batch.lane
    layout = 0
    time_base = received_base = 0
    parts: list[Any] = [np.ascontiguousarray(batch.value, "<f8")]
    if n:
        if int(quality.max()) >= _GRADE_MAX or int(lane.max()) >= _GRADE_MAX:
            raise ValueError("quality and lane must be below 16 to share a byte")
        time_base, last = int(time_ms.min()), int(time_ms.max())
        if last - time_base < 1 << 32:
            parts.append((time_ms - time_base).astype("<u4"))
        else:
            layout |= _LONG_TIME
            parts.append(time_ms)
        received_base, last = int(received.min()), int(received.max())
        if last == received_base:
            pass
        elif last - received_base < 1 << 16:
            layout |= _RECEIVED_U16
            parts.append((received - received_base).astype("<u2"))
        else:
            layout |= _RECEIVED_I64
            parts.append(received)
        if int(sensor.min()) >= 0 and int(sensor.max()) < 1 << 16:
            parts.append(sensor.astype("<u2"))
        else:
            layout |= _WIDE_SENSOR
            parts.append(sensor)
        parts.append((lane << np.uint8(4)) | quality)
    body = b"".join([_BASES.pack(time_base, received_base), *parts])
    crc = zlib.crc32(body, zlib.crc32(struct.pack("<IBxxx", n, layout)))
    return _HEAD.pack(MAGIC, VERSION, crc, n, layout) + body


def unpack(blob: bytes) -> ReadingBatch:
    """Read a packed batch back. Raises DamagedError when the blob is not whole, not ours, or altered."""
    if len(blob) < _HEAD.size + _BASES.size:
        raise DamagedError(f"a packed batch of {len(blob)} bytes is shorter than its header")
    magic, version, crc, n, layout = _HEAD.unpack_from(blob)
    if magic != MAGIC or version != VERSION:
        raise DamagedError(f"a packed batch begins with {blob[:4]!r}, expected {MAGIC + bytes([VERSION])!r}")
    if zlib.crc32(memoryview(blob)[_CRC_FROM:]) != crc:
        raise DamagedError(f"a packed batch of {n} readings does not match its checksum")
    time_base, received_base = _BASES.unpack_from(blob, _HEAD.size)
    at = _HEAD.size + _BASES.size

    def column(dtype: str) -> NDArray[Any]:
        nonlocal at
        found = np.frombuffer(blob, dtype, n, at)
        at += found.nbytes
        return found

    if not n:
        return ReadingBatch.empty()
    value = column("<f8").copy()
    time_ms = column("<i8").astype(np.int64) if layout & _LONG_TIME else column("<u4").astype(np.int64) + time_base
    if layout & _RECEIVED_U16:
        received = column("<u2").astype(np.int64) + received_base
    elif layout & _RECEIVED_I64:
        received = column("<i8").astype(np.int64)
    else:
        received = np.full(n, received_base, np.int64)
    sensor = column("<i4" if layout & _WIDE_SENSOR else "<u2").astype(np.int32)
    grade = column("u1")
    return ReadingBatch(
        sensor=sensor,
        time_ms=time_ms,
        value=value,
        quality=grade & np.uint8(15),
        lane=grade >> np.uint8(4),
        received_ms=received,
    )


def _to_ext(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise TypeError("an array of Python objects cannot be kept: use numbers, bools or fixed-width text")
        kind = value.dtype.descr if value.dtype.names else value.dtype.str
        return msgspec.msgpack.Ext(ARRAY_EXT, _PLAIN.encode((kind, value.shape, value.tobytes())))
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be kept: use arrays, numbers, text, lists and dicts")


def _from_ext(code: int, payload: memoryview) -> Any:
    if code != ARRAY_EXT:
        raise DamagedError(f"msgpack extension {code} is not ours")
    kind, shape, raw = msgspec.msgpack.decode(payload)
    dtype = np.dtype(kind) if isinstance(kind, str) else np.dtype([tuple(f) for f in kind])
    return np.frombuffer(raw, dtype).reshape(shape).copy()


_PLAIN = msgspec.msgpack.Encoder()
_ENCODER = msgspec.msgpack.Encoder(enc_hook=_to_ext)
_DECODER = msgspec.msgpack.Decoder(ext_hook=_from_ext)


def dump(value: Any) -> bytes:
    """Write nested dicts, lists, text, numbers and numpy arrays as msgpack. Tuples come back as lists."""
    return _ENCODER.encode(value)


def load(blob: bytes) -> Any:
    """Read what `dump` wrote; arrays are fresh and writable. Raises DamagedError for anything else."""
    try:
        return _DECODER.decode(blob)
    except (msgspec.DecodeError, ValueError, TypeError) as problem:
        raise DamagedError(f"a state of {len(blob)} bytes cannot be read: {problem}") from problem
