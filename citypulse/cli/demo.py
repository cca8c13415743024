"""`citypulse demo`: a whole city in one terminal: broker, gateways, service, people, with the clock sped up."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .show import console, json_option, level_text, print_json

if TYPE_CHECKING:
    from rich.layout import Layout

    from citypulse.app import Service
    from simulators.crews import Crews
    from simulators.district import District

SPEED = 60.0
PACE = 0.35  # the demo's people are quick, so that a loop closes while somebody watches
SETTLE_S = 20.0  # at the end: how long to wait for the last messages to become durable
PEOPLE = (("duty", "duty", "centre"), ("lead", "lead", "centre"), ("checker", "checker", "inspection"))


@click.command()
@click.option(
    "--config",
    "config_path",
    default="sensors.yaml",
    show_default=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
)
@click.option("--seed", default=1, show_default=True, help="What goes wrong, where and when")
@click.option(
    "--speed", default=SPEED, show_default=True, type=click.FloatRange(1, 600), help="City time per real time"
)
@click.option(
    "--seconds", default=None, type=click.FloatRange(min=1), help="End by itself after this many real seconds"
)
@click.option("--headless", is_flag=True, help="No live view")
@click.option("--embedded", is_flag=True, help="Use the embedded broker even where mosquitto is installed")
@click.option("--http", default="127.0.0.1:8080", show_default=True, help="Where the console listens; port 0 picks one")
@click.option(
    "--data",
    "data_dir",
    default=None,
    type=click.Path(path_type=Path),
    help="Keep the data here [default: nowhere]",
)
@json_option
def command(
    config_path: Path,
    seed: int,
    speed: float,
    seconds: float | None,
    headless: bool,
    embedded: bool,
    http: str,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Run a simulated city: it floods, leaks and sinks; alarms rise, crews go out, sensors prove the repair.

    The broker of the demo is not durable; everything else is the real service.
    """
    from citypulse.logs import set_up_logs

    set_up_logs(level=40)
    with _city(config_path, seed, speed, http, data_dir, is_embedded=embedded) as (service, district, crews, facts):
        view_is_live = not headless
        if not as_json:
            click.echo(
                f"城脉 citypulse · broker {facts['broker']} · {facts['console']} · data {facts['data']}", err=True
            )
        done = threading.Event()
        try:
            if view_is_live:
                _watch(service, district, facts, done, seconds)
            else:
                service.stopping.wait(seconds)
        except KeyboardInterrupt:
            done.set()
        crews.stop()
        summary = _settle(service, district) | {"seed": seed, "speed": speed, "people": crews.stats.closed}
    if as_json:
        print_json(summary)
    else:
        _print_summary(summary)
    if service.trouble:
        click.echo(service.trouble, err=True)
        raise click.exceptions.Exit(3)
    if summary["lost"] or summary["duplicated"]:
        raise click.exceptions.Exit(1)


@contextmanager
def _city(
    config_path: Path, seed: int, speed: float, http: str, data_dir: Path | None, *, is_embedded: bool
) -> Iterator[tuple[Service, District, Crews, dict[str, str]]]:
    from citypulse.app import Service, extensions
    from citypulse.clock import SpedClock, SystemClock
    from citypulse.config import load_city
    from simulators.broker import DemoBroker
    from simulators.crews import Crews
    from simulators.district import District
    from simulators.schedule import demo_schedule

    from .serving import serve_console

    config = load_city(config_path, extensions())
    with ExitStack() as stack:
        folder = data_dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="citypulse-demo-")))
        broker = stack.enter_context(DemoBroker(is_embedded=is_embedded))
        clock = SpedClock(start_ms=SystemClock().now_ms(), speed=speed)
        service = Service(config=config, data_dir=folder, clock=clock, broker_url=broker.url)
        stack.enter_context(service)
        server = stack.enter_context(serve_console(service, http, folder))
        tokens = {role: service.users.add(f"sim-{name}", role=role, unit=unit) for name, role, unit in PEOPLE}
        for team in config.teams.values():
            if team.kind == "crew":
                tokens[f"crew:{team.id}"] = service.users.add(f"sim-{team.id}", role="crew", unit=team.unit)
                tokens.setdefault("crew", tokens[f"crew:{team.id}"])
        district = District(
            config,
            seed,
            clock,
            broker.url,
            connections=0 if broker.kind == "mosquitto" else 4,
            incidents=demo_schedule(config.sites, seed, clock.now_ms()),
            has_storms=False,
        )
        crews = Crews(
            server.address, tokens, clock, district.repair, seed, teams=config.teams, sites=config.sites, pace=PACE
        )
        district.start()
        crews.start()
        try:
            yield (
                service,
                district,
                crews,
                {
                    "broker": f"{broker.kind} (not durable)",
                    "console": server.address,
                    "data": str(folder),
                },
            )
        finally:
            crews.stop()
            district.stop()


def _settle(service: Service, district: District) -> dict[str, Any]:
    """Let everything that was said become durable and stored, then count it, independently of the service."""
    from citypulse.clock import monotonic_s

    until_s = monotonic_s() + SETTLE_S
    district.drain(SETTLE_S)
    pause = threading.Event()
    while monotonic_s() < until_s and service.sink.stats().lag_readings:
        pause.wait(0.1)
    made = district.stats()
    stored = service.store.count() + service.store.count(quarantined=True)
    counts = service.ledger.counts()
    alarms = service.ledger.alarms(state="all", limit=1_000_000)
    orders = service.ledger.orders(limit=1_000_000)
    return {
        "readings_sent": made.readings,
        "messages_sent": made.messages,
        "messages_durable": made.durable,
        "readings_stored": stored,
        "lost": max(0, made.readings - stored),
        "duplicated": max(0, stored - made.readings),
        "dead_letters": counts.dead_letters,
        "alarms_raised": len(alarms),
        "alarms_cleared": sum(1 for a in alarms if a.cleared_ms is not None),
        "orders_opened": len(orders),
        "orders_closed": sum(1 for o in orders if o.state.value == "closed"),
        "reworks": sum(o.rework_count for o in orders),
        "notices": sum(counts.outbox_by_state.values()),
    }


def _watch(
    service: Service, district: District, facts: dict[str, str], done: threading.Event, seconds: float | None
) -> None:
    from rich.live import Live

    from citypulse.clock import monotonic_s

    until_s = monotonic_s() + seconds if seconds else float("inf")
    with Live(_screen(service, district, facts), console=console(), screen=True, refresh_per_second=4) as live:
        while not service.stopping.is_set() and not done.wait(0.5) and monotonic_s() < until_s:
            live.update(_screen(service, district, facts))


def _screen(service: Service, district: District, facts: dict[str, str]) -> Layout:
    from rich.layout import Layout
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    from citypulse.clock import utc

    stats, counts = district.stats(), service.ledger.counts()
    head = Text.assemble(
        ("城脉 citypulse ", "bold"),
        f"{utc(service.clock.now_ms()):%Y-%m-%d %H:%M} UTC · ",
        f"读数 readings {stats.readings:,} · 待确认 unconfirmed {stats.pending} · ",
        f"事件 now: {', '.join(i.split('@')[0] for i in stats.incidents) or '无 none'} · {facts['console']} · Ctrl-C",
    )
    alarms = Table(box=None, expand=True, pad_edge=False)
    for name in ("级别", "ISA", "对象 where", "原因 because"):
        alarms.add_column(name, overflow="ellipsis", no_wrap=True)
    for a in service.room.alarms(open_only=True, limit=14, domain="", since_ms=None):
        alarms.add_row(level_text(a["level"]), a["isa"], a["scope"], a["because_zh"])
    orders = Table(box=None, expand=True, pad_edge=False)
    for name in ("级别", "编号 id", "状态 state", "对象 asset", "班组 crew", "返工"):
        orders.add_column(name, overflow="ellipsis", no_wrap=True)
    for o in service.room.orders(open_only=True, limit=8, team="", state=""):
        orders.add_row(level_text(o["level"]), o["id"], o["state"], o["asset"], o["team"], str(o["rework_count"] or ""))
    for o in service.room.orders(open_only=False, limit=4, team="", state="closed"):
        orders.add_row(
            Text("✓", style="dim"), o["id"], "closed 结案", o["asset"], o["team"], str(o["rework_count"] or "")
        )
    layout = Layout()
    layout.split_column(
        Layout(Panel(head), size=4),
        Layout(Panel(alarms, title=f"告警 alarms {counts.alarms_open}"), ratio=3),
        Layout(Panel(orders, title="工单 work orders"), ratio=2),
    )
    return layout


def _print_summary(summary: dict[str, Any]) -> None:
    words = {
        "readings_sent": "发出读数 readings sent",
        "readings_stored": "入库读数 readings stored",
        "lost": "丢失 lost",
        "duplicated": "重复 duplicated",
        "alarms_raised": "告警产生 alarms raised",
        "alarms_cleared": "告警恢复 alarms cleared",
        "orders_opened": "工单开立 orders opened",
        "orders_closed": "工单结案 orders closed",
        "reworks": "返工 reworks",
    }
    for key, name in words.items():
        click.echo(f"{name}: {summary[key]}")
