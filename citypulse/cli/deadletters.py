"""`citypulse deadletters`: what could not be taken and why; put it back after a fix."""

from __future__ import annotations

from pathlib import Path

import click

from .show import data_option, json_option, local, print_json, print_table


@click.group(invoke_without_command=True)
@data_option
@json_option
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 1_000_000))
@click.pass_context
def command(ctx: click.Context, data_dir: Path, as_json: bool, limit: int) -> None:
    """List dead letters, newest first."""
    if ctx.invoked_subcommand is not None:
        return
    from citypulse.reading_room import ReadingRoom

    with ReadingRoom.beside(data_dir) as room:
        rows = room.dead_letters(limit=limit)
        zone = room.timezone()
    if as_json:
        print_json(rows)
        return
    print_table(
        ("时间 received", "网关 gateway", "主题 topic", "原因 reason", "说明 detail", "内容 payload"),
        (
            (local(d["received_ms"], zone), d["gateway"], d["topic"][:60], d["reason"], d["detail"], d["payload"][:60])
            for d in rows
        ),
        empty="没有死信 no dead letters",
    )


@command.command()
@click.option("--reason", default="", help="Only letters kept for this reason; all when left out")
@data_option
@json_option
def replay(reason: str, data_dir: Path, as_json: bool) -> None:
    """Put kept messages back into the running service's inbox; what is good now is taken, the rest is kept again."""
    from .client import Client

    answer = Client.of(data_dir).post("/api/v1/dead-letters/replay", {"reason": reason})
    if as_json:
        print_json(answer)
    elif answer.get("ok"):
        click.echo(f"重放 {answer['replayed']} 封死信 replayed {answer['replayed']} dead letters")
    else:
        click.echo(answer.get("message", "refused"))
    if not answer.get("ok"):
        raise click.exceptions.Exit(1)
