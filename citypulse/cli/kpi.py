"""`citypulse kpi`: the indicators of a period, each with its formula and the orders or alarms behind it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .export import FAR_MS, Instant
from .show import data_option, json_option, print_json, print_table

ROWS_MAX = 1_000_000


@click.command()
@click.option("--since", "since_ms", default=0, type=Instant(), help="From this instant [the beginning]")
@click.option("--until", "until_ms", default=None, type=Instant(), help="Up to this instant [now]")
@click.option("--show", "wanted", default="", help="List the ids that one indicator was computed from")
@data_option
@json_option
def command(since_ms: int, until_ms: int | None, wanted: str, data_dir: Path, as_json: bool) -> None:
    """Compute the indicators of a period from the record. Works beside a running service."""
    from citypulse.views import plain

    report = _computed(since_ms, until_ms, data_dir)
    figures = [*report["orders"], *report["alarms"]]
    if wanted:
        figure = next((f for f in figures if f.id == wanted), None)
        if figure is None:
            raise click.UsageError(f"no indicator {wanted!r}; there are {', '.join(f.id for f in figures)}")
        if as_json:
            print_json(plain(figure))
        else:
            click.echo(f"{figure.name.zh} {figure.name.en}: {written(figure.value, figure.unit)}")
            click.echo(f"  {figure.formula.zh} | {figure.formula.en}")
            click.echo(f"  分子 numerator: {' '.join(figure.numerator) or '—'}")
            click.echo(f"  分母 denominator: {' '.join(figure.denominator) or '—'}")
        return
    if as_json:
        print_json(plain(report))
        return
    print_table(
        ("指标 indicator", "值 value", "分子/分母 of", "公式 formula", "id"),
        (
            (
                f"{f.name.zh} {f.name.en}",
                written(f.value, f.unit),
                f"{len(f.numerator)}/{len(f.denominator)}" if f.denominator else str(len(f.numerator)),
                f"{f.formula.zh} | {f.formula.en}",
                f.id,
            )
            for f in figures
        ),
        empty="没有数据 nothing to compute from",
    )
    click.echo(f"公式版本 formulas {report['formulas']}; --show ID 列出依据 lists what a figure rests on", err=True)


def _computed(since_ms: int, until_ms: int | None, data_dir: Path) -> dict[str, Any]:
    from alerts.kpi import report
    from citypulse.clock import SystemClock
    from citypulse.ledger import Ledger
    from citypulse.reloading import config_in_force
    from citypulse.vocabulary import extensions

    ledger = Ledger.open(data_dir, read_only=True)
    try:
        last_ms = min(until_ms if until_ms is not None else SystemClock().now_ms(), FAR_MS)
        alarms = ledger.alarms(state="all", until_ms=last_ms, limit=ROWS_MAX)
        orders = [o for o in ledger.orders(limit=ROWS_MAX) if o.opened_ms < last_ms]
        first_ms = since_ms or min([a.raised_wall_ms for a in alarms] + [o.opened_ms for o in orders] + [last_ms])
        events = (row.event for row in ledger.events(limit=10 * ROWS_MAX))
        config, _ = config_in_force(ledger, last_ms, extensions())  # it says when a standing alarm is stale
        return report(alarms, orders, events, first_ms, last_ms, config.alarms if config is not None else None)
    finally:
        ledger.close()


def written(value: float | None, unit: str) -> str:
    """Write a figure for people: shares in percent, times in minutes or hours."""
    if value is None:
        return "—"
    if unit == "1":
        return f"{value:.1%}"
    if unit == "s":
        return f"{value:.0f} s" if value < 120 else f"{value / 60:.1f} min" if value < 7200 else f"{value / 3600:.1f} h"
    return f"{value:.3g} {unit}"
