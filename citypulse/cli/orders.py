"""`citypulse orders`: list work orders and move one on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from .show import data_option, finish, json_option, level_text, print_json, print_table


@click.group(invoke_without_command=True)
@data_option
@json_option
@click.option("--all", "show_all", is_flag=True, help="Also those that have ended")
@click.option("--team", default="", help="Dispatched to this team")
@click.option("--state", default="", help="In this state")
@click.option("--limit", default=200, show_default=True, type=click.IntRange(1, 100_000))
@click.pass_context
def command(
    ctx: click.Context, data_dir: Path, as_json: bool, show_all: bool, team: str, state: str, limit: int
) -> None:
    """List work orders, most serious and newest first."""
    if ctx.invoked_subcommand is not None:
        return
    from citypulse.reading_room import ReadingRoom

    with ReadingRoom.beside(data_dir) as room:
        rows = room.orders(open_only=not show_all, limit=limit, team=team, state=state)
    if as_json:
        print_json(rows)
        return
    print_table(
        ("级别 level", "编号 id", "状态 state", "对象 asset", "事由 cause", "班组 team", "期限 due", "返工 rework"),
        (
            (
                level_text(o["level"]),
                o["id"],
                o["state"],
                o["asset"],
                o["cause"],
                o["team"],
                o.get("due_at", ""),
                o["rework_count"] or "",
            )
            for o in rows
        ),
        empty="没有在办工单 no open order",
    )


@command.command()
@click.argument("order_id")
@click.argument("verb")
@click.option("--set", "pairs", multiple=True, metavar="KEY=VALUE", help="What the step needs; VALUE may be JSON")
@data_option
@json_option
def step(order_id: str, verb: str, pairs: tuple[str, ...], data_dir: Path, as_json: bool) -> None:
    """Take one step with an order: accept, arrive, report, check, close …"""
    from .client import Client

    data: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise click.UsageError(f"--set takes KEY=VALUE, not {pair!r}")
        try:
            data[key] = json.loads(value)
        except ValueError:
            data[key] = value
    finish(Client.of(data_dir).post(f"/api/v1/orders/{order_id}/{verb}", data), as_json=as_json)
