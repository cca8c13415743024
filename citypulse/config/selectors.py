"""Which sensors a rule or an override means: every key given must match, a list means any of its words."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from citypulse.domains import DOMAINS, QUANTITIES, SITE_KINDS
from citypulse.model import Gateway, Sensor

from .files import Reading
from .inventory import Inventory, unknown
from .nodes import Node, Report, step
from .schema import SelectorIn

_RANKS = ("domain", "quantity", "site_kind", "area", "gateway", "site", "sensor")
_GLOB = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Selector:
    """A checked `applies_to`."""

    domain: frozenset[str]
    quantity: frozenset[str]
    site_kind: frozenset[str]
    area: frozenset[str]
    gateway: tuple[str, ...]
    site: tuple[str, ...]
    sensor: tuple[str, ...]

    @classmethod
    def of(cls, model: SelectorIn) -> Selector:
        """Take the words from the file."""
        return cls(
            domain=frozenset(model.domain),
            quantity=frozenset(model.quantity),
            site_kind=frozenset(model.site_kind),
            area=frozenset(model.area),
            gateway=model.gateway,
            site=model.site,
            sensor=model.sensor,
        )

    @property
    def specificity(self) -> tuple[int, int]:
        """How narrow this is: domain < quantity < site_kind < area < gateway < site < sensor; exact beats a pattern."""
        rank = 0
        for position, key in enumerate(_RANKS, 1):
            if getattr(self, key):
                rank = position
        words: Iterable[str] = getattr(self, _RANKS[rank - 1]) if rank else ()
        return rank, 0 if any(_GLOB & set(word) for word in words) else 1

    def matches(self, sensor: Sensor) -> bool:
        """Whether the sensor is meant."""
        return (
            (not self.quantity or sensor.quantity in self.quantity)
            and (not self.domain or sensor.domain in self.domain)
            and (not self.site_kind or sensor.site_kind in self.site_kind)
            and (not self.area or sensor.area in self.area)
            and _meant(self.gateway, sensor.gateway)
            and _meant(self.site, sensor.site)
            and _meant(self.sensor, sensor.id)
        )

    def matches_gateway(self, gateway: Gateway, members: Sequence[Sensor]) -> bool:
        """Whether the gateway is meant: by itself, and where more than that is said, by one of its sensors."""
        if (self.area and gateway.area not in self.area) or not _meant(self.gateway, gateway.id):
            return False
        says_more = self.domain or self.quantity or self.site_kind or self.site or self.sensor
        return not says_more or any(replace(self, area=frozenset()).matches(s) for s in members)


def _meant(words: tuple[str, ...], key: str) -> bool:
    return not words or any(word == key or fnmatch.fnmatchcase(key, word) for word in words)


def check_selector(model: SelectorIn, node: Node, inventory: Inventory, reading: Reading, report: Report) -> None:
    """Note every word of `applies_to` that names nothing; patterns are judged by what they match, not here."""
    sites = set(inventory.sites) | reading.declared.get("sites", set())
    known: dict[str, Iterable[str]] = {
        "domain": DOMAINS,
        "quantity": QUANTITIES,
        "site_kind": SITE_KINDS,
        "area": reading.declared.get("areas", ()),
        "gateway": reading.declared.get("gateways", ()),
        "site": sites,
        "sensor": inventory.sensors,
    }
    for key, words in known.items():
        if key == "sensor" and not reading.is_whole:
            continue
        value = step(node, key)
        given: tuple[str, ...] = getattr(model, key)
        for position, word in enumerate(given):
            if value is None or _GLOB & set(word) or word in words:
                continue
            unknown(report, step(value, position) or value, key.replace("_", " "), word, words)
