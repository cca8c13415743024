"""企业微信 WeCom group robot: markdown, authorised by the key in its address."""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import quote

from citypulse.model import Notice

from .robot import Robot, calm, cut, with_query, words

TEXT_BYTES_MAX = 4_096  # of markdown content, UTF-8


class WeComChannel(Robot):
    """Posts to `https://qyapi.weixin.qq.com/cgi-bin/webhook/send`."""

    takes: ClassVar[bytes] = b'{"errcode":0,"errmsg":"ok"}'
    refuses: ClassVar[tuple[tuple[bytes, bool, str], ...]] = (
        (b'{"errcode":93000,"errmsg":"invalid webhook url"}', True, "93000"),
        (b'{"errcode":45009,"errmsg":"api freq out of limit"}', False, "45009"),
        (b'{"errcode":-1,"errmsg":"system busy"}', False, "-1"),
        (b"", False, "?"),
    )
    code_names = ("errcode",)
    passing = frozenset({-1, 45009})
    throttled = frozenset({45009})

    def address(self, now_ms: int) -> str:  # noqa: ARG002 - nothing here is signed with the time
        """Append the key."""
        return with_query(self._settings.url, key=quote(self._settings.token(), safe=""))

    def message(self, notice: Notice, now_ms: int) -> dict[str, Any]:  # noqa: ARG002 - nothing here is signed
        """Return a markdown message of at most 4,096 bytes."""
        title = cut(calm(notice.title), 512)
        text = words(notice, TEXT_BYTES_MAX - len(title.encode()) - 8, is_markdown=True)
        return {"msgtype": "markdown", "markdown": {"content": f"**{title}**\n{text}"}}
