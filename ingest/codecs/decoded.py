"""What every codec hands on, and the shape every codec has. The contract's tests are tests/contracts/test_codecs.py."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Protocol

import msgspec

from citypulse.errors import PayloadError

PAYLOAD_MAX_BYTES = 1 << 20
READINGS_MAX = 10_000
# A time outside these is not a time in milliseconds: seconds land in 1970, microseconds after 50,000.
TIME_MIN_MS = 946_684_800_000  # 2000-01-01
TIME_MAX_MS = 4_102_444_800_000  # 2100-01-01
SEQ_MAX = 2**63 - 1
BOOT_MAX_CHARS = 64


class NumberedPayloadError(PayloadError):
    """A message that cannot be read but whose number can: once it is safe as a dead letter it counts as received."""

    def __init__(self, reason: str, detail: str, *, boot: str | None, seq: int | None) -> None:
        """`boot` and `seq` as in Decoded."""
        super().__init__(reason, detail)
        self.boot = boot
        self.seq = seq


class BadReading(msgspec.Struct, frozen=True, gc=False):
    """One reading of a message that could not be taken while the others could."""

    payload: bytes  # the reading alone: as native JSON, or else as a message of its own in the codec's format
    reason: str  # a key of ingest.deadletter.REASONS
    detail: str
    is_message: bool = False  # which of the two the payload is


class Decoded(msgspec.Struct, frozen=True, gc=False):
    """One message as columns of one length.

    sensors: sensor ids, or the bytes of a JSON array of them (equal bytes are looked up only once) ·
    times: array('q'), epoch ms · values: array('d'), raw, NaN for an explicit "no value" and never
    infinite · boot and seq number the message (both or neither) · sent_ms: the gateway's clock when it
    sent · bad: readings that are not in the columns.
    """

    sensors: list[str] | bytes
    times: array[int]
    values: array[float]
    boot: str | None = None
    seq: int | None = None
    sent_ms: int | None = None
    bad: tuple[BadReading, ...] = ()


class Codec(Protocol):
    """Reads and writes one payload format. Has no state: the same bytes always give the same columns."""

    def decode(self, payload: bytes) -> Decoded:
        """Read a message. PayloadError, and nothing else, when it cannot be read as a whole."""
        ...

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
        """Write a message that `decode` reads back as the same columns; NaN stands for "no value"."""
        ...


def check_numbering(boot: object, seq: object) -> tuple[str | None, int | None]:
    """Return boot and seq if they number a message, (None, None) if either is missing.

    Raises PayloadError bad_numbering when they are there and wrong: a message with a wrong number would
    hide or delete others.
    """
    if boot is not None and not (isinstance(boot, str) and 0 < len(boot) <= BOOT_MAX_CHARS):
        raise PayloadError("bad_numbering", f"boot {boot!r:.80} is not a text of 1 to {BOOT_MAX_CHARS} characters")
    if seq is not None and not (type(seq) is int and 0 <= seq <= SEQ_MAX):
        raise PayloadError("bad_numbering", f"seq {seq!r:.80} is not a whole number from 0 to 2^63-1")
    if boot is None or seq is None:
        return None, None
    return boot, seq
