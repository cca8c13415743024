"""短信 SMS by an HTTP gateway: the same request for every gateway, made from a template in the configuration."""

from __future__ import annotations

from typing import Any, ClassVar

from .gateway import Gateway


class SmsChannel(Gateway):
    """Sends a short text to a person's telephone, or to everybody of a team, each with a message of his own."""

    default_template: ClassVar[dict[str, Any]] = {"to": "{to}", "text": "{text}", "key": "{key}"}
