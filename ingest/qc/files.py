"""Reads the `quality:` section of a YAML file, with every problem at its line and column."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from citypulse.config import problems
from citypulse.config.load import parse, read_source
from citypulse.config.nodes import Node, Report, Table
from citypulse.config.quality import plain_section
from citypulse.errors import ConfigError

from .settings import QualitySettings


def quality_of(section: Node, report: Report) -> QualitySettings | None:
    """Check a `quality:` section that is already parsed; None with the problems noted when it is wrong."""
    plain = plain_section(section, QualitySettings, report) if isinstance(section, Table) else section
    try:
        return QualitySettings.model_validate(plain.data())
    except ValidationError as error:
        problems.note(report, error, plain, QualitySettings)
        return None


def load_quality(path: Path) -> QualitySettings:
    """Read the `quality:` section of a file (a whole sensors.yaml, or a file of its own).

    Raises ConfigError with all problems, also when there is no such section.
    """
    report = Report()
    source = read_source(path, str(path), report)
    tree = parse(source, report) if source else None
    section = tree.get("quality") if isinstance(tree, Table) else None
    quality = None
    if section is not None:
        quality = quality_of(section, report)
    elif not report.found:
        report.add_file("E101", str(path), "has no `quality:` section", "see docs/reference/quality-control.md")
    if quality is None or any(d.code.startswith("E") for d in report.found):
        raise ConfigError(report.found)
    return quality
