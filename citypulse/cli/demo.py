"""`citypulse demo`: a whole city in one terminal: broker, gateways, service, people, with the clock sped up."""

from __future__ import annotations

import html
import re
import threading
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .show import console, json_option, print_json

if TYPE_CHECKING:
    from .demo_city import DemoCity
    from .demo_tale import Tale

SPEED = 60.0
SETTLE_S = 20.0  # at the end: how long to wait for the last messages to become durable
REFRESH_S = 0.5


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
@click.option("--svg", default=None, type=click.Path(path_type=Path, dir_okay=False), help="Keep the last screen here")
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
    svg: Path | None,
    as_json: bool,
) -> None:
    """Run a simulated city through one evening: a storm, a false repair, a drill, and a gas leak at night.

    The clock is sped up, from the same evening every time; the same seed tells the same story. The demo's broker is not
    durable and its message providers are on loopback; everything else is the real service.
    """
    from .quickstart import quick_start

    with quick_start():
        from citypulse.logs import set_up_logs

        from .demo_city import demo_city
        from .demo_tale import Tale

    set_up_logs(level=40)
    if not as_json:
        click.echo("城脉 citypulse · 正在启动，首次约一分钟 starting; the first time takes about a minute", err=True)
    with demo_city(config_path, seed, speed, http, data_dir, is_embedded=embedded) as city:
        facts, tale = city.facts, Tale(city.service.ledger, city.service.config)
        if not as_json:
            click.echo(
                f"城脉 citypulse · broker {facts['broker']} · {facts['console']} · data {facts['data']}", err=True
            )
        with suppress(KeyboardInterrupt):  # Ctrl-C ends the evening; what was told is counted all the same
            if headless:
                city.service.stopping.wait(seconds)
            else:
                _watch(city, tale, seconds)
            if svg is not None:
                _picture(city, tale, svg)
        if not as_json:
            click.echo("正在收尾清点，再按 Ctrl-C 立即退出 counting what was told; Ctrl-C leaves at once", err=True)
        city.stop_people()
        summary = _settle(city, tale) | {"seed": seed, "speed": speed, "people": city.crews.stats.closed}
    if as_json:
        print_json(summary)
    else:
        from .demo_view import summary_text

        click.echo(summary_text(summary, tale))
    if city.service.trouble:
        click.echo(city.service.trouble, err=True)
        raise click.exceptions.Exit(3)
    if summary["lost"] or summary["duplicated"]:
        raise click.exceptions.Exit(1)


def _settle(city: DemoCity, tale: Tale) -> dict[str, Any]:
    """Let everything that was said become durable and stored, then count it, independently of the service."""
    from citypulse.clock import monotonic_s

    service, district = city.service, city.district
    until_s = monotonic_s() + SETTLE_S
    district.mend_links()
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
        "orders_closed_after_rework": sum(1 for o in orders if o.state.value == "closed" and o.rework_count),
        "reworks": sum(o.rework_count for o in orders),
        "notices": sum(counts.outbox_by_state.values()),
        "provider_messages": city.providers.taken,
        "provider_refusals": city.providers.refused,
    } | tale.figures()


def _watch(city: DemoCity, tale: Tale, seconds: float | None) -> None:
    from rich.live import Live

    from citypulse.clock import monotonic_s

    from .demo_view import screen

    terminal = console()
    until_s = monotonic_s() + seconds if seconds else float("inf")
    if terminal.is_dumb_terminal or not terminal.is_terminal:  # no screen to redraw: the story as it goes
        told: set[tuple[int, str]] = set()
        while not city.service.stopping.wait(REFRESH_S) and monotonic_s() < until_s:
            _tell_on(tale, told)
        return

    def drawn() -> Any:
        return screen(city, tale, terminal.width, terminal.height)

    with Live(drawn(), console=terminal, screen=True, auto_refresh=False) as live:
        while not city.service.stopping.wait(REFRESH_S) and monotonic_s() < until_s:
            live.update(drawn(), refresh=True)


def _tell_on(tale: Tale, told: set[tuple[int, str]]) -> None:
    """Print what of the story has not been told yet, on stderr: the results come on stdout at the end."""
    tale.look()
    for line in tale.lines:
        if (line.at_ms, line.text.en) not in told:
            told.add((line.at_ms, line.text.en))
            click.echo(f"{tale.local(line.at_ms)} {line.text.zh} {line.text.en}", err=True)


def _picture(city: DemoCity, tale: Tale, svg: Path) -> None:
    """Keep the last screen as a picture, 120 × 40."""
    from rich.console import Console

    from .demo_view import screen

    nowhere = StringIO()
    paper = Console(record=True, width=120, height=40, force_terminal=True, color_system="truecolor", file=nowhere)
    paper.print(screen(city, tale, 120, 40), height=40)
    drawn = paper.export_svg(title="citypulse demo")
    svg.write_text(_TEXT.sub(_widened, drawn), encoding="utf-8")


_TEXT = re.compile(r'textLength="(?P<length>[\d.]+)"(?P<more>[^>]*)>(?P<text>[^<]*)</text>')


def _widened(found: re.Match[str]) -> str:
    """Give wide characters their two cells: rich makes a text as long as it has characters."""
    from rich.cells import cell_len

    text = html.unescape(found["text"])
    length = float(found["length"]) / max(1, len(text)) * cell_len(text)
    return f'textLength="{length:.1f}"{found["more"]}>{found["text"]}</text>'
