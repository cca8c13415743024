"""`citypulse health`: ask the running service whether it can be relied on; made for cron, probes and OnFailure."""

from __future__ import annotations

from pathlib import Path

import click

from .show import data_option, json_option, print_json


@click.command()
@data_option
@json_option
def command(data_dir: Path, as_json: bool) -> None:
    """Say whether the service is well: exit 0 when it is, 1 with what is wrong, 3 when none answers."""
    from .client import Client

    found = Client.of(data_dir).get("/readyz")
    if as_json:
        print_json(found)
    else:
        click.echo("好 well" if found["ready"] else "病 ILL")
        for problem in found["problems"]:
            click.echo(f"  {problem['zh']}\n  {problem['en']}")
    if not found["ready"]:
        raise click.exceptions.Exit(1)
