"""`citypulse backtest`: what a configuration would have done to recorded readings, and what a change would change."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .recorded import CONFIG, opened, progress, readings_options
from .show import json_option, print_json, print_table

if TYPE_CHECKING:
    from rules.backtest import Label
    from rules.report import Part, Report

ROWS_SHOWN = 15
SWITCH_S = 0.002
BLOCKS = "▁▂▃▄▅▆▇█"
DAYS_SHOWN = 60


@click.command()
@click.option("--config", "config_path", required=True, type=CONFIG, help="The configuration to try")
@click.option("--against", "against_path", type=CONFIG, help="The one in force, to compare with")
@readings_options
@click.option(
    "--labels", "labels_path", type=CONFIG, help="Incidents that were real: CSV sensor_or_site,start,end[,name]"
)
@click.option("--early", "early_s", default=1800.0, show_default=True, help="Seconds before an incident that count")
@click.option("--alarms", "alarms_path", type=click.Path(path_type=Path, dir_okay=False), help="Write alarms as CSV")
@click.option("--scores", "scores_path", type=click.Path(path_type=Path, dir_okay=False), help="Write features as CSV")
@click.option("--report", "report_path", type=click.Path(path_type=Path, dir_okay=False), help="Write an HTML report")
@click.option("--officers", default=1, show_default=True, type=click.IntRange(1), help="Officers who share the load")
@click.option("--budget-per-10min", type=float, help="At most this many alarms per 10 min and officer on average")
@click.option("--budget-peak", type=float, help="At most this many per officer in the busiest 10 minutes")
@click.option("--budget-flood", type=float, help="At most this share of time in an alarm flood, in %")
@click.option("--budget-per-day", type=float, help="At most this many alarms a day")
@click.option("--budget-chattering", type=int, help="At most this many chattering sources")
@click.option("--budget-standing", type=int, help="At most this many alarms standing over 24 h")
@click.option("--budget-missed", type=int, help="At most this many labelled incidents missed")
@click.option(
    "--rules",
    "which",
    type=click.Choice(["changed", "all"]),
    help="With --against: judge only rules that differ and what depends on them, or all [default: changed, but all "
    "where --alarms, --scores, --labels or a budget ask about everything]",
)
@click.option(
    "--checkpoint",
    "checkpoint_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Keep here what --resume needs [default: beside --alarms]",
)
@click.option("--resume", is_flag=True, help="Go on where a backtest with this checkpoint was stopped")
@json_option
def command(
    config_path: Path,
    against_path: Path | None,
    files: tuple[Path, ...],
    more: tuple[Path, ...],
    data_dir: Path | None,
    store_text: str,
    since_ms: int,
    until_ms: int,
    labels_path: Path | None,
    early_s: float,
    alarms_path: Path | None,
    scores_path: Path | None,
    report_path: Path | None,
    officers: int,
    which: str | None,
    checkpoint_path: Path | None,
    resume: bool,
    as_json: bool,
    **budget: Any,
) -> None:
    """Run the live rules over recorded readings: alarms, incidents caught and missed, load on people, what changed.

    Readings are files (CSV sensor,time,value[,quality], gzip allowed, or Parquet) or a service's store. Exit 1 when an
    alarm budget is exceeded.
    """
    if which == "changed" and against_path is None:
        raise click.UsageError("--rules changed needs --against: changed since what?")
    if budget["budget_missed"] is not None and labels_path is None:
        raise click.UsageError("--budget-missed needs --labels")
    if checkpoint_path is None and alarms_path is not None and scores_path is None:
        checkpoint_path = alarms_path.with_name(alarms_path.name + ".checkpoint")
    if resume and checkpoint_path is None:
        raise click.UsageError("--resume needs --checkpoint or --alarms: they say where the checkpoint is")
    if checkpoint_path is not None and scores_path is not None:
        raise click.UsageError("--scores is written as it goes and cannot be resumed: leave out --checkpoint")
    from .quickstart import quick_start

    with ExitStack() as stack:
        recorded, source = stack.enter_context(
            # Read on the other processor while this one loads the engine and the configuration.
            opened((*files, *more), data_dir, store_text, since_ms=since_ms, until_ms=until_ms, early=True)
        )
        with quick_start():
            from citypulse.backtest.checkpoint import Checkpoint
            from citypulse.backtest.report import LocalTime, as_dict, build, write_alarms
            from citypulse.backtest.run import backtest
            from citypulse.backtest.scores import ScoreFile
            from citypulse.config import load_city
            from citypulse.vocabulary import laid_out_once
            from rules.budget import Budget
            from rules.report import page
            from rules.whatif import select
        sys.setswitchinterval(SWITCH_S)  # the compiled loops come back for the interpreter thousands of times
        paths = [config_path] if against_path is None else [config_path, against_path]
        known = stack.enter_context(laid_out_once(*paths))
        configs = [load_city(path, known) for path in paths]
        config = configs[0]
        labels = None if labels_path is None else labels_in(labels_path, configs)
        flood = budget["budget_flood"]
        bounds = Budget(
            per_10min=budget["budget_per_10min"],
            peak_10min=budget["budget_peak"],
            flood_share=None if flood is None else flood / 100,
            per_day=budget["budget_per_day"],
            chattering=budget["budget_chattering"],
            standing=budget["budget_standing"],
            missed=budget["budget_missed"],
        )
        asks_of_all = alarms_path or scores_path or labels_path or bounds != Budget() or config.budget
        selection = None
        if len(configs) > 1 and (which or ("all" if asks_of_all else "changed")) == "changed":
            selection = select(*configs)
            configs = [selection.new, selection.old]
        checkpoint = None
        if checkpoint_path is not None:
            everything = "all" if selection is None else "changed"
            question = [recorded.identity(), *(c.fingerprint for c in configs), everything]
            checkpoint = Checkpoint(checkpoint_path, "\n".join(question), goes_on=resume)
        with progress("回测 backtest") as show, ExitStack() as files_open:
            scores = None if scores_path is None else files_open.enter_context(ScoreFile(scores_path))
            span, outcomes, history = backtest(
                configs, recorded, show=show, scores=scores, selection=selection, checkpoint=checkpoint
            )
        for problem in history.problems[:20]:
            click.echo(str(problem), err=True)
        report = build(
            span,
            (str(config_path), outcomes[0]),
            None if against_path is None else (str(against_path), outcomes[1]),
            history,
            source=source,
            labels=labels,
            budget=bounds,
            officers=officers,
            early_ms=round(early_s * 1000),
            with_plots=report_path is not None,
            selection=selection,
        )
    if alarms_path is not None:
        write_alarms(alarms_path, outcomes[0].occurrences)
    if report_path is not None:
        report_path.write_text(page(report, LocalTime(config.timezone)), encoding="utf-8")
    if as_json:
        print_json(as_dict(report))
    else:
        _print(report)
        for path in (alarms_path, scores_path, report_path):
            if path is not None:
                click.echo(f"→ {path}")
    if report.overruns:
        raise click.exceptions.Exit(1)


def labels_in(path: Path, configs: list[Any]) -> tuple[Label, ...]:
    """Read a labels file for the places of these configurations."""
    from rules.backtest import read_labels

    from .export import Instant

    def instant(text: str) -> int:
        try:
            return Instant().convert(text, None, None)
        except click.BadParameter as error:
            raise ValueError(error.message) from error

    places = {s.id for c in configs for s in c.sensors} | {site for c in configs for site in c.sites}
    return read_labels(path, instant, places)


def _print(report: Report) -> None:
    from rules.backtest import Change, Verdict
    from rules.because import duration, number
    from rules.report import CHANGE_WORDS, verdict_of

    verdict = verdict_of(report)
    click.echo(f"{verdict.zh}\n{verdict.en}")
    if report.ran is not None:
        click.echo(f"{report.ran.said.zh}\n{report.ran.said.en}")
    parts = [report.new] if report.old is None else [report.old, report.new]

    def line(name: str, tell: Any) -> list[str]:
        return [name, *(str(tell(p)) for p in parts)]

    rows = [
        line("告警 alarms", lambda p: p.load.alarms),
        line("每日 a day", lambda p: number(p.load.per_day)),
        line("时长 hours in alarm", lambda p: number(p.hours)),
        line("每10分钟人均 per 10 min", lambda p: number(p.load.mean_per_period)),
        line("最忙10分钟 busiest 10 min", lambda p: number(p.load.peak_per_period)),
        line("洪水占比 in flood", lambda p: f"{100 * p.load.flood_share:.2f} %"),
        line("抖动源 chattering", lambda p: len(p.load.chattering)),
        line("常立 over 24 h", lambda p: p.load.standing),
    ]
    if report.new.orders is not None:
        rows.append(line("工单 work orders", lambda p: p.orders))
    if report.new.judged is not None:
        rows += [
            line("捕获 caught", lambda p: f"{p.judged.count(Verdict.CAUGHT)}/{len(p.judged.findings)}"),
            line("漏报 missed", lambda p: p.judged.count(Verdict.MISSED)),
            line("无标注 unlabelled", lambda p: len(p.judged.unlabelled)),
            line("提前量 median lead", lambda p: _lead(p, duration)),
        ]
    if max(len(p.load.by_day) for p in parts) > 1:
        rows.append(line("逐日 by day", lambda p: _spark(p.load.by_day)))
    head = ["", "新 new"] if report.old is None else ["", "旧 old", "新 new"]
    print_table(head, rows, empty="")
    if report.old is not None:
        counts = {c: sum(d.change is c for d in report.changes) for c in Change}
        click.echo(" · ".join(f"{CHANGE_WORDS[c].zh} {CHANGE_WORDS[c].en} {n}" for c, n in counts.items()))
    shown = [[r.rule, r.scope, r.level.colour, r.alarms, number(r.hours)] for r in report.new.rows[:ROWS_SHOWN]]
    if shown:
        click.echo("")
        print_table(["规则 rule", "范围 scope", "最高 worst", "告警 alarms", "时长 h"], shown, empty="")
    if len(report.new.rows) > ROWS_SHOWN:
        click.echo(f"… {len(report.new.rows) - ROWS_SHOWN} 行未列 more rows: --json, --report")
    if report.unknown:
        click.echo(
            f"{len(report.unknown)} 个测点未配置 sensors are not configured: {', '.join(list(report.unknown)[:5])}"
        )
    for overrun in report.overruns:
        click.echo(f"超出预算 over budget: {overrun}")


def _lead(part: Part, duration: Any) -> str:
    lead_ms = part.judged.median_lead_ms if part.judged is not None else None
    return "–" if lead_ms is None else f"{'' if lead_ms >= 0 else '−'}{duration(abs(lead_ms) / 1000)}"


def _spark(days: tuple[int, ...]) -> str:
    step = -(-len(days) // DAYS_SHOWN)
    grouped = [sum(days[k : k + step]) for k in range(0, len(days), step)]
    top = max(grouped) or 1
    return "".join(BLOCKS[(len(BLOCKS) - 1) * n // top] for n in grouped)
