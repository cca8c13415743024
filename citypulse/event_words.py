"""What the kinds of lines in the record and the states of orders are called, 中文 first: words for pages and lists."""

from __future__ import annotations

from typing import Final

from alerts.lifecycle import ALARM_VERBS
from alerts.orders.table import ORDER_ROWS, STATE_NAMES
from citypulse.model import OrderState

# What nobody asked for by a verb: the rules, the clocks and the desk did it themselves.
OWN_WORDS: Final = {
    "raised": "发生",
    "level": "变级",
    "worsened": "加重",
    "eased": "减轻",
    "cleared": "恢复",
    "latched": "锁存",
    "withdrawn": "撤销",
    "stale": "数据中断",
    "seen": "数据恢复",
    "suppressed": "被抑制",
    "released": "解除抑制",
    "reminded": "再次通知",
    "realarmed": "再次告警",
    "chattering": "频繁抖动",
    "settled": "抖动平息",
    "historical": "补传",
    "declared": "宣告",
    "order_attached": "关联工单",
    "attached": "并入告警",
    "confirmed": "处置已证实",
    "amended": "更正",
    "lamp": "亮灯",
    "supervised": "督办",
    "milestone_missed": "时点未达",
    "sensors_proven": "传感器已证实",
    "proof_wanted": "需人工举证",
    "reported_again": "再次上报",
    "shelf_ending": "搁置将满",
    "contact_seen": "查看联系方式",
    "contact_erased": "联系方式已删除",
    "storm_started": "风暴开始",
    "storm_ended": "风暴结束",
}
NAMES: Final = OWN_WORDS | {verb.done: verb.name.zh for verb in ALARM_VERBS.values()}


def event_words(kind: str, subject_kind: str) -> str:
    """Return the name of a kind of line, 中文 and English; the kind alone where it has no other name."""
    if subject_kind == "order":
        row = next((row for row in ORDER_ROWS if row.done == kind), None)
        zh = row.name.zh if row is not None else OWN_WORDS.get(kind, "")
    else:
        zh = NAMES.get(kind, "")
    return f"{zh} {kind}".strip().replace("_", " ")


def state_words(state: str) -> str:
    """Return an order's state, 中文 and English."""
    return f"{STATE_NAMES[OrderState(state)]} {state}".replace("_", " ")
