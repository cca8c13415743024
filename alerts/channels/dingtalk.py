"""钉钉 DingTalk group robot: markdown, signed with key = secret over ms, newline, secret."""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import quote

from citypulse.model import Notice

from .robot import Robot, calm, hmac_base64, with_query, words

TEXT_BYTES_MAX = 18_000  # the robot takes 20,000


class DingTalkChannel(Robot):
    """Posts to `https://oapi.dingtalk.com/robot/send` or a private installation's equivalent."""

    takes: ClassVar[bytes] = b'{"errcode":0,"errmsg":"ok"}'
    refuses: ClassVar[tuple[tuple[bytes, bool, str], ...]] = (
        (b'{"errcode":310000,"errmsg":"sign not match"}', True, "310000"),  # signature, keyword or address list
        (b'{"errcode":300001,"errmsg":"token is not exist"}', True, "300001"),
        (b'{"errcode":130101,"errmsg":"send too fast"}', False, "130101"),
        (b'{"errcode":-1,"errmsg":"system busy"}', False, "-1"),
        (b"<html>please log in</html>", False, "?"),
        (b"[]", False, "?"),
    )
    code_names = ("errcode",)
    passing = frozenset({-1, 130101})
    throttled = frozenset({130101})

    def address(self, now_ms: int) -> str:
        """Append token, timestamp (ms) and the signature, quoted exactly once."""
        secret, token = self._settings.secret(), self._settings.token()
        sign = quote(hmac_base64(secret, f"{now_ms}\n{secret}"), safe="") if secret else ""
        return with_query(
            self._settings.url, access_token=quote(token, safe=""), timestamp=str(now_ms) if secret else "", sign=sign
        )

    def message(self, notice: Notice, now_ms: int) -> dict[str, Any]:  # noqa: ARG002 - the signature is in the address
        """Return a markdown message; a line break there needs two blanks before it."""
        title = calm(notice.title)
        text = words(notice, TEXT_BYTES_MAX, is_markdown=True).replace("\n", "  \n")
        return {"msgtype": "markdown", "markdown": {"title": title[:100], "text": f"#### {title}\n\n{text}"}}
