"""The channels a configuration may name, by kind. Adding one: a file here, a line in this table, nothing else."""

from __future__ import annotations

from typing import Final

from .channel import Channel, ChannelSettings
from .dingtalk import DingTalkChannel
from .feishu import FeishuChannel
from .log import LogChannel
from .mail import MailChannel
from .webhook import WebhookChannel
from .wecom import WeComChannel

__all__ = ["CHANNELS", "Channel", "ChannelSettings"]

CHANNELS: Final[dict[str, type[Channel]]] = {
    "dingtalk": DingTalkChannel,
    "feishu": FeishuChannel,
    "log": LogChannel,
    "mail": MailChannel,
    "webhook": WebhookChannel,
    "wecom": WeComChannel,
}
