"""The log channel: one JSON line per notice at the end of a file, on disk before it counts as delivered."""

from __future__ import annotations

import json
import os
from pathlib import PurePosixPath
from typing import Any, ClassVar

from pydantic import Field, field_validator

from citypulse.errors import DeliveryError
from citypulse.model import Notice

from .channel import Channel, ChannelSettings, as_json


class LogSettings(ChannelSettings):
    """`file` lies in the data directory."""

    file: str = Field(default="notices.jsonl", min_length=1, max_length=200)

    @field_validator("file")
    @classmethod
    def _inside(cls, file: str) -> str:
        path = PurePosixPath(file)
        if path.is_absolute() or ".." in path.parts or "\\" in file:
            raise ValueError("file must be a path inside the data directory")
        return file


class LogChannel(Channel):
    """Appends to a file: for the demo, for tests, and as the witness of last resort."""

    settings: ClassVar[type[ChannelSettings]] = LogSettings
    sample: ClassVar[dict[str, Any]] = {"file": "notices.jsonl"}
    transport: ClassVar[str] = "file"

    def send(self, notice: Notice, now_ms: int) -> str:
        """Append the notice with `sent_ms`; return the line's offset in the file."""
        path = self._data_dir / self._settings.file
        # Without link and code: they open something, and a file of record is read by more people than the one called.
        said = {k: v for k, v in as_json(notice).items() if k not in {"link", "code"}}
        line = json.dumps(said | {"sent_ms": now_ms}, ensure_ascii=False).encode() + b"\n"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                start = file.tell()
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise DeliveryError(f"{path}: {error.strerror or error}", permanent=False) from None
        return f"at {start}"
