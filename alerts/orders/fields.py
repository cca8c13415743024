"""What each step of an order is asked with: the fields of its form, for the API's page and the command line.

What is needed comes from the tables themselves (`needs` of their rows); only the words and kinds are said here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from alerts.guards import REJECT_CODES, SOURCES

from .table import NOTICE_ROWS, ORDER_ROWS, TABLES, OrderRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a form. kind: string | integer | number | boolean | position | items | photo | proof."""

    name: str
    kind: str
    about: str
    choices: tuple[str, ...] = ()
    needed_by: tuple[str, ...] = ()  # roles whose row needs it; empty: it may be left out


_WORDS: Final[dict[str, tuple[str, str]]] = {
    "reason": ("string", "为什么 why"),
    "note": ("string", "备注 a remark"),
    "code": ("string", "不予立案的原因 why it is not filed"),
    "site": ("string", "站点编号 id of the site"),
    "cause": ("string", "事由 what is wrong: a rule's id or a category of your own"),
    "team": ("string", "班组编号 id of the crew"),
    "photo": ("photo", "图片 a picture, sent to /api/v1/evidence before"),
    "photo_before": ("photo", "处置前照片 a picture before the repair"),
    "photo_after": ("photo", "处置后照片 a picture after it"),
    "position": ("position", "位置 [latitude, longitude], degrees"),
    "proof": ("proof", "人工举证 {photo, lat, lon} where the sensors cannot testify"),
    "action": ("string", "处置措施 what was done"),
    "materials": ("string", "用料 materials used"),
    "plan": ("string", "书面方案 the written plan"),
    "interim": ("string", "临时管控措施 how the risk is controlled meanwhile"),
    "until_ms": ("integer", "新期限 the new deadline, epoch ms"),
    "review_ms": ("integer", "复核日期 when it is looked at again, epoch ms"),
    "acted_ms": ("integer", "实际时间 when it was done, epoch ms, when sent later"),
    "mis_dispatch": ("boolean", "错派 it was sent to the wrong crew: its clock starts anew"),
    "duplicate_of": ("string", "重复于 id of the order it repeats"),
    "item": ("integer", "检查项 number of the item, from 1"),
    "checklist": ("items", "已完成的检查项 numbers of the items done"),
    "step": ("string", "分步 id of the step"),
    "source": ("string", "来源 who or what reports it"),
    "contact": ("string", "联系方式 how to reach the citizen; kept with the order, masked, never in the record"),
    "confidence": ("number", "置信度 0 to 1, of a drone"),
    "class_code": ("string", "部件16位或事件10位代码 code of the part (16 digits) or event (10)"),
    "template": ("string", "工单模板 the kind of work"),
    "level": ("string", "级别 how serious it is"),
    "kind": ("string", "类型 dispatch: must act; notice: must acknowledge"),
}
_CHOICES: Final = {
    "code": REJECT_CODES,
    "source": SOURCES,
    "level": ("red", "orange", "yellow", "blue"),
    "kind": tuple(TABLES),
}
_MORE: Final[dict[str, tuple[str, ...]]] = {  # what may be given besides
    "new": ("kind", "level", "template", "note", "source", "contact", "confidence", "photo", "position", "class_code"),
    "file": ("class_code", "note"),
    "reject": ("reason", "duplicate_of"),
    "dispatch": ("note",),
    "redispatch": ("note",),
    "accept": ("acted_ms",),
    "return": ("mis_dispatch",),
    "arrive": ("acted_ms", "photo"),
    "report": ("checklist", "materials", "position", "acted_ms", "note"),
    "tick": ("photo", "note", "acted_ms"),
    "finish": ("photo", "note", "acted_ms"),
    "pass": ("photo", "position", "note"),
    "close": ("proof", "note"),
    "cancel": ("duplicate_of",),
    "read": ("acted_ms",),
    "acknowledge": ("acted_ms", "note"),
}


_BESIDE: Final[dict[str, tuple[str, tuple[str, ...]]]] = {  # what is no step: what it does, what it needs
    "comment": ("备注 add a remark", ("note",)),
    "contact": ("查看联系方式(记录在案) see the citizen's contact; the look is on record", ("reason",)),
    "forget": ("删除联系方式 erase the citizen's contact", ("reason",)),
}


def about(verb: str) -> str:
    """Say what a verb does, in both languages."""
    names = dict.fromkeys(f"{row.name.zh} {row.name.en}" for row in rows_of(verb))
    return "; ".join(names) or _BESIDE[verb][0]


def verbs() -> tuple[str, ...]:
    """Return every verb of an order that exists, of both kinds; those of `_BESIDE` are possible in any state."""
    return tuple(dict.fromkeys([*(r.verb for r in (*ORDER_ROWS, *NOTICE_ROWS) if r.sources), *_BESIDE]))


def rows_of(verb: str) -> tuple[OrderRow, ...]:
    """Return the rows that people take by this verb."""
    return tuple(r for r in (*ORDER_ROWS, *NOTICE_ROWS) if r.verb == verb and r.roles != ("system",))


def fields_of(verb: str) -> tuple[Field, ...]:
    """Return the form of one verb: what some role needs to say first, then what may be said."""
    needed: dict[str, dict[str, None]] = {}
    for row in rows_of(verb):
        for name in row.needs:
            needed.setdefault(name, {}).update(dict.fromkeys(r for r in row.roles if r != "system"))
    for name in _BESIDE.get(verb, ("", ()))[1]:
        needed[name] = {"everyone": None}
    names = dict.fromkeys((*needed, *_MORE.get(verb, ())))
    return tuple(
        Field(name=n, kind=_WORDS[n][0], about=_WORDS[n][1], choices=_CHOICES.get(n, ()),
              needed_by=tuple(needed.get(n, ())))
        for n in names
    )  # fmt: skip


def always_needed(verb: str) -> tuple[str, ...]:
    """Return the fields that every row of the verb needs."""
    rows = rows_of(verb)
    if verb in _BESIDE:
        return _BESIDE[verb][1]
    return tuple(n for n in (rows[0].needs if rows else ()) if all(n in r.needs for r in rows))
