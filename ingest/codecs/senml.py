"""SenML in JSON (RFC 8428), as many sensor boards and gateways send it by themselves.

A record's name is the sensor id, its time is in seconds since 1970. Our numbering travels in three more labels
of the first record (`boot`, `seq`, `sent`), which the standard lets other readers ignore.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from math import isinf, isnan
from typing import Any

import msgspec

from citypulse.errors import PayloadError

from .decoded import (
    PAYLOAD_MAX_BYTES,
    READINGS_MAX,
    BadReading,
    Decoded,
    NumberedPayloadError,
    check_numbering,
)
from .native import dump, kind_of, parse_json, read_time, read_value

VERSION_MAX = 10  # RFC 8428 4.4
RELATIVE_BELOW_S = 2**28  # RFC 8428 4.5.3: smaller times count from "now", which differs from reader to reader


class SenmlCodec:
    """`[{"bn":"w-0112.","bt":1763777467,"boot":"b7","seq":1042},{"n":"do","v":1.8},{"n":"ph","v":7.2}]`.

    Base name, time and value hold until replaced. Only numbers are readings: text, boolean and data values
    are refused one by one. Units are not looked at; `sensors.yaml` says what a sensor's raw unit is.
    """

    def decode(self, payload: bytes) -> Decoded:
        """Read a pack. PayloadError says why it cannot be read as a whole."""
        if len(payload) > PAYLOAD_MAX_BYTES:
            raise PayloadError("payload_too_large", f"{len(payload)} bytes; at most {PAYLOAD_MAX_BYTES} are taken")
        pack = parse_json(payload)
        if not isinstance(pack, list):
            raise PayloadError("message_shape", f"a SenML pack is an array of records, not {kind_of(pack)}")
        head: dict[str, Any] = pack[0] if pack and isinstance(pack[0], dict) else {}
        boot, seq = check_numbering(head.get("boot"), head.get("seq"))
        readings = sum(1 for record in pack if not isinstance(record, dict) or "v" in record)
        if readings > READINGS_MAX:
            detail = f"{readings} readings; a message may carry {READINGS_MAX}"
            raise NumberedPayloadError("too_many_readings", detail, boot=boot, seq=seq)
        try:
            sent_ms = None if head.get("sent") is None else read_time(head["sent"])
        except PayloadError:
            sent_ms = None
        sensors: list[str] = []
        times, values = array("q"), array("d")
        bad: list[BadReading] = []
        base: dict[str, Any] = {}
        for record in pack:
            try:
                reading = _read(record, base)
            except PayloadError as error:
                whole = [base | record] if isinstance(record, dict) else [record]
                bad.append(BadReading(dump(whole), error.reason, error.detail, is_message=True))
                continue
            if reading is not None:
                sensors.append(reading[0])
                times.append(reading[1])
                values.append(reading[2])
        return Decoded(sensors, times, values, boot, seq, sent_ms, tuple(bad))

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
        """Write a pack with full names and times. NaN becomes null; ValueError for an infinite value."""
        if any(isinf(v) for v in values):
            raise ValueError("JSON cannot say infinity")
        head = {k: v for k, v in (("boot", boot), ("seq", seq), ("sent", sent_ms)) if v is not None}
        records: list[dict[str, Any]] = [head] if head else []
        records.extend(
            {"n": s, "t": t / 1000, "v": None if isnan(v) else float(v)}
            for s, t, v in zip(sensors, times_ms, values, strict=True)
        )
        return msgspec.json.encode(records)


def _read(record: Any, base: dict[str, Any]) -> tuple[str, int, float] | None:
    """Return the reading of a record, None when it only sets base values (kept in `base`)."""
    if not isinstance(record, dict):
        raise PayloadError("reading_shape", f"a record is a JSON object, not {kind_of(record)}")
    base.update({key: value for key, value in record.items() if key in ("bn", "bt", "bv", "bver")})
    strange = [key for key in record if key.endswith("_")]
    if strange:  # RFC 8428 4.4: such a label must be understood or the record left alone
        raise PayloadError("reading_shape", f"label {strange[0]!r:.40} must be understood and is not")
    version = base.get("bver", VERSION_MAX)
    if type(version) is not int or version > VERSION_MAX:
        raise PayloadError("reading_shape", f"SenML version {version!r:.40} is newer than {VERSION_MAX}")
    if "v" not in record:
        others = [key for key in ("vs", "vb", "vd", "s") if key in record]
        if others or "n" in record or "t" in record:
            raise PayloadError(
                "bad_value", f"the record has {', '.join(others) or 'no value'}; a number in v is needed"
            )
        return None
    name, base_name = record.get("n", ""), base.get("bn", "")
    if not isinstance(name, str) or not isinstance(base_name, str) or not base_name + name:
        raise PayloadError("reading_shape", "the name is missing or no text")
    value = read_value(record["v"])
    if "bv" in base:
        value += read_value(base["bv"])
    return base_name + name, _time_ms(record.get("t", 0), base.get("bt", 0)), value


def _time_ms(time_s: Any, base_s: Any) -> int:
    for part in (time_s, base_s):
        if isinstance(part, bool) or not isinstance(part, int | float):
            raise PayloadError("bad_time", f"{kind_of(part)} is no time; seconds are needed")
    total_s = time_s + base_s
    if total_s < RELATIVE_BELOW_S:
        raise PayloadError("bad_time", f"{total_s!r:.40} counts from the time of sending, which nobody can know here")
    if total_s > 2**53:  # infinity, NaN and what no float holds to the millisecond
        raise PayloadError("time_out_of_range", f"{total_s!r:.40} seconds")
    return read_time(round(total_s * 1000))
