"""`citypulse why RULE SCOPE`: why a rule does, or does not, alarm on a sensor, site or gateway, now or in the past."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from citypulse.clock import iso

from .export import Instant
from .show import data_option, json_option, local, print_json, zone_of

STATES = {"normal": "正常", "pending": "等待延时", "active": "告警", "clearing": "等待恢复"}
SIGHT = {"good": "数据正常", "blind": "数据中断", "stale": "告警中数据中断"}
SEEN = {"good": "可信", "suspect": "存疑", "loss": "缺失"}
PERIODS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
COLOURS = {"red": "红", "orange": "橙", "yellow": "黄", "blue": "蓝"}


_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")


@click.command()
@click.argument("rule")
@click.argument("scope")
@click.option("--at", "at_ms", type=Instant(), help="As it stood at this instant; works without a service too")
@click.option("--since", "since_ms", type=Instant(), help="With --at: re-run readings from here on [30 days before]")
@data_option
@json_option
def command(rule: str, scope: str, at_ms: int | None, since_ms: int | None, data_dir: Path, as_json: bool) -> None:
    """Explain rule RULE on SCOPE (a sensor, site or gateway id): samples, limits, timers, what hides it, file:line."""
    if since_ms is not None and at_ms is None:
        raise click.UsageError("--since says how far back --at looks; give --at as well")
    view = _asked(rule, scope, at_ms, since_ms, data_dir)
    if "latches" not in view:
        cure = "规则未用于此对象; 用 citypulse explain 查看对象上的规则 | `citypulse explain SENSOR` lists its rules"
        click.echo(f"{view.get('message', 'no answer')}: {cure}", err=True)
        raise click.exceptions.Exit(1)
    if as_json:
        print_json(view)
        return
    zone = zone_of(data_dir)
    click.echo("\n".join(in_local_time(line, zone) for line in lines_of(view)))


def _asked(rule: str, scope: str, at_ms: int | None, since_ms: int | None, data_dir: Path) -> dict[str, Any]:
    """Ask the service; about the past, look into its data folder where none runs."""
    from .client import Client, NotRunningError

    instants = {"at_ms": at_ms, "since_ms": since_ms}
    try:
        service = Client.of(data_dir)
    except NotRunningError:
        if at_ms is None:
            raise
        return _beside(rule, scope, at_ms, since_ms, data_dir)
    query = {name: value for name, value in instants.items() if value is not None}
    return dict(service.get("/api/v1/why", rule=rule, scope=scope, **query))


def _beside(rule: str, scope: str, at_ms: int, since_ms: int | None, data_dir: Path) -> dict[str, Any]:
    from citypulse.evidence.why import HISTORY_S, why_then
    from citypulse.ledger import Ledger
    from citypulse.model import CityConfig
    from citypulse.reloading import past_config
    from citypulse.store import open_store
    from citypulse.vocabulary import extensions

    ledger = Ledger.open(data_dir, read_only=True)
    try:

        def config_at(instant_ms: int) -> CityConfig | None:
            return past_config(ledger, ledger.config_at(instant_ms), extensions())

        store = open_store("duckdb", data_dir)
        try:
            since_ms = at_ms - HISTORY_S * 1000 if since_ms is None else since_ms
            view = why_then(ledger, store, config_at, rule=rule, scope=scope, at_ms=at_ms, since_ms=since_ms)
        finally:
            store.close()
    finally:
        ledger.close()
    return view if view is not None else {"message": f"no rule {rule!r} on {scope!r} at that time"}


def lines_of(view: dict[str, Any]) -> list[str]:
    """Write an explanation as lines, 中文 and English."""
    name = view["name"]
    colour = view["colour"]
    stand = f"{COLOURS[colour]}级告警 in alarm, {colour}" if colour else "无告警 not in alarm"
    lines = [] if "at" not in view else [_then(view)]
    lines += [
        f"{view['rule']}  {name['zh']} {name['en']}  →  {view['scope']}: {stand}",
        f"  规则 rule     版本 version {view['version']}, {view['origin']} ({view['detector']})",
    ]
    if view["source"]:
        lines.append(f"  依据 source   {view['source']}")
    last = f"{view['feature']['zh']} | {view['feature']['en']}, {view['last_at']}" if view["last_at"] else "— none yet"
    lines.append(f"  最新 latest   {last}")
    lines.append(f"  质量 quality  {SIGHT[view['sight']]} {view['sight']}; 缺数策略 gap: {view['gap']}")
    lines += [f"  限值 limit    {text}" for text in _limits(view)]
    lines += [f"  告警 alarm    {text}" for text in _alarm(view["alarm"])]
    lines += [f"  抑制源 may be hidden by  {parent}" for parent in view["inhibited_by"]]
    if view["samples"]:
        unit, factor = _told_in(view, view["unit"])
        lines.append(f"  样本 samples  {unit}")
        for s in view["samples"]:
            x = "—" if s["x"] is None else format(s["x"] * factor, ".6g")
            lines.append(f"    {s['time_at']}  {x:>10}  {SEEN[s['seen']]} {s['seen']}")
    return lines


def _then(view: dict[str, Any]) -> str:
    return (
        f"当时 at {view['at']}: 重放 {view['readings']} 个读数 re-run from {view['since_at']},"
        f" 配置 configuration {view['config'][:12]}"
    )


def in_local_time(line: str, zone: str) -> str:
    """Write every UTC instant of a line in the city's time, with its offset."""

    def written(found: re.Match[str]) -> str:
        return local(round(datetime.fromisoformat(found[0]).timestamp() * 1000), zone)

    return _INSTANT.sub(written, line)


def _told_in(view: dict[str, Any], unit: str) -> tuple[str, float]:
    """Return the unit in which a rate is told, as its newest value is, and how many of it make one of `unit`."""
    base = unit.removesuffix("/s")
    said = str(view["feature"]["en"])
    for period, factor in PERIODS.items():
        if base != unit and said.endswith(f"{base}/{period}"):
            return f"{base}/{period}", factor
    return unit, 1.0


def _limits(view: dict[str, Any]) -> Iterator[str]:
    for latch in view["latches"]:
        unit, factor = _told_in(view, latch["unit"])
        state = f"{STATES[latch['state']]} {latch['state']}"
        timers = ""
        if latch["since_at"]:
            timers += f", 始于 since {latch['since_at']}"
        if latch["good_at"]:
            timers += f", 转好 good since {latch['good_at']}"
        if latch["due_at"]:
            timers += f", 到点 due {latch['due_at']}"
        delays = f"{latch['on_delay_s']:g}/{latch['off_delay_s']:g} s"
        yield (
            f"{COLOURS[latch['colour']]} {latch['colour']} {latch['sign']} {latch['limit'] * factor:g} {unit}"
            f" (回差 deadband {latch['deadband'] * factor:g}, 延时 delays {delays}): {state}{timers}  {latch['origin']}"
        )


def _alarm(alarm: dict[str, Any] | None) -> Iterator[str]:
    if alarm is None:
        return
    acked = f"已确认 acknowledged by {alarm['acked_by']}" if alarm["is_acked"] else "未确认 not acknowledged"
    condition = f"{alarm['condition']}, " if "condition" in alarm else ""
    yield f"{alarm['id']}  ISA {alarm['isa']}, {condition}{acked}, 发生 raised {alarm['raised_at']}"
    for cause in alarm["suppressed_by"]:
        yield f"被抑制 hidden by {cause}"
    for cause in alarm["stale_by"]:
        yield f"看不见现场 out of sight because of {cause}"
    if alarm["shelved_until_at"]:
        yield f"搁置至 shelved until {alarm['shelved_until_at']}"
    if alarm["is_out_of_service"]:
        yield "停用 out of service"
    if alarm["order_id"]:
        yield f"工单 work order {alarm['order_id']}"
    for line in alarm.get("events", ()):
        yield f"  {iso(line['wall_ms'])}  {line['kind']}: {line['because']}"
