"""Which of a configuration's own rules no rule test exercises: the tests are the *.tests.yaml beside its files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .check import Loaded
from .diagnostics import Diagnostic, in_reading_order
from .files import is_pack
from .load import parse, read_source
from .nodes import Listing, Node, Report, Scalar, Table, walk

FILES_MAX = 200  # test files looked into beside one configuration
_COUNTED = ("raises", "clears")


def untested_rules(loaded: Loaded) -> list[Diagnostic]:
    """Return a W214 for each rule of the configuration's own files that no test names. Packs bring their own tests."""
    report = Report()
    sources = [d.source for d in loaded.reading.documents if not is_pack(d.source)]
    folders = dict.fromkeys(Path(source.name).parent for source in sources)
    files = [path for folder in folders for path in sorted(folder.glob("*.tests.yaml"))][:FILES_MAX]
    tested = {rule for path in files for rule in _named(path)}
    for document in loaded.reading.documents:
        if is_pack(document.source):
            continue
        for index, rule in enumerate(document.model.rules):
            if rule.id not in tested:
                where = "no *.tests.yaml stands beside it" if not files else f"no test of {len(files)} files names it"
                node = walk(document.root, ["rules", index, "id"])
                report.add("W214", node, f"rule `{rule.id}` is untested: {where}", "see docs/reference/rule-tests.md")
    return in_reading_order(report.found)


def _named(path: Path) -> Iterator[str]:
    """Yield every rule that a file of tests is about; a file that cannot be read is about none."""
    nobody = Report()
    source = read_source(path, str(path), nobody)
    root = parse(source, nobody) if source else None
    tests = root.get("tests") if isinstance(root, Table) else None
    for test in tests.items if isinstance(tests, Listing) else ():
        yield from _rules_of(test)


def _rules_of(test: Node) -> Iterator[str]:
    if not isinstance(test, Table):
        return
    rule = test.get("rule")
    if isinstance(rule, Scalar):
        yield rule.text
    for key in _COUNTED:
        counts = test.get(key)
        if isinstance(counts, Table):
            yield from counts.entries
    for key in ("expect", "do"):
        lines = test.get(key)
        for line in lines.items if isinstance(lines, Listing) else ():
            named = line.get("rule") if isinstance(line, Table) else None
            if isinstance(named, Scalar):
                yield named.text
