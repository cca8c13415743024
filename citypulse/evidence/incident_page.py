"""One incident as one self-contained file: pictures, timelines, who was told, hashes; prints well, verifies offline."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np

from citypulse.event_words import event_words, state_words
from citypulse.model import Priority
from rules.report_style import STYLE
from rules.report_svg import Band, Line, Plot, draw

DATA_ID: Final = "incident"
MORE: Final = """
.told td:nth-child(5){white-space:nowrap}code,pre{font:12px/1.45 ui-monospace,"SF Mono",Menlo,Consolas,monospace}
pre{background:#f4f6f8;padding:.6rem .8rem;overflow-x:auto;white-space:pre-wrap}
td code{color:var(--soft)}
img{max-width:100%;max-height:24rem}.whole{color:var(--ink)}.p1,.p2,.p3,.p4{white-space:nowrap}.broken{color:#c1121f;font-weight:600}
.seq{color:var(--soft);font-size:.8rem}details summary{cursor:pointer}
@media(max-width:40rem){body{margin:1rem auto}table{font-size:.8rem}th,td{padding:.25rem .3rem}.seq,.hash{display:none}}
.id{white-space:nowrap}.whole code{overflow-wrap:anywhere}
"""
LABEL_SHARE: Final = 0.2  # of a picture's time that a label takes up
MARKS: Final = {  # shape and digit: a grey print says the same
    Priority.P1: "⬣1",
    Priority.P2: "▲2",
    Priority.P3: "◆3",
    Priority.P4: "●4",
}
STATES: Final = {
    "pending": "待发 waiting",
    "leased": "发送中 being sent",
    "delivered": "已送达 delivered",
    "failed": "被拒 refused",
    "dead": "放弃 given up",
    "obsolete": "无需发送 no longer wanted",
    "split": "逐人发送 told to each",
}


def page(piece: dict[str, Any]) -> str:
    """Return the file for a piece of `citypulse.evidence.incident.gather`."""
    clock = _clock(piece["timezone"])
    alarms, orders = piece["alarms"], piece["orders"]
    title = f"事件 {piece['id']}"
    span = f"{clock(_ms(piece['began_at']))} – {clock(_ms(piece['ended_at']))}"
    parts = [
        '<!doctype html><html lang="zh-CN"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>{escape(title)}</title><style>{STYLE}{MORE}</style></head><body>",
        f'<p class="eyebrow">{escape(_both(piece["city"]))} · 事件档案 evidence for one incident</p>',
        f"<h1>{escape(_headline(piece))}<small>{escape(piece['id'])} · {span}</small></h1>",
        _integrity(piece["chain"]),
        *_pictures(piece, clock),
        *_alarm_tables(alarms, clock),
        *_order_tables(orders, clock),
        *_rule_texts(piece["rules"]),
        *_told(piece["notices"], clock),
        *_photos(piece["photos"]),
        *_record(piece["record"], clock),
        _method(piece),
        f'<script type="application/json" id="{DATA_ID}">{_inert(piece)}</script></body></html>',
    ]
    return "".join(parts)


def piece_in(text: str) -> dict[str, Any]:
    """Return the piece inside a saved page or JSON file; ValueError when there is none."""
    if text.lstrip().startswith("{"):
        found = json.loads(text)
    else:
        _, opening, rest = text.partition(f'<script type="application/json" id="{DATA_ID}">')
        if not opening:
            raise ValueError("this file holds no incident: it is neither the JSON nor the page of `citypulse incident`")
        found = json.loads(rest.partition("</script>")[0])
    if not isinstance(found, dict):
        raise ValueError("this file holds no incident")  # noqa: TRY004 - about the file's content
    return found


def _inert(piece: dict[str, Any]) -> str:
    """Return JSON that no HTML parser can leave: `<` and `&` stand as escapes."""
    text = json.dumps(piece, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _clock(zone: str) -> Callable[[int], str]:
    known = ZoneInfo(zone)

    def write(ms: int) -> str:
        return datetime.fromtimestamp(ms / 1000, tz=UTC).astimezone(known).isoformat(" ", "seconds")

    return write


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def _both(text: dict[str, str] | None) -> str:
    return "城脉 citypulse" if text is None else f"{text['zh']} {text['en']}"


def _headline(piece: dict[str, Any]) -> str:
    """Say how bad, where and what."""
    alarms, orders = piece["alarms"], piece["orders"]
    subject = min(alarms, key=lambda a: (a["peak_level"], a["raised_wall_ms"])) if alarms else orders[0]
    place = piece.get("places", {}).get(subject["site"] if alarms else subject["asset"])
    where = f"{place['zh']} {place['en']} · " if place else ""
    if alarms:
        level = Priority(subject["peak_level"])
        return f"{MARKS[level]} {level.colour_zh}色告警 {where}{subject['because_zh'].partition(';规则')[0]}"
    return f"工单 {subject['id']} {where}{subject['note']}"


def _integrity(chain: dict[str, Any]) -> str:
    if chain["is_whole"]:
        said = f"记录完整 the record is whole: {chain['checked']} 行 lines, 链头 head {chain['head_seq']}"
        return f'<p class="whole">✓ {said} <code>{escape(chain["head_hash"])}</code></p>'
    return f'<p class="broken">✗ 记录已被改动 the record was changed: {escape(chain["why"])}</p>'


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """Return a table; cells are HTML already."""
    head = "".join(f'<th scope="col">{escape(h)}</th>' for h in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _pictures(piece: dict[str, Any], clock: Callable[[int], str]) -> Iterable[str]:
    if not piece["readings"]:
        return
    yield "<h2>读数 Readings</h2>"
    for series in piece["readings"]:
        sensor = series["sensor"]
        mine = [a for a in piece["alarms"] if a["scope"] == sensor]
        levels = [r for r in piece["rules"] if r["detector"] == "threshold" and any(a["rule"] == r["id"] for a in mine)]
        limits = [m for r in levels for m in r["limits"]]
        told = _told_apart([a["raised_ms"] for a in mine], _ms(piece["ended_at"]) - _ms(piece["began_at"]))
        times = np.array(series["time_ms"], np.int64)
        value = np.array([np.nan if v is None else v for v in series["value"]], np.float64)
        since_ms, until_ms = _ms(piece["began_at"]), _ms(piece["ended_at"])
        if len(times):
            since_ms, until_ms = min(since_ms, int(times[0])), max(until_ms, int(times[-1]))
        plot = Plot(
            title=sensor,
            unit=series["unit"],
            since_ms=since_ms,
            until_ms=until_ms,
            time_ms=times,
            value=value,
            lines=[Line(value=m["value"], level=Priority(m["level"]), sign=m["sign"]) for m in limits],
            bands=[
                Band(
                    start_ms=a["raised_ms"],
                    end_ms=a["cleared_ms"] or until_ms,
                    level=Priority(a["peak_level"]),
                    label="告警 alarm" if is_told else " ",
                )
                for a, is_told in zip(mine, told, strict=True)
            ],
        )
        shown = "" if len(times) == series["readings"] else f", 图示极值 extremes of {series['readings']} shown"
        caption = f"{sensor} ({series['unit']}), {series['readings']} 个读数 readings{shown}"
        yield f"<figure>{draw(plot, clock)}<figcaption>{escape(caption)}</figcaption></figure>"


def _told_apart(starts_ms: Sequence[int], span_ms: int) -> list[bool]:
    """Say which bands of a picture have room for a label of their own; of those that begin together the first has."""
    told: list[bool] = []
    last_ms: int | None = None
    for at_ms in starts_ms:
        told.append(last_ms is None or abs(at_ms - last_ms) > LABEL_SHARE * span_ms)
        last_ms = at_ms if told[-1] else last_ms
    return told


def _level(level: int, name: str) -> str:
    mark = f"{MARKS[Priority(level)]} {Priority(level).colour_zh} {escape(name)}"
    return f'<span class="p{level}">{mark}</span>'


def _alarm_tables(alarms: Sequence[dict[str, Any]], clock: Callable[[int], str]) -> Iterable[str]:
    if not alarms:
        return
    yield "<h2>告警 Alarms</h2>"
    yield _table(
        ("发生 raised", "级别 level", "规则 rule", "对象 scope", "恢复 cleared", "确认 acknowledged", "缘由 because"),
        (
            (
                clock(a["raised_ms"]),
                _level(a["peak_level"], a["peak_colour"]),
                f"{escape(a['rule'])}<br><code>{escape(a['rule_origin'])} · {escape(a['rule_version'])}</code>",
                f"{escape(a['scope'])} #{a['occurrence']}",
                clock(a["cleared_ms"]) if a["cleared_ms"] else "—",
                f"{escape(a['acked_by'])} {clock(a['acked_ms'])}" if a["acked_ms"] else "—",
                f'{escape(a["because_zh"])}<br><span class="en">{escape(a["because_en"])}</span>',
            )
            for a in alarms
        ),
    )


def _order_tables(orders: Sequence[dict[str, Any]], clock: Callable[[int], str]) -> Iterable[str]:
    if not orders:
        return
    yield "<h2>工单 Work orders</h2>"
    yield _table(
        (
            "工单 order",
            "状态 state",
            "级别 level",
            "责任 team",
            "开立 opened",
            "时限 due",
            "返工 rework",
            "核查 checked by",
        ),
        (
            (
                f"{escape(o['id'])}{' · 演练 exercise' if o['is_exercise'] else ''}",
                escape(state_words(o["state"])),
                _level(o["level"], o["colour"]),
                f"{escape(o['team'])}<br>{escape(o['unit'])}",
                clock(o["opened_ms"]),
                clock(o["first_due_ms"]) if o["first_due_ms"] else "—",
                str(o["rework_count"]),
                escape(o["checked_by"]) or "—",
            )
            for o in orders
        ),
    )


def _rule_texts(rules: Sequence[dict[str, Any]]) -> Iterable[str]:
    if not rules:
        return
    yield "<h2>规则 Rules in force</h2>"
    for rule in rules:
        place = f"{rule['origin']} · {rule['version']}"
        yield f"<h3>{escape(_both(rule['name']))} <code>{escape(place)}</code></h3>"
        yield f'<p class="cap">依据 source: {escape(rule["source"])}</p>'
        if rule["text"]:
            yield f"<pre>{escape(rule['text'])}</pre>"


def _told(notices: Sequence[dict[str, Any]], clock: Callable[[int], str]) -> Iterable[str]:
    if not notices:
        return
    yield "<h2>通知 Who was told, when, by what, with which answer</h2>"
    yield _table(
        (
            "通知 notice",
            "谁 whom",
            "渠道 channel",
            "结果 outcome",
            "送达 delivered",
            "回执 provider's answer",
            "缘由 reason",
        ),
        (
            (
                f"{escape(n['title'])}<br><span class='cap'>{escape(n['kind'])}, {n['attempts']}×</span>",
                escape(n["target"]),
                escape(" → ".join(dict.fromkeys(filter(None, (n["channel"], n.get("via") or ""))))),
                STATES.get(n["state"], escape(n["state"])),
                clock(n["delivered_ms"]) if n["delivered_ms"] else "—",
                escape(n["provider_code"] or n["last_error"] or "—"),
                escape(n["reason"]),
            )
            for n in notices
        ),
        "told",
    )


def _photos(photos: Sequence[dict[str, Any]]) -> Iterable[str]:
    if not photos:
        return
    yield "<h2>照片 Photographs</h2>"
    for photo in photos:
        picture = f'<img alt="{escape(photo["what"])}" src="data:{_kind(photo["data"])};base64,{photo["data"]}">'
        missing = '<p class="cap">原件不在此处 the original is not here</p>'
        caption = f"{escape(photo['what'])} · sha256 {escape(photo['sha256'])}"
        yield f"<figure>{picture if photo['data'] else missing}<figcaption>{caption}</figcaption></figure>"


def _kind(data: str) -> str:
    head = base64.b64decode(data[:16]) if data else b""
    return "image/png" if head.startswith(b"\x89PNG") else "image/webp" if head[:4] == b"RIFF" else "image/jpeg"


def _record(lines: Sequence[dict[str, Any]], clock: Callable[[int], str]) -> Iterable[str]:
    yield "<h2>经过 The record, line by line</h2>"
    yield _table(
        ("时间 time", "对象 subject", "事项 what", "谁 who", "缘由 because", "hash"),
        (
            (
                f"{clock(e['wall_ms'])}<br><span class='seq'>#{e['seq']}</span>",
                escape(e["subject"] if e["subject_kind"] == "order" else e["subject"][:8]),
                escape(event_words(e["kind"], e["subject_kind"])),
                f"{escape(e['actor'])}<br><span class='cap'>{escape(e['actor_role'])}</span>",
                escape(e["because"]),
                f"<code class='hash' title='{e['hash']}'>{e['hash'][:12]}</code>",
            )
            for e in lines
        ),
    )


def _method(piece: dict[str, Any]) -> str:
    return (
        '<p class="method">'
        f"导出 gathered {escape(piece['gathered_at'])} · 配置 configuration {escape(piece['configuration'][:16])}. "
        "本文件自含全部数据；<code>citypulse incident --check 本文件</code> 逐行复算哈希。"
        "This file holds all its data; <code>citypulse incident --check FILE</code> recomputes every hash.</p>"
    )
