"""The channels a configuration may name, by kind. Adding one: a file here, a line in this table, nothing else."""

from __future__ import annotations

from typing import Final

from .channel import Channel, ChannelSettings
from .log import LogChannel
from .webhook import WebhookChannel

__all__ = ["CHANNELS", "Channel", "ChannelSettings"]

CHANNELS: Final[dict[str, type[Channel]]] = {
    "log": LogChannel,
    "webhook": WebhookChannel,
}
