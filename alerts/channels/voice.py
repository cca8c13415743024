"""语音外呼 a call with spoken text, by an HTTP hook; a key pressed comes back by /in/<channel>."""

from __future__ import annotations

from typing import Any, ClassVar

from citypulse.model import Notice

from .channel import Letter
from .gateway import Gateway


class VoiceChannel(Gateway):
    """Has a number called and a text spoken. The hook is told the code, so that a pressed key names its alarm."""

    default_template: ClassVar[dict[str, Any]] = {
        "to": "{to}",
        "text": "{text}",
        "level": "{level}",
        "code": "{code}",
        "key": "{key}",
    }

    def words(self, notice: Notice) -> str:
        """Return what is spoken: no links, no keys; what to press only when a press can be understood."""
        code = notice.code if isinstance(notice, Letter) else ""
        tail = " 确认请按 1. Press 1 to acknowledge." if code else ""
        head = " ".join(f"{notice.title}。{notice.body}".split())
        room = max(20, self._settings.text_chars_max - len(tail))
        return head[:room] + tail
