"""Files of rule tests: reads them with their lines, and runs each test on the live engine and the live desk.

    config: town.yaml            # the configuration whose rules are tested, beside this file; --config overrides it
    tests:
      - name: …                  # see rules/ruletest.py for the notation

A file is checked whole before any of its tests runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from alerts.desk import Desk
from alerts.lifecycle import letter
from citypulse.config import Extensions, load_city
from citypulse.config.load import parse, read_source
from citypulse.config.nodes import Listing, Node, Report, Table, did_you_mean
from citypulse.errors import ConfigError
from citypulse.model import CityConfig, ReadingBatch, SensorTable, Transition
from rules.because import duration
from rules.ruletest import START_MS, Outcome, RuleTest, RuleTestError, read_test, run_test

_WORDS = {"A": "acked", "B": "unack", "C": "acked", "D": "unack", "E": "hidden", "F": "hidden", "G": "hidden"}
_KEYS = ("config", "tests")


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """One file's tests, checked; `lines[k]` is where test k stands."""

    file: str
    config: CityConfig
    table: SensorTable
    tests: tuple[RuleTest, ...]
    lines: tuple[int, ...]


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


class Watcher:
    """The desk, as a test looks at it."""

    def __init__(self, config: CityConfig, table: SensorTable) -> None:
        """Begin with an empty board."""
        self.desk = Desk(config, table)

    def step(self, transitions: Sequence[Transition], batch: ReadingBatch, now_ms: int) -> None:
        """Take one step's changes."""
        self.desk.receive(transitions, batch, (), now_ms)

    def alarm(self, rule: str, scope: str) -> str:
        """Return what an officer sees of a rule's alarm now."""
        alarm = self.desk.live(f"{rule}|{scope}")
        return "none" if alarm is None else _WORDS[letter(alarm)]


def load_suite(path: Path, extensions: Extensions, config: Path | None = None) -> Suite:
    """Read and check a file of tests. Raises ConfigError with every problem, of the tests or of their configuration."""
    report = Report()
    name = str(path)
    source = read_source(path, name, report)
    root = parse(source, report) if source else None
    if root is not None and not isinstance(root, Table):
        report.add("E102", root, "a file of rule tests must be a mapping", "begin with `config:` and `tests:`")
    if report.found or not isinstance(root, Table):
        raise ConfigError(report.found)
    for key in root.entries:
        if key not in _KEYS:
            report.add("E104", root.key(key), f"unknown key `{key}`", did_you_mean(key, _KEYS))
    listing = root.get("tests")
    if not isinstance(listing, Listing) or not listing.items:
        report.add("E101", root.key("tests"), "`tests` must be a list of at least one test", "add `tests:`")
    target = config or _target(root, path, report)
    if report.found or target is None or not isinstance(listing, Listing):
        raise ConfigError(report.found)
    city = load_city(target, extensions)
    table = SensorTable.build(tuple(s.id for s in city.sensors), city.sensors)
    tests, lines = [], []
    for item in listing.items:
        test = _test(item, city, table, report)
        if test is not None:
            tests.append(test)
            lines.append(item.line)
    if report.found:
        raise ConfigError(report.found)
    return Suite(file=name, config=city, table=table, tests=tuple(tests), lines=tuple(lines))


def _target(root: Table, path: Path, report: Report) -> Path | None:
    node = root.get("config")
    if node is None:
        report.add("E101", root, "`config` is missing", "name the configuration whose rules are tested, or --config")
        return None
    target = path.parent / str(node.data())
    if not target.is_file():
        report.add("E015", node, f"`{node.data()}` does not exist", f"looked for {target}")
        return None
    return target


def _test(item: Node, city: CityConfig, table: SensorTable, report: Report) -> RuleTest | None:
    if not isinstance(item, Table):
        report.add("E102", item, "a test must be a mapping", "give it `name`, `series` and `expect`")
        return None
    expect = item.get("expect")
    nodes = expect.items if isinstance(expect, Listing) else []
    try:
        return read_test(item.data(), city.rules, table, [str(n.origin) for n in nodes])
    except RuleTestError as error:
        report.add("E103", _culprit(item, nodes, city, table), str(error))
    except (TypeError, AttributeError, ValueError) as error:
        report.add("E102", item, f"cannot be read as a test: {error}", "see docs/reference/rule-tests.md")
    return None


def _culprit(item: Table, nodes: Sequence[Node], city: CityConfig, table: SensorTable) -> Node:
    """Return the first expectation that is wrong by itself, or the test."""
    whole = item.data()
    for node in nodes:
        try:
            read_test(whole | {"expect": [node.data()]}, city.rules, table)
        except RuleTestError:
            try:
                read_test(whole | {"expect": [], "raises": {city.rules[0].id: 0}}, city.rules, table)
            except RuleTestError:
                return item  # wrong even without it
            return node
    return item


def run_suite(suite: Suite) -> list[Result]:
    """Run the tests of one file, each from an empty city."""
    city = suite.config
    return [
        Result(
            file=suite.file,
            line=line,
            outcome=run_test(
                test,
                city.rules,
                suite.table,
                city.sites,
                city.gateways,
                city.quantities,
                Watcher(city, suite.table),
            ),
        )
        for test, line in zip(suite.tests, suite.lines, strict=True)
    ]


def story(outcome: Outcome) -> list[str]:
    """Return what the rules in question did instead, a line each."""
    test = outcome.test
    rules = {e.rule for e in test.expect} | set(test.raises)
    lines = []
    for t in outcome.transitions:
        if t.rule in rules:
            level = t.level.colour if t.level else "normal"
            at = duration((t.event_ms - START_MS) / 1000)
            lines.append(f"{at}: {t.rule} on {t.scope}: {t.kind.value} → {level}. {t.because.en}")
    return lines
