"""What a notice becomes when it is sent: a letter with the link that acknowledges it and the code to answer with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Protocol

from alerts.channels import Channel, Letter
from alerts.channels.gateway import Gateway, digits
from citypulse.model import Notice

from .links import CALLS, Signer

_FIELDS = tuple(f.name for f in fields(Notice))


class Codes(Protocol):
    """Where reply codes are given out: once, and never again for anything else."""

    def code_for(self, phones: Sequence[str], subject: str, target: str, now_ms: int) -> int:
        """Return the code by which all of `phones` mean `subject`."""
        ...


class Writer:
    """Writes letters."""

    def __init__(self, signer: Signer | None = None, codes: Codes | None = None) -> None:
        """Without a signer there are no links, without codes nothing to answer with."""
        self._signer = signer
        self._codes = codes

    @property
    def public_url(self) -> str:
        """The console's address as phones see it, or ""."""
        return self._signer.public_url if self._signer is not None else ""

    def letter(self, notice: Notice, channel: Channel, now_ms: int) -> Letter:
        """Return `notice` as `channel` sends it."""
        link = self._signer.url_for(notice) if self._signer is not None else ""
        return Letter(
            **{name: getattr(notice, name) for name in _FIELDS}, link=link, code=self._code(notice, channel, now_ms)
        )

    def _code(self, notice: Notice, channel: Channel, now_ms: int) -> str:
        is_call = notice.subject_kind == "alarm" and notice.kind in CALLS
        if self._codes is None or not is_call or not isinstance(channel, Gateway) or not channel.takes_answers:
            return ""
        phones = tuple(digits(number) for number in channel.addresses(notice.target))
        return str(self._codes.code_for(phones, notice.subject, notice.target, now_ms)) if phones else ""
