"""`citypulse incident ID`: everything about one incident, as a table, JSON, or one self-contained page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from .show import data_option, json_option, print_json, print_table


@click.command()
@click.argument("number", metavar="ID|FILE")
@click.option("--html", "html_path", type=click.Path(path_type=Path, dir_okay=False), help="Write the page here")
@click.option("--check", "is_check", is_flag=True, help="ID is a saved page or JSON file: recompute every hash in it")
@data_option
@json_option
def command(number: str, html_path: Path | None, is_check: bool, data_dir: Path, as_json: bool) -> None:
    """Gather the evidence for one alarm or work order: readings, rules, record, notices, photos, hashes."""
    if is_check:
        _check(Path(number), as_json=as_json)
        return
    piece = _gathered(number, data_dir)
    if piece is None:
        click.echo(
            f"没有此告警或工单 no alarm or order {number!r}; citypulse alarms, citypulse orders list them", err=True
        )
        raise click.exceptions.Exit(1)
    if html_path is not None:
        from citypulse.evidence.incident_page import page

        html_path.write_text(page(piece), encoding="utf-8")
        click.echo(f"已写入 written: {html_path}", err=True)
    if as_json:
        print_json(piece)
    elif html_path is None:
        _print(piece)


def _gathered(number: str, data_dir: Path) -> dict[str, Any] | None:
    """Ask the service, which holds the store; where none runs, look into the data folder."""
    from urllib.parse import quote

    from .client import Client, NotRunningError

    try:
        service = Client.of(data_dir)
    except NotRunningError:
        return _beside(number, data_dir)
    found = service.get(f"/api/v1/incidents/{quote(number, safe='')}")
    return found if "form" in found else None


def _beside(number: str, data_dir: Path) -> dict[str, Any] | None:
    from citypulse.clock import SystemClock
    from citypulse.evidence.incident import gather
    from citypulse.evidence.photos import EvidenceStore
    from citypulse.ledger import Ledger
    from citypulse.reloading import config_in_force
    from citypulse.store import open_store
    from citypulse.vocabulary import extensions

    ledger = Ledger.open(data_dir, read_only=True)
    try:
        store = open_store("duckdb", data_dir)
        try:
            return gather(
                ledger,
                store,
                lambda at_ms: config_in_force(ledger, at_ms, extensions()),
                number,
                now_ms=SystemClock().now_ms(),
                photo=EvidenceStore(data_dir).get,
            )
        finally:
            store.close()
    finally:
        ledger.close()


def _check(path: Path, *, as_json: bool) -> None:
    from citypulse.evidence.incident import check
    from citypulse.evidence.incident_page import piece_in

    try:
        piece = piece_in(path.read_text(encoding="utf-8"))
        wrong = check(piece)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise click.ClickException(f"{path}: 无法读取 cannot be read as an incident: {error}") from error
    if as_json:
        print_json({"ok": not wrong, "lines": len(piece["record"]), "photos": len(piece["photos"]), "wrong": wrong})
    elif wrong:
        click.echo("\n".join(f"✗ {said}" for said in wrong))
    else:
        click.echo(f"✓ 逐行复算一致 every hash holds: {len(piece['record'])} lines, {len(piece['photos'])} photos")
        click.echo(f"  链头 head {piece['chain']['head_seq']} {piece['chain']['head_hash']}")
    if wrong:
        raise click.exceptions.Exit(1)


def _print(piece: dict[str, Any]) -> None:
    print_table(
        ("时间 time", "对象 subject", "事项 what", "谁 who", "缘由 because"),
        (
            (e["wall_at"], e["subject"][:16], e["kind"], e["actor"], json.dumps(e["because"], ensure_ascii=False)[1:-1])
            for e in piece["record"]
        ),
        empty="没有记录 no record",
    )
    click.echo(
        f"{len(piece['notices'])} 通知 notices, {len(piece['photos'])} 照片 photos; --html FILE 写成一页 one page"
    )
