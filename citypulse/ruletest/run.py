"""Files of rule tests: reads them with their lines, and plays each test on the live engine, quality control and desk.

    config: town.yaml            # the configuration whose rules are tested, beside this file; --config overrides it
    tests:
      - name: …                  # docs/reference/rule-tests.md

A file is checked whole before any of its tests runs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import ValidationError

from citypulse.config import Extensions, load_city, problems
from citypulse.config.diagnostics import Diagnostic
from citypulse.config.load import parse, read_source
from citypulse.config.nodes import Listing, Node, Report, Table, walk
from citypulse.errors import ConfigError
from citypulse.model import CityConfig, SensorTable
from rules.because import duration
from rules.ruletest import RuleTest

from .script import Scribe
from .shape import SYNONYMS, SuiteIn
from .verdict import Outcome, play

__all__ = ["Outcome", "Result", "Suite", "load_suite", "run_suite", "story", "suite_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """One file's tests, checked; `lines[k]` is where test k stands, `configs` what its reloads name."""

    file: str
    config: CityConfig
    table: SensorTable
    tests: tuple[RuleTest, ...]
    lines: tuple[int, ...]
    configs: Mapping[str, CityConfig] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one test."""

    file: str
    line: int
    outcome: Outcome

    @property
    def is_passed(self) -> bool:
        """True when everything was as expected."""
        return not self.outcome.failures


def load_suite(path: Path, extensions: Extensions, config: Path | None = None) -> Suite:
    """Read and check a file of tests. Raises ConfigError with every problem, of the tests or of their configuration."""
    report = Report()
    source = read_source(path, str(path), report)
    root = parse(source, report) if source else None
    model = _shape(root, report)
    target = config or _named(root, path, model, report)
    others = _others(root, path, model, report)
    if report.found or target is None or model is None or root is None:
        raise ConfigError(report.found)
    configs = {name: load_city(other, extensions) for name, other in others.items()}
    return suite_of(str(path), model, root, load_city(target, extensions), configs)


def suite_of(
    file: str, model: SuiteIn, root: Node, city: CityConfig, configs: Mapping[str, CityConfig] | None = None
) -> Suite:
    """Check a file's tests against a city. Raises ConfigError with every problem."""
    report, configs = Report(), configs or {}
    table = SensorTable.build(tuple(s.id for s in city.sensors), city.sensors)
    scribe = Scribe(city, table, report, configs)
    listing = walk(root, ["tests"])
    nodes = listing.items if isinstance(listing, Listing) else []
    made = [scribe.test(test, node) for test, node in zip(model.tests, nodes, strict=True)]
    if report.found:
        raise ConfigError(report.found)
    return Suite(
        file=file,
        config=city,
        table=table,
        tests=tuple(test for test in made if test is not None),
        lines=tuple(node.line for node in nodes),
        configs=configs,
    )


def _shape(root: Node | None, report: Report) -> SuiteIn | None:
    if root is None:
        return None
    if not isinstance(root, Table):
        report.add("E102", root, "a file of rule tests must be a mapping", "begin with `config:` and `tests:`")
        return None
    try:
        return SuiteIn.model_validate(root.data())
    except ValidationError as error:
        problems.note(report, error, root, SuiteIn)
        report.found[:] = [_nearer(found) for found in report.found]
        return None


def _nearer(found: Diagnostic) -> Diagnostic:
    """Point at the item of a series that cannot be read, and say our word for another system's."""
    if found.code == "E401" and (item := re.match(r"'([^']+)'", found.message)) and found.source:
        at = found.source.find(item[1], found.col - 1)
        return found if at < 0 else replace(found, col=at + 1, width=len(item[1]))
    if found.code == "E104" and (word := re.match(r"unknown key `([^`]+)`", found.message)):
        meant = SYNONYMS.get(word[1].lower())
        return found if meant is None else replace(found, hint=f"here it is `{meant}`")
    return found


def _named(root: Node | None, path: Path, model: SuiteIn | None, report: Report) -> Path | None:
    if model is None or root is None:
        return None
    if model.config is None:
        report.add("E101", root, "`config` is missing", "name the configuration whose rules are tested, or --config")
        return None
    return _beside(path, model.config, walk(root, ["config"]), report)


def _others(root: Node | None, path: Path, model: SuiteIn | None, report: Report) -> dict[str, Path]:
    """Return the configurations that tests reload, by the name they give."""
    found: dict[str, Path] = {}
    for k, test in enumerate(model.tests if model is not None else ()):
        for j, step in enumerate(test.do):
            if step.reload is not None and step.reload not in found and root is not None:
                other = _beside(path, step.reload, walk(root, ["tests", k, "do", j, "reload"]), report)
                if other is not None:
                    found[step.reload] = other
    return found


def _beside(path: Path, name: str, node: Node, report: Report) -> Path | None:
    target = path.parent / name
    if target.is_file():
        return target
    report.add("E015", node, f"`{name}` does not exist", f"looked for {target}")
    return None


def run_suite(suite: Suite) -> list[Result]:
    """Run the tests of one file, each from an empty city."""
    return [
        Result(file=suite.file, line=line, outcome=play(test, suite.config, suite.configs))
        for test, line in zip(suite.tests, suite.lines, strict=True)
    ]


def story(outcome: Outcome) -> list[str]:
    """Return what the rules in question did instead, a line each."""
    test = outcome.test
    lines = []
    for t in outcome.transitions:
        if t.rule in test.rules:
            level = t.level.colour if t.level else "normal"
            at = duration((t.event_ms - test.start_ms) / 1000)
            lines.append(f"{at}: {t.rule} on {t.scope}: {t.kind.value} → {level}. {t.because.en}")
    return lines
