"""What could not be taken: the reasons, with a sentence each, and what `citypulse deadletters` lists and replays.

Promise: a dead letter is kept whole with its reason and can be put back after a fix. Keeping the rows is the
ledger's work; everything here is pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from citypulse.model import DeadLetter, RawMessage, Text

from .codecs.decoded import PAYLOAD_MAX_BYTES, BadReading

KEEP_BYTES = PAYLOAD_MAX_BYTES  # a message within its limit is kept whole; of a longer one, this much
DETAIL_MAX_CHARS = 300
PER_MESSAGE_MAX = 100  # bad readings of one message kept one by one; beyond, the message is kept once and whole
PER_TICK_MAX = 5_000  # likewise, once a tick has so many letters: a flood must not make commits slow

REASONS: dict[str, Text] = {
    "bad_topic": Text(zh="主题不是 city/v1/<网关>/readings 或 state", en="the topic is not one gateways publish to"),
    "unknown_gateway": Text(zh="配置中没有这个网关", en="no such gateway is configured"),
    "unknown_codec": Text(zh="网关的编码方式未安装", en="the gateway's codec is not installed"),
    "codec_failed": Text(zh="解码程序本身出错，请报告", en="the codec itself failed: please report it"),
    "payload_too_large": Text(zh="消息超过 1 MiB", en="the message is larger than 1 MiB"),
    "too_many_readings": Text(zh="一条消息的读数超过一万", en="more than 10,000 readings in one message"),
    "bad_encoding": Text(zh="不是 UTF-8 编码", en="not UTF-8"),
    "json_syntax": Text(zh="不是合法的 JSON（可能被截断）", en="not JSON, or cut short"),
    "too_deep": Text(zh="嵌套过深", en="nested too deeply"),
    "message_shape": Text(zh="消息缺少必要字段或类型不对", en="fields of the message are missing or of the wrong kind"),
    "column_length": Text(zh="各列长度不一致", en="the columns differ in length"),
    "bad_numbering": Text(zh="boot 或 seq 不合法", en="boot or seq is not valid"),
    "state_shape": Text(zh="网关状态消息不合法", en="the gateway's state message is not valid"),
    "reading_shape": Text(
        zh="读数缺少字段或传感器编号不是文本", en="the reading lacks a field, or its sensor id is no text"
    ),
    "bad_time": Text(zh="时间既不是毫秒数也不是 ISO 8601", en="the time is neither milliseconds nor ISO 8601"),
    "time_zone_missing": Text(zh="时间没有时区", en="the time names no zone"),
    "time_out_of_range": Text(
        zh="时间不在 2000 至 2100 年（单位应为毫秒）", en="not between 2000 and 2100 in milliseconds"
    ),
    "bad_value": Text(zh="数值不是数字", en="the value is not a number"),
    "non_finite": Text(zh="数值为 NaN、无穷大或过大", en="the value is NaN, infinite or too large"),
    "unknown_sensor": Text(zh="配置中没有这个传感器", en="no such sensor is configured"),
    "retired_sensor": Text(zh="传感器已停用", en="the sensor is no longer configured"),
    "foreign_sensor": Text(zh="传感器属于别的网关", en="the sensor belongs to another gateway"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterGroup:
    """Dead letters of one gateway for one reason."""

    gateway: str
    reason: str
    count: int
    first_ms: int
    last_ms: int
    example: str  # the detail of the newest


def sentence(reason: str) -> Text:
    """Return what a reason code means, also for one written by a newer version."""
    return REASONS.get(reason, Text(zh=reason, en=reason))


def make_letter(message: RawMessage, gateway: str, reason: str, detail: str) -> DeadLetter:
    """Keep a whole message, within KEEP_BYTES."""
    payload = message.payload
    if len(payload) > KEEP_BYTES:
        detail = f"{detail} (kept: the first {KEEP_BYTES} of {len(payload)} bytes)"
        payload = payload[:KEEP_BYTES]
    return DeadLetter(
        topic=message.topic,
        payload=payload,
        reason=reason,
        detail=detail[:DETAIL_MAX_CHARS],
        gateway=gateway,
        received_ms=message.received_ms,
    )


def make_reading_letter(bad: BadReading, gateway: str, received_ms: int) -> DeadLetter:
    """Keep one reading of a message; its topic says whether it is one reading in native JSON or a small message."""
    return DeadLetter(
        topic=f"city/v1/{gateway}/{'readings' if bad.is_message else 'reading'}",
        payload=bad.payload[:KEEP_BYTES],
        reason=bad.reason,
        detail=bad.detail[:DETAIL_MAX_CHARS],
        gateway=gateway,
        received_ms=received_ms,
    )


def replay_message(letter: DeadLetter, now_ms: int) -> RawMessage:
    """Return the message that puts a dead letter back into the inbox; it is never taken for a duplicate."""
    topic = letter.topic
    if topic.endswith("/readings"):
        topic = topic.removesuffix("readings") + "replay"
    return RawMessage(topic=topic, payload=letter.payload, received_ms=now_ms)


def group_letters(letters: Iterable[DeadLetter]) -> list[LetterGroup]:
    """Count letters by gateway and reason, the most frequent first."""
    groups: dict[tuple[str, str], list[DeadLetter]] = {}
    for letter in letters:
        groups.setdefault((letter.gateway, letter.reason), []).append(letter)
    counted = [
        LetterGroup(
            gateway=gateway,
            reason=reason,
            count=len(same),
            first_ms=min(x.received_ms for x in same),
            last_ms=max(x.received_ms for x in same),
            example=max(same, key=lambda x: x.received_ms).detail,
        )
        for (gateway, reason), same in groups.items()
    ]
    return sorted(counted, key=lambda g: (-g.count, g.gateway, g.reason))
