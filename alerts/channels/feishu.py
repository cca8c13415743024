"""飞书 Feishu (Lark) group robot: text, signed with key = seconds, newline, secret, over nothing."""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import quote, urlsplit, urlunsplit

from citypulse.model import Notice

from .robot import Robot, calm, hmac_base64, words

TEXT_BYTES_MAX = 18_000  # the robot takes 20 KB in all


class FeishuChannel(Robot):
    """Posts to `https://open.feishu.cn/open-apis/bot/v2/hook/<token>`; `url` is the address without the token."""

    takes: ClassVar[bytes] = b'{"code":0,"msg":"success","data":{}}'
    refuses: ClassVar[tuple[tuple[bytes, bool, str], ...]] = (
        (b'{"code":19021,"msg":"sign match fail or timestamp is not within one hour"}', True, "19021"),
        (b'{"code":19001,"msg":"incoming webhook access token invalid"}', True, "19001"),
        (b'{"code":11232,"msg":"frequency limited"}', False, "11232"),
        (b'{"code":9499,"msg":"too many requests"}', False, "9499"),
        (b'{"status":"fine"}', False, "?"),
    )
    code_names = ("code", "StatusCode")  # the second is the older robots'
    passing = frozenset({9499, 11232})
    throttled = frozenset({9499, 11232})

    def address(self, now_ms: int) -> str:  # noqa: ARG002 - the signature is in the message
        """Append the token to the path."""
        token, parts = quote(self._settings.token(), safe=""), urlsplit(self._settings.url)
        path = f"{parts.path.rstrip('/')}/{token}" if token else parts.path
        return str(urlunsplit(parts._replace(path=path)))

    def message(self, notice: Notice, now_ms: int) -> dict[str, Any]:
        """Return a text message, signed with the time in seconds when the robot has a secret."""
        text = f"{calm(notice.title)}\n{words(notice, TEXT_BYTES_MAX)}"
        message: dict[str, Any] = {"msg_type": "text", "content": {"text": text}}
        if secret := self._settings.secret():
            timestamp = str(now_ms // 1000)
            # The other way round than DingTalk: the text is the key, and what is signed is empty.
            message |= {"timestamp": timestamp, "sign": hmac_base64(f"{timestamp}\n{secret}", "")}
        return message
