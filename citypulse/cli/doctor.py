"""`citypulse doctor`: look for what would make the service fail, before it does; each finding with its cure."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import click

from citypulse.model import WorkdayYear

from .show import data_option, json_option, print_json

PACKAGES = ("citypulse", "ingest", "rules", "alerts", "simulators")
FREE_BYTES_MIN = 2 << 30
CONNECT_TIMEOUT_S = 3.0
CALENDAR_DAYS = 45  # how far ahead the holidays should be known


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing looked at. `cure` is empty when it is well."""

    what: str
    is_well: bool
    said: str
    cure: str = ""


def owners(packages: dict[str, list[str]] | None = None) -> Iterator[Finding]:
    """Each of our import names must belong to one distribution only, or one quietly replaces the other."""
    found = importlib.metadata.packages_distributions() if packages is None else packages
    for name in PACKAGES:
        # An editable install is listed once for its metadata and once for its finder.
        who = sorted(set(found.get(name, [])))
        is_well = who in ([], ["citypulse"])
        cure = (
            "" if is_well else f"install citypulse into an environment of its own: {', '.join(who)} both own {name!r}"
        )
        yield Finding(what=f"package {name}", is_well=is_well, said=", ".join(who) or "from this folder", cure=cure)


def configuration(path: Path) -> Iterator[Finding]:
    """The configuration loads."""
    from citypulse.config import check_city
    from citypulse.vocabulary import extensions

    if not path.exists():
        yield Finding(what="configuration", is_well=False, said=f"{path} is not there", cure="name it with --config")
        return
    city, problems = check_city(path, extensions())
    if city is None:
        said = f"{len(problems)} problems"
        yield Finding(what="configuration", is_well=False, said=said, cure=f"citypulse check {path}")
        return
    yield Finding(what="configuration", is_well=True, said=f"{len(city.sensors)} sensors, {len(city.rules)} rules")
    yield from calendar(city.timezone, city.workdays)
    host, _, port = city.broker_url.split("://", 1)[-1].partition(":")
    try:
        socket.create_connection((host, int(port or 1883)), CONNECT_TIMEOUT_S).close()
        yield Finding(what="broker", is_well=True, said=f"{city.broker_url} answers")
    except OSError as error:
        cure = "start the broker, or correct broker.url"
        yield Finding(what="broker", is_well=False, said=f"{city.broker_url}: {error.strerror or error}", cure=cure)


def calendar(zone: str, years: Sequence[WorkdayYear] = ()) -> Iterator[Finding]:
    """The holidays of the coming weeks are known: deadlines in working time and rotas by workday count on them."""
    from alerts.people.workdays import know, unknown_years
    from citypulse.clock import SystemClock, utc

    know(years)
    today = utc(SystemClock().now_ms()).astimezone(ZoneInfo(zone)).date()
    unknown = unknown_years(today, today + timedelta(days=CALENDAR_DAYS))
    # The State Council announces a year in November or so: until the year has come that is a note, then a fault.
    is_well = today.year not in unknown
    said = f"holidays of {', '.join(map(str, unknown))} are not known yet" if unknown else "holidays are known"
    cure = "" if is_well else "write the State Council's notice into a workdays-YEAR.yaml and name it in `include:`"
    yield Finding(what="workday calendar", is_well=is_well, said=said, cure=cure)


def folder(data_dir: Path) -> Iterator[Finding]:
    """The data folder is ours, private, and has room."""
    if not data_dir.exists():
        yield Finding(what="data folder", is_well=True, said=f"{data_dir} will be made at the first start")
        return
    if not os.access(data_dir, os.W_OK):
        cure = f"mount it for writing, or chown it to the service's user: {data_dir}"
        yield Finding(what="data folder", is_well=False, said="not writable", cure=cure)
    mode = data_dir.stat().st_mode & 0o077
    yield Finding(
        what="data folder",
        is_well=not mode,
        said=f"mode {data_dir.stat().st_mode & 0o777:o}",
        cure=f"chmod 700 {data_dir}" if mode else "",
    )
    free = shutil.disk_usage(data_dir).free
    is_roomy = free >= FREE_BYTES_MIN
    yield Finding(
        what="disk",
        is_well=is_roomy,
        said=f"{free >> 30} GiB free",
        cure="" if is_roomy else "make room: at least 2 GiB",
    )


def ledger(data_dir: Path) -> Iterator[Finding]:
    """The ledger opens, its record is unbroken, and nothing waits too long."""
    from citypulse.errors import CityError
    from citypulse.ledger import Ledger

    if not (data_dir / "city.db").exists():
        return
    try:
        book = Ledger.open(data_dir, read_only=True)
    except CityError as error:
        yield Finding(what="ledger", is_well=False, said=str(error), cure="restore the newest backup")
        return
    try:
        verdict, counts = book.verify(), book.counts()
        is_whole = verdict.first_broken is None
        yield Finding(
            what="record",
            is_well=is_whole,
            said=f"{verdict.checked} lines" if is_whole else f"broken at line {verdict.first_broken}: {verdict.why}",
            cure="" if is_whole else "keep the file as it is and call the auditor: somebody has edited the record",
        )
        dead = counts.outbox_by_state.get("dead", 0) + counts.outbox_by_state.get("failed", 0)
        cure = "mend the channel; see the notices' last errors" if dead else ""
        yield Finding(what="notices", is_well=not dead, said=f"{dead} could not be delivered", cure=cure)
        letters = counts.dead_letters
        yield Finding(what="dead letters", is_well=True, said=f"{letters} kept" if letters else "none")
    finally:
        book.close()


@click.command()
@click.option("--config", "config_path", default="sensors.yaml", show_default=True, type=click.Path(path_type=Path))
@data_option
@json_option
def command(config_path: Path, data_dir: Path, as_json: bool) -> None:
    """Look at packages, configuration, broker, data folder and record; exit 1 when something needs a hand."""
    looks: list[Callable[[], Iterator[Finding]]] = [
        owners,
        lambda: configuration(config_path),
        lambda: folder(data_dir),
        lambda: ledger(data_dir),
    ]
    found = [finding for look in looks for finding in look()]
    if as_json:
        print_json([{"what": f.what, "ok": f.is_well, "said": f.said, "cure": f.cure} for f in found])
    else:
        for f in found:
            click.echo(
                f"{'好 ok  ' if f.is_well else '病 ILL '} {f.what}: {f.said}"
                + (f"\n        → {f.cure}" if f.cure else "")
            )
    if not all(f.is_well for f in found):
        raise click.exceptions.Exit(1)
