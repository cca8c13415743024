"""`citypulse user`: people, their roles and their tokens."""

from __future__ import annotations

from pathlib import Path

import click

from .show import data_option, json_option, print_json, print_table

ROLES = ("duty", "lead", "dispatcher", "unit", "crew", "checker", "supervisor", "boss", "engineer", "admin")


@click.group()
def command() -> None:
    """Add people, list them, take a token back."""


@command.command()
@click.argument("name")
@click.option("--role", required=True, type=click.Choice(ROLES))
@click.option("--unit", default="", help="The responsible unit; who fixes never checks for the same unit")
@data_option
def add(name: str, role: str, unit: str, data_dir: Path) -> None:
    """Add a person and print their token, once."""
    from citypulse.ledger.users import Users

    with Users.open(data_dir) as users:
        click.echo(users.add(name, role=role, unit=unit))


@command.command()
@click.argument("name")
@data_option
def remove(name: str, data_dir: Path) -> None:
    """Take a person's token back."""
    from citypulse.ledger.users import Users

    with Users.open(data_dir) as users:
        if not users.remove(name):
            click.echo(f"nobody is called {name!r}", err=True)
            raise click.exceptions.Exit(1)


@command.command(name="list")
@data_option
@json_option
def list_(data_dir: Path, as_json: bool) -> None:
    """List people; tokens are not kept, only their hashes."""
    from citypulse.ledger.users import Users

    with Users.open(data_dir) as users:
        rows = users.all()
    if as_json:
        print_json([{"name": a.name, "role": a.role, "unit": a.unit} for a in rows])
        return
    print_table(
        ("姓名 name", "角色 role", "单位 unit"),
        ((a.name, a.role, a.unit) for a in rows),
        empty="还没有用户 nobody yet; citypulse user add NAME --role duty",
    )
