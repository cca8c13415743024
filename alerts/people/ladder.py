"""The five-level responsibility chain (五级责任体系): who answers for a place at which level."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from citypulse.model import Person, Text

LADDER: Final = ("person", "unit", "street", "district", "city")
"""As it is climbed."""
LEVEL_NAMES: Final = {
    "person": Text(zh="责任人", en="the person in charge"),
    "unit": Text(zh="社区/单位", en="community or unit"),
    "street": Text(zh="街道", en="street"),
    "district": Text(zh="区", en="district"),
    "city": Text(zh="市", en="city"),
}


def answering(people: Iterable[Person], level: str, domain: str, area: str) -> tuple[str, ...]:
    """Return the ids of those who answer for this domain and area at `level`, nobody else."""
    return tuple(
        p.id
        for p in people
        if p.level == level and (not p.domains or domain in p.domains) and (not p.areas or area in p.areas)
    )


def climbed(people: Iterable[Person], level: str, domain: str, area: str) -> tuple[str, tuple[str, ...]]:
    """Return who answers at `level`, or at the next one above that is filled, and that level; ("", ()) when none is."""
    all_of_them = tuple(people)
    for name in LADDER[LADDER.index(level) :]:
        if found := answering(all_of_them, name, domain, area):
            return name, found
    return "", ()


def level_of_lamp(lamp: int, red_lamp: int) -> str:
    """Return the level that lamp number `lamp` (from 0) climbs to, "" up to the red one (domain.md 2.5, row 20)."""
    return LADDER[min(lamp - red_lamp, len(LADDER)) - 1] if lamp > red_lamp else ""
