"""The channels a configuration may name, by kind. Adding one: a file here, a line in this table, nothing else."""

from __future__ import annotations

from typing import Final

from .apprise_service import AppriseChannel
from .channel import Channel, ChannelSettings, Letter
from .dingtalk import DingTalkChannel
from .feishu import FeishuChannel
from .log import LogChannel
from .mail import MailChannel
from .sms import SmsChannel
from .voice import VoiceChannel
from .webhook import WebhookChannel
from .wecom import WeComChannel

__all__ = ["CHANNELS", "Channel", "ChannelSettings", "Letter"]

CHANNELS: Final[dict[str, type[Channel]]] = {
    "apprise": AppriseChannel,
    "dingtalk": DingTalkChannel,
    "feishu": FeishuChannel,
    "log": LogChannel,
    "mail": MailChannel,
    "sms": SmsChannel,
    "voice": VoiceChannel,
    "webhook": WebhookChannel,
    "wecom": WeComChannel,
}
