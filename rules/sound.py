"""Tries out whether rules that read well can also be laid out: what only a detector knows is found before the start.

A detector may refuse what it is bound to (more channels at a site than it can judge). That is the engineer's to know,
at the rule's line, and never a traceback of the service.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from citypulse.errors import BugError
from citypulse.model import CityConfig, Rule, SensorTable

from .compile import compile_rules
from .detector import Detector
from .detectors import DETECTORS

REFUSALS = (ValueError, AssertionError, ArithmeticError, LookupError, BugError, MemoryError)


def unsound(config: CityConfig, detectors: Mapping[str, Detector] = DETECTORS) -> list[tuple[Rule, str]]:
    """Return the rules that cannot be laid out, each with the reason; none when all can."""
    table = SensorTable.build(tuple(s.id for s in config.sensors), config.sensors)
    if not _refusal(config, table, config.rules, detectors):
        return []
    found = []
    for rule in config.rules:
        members = detectors[rule.detector].members
        named = set() if members is None else set(members(rule.settings))
        others = [other for other in config.rules if other.id in named and other is not rule]
        if why := _refusal(config, table, [rule, *others], detectors):
            found.append((rule, why))
    return found or [(rule, "cannot be laid out together with the others") for rule in config.rules[:1]]


def _refusal(config: CityConfig, table: SensorTable, rules: Sequence[Rule], detectors: Mapping[str, Detector]) -> str:
    try:
        compile_rules(rules, table, config.sites, config.gateways, detectors, config.timezone)
    except REFUSALS as error:
        return str(error) or type(error).__name__
    return ""
