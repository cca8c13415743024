"""One problem in a configuration file, and how it is shown: file, line, column, the line itself and a caret.

The form is ruff's, so that editors and engineers can read it already.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

_SOURCE_LINE_MAX = 160  # a longer source line is cut around the caret


class Severity(Enum):
    """Whether a problem stops the configuration from being used."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """One problem: what, where, and what to do about it.

    line and col count from 1, in characters; line 0 means the file as a whole. width is how many characters
    the caret underlines. source is the text of that line, "" when it cannot be shown.
    """

    code: str  # E… stops loading, W… does not; `citypulse explain CODE` tells more
    file: str
    line: int
    col: int
    message: str
    hint: str = ""
    source: str = ""
    width: int = 1

    @property
    def severity(self) -> Severity:
        """ERROR for E codes, WARNING for W codes."""
        return Severity.WARNING if self.code.startswith("W") else Severity.ERROR

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.col}" if self.line else self.file
        return f"{where}: {self.code} {self.message}" + (f" (help: {self.hint})" if self.hint else "")

    def render(self, *, colour: bool = False) -> str:
        """Return the problem as several lines: head, source line, caret with the hint."""
        paint = _Paint(colour)
        where = f"{self.file}:{self.line}:{self.col}" if self.line else self.file
        shade = paint.red if self.severity is Severity.ERROR else paint.yellow
        lines = [f"{paint.bold(where)}: {shade(self.code)} {self.message}"]
        hint = f"help: {self.hint}" if self.hint else ""
        if self.source:
            text, col = _window(self.source, self.col)
            number = str(self.line)
            lines.append(f"{paint.dim(f'{number:>4} |')} {text}")
            width = max(1, min(self.width, len(text) - col + 1))
            pad = " " * _columns(text[: col - 1])
            caret = "^" * max(1, _columns(text[col - 1 : col - 1 + width]))
            lines.append(f"{paint.dim('     |')} {pad}{shade(caret)}" + (f" {hint}" if hint else ""))
        elif hint:
            lines.append(f"     = {hint}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """Return the problem for `--json`: plain strings and integers."""
        return {
            "code": self.code,
            "severity": self.severity.value,
            "file": self.file,
            "line": self.line,
            "col": self.col,
            "width": self.width,
            "message": self.message,
            "hint": self.hint,
        }


def in_reading_order(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Sort by file, line, column and code, and drop exact repeats."""
    return sorted(dict.fromkeys(diagnostics), key=lambda d: (d.file, d.line, d.col, d.code, d.message))


def _columns(text: str) -> int:
    """How many terminal cells `text` takes: a Chinese character takes two."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _window(source: str, col: int) -> tuple[str, int]:
    """Cut a very long line to the part around `col`; return it and the column inside it."""
    text = source.replace("\t", " ")
    if len(text) <= _SOURCE_LINE_MAX:
        return text, col
    start = max(0, col - 1 - _SOURCE_LINE_MAX // 2)
    cut = text[start : start + _SOURCE_LINE_MAX]
    return ("…" + cut if start else cut) + "…", col - start + (1 if start else 0)


@dataclass(frozen=True, slots=True)
class _Paint:
    """Terminal colours, or nothing at all."""

    on: bool

    def _wrap(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.on else text

    def bold(self, text: str) -> str:
        return self._wrap("1", text)

    def dim(self, text: str) -> str:
        return self._wrap("2;36", text)

    def red(self, text: str) -> str:
        return self._wrap("1;31", text)

    def yellow(self, text: str) -> str:
        return self._wrap("1;33", text)
