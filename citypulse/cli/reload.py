"""`citypulse reload`: have the running service read its configuration again, and say what came of it."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import click

from .show import data_option, json_option, print_json

LOOK_S = 0.2
LOOKS_MAX = 600  # two minutes: the heart takes a configuration within a second, unless its disk is full
SAID = {
    "applied": "新配置已生效 the new configuration is in force",
    "unchanged": "配置没有变化 the configuration has not changed",
    "refused": "未采用 refused",
}


@click.command()
@data_option
@json_option
def command(data_dir: Path, as_json: bool) -> None:
    """Read the configuration again: whole, or not at all. Exit 1 when it is refused."""
    from citypulse.errors import CityError

    from .client import SERVICE_FILE, Client

    client = Client.of(data_dir)
    before = _counts(client)
    if not before:
        raise CityError("this service has no configuration file to read again (a demo); restart it instead")
    os.kill(int(json.loads((data_dir / SERVICE_FILE).read_text())["pid"]), signal.SIGHUP)
    pause = threading.Event()
    for _ in range(LOOKS_MAX):
        pause.wait(LOOK_S)
        health = client.get("/readyz")
        counts = health["facts"]["config_reloads"]
        kind = next((k for k in counts if counts[k] > before[k]), "")
        if kind:
            _say(kind, health, as_json=as_json)
            return
    raise CityError("no answer within two minutes; see the service's log")


def _counts(client: Any) -> dict[str, int]:
    counts: dict[str, int] = client.get("/readyz").get("facts", {}).get("config_reloads", {})
    return counts


def _say(kind: str, health: dict[str, Any], *, as_json: bool) -> None:
    problems = health["problems"] if kind == "refused" else []
    terms = health["facts"].get("config_terms", []) if kind == "applied" else []
    if as_json:
        print_json({"outcome": kind, "config": health["facts"]["config"], "problems": problems,
                    "alarm_terms": terms})  # fmt: skip
    else:
        click.echo(f"{SAID[kind]} ({health['facts']['config']})")
        for term in terms:
            click.echo(f"  告警处置 alarms: {term['en']}")
        for problem in problems:
            click.echo(f"  {problem['zh']}\n  {problem['en']}", err=True)
    if kind == "refused":
        raise click.exceptions.Exit(1)
