"""`citypulse exercise`: start a drill, stop it, see how it went."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from .show import data_option, finish, json_option, local, print_json, print_table, zone_of

VERDICTS = {"met": "按时 met", "late": "超时 late", "missed": "缺失 missed", "open": "进行中 open"}


@click.group(invoke_without_command=True)
@data_option
@json_option
@click.pass_context
def command(ctx: click.Context, data_dir: Path, as_json: bool) -> None:
    """List drills, newest first."""
    if ctx.invoked_subcommand is not None:
        return
    from .client import Client

    rows = Client.of(data_dir).get("/api/v1/exercises")
    if as_json:
        print_json(rows)
        return
    zone = zone_of(data_dir)
    print_table(
        ("编号 id", "状态 state", "名称 name", "开始 started", "最迟结束 ends", "谁 who"),
        (
            (e["id"], e["state"], e["name"], local(e["started_ms"], zone), local(e["ends_ms"], zone), e["creator"])
            for e in rows
        ),
        empty="没有演练 no exercise yet",
    )


@command.command()
@click.option("--site", "sites", multiple=True, help="Site that takes part; repeat for several")
@click.option("--rule", default="", help="Rule that alarms [default: the site's first that opens an order]")
@click.option("--level", default="orange", show_default=True, type=click.Choice(["red", "orange", "yellow", "blue"]))
@click.option("--script", type=click.File(encoding="utf-8"), help="JSON: [{at_s, kind, rule, scope, level, value}]")
@click.option("--minutes", type=click.IntRange(1, 24 * 60), help="Ends by itself after so long")
@click.option("--channel", "channels", multiple=True, help="Only by this one of the drills' channels")
@click.option("--name", default="", help="What it is called")
@click.option("--reason", required=True)
@data_option
@json_option
def start(data_dir: Path, as_json: bool, script: Any, **terms: Any) -> None:
    """Start a drill: scripted alarms run the whole loop, marked [演练], told only to those who take part."""
    from .client import Client

    body = {name: list(value) if isinstance(value, tuple) else value for name, value in terms.items() if value}
    if script is not None:
        try:
            body["script"] = json.load(script)
        except ValueError as error:
            raise click.UsageError(f"--script is not JSON: {error}") from None
    finish(Client.of(data_dir).post("/api/v1/exercises", body), as_json=as_json)


@command.command()
@click.argument("exercise_id")
@click.option("--reason", default="", help="Why before its time")
@data_option
@json_option
def stop(exercise_id: str, reason: str, data_dir: Path, as_json: bool) -> None:
    """End a drill now: its alarms and orders leave the board."""
    from .client import Client

    body = {"reason": reason} if reason else {}
    finish(Client.of(data_dir).post(f"/api/v1/exercises/{exercise_id}/stop", body), as_json=as_json)


@command.command()
@click.argument("exercise_id")
@data_option
@json_option
def score(exercise_id: str, data_dir: Path, as_json: bool) -> None:
    """Say how a drill went: each step in time, late or missed. Exit 1 when one was late or missed."""
    from .client import Client

    found = Client.of(data_dir).get(f"/api/v1/exercises/{exercise_id}")
    if "score" not in found:
        finish(found, as_json=as_json)
        return
    marks = found["score"]
    if as_json:
        print_json(found)
    else:
        print_table(
            ("告警 alarm", "步骤 step", "时限 limit", "用时 took", "结果 verdict", "谁 who"),
            (
                (
                    sheet["key"],
                    f"{m['name']['zh']} {m['name']['en']}",
                    f"{m['limit_s'] / 60:.0f} min",
                    "—" if m["took_s"] is None else f"{m['took_s'] / 60:.1f} min",
                    VERDICTS[m["verdict"]],
                    m["by"],
                )
                for sheet in marks["sheets"]
                for m in sheet["marks"]
            ),
            empty="脚本还没有告警 nothing has been raised yet",
        )
        value = "—" if marks["value"] is None else f"{marks['value']:.0%}"
        counts = f"{marks['met']} 按时 met, {marks['late']} 超时 late, {marks['missed']} 缺失 missed"
        click.echo(f"得分 score {value}: {counts}")
    if marks["late"] or marks["missed"]:
        raise click.exceptions.Exit(1)
