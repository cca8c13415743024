"""`citypulse schema`: the JSON Schema of sensors.yaml, for completion and checks while typing."""

from __future__ import annotations

import click

from .show import print_json


@click.command()
@click.option("--tests", "is_of_tests", is_flag=True, help="The schema of files of rule tests instead")
def command(is_of_tests: bool) -> None:
    """Print the JSON Schema of a configuration file, with every detector, codec and channel this build knows."""
    if is_of_tests:
        from citypulse.ruletest.shape import tests_json_schema

        print_json(tests_json_schema())
        return
    from citypulse.config.jsonschema import json_schema
    from citypulse.vocabulary import extensions

    print_json(json_schema(extensions()))
