"""The tables of domains hold together: unique ids, known units, sensible ranges, a source for every number."""

from __future__ import annotations

import re

import pytest

from citypulse.domains import DOMAINS, QUANTITIES, SITE_KINDS
from citypulse.model import Quantity
from citypulse.units import UNITS

ALL = [q for d in DOMAINS.values() for q in d.quantities]


def test_the_four_domains_are_there() -> None:
    assert list(DOMAINS) == ["water", "road", "gas", "flood"]


def test_a_quantity_id_means_one_thing_in_the_whole_city() -> None:
    assert len(QUANTITIES) == len(ALL)
    assert len(SITE_KINDS) == sum(len(d.site_kinds) for d in DOMAINS.values())


@pytest.mark.parametrize("quantity", ALL, ids=lambda q: f"{q.domain}-{q.id}")
def test_a_quantity_is_complete(quantity: Quantity) -> None:
    assert re.fullmatch(r"[a-z0-9_-]+", quantity.id)
    assert quantity.unit in UNITS
    assert quantity.low < quantity.high
    assert quantity.cadence_s >= 1
    assert quantity.direction in (-1, 0, 1)
    assert quantity.name.zh
    assert quantity.name.en
    assert quantity.source


def test_a_depth_limit_of_the_highest_level_lies_inside_the_range() -> None:
    assert QUANTITIES["depth"].low < 40 < QUANTITIES["depth"].high


def test_falling_oxygen_and_rising_gas_are_what_to_fear() -> None:
    assert QUANTITIES["do"].direction == -1
    assert QUANTITIES["ch4"].direction == 1
    assert QUANTITIES["depth"].direction == 1
