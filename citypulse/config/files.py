"""From a path to checked documents: reads a file and what it includes, checks each against the schema.

An entry with a problem is noted and left out, and the rest is checked on, so that one run shows every problem.
What was declared, even wrongly, is remembered: a broken gateway is not also reported as unknown.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import ValidationError

from . import problems
from .load import parse, read_source
from .nodes import Listing, Node, Report, Scalar, Source, Table, did_you_mean
from .schema import FileIn, RuleIn

PACKS = Path(__file__).resolve().parents[2] / "rules" / "packs"
INCLUDES_MAX = 64
_BY_NAME = ("areas", "templates", "teams", "channels", "order_templates", "people", "rotas", "chains", "profiles")


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """One file: its model and the tree it was made from, aligned item by item."""

    source: Source
    root: Table
    model: FileIn


@dataclass(slots=True)
class Reading:
    """Everything read: documents with the included ones first, declared ids by section, and the digests."""

    documents: list[Document] = field(default_factory=list)
    declared: dict[str, set[str]] = field(default_factory=dict)
    sources: list[Source] = field(default_factory=list)
    is_whole: bool = True  # False when an entry had to be left out

    @property
    def fingerprint(self) -> str:
        """The sha256 over all files' digests, in the order they were read."""
        return hashlib.sha256(b"".join(s.digest for s in self.sources)).hexdigest()


def read_all(path: Path, model: type[FileIn], report: Report) -> Reading:
    """Read `path` and everything it includes."""
    reading = Reading()
    _read_one(path, None, (), model, report, reading)
    return reading


def is_pack(source: Source) -> bool:
    """Whether a file is a pack: written for every city, so that some of its rules find nothing in this one."""
    return _lies_among_packs(str(Path.cwd()), source.name)


@functools.lru_cache(maxsize=INCLUDES_MAX)
def _lies_among_packs(folder: str, name: str) -> bool:
    path = Path(folder, name).resolve()
    return path.parent == PACKS and "." not in path.stem


def shown_name(path: Path) -> str:
    """Return the path as people will see it: relative when it lies below the working directory."""
    name = os.path.relpath(path)
    return str(path) if name.startswith("..") else name


def _read_one(
    path: Path,
    said: Node | None,
    above: tuple[Path, ...],
    model: type[FileIn],
    report: Report,
    reading: Reading,
) -> None:
    name = shown_name(path)
    if said is not None and not path.is_file():
        available = sorted(p.stem for p in PACKS.glob("*.yaml") if "." not in p.stem)  # not their tests
        text = said.text if isinstance(said, Scalar) else ""
        is_pack = text.startswith("pack:")
        hint = did_you_mean(text.removeprefix("pack:"), available, several="packs") if is_pack else f"looked for {name}"
        report.add("E015", said, f"`{text}` cannot be included: there is no such {'pack' if is_pack else 'file'}", hint)
        reading.is_whole = False
        return
    source = read_source(path, name, report)
    root = parse(source, report) if source else None
    if source is None or root is None:
        reading.is_whole = False
        return
    if not isinstance(root, Table):
        report.add("E102", root, "a configuration file must be a mapping", "begin with `version: 1`")
        reading.is_whole = False
        return
    _declare(root, reading.declared)
    pruned, checked = _checked(root, model, report)
    reading.is_whole &= pruned is root
    if checked is None:
        return
    document = Document(source, pruned, checked)
    includes = pruned.get("include")
    nodes = includes.items if isinstance(includes, Listing) else [includes] if includes else []
    for node in nodes:
        target = _target(node, path)
        if target in (*above, path):
            report.add("E015", node, f"`{node.data()}` includes itself, directly or over others", "break the circle")
        elif any(s.name == shown_name(target) for s in reading.sources):
            continue  # two packs may share a third
        elif len(reading.sources) >= INCLUDES_MAX:
            report.add("E005", node, f"more than {INCLUDES_MAX} files", "join some of them")
        else:
            _read_one(target, node, (*above, path), model, report, reading)
    reading.sources.append(source)
    reading.documents.append(document)


def _target(node: Node, here: Path) -> Path:
    text = str(node.data())
    if text.startswith("pack:"):
        return PACKS / f"{text.removeprefix('pack:')}.yaml"
    return Path(os.path.normpath(here.parent / text))


def _checked(root: Table, model: type[FileIn], report: Report) -> tuple[Table, FileIn | None]:
    """Check a file; note its problems; return it without the entries that had any."""
    nothings = list(_nothings(root, ()))
    wrong: list[tuple[str | int, ...]] = [path for path, _ in nothings]
    try:
        checked = model.model_validate(root.data())
    except ValidationError as error:
        problems.note(report, error, root, model)
        wrong += [detail["loc"] for detail in error.errors(include_url=False, include_context=False)]
    noted = {(d.line, d.col) for d in report.found if d.file == root.source.name}
    for path, key in nothings:
        if (key.line, key.col) not in noted:
            what = "an item" if isinstance(path[-1], int) else f"`{path[-1]}`"
            is_section = len(path) == 3 and path[0] in ("rules", "overrides") and path[2] not in RuleIn.model_fields
            report.add(
                "E102", key, f"{what} has no value", "write `{}`" if is_section else "give it one, or leave it out"
            )
    if not wrong:
        return root, checked
    pruned = _pruned(root, wrong)
    try:
        return pruned, model.model_validate(pruned.data())
    except ValidationError:
        return pruned, None


def _nothings(node: Node, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Node]]:
    """Yield every key or item that stands there without a value: `level:` and nothing after it."""
    children: list[tuple[str | int, Node, Node]]
    if type(node) is Table:
        children = [(name, key, value) for name, (key, value) in node.entries.items()]
    elif type(node) is Listing:
        children = [(index, item, item) for index, item in enumerate(node.items)]
    else:
        return
    for name, key, value in children:
        if type(value) is not Scalar:
            yield from _nothings(value, (*path, name))
        elif value.value is None:
            yield (*path, name), key


def _pruned(root: Table, wrong: Iterable[tuple[str | int, ...]]) -> Table:
    """Return a copy of the file without the entries that something wrong was found in."""
    bad: dict[str, set[str | int]] = {}
    for loc in wrong:
        items = bad.setdefault(str(loc[0]), set())
        if len(loc) > 1:
            items.add(loc[1])
        else:
            items.add("*")
    entries = dict(root.entries)
    for section, items in bad.items():
        if section not in entries:
            if section == "version":
                key = Scalar(source=root.source, line=root.line, col=root.col, text="version", value="version")
                entries["version"] = (key, replace(key, text="1", value=1))
            continue
        key, node = entries[section]
        if section == "version":
            entries[section] = (key, Scalar(source=node.source, line=node.line, col=node.col, text="1", value=1))
        elif "*" in items or section in ("city", "broker", "include"):
            del entries[section]
        elif isinstance(node, Listing):
            kept = [item for index, item in enumerate(node.items) if index not in items]
            entries[section] = (key, replace(node, items=kept))
        elif isinstance(node, Table):
            left = {k: v for k, v in node.entries.items() if k not in items}
            entries[section] = (key, replace(node, entries=left))
    return replace(root, entries=entries)


def _declare(root: Table, declared: dict[str, set[str]]) -> None:
    """Remember every id the file declares, whether or not its entry is sound."""
    for section in _BY_NAME:
        node = root.get(section)
        if isinstance(node, Table):
            declared.setdefault(section, set()).update(node.entries)
    for section in ("gateways", "rules"):
        node = root.get(section)
        for item in node.items if isinstance(node, Listing) else ():
            if isinstance(item, Table):
                declared.setdefault(section, set()).update(_ids(item))
    sites = root.get("sites")
    for item in sites.items if isinstance(sites, Listing) else ():
        places = item.get("places") if isinstance(item, Table) else None
        if isinstance(places, Table):
            declared.setdefault("sites", set()).update(places.entries)


def _ids(item: Table) -> set[str]:
    ids, several = item.get("id"), item.get("ids")
    found = {str(ids.data())} if isinstance(ids, Scalar) else set()
    return found | ({str(n.data()) for n in several.items} if isinstance(several, Listing) else set())
