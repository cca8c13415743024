"""What a domain is: its quantities and its kinds of site. One file per domain holds nothing but such a table."""

from __future__ import annotations

from dataclasses import dataclass

from citypulse.model import Quantity, Text


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteKind:
    """A kind of place in a domain; rules choose sites by it."""

    id: str
    name: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """One line of the city's work: what is measured there, and at what kinds of place."""

    id: str
    name: Text
    quantities: tuple[Quantity, ...]
    site_kinds: tuple[SiteKind, ...]


def text(zh: str, en: str) -> Text:
    """Return a name in both languages; the tables below stay one line a row with it."""
    return Text(zh=zh, en=en)


Row = tuple[str, str, str, str, float, float, int, int, str]
"""id · 中文 · English · canonical unit · low · high · cadence in s · direction (+1, -1, 0) · source of the numbers."""


def quantities(domain: str, *rows: Row) -> tuple[Quantity, ...]:
    """Turn a domain's table into its quantities."""
    return tuple(
        Quantity(
            id=key,
            domain=domain,
            name=text(zh, en),
            unit=unit,
            low=low,
            high=high,
            cadence_s=cadence_s,
            direction=direction,
            source=source,
        )
        for key, zh, en, unit, low, high, cadence_s, direction, source in rows
    )
