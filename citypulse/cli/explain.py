"""`citypulse explain WHAT`: a sensor's effective limits and where each was said, or what a diagnostic code means."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .show import json_option, print_json

if TYPE_CHECKING:
    from citypulse.config.explain import Said, SensorExplained

_CODE = re.compile(r"^[EW]\d{3}$")


@click.command()
@click.argument("what", metavar="SENSOR|CODE")
@click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path),
    default=Path("sensors.yaml"),
    show_default=True,
    help="The configuration the sensor stands in",
)
@json_option
def command(what: str, file: Path, as_json: bool) -> None:
    """Explain a sensor (`f-0001.depth`) or a diagnostic code (`E104`)."""
    if _CODE.match(what.upper()):
        _explain_code(what.upper(), as_json=as_json)
    else:
        _explain_sensor(what, file, as_json=as_json)


def _explain_code(name: str, *, as_json: bool) -> None:
    from citypulse.config.codes import CODES
    from citypulse.config.nodes import did_you_mean

    code = CODES.get(name)
    if code is None:
        raise click.UsageError(f"no code {name}; {did_you_mean(name, CODES)}")
    if as_json:
        texts = {key: {"zh": text.zh, "en": text.en} for key, text in (("title", code.title), ("text", code.text))}
        print_json({"code": name, **texts})
        return
    click.echo(f"{name} {code.title.zh} {code.title.en}\n\n{code.text.zh}\n\n{code.text.en}")


def _explain_sensor(sensor: str, file: Path, *, as_json: bool) -> None:
    from citypulse.config import inspect_city
    from citypulse.config.explain import explain_sensor
    from citypulse.config.nodes import did_you_mean
    from citypulse.vocabulary import extensions

    if not file.is_file():
        raise click.UsageError(f"there is no file {file}")
    loaded = inspect_city(file, extensions())
    if loaded.city is None:
        for diagnostic in loaded.diagnostics:
            click.echo(diagnostic.render(), err=True)
        raise click.exceptions.Exit(1)
    explained = explain_sensor(loaded, sensor)
    if explained is None:
        raise click.UsageError(f"no sensor {sensor} in {file}; {did_you_mean(sensor, loaded.inventory.sensors)}")
    if as_json:
        print_json(explained.as_dict())
        return
    click.echo("\n".join(lines_of(explained)))


def lines_of(explained: SensorExplained) -> list[str]:
    """Write an explanation as aligned lines: what, value, where it was said."""
    head = f"{explained.sensor}  {explained.name_zh} {explained.name_en} · {explained.site_zh} {explained.site_en}"
    lines = [head, *_table(explained.said), "", "quality control 质量控制", *_table(explained.quality)]
    for rule in explained.rules:
        lines += ["", f"{rule.id}  {rule.name_zh} {rule.name_en}  ({rule.detector}, version {rule.version})"]
        lines += [f"  said at {rule.origin}" + "".join(f", overridden at {o}" for o in rule.overrides)]
        lines += [f"  source: {rule.source}", *_table(rule.said), "  its alarms 告警处置:", *_table(rule.alarms)]
    if explained.switched_off:
        lines += ["", "switched off here", *_table(explained.switched_off)]
    return lines


def _table(rows: Iterable[Said]) -> list[str]:
    listed = list(rows)
    if not listed:
        return []
    first = max(len(row.what) for row in listed)
    second = min(60, max(len(row.value) for row in listed))
    return [f"  {row.what:<{first}}  {row.value:<{second}}  {row.origin}" for row in listed]
