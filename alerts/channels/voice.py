"""语音外呼 a call with spoken text, by an HTTP hook; a key pressed comes back by /in/<channel>."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from citypulse.model import Notice

from .channel import ChannelSettings, Letter
from .gateway import Gateway, GatewaySettings


class VoiceSettings(GatewaySettings):
    """A voice hook. `next_after_s` is how long one person is rung before the next one of the same team is called.

    With `unanswered_values` the hook's answer tells whether somebody listened: then nobody further is called, and the
    next person's turn comes as soon as nobody picks up. Without, the next ones are called until somebody acknowledges.
    """

    next_after_s: float = Field(default=60.0, ge=5, le=900)


class VoiceChannel(Gateway):
    """Has a number called and a text spoken. The hook is told the code, so that a pressed key names its alarm."""

    settings: ClassVar[type[ChannelSettings]] = VoiceSettings

    default_template: ClassVar[dict[str, Any]] = {
        "to": "{to}",
        "text": "{text}",
        "level": "{level}",
        "code": "{code}",
        "key": "{key}",
    }

    @property
    def apart_s(self) -> float:
        """One person of a team after the other."""
        return float(self._settings.next_after_s)

    @property
    def stops_when_reached(self) -> bool:
        """Whether the hook knows if somebody has listened."""
        return bool(self._settings.unanswered_values)

    def words(self, notice: Notice) -> str:
        """Return what is spoken: no links, no keys; what to press only when a press can be understood."""
        code = notice.code if isinstance(notice, Letter) else ""
        tail = " 确认请按 1. Press 1 to acknowledge." if code else ""
        head = " ".join(f"{notice.title}。{notice.body}".split())
        room = max(20, self._settings.text_chars_max - len(tail))
        return head[:room] + tail
