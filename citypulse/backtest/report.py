"""From a backtest's outcomes to its report: scores, loads, differences, and the readings around what changed."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from citypulse.clock import iso
from citypulse.model import CityConfig, Rule
from rules.backtest import Change, Difference, Finding, Label, Occurrence, Verdict, differences, hours_in_alarm
from rules.backtest import score as judge
from rules.backtest import table as table_of
from rules.backtest_load import Load
from rules.backtest_load import load as load_of
from rules.budget import Budget, check
from rules.report import Part, Ran, Report, verdict_of
from rules.report_svg import Band, Line, Plot
from rules.whatif import Selection

from .desk_load import loads, overruns
from .history import History
from .run import Outcome, Series, Span, Window, readings_in

PLOTS_MAX = 40  # per kind of change: a file people can still open and print
PAD_MS = (15 * 60_000, 6 * 3_600_000)  # least and most that is shown before and after an alarm
SHOWN_MAX_MS = 3 * 86_400_000  # of a long alarm only the beginning is drawn


class LocalTime:
    """Writes instants in the city's own time, to the second, with the zone's offset."""

    def __init__(self, zone: str) -> None:
        """`zone` is an IANA name."""
        self._zone = ZoneInfo(zone)

    def __call__(self, ms: int) -> str:
        """Return `2026-01-05 08:00:00 +08:00`."""
        return datetime.fromtimestamp(ms / 1000, tz=UTC).astimezone(self._zone).isoformat(" ", "seconds")


def build(
    span: Span,
    new: tuple[str, Outcome],
    old: tuple[str, Outcome] | None,
    history: History,
    *,
    source: str,
    labels: Sequence[Label] | None,
    budget: Budget,
    officers: int,
    early_ms: int,
    with_plots: bool,
    selection: Selection | None = None,
) -> Report:
    """Put a report together.

    new, old: the configuration's file and outcome · labels: None when none were given · selection: what was run, None
    for everything.
    """
    part = _part(span, *new, labels, officers, early_ms)
    before = None if old is None else _part(span, *old, labels, officers, early_ms)
    changes = () if old is None else differences(old[1].occurrences, new[1].occurrences, until_ms=span.until_ms)
    instants = {"since_ms": span.since_ms, "until_ms": span.until_ms}
    own = (
        overruns(new[1].config, new[1].occurrences, labels, early_ms=early_ms, **instants) if selection is None else ()
    )
    plots: dict[int, Plot] = {}
    if with_plots:
        plots = _plots(span, new[1].config, None if old is None else old[1].config, changes, part, history)
    return Report(
        city=new[1].config.name,
        source=source,
        readings=span.readings,
        since_ms=span.since_ms,
        until_ms=span.until_ms,
        digest=span.digest,
        unknown=span.unknown,
        new=part,
        old=before,
        changes=changes,
        plots=plots,
        overruns=(*check(budget, part.load, part.judged), *own),
        desks=[(d.desk, d.load) for d in loads(new[1].config, new[1].occurrences, **instants)],
        ran=None if selection is None else _ran(selection),
        skipped=span.skipped,
    )


def _ran(selection: Selection) -> Ran:
    return Ran(
        differ=selection.rules(selection.differs),
        reached=selection.rules({k for k in selection.reached if k[0] not in dict(selection.differs)}),
        needed=selection.rules({k for k in selection.needed if k[0] not in dict(selection.told)}),
        whole=selection.whole,
        unjudged=selection.unjudged,
    )


def _part(
    span: Span, file: str, outcome: Outcome, labels: Sequence[Label] | None, officers: int, early_ms: int
) -> Part:
    found = outcome.occurrences
    judged = None if labels is None else judge(found, labels, early_ms=early_ms, until_ms=span.until_ms)
    return Part(
        file=file,
        fingerprint=outcome.config.fingerprint,
        occurrences=found,
        hours=hours_in_alarm(found, until_ms=span.until_ms),
        load=load_of(found, since_ms=span.since_ms, until_ms=span.until_ms, officers=officers),
        judged=judged,
        rows=table_of(found, judged, until_ms=span.until_ms),
        orders=outcome.orders,
        notices=outcome.notices,
    )


# ── plots ───────────────────────────────────────────────────────────────────────────────────────


def _plots(
    span: Span,
    new: CityConfig,
    old: CityConfig | None,
    changes: Sequence[Difference],
    part: Part,
    history: History,
) -> dict[int, Plot]:
    new_rules, old_rules = _rules_by_scope(new), {} if old is None else _rules_by_scope(old)
    wanted: dict[int, tuple[Window, Difference | Finding]] = {}
    for change in (Change.GAINED, Change.LOST, Change.EARLIER, Change.LATER, Change.LEVEL):
        for d in [d for d in changes if d.change is change][:PLOTS_MAX]:
            key = d.one.rule, d.one.scope
            rule = new_rules.get(key) or old_rules.get(key)
            window = None if rule is None else _window(rule, d, span)
            if window is not None:
                wanted[id(d)] = (window, d)
    if part.judged is not None:
        missed = [f for f in part.judged.findings if f.verdict is Verdict.MISSED]
        for f in missed[:PLOTS_MAX]:
            sensor = _sensor_at(new, f.label.place)
            if sensor is not None:
                wanted[id(f)] = (_around(sensor, f.label.start_ms, f.label.end_ms, span), f)
    series = readings_in([window for window, _ in wanted.values()], history)
    units = {s.id: s.unit for c in (old, new) if c is not None for s in c.sensors}
    return {
        key: _plot(window, about, series[window], units.get(window.sensor, ""), new_rules, old_rules, span)
        for key, (window, about) in wanted.items()
    }


def _rules_by_scope(config: CityConfig) -> dict[tuple[str, str], Rule]:
    return {(rule.id, scope): rule for rule in config.rules for scope in rule.scopes}


def _window(rule: Rule, d: Difference, span: Span) -> Window | None:
    sensors = rule.sensors[rule.scopes.index(d.one.scope)] if d.one.scope in rule.scopes else ()
    if not sensors:
        return None
    both = [o for o in (d.old, d.new) if o is not None]
    return _around(
        sensors[0],
        min(o.start_ms for o in both),
        max(o.start_ms + o.lasted_ms(span.until_ms) for o in both),
        span,
    )


def _around(sensor: str, start_ms: int, end_ms: int, span: Span) -> Window:
    end_ms = min(end_ms, start_ms + SHOWN_MAX_MS)
    pad_ms = min(max((end_ms - start_ms) // 2, PAD_MS[0]), PAD_MS[1])
    return Window(
        sensor=sensor, since_ms=max(span.since_ms, start_ms - pad_ms), until_ms=min(span.until_ms, end_ms + pad_ms)
    )


def _sensor_at(config: CityConfig, place: str) -> str | None:
    """Return the sensor named, or a site's first one."""
    found = [s.id for s in config.sensors if s.id == place] or [s.id for s in config.sensors if s.site == place]
    return found[0] if found else None


def _plot(
    window: Window,
    about: Difference | Finding,
    series: Series,
    unit: str,
    new_rules: dict[tuple[str, str], Rule],
    old_rules: dict[tuple[str, str], Rule],
    span: Span,
) -> Plot:
    bands: list[Band] = []
    lines: list[Line] = []
    if isinstance(about, Difference):
        key = about.one.rule, about.one.scope
        title = f"{about.one.rule} · {window.sensor}"
        fresh = _lines(new_rules.get(key), is_old=False)
        known = {(ln.value, ln.level) for ln in fresh}
        lines = [
            *fresh,
            *(ln for ln in _lines(old_rules.get(key), is_old=True) if (ln.value, ln.level) not in known),
        ]
        for o, is_old in ((about.new, False), (about.old, True)):
            if o is not None:
                end_ms = o.start_ms + o.lasted_ms(span.until_ms)
                bands.append(Band(start_ms=o.start_ms, end_ms=end_ms, level=o.level, is_old=is_old))
    else:
        title = f"{about.label.name} · {window.sensor}"
        for (_, scope), rule in new_rules.items():
            if scope == window.sensor:
                lines += _lines(rule, is_old=False)
    return Plot(
        title=title,
        unit=unit,
        since_ms=window.since_ms,
        until_ms=window.until_ms,
        time_ms=series.time_ms,
        value=series.value,
        lines=lines,
        bands=bands,
    )


def _lines(rule: Rule | None, *, is_old: bool) -> list[Line]:
    """Return a rule's limits as lines, where they are in the readings' own unit."""
    if rule is None or rule.settings.limits_in != "value" or not rule.settings.needs_limits:
        return []
    return [Line(value=m.value, level=m.level, sign=m.side.sign, is_old=is_old) for m in rule.limits]


# ── for programs ────────────────────────────────────────────────────────────────────────────────


def write_alarms(path: Path, occurrences: Iterable[Occurrence]) -> None:
    """Write `rule,scope,level,start,end,peak`; instants ISO 8601 UTC, empty where it still stands or has no value."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["rule", "scope", "level", "start", "end", "peak"])
        for o in occurrences:
            end = "" if o.end_ms is None else iso(o.end_ms)
            peak = "" if o.peak != o.peak else f"{o.peak:.10g}"
            writer.writerow([o.rule, o.scope, o.level.colour, iso(o.start_ms), end, peak])


def as_dict(report: Report) -> dict[str, Any]:
    """Return the report as JSON would have it: summaries, rows and changes, not every alarm."""
    verdict = verdict_of(report)
    return {
        "verdict": {"zh": verdict.zh, "en": verdict.en},
        "readings": report.readings,
        "since": iso(report.since_ms),
        "until": iso(report.until_ms),
        "digest": report.digest,
        "ran": None if report.ran is None else asdict(report.ran) | {"readings_skipped": report.skipped},
        "not_configured": dict(report.unknown),
        "new": _part_dict(report.new),
        "old": None if report.old is None else _part_dict(report.old),
        "changes": None if report.old is None else [_change_dict(d) for d in report.changes],
        "over_budget": [
            {"desk": o.desk, "bound": o.name, "is": o.is_, "at_most": o.bound, "at": o.origin} for o in report.overruns
        ],
        "desks": {name: _load_dict(load) for name, load in report.desks},
    }


def _part_dict(part: Part) -> dict[str, Any]:
    load = part.load
    return {
        "config": part.file,
        "fingerprint": part.fingerprint,
        "alarms": load.alarms,
        "hidden": load.hidden,
        "alarms_per_day": load.per_day,
        "hours_in_alarm": part.hours,
        "orders": part.orders,
        "notices": part.notices,
        "load": _load_dict(load),
        "labels": None if part.judged is None else _judged_dict(part),
        "by_rule_and_scope": [
            {"rule": r.rule, "scope": r.scope, "alarms": r.alarms, "hours": r.hours, "worst": r.level.colour,
             "caught": r.caught, "unlabelled": r.unlabelled}
            for r in part.rows
        ],
    }  # fmt: skip


def _load_dict(load: Load) -> dict[str, Any]:
    return {
        "alarms": load.alarms,
        "officers": load.officers,
        "per_10min": load.mean_per_period,
        "peak_10min": load.peak_per_period,
        "peak_start": iso(load.peak_start_ms),
        "flood_share": load.flood_share,
        "chattering": [{"rule": r, "scope": s, "times": n} for r, s, n in load.chattering],
        "standing_over_24h": load.standing,
        "by_level": {level.colour: n for level, n in load.by_level},
        "by_day": list(load.by_day),
    }


def _judged_dict(part: Part) -> dict[str, Any]:
    judged = part.judged
    assert judged is not None  # noqa: S101 - the caller has looked
    lead_ms = judged.median_lead_ms
    return {
        "caught": judged.count(Verdict.CAUGHT),
        "standing": judged.count(Verdict.STANDING),
        "missed": judged.count(Verdict.MISSED),
        "unlabelled_alarms": len(judged.unlabelled),
        "median_lead_s": None if lead_ms is None else lead_ms / 1000,
        "incidents": [
            {
                "name": f.label.name,
                "place": f.label.place,
                "start": iso(f.label.start_ms),
                "end": iso(f.label.end_ms),
                "verdict": f.verdict.value,
                "lead_s": None if f.lead_ms is None else f.lead_ms / 1000,
                "rule": f.alarm.rule if f.alarm else None,
            }
            for f in judged.findings
        ],
    }


def _change_dict(d: Difference) -> dict[str, Any]:
    def start(o: Occurrence | None) -> str | None:
        return None if o is None else iso(o.start_ms)

    return {
        "change": d.change.value,
        "rule": d.one.rule,
        "scope": d.one.scope,
        "old_start": start(d.old),
        "new_start": start(d.new),
        "shift_s": d.shift_ms / 1000,
        "old_level": None if d.old is None else d.old.level.colour,
        "new_level": None if d.new is None else d.new.level.colour,
    }
