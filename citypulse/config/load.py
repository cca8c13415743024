"""The one door to YAML: bytes in, a tree with places out, and every trap of YAML 1.1 refused with its cure.

We build the tree from the parser's events ourselves. So an alias is never followed (no bombs), a tag never
makes an object, and depth and size are bounded while reading, not afterwards. Scalars follow the YAML 1.2
core schema; what 1.1 readers such as PyYAML would silently turn into something else is an error.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from .nodes import Listing, Node, Report, Scalar, Source, Table

FILE_BYTES_MAX = 4_000_000  # a whole city is ~0.2 MB
DEPTH_MAX = 24  # the schema itself nests 7 deep
NODES_MAX = 400_000

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml is about ten times faster

_BOOL_11 = frozenset(["yes", "Yes", "YES", "no", "No", "NO", "on", "On", "ON", "off", "Off", "OFF"])
_NUMBER_BEGINS = frozenset("+-.0123456789")  # nothing else can be taken for a number, in any version of YAML
_SEXAGESIMAL = re.compile(r"^[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?$")
_OCTAL = re.compile(r"^[-+]?0(?:o[0-7]+|[0-9_]+)$")
_ODD_NUMBER = re.compile(r"^[-+]?(?:0x[0-9a-fA-F_]+|0b[01_]+|\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)|\d[\d_]*_[\d_]*)$")
_EXPONENT_11 = re.compile(r"^[-+]?(?:\d+[eE][-+]?\d+|\d+\.\d*[eE]\d+)$")
_INT = re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$")
_FLOAT = re.compile(r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+][0-9]+)?$")
_TRUTH = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NOTHING = {"", "~", "null", "Null", "NULL"}
_TAB_INDENT = re.compile(r"^ *\t")


class _Stop(Exception):  # noqa: N818 - ends the reading of one file after its problem has been noted
    """The rest of this file cannot be read."""


def read_source(path: Path, name: str, report: Report) -> Source | None:
    """Read a file as UTF-8 text; None with a problem noted when it cannot be."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        report.add_file("E001", name, f"cannot be read: {error.strerror or error}", "check the path and the rights")
        return None
    if len(raw) > FILE_BYTES_MAX:
        report.add_file("E005", name, f"is {len(raw)} bytes; the limit is {FILE_BYTES_MAX}", "split it with `include:`")
        return None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        good = raw[: error.start].decode("utf-8", "replace")
        lines = tuple(good.splitlines() or [""])
        place = Source(name=name, lines=lines)
        guess = _guess_encoding(raw)
        at = Scalar(source=place, line=good.count("\n") + 1, col=len(lines[-1]) + 1, text="", value=None)
        report.add("E002", at, f"the file is not UTF-8{guess}", "save it as UTF-8")
        return None
    return Source(name=name, lines=tuple(text.splitlines()), digest=hashlib.sha256(raw).digest())


def _guess_encoding(raw: bytes) -> str:
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return " (it looks like UTF-16)"
    try:
        raw.decode("gb18030")
    except UnicodeDecodeError:
        return ""
    return " (it looks like GB18030, GBK or GB2312)"


def parse(source: Source, report: Report) -> Node | None:
    """Return the file's one document as a tree; None with the problems noted when there is none to be had.

    Problems that leave a usable tree (a duplicate key, a trap) are noted and reading goes on.
    """
    if _has_tabs(source, report):
        return None
    try:
        return _Composer(source, report).document()
    except _Stop:
        return None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        node = _at(source, mark) if mark else _at(source, None)
        what = " ".join(str(part) for part in (error.context, error.problem) if part)
        report.add("E004", node, f"YAML syntax: {what}", _syntax_hint(source, node, what))
        return None
    except yaml.YAMLError as error:
        report.add_file("E004", source.name, f"YAML syntax: {str(error).splitlines()[0]}")
        return None


def _has_tabs(source: Source, report: Report) -> bool:
    found = False
    for number, line in enumerate(source.lines, 1):
        match = _TAB_INDENT.match(line)
        if match and line.strip():
            col = match.end()
            node = Scalar(source=source, line=number, col=col, text="\t", value=None)
            report.add("E003", node, "a tab in the indentation", "indent with spaces")
            found = True
    return found


def _at(source: Source, mark: Any) -> Scalar:
    line, col = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    if line > len(source.lines):
        line, col = max(1, len(source.lines)), len(source.line(len(source.lines))) + 1
    return Scalar(source=source, line=line, col=col, text="", value=None)


def _syntax_hint(source: Source, node: Node, what: str) -> str:
    if "mapping values are not allowed" in what:
        return "quote the text if it contains `: `"
    if "cannot start any token" in what:
        return "quote the text: %, @, ` and * may not begin a plain one"
    if "expected" in what and source.line(node.line).count('"') % 2:
        return "a closing quote is missing"
    return "check the indentation, brackets and quotes here and on the line before"


class _Composer:
    """Turns parser events into nodes, within bounds."""

    def __init__(self, source: Source, report: Report) -> None:
        self._source = source
        self._report = report
        self._events: Iterator[Any] = yaml.parse("\n".join(source.lines) + "\n", Loader=_LOADER)
        self._nodes = 0

    def document(self) -> Node:
        """Return the root of the only document."""
        next(self._events)  # stream start
        event = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            self._report.add_file("E009", self._source.name, "the file is empty", "begin with `version: 1`")
            raise _Stop
        root = self._node(next(self._events), 0)
        next(self._events)  # document end
        event = next(self._events)
        if not isinstance(event, yaml.StreamEndEvent):
            message = "a second document begins; a file holds one"
            self._report.add("E009", _at(self._source, event.start_mark), message, "remove the `---` or make two files")
        return root

    def _node(self, event: Any, depth: int, *, is_key: bool = False) -> Node:
        self._nodes += 1
        kind = type(event)
        place = self._place(event, kind)
        if depth > DEPTH_MAX or self._nodes > NODES_MAX:
            bound = f"{DEPTH_MAX} levels deep" if depth > DEPTH_MAX else f"{NODES_MAX} values"
            node = Scalar(**place, text="", value=None)
            self._report.add("E005", node, f"more than {bound}", "no configuration needs this: simplify it")
            raise _Stop
        if event.anchor is not None or (kind is not yaml.AliasEvent and event.tag):
            self._refuse_magic(event, place)
        if kind is yaml.ScalarEvent:
            return self._scalar(event, place, is_key=is_key)
        if kind is yaml.SequenceStartEvent:
            return self._listing(place, depth)
        if kind is yaml.MappingStartEvent:
            return self._table(place, depth)
        return Scalar(**place, text="", value=_REFUSED)

    def _place(self, event: Any, kind: type) -> dict[str, Any]:
        start = event.start_mark
        width = 1
        if kind is yaml.ScalarEvent or kind is yaml.AliasEvent:
            end = event.end_mark
            until = end.column if end.line == start.line else len(self._source.line(start.line + 1).rstrip())
            width = max(1, until - start.column)
        return {"source": self._source, "line": start.line + 1, "col": start.column + 1, "width": width}

    def _refuse_magic(self, event: Any, place: dict[str, Any]) -> None:
        node = Scalar(**place, text="", value=None)
        if event.anchor is not None:
            kind = "alias" if isinstance(event, yaml.AliasEvent) else "anchor"
            sign = "*" if kind == "alias" else "&"
            message = f"{kind} `{sign}{event.anchor}` is not allowed"
            self._report.add("E007", node, message, "write it out, or use `templates:` for what repeats")
        tag = getattr(event, "tag", None)
        if tag:
            short = tag.replace("tag:yaml.org,2002:", "!!")
            self._report.add("E008", node, f"tag `{short}` is not allowed", "write the plain value")

    def _listing(self, place: dict[str, Any], depth: int) -> Listing:
        listing = Listing(**place)
        while type(event := next(self._events)) is not yaml.SequenceEndEvent:
            listing.items.append(self._node(event, depth + 1))
        return listing

    def _table(self, place: dict[str, Any], depth: int) -> Table:
        table = Table(**place)
        while type(event := next(self._events)) is not yaml.MappingEndEvent:
            key = self._node(event, depth + 1, is_key=True)
            value = self._node(next(self._events), depth + 1)
            name = self._key(key)
            if name is None:
                continue
            if name in table.entries:
                first = table.entries[name][0]
                message = f"`{name}` is given twice; the first is on line {first.line}"
                self._report.add("E006", key, message, "keep one of them")
                continue
            assert isinstance(key, Scalar)  # noqa: S101 - `_key` names scalars only
            if not table.entries:
                table.width = key.width if (table.line, table.col) == (key.line, key.col) else 1
            table.entries[name] = (key, value)
        return table

    def _key(self, key: Node) -> str | None:
        if type(key) is not Scalar:
            self._report.add("E014", key, "a key must be a text, not a list or a mapping", "use a plain word")
            return None
        if key.text == "<<":
            self._report.add("E007", key, "merge key `<<` is not allowed", "use `templates:` for what repeats")
            return None
        if not isinstance(key.value, str):
            self._report.add("E014", key, f"key `{key.text}` is not a text", f'write `"{key.text}"`')
        return key.text or None

    def _scalar(self, event: Any, place: dict[str, Any], *, is_key: bool) -> Scalar:
        text: str = event.value
        node = Scalar(**place, text=text, value=text)
        if event.style not in (None, ""):
            return node
        trap = _trap(text)
        if trap:
            code, message, hint = trap
            self._report.add(code, node, message, f'quote it: `"{text}"`' if is_key else hint)
            node.value = _REFUSED
        else:
            node.value = _understand(text)
        return node


class _Refused(str):
    """Stands for a value already refused, so that nothing complains of it a second time."""

    __slots__ = ()


_REFUSED = _Refused("")


def is_refused(value: Any) -> bool:
    """Whether a value was already refused as a trap while reading."""
    return value is _REFUSED


def _trap(text: str) -> tuple[str, str, str] | None:
    if text in _BOOL_11:
        truth = text.lower() in {"yes", "on"}
        message = f"`{text}` is a boolean to YAML 1.1 ({truth}) and a text to YAML 1.2"
        return "E010", message, f'write `{str(truth).lower()}`, or `"{text}"` for the text'
    if text[:1] not in _NUMBER_BEGINS:
        return None
    if _SEXAGESIMAL.match(text):
        return "E011", f"`{text}` is a number in base 60 to YAML 1.1", f'quote it: `"{text}"`'
    if _OCTAL.match(text):
        plain = text.lstrip("+-0o_") or "0"
        return "E012", f"`{text}` is an octal number to some readers", f'write `{plain}`, or `"{text}"` for the text'
    if _EXPONENT_11.match(text):
        return "E013", f"`{text}` is a text to YAML 1.1, a number to YAML 1.2", f"write `{float(text):.12g}`"
    if _ODD_NUMBER.match(text):
        return (
            "E013",
            f"`{text}` is not read alike by all YAML readers",
            "write a plain decimal number, or quote the text",
        )
    return None


def _understand(text: str) -> Any:
    if text in _NOTHING:
        return None
    if text in _TRUTH:
        return _TRUTH[text]
    if text[:1] not in _NUMBER_BEGINS:
        return text
    if _INT.match(text):
        return int(text) if len(text) <= 18 else float(text)
    if _FLOAT.match(text):
        return float(text)
    return text
