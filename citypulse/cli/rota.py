"""`citypulse rota`: who is on duty, stand-ins and hand-overs, and the proof that somebody is always reached."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click
from rich.text import Text

from .show import console, data_option, finish, json_option, print_json, print_table

if TYPE_CHECKING:
    from alerts.people.standins import StandIns
    from citypulse.model import CityConfig

SHADES = " ░▒▓█"  # how many of a cell's hours are covered: none, some, most … all
CELL_H = 6  # hours a cell of the strip stands for
config_option = click.option(
    "--config", "config_path", default="sensors.yaml", show_default=True, type=click.Path(path_type=Path)
)


@click.group()
def command() -> None:
    """Show who is on duty, let somebody stand in, hand over, prove that every alarm finds somebody."""


@contextmanager
def _opened(config_path: Path, data_dir: Path) -> Iterator[tuple[CityConfig, StandIns]]:
    from citypulse.config import load_city
    from citypulse.ledger import Ledger
    from citypulse.rota_views import stand_ins_of
    from citypulse.vocabulary import extensions

    config = load_city(config_path, extensions())
    if not (data_dir / "city.db").exists():
        yield config, stand_ins_of(None, config)
        return
    ledger = Ledger.open(data_dir, read_only=True)
    try:
        yield config, stand_ins_of(ledger, config)
    finally:
        ledger.close()


def _instant_ms(text: str, zone: str) -> int:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(f"{text!r} is not a time: write 2026-12-01T08:00 (the city's local time)") from None
    return round((at if at.tzinfo else at.replace(tzinfo=ZoneInfo(zone))).timestamp() * 1000)


def _now_ms(data_dir: Path) -> int:
    """Return the service's own time, where one runs, else this machine's."""
    from citypulse.clock import SystemClock
    from citypulse.errors import CityError

    from .client import Client

    try:
        return Client.of(data_dir).now_ms()
    except CityError:
        return SystemClock().now_ms()


def _local(ms: int, zone: str) -> str:
    from citypulse.clock import utc

    return utc(ms).astimezone(ZoneInfo(zone)).strftime("%m-%d %a %H:%M")


@command.command()
@config_option
@data_option
@json_option
@click.option("--at", default="", help="At this time, 2026-12-01T08:00 [default: now]")
@click.option("--team", default="", help="Only this team")
@click.option("--week", is_flag=True, help="The seven days from then on, instead of one")
def show(config_path: Path, data_dir: Path, as_json: bool, at: str, team: str, week: bool) -> None:
    """Show who is on duty, and who comes after them."""
    from citypulse.rota_views import rota_view

    with _opened(config_path, data_dir) as (config, stand_ins):
        at_ms = _instant_ms(at, config.timezone) if at else _now_ms(data_dir)
        views = rota_view(config, stand_ins, at_ms=at_ms, days=7 if week else 1, team=team)
    if team and not views:
        raise click.UsageError(f"no rota of a team {team!r}; there are: {', '.join(config.rotas) or 'none'}")
    if as_json:
        print_json(views)
        return
    for view in views:
        names = (
            "、".join(f"{p['name']['zh']} {p['name']['en']} ({p['role']})" for p in view["on_duty"]) or "无人 nobody"
        )
        click.echo(
            f"{view['name']['zh']} {view['name']['en']} · {view['team']} · {_local(view['at_ms'], config.timezone)}"
        )
        click.echo(f"  在岗 on duty: {names}")
        for why in view["because"]:
            click.echo(f"    {why['shift']}: {', '.join(why['people'])} ({why['origin']})")
        for one in view["stand_ins"]:
            who = f"{one['person'] or '—'} ← {one['instead_of'] or '+'}"
            click.echo(f"  替班 {one['id']}: {who} {one['reason']} ({one['origin']})")
        print_table(
            ("自 from", "班次 shifts", "人员 people"),
            (
                (_local(r["from_ms"], config.timezone), " ".join(r["shifts"]), ", ".join(r["people"]) or "—")
                for r in view["next"]
            ),
            empty="",
        )
    if not views:
        click.echo("没有排班 no rotas are configured")


@command.command()
@click.argument("team")
@click.option("--person", default="", help="Who stands in")
@click.option("--for", "instead_of", default="", help="For whom")
@click.option("--from", "starts", default="", help="From then on [default: now]")
@click.option("--until", required=True, help="Until then, 2026-12-01T20:00")
@click.option("--reason", required=True)
@config_option
@data_option
@json_option
def override(
    team: str,
    person: str,
    instead_of: str,
    starts: str,
    until: str,
    reason: str,
    config_path: Path,
    data_dir: Path,
    as_json: bool,
) -> None:
    """Let somebody stand in for somebody on duty; taken by the very next notice."""
    from citypulse.config import load_city
    from citypulse.vocabulary import extensions

    from .client import Client

    zone = load_city(config_path, extensions()).timezone
    data: dict[str, Any] = {"person": person, "instead_of": instead_of, "reason": reason}
    data["until_ms"] = _instant_ms(until, zone)
    if starts:
        data["from_ms"] = _instant_ms(starts, zone)
    finish(Client.of(data_dir).post(f"/api/v1/rota/{team}/override", data), as_json=as_json)


@command.command()
@click.argument("team")
@click.argument("stand_in")
@click.option("--reason", required=True)
@data_option
@json_option
def withdraw(team: str, stand_in: str, reason: str, data_dir: Path, as_json: bool) -> None:
    """Take a stand-in back."""
    from .client import Client

    data = {"id": stand_in, "reason": reason}
    finish(Client.of(data_dir).post(f"/api/v1/rota/{team}/withdraw", data), as_json=as_json)


@command.command()
@click.argument("team")
@click.option("--note", required=True, help="What whoever comes has to know")
@click.option("--from", "giver", default="", help="Who hands over, when that is not you")
@click.option("--to", default="", help="Who takes over now, until the watch ends")
@data_option
@json_option
def handover(team: str, note: str, giver: str, to: str, data_dir: Path, as_json: bool) -> None:
    """Hand the watch over, with a note for the record."""
    from .client import Client

    data = {"note": note} | ({"from": giver} if giver else {}) | ({"to": to} if to else {})
    finish(Client.of(data_dir).post(f"/api/v1/rota/{team}/handover", data), as_json=as_json)


@command.command()
@config_option
@data_option
@json_option
@click.option("--days", default=14, show_default=True, type=click.IntRange(1, 92))
@click.option("--at", default="", help="From this time on [default: now]")
@click.option("--without", "failing", multiple=True, metavar="CHANNEL", help="As if this channel did not deliver")
def coverage(config_path: Path, data_dir: Path, as_json: bool, days: int, at: str, failing: tuple[str, ...]) -> None:
    """Prove that every alarm of the coming days reaches somebody in time; exit 1 on a gap."""
    from citypulse.rota_views import coverage_view

    with _opened(config_path, data_dir) as (config, stand_ins):
        unknown = [name for name in failing if name not in config.channels]
        if unknown:
            raise click.UsageError(f"no channel {unknown[0]!r}; there are: {', '.join(config.channels)}")
        from_ms = _instant_ms(at, config.timezone) if at else _now_ms(data_dir)
        found = coverage_view(config, stand_ins, from_ms=from_ms, days=days, failing=failing)
    if as_json:
        print_json(found)
    else:
        _print_coverage(found, config)
    if not found["is_whole"]:
        raise click.exceptions.Exit(1)


def _print_coverage(found: dict[str, Any], config: CityConfig) -> None:
    from .show import level_text

    zone = config.timezone
    click.echo(
        f"{_local(found['from_ms'], zone)} … {_local(found['until_ms'], zone)}, 一格 {CELL_H} 小时 a cell is"
        f" {CELL_H} h: {SHADES[-1]} 全覆盖 all covered, {SHADES[1]} 有空档 partly, 空白 blank: none"
    )
    rows = [
        (
            level_text(s["level"]),
            config.areas[s["area"]].zh if s["area"] in config.areas else s["area"],
            _strip(s["hours"]),
        )
        for s in found["strips"]
    ]
    print_table(("级别 level", "区域 area", "覆盖 coverage"), rows, empty="没有可证明的告警 no alarm to prove")
    for gap in found["gaps"]:
        where = f"{gap['colour']} {gap['domain']} {', '.join(gap['areas'])}".strip() or gap["team"]
        click.echo(f"空档 gap {_local(gap['from_ms'], zone)} – {_local(gap['until_ms'], zone)} · {where}")
        click.echo(f"    {gap['why']}\n    → {gap['cure']}")
    if found["gaps_in_all"] > len(found["gaps"]):
        click.echo(f"… 共 {found['gaps_in_all']} 处 in all")
    for warning in found["warnings"]:
        console(stderr=True).print(Text(f"注意 warning: {warning}", style="yellow"))
    if found["is_whole"]:
        click.echo("无空档 no gap")


def _strip(hours: str) -> str:
    cells = [hours[k : k + CELL_H] for k in range(0, len(hours), CELL_H)]
    return "".join(SHADES[-1] if "." not in c else SHADES[c.count("#") * 3 // len(c)] for c in cells)
