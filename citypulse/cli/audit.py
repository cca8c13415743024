"""`citypulse audit`: check that nobody has changed the record."""

from __future__ import annotations

from pathlib import Path

import click

from .show import data_option, json_option, print_json


@click.group()
def command() -> None:
    """Check the record's hash chain. Works beside a running service; changes nothing."""


@command.command()
@data_option
@json_option
@click.option("--from", "first", default=1, show_default=True, type=click.IntRange(1), help="First line to check")
@click.option("--to", "last", default=None, type=click.IntRange(1), help="Last line to check [default: the end]")
def verify(data_dir: Path, as_json: bool, first: int, last: int | None) -> None:
    """Walk the chain and name the first line that was changed, moved or removed; exit 1 if there is one."""
    from citypulse.ledger import Ledger

    ledger = Ledger.open(data_dir, read_only=True)
    try:
        verdict = ledger.verify(first, last)
    finally:
        ledger.close()
    is_whole = verdict.first_broken is None
    if as_json:
        print_json(
            {
                "ok": is_whole,
                "checked": verdict.checked,
                "first_broken": verdict.first_broken,
                "why": verdict.why,
                "head": {"seq": verdict.head_seq, "hash": verdict.head_hash},
            }
        )
    elif is_whole:
        click.echo(f"记录完整 the record is whole: {verdict.checked} lines checked")
        click.echo(f"链头 head {verdict.head_seq} {verdict.head_hash}")
    else:
        click.echo(f"记录已被改动 the record was changed, first at line {verdict.first_broken}: {verdict.why}")
        click.echo("与备份比对该行 compare that line with a backup: citypulse alarms events --json")
    if not is_whole:
        raise click.exceptions.Exit(1)
