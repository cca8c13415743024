"""The backtest report: one HTML file with everything in it, 中文 first, that prints on A4 and needs no network.

First line the verdict, then the figures, labelled incidents, what changed with plots, tables, and how to repeat it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from citypulse.model import Priority, Text

from .backtest import Change, Difference, Finding, Occurrence, Row, Score, Verdict
from .backtest_load import Load
from .because import duration, number
from .budget import Overrun
from .report_style import STYLE
from .report_svg import Plot, bars, draw

ROWS_MAX = 200  # per table; the rest is counted, and in alarms.csv
CHANGE_WORDS = {
    Change.GAINED: Text(zh="新增", en="gained"),
    Change.LOST: Text(zh="消失", en="lost"),
    Change.EARLIER: Text(zh="提前", en="earlier"),
    Change.LATER: Text(zh="推迟", en="later"),
    Change.LEVEL: Text(zh="级别变化", en="other level"),
    Change.SAME: Text(zh="相同", en="same"),
}
VERDICT_WORDS = {
    Verdict.CAUGHT: Text(zh="捕获", en="caught"),
    Verdict.STANDING: Text(zh="此前已告警", en="already standing"),
    Verdict.MISSED: Text(zh="漏报", en="missed"),
}
SHAPES = {Priority.P1: "⬣", Priority.P2: "▲", Priority.P3: "◆", Priority.P4: "●"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One configuration's results."""

    file: str
    fingerprint: str
    occurrences: Sequence[Occurrence]
    hours: float
    load: Load
    judged: Score | None
    rows: Sequence[Row]
    orders: int | None
    notices: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What a what-if ran, ids of rules: that differ, that depend on those, and that those depend on.

    whole: sections of the configuration that differ and may change any alarm, so that all rules were run · unjudged:
    those that differ and change only orders and notices.
    """

    differ: tuple[str, ...]
    reached: tuple[str, ...]
    needed: tuple[str, ...]
    whole: tuple[str, ...] = ()
    unjudged: tuple[str, ...] = ()

    @property
    def said(self) -> Text:
        """It in a sentence or two."""
        judged = self._judged
        if not self.unjudged:
            return judged
        which = ", ".join(self.unjudged)
        return Text(
            zh=f"{judged.zh} {which} 也有变动：只影响工单与通知，这里不计；--rules all 计工单与通知数。",
            en=f"{judged.en}. {which} differ too: that changes orders and notices only, which were not counted here; "
            "--rules all counts them",
        )

    @property
    def _judged(self) -> Text:
        if self.whole:
            which = ", ".join(self.whole)
            return Text(
                zh=f"{which} 有变动，可能影响任何告警：评估了全部规则。",
                en=f"All rules were judged: {which} differ, which may change any alarm",
            )
        differ = ", ".join(self.differ)
        if not differ:
            return Text(zh="没有规则或测点变动：告警相同。", en="No rule or sensor differs: the alarms are the same")
        zh, en = f"只评估有变动的规则：{differ}", f"Only the rules that differ were judged: {differ}"
        if self.reached:
            zh += f"；受其影响的：{', '.join(self.reached)}"
            en += f"; and what depends on them: {', '.join(self.reached)}"
        if self.needed:
            zh += f"；为此也运行了：{', '.join(self.needed)}"
            en += f"; run for their sake: {', '.join(self.needed)}"
        return Text(zh=f"{zh}。", en=f"{en}. Everything: --rules all")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything the page tells. `plots` are by the difference, or by the label's finding, they belong to (id())."""

    city: Text
    source: str
    readings: int
    since_ms: int
    until_ms: int
    digest: str
    unknown: Mapping[str, int]
    new: Part
    old: Part | None = None
    changes: Sequence[Difference] = ()
    plots: Mapping[int, Plot] = field(default_factory=dict)
    overruns: Sequence[Overrun] = ()
    ran: Ran | None = None  # None: everything
    desks: Sequence[tuple[str, Load]] = ()  # what each duty desk would have had
    skipped: int = 0  # readings nothing that was run looks at


def verdict_of(report: Report) -> Text:
    """Return the whole in one sentence."""
    new, old = report.new, report.old
    zh, en = f"{new.load.alarms} 条告警", f"{new.load.alarms} alarms"
    if old is not None:
        zh, en = f"告警 {old.load.alarms} → {new.load.alarms}", f"alarms {old.load.alarms} → {new.load.alarms}"
    if new.judged is not None:
        caught, n = new.judged.count(Verdict.CAUGHT), len(new.judged.findings)
        before = "" if old is None or old.judged is None else f"{old.judged.count(Verdict.CAUGHT)} → "
        zh += f"；标注事件捕获 {before}{caught}/{n}"
        en += f"; labelled incidents caught {before}{caught}/{n}"
    if report.overruns:
        zh, en = f"超出告警预算：{zh}", f"Over the alarm budget: {en}"
    return Text(zh=zh, en=en)


def page(report: Report, clock: Callable[[int], str]) -> str:
    """Return the file's text; `clock` writes an instant in the city's own time."""
    verdict = verdict_of(report)
    span = f"{clock(report.since_ms)} – {clock(report.until_ms)}"
    parts = [
        '<!doctype html><html lang="zh-CN"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>回测 Backtest · {_both(report.city)}</title><style>{STYLE}</style></head><body>",
        f'<p class="eyebrow">回测报告 Backtest · {_both(report.city)}</p>',
        f'<h1 class="{"bad" if report.overruns else ""}">{escape(verdict.zh)}<small>{escape(verdict.en)}</small></h1>',
        f"<p>{escape(span)} · {report.readings:,} 条读数 readings</p>",
        "" if report.ran is None else f'<p class="cap">{_both(report.ran.said)}</p>',
        _overruns(report.overruns),
        _figures(report),
        _desks(report),
        _days(report),
    ]
    if report.new.judged is not None:
        parts.append(_labels(report, clock))
    if report.old is not None:
        parts.append(_changes(report, clock))
    parts += [_levels(report.new), _table(report), _chatter(report.new), _method(report), "</body></html>"]
    return "\n".join(part for part in parts if part)


def _both(text: Text) -> str:
    return f"{escape(text.zh)} {escape(text.en)}"


def _row(cells: Sequence[str], tag: str = "td") -> str:
    return "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in cells) + "</tr>"


def _level(level: Priority) -> str:
    return (
        f'<span class="p{int(level)}">{SHAPES[level]} {level.colour_zh}<span class="en"> {level.colour}</span></span>'
    )


def _overruns(overruns: Sequence[Overrun]) -> str:
    if not overruns:
        return ""
    listed = "".join(f"<li>{escape(str(o))}</li>" for o in overruns)
    return f'<section class="over"><h2>超出预算 Over budget</h2><ul>{listed}</ul></section>'


def _figures(report: Report) -> str:
    new, old = report.new, report.old
    measures: list[tuple[str, Callable[[Part], str]]] = [
        ("告警 alarms", lambda p: f"{p.load.alarms:,}"),
        ("每日告警 alarms a day", lambda p: number(p.load.per_day)),
        ("告警时长 hours in alarm", lambda p: number(p.hours)),
        ("被抑制 hidden behind a cause", lambda p: f"{p.load.hidden:,}"),
        ("每10分钟人均 per 10 min and officer <small>≤ 1–2</small>", lambda p: number(p.load.mean_per_period)),
        ("最忙10分钟人均 busiest 10 min <small>≤ 10</small>", lambda p: number(p.load.peak_per_period)),
        ("洪水占比 share of time in flood <small>&lt; 1 %</small>", lambda p: f"{100 * p.load.flood_share:.2f} %"),
        ("抖动源 chattering sources (≥3/min) <small>0</small>", lambda p: f"{len(p.load.chattering)}"),
        ("常立 standing over 24 h <small>&lt; 5</small>", lambda p: f"{p.load.standing}"),
        ("最忙十源占比 ten busiest sources", lambda p: f"{100 * p.load.top_share:.0f} %"),
    ]
    if new.orders is not None:
        measures += [
            ("工单 work orders", lambda p: f"{p.orders:,}"),
            ("通知 notices", lambda p: f"{p.notices:,}"),
        ]
    if new.judged is not None:
        measures += [
            ("标注事件捕获 incidents caught", lambda p: _of(p.judged, Verdict.CAUGHT)),
            ("漏报 missed", lambda p: _of(p.judged, Verdict.MISSED)),
            ("无标注告警 alarms without a label", lambda p: str(len(p.judged.unlabelled)) if p.judged else ""),
            ("提前量中位数 median lead", lambda p: _lead(p.judged.median_lead_ms) if p.judged else ""),
        ]
    head = ["", "新 new"] if old is None else ["", "旧 old", "新 new"]
    rows = [_row([name, *([] if old is None else [tell(old)]), tell(new)]) for name, tell in measures]
    return f'<table class="figures"><thead>{_row(head, "th")}</thead><tbody>{"".join(rows)}</tbody></table>'


def _of(judged: Score | None, verdict: Verdict) -> str:
    return "" if judged is None else f"{judged.count(verdict)} / {len(judged.findings)}"


def _lead(lead_ms: int | None) -> str:
    if lead_ms is None:
        return "–"
    word = "提前 before" if lead_ms >= 0 else "之后 after"
    return f"{duration(abs(lead_ms) / 1000)} {word}"


def _desks(report: Report) -> str:
    if not report.desks:
        return ""
    rows = [
        _row(
            [
                escape(name),
                str(load.officers),
                f"{load.alarms:,}",
                number(load.per_day),
                number(load.mean_per_period),
                number(load.peak_per_period),
                f"{100 * load.flood_share:.2f} %",
                str(len(load.chattering)),
                str(load.standing),
            ]
        )
        for name, load in report.desks
    ]
    head = ["值班台 desk", "人数 officers", "告警 alarms", "每日 a day", "每10分钟 per 10 min", "最忙 peak"]
    head += ["洪水 flood", "抖动 chattering", "常立 &gt;24 h"]
    return (
        f"<h2>各值班台负荷 Load of each duty desk</h2><table><thead>{_row(head, 'th')}</thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _days(report: Report) -> str:
    if len(report.new.load.by_day) < 2:
        return ""
    new_days = report.new.load.by_day
    old_days = () if report.old is None else report.old.load.by_day
    old = bars(old_days, label="旧 每日告警 old, alarms per day", beside=new_days) if old_days else ""
    new = bars(new_days, label="新 每日告警 new, alarms per day", beside=old_days)
    return (
        f"<h2>每日告警 Alarms per day</h2>{old and '<p class=cap>旧 old</p>'}{old}"
        f"<p class=cap>新 new · 最多 most {max((*new_days, *old_days))}</p>{new}"
    )


def _labels(report: Report, clock: Callable[[int], str]) -> str:
    assert report.new.judged is not None  # noqa: S101 - the caller has looked
    before: dict[int, Finding] = {}
    if report.old is not None and report.old.judged is not None:
        before = {f.label.line: f for f in report.old.judged.findings}
    rows, figures = [], []
    for f in report.new.judged.findings[:ROWS_MAX]:
        cells = [escape(f.label.name), escape(f.label.place), escape(clock(f.label.start_ms))]
        if before:
            old = before[f.label.line]
            cells.append(f"{_both(VERDICT_WORDS[old.verdict])} {_lead(old.lead_ms) if old.lead_ms is not None else ''}")
        said = f"{_both(VERDICT_WORDS[f.verdict])} {_lead(f.lead_ms) if f.lead_ms is not None else ''}"
        cells.append(f'<span class="{f.verdict.value}">{said}</span>')
        cells.append(escape(f.alarm.rule) if f.alarm else "")
        rows.append(_row(cells))
        if id(f) in report.plots:
            figures.append(_figure(report.plots[id(f)], f"漏报 missed: {f.label.name}", clock))
    head = ["事件 incident", "地点 place", "开始 start", *(["旧 old"] if before else []), "新 new", "规则 rule"]
    return (
        f"<h2>标注事件 Labelled incidents</h2><table><thead>{_row(head, 'th')}</thead><tbody>{''.join(rows)}</tbody>"
        f"</table>{_more(len(report.new.judged.findings))}{''.join(figures)}"
    )


def _more(total: int) -> str:
    return f"<p class=cap>另有 {total - ROWS_MAX} 行 more rows</p>" if total > ROWS_MAX else ""


def _changes(report: Report, clock: Callable[[int], str]) -> str:
    counts = Counter(d.change for d in report.changes)
    summary = " · ".join(f"{_both(CHANGE_WORDS[c])} {counts[c]}" for c in Change)
    parts = [f"<h2>有何不同 What changed</h2><p>{summary}</p>"]
    for change in (Change.GAINED, Change.LOST, Change.EARLIER, Change.LATER, Change.LEVEL):
        listed = [d for d in report.changes if d.change is change]
        if not listed:
            continue
        rows, figures = [], []
        for d in listed[:ROWS_MAX]:
            o = d.one
            cells = [escape(o.rule), escape(o.scope), _level(o.level), escape(clock(o.start_ms))]
            because = f'{escape(o.because.zh)}<div class="en">{escape(o.because.en)}</div>'
            cells += [_lead(-d.shift_ms) if d.shift_ms else "", because, escape(o.origin)]
            rows.append(_row(cells))
            if id(d) in report.plots:
                word = CHANGE_WORDS[change]
                figures.append(_figure(report.plots[id(d)], f"{word.zh} {word.en}: {o.rule} · {o.scope}", clock))
        head = ["规则 rule", "范围 scope", "级别 level", "开始 start", "移动 shift", "原因 because", "出处 origin"]
        parts.append(
            f"<h3>{_both(CHANGE_WORDS[change])} ({len(listed)})</h3><table><thead>{_row(head, 'th')}</thead>"
            f"<tbody>{''.join(rows)}</tbody></table>{_more(len(listed))}{''.join(figures)}"
        )
    return "".join(parts)


def _figure(plot: Plot, caption: str, clock: Callable[[int], str]) -> str:
    return f"<figure><figcaption>{escape(caption)}</figcaption>{draw(plot, clock)}</figure>"


def _levels(part: Part) -> str:
    total = max(1, part.load.alarms)
    said = " · ".join(f"{_level(level)} {n} ({100 * n / total:.0f} %)" for level, n in part.load.by_level)
    return f"<h2>按级别 By level</h2><p>{said}</p>"


def _table(report: Report) -> str:
    old = {(r.rule, r.scope): r for r in report.old.rows} if report.old else {}
    rows = []
    for r in report.new.rows[:ROWS_MAX]:
        was = old.get((r.rule, r.scope))
        cells = [escape(r.rule), escape(r.scope), _level(r.level)]
        if report.old is not None:
            cells += [str(was.alarms) if was else "0", number(was.hours) if was else "0"]
        rows.append(_row([*cells, str(r.alarms), number(r.hours), str(r.caught), str(r.unlabelled)]))
    head = ["规则 rule", "范围 scope", "最高级别 worst"]
    if report.old is not None:
        head += ["旧 old", "旧时长 old h"]
    head += ["告警 alarms", "时长 hours", "捕获 caught", "无标注 unlabelled"]
    return (
        f"<h2>按规则与测点 By rule and sensor</h2><table><thead>{_row(head, 'th')}</thead>"
        f"<tbody>{''.join(rows)}</tbody></table>{_more(len(report.new.rows))}"
    )


def _chatter(part: Part) -> str:
    if not part.load.chattering:
        return ""
    rows = [_row([escape(rule), escape(scope), str(n)]) for rule, scope, n in part.load.chattering[:ROWS_MAX]]
    head = ["规则 rule", "范围 scope", "次数 times"]
    return (
        "<h2>抖动 Chattering</h2><p class=cap>一分钟内三次以上 three or more within a minute: "
        "加宽死区或延时 widen the deadband or a delay</p>"
        f"<table><thead>{_row(head, 'th')}</thead><tbody>{''.join(rows)}</tbody></table>"
    )


def _method(report: Report) -> str:
    facts = [f"读数 readings: {report.source}", f"读数指纹 fingerprint: {report.digest}"]
    for word, part in (("新 new", report.new), ("旧 old", report.old)):
        if part is not None:
            facts.append(f"{word}: {part.file} · sha256 {part.fingerprint}")
    if report.skipped:
        facts.append(f"无需读取 readings nothing that was run looks at: {report.skipped:,}")
    if report.unknown:
        total = sum(report.unknown.values())
        some = ", ".join(list(report.unknown)[:5])
        facts.append(f"未配置测点 not configured: {len(report.unknown)} ({total:,} readings; {some} …)")
    facts.append(
        "在线引擎、定级与告警台逐条运行，收到时间取读数时间 the live grader, engine and desk ran over every reading; "
        "received at its own time; nobody acknowledges or repairs. 参考值 guide values: ISA-18.2 / EEMUA 191."
    )
    listed = "".join(f"<li>{escape(fact)}</li>" for fact in facts)
    return f'<h2>方法 Method</h2><ul class="method">{listed}</ul>'
