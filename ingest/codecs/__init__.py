"""The payload formats gateways may speak. A new one is a file here and a line in CODECS (docs/extend/codec.md)."""

from __future__ import annotations

from .decoded import BadReading, Codec, Decoded, NumberedPayloadError
from .native import NativeCodec
from .senml import SenmlCodec

__all__ = ["CODECS", "BadReading", "Codec", "Decoded", "NumberedPayloadError"]

CODECS: dict[str, Codec] = {
    "native": NativeCodec(),
    "senml": SenmlCodec(),
}
