"""`citypulse notices`: what was told to whom, what the providers answered; send a failed one again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .show import cut_note, data_option, finish, json_option, level_text, local, print_json, print_table

STATES = ("pending", "leased", "delivered", "failed", "dead", "obsolete", "split")


@click.group(invoke_without_command=True)
@data_option
@json_option
@click.option("--state", type=click.Choice(STATES), default=None, help="Only those in this state")
@click.option("--channel", default="", help="Only those of this channel, or sent by it")
@click.option("--subject", default="", help="Only those about this alarm or order")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 1_000_000))
@click.pass_context
def command(
    ctx: click.Context, data_dir: Path, as_json: bool, state: str | None, channel: str, subject: str, limit: int
) -> None:
    """List notices, newest first."""
    if ctx.invoked_subcommand is not None:
        return
    from citypulse.reading_room import ReadingRoom

    with ReadingRoom.beside(data_dir) as room:
        rows = room.notices(subject=subject, state=state or "", channel=channel, limit=limit)
        zone = room.timezone()
    if as_json:
        print_json(rows)
        return
    print_table(
        ("编号 id", "级别 level", "时间 created", "发给 to", "通道 by", "状态 state", "回执 answer", "标题 title"),
        (
            (
                n["id"],
                level_text(n["notice"]["level"]),
                local(n["notice"]["created_ms"], zone),
                n["notice"]["target"],
                _way(n),
                n["state"],
                n["last_error"] or n["provider_code"],
                n["notice"]["title"],
            )
            for n in rows
        ),
        empty="没有通知 no notices",
    )
    cut_note(len(rows), limit)


def _way(view: dict[str, Any]) -> str:
    return " → ".join((*filter(None, view["path"].split(">")), view["via"] or view["notice"]["channel"]))


@command.command()
@click.argument("notice_id", type=click.IntRange(1, 2**53))
@data_option
@json_option
def show(notice_id: int, data_dir: Path, as_json: bool) -> None:
    """Show one notice: its words, its way and what its provider answered."""
    from citypulse.reading_room import ReadingRoom

    with ReadingRoom.beside(data_dir) as room:
        view = room.notice(notice_id)
        zone = room.timezone()
    if view is None:
        click.echo(f"没有编号为 {notice_id} 的通知 no notice {notice_id}", err=True)
        raise click.exceptions.Exit(1)
    if as_json:
        print_json(view)
        return
    notice = view["notice"]
    click.echo(f"{notice['title']}\n{notice['body']}\n")
    facts = [
        ("关于 about", f"{notice['subject_kind']} {notice['subject']} rev {notice['rev']}, {notice['kind']}"),
        ("发给 to", notice["target"]),
        ("通道 by", _way(view)),
        ("状态 state", f"{view['state']}, {view['attempts']} 次 attempts"),
        ("回执 answer", view["provider_code"]),
        ("送达 delivered", local(view["delivered_ms"], zone)),
        ("汇总 digest", view["digest"][:12]),
        ("问题 trouble", view["last_error"]),
        ("原因 because", notice["reason"]),
        ("通知键 key", notice["idem_key"]),
    ]
    print_table(("", ""), [fact for fact in facts if fact[1]], empty="")


@command.command()
@click.argument("notice_id", type=click.IntRange(1, 2**53))
@data_option
@json_option
def retry(notice_id: int, data_dir: Path, as_json: bool) -> None:
    """Have the running service send a failed or dead notice again."""
    from .client import Client

    finish(Client.of(data_dir).post(f"/api/v1/notices/{notice_id}/retry", {}), as_json=as_json)
