"""`citypulse audit`: check that nobody has changed the record, and what an honest supervisor would ask about it."""

from __future__ import annotations

from pathlib import Path

import click

from .show import data_option, json_option, print_json, print_table

ANCHORS = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.group()
def command() -> None:
    """Check the record's hash chain, write anchors of it, list what to ask about. Works beside a running service."""


@command.command()
@data_option
@json_option
@click.option("--from", "first", default=1, show_default=True, type=click.IntRange(1), help="First line to check")
@click.option("--to", "last", default=None, type=click.IntRange(1), help="Last line to check [default: the end]")
@click.option("--anchors", type=ANCHORS, help="Anchors kept elsewhere: each must still name its line's hash")
def verify(data_dir: Path, as_json: bool, first: int, last: int | None, anchors: Path | None) -> None:
    """Walk the chain and name the first line that was changed, moved or removed; exit 1 if there is one."""
    from citypulse.ledger import Ledger
    from citypulse.ledger.anchors import load, misfits

    ledger = Ledger.open(data_dir, read_only=True)
    try:
        verdict = ledger.verify(first, last)
        kept = load(anchors) if anchors is not None else []
        wrong = misfits(kept, ledger.hashes([a.seq for a in kept]), ledger.journal_id)
    finally:
        ledger.close()
    is_whole = verdict.first_broken is None and not wrong
    if as_json:
        print_json(
            {
                "ok": is_whole,
                "checked": verdict.checked,
                "first_broken": verdict.first_broken,
                "why": verdict.why,
                "anchors": {"checked": len(kept), "wrong": wrong},
                "head": {"seq": verdict.head_seq, "hash": verdict.head_hash},
            }
        )
    elif wrong:
        for said in wrong:
            click.echo(f"锚点不符 an anchor does not fit: {said}")
    elif is_whole:
        click.echo(f"记录完整 the record is whole: {verdict.checked} lines checked")
        click.echo(f"链头 head {verdict.head_seq} {verdict.head_hash}")
    else:
        click.echo(f"记录已被改动 the record was changed, first at line {verdict.first_broken}: {verdict.why}")
        click.echo("与备份比对该行 compare that line with a backup: citypulse alarms events --json")
    if not is_whole:
        raise click.exceptions.Exit(1)


@command.command()
@data_option
@json_option
@click.option("--to", "path", type=click.Path(path_type=Path, dir_okay=False), help="Add it to this file as well")
def anchor(data_dir: Path, as_json: bool, path: Path | None) -> None:
    """Print where the record stands now, to be kept elsewhere; the service adds one a day to DATA/anchors.jsonl."""
    from citypulse.clock import SystemClock, iso
    from citypulse.ledger import Ledger
    from citypulse.ledger.anchors import append

    ledger = Ledger.open(data_dir, read_only=True)
    try:
        here = ledger.anchor(SystemClock().now_ms())
    finally:
        ledger.close()
    if path is not None:
        append(path, here)
    if as_json:
        print_json({"seq": here.seq, "hash": here.hash, "at_ms": here.at_ms, "record": here.record})
    else:
        click.echo(f"{iso(here.at_ms)}  第 {here.seq} 行 line {here.seq}  {here.hash}")


@command.command()
@data_option
@json_option
def findings(data_dir: Path, as_json: bool) -> None:
    """List what the integrity rules found in the record: what to ask about, who, and the lines that show it."""
    from alerts.audit import Record
    from alerts.audit import findings as found_in
    from citypulse.ledger import Ledger
    from citypulse.views import plain

    ledger = Ledger.open(data_dir, read_only=True)
    try:
        most = 10_000_000
        events = (row.event for row in ledger.events(limit=most))
        record = Record.of(ledger.alarms(state="all", limit=most), ledger.orders(limit=most), events)
        found = found_in(record)
    finally:
        ledger.close()
    if as_json:
        print_json(plain(found))
        return
    print_table(
        ("规则 rule", "谁 who", "事项 what", "依据 lines"),
        (
            (f.rule, f.who, f"{f.sentence.zh} | {f.sentence.en}", ", ".join(f"{s} r{rev}" for s, rev in f.events[:3]))
            for f in found
        ),
        empty="没有可疑之处 nothing to ask about",
    )
