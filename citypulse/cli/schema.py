"""`citypulse schema`: the JSON Schema of sensors.yaml, for completion and checks while typing."""

from __future__ import annotations

import click

from .show import print_json


@click.command()
def command() -> None:
    """Print the JSON Schema of a configuration file, with every detector, codec and channel this build knows."""
    from citypulse.app import extensions
    from citypulse.config.jsonschema import json_schema

    print_json(json_schema(extensions()))
