"""Everything else, by the Apprise library: an optional extra (`pip install 'citypulse[apprise]'`), loaded when used.

For services that have no adapter here. Where one has, use that: Apprise 2.2.0 looks at the HTTP status alone and
reports messages of DingTalk, WeCom and Feishu as sent that their robots refused (tried).
"""

from __future__ import annotations

import importlib
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from citypulse.errors import DeliveryError
from citypulse.model import Notice, Priority

from .channel import Channel, ChannelSettings, Letter, read_secret
from .robot import KEY_DIGITS

HAS_OWN = frozenset({"dingtalk", "wecombot", "feishu", "lark"})  # schemes with an adapter of ours
FORBIDDEN = frozenset({"file", "exec", "syslog", "dbus", "qt", "glib", "gnome", "kde", "macosx", "windows", "growl"})
MISSING = "the apprise library is not installed; run: pip install 'citypulse[apprise]'"
TITLE_CHARS_MAX = 250
BODY_CHARS_MAX = 4_000


class AppriseSettings(ChannelSettings):
    """One Apprise address. It holds secrets, so it stands in an environment variable or a file, never in YAML."""

    address_env: str = ""
    address_file: str = ""
    timeout_s: float = Field(default=8.0, gt=0, le=30)

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if bool(self.address_env) == bool(self.address_file):
            raise ValueError("give address_env or address_file, one of the two")
        return self


def library() -> Any:
    """Import Apprise. Raises DeliveryError, which passes once it is installed."""
    try:
        return importlib.import_module("apprise")
    except ImportError:
        raise DeliveryError(MISSING, permanent=False, provider_code="not-installed", may_be_taken=False) from None


class AppriseChannel(Channel):
    """Hands a notice to Apprise and believes its word, for want of a better one."""

    settings: ClassVar[type[ChannelSettings]] = AppriseSettings
    sample: ClassVar[dict[str, Any]] = {"address_env": "CITYPULSE_APPRISE_ADDRESS", "timeout_s": 1.0}
    transport: ClassVar[str] = "library"

    def send(self, notice: Notice, now_ms: int) -> str:  # noqa: ARG002 - nothing here is signed with the time
        """Send by the configured service; return "sent"."""
        apprise = library()
        address = read_secret(self._settings.address_env, self._settings.address_file)
        scheme = address.partition("://")[0].lower()
        if scheme in HAS_OWN:
            raise DeliveryError(
                f"{scheme}:// through apprise loses refusals; use the channel kind of its own", permanent=True
            )
        if scheme in FORBIDDEN or scheme.startswith("json+file"):
            raise DeliveryError(f"{scheme}:// does not leave this machine and is not allowed", permanent=True)
        service = apprise.Apprise(asset=apprise.AppriseAsset(secure_logging=True, async_mode=False))
        timeout = f"{'&' if '?' in address else '?'}cto={self._settings.timeout_s}&rto={self._settings.timeout_s}"
        if not service.add(address + timeout):
            raise DeliveryError("apprise does not understand the configured address", permanent=True)
        kind = apprise.NotifyType.FAILURE if notice.level is Priority.P1 else apprise.NotifyType.INFO
        link = f"\n确认 acknowledge: {notice.link}" if isinstance(notice, Letter) and notice.link else ""
        body = f"{notice.body[:BODY_CHARS_MAX]}{link}\n#{notice.idem_key[:KEY_DIGITS]}"
        # 2.x answers with a result object that is true when all went well; 1.x with a bool or None.
        if not service.notify(body=body, title=notice.title[:TITLE_CHARS_MAX], notify_type=kind):
            raise DeliveryError(f"{scheme}: apprise says it was not sent", permanent=False, provider_code="not-sent")
        return "sent"
