"""Turns public recordings into readings files and a configuration, and alarms back into a scorer's table.

    python -m simulators.convert floodnet --readings readings.csv.gz --events events.csv.gz --out DIR
    python -m simulators.convert floodnet-alarms --alarms alarms.json --events events.csv.gz \
        --readings readings.csv.gz --out alarms.csv
    python -m simulators.convert lro STATION.csv.gz … --out DIR

docs/operate/replay.md shows the whole way from a recording to its score.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

CM_PER_INCH = 2.54
LEVELS_IN = (4, 12, 24)  # FloodNet publishes durations above these
COLOURS = {4: "yellow", 12: "orange", 24: "red"}

# Logan River Observatory: column → our quantity. Both sides use the same units, except the stage, which is in cm.
LRO_QUANTITIES = {"temp": "temp", "cond": "cond", "ph": "ph", "do": "do", "turb": "turb", "stage": "level"}
LRO_CM_PER_M = 100.0
LRO_CADENCE = "15 min"
LRO_ORDERS = (("water-check", "水质核查", "Water check"), ("instrument", "仪器维护", "Instrument service"))


@dataclass(frozen=True, slots=True, kw_only=True)
class FloodEvent:
    """One measured flood: which sensor of ours carries it, and its span in absolute time (the file's clock as UTC)."""

    id: str
    sensor: str  # our sensor id
    start_ms: int
    end_ms: int  # its last reading


@click.group()
def command() -> None:
    """Turn public recordings into readings and a configuration, and alarms back into a scorer's table."""


_IN_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_OUT_DIR = click.Path(path_type=Path, file_okay=False)


@command.command()
@click.option("--readings", required=True, type=_IN_FILE, help="event_id,sensor_id,t_s,depth_in")
@click.option("--events", required=True, type=_IN_FILE, help="event_id,sensor_id,flood_start_time,…")
@click.option("--out", required=True, type=_OUT_DIR)
def floodnet(readings: Path, events: Path, out: Path) -> None:
    """Turn FloodNet profiles into readings.csv.gz and sensors.yaml with rules at 4, 12 and 24 inches."""
    profiles = _profiles(readings)
    plan = flood_plan(events, profiles)
    out.mkdir(parents=True, exist_ok=True)
    rows = [(e.start_ms + round(t_s * 1000), e.sensor, inches) for e in plan.values() for t_s, inches in profiles[e.id]]
    rows.sort()
    with gzip.open(out / "readings.csv.gz", "wt", newline="", encoding="utf-8") as file:
        write = csv.writer(file, lineterminator="\n")
        write.writerow(("sensor", "time", "value"))
        # Six decimals keep 4 inches at exactly 10.16 cm, which is what the limit is.
        write.writerows((sensor, ms, round(inches * CM_PER_INCH, 6)) for ms, sensor, inches in rows)
    sites = sorted({e.sensor.removesuffix(".depth") for e in plan.values()})
    (out / "sensors.yaml").write_text(flood_city(sites), encoding="utf-8")
    click.echo(f"{len(rows)} readings of {len(plan)} events at {len(sites)} sites in {out}", err=True)


@command.command(name="floodnet-alarms")
@click.option("--alarms", required=True, type=_IN_FILE, help="what `citypulse alarms --all --json` printed")
@click.option("--events", required=True, type=_IN_FILE)
@click.option("--readings", required=True, type=_IN_FILE)
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False))
def floodnet_alarms(alarms: Path, events: Path, readings: Path, out: Path) -> None:
    """Turn alarms of such a run into event_id,level_in,start_s,end_s."""
    plan = flood_plan(events, _profiles(readings))
    rows = list(flood_alarms(json.loads(alarms.read_text(encoding="utf-8")), plan.values()))
    with out.open("w", newline="", encoding="utf-8") as file:
        write = csv.writer(file, lineterminator="\n")
        write.writerow(("event_id", "level_in", "start_s", "end_s"))
        write.writerows(rows)
    click.echo(f"{len(rows)} alarm periods in {out}", err=True)


@command.command()
@click.argument("stations", nargs=-1, required=True, type=_IN_FILE)
@click.option("--out", required=True, type=_OUT_DIR)
def lro(stations: tuple[Path, ...], out: Path) -> None:
    """Turn Logan River Observatory station files into readings.csv.gz (raw columns) and sensors.yaml."""
    out.mkdir(parents=True, exist_ok=True)
    rows: list[tuple[int, str, float]] = []
    sites: list[str] = []
    for station in stations:
        site = site_id(station.name.split(".")[0])
        sites.append(site)
        for line in _table(station):
            # The logger's local time is kept as if it were UTC: only differences matter.
            ms = _instant(line["datetime"])
            for column, quantity in LRO_QUANTITIES.items():
                if line.get(column):
                    value = float(line[column]) / (LRO_CM_PER_M if column == "stage" else 1.0)
                    rows.append((ms, f"{site}.{quantity}", round(value, 6)))
    rows.sort()
    with gzip.open(out / "readings.csv.gz", "wt", newline="", encoding="utf-8") as file:
        write = csv.writer(file, lineterminator="\n")
        write.writerow(("sensor", "time", "value"))
        write.writerows((sensor, ms, value) for ms, sensor, value in rows)
    (out / "sensors.yaml").write_text(lro_city(sites), encoding="utf-8")
    click.echo(f"{len(rows)} readings of {len(sites)} stations in {out}", err=True)


# ── FloodNet ────────────────────────────────────────────────────────────────────────────────────


def flood_plan(events: Path, profiles: dict[str, list[tuple[float, float]]]) -> dict[str, FloodEvent]:
    """Give every event its absolute span and a sensor of ours.

    Each profile counts its seconds from its own start. Where two events of one sensor overlap (the publisher split
    one flood in two, both with readings of the same minutes), the later goes to a twin site `…-2`, so that neither
    hides the other.
    """
    rows = sorted(_table(events), key=lambda r: (r["flood_start_time"], r["event_id"]))
    busy_until: dict[str, int] = {}
    plan: dict[str, FloodEvent] = {}
    for row in rows:
        profile = profiles.get(row["event_id"])
        if not profile:
            continue
        start_ms = _instant(row["flood_start_time"])
        end_ms = start_ms + round(max(t for t, _ in profile) * 1000)
        base, turn = site_id(row["sensor_id"]), 1
        site = base
        while busy_until.get(site, -1) >= start_ms:
            turn += 1
            site = f"{base}-{turn}"
        busy_until[site] = end_ms
        plan[row["event_id"]] = FloodEvent(id=row["event_id"], sensor=f"{site}.depth", start_ms=start_ms, end_ms=end_ms)
    return plan


def flood_alarms(
    alarms: Iterable[dict[str, Any]], events: Iterable[FloodEvent]
) -> Iterator[tuple[str, int, float, float]]:
    """Cut every alarm's span in event time into the events of its sensor: event id, inches, start and end in s.

    An alarm still standing at the last reading of a profile ends there: what came after was not recorded.
    """
    of_sensor: dict[str, list[FloodEvent]] = {}
    for event in events:
        of_sensor.setdefault(event.sensor, []).append(event)
    for alarm in alarms:
        match = re.fullmatch(r"depth-(\d+)in", alarm["rule"])
        if match is None:
            continue
        since = alarm["raised_ms"]
        until = alarm["cleared_ms"]
        for event in of_sensor.get(alarm["scope"], ()):
            first = max(since, event.start_ms)
            last = event.end_ms if until is None else min(until, event.end_ms)
            if first <= event.end_ms and last >= first and (until is None or until > event.start_ms):
                yield event.id, int(match[1]), (first - event.start_ms) / 1000, (last - event.start_ms) / 1000


def flood_city(sites: list[str]) -> str:
    """Return a configuration with one depth sensor at each site and a rule for each of the three depths."""
    text = io.StringIO()
    text.write(_head("积水实测回放", "Recorded street floods", "America/New_York"))
    text.write("areas:\n  street: {zh: 街道, en: Street}\n\n")
    text.write("gateways:\n  - {id: recorder, codec: native, silent_after: 365 d}\n\n")
    text.write(
        "templates:\n  street:\n    domain: flood\n    kind: road\n"
        "    sensors: [{quantity: depth, cadence: 1 min, range: [-10 cm, 500 cm]}]\n\n"
    )
    text.write(_sites("street", "street", sites) + _desk())
    text.write("rules:\n")
    for inches in LEVELS_IN:
        limit = f"level: {COLOURS[inches]}, at_least: {inches} in, deadband: 0 in, on_delay: 0 s, off_delay: 0 s"
        text.write(
            f"  - id: depth-{inches}in\n"
            f"    name: {{zh: 积水深度达{inches}英寸, en: Water {inches} inches deep}}\n"
            "    applies_to: {domain: flood, quantity: depth}\n"
            f"    source: FloodNet publishes the time above {inches} inches\n"
            "    threshold: {}\n"
            f"    limits:\n      - {{{limit}}}\n"
            "    gap: hold\n"
        )
    return text.getvalue()


def _profiles(path: Path) -> dict[str, list[tuple[float, float]]]:
    found: dict[str, list[tuple[float, float]]] = {}
    for row in _table(path):
        found.setdefault(row["event_id"], []).append((float(row["t_s"]), float(row["depth_in"])))
    return found


# ── Logan River Observatory ─────────────────────────────────────────────────────────────────────


def lro_city(sites: list[str]) -> str:
    """Return a configuration with six sensors at each station and the water pack's rules."""
    text = io.StringIO()
    text.write(_head("河流观测站回放", "Recorded river stations", "America/Denver"))
    text.write("include: [pack:water]\n\nareas:\n  river: {zh: 河流, en: River}\n\n")
    text.write("gateways:\n  - {id: recorder, codec: native, silent_after: 365 d}\n\n")
    text.write("templates:\n  station:\n    domain: water\n    kind: river\n    sensors:\n")
    for quantity in LRO_QUANTITIES.values():
        text.write(f"      - {{quantity: {quantity}, cadence: {LRO_CADENCE}}}\n")
    text.write("\n" + _sites("station", "river", sites) + _desk("water"))
    text.write("order_templates:\n")
    for template, zh, en in LRO_ORDERS:
        text.write(f"  {template}: {{name: {{zh: {zh}, en: {en}}}}}\n")
    return text.getvalue()


# ── both ────────────────────────────────────────────────────────────────────────────────────────


def site_id(name: str) -> str:
    """Return a name our rules for ids allow: lower case, digits, `-` and `_`."""
    return re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-_")[:60]


def _head(zh: str, en: str, timezone: str) -> str:
    return (
        "# Written by python -m simulators.convert; not a real city.\n"
        f"version: 1\n\ncity:\n  name: {{zh: {zh}, en: {en}}}\n  timezone: {timezone}\n\n"
        "broker:\n  url: mqtt://127.0.0.1:1883\n\n"
    )


def _desk(crew_domain: str = "") -> str:
    """One officer who hears of everything by the log, so that no rule speaks to nobody; a crew, if there is work."""
    crew = f"  crew: {{name: {{zh: 外业组, en: Field crew}}, kind: crew, domains: [{crew_domain}], unit: field}}\n"
    return (
        "teams:\n  duty: {name: {zh: 值班室, en: Duty desk}, kind: duty, unit: duty}\n"
        f"{crew if crew_domain else ''}\n"
        "channels:\n  log: {kind: log}\n\n"
        "routes:\n  - {id: all, to: duty, channel: log}\n\n"
    )


def _sites(template: str, area: str, sites: list[str]) -> str:
    # The recordings name places without co-ordinates; one point stands for all of them.
    rows = "".join(f'      {s}: ["{s}", "{s}", 40.7, -74.0]\n' for s in sites)
    return f"sites:\n  - template: {template}\n    area: {area}\n    gateway: recorder\n    places:\n{rows}\n"


def _table(path: Path) -> Iterator[dict[str, str]]:
    with (
        gzip.open(path, "rt", newline="", encoding="utf-8-sig")
        if path.suffix == ".gz"
        else path.open(newline="", encoding="utf-8-sig") as lines
    ):
        yield from csv.DictReader(lines)


def _instant(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


if __name__ == "__main__":
    command()
