"""`citypulse suggest RULE`: where a limit could stand, what each place would cost, and the patch that puts it there."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .backtest import labels_in
from .recorded import CONFIG, opened, progress, readings_options
from .show import json_option, print_json, print_table

if TYPE_CHECKING:
    from citypulse.backtest.suggest import Suggestion

BAR = 24


@click.command()
@click.argument("rule")
@click.option("--config", "config_path", required=True, type=CONFIG, help="The configuration the rule stands in")
@readings_options
@click.option(
    "--labels", "labels_path", type=CONFIG, help="Incidents that were real: CSV sensor_or_site,start,end[,name]"
)
@click.option("--early", "early_s", default=1800.0, show_default=True, help="Seconds before an incident that count")
@click.option(
    "--level", type=click.Choice(["red", "orange", "yellow", "blue"]), help="Which limit [default: the mildest]"
)
@click.option(
    "--side",
    type=click.Choice(["low", "high"]),
    help="Which, where the level has a limit on both sides [default: both]",
)
@click.option("--alarms-per-day", "per_day_max", type=float, help="Suggest only what stays within this")
@json_option
def command(
    rule: str,
    config_path: Path,
    files: tuple[Path, ...],
    more: tuple[Path, ...],
    data_dir: Path | None,
    store_text: str,
    since_ms: int,
    until_ms: int,
    labels_path: Path | None,
    early_s: float,
    level: str | None,
    side: str | None,
    per_day_max: float | None,
    as_json: bool,
) -> None:
    """Try many places for one limit over recorded readings: alarms a day against incidents caught, with confidence.

    With labels the limit that catches most with fewest alarms is suggested; without, the mildest within
    --alarms-per-day. Where a level has limits on both sides, both are tried and share --alarms-per-day evenly. The
    patch is printed last.
    """
    from citypulse.backtest.history import FileHistory, OutOfOrderError
    from citypulse.backtest.suggest import patch_of_all, suggest
    from citypulse.config import load_city
    from citypulse.vocabulary import extensions

    config = load_city(config_path, extensions())
    labels = None if labels_path is None else labels_in(labels_path, [config])
    with opened((*files, *more), data_dir, store_text, since_ms=since_ms, until_ms=until_ms) as (history, _source):
        options = {
            "level": level,
            "side": side,
            "labels": labels,
            "per_day_max": per_day_max,
            "early_ms": round(early_s * 1000),
        }
        with progress(f"建议 suggest {rule}") as show:
            try:
                found = suggest(config, rule, history, show=show, **options)  # type: ignore[arg-type]
            except OutOfOrderError:
                if not isinstance(history, FileHistory):
                    raise
                found = suggest(config, rule, history.in_memory(), show=show, **options)  # type: ignore[arg-type]
    if as_json:
        told = [_as_dict(one) for one in found]
        # One limit is told as it always was; two have the patch that moves both.
        print_json(told[0] if len(told) == 1 else {"rule": rule, "limits": told, "patch": patch_of_all(found)})
    else:
        for one in found:
            _print(one)
        if patch := patch_of_all(found):
            click.echo(f"\n建议写入 put this into the configuration:\n\n{patch}", nl=False)
        if any(one.chosen is None for one in found):
            click.echo("\n没有建议：给出 --labels 或 --alarms-per-day no suggestion: give --labels or --alarms-per-day")


def _as_dict(found: Suggestion) -> dict[str, Any]:
    from citypulse.backtest.suggest import side_of

    return {
        "rule": found.rule.id,
        "level": found.limit.level.colour,
        "side": found.limit.side.value,
        "end": side_of(found.limit),
        "unit": found.unit,
        "days": found.days,
        "readings": found.readings,
        "points": [asdict(p) for p in found.points],
        "chosen": found.chosen,
        "patch": found.patch,
    }


def _print(found: Suggestion) -> None:
    from citypulse.backtest.suggest import written
    from rules.because import number

    limit = found.limit
    click.echo(
        f"{found.rule.name.zh} {found.rule.name.en} · {limit.level.colour_zh} {limit.level.colour} {limit.side.sign}"
        f" · {number(found.days)} 天 days · {found.readings:,} 条读数 readings"
    )
    top = max((p.per_day for p in found.points), default=0) or 1
    has_labels = bool(found.points and found.points[0].incidents)
    rows = []
    for k, p in enumerate(found.points):
        mark = ("→" if k == found.chosen else "") + ("现 now" if p.is_current else "")
        row = [
            mark,
            written(found.rule, p.value, found.unit),
            "█" * round(BAR * p.per_day / top),
            f"{p.per_day:.2g} ({p.per_day_low:.2g}–{p.per_day_high:.2g})",
            f"{p.hours_per_day:.2g}",
        ]
        if has_labels:
            row += [
                f"{p.caught}/{p.incidents} ({100 * p.caught_low:.0f}–{100 * p.caught_high:.0f} %)",
                str(p.unlabelled),
            ]
        rows.append(row)
    head = ["", "限值 limit", "", "每日告警 alarms a day (95 %)", "每日时长 h/d"]
    if has_labels:
        head += ["捕获 caught (95 %)", "无标注 unlabelled"]
    print_table(head, rows, empty="没有候选 no candidates")
