"""`citypulse mutes`: list silences and maintenance windows, plan, preview, extend and cancel them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from .export import Instant
from .show import data_option, finish, json_option, level_text, local, print_json, print_table, zone_of

STATES = {"waiting": "待生效 waiting", "open": "生效中 open", "over": "已结束 over"}


def _terms(command: Any) -> Any:
    """Add the options that say what a mute hides and for how long."""
    options: tuple[Callable[[Any], Any], ...] = (
        click.option("--rule", "rules", multiple=True, help="Rule id; repeat for several"),
        click.option("--domain", "domains", multiple=True, help="water, road, gas or flood"),
        click.option("--area", "areas", multiple=True, help="Street or town"),
        click.option("--site", "sites", multiple=True, help="Site id"),
        click.option("--scope", "scopes", multiple=True, help="Sensor, site or gateway id that a rule alarms on"),
        click.option(
            "--at-most",
            default="yellow",
            show_default=True,
            type=click.Choice(["red", "orange", "yellow", "blue"]),
            help="The most serious level it may hide",
        ),
        click.option("--minutes", type=click.IntRange(1, 60 * 24 * 366), help="Ends so long after its start"),
        click.option("--starts", "--starts-ms", "starts_ms", type=Instant(), help="Start [default: now]"),
        click.option("--ends", "--ends-ms", "ends_ms", type=Instant(), help="End, instead of --minutes"),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _series(command: Any) -> Any:
    """Add the options of a recurrence."""
    options: tuple[Callable[[Any], Any], ...] = (
        click.option("--repeat", "rrule", default="", help="RFC 5545, e.g. FREQ=WEEKLY;BYDAY=MO,TH"),
        click.option("--open-minutes", type=click.IntRange(1, 7 * 24 * 60), help="How long it is open each time"),
        click.option("--timezone", default="", help="[default: the city's]"),
        click.option("--days", default="", type=click.Choice(["", "workday", "holiday"]), help="By the calendar"),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _body(terms: dict[str, Any]) -> dict[str, Any]:
    body = {name: list(value) if isinstance(value, tuple) else value for name, value in terms.items() if value}
    if "open_minutes" in body:
        body["duration_s"] = body.pop("open_minutes") * 60
    return body


@click.group(invoke_without_command=True)
@data_option
@json_option
@click.option("--all", "show_all", is_flag=True, help="Also those that are over")
@click.option("--limit", default=200, show_default=True, type=click.IntRange(1, 10_000))
@click.pass_context
def command(ctx: click.Context, data_dir: Path, as_json: bool, show_all: bool, limit: int) -> None:
    """List silences and maintenance windows, newest first."""
    if ctx.invoked_subcommand is not None:
        return
    from .client import Client

    rows = Client.of(data_dir).get("/api/v1/mutes", past="true" if show_all else "false", limit=limit)
    if as_json:
        print_json(rows)
        return
    zone = zone_of(data_dir)
    print_table(
        ("编号 id", "状态 state", "最高级别 up to", "隐藏 hides", "结束 ends", "谁 who", "原因 reason"),
        (
            (
                m["id"],
                STATES[m["state"]],
                level_text(m["at_most"]),
                m["hides"],
                local(m["ends_ms"], zone),
                m["creator"],
                m["reason"],
            )
            for m in rows
        ),
        empty="没有静默或维护窗口 nothing is muted",
    )


@command.command()
@_terms
@click.option("--reason", required=True)
@data_option
@json_option
def new(data_dir: Path, as_json: bool, **terms: Any) -> None:
    """Silence alarms for a while. Red gas is never hidden; it ends by itself."""
    from .client import Client

    finish(Client.of(data_dir).post("/api/v1/mutes", _body(terms)), as_json=as_json)


@command.command()
@_terms
@_series
@click.option("--reason", required=True)
@data_option
@json_option
def window(data_dir: Path, as_json: bool, **terms: Any) -> None:
    """Plan a maintenance window, once or by recurrence."""
    from .client import Client

    finish(Client.of(data_dir).post("/api/v1/mutes/window", _body(terms)), as_json=as_json)


@command.command()
@_terms
@_series
@data_option
@json_option
def preview(data_dir: Path, as_json: bool, **terms: Any) -> None:
    """Say what a mute of these terms would have hidden in the last thirty days. Changes nothing."""
    from .client import Client

    answer = Client.of(data_dir).post("/api/v1/mutes/preview", _body(terms))
    if "alarms" not in answer:
        finish(answer, as_json=as_json)
        return
    if as_json:
        print_json(answer)
        return
    print_table(
        ("级别 level", "对象 where", "规则 rule", "历时 lasted", "隐藏 hidden", "不得隐藏 refused"),
        (
            (
                level_text(a["level"]),
                a["scope"],
                a["rule"],
                f"{a['lasted_s'] / 60:.0f} min",
                f"{a['hidden_s'] / 60:.0f} min",
                f"{a['refused']['zh']} {a['refused']['en']}" if a["refused"] else "",
            )
            for a in answer["alarms"]
        ),
        empty="近三十天没有相符的告警 it would have hidden nothing in thirty days",
    )
    click.echo(f"{answer['hidden']} 条会被隐藏 would have been hidden, {answer['refused']} 条不会 would not")


@command.command()
@click.argument("mute_id")
@click.option("--ends", "--ends-ms", "ends_ms", required=True, type=Instant(), help="The new end")
@click.option("--reason", required=True)
@data_option
@json_option
def extend(mute_id: str, ends_ms: int, reason: str, data_dir: Path, as_json: bool) -> None:
    """Let a mute end later, within its longest time."""
    from .client import Client

    body = {"ends_ms": ends_ms, "reason": reason}
    finish(Client.of(data_dir).post(f"/api/v1/mutes/{mute_id}/extend", body), as_json=as_json)


@command.command()
@click.argument("mute_id")
@click.option("--reason", required=True)
@data_option
@json_option
def cancel(mute_id: str, reason: str, data_dir: Path, as_json: bool) -> None:
    """End a mute now; what it hid and is still active is announced."""
    from .client import Client

    finish(Client.of(data_dir).post(f"/api/v1/mutes/{mute_id}/cancel", {"reason": reason}), as_json=as_json)
