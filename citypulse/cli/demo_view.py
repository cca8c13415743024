"""The demo's live view: what is going on, who was told, what crews do, and the story so far; fits 80 × 24 and more.

Colour is alarm, and never the only sign: levels carry shape and digit, a drill carries its word, a storm its banner.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from rich.cells import cell_len
from rich.layout import Layout
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from citypulse.clock import utc

from .demo_tale import Tale
from .show import level_text

if TYPE_CHECKING:
    from .demo_city import DemoCity

NARROW: Final = 100  # columns; below this some columns are left out
FRAME: Final = 2  # rows of a panel's own border
HEAD: Final = 1  # row of a table's header
TONES: Final = {"red": "bold red", "orange": "dark_orange", "calm": "bold", "drill": "cyan", "plain": ""}
STATES: Final = {
    "reported": "上报 reported",
    "verifying": "核实 verifying",
    "filed": "立案 filed",
    "dispatched": "派遣 dispatched",
    "accepted": "接单 accepted",
    "handling": "处置 handling",
    "deferred": "缓办 deferred",
    "suspended": "挂账 suspended",
    "returned": "回退 returned",
    "fed_back": "反馈 fed back",
    "checking": "核查 checking",
    "closed": "结案 closed",
    "rejected": "不立 rejected",
    "cancelled": "作废 cancelled",
}
NOTICES: Final = {
    "delivered": "已送达 sent",
    "pending": "待发 waiting",
    "leased": "发送中 sending",
    "failed": "被拒 refused",
    "dead": "放弃 given up",
    "obsolete": "不再需要 dropped",
    "split": "逐人发送 told to each",
}
DRILL: Final = "演练"


def screen(city: DemoCity, tale: Tale, width: int, height: int) -> Layout:
    """Return the whole screen of `width` × `height` cells."""
    tale.look()
    is_narrow = width < NARROW
    seen = city.service.window.situations()
    storm = next((s for s in seen["storms"] if s["is_on"]), None)
    rows = max(0, height - 3 - (3 if storm else 0))
    middle = max(6, rows * 7 // 20)
    story = max(5, rows - 2 * middle) if rows > 2 * middle + 5 else max(4, rows - 2 * middle)
    layout = Layout()
    parts = [Layout(_head(city, is_narrow=is_narrow), size=3)]
    if storm:
        parts.append(Layout(_banner(storm, tale, is_narrow=is_narrow), size=3))
    upper, lower = Layout(size=middle), Layout(size=middle)
    upper.split_row(
        Layout(_situations(seen["situations"], middle - FRAME - HEAD, is_narrow=is_narrow), ratio=11),
        Layout(_told(city, tale, middle - FRAME - HEAD, is_narrow=is_narrow), ratio=9),
    )
    lower.split_row(Layout(_orders(city, tale, middle - FRAME - HEAD, is_narrow=is_narrow)))
    parts += [upper, lower, Layout(_story(tale, story - FRAME, width - 4), size=story)]
    layout.split_column(*parts)
    return layout


def _head(city: DemoCity, *, is_narrow: bool) -> Panel:
    stats, service = city.district.stats(), city.service
    now = utc(service.clock.now_ms()).astimezone(ZoneInfo(service.config.timezone))
    text = Text.assemble(
        ("城脉 citypulse ", "bold"),
        (f"{now:%m-%d %H:%M} ", "bold"),
        f"· 读数{'' if is_narrow else ' readings'} {stats.readings:,} · ",
        "" if is_narrow else f"在途 pending {stats.pending} · ",
        f"{city.facts['console']} · Ctrl-C",
        no_wrap=True,
        overflow="ellipsis",
    )
    return Panel(text, padding=(0, 1), style="")


def _banner(storm: dict[str, Any], tale: Tale, *, is_narrow: bool) -> Panel:
    text = Text(
        f"≋ 告警风暴 STORM {tale.local(storm['since_ms'])} 起 · {storm['alarms']} 条告警 alarms · "
        + ("红与燃气逐条，其余汇总" if is_narrow else "红与燃气逐条，其余汇总 red and gas singly, the rest as digests"),
        style="bold dark_orange",
        no_wrap=True,
        overflow="ellipsis",
    )
    return Panel(text, border_style="dark_orange", padding=(0, 1))


def _situations(found: Sequence[dict[str, Any]], rows: int, *, is_narrow: bool) -> Panel:
    table = _table("级", "态势 situation", "告警", *(() if is_narrow else ("未确认",)))
    for s in found[:rows]:
        is_drill = any(DRILL in a["because"]["zh"] for a in s["alarms"])
        title = Text(f"[{DRILL}] " if is_drill else "")
        title.stylize(TONES["drill"])
        title.append(s["title"]["zh"], style="" if not is_drill else TONES["drill"])
        if not is_narrow:
            title.append(f" {s['title']['en']}", style="dim")
        cells = [level_text(s["level"]), title, Text(str(s["count"]))]
        if not is_narrow:
            cells.append(Text(str(s["unacknowledged"] or "")))
        table.add_row(*cells)
    return Panel(table, title=f"态势 situations {len(found)}", padding=(0, 1))


def _told(city: DemoCity, tale: Tale, rows: int, *, is_narrow: bool) -> Panel:
    table = _table("时", "通知谁 told", "渠道", *(() if is_narrow else ("状态 state",)))
    newest = city.service.ledger.outbox_rows(limit=200)
    shown: dict[tuple[str, str, str], Any] = {}
    for row in newest:  # a digest is one message, whatever it covers
        shown.setdefault((row.digest or str(row.id), row.notice.target, row.via or row.notice.channel), row)
    for row in list(shown.values())[:rows]:
        is_drill = DRILL in row.notice.title
        name = Text()  # what it is comes first: names are long, and are cut at their end
        if is_drill:
            name.append(f"{DRILL} ", style=TONES["drill"])
        if row.digest:
            name.append("汇总 ", style="bold")
        elif row.notice.level == 1:
            name.append("⬣1 ", style="bold red")
        if row.notice.step:
            name.append(f"↑{row.notice.step} ", style="bold")
        name.append(tale.who(row.notice.target).zh, style=TONES["drill"] if is_drill else "")
        at = tale.local(row.delivered_ms or row.notice.created_ms)
        cells = [Text(at), name, Text(row.via or row.notice.channel)]
        if not is_narrow:
            cells.append(Text(NOTICES.get(row.state, row.state), style="" if row.state != "obsolete" else "dim"))
        table.add_row(*cells)
    return Panel(table, title="通知与升级 notices, ↑ escalation", padding=(0, 1))


def _orders(city: DemoCity, tale: Tale, rows: int, *, is_narrow: bool) -> Panel:
    names = ("级", "工单 order", "状态 state", "地点 where", "班组 crew", "备注 note")
    table = _table(*(n for n in names if not is_narrow or n != "班组 crew"))
    room = city.service.room
    found = room.orders(open_only=True, limit=50, team="", state="")
    # What had to be done again or is a drill is what the story is about: never below the edge.
    found.sort(key=lambda o: (not (o["rework_count"] or o["is_exercise"]), o["level"], o["id"]))
    closed = room.orders(open_only=False, limit=50, team="", state="closed")
    closed.sort(key=lambda o: -o["state_ms"])
    keep = max(1, rows // 3) if closed else 0
    for o in (*found[: rows - keep], *closed[: max(keep, rows - len(found))]):
        note = Text()
        if o["is_exercise"]:
            note.append(f"{DRILL} exercise ", style=TONES["drill"])
        if o["rework_count"]:
            note.append(f"返工 rework ×{o['rework_count']}", style="bold dark_orange")
        site = city.service.config.sites.get(o["asset"])
        is_closed = o["state"] == "closed"
        state = Text(("✓ " if is_closed else "") + STATES[o["state"]], style="dim" if is_closed else "")
        cells = [level_text(o["level"]), Text(o["id"]), state, Text(site.name.zh if site else o["asset"])]
        if not is_narrow:
            cells.append(Text(tale.who(o["team"]).zh))
        table.add_row(*cells, note)
    return Panel(table, title=f"工单 work orders {len(found)} · ✓ {len(closed)}", padding=(0, 1))


def _story(tale: Tale, rows: int, width: int) -> Panel:
    """Tell it, newest last: 中文, and English beside it or below it, as the width allows."""
    lines: list[Text] = []
    for line in reversed(tale.lines):
        head, style = tale.local(line.at_ms) + " ", TONES[line.tone]
        both = f"{line.text.zh} · {line.text.en}"
        if cell_len(head + both) <= width or rows - len(lines) < 2:
            said = [Text.assemble((head, "dim"), (both, style))]
        else:
            said = [Text.assemble((head, "dim"), (line.text.zh, style)), Text(" " * 6 + line.text.en, style="dim")]
        if len(lines) + len(said) > rows:
            break
        lines = [*said, *lines]
    body = Text("\n", no_wrap=True, overflow="ellipsis").join(lines)
    body.no_wrap, body.overflow = True, "ellipsis"
    return Panel(body, title="经过 the story", padding=(0, 1))


def _table(*names: str) -> Table:
    table = Table(box=None, expand=True, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    for k, name in enumerate(names):
        is_wide = name.split(" ")[-1] in {"situation", "told", "where"}
        narrowest = 3 if k == 0 else None
        table.add_column(name, overflow="ellipsis", no_wrap=True, ratio=1 if is_wide else None, min_width=narrowest)
    return table


WORDS: Final = (
    ("readings_sent", "发出读数 readings sent"),
    ("readings_stored", "入库读数 readings stored"),
    ("lost", "丢失 lost"),
    ("duplicated", "重复 duplicated"),
    ("alarms_raised", "告警产生 alarms raised"),
    ("alarms_cleared", "告警恢复 alarms cleared"),
    ("storms", "告警风暴 storms"),
    ("digests", "汇总消息 digests"),
    ("notices_in_digests", "汇总内的通知 notices in digests"),
    ("notices_single", "单发的通知 notices sent singly"),
    ("escalations", "升级步数 escalation steps"),
    ("one_tap_acks", "链接一键确认 one-tap acknowledgements"),
    ("orders_opened", "工单开立 orders opened"),
    ("orders_closed", "工单结案 orders closed"),
    ("reworks", "返工 reworks"),
)


def summary_text(summary: dict[str, Any], tale: Tale) -> str:
    """Return the closing summary: the story once more, and the figures counted from the record."""
    lines = ["经过 the story"]
    for line in tale.lines:
        lines += [f"  {tale.local(line.at_ms)} {line.text.zh}", f"        {line.text.en}"]
    lines += ["", "合计 figures"]
    lines += [f"  {name}: {summary[key]:,}" for key, name in WORDS]
    for one in summary["exercises"]:
        value = "—" if one["score"] is None else f"{one['score']:.0%}"
        lines.append(
            f"  演练得分 exercise score: {value} ({one['state']}; {one['met']} 按时 met, {one['late']} 超时 late, "
            f"{one['missed']} 缺失 missed; 外单位被通知 outsiders told {one['outsiders_told']})"
        )
    return "\n".join(lines)
