"""What the rest of the house can do, handed to the loader as a value, because config imports none of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel

from citypulse.model import CityConfig, Rule

from .values import DetectorSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Extensions:
    """The tables a configuration may name entries of; `citypulse/vocabulary.py` builds it from the real ones.

    detectors: rule section name → settings model · codecs: names a gateway may speak · channels: kind of
    channel → settings model · quality: model of the `quality:` section, None where there is no quality control ·
    trial: tries out the rules of a city that reads well, and returns those that cannot run, each with the reason.
    """

    detectors: Mapping[str, type[DetectorSettings]] = field(default_factory=dict)
    codecs: frozenset[str] = frozenset()
    channels: Mapping[str, type[BaseModel]] = field(default_factory=dict)
    quality: type[BaseModel] | None = None
    trial: Callable[[CityConfig], Sequence[tuple[Rule, str]]] | None = None
