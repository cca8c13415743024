"""`citypulse simulate`: publish a simulated city, or recorded readings, to a broker as its gateways would."""

from __future__ import annotations

import contextlib
import re
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .show import json_option, print_json

if TYPE_CHECKING:
    from citypulse.clock import Clock
    from citypulse.model import CityConfig
    from simulators.crews import Crews
    from simulators.district import District, DistrictStats
    from simulators.replay import ReplaySummary

WARNING = 30  # progress has its own line; the log is for what is wrong
SPEED_MAX = 1e9  # a century in three seconds
REPORT_EVERY_S = 5.0
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|h|d)")
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_PER_DAY = re.compile(r"(\d+(?:\.\d+)?)/day")


def _speed(text: str) -> float | None:
    """Read a factor of real time, or `max` (None)."""
    if text == "max":
        return None
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 0 < factor < SPEED_MAX:
        raise click.BadParameter(f"{text!r} is neither `max` nor a number above 0 and below {SPEED_MAX:g}")
    return factor


def _span(text: str) -> float:
    """Read `90 s`, `10 min`, `2h` as seconds."""
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        raise click.BadParameter(f"{text!r} is not a duration; write 90 s, 10 min, 2 h or 1 d")
    return float(match[1]) * _SECONDS[match[2]]


@click.command()
@click.option(
    "--config",
    "config_path",
    default="sensors.yaml",
    show_default=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The city whose gateways publish",
)
@click.option("--broker", default=None, help="mqtt://host:port or mqtts://…, instead of the configured one")
@click.option("--speed", default="1", show_default=True, type=_speed, help="Times real time; `max` for replays only")
@click.option("--connections", default=None, type=click.IntRange(1, 1000), help="Share this many among all gateways")
@json_option
@click.option("--seed", default=1, show_default=True, type=int, help="What happens is decided by it")
@click.option("--start", default=None, help="Simulated time of the start, ISO 8601 with zone [default: now]")
@click.option("--duration", default=None, type=_span, help="Simulated time to run, e.g. 2 h [default: until stopped]")
@click.option("--warm-up", default="0 s", type=_span, help="Send this much of the past first, as after an outage")
@click.option("--incident", "incidents", multiple=True, help="demo · N/day · <kind>@<site>[+<delay>]; repeatable")
@click.option("--faults", multiple=True, help="N/day · <kind>@<sensor or gateway>[+<delay>][/<duration>]; repeatable")
@click.option("--crews", "crews_at", default=None, help="http://host:port of the service whose orders are worked on")
@click.option("--token-file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Tokens of the crews")
@click.option("--replay", "files", multiple=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--raw", "is_raw", is_flag=True, help="Replay: values are as instruments sent them, not calibrated")
@click.option("--until-durable/--until-delivered", default=True, help="Replay, or after --duration: what to wait for")
@click.option("--give-up", default="60 s", type=_span, help="Stop waiting when nothing has moved for this long")
def command(config_path: Path, files: tuple[Path, ...], **options: Any) -> None:
    """Publish a simulated city, or with --replay recorded readings.

    Readings files are CSV with columns sensor,time,value[,quality], plain or gzip, or Parquet, in order of time.
    Exit 0: all that was published is durable in the city (or delivered); 1: not all; 3: no broker.
    """
    from citypulse.config import load_city
    from citypulse.logs import set_up_logs
    from citypulse.vocabulary import extensions

    set_up_logs(level=WARNING)
    config = load_city(config_path, extensions())
    broker = options["broker"] or config.broker_url
    if files:
        _replay(config, broker, files, options)
    else:
        _simulate(config, broker, options)


# ── replay ──────────────────────────────────────────────────────────────────────────────────────


def _replay(config: CityConfig, broker: str, files: tuple[Path, ...], options: dict[str, Any]) -> None:
    from citypulse.clock import SystemClock
    from citypulse.readings_files import read_readings
    from citypulse.views import plain
    from simulators.replay import Replay

    run = Replay(
        config,
        broker,
        SystemClock(),
        connections=options["connections"],
        is_raw=options["is_raw"],
        give_up_s=options["give_up"],
    )
    show = _Ticker()
    done = run.run(
        (portion for path in files for portion in read_readings(path)),
        speed=options["speed"],
        until_durable=options["until_durable"],
        progress=lambda s: show.say(f"{s.readings} readings published, {s.durable_readings} durable"),
    )
    if options["as_json"]:
        print_json(plain(done) | {"is_durable": done.is_durable})
    else:
        _tell(done)
    if done.problem:
        click.echo(f"citypulse: {done.problem}", err=True)
        sys.exit(3 if done.durable_messages == 0 else 1)
    if (options["until_durable"] and not done.is_durable) or done.bad_lines or done.skipped_unknown:
        sys.exit(1)


def _tell(done: ReplaySummary) -> None:
    click.echo(
        f"{done.readings} readings in {done.messages} messages, {done.durable_readings} durable, "
        f"{done.pending_messages} messages pending; {done.seconds:g} s, {done.readings_per_s:,.0f} readings/s"
    )
    if done.out_of_order:
        click.echo(f"{done.out_of_order} readings are older than one of their sensor before them: they became history")
    if done.skipped_unknown:
        names = ", ".join(done.unknown_sensors)
        click.echo(f"{done.skipped_unknown} readings skipped, their sensors are not configured: {names}")
    if done.bad_lines:
        click.echo(f"{done.bad_lines} lines could not be read:")
        for line in done.first_bad_lines:
            click.echo(f"  {line}")


# ── simulation ──────────────────────────────────────────────────────────────────────────────────


def _simulate(config: CityConfig, broker: str, options: dict[str, Any]) -> None:
    from citypulse.clock import SpedClock, SystemClock, monotonic_s
    from simulators.district import District

    speed, duration_s = options["speed"], options["duration"]
    if speed is None:
        raise click.UsageError("--speed max is for --replay; a simulated city needs a number")
    now_ms = SystemClock().now_ms()
    start_ms = _start(options["start"], now_ms, speed, duration_s)
    # Sent now, whatever time it is in the simulated city: a gateway's clock is judged by this.
    is_now = start_ms == now_ms and speed == 1.0
    clock: Clock = SystemClock() if is_now else SpedClock(start_ms=start_ms, speed=speed)
    incidents, faults = _troubles(config, options, start_ms, duration_s)
    try:
        district = District(
            config,
            options["seed"],
            clock,
            broker,
            connections=options["connections"] or 0,
            incidents=incidents,
            faults=faults,
            warm_up_s=options["warm_up"],
            sent_clock=SystemClock(),
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    crews = _crews(config, options, clock, district)
    stop = threading.Event()
    until_s = monotonic_s() + duration_s / speed if duration_s else float("inf")
    was_up = False
    with _signals(stop):
        district.start()
        if crews is not None:
            crews.start()
        show = _Ticker()
        while not stop.wait(min(0.2, max(0.0, until_s - monotonic_s()))) and monotonic_s() < until_s:
            now = district.stats()
            was_up |= now.gateways_up > 0
            show.say(_line(now))
        is_durable = True
        if crews is not None:
            crews.stop()
        if not stop.is_set() and options["until_durable"]:
            is_durable = district.drain(options["give_up"])
        done = district.stats()
        was_up |= done.gateways_up > 0
        district.stop()
    _report(done, crews, as_json=options["as_json"])
    if not was_up:
        click.echo(f"citypulse: no gateway reached {broker}: {done.problem or 'no connection'}", err=True)
        sys.exit(3)
    if not is_durable:
        click.echo(f"citypulse: {done.pending} messages are not known durable", err=True)
        sys.exit(1)


def _start(text: str | None, now_ms: int, speed: float, duration_s: float | None) -> int:
    from citypulse.errors import PayloadError
    from ingest.codecs.native import read_time

    if text is not None:
        try:
            return read_time(text)
        except PayloadError as error:
            raise click.UsageError(f"--start: {error.detail}") from error
    if speed <= 1.0:
        return now_ms
    if duration_s is None:
        raise click.UsageError(
            "a city faster than real time runs into the future, where readings are quarantined; "
            "give --duration (it then ends now) or --start"
        )
    return now_ms - int(duration_s * 1000 * (1 - 1 / speed))


def _troubles(
    config: CityConfig, options: dict[str, Any], start_ms: int, duration_s: float | None
) -> tuple[list[Any], list[Any]]:
    from simulators.faults import drawn_faults, parse_fault
    from simulators.schedule import demo_schedule, drawn_schedule, parse_incident

    seed = options["seed"]
    until_ms = start_ms + int((duration_s or 30 * 86_400) * 1000)
    incidents: list[Any] = []
    faults: list[Any] = []
    try:
        for text in options["incidents"]:
            if text == "demo":
                incidents += demo_schedule(config.sites, seed, start_ms, (until_ms - start_ms) / 3_600_000)
            elif rate := _PER_DAY.fullmatch(text):
                incidents += drawn_schedule(config.sites, seed, start_ms, until_ms, per_day=float(rate[1]))
            else:
                incidents.append(parse_incident(text, start_ms))
        for text in options["faults"]:
            if rate := _PER_DAY.fullmatch(text):
                gateways = sorted(config.gateways)
                faults += drawn_faults(config.sensors, gateways, seed, start_ms, until_ms, per_day=float(rate[1]))
            else:
                faults.append(parse_fault(text, start_ms))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    return incidents, faults


def _crews(config: CityConfig, options: dict[str, Any], clock: Clock, district: District) -> Crews | None:
    from simulators.crews import Crews, crew_address, read_tokens

    if options["crews_at"] is None:
        return None
    if options["token_file"] is None:
        raise click.UsageError("--crews needs --token-file; make tokens with `citypulse user add NAME --role ROLE`")
    try:
        address = crew_address(options["crews_at"])
        tokens = read_tokens(options["token_file"].read_text(encoding="utf-8"))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    return Crews(
        address=address,
        tokens=tokens,
        clock=clock,
        repair=district.repair,
        seed=options["seed"],
        teams=config.teams,
        sites=config.sites,
    )


# ── showing ─────────────────────────────────────────────────────────────────────────────────────


class _Ticker:
    """Progress on stderr: on a terminal one line that changes, else a line now and then."""

    def __init__(self) -> None:
        from citypulse.clock import monotonic_s

        self._now_s = monotonic_s
        self._next_s = 0.0
        self._is_live = sys.stderr.isatty()

    def say(self, text: str) -> None:
        """Show it, unless the last was just now."""
        now_s = self._now_s()
        if now_s < self._next_s:
            return
        self._next_s = now_s + (0.5 if self._is_live else REPORT_EVERY_S)
        click.echo(f"\r\x1b[K{text}" if self._is_live else text, err=True, nl=not self._is_live)


def _line(now: DistrictStats) -> str:
    from citypulse.clock import iso

    wrong = ", ".join((*now.incidents, *now.faults)) or "all well"
    return (
        f"{iso(now.now_ms)[:19]}Z  {now.gateways_up}/{now.gateways} gateways up, {now.readings} readings, "
        f"{now.pending} messages pending; {wrong}"
    )


def _report(done: DistrictStats, crews: Crews | None, *, as_json: bool) -> None:
    from citypulse.views import plain

    if as_json:
        print_json(plain(done) | {"crews": plain(crews.stats) if crews is not None else None})
        return
    click.echo(
        f"{done.readings} readings in {done.messages} messages, {done.durable} durable, {done.pending} pending, "
        f"{done.overflowed} lost by full buffers"
    )
    if crews is not None:
        did = crews.stats
        click.echo(
            f"crews: {did.acknowledged} acknowledged, {did.accepted} accepted, {did.repaired} repaired, "
            f"{did.botched} botched, {did.passed} checked, {did.closed} closed"
        )


@contextlib.contextmanager
def _signals(stop: threading.Event) -> Iterator[None]:
    """Let SIGINT and SIGTERM set `stop` while the block runs."""
    kept = {s: signal.signal(s, lambda *_: stop.set()) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
