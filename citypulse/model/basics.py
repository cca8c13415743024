"""The words that everything else is said in: levels, texts in two languages, and where a thing was written."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Priority(IntEnum):
    """The four warning levels, red to blue (突发事件 I-IV). A smaller number matters more."""

    P1 = 1  # 红 red, I
    P2 = 2  # 橙 orange, II
    P3 = 3  # 黄 yellow, III
    P4 = 4  # 蓝 blue, IV

    @property
    def colour(self) -> str:
        """The level's English colour name, as written in YAML."""
        return ("red", "orange", "yellow", "blue")[self - 1]

    @property
    def colour_zh(self) -> str:
        """The level's Chinese colour name."""
        return "红橙黄蓝"[self - 1]

    @classmethod
    def from_colour(cls, colour: str) -> Priority:
        """Return the level named red, orange, yellow or blue."""
        return cls(("red", "orange", "yellow", "blue").index(colour) + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A name people see, in both languages."""

    zh: str
    en: str

    def __str__(self) -> str:
        return self.zh


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where in the configuration a thing was said."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"
