"""What a step of a work order asks for beyond its state: the data it needs and the conditions that must hold.

`FIELDS` and `GUARDS` are the two tables that `lifecycle.ORDER_ROWS` names entries of. A check returns a sentence
that says what is missing, or "" when all is well.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from alerts.orders.proof import percent, percent_needed
from alerts.orders.sla import EXTENSIONS_MAX
from alerts.orders.verification import Verdict
from citypulse.model import Actor, Alarm, AlarmQuality, Condition, OrderTemplate, Team, WorkOrder

from .texts import days, span

TEXT_MAX: Final = 500  # characters of one field
AHEAD_MS_MAX: Final = 120_000  # a phone's clock may be this much ahead of ours
SOURCES: Final = ("officer", "citizen", "patrol", "drone")  # who or what reports by hand
REJECT_CODES: Final = ("false_alarm", "calibration", "duplicate", "test")

# ── data ────────────────────────────────────────────────────────────────────────────────────────


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        return f"{name} 须为有内容的文字 must be a text that says something"
    return "" if len(value) <= TEXT_MAX else f"{name} 超过 is longer than {TEXT_MAX} 字 characters"


def _instant(name: str, value: Any) -> str:
    is_instant = isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**53
    return "" if is_instant else f"{name} 须为毫秒时间戳 must be an instant in epoch milliseconds"


def _code(name: str, value: Any) -> str:
    return "" if value in REJECT_CODES else f"{name} 须为其一 must be one of {', '.join(REJECT_CODES)}"


_PHOTO: Final = re.compile(r"sha256:[0-9a-f]{64}")
_CLASS_CODE: Final = re.compile(r"[0-9]{10}|[0-9]{16}")


def is_photo(value: Any) -> bool:
    """True for the name of a picture: `sha256:` and 64 hex digits. That it is kept is checked where it is sent in."""
    return isinstance(value, str) and _PHOTO.fullmatch(value) is not None


def _photo(name: str, value: Any) -> str:
    return "" if is_photo(value) else f"{name} 须为图片名 must be a picture's name, sha256: and 64 hex digits"


def _is_number(value: Any, most: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= most


def _position(name: str, value: Any) -> str:
    is_pair = isinstance(value, (list, tuple)) and len(value) == 2
    if is_pair and _is_number(value[0], 90) and _is_number(value[1], 180):
        return ""
    return f"{name} 须为 must be [latitude, longitude] in degrees, -90 to 90 and -180 to 180"


def _proof(name: str, value: Any) -> str:
    return "" if is_proof(value) else f"{name} 须为图片名与位置 must be {{photo, lat, lon}}"


def _flag(name: str, value: Any) -> str:
    return "" if isinstance(value, bool) else f"{name} 须为 must be true or false"


def _item(name: str, value: Any) -> str:
    is_item = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    return "" if is_item else f"{name} 须为检查项序号 must be the number of an item, from 1"


def _items(name: str, value: Any) -> str:
    if isinstance(value, (list, tuple)) and len(value) <= 200 and not any(_item(name, v) for v in value):
        return ""
    return f"{name} 须为检查项序号的列表 must be a list of numbers of items, from 1"


def _source(name: str, value: Any) -> str:
    return "" if value in SOURCES else f"{name} 须为其一 must be one of {', '.join(SOURCES)}"


def _confidence(name: str, value: Any) -> str:
    return "" if _is_number(value, 1) and value >= 0 else f"{name} 须为 0 到 1 的数 must be a number from 0 to 1"


def _class_code(name: str, value: Any) -> str:
    is_code = isinstance(value, str) and _CLASS_CODE.fullmatch(value) is not None
    return "" if is_code else f"{name} 须为部件16位或事件10位代码 must be a code of 16 digits (part) or 10 (event)"


FIELDS: Final[dict[str, Callable[[str, Any], str]]] = {
    "reason": _text,
    "note": _text,
    "code": _code,
    "site": _text,
    "cause": _text,
    "team": _text,
    "photo_before": _photo,
    "photo_after": _photo,
    "photo": _photo,
    "position": _position,
    "proof": _proof,
    "materials": _text,
    "mis_dispatch": _flag,
    "duplicate_of": _text,
    "acted_ms": _instant,
    "item": _item,
    "checklist": _items,
    "step": _text,
    "source": _source,
    "contact": _text,
    "confidence": _confidence,
    "class_code": _class_code,
    "template": _text,
    "action": _text,
    "plan": _text,
    "interim": _text,
    "until_ms": _instant,
    "ends_ms": _instant,
    "review_ms": _instant,
}


SOFT: Final = frozenset({"note"})
"""Cut where it is too long or odd, never refused: a step must not fail for a remark."""
KEPT: Final = (*(name for name in FIELDS if name != "contact"), "is_botched")
"""What of a command's data goes into the record. A citizen's contact does not: the record can never be erased."""


def missing(needs: tuple[str, ...], data: dict[str, Any]) -> str:
    """Return what is wrong with a step's data, needed or given, all of it in one sentence; "" when nothing is."""
    absent = [name for name in needs if data.get(name) is None]
    given = [name for name in FIELDS if data.get(name) is not None and (name in needs or name not in SOFT)]
    wrong = [said for name in given if (said := FIELDS[name](name, data[name]))]
    return "; ".join(([f"缺少 needs {', '.join(absent)}"] if absent else []) + wrong)


# ── conditions ──────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """All a guard may look at: the order, who asks, with what, when, and what sensors and teams say."""

    order: WorkOrder
    actor: Actor
    data: dict[str, Any]
    now_ms: int
    teams: dict[str, Team]
    alarms: tuple[Alarm, ...]  # the alarms that raised it, as they are now
    verdict: Verdict | None  # what the sensors say, while the order waits for proof
    window_s: float  # how long they must say so
    twin: str  # id of another open order for the same cause and asset, or ""
    template: OrderTemplate | None = None  # what the order's kind of work asks for


def _is_crew(ask: Ask) -> str:
    team = ask.teams.get(str(ask.data.get("team", "")))
    if team is not None and team.kind == "crew":
        return ""
    crews = ", ".join(sorted(t.id for t in ask.teams.values() if t.kind == "crew")) or "无 none"
    return f'"{ask.data.get("team")}" 不是班组，班组有 is not a crew; crews are {crews}'


def _is_exercise(ask: Ask) -> str:
    return "" if ask.order.is_exercise else "这是真实工单 it is a real order"


def _own_unit(ask: Ask) -> str:
    if not ask.actor.unit or not ask.order.unit or ask.actor.unit in {ask.order.unit, ask.order.team}:
        return ""
    return f"属他单位，须由本单位办理 it belongs to {ask.order.unit}; you are of {ask.actor.unit}"


def _not_the_fixer(ask: Ask) -> str:
    hands = set(ask.order.data.get("hands", ())) | {ask.order.handler} - {""}
    if ask.actor.name in hands:
        return f"处置人不得自查，须由他人核查 {ask.actor.name} worked on it; another person has to check"
    if ask.actor.unit and ask.actor.unit in {ask.order.unit, ask.order.team}:
        return f"处置单位不得自查，须由其他单位核查 {ask.actor.unit} did the work; another unit has to check"
    return ""


def _before_deadline(ask: Ask) -> str:
    if ask.order.due_ms is not None and ask.now_ms < ask.order.due_ms:
        return ""
    return "期限已过，延期须在到期前申请 the deadline has passed; an extension is asked for before it"


def _first_extension(ask: Ask) -> str:
    used = "首次延期已用，再延须主管批准 the first extension is used; a second needs boss"
    return "" if ask.order.extensions == 0 else used


def _extensions_left(ask: Ask) -> str:
    if ask.order.extensions >= EXTENSIONS_MAX:
        return f"延期次数已满 it has been extended {ask.order.extensions} times, and {EXTENSIONS_MAX} is the most"
    if ask.order.due_ms is not None and ask.data["until_ms"] <= ask.order.due_ms:
        return "新期限须晚于现期限 until_ms must lie after the present deadline"
    return ""


def _review_within(limit_days: int) -> Callable[[Ask], str]:
    def guard(ask: Ask) -> str:
        is_fit = ask.now_ms < ask.data["review_ms"] <= ask.now_ms + days(limit_days)
        said = f"复核日期须在今后 {limit_days} 天内 review_ms must lie ahead, within {limit_days} days"
        return "" if is_fit else said

    return guard


def _evidence(ask: Ask) -> str:
    repair = ask.order.data.get("repair", {})
    lacking = [name for name in ("photo_before", "photo_after", "action") if not repair.get(name)]
    return f"反馈缺少 the report lacks {', '.join(lacking)}" if lacking else ""


def _not_active(ask: Ask) -> str:
    # An active alarm that we can no longer see is no objection: then the manual proof speaks.
    active = [a.scope for a in ask.alarms if a.condition is Condition.ACTIVE and a.quality is AlarmQuality.GOOD]
    return f"仍在告警 still in alarm: {', '.join(active)}" if active else ""


def is_proof(proof: Any) -> bool:
    """True for a manual proof: a photo and a position, from the person who checks."""
    if not isinstance(proof, dict) or not is_photo(proof.get("photo")):
        return False
    return _is_number(proof.get("lat"), 90) and _is_number(proof.get("lon"), 180)


def _sensor_witness(ask: Ask) -> str:
    if "sensors_ok" in ask.order.data:
        return ""
    if said := _not_active(ask):
        return f"传感器不同意 the sensors object: {said}"
    if "proof_asked_ms" in ask.order.data:
        if is_proof(ask.data.get("proof")):
            return ""
        return '数据缺失，传感器无法证明，须人工举证 the sensors cannot testify; give "proof": {photo, lat, lon}'
    share = ask.verdict.share if ask.verdict is not None else 0.0
    needed, got = percent_needed(ask.order.coverage), percent(share)
    return (
        f"传感器尚未证明恢复: 须持续正常 {span(ask.window_s)} 且收到应有读数的 {needed} (目前 {got}) | "
        f"the sensors have not testified yet: they must stay normal for {span(ask.window_s)} with "
        f"{needed} of the expected readings (now {got})"
    )


def _no_twin(ask: Ask) -> str:
    return f"同一问题已有在办工单 WorkOrder {ask.twin} is open for the same trouble" if ask.twin else ""


def _person_witness(ask: Ask) -> str:
    if "passed" in ask.order.data:
        return ""
    return "须先由非处置人核查通过 a checker who is not the fixer has to pass it first"


def _acted_after_dispatch(ask: Ask) -> str:
    acted = ask.data.get("acted_ms")
    if acted is None:
        return ""
    if acted > ask.now_ms + AHEAD_MS_MAX:
        return f"办理时间晚于现在 acted_ms lies {span((acted - ask.now_ms) / 1000)} in the future"
    sent = ask.order.data.get("sent_ms", ask.order.opened_ms)
    early = span((sent - acted) / 1000)
    return f"办理时间早于派遣 acted_ms lies {early} before the dispatch" if acted < sent else ""


def _items_of(ask: Ask) -> int:
    return len(ask.template.checklist) if ask.template is not None else 0


def _is_item(ask: Ask) -> str:
    count = _items_of(ask)
    return "" if ask.data["item"] <= count else f"检查项只有 the checklist has {count} items"


def _checklist_done(ask: Ask) -> str:
    said = ask.data.get("checklist") or ()
    if wrong := [n for n in said if n > _items_of(ask)]:
        return f"没有此检查项 the checklist has {_items_of(ask)} items, not {wrong[0]}"
    if ask.template is None or not ask.template.is_checklist_required:
        return ""
    ticked = {*ask.order.data.get("checklist", {}), *map(str, said)}
    left = [str(n) for n in range(1, _items_of(ask) + 1) if str(n) not in ticked]
    return f"检查项未勾选 items {', '.join(left)} of the checklist are not ticked" if left else ""


def _is_open_step(ask: Ask) -> str:
    steps = ask.template.steps if ask.template is not None else ()
    step = next((s for s in steps if s.id == ask.data["step"]), None)
    if step is None:
        return f"没有此分步 its steps are {', '.join(s.id for s in steps) or 'none'}"
    done = ask.order.data.get("steps", {})
    if step.id in done:
        return f"此分步已完成 step {step.id} is finished"
    return f"须先完成分步 step {step.after} comes before it" if step.after and step.after not in done else ""


def _steps_done(ask: Ask) -> str:
    steps = ask.template.steps if ask.template is not None else ()
    left = [s.id for s in steps if s.id not in ask.order.data.get("steps", {})]
    return f"分步未完成 steps {', '.join(left)} are not finished" if left else ""


GUARDS: Final[dict[str, Callable[[Ask], str]]] = {
    "is_crew": _is_crew,
    "is_exercise": _is_exercise,
    "own_unit": _own_unit,
    "not_the_fixer": _not_the_fixer,
    "before_deadline": _before_deadline,
    "first_extension": _first_extension,
    "extensions_left": _extensions_left,
    "review_within_30_d": _review_within(30),
    "review_within_90_d": _review_within(90),
    "evidence": _evidence,
    "not_active": _not_active,
    "sensor_witness": _sensor_witness,
    "person_witness": _person_witness,
    "no_twin": _no_twin,
    "acted_after_dispatch": _acted_after_dispatch,
    "is_item": _is_item,
    "checklist_done": _checklist_done,
    "is_open_step": _is_open_step,
    "steps_done": _steps_done,
}
