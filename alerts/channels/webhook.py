"""The webhook channel: the notice as JSON by HTTP POST, signed, with a key by which the receiver knows a repeat.

Headers: `Idempotency-Key` is the notice's own key and the same in every try. With a secret,
`X-Citypulse-Signature: sha256=<hex>` is HMAC-SHA256(secret, `X-Citypulse-Timestamp` + "." + body).
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any, ClassVar

from pydantic import Field, field_validator

from citypulse.model import Notice

from .channel import Channel, ChannelSettings, SecretSettings, as_json
from .http import check_url, post


class WebhookSettings(SecretSettings):
    """Where to post, and how long one try may take in all."""

    url: str = Field(max_length=2_000)
    timeout_s: float = Field(default=8.0, gt=0, le=30)

    @field_validator("url")
    @classmethod
    def _fit(cls, url: str) -> str:
        return check_url(url)


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """Return the signature header's value; the receiver computes the same and compares."""
    return "sha256=" + hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


class WebhookChannel(Channel):
    """Posts to any program that speaks HTTP. A 2xx means taken; redirects are refused."""

    settings: ClassVar[type[ChannelSettings]] = WebhookSettings
    sample: ClassVar[dict[str, Any]] = {"url": "{url}", "timeout_s": 1.0}

    def send(self, notice: Notice, now_ms: int) -> str:
        """Post the notice; return the HTTP status."""
        body = json.dumps(as_json(notice), ensure_ascii=False).encode()
        timestamp = str(now_ms)
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Idempotency-Key": notice.idem_key,
            "User-Agent": "citypulse",
            "X-Citypulse-Timestamp": timestamp,
        }
        if secret := self._settings.secret():
            headers["X-Citypulse-Signature"] = sign(secret, timestamp, body)
        reply = post(self._settings.url, body, headers, timeout_s=self._settings.timeout_s)
        return str(reply.status)
