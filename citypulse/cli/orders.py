"""`citypulse orders`: list work orders, show one with its clocks and lamps, report by hand, take any step."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from alerts.orders import fields as order_fields
from citypulse.model import OrderState

from .named import near_order
from .show import (
    chosen_from,
    cut_note,
    data_option,
    finish,
    json_option,
    level_text,
    local,
    print_json,
    print_table,
)

LAMPS = ("", "🟡 50%", "🟠 80%", "🔴 100%")


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
    """List work orders, most serious and newest first; `show` one; take a step with one by its verb."""
    if ctx.invoked_subcommand is not None:
        return
    from citypulse.reading_room import ReadingRoom

    chosen_from(state, (s.value for s in OrderState), "state")
    with ReadingRoom.beside(data_dir) as room:
        zone = room.timezone()
        rows = room.orders(open_only=not show_all, limit=limit, team=team, state=state)
    if as_json:
        print_json(rows)
        return
    print_table(
        (
            "级别 level",
            "编号 id",
            "状态 state",
            "对象 asset",
            "事由 cause",
            "班组 team",
            "期限 due",
            "灯 lamp",
            "返工 rework",
        ),
        (
            (
                level_text(o["level"]),
                o["id"],
                o["state"] if o["kind"] == "dispatch" else f"{o['state']} (抄告 notice)",
                o["asset"],
                o["cause"],
                o["team"],
                local(o["due_ms"], zone),
                lamp_text(o["lamps"]),
                o["rework_count"] or "",
            )
            for o in rows
        ),
        empty="没有在办工单 no open order",
    )
    cut_note(len(rows), limit)


def lamp_text(lamps: int) -> str:
    """Write how many lamps have lit; beyond the red one, how many steps of the responsibility chain."""
    return LAMPS[lamps] if lamps < len(LAMPS) else f"🔴 督办 +{lamps - len(LAMPS) + 1}"


@command.command()
@click.argument("order_id")
@data_option
@json_option
def show(order_id: str, data_dir: Path, as_json: bool) -> None:
    """Show one order: its state, what may be done, and every clock with what it used, its deadline and its lamps.

    The clocks stand at the service's own time; where none runs, at the last instant of the record.
    """
    from citypulse.reading_room import ReadingRoom

    from .client import Client, NotRunningError

    try:
        now_ms, note = Client.of(data_dir).now_ms(), ""
    except NotRunningError:
        now_ms, note = None, "服务未运行，时钟截至最后记录 no service runs: clocks as of the end of the record, "
    with ReadingRoom.beside(data_dir) as room:
        as_of_ms = room.last_ms() if now_ms is None else now_ms
        order = room.order(order_id, now_ms=as_of_ms)
        zone = room.timezone()
    if order is None:
        click.echo(f"没有此工单 no order {order_id}{near_order(data_dir, order_id)}", err=True)
        raise click.exceptions.Exit(1)
    if as_json:
        print_json(order)
        return
    click.echo(f"{order['id']}  {order['colour']}  {order['state']}  {order['asset']}  {order['cause']}")
    if order["recurrence_of"]:
        click.echo(f"复发自 recurrence of {order['recurrence_of']}")
    click.echo(f"可做 allowed: {', '.join(order['allowed']) or '–'}")
    sla = order["sla"] or {"clocks": [], "paused_s": 0.0, "is_on_time": None}
    print_table(
        ("时钟 clock", "已用 used", "限 limit", "计时 counted in", "期限 due", "状况 now", "灯 lamp"),
        (_clock_row(c, zone) for c in sla["clocks"]),
        empty="没有时钟 no clock",
    )
    if note:
        click.echo(note + local(as_of_ms, zone), err=True)
    click.echo(f"暂停 paused {sla['paused_s']:.0f} s · 按期 on time: {_ON_TIME[sla['is_on_time']]}")


_ON_TIME = {None: "未反馈 not reported yet", True: "是 yes", False: "否 no"}


def _clock_row(clock: dict[str, Any], zone: str) -> tuple[str, ...]:
    now = "已停 stopped" if clock["stopped_ms"] is not None else "暂停 paused" if clock["is_paused"] else "运行 running"
    return (
        f"{clock['clock']} {clock['name']['zh']} {clock['name']['en']}",
        f"{clock['elapsed_s']:.0f} s",
        f"{clock['limit_s']:.0f} s",
        "工作时间 working time" if clock["is_work"] else "自然时间 natural time",
        local(clock["due_ms"], zone) or "–",
        now + (" · 超期 overdue" if clock["is_breached"] else ""),
        lamp_text(clock["lamps"]),
    )


def _pairs(pairs: tuple[str, ...]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise click.UsageError(f"--set takes KEY=VALUE, not {pair!r}")
        try:
            data[key] = json.loads(value)
        except ValueError:
            data[key] = value
    return data


_SET = click.option("--set", "pairs", multiple=True, metavar="KEY=VALUE", help="Any other field; VALUE may be JSON")


@command.command()
@click.argument("order_id")
@click.argument("verb")
@_SET
@data_option
@json_option
def step(order_id: str, verb: str, pairs: tuple[str, ...], data_dir: Path, as_json: bool) -> None:
    """Take one step with an order by any verb: accept, arrive, report, check, close …"""
    from .client import Client

    finish(Client.of(data_dir).post(f"/api/v1/orders/{order_id}/{verb}", _pairs(pairs)), as_json=as_json)


def _value(field: order_fields.Field, text: str) -> Any:
    """Read what stands on the command line as the field's kind; an instant may be written as a local ISO time."""
    if field.kind in {"string", "photo"}:
        return text
    if field.name.endswith("_ms") and not text.lstrip("-").isdigit():
        try:
            return round(datetime.fromisoformat(text).astimezone().timestamp() * 1000)
        except ValueError:
            raise click.UsageError(
                f"{field.name} must be epoch ms or a time like 2026-10-01T08:30, not {text!r}"
            ) from None
    if field.kind in {"position", "items"}:
        text = text if text.startswith("[") else f"[{text}]"
    try:
        return json.loads(text)
    except ValueError:
        raise click.UsageError(f"{field.name} must be a {field.kind}, not {text!r}") from None


def _run_verb(path: str, fields: tuple[order_fields.Field, ...]) -> Callable[..., None]:
    def run(data_dir: Path, as_json: bool, pairs: tuple[str, ...], order_id: str = "", **given: Any) -> None:
        from .client import Client

        data = {f.name: _value(f, given[f.name]) for f in fields if given[f.name] is not None} | _pairs(pairs)
        answer = Client.of(data_dir).post(path.format(order_id), data)
        if not as_json:
            for contact in answer.get("contacts", ()):
                click.echo(contact)
        finish(answer, as_json=as_json)

    return run


def _option(field: order_fields.Field) -> Any:
    needed = f" [needed: {', '.join(field.needed_by)}]" if field.needed_by else ""
    name = field.name.removesuffix("_ms").replace("_", "-")
    kind = click.Choice(field.choices) if field.choices else click.STRING
    return click.option(f"--{name}", field.name, default=None, type=kind, help=field.about + needed)


def _add(verb: str, path: str) -> None:
    fields = order_fields.fields_of(verb)
    run: Any = _run_verb(path, fields)
    for field in reversed(fields):
        run = _option(field)(run)
    run = json_option(data_option(_SET(run)))
    if "{}" in path:
        run = click.argument("order_id")(run)
    command.command(name=verb, help=order_fields.about(verb))(run)


_add("new", "/api/v1/orders")
for _verb in order_fields.verbs():
    _add(_verb, f"/api/v1/orders/{{}}/{_verb}")
