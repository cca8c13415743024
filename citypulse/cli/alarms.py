"""`citypulse alarms`: list alarms, show one's record, acknowledge, shelve, reset."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from . import named
from .named import SHOWN
from .show import cut_note, data_option, finish, json_option, level_text, local, print_json, print_table

DOMAINS = ("water", "road", "gas", "flood")


@click.group(invoke_without_command=True)
@data_option
@json_option
@click.option("--all", "show_all", is_flag=True, help="Also those that have ended")
@click.option(
    "--domain", default="", type=click.Choice(["", *DOMAINS]), metavar="DOMAIN", help="water, road, gas or flood"
)
@click.option("--state", default="", metavar="STATE", help="Only those in this state, for example out_of_service")
@click.option("--limit", default=200, show_default=True, type=click.IntRange(1, 100_000))
@click.option("--grouped", is_flag=True, help="As situations: by cause, asset and area, worst first")
@click.pass_context
def command(
    ctx: click.Context,
    data_dir: Path,
    as_json: bool,
    show_all: bool,
    domain: str | None,
    state: str,
    limit: int,
    grouped: bool,
) -> None:
    """List alarms, most serious and newest first."""
    if ctx.invoked_subcommand is not None:
        return
    from citypulse.ledger import ALARM_STATES
    from citypulse.reading_room import ReadingRoom

    if state and state not in ALARM_STATES:
        raise click.UsageError(f"没有此状态 no state {state!r}; there are {', '.join(ALARM_STATES)}")
    if grouped:
        from .situations import show

        show(data_dir, as_json=as_json, limit=limit)
        return
    with ReadingRoom.beside(data_dir) as room:
        rows = room.alarms(open_only=not show_all, limit=limit, domain=domain or "", since_ms=None, state=state)
        zone = room.timezone()
    if as_json:
        print_json(rows)
        return
    print_table(
        ("级别 level", "ISA", "对象 where", "原因 because", "时间 raised", "工单 order", "id"),
        (
            (
                level_text(a["level"]),
                a["isa"] + (" stale" if a["quality"] == "stale" else ""),
                a["scope"],
                a["because_zh"].partition(";规则")[0] if sys.stdout.isatty() else a["because_zh"],
                local(a["raised_ms"], zone),
                a["order_id"],
                a["id"][:SHOWN] if sys.stdout.isatty() else a["id"],
            )
            for a in rows
        ),
        empty="没有需要处理的告警 no alarm needs you",
    )
    cut_note(len(rows), limit)


@command.command()
@click.argument("alarm_id")
@data_option
@json_option
def show(alarm_id: str, data_dir: Path, as_json: bool) -> None:
    """Show one alarm: why, how bad it has been, what may be done, what hides it and what it hides."""
    from citypulse.reading_room import ReadingRoom

    with ReadingRoom.beside(data_dir) as room:
        alarm = room.alarm(named.alarm_id(data_dir, alarm_id, open_only=False))
    if alarm is None:
        click.echo(f"没有此告警 no alarm {alarm_id}", err=True)
        raise click.exceptions.Exit(1)
    if as_json:
        print_json(alarm)
        return
    worst = "–" if alarm["peak_value"] is None else f"{alarm['peak_value']:g}"
    click.echo(f"{alarm['id']}  {alarm['colour']}  {alarm['isa']}  {alarm['scope']}  {alarm['rule']}")
    click.echo(f"{alarm['because_zh']}\n{alarm['because_en']}")
    click.echo(f"最严重 worst: {alarm['peak_colour']}, {worst} · 规则 rule {alarm['rule_origin']}")
    click.echo(f"可做 allowed: {', '.join(alarm['allowed']) or '–'} · 工单 order: {alarm['order_id'] or '–'}")
    for by in alarm["hidden_by"]:
        click.echo(f"被隐藏 hidden by {by['kind']} {by['cause']}")
    if alarm["hides_count"]:
        print_table(
            ("级别 level", "隐藏的告警 hides", "规则 rule", "原因 because", "id"),
            ((level_text(a["level"]), a["scope"], a["rule"], a["because"]["zh"], a["id"]) for a in alarm["hides"]),
            empty="",
        )


@command.command()
@data_option
@json_option
@click.option("--subject", default="", help="Only this alarm or order")
@click.option("--limit", default=100_000, type=click.IntRange(1, 10_000_000))
def events(data_dir: Path, as_json: bool, subject: str, limit: int) -> None:
    """Print the record: every step of every alarm and order, in order."""
    from citypulse.reading_room import ReadingRoom

    with ReadingRoom.beside(data_dir) as room:
        rows = room.events(subject=subject, after_seq=0, limit=limit)
        zone = room.timezone()
    if as_json:
        print_json(rows)
        return
    print_table(
        ("seq", "时间 time", "主体 subject", "步骤 step", "谁 who", "原因 because"),
        ((e["seq"], local(e["event_ms"], zone), e["subject"], e["kind"], e["actor"], e["because"]) for e in rows),
        empty="记录为空 the record is empty",
    )


def _change(data_dir: Path, verb: str, alarm_id: str, data: dict[str, Any], *, as_json: bool) -> None:
    from urllib.parse import quote

    from .client import Client
    from .named import alarm_id as meant

    number = quote(meant(data_dir, alarm_id), safe="")
    finish(Client.of(data_dir).post(f"/api/v1/alarms/{number}/{verb}", data), as_json=as_json)


@command.command()
@click.argument("alarm_id")
@click.option("--note", default="", help="What you know")
@data_option
@json_option
def ack(alarm_id: str, note: str, data_dir: Path, as_json: bool) -> None:
    """Acknowledge an alarm: you have seen it and will see to it."""
    _change(data_dir, "acknowledge", alarm_id, {"note": note}, as_json=as_json)


@command.command()
@click.argument("alarm_id")
@click.option("--minutes", required=True, type=click.IntRange(1, 24 * 60))
@click.option("--reason", required=True)
@data_option
@json_option
def shelve(alarm_id: str, minutes: int, reason: str, data_dir: Path, as_json: bool) -> None:
    """Put an alarm aside for a while; it always comes back."""
    from .client import Client

    now_ms = Client.of(data_dir).get("/api/v1/time")["now_ms"]
    until_ms = now_ms + minutes * 60_000
    _change(data_dir, "shelve", alarm_id, {"until_ms": until_ms, "reason": reason}, as_json=as_json)


@command.command()
@click.argument("alarm_id")
@click.option("--reason", required=True)
@data_option
@json_option
def reset(alarm_id: str, reason: str, data_dir: Path, as_json: bool) -> None:
    """Release a latched alarm that has returned to normal and was acknowledged."""
    _change(data_dir, "reset", alarm_id, {"reason": reason}, as_json=as_json)


@command.command("out-of-service")
@click.argument("alarm_id")
@click.option("--reason", required=True)
@click.option("--minutes", type=click.IntRange(1, 366 * 24 * 60), help="Back in service by itself after so long")
@data_option
@json_option
def out_of_service(alarm_id: str, reason: str, minutes: int | None, data_dir: Path, as_json: bool) -> None:
    """Take an alarm out of service, or a point that is not in alarm: RULE|SCOPE, for example 'gas-ch4|g-0001.ch4'."""
    data: dict[str, Any] = {"reason": reason}
    if minutes is not None:
        from .client import Client

        data["until_ms"] = Client.of(data_dir).get("/api/v1/time")["now_ms"] + minutes * 60_000
    _change(data_dir, "out_of_service", alarm_id, data, as_json=as_json)


@command.command("in-service")
@click.argument("alarm_id")
@click.option("--note", default="", help="What you know")
@data_option
@json_option
def in_service(alarm_id: str, note: str, data_dir: Path, as_json: bool) -> None:
    """Put an alarm or a point back in service; what is active then is announced."""
    _change(data_dir, "in_service", alarm_id, {"note": note}, as_json=as_json)
