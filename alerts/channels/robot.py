"""What the robots of DingTalk, WeCom and Feishu share: a secret address, 20 messages a minute, answers that lie.

All three answer HTTP 200 when they refuse; the truth is a code in the body. A notification library that looks at the
status alone reports success for rejected messages (tried: Apprise 2.2.0), so these adapters are our own.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from abc import abstractmethod
from typing import Any, ClassVar, Self
from urllib.parse import parse_qsl, urlsplit

from pydantic import Field, field_validator, model_validator

from citypulse.errors import DeliveryError
from citypulse.model import Notice

from .channel import Channel, Letter, SecretSettings, read_secret
from .http import THROTTLED_S, check_url, post

KEY_DIGITS = 12  # of the notice's key, at the end of the text: how a person tells a repeat from news


class RobotSettings(SecretSettings):
    """A group robot: its address without the token, the token, and the signing secret if the robot has one.

    The three providers throttle a robot for ten minutes after 20 messages in a minute, so less is the default.
    """

    url: str = Field(max_length=2_000)
    token_env: str = ""
    token_file: str = ""
    timeout_s: float = Field(default=8.0, gt=0, le=30)
    per_minute: int = Field(default=18, ge=1, le=20)

    @field_validator("url")
    @classmethod
    def _fit(cls, url: str) -> str:
        if {"access_token", "key", "sign"} & {name for name, _ in parse_qsl(urlsplit(url).query)}:
            raise ValueError(
                "the token is a secret: name it by token_env or token_file and leave it out of the address"
            )
        return check_url(url)

    @model_validator(mode="after")
    def _one_token(self) -> Self:
        if self.token_env and self.token_file:
            raise ValueError("give token_env or token_file, not both")
        return self

    def token(self) -> str:
        """Read the token now; "" when none is configured."""
        return read_secret(self.token_env, self.token_file)


def hmac_base64(key: str, text: str) -> str:
    """Return base64(HMAC-SHA256(key, text)), the signature all of them use in their own way."""
    return base64.b64encode(hmac.new(key.encode(), text.encode(), hashlib.sha256).digest()).decode()


def calm(text: str) -> str:
    """Take the tags and links out of words that people wrote: a note must not page @all or lead elsewhere."""
    return text.replace("<", "＜").replace("](", "] (").replace("@", "＠")


def cut(text: str, bytes_max: int) -> str:
    """Cut to at most `bytes_max` of UTF-8 without breaking a character."""
    raw = text.encode()
    return text if len(raw) <= bytes_max else raw[: bytes_max - 3].decode("utf-8", "ignore") + "…"


def words(notice: Notice, bytes_max: int, *, is_markdown: bool = False) -> str:
    """Return the body for a chat; the link that acknowledges and the end of the notice's key survive any cut."""
    link = notice.link if isinstance(notice, Letter) else ""
    said = f"[点此确认 acknowledge]({link})" if is_markdown else f"确认 acknowledge: {link}"
    tail = (f"\n\n{said}" if link else "") + f"\n\n#{notice.idem_key[:KEY_DIGITS]}"
    return cut(calm(notice.body), bytes_max - len(tail.encode())) + tail


class Robot(Channel):
    """A group robot. `code_names` are where its answer keeps the code, `passing` the codes that go away."""

    settings = RobotSettings
    sample: ClassVar[dict[str, Any]] = {"url": "{url}", "timeout_s": 1.0}
    code_names: ClassVar[tuple[str, ...]]
    passing: ClassVar[frozenset[int]]
    throttled: ClassVar[frozenset[int]] = frozenset()  # of these, the ones that say "too many"

    @abstractmethod
    def address(self, now_ms: int) -> str:
        """Return the whole address, token and signature included."""

    @abstractmethod
    def message(self, notice: Notice, now_ms: int) -> dict[str, Any]:
        """Return the message in the provider's form."""

    def send(self, notice: Notice, now_ms: int) -> str:
        """Post the message and believe only the code in the answer."""
        body = json.dumps(self.message(notice, now_ms), ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json; charset=utf-8"}
        reply = post(self.address(now_ms), body, headers, timeout_s=self._settings.timeout_s)
        try:
            answer = json.loads(reply.body)
            code = next(answer[name] for name in self.code_names if name in answer)
        except (ValueError, TypeError, StopIteration):
            said = reply.body[:200].decode("utf-8", "replace")
            raise DeliveryError(f"an answer without a code: {said!r}", permanent=False, provider_code="?") from None
        if code != 0:
            said = str(answer.get("errmsg") or answer.get("msg") or answer)[:300]
            raise DeliveryError(
                f"code {code}: {said}",
                permanent=code not in self.passing,
                provider_code=str(code),
                wait_s=THROTTLED_S if code in self.throttled else 0.0,
                may_be_taken=False,
            )
        return "0"


def with_query(url: str, **more: str) -> str:
    """Append query fields; values must be quoted already."""
    fields = "&".join(f"{name}={value}" for name, value in more.items() if value)
    return url if not fields else url + ("&" if urlsplit(url).query else "?") + fields
