"""Native JSON, as objects or as columns: the format of the contract with gateways (README, "Gateways").

Two ways lead to the same columns. The quick way is one typed msgspec decode and takes every message that
is as it should be. Whatever it refuses goes the careful way, reading by reading, so that one bad reading
never costs the others and every refusal has a reason.
"""

from __future__ import annotations

import contextlib
import json
from array import array
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from math import isfinite, isinf, isnan, nan
from typing import Annotated, Any, cast

import msgspec

from citypulse.errors import PayloadError

from .decoded import (
    BOOT_MAX_CHARS,
    PAYLOAD_MAX_BYTES,
    READINGS_MAX,
    SEQ_MAX,
    TIME_MAX_MS,
    TIME_MIN_MS,
    BadReading,
    Decoded,
    NumberedPayloadError,
    check_numbering,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# The array itself refuses texts, null and what does not fit: a check at C speed that costs nothing extra.
_TIMES = cast("Callable[[str, Iterable[int | str]], array[int]]", array)
_VALUES = cast("Callable[[str, Iterable[float | None]], array[float]]", array)


_Boot = Annotated[str, msgspec.Meta(min_length=1, max_length=BOOT_MAX_CHARS)]
_Seq = Annotated[int, msgspec.Meta(ge=0, le=SEQ_MAX)]
_UNSET = msgspec.UNSET


class _Reading(msgspec.Struct, gc=False):
    sensor: str
    time: int | str
    value: float | None


class _Message(msgspec.Struct, gc=False):
    boot: _Boot | None = None
    seq: _Seq | None = None
    sent: int | str | None = None
    readings: Annotated[list[_Reading], msgspec.Meta(max_length=READINGS_MAX)] | None = None
    sensor: msgspec.Raw | msgspec.UnsetType = _UNSET  # Raw does not go with None
    time: Annotated[list[int | str], msgspec.Meta(max_length=READINGS_MAX)] | None = None
    value: list[float | None] | None = None


class NativeCodec:
    """JSON of one message: `{"boot","seq","sent","readings":[{"sensor","time","value"}]}` or the same as columns.

    Unknown keys are ignored; of a key given twice the last counts; `null` values are readings that say
    "no value". Times are epoch milliseconds or ISO 8601 with a zone: a time without one is refused, for
    nobody can know which was meant.
    """

    def __init__(self) -> None:
        self._decode = msgspec.json.Decoder(_Message).decode

    def decode(self, payload: bytes) -> Decoded:
        """Read a message. PayloadError says why it cannot be read as a whole; single bad readings are in `bad`."""
        if len(payload) > PAYLOAD_MAX_BYTES:
            raise PayloadError("payload_too_large", f"{len(payload)} bytes; at most {PAYLOAD_MAX_BYTES} are taken")
        try:
            message = self._decode(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return _decode_carefully(payload)
        readings, column = message.readings, message.sensor
        try:
            if readings is not None:
                if column is not _UNSET or message.time is not None or message.value is not None:
                    return _decode_carefully(payload)
                if len(readings) == 1:
                    one = readings[0]
                    sensors: list[str] | bytes = [one.sensor]
                    times, values = _TIMES("q", (one.time,)), _VALUES("d", (one.value,))
                else:
                    sensors = [r.sensor for r in readings]
                    times, values = _TIMES("q", [r.time for r in readings]), _VALUES("d", [r.value for r in readings])
            elif column is _UNSET or message.time is None or message.value is None:
                return _decode_carefully(payload)
            else:
                sensors = bytes(column)
                times, values = _TIMES("q", message.time), _VALUES("d", message.value)
                if len(times) != len(values):
                    return _decode_carefully(payload)
        except (TypeError, OverflowError):  # a text for a time, null for a value, a number beyond 64 bits
            return _decode_carefully(payload)
        boot, seq, sent = message.boot, message.seq, message.sent
        if seq is None or boot is None:
            boot = seq = None
        return Decoded(sensors, times, values, boot, seq, sent if type(sent) is int else _sent_ms(sent))

    def encode(
        self,
        sensors: Sequence[str],
        times_ms: Sequence[int],
        values: Sequence[float],
        *,
        boot: str | None = None,
        seq: int | None = None,
        sent_ms: int | None = None,
    ) -> bytes:
        """Write the columnar form. NaN becomes null; ValueError for an infinite value."""
        message = _head(boot, seq, sent_ms)
        message["sensor"] = list(sensors)
        message["time"] = [int(t) for t in times_ms]
        message["value"] = _values(values)
        return msgspec.json.encode(message)

    def encode_objects(
        self,
        sensors: Sequence[str],
        times_ms: Sequence[int],
        values: Sequence[float],
        *,
        boot: str | None = None,
        seq: int | None = None,
        sent_ms: int | None = None,
    ) -> bytes:
        """Write the form with an object for each reading."""
        message = _head(boot, seq, sent_ms)
        message["readings"] = [
            {"sensor": s, "time": int(t), "value": v}
            for s, t, v in zip(sensors, times_ms, _values(values), strict=True)
        ]
        return msgspec.json.encode(message)


def _head(boot: str | None, seq: int | None, sent_ms: int | None) -> dict[str, Any]:
    return {k: v for k, v in (("boot", boot), ("seq", seq), ("sent", sent_ms)) if v is not None}


def _values(values: Sequence[float]) -> list[float | None]:
    plain = [float(v) for v in values]
    if any(map(isinf, plain)):
        raise ValueError("JSON cannot say infinity")
    return [v if v == v else None for v in plain]  # noqa: PLR0124 - NaN is what differs from itself


# ── the careful way ─────────────────────────────────────────────────────────────────────────────


def parse_json(payload: bytes) -> Any:
    """Read JSON, with the NaN and Infinity that Python gateways write. PayloadError says what is wrong."""
    with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return msgspec.json.decode(payload)
    try:
        return json.loads(payload.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise PayloadError("bad_encoding", f"not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise PayloadError("json_syntax", f"{error.msg} at character {error.pos}") from error
    except RecursionError as error:
        raise PayloadError("too_deep", "arrays or objects inside one another beyond any use") from error
    except ValueError as error:  # Python refuses whole numbers of more than 4300 digits
        raise PayloadError("json_syntax", f"a number too long to read: {error}") from error


def _decode_carefully(payload: bytes) -> Decoded:
    message = parse_json(payload)
    if not isinstance(message, dict):
        raise PayloadError("message_shape", f"a message is a JSON object, not {kind_of(message)}")
    boot, seq = check_numbering(message.get("boot"), message.get("seq"))
    try:
        readings = list(_split(message))
    except PayloadError as error:
        raise NumberedPayloadError(error.reason, error.detail, boot=boot, seq=seq) from error
    sensors: list[str] = []
    times, values = array("q"), array("d")
    bad: list[BadReading] = []
    for reading in readings:
        try:
            sensor, time_ms, value = read_one(reading)
        except PayloadError as error:
            bad.append(BadReading(dump(reading), error.reason, error.detail))
        else:
            sensors.append(sensor)
            times.append(time_ms)
            values.append(value)
    return Decoded(sensors, times, values, boot, seq, _sent_ms(message.get("sent")), tuple(bad))


def _split(message: dict[str, Any]) -> Sequence[Any]:
    """Return the message's readings as one sequence, whichever form it has."""
    columns = {key: message[key] for key in ("sensor", "time", "value") if message.get(key) is not None}
    readings = message.get("readings")
    if readings is not None:
        if columns:
            raise PayloadError("message_shape", f'both "readings" and columns ({", ".join(columns)}) are given')
        if not isinstance(readings, list):
            raise PayloadError("message_shape", f'"readings" is {kind_of(readings)}; an array of objects is needed')
        _check_count(len(readings))
        return readings
    if len(columns) != 3:
        lacking = [key for key in ("sensor", "time", "value") if key not in columns]
        raise PayloadError("message_shape", f'neither "readings" nor complete columns: no {", ".join(lacking)}')
    for key, column in columns.items():
        if not isinstance(column, list):
            raise PayloadError("message_shape", f'"{key}" is {kind_of(column)}; an array is needed')
    lengths = {key: len(column) for key, column in columns.items()}
    if len(set(lengths.values())) != 1:
        raise PayloadError("column_length", f"columns of different lengths: {lengths}")
    _check_count(len(columns["sensor"]))
    return [
        {"sensor": s, "time": t, "value": v}
        for s, t, v in zip(columns["sensor"], columns["time"], columns["value"], strict=True)
    ]


def _check_count(n: int) -> None:
    if n > READINGS_MAX:
        raise PayloadError("too_many_readings", f"{n} readings; a message may carry {READINGS_MAX}")


def read_one(reading: Any) -> tuple[str, int, float]:
    """Return sensor id, time (epoch ms) and value (NaN for null) of one reading object, or raise PayloadError."""
    if not isinstance(reading, dict):
        raise PayloadError("reading_shape", f"a reading is a JSON object, not {kind_of(reading)}")
    lacking = [key for key in ("sensor", "time", "value") if key not in reading]
    if lacking:
        raise PayloadError("reading_shape", f"no {', '.join(lacking)}")
    sensor = reading["sensor"]
    if not isinstance(sensor, str):
        raise PayloadError("reading_shape", f"the sensor is {kind_of(sensor)}; its id is a text")
    return sensor, read_time(reading["time"]), read_value(reading["value"])


def read_time(time: Any) -> int:
    """Return epoch ms from a number of milliseconds or an ISO 8601 text with a zone, or raise PayloadError."""
    if isinstance(time, float) and time.is_integer():
        time = int(time)  # 1.763777467e12: how some scripting languages write it
    if isinstance(time, str):
        try:
            at = datetime.fromisoformat(time)
        except ValueError as error:
            raise PayloadError("bad_time", f"{time!r:.60} is not ISO 8601") from error
        if at.tzinfo is None:
            raise PayloadError("time_zone_missing", f"{time!r:.60} names no zone; write Z or +08:00")
        since = at - EPOCH
        time = since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000
    if type(time) is not int:
        raise PayloadError("bad_time", f"{kind_of(time)} is no time; epoch milliseconds or ISO 8601 are needed")
    if not TIME_MIN_MS <= time < TIME_MAX_MS:
        raise PayloadError("time_out_of_range", f"{time!r:.40} is not between 2000 and 2100 in milliseconds")
    return time


def read_value(value: Any) -> float:
    """Return a finite number, NaN for null, or raise PayloadError."""
    if value is None:
        return nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PayloadError("bad_value", f"the value is {kind_of(value)}; a number or null is needed")
    try:
        number = float(value)
    except OverflowError as error:
        raise PayloadError("non_finite", "the value is beyond any 64-bit number") from error
    if not isfinite(number):
        raise PayloadError("non_finite", f"the value is {number}")
    return number


def _sent_ms(sent: Any) -> int | None:
    """Return when the gateway sent. A wrong one only costs its sample of the gateway's clock."""
    try:
        return None if sent is None else read_time(sent)
    except PayloadError:
        return None


def dump(reading: Any) -> bytes:
    """Write one reading as JSON for the dead letters, lone surrogates and all."""
    try:
        return json.dumps(reading, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(reading).encode()


def kind_of(value: Any) -> str:
    """Say in words what kind of JSON value it is."""
    names = {dict: "an object", list: "an array", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


# ── for the intake ──────────────────────────────────────────────────────────────────────────────


def decode_reading(payload: bytes) -> Decoded:
    """Read one reading standing alone, as dead letters keep it."""
    sensor, time_ms, value = read_one(parse_json(payload))
    return Decoded([sensor], array("q", [time_ms]), array("d", [value]))


def with_names(decoded: Decoded) -> Decoded:
    """Return the same message with its sensors as a list. What is no id at all leaves the columns and joins `bad`.

    Raises NumberedPayloadError when the sensors are not an array, or not as many as the other columns.
    """
    if isinstance(decoded.sensors, list):
        return decoded
    boot, seq = decoded.boot, decoded.seq
    try:
        names = _column(decoded.sensors, len(decoded.times))
    except PayloadError as error:
        raise NumberedPayloadError(error.reason, error.detail, boot=boot, seq=seq) from error
    sensors: list[str] = []
    times, values = array("q"), array("d")
    bad = list(decoded.bad)
    for name, time_ms, value in zip(names, decoded.times, decoded.values, strict=True):
        if isinstance(name, str):
            sensors.append(name)
            times.append(time_ms)
            values.append(value)
        else:
            reading = {"sensor": name, "time": time_ms, "value": None if isnan(value) else value}
            bad.append(BadReading(dump(reading), "reading_shape", f"the sensor is {kind_of(name)}; its id is a text"))
    return Decoded(sensors, times, values, boot, seq, decoded.sent_ms, tuple(bad))


def _column(sensors: bytes, n: int) -> list[Any]:
    names = parse_json(sensors)
    if not isinstance(names, list):
        raise PayloadError("message_shape", f'"sensor" is {kind_of(names)}; an array is needed')
    if len(names) != n:
        raise PayloadError("column_length", f"{len(names)} sensors but {n} times and values")
    return names
