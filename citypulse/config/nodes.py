"""A YAML file as a tree that remembers where every key and value stood, and the list problems are gathered in."""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from citypulse.model import Origin

from .diagnostics import Diagnostic


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A file as read: the name shown to people, its lines, and the bytes' digest."""

    name: str
    lines: tuple[str, ...] = ()
    digest: bytes = b""

    def line(self, number: int) -> str:
        """Return line `number` (from 1), or "" when there is none."""
        return self.lines[number - 1] if 0 < number <= len(self.lines) else ""


@dataclass(slots=True, eq=False, kw_only=True)
class Node(ABC):
    """A place in a file: line and col count from 1; width is how much of that line the node takes."""

    source: Source
    line: int
    col: int
    width: int = 1

    @property
    def origin(self) -> Origin:
        """Where this was said, for people."""
        return Origin(file=self.source.name, line=self.line)

    @abstractmethod
    def data(self) -> Any:
        """Return the plain Python value."""


@dataclass(slots=True, eq=False, kw_only=True)
class Scalar(Node):
    """A single value: `text` as written, `value` as understood (None, bool, int, float or str)."""

    text: str
    value: Any

    def data(self) -> Any:
        """Return the understood value."""
        return self.value


@dataclass(slots=True, eq=False, kw_only=True)
class Listing(Node):
    """A YAML sequence."""

    items: list[Node] = field(default_factory=list)

    def data(self) -> list[Any]:
        """Return the items' plain values."""
        return [item.data() for item in self.items]


@dataclass(slots=True, eq=False, kw_only=True)
class Table(Node):
    """A YAML mapping, each key with its own place."""

    entries: dict[str, tuple[Scalar, Node]] = field(default_factory=dict)

    def data(self) -> dict[str, Any]:
        """Return the entries' plain values."""
        return {key: value.data() for key, (_, value) in self.entries.items()}

    def get(self, key: str) -> Node | None:
        """Return the value under `key`, or None."""
        entry = self.entries.get(key)
        return entry[1] if entry else None

    def key(self, key: str) -> Node:
        """Return the key's own place, or this mapping when it has no such key."""
        entry = self.entries.get(key)
        return entry[0] if entry else self


def step(node: Node, part: str | int) -> Node | None:
    """Return the child of `node` under a key or position, or None."""
    if isinstance(node, Table) and isinstance(part, str):
        return node.get(part)
    if isinstance(node, Listing) and isinstance(part, int) and 0 <= part < len(node.items):
        return node.items[part]
    return None


def walk(node: Node, path: Iterable[str | int]) -> Node:
    """Follow `path` as far as it goes and return the deepest node reached."""
    for part in path:
        child = step(node, part)
        if child is None:
            return node
        node = child
    return node


class Report:
    """Gathers every problem of a run, so that none hides behind the first."""

    def __init__(self) -> None:
        """Start with none."""
        self.found: list[Diagnostic] = []

    def add(self, code: str, node: Node, message: str, hint: str = "") -> None:
        """Note a problem at a node."""
        self.found.append(
            Diagnostic(
                code=code,
                file=node.source.name,
                line=node.line,
                col=node.col,
                width=node.width,
                message=message,
                hint=hint,
                source=node.source.line(node.line),
            )
        )

    def add_file(self, code: str, file: str, message: str, hint: str = "") -> None:
        """Note a problem of a file as a whole."""
        self.found.append(Diagnostic(code=code, file=file, line=0, col=0, message=message, hint=hint))


def did_you_mean(word: str, known: Iterable[str], *, several: str = "known") -> str:
    """Return a hint naming the nearest known word, or all of them when they are few."""
    words: Sequence[str] = sorted(known)
    by_fold = {w.casefold(): w for w in words}
    close = difflib.get_close_matches(word.casefold(), list(by_fold), n=1, cutoff=0.6)
    if close:
        return f"did you mean `{by_fold[close[0]]}`?"
    if not words:
        return "none are defined"
    shown = ", ".join(f"`{w}`" for w in words[:12])
    return f"{several}: {shown}" + (f" and {len(words) - 12} more" if len(words) > 12 else "")
