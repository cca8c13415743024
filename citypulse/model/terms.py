"""How alarms behave beside their limits: chatter, shelves, re-alarms, mutes and when a standing alarm is stale.

What nobody says is built in; what is said for a rule beats its domain, that the level, that the whole city. Red alarms
and gas alarms have ceilings that no configuration lifts, and red gas is never shelved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from citypulse.model.basics import Origin, Priority

HOUR: Final = 3_600.0
DAY: Final = 86_400.0
GAS: Final = "gas"
SHELF_ROLES: Final = ("duty", "lead", "dispatcher", "supervisor", "boss")
REALARM_RED_S_MAX: Final = 8 * HOUR  # one shift: whoever acknowledged red hands it over, so it asks again by then
FLAP_RAISES_MIN: Final = 3  # for red and gas: ISA-18.2's three a minute
FLAP_WITHIN_S_MAX: Final = 1_800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Flap:
    """So many raises of one source within so long make it chatter."""

    raises: int
    within_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmTerms:
    """What holds for the alarms of one rule at one level. Durations in seconds."""

    flaps: tuple[Flap, ...]  # any of them makes chatter; none: it never chatters
    quiet_s: float  # it settles after so long without a turn
    shelf_s: float  # the longest shelf; 0: never shelved
    shelf_roles: tuple[str, ...]
    shelf_warn_s: float  # the end of a shelf is announced so long before
    realarm_s: float | None  # acknowledged and still standing it asks again after so long; None: it does not
    realarm_max: int  # how often in one occurrence; 0: without end
    silence_s: float  # the longest silence over alarms of this level
    mute_warn_s: float  # the end of a silence or window is announced so long before
    stale_s: float  # standing longer than this it counts as stale


KEYS: Final = tuple(f.name for f in fields(AlarmTerms))

BUILT_IN: Final = AlarmTerms(
    # Chatter: the first row is ISA-18.2's (three a minute), the second our proposal for sources that flap more slowly;
    # quiet is longer than slow flapping takes between two turns.
    flaps=(Flap(raises=3, within_s=60.0), Flap(raises=6, within_s=1_800.0)),
    quiet_s=900.0,
    shelf_s=24 * HOUR,  # a shelf always ends: our proposal; ISA-18.2 asks for a limit
    shelf_roles=SHELF_ROLES,
    shelf_warn_s=600.0,
    realarm_s=None,  # off but for red: the orders' lamps go on
    realarm_max=0,
    silence_s=7 * DAY,  # in all, extensions included: within the week somebody should have repaired the cause
    mute_warn_s=600.0,
    stale_s=24 * HOUR,  # ISA-18.2's stale alarms
)
BY_LEVEL: Final[Mapping[Priority, Mapping[str, Any]]] = {
    # Red asks again after the limit of T4, within which its order should have ended it (domain.md 2.5).
    Priority.P1: {"shelf_s": 2 * HOUR, "silence_s": 4 * HOUR, "realarm_s": 2 * HOUR},
    Priority.P2: {"shelf_s": 8 * HOUR, "silence_s": 24 * HOUR},
    Priority.P3: {"silence_s": 72 * HOUR},
    Priority.P4: {},
}
BY_DOMAIN: Final[Mapping[str, Mapping[str, Any]]] = {
    GAS: {"flaps": (Flap(raises=3, within_s=60.0), Flap(raises=8, within_s=1_800.0)), "quiet_s": 600.0},  # sooner
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TermSaid:
    """One value of the `alarms:` section and where it was said."""

    value: Any
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class TermLayer:
    """What is said for a rule, a domain, a level, or with none of them for the whole city."""

    rule: str = ""
    domain: str = ""
    level: Priority | None = None
    said: Mapping[str, TermSaid]

    @property
    def rank(self) -> int:
        """How specific it is: rule before domain before level."""
        return 4 * bool(self.rule) + 2 * bool(self.domain) + (self.level is not None)

    def covers(self, rule: str, domain: str, level: Priority) -> bool:
        """True when it speaks of alarms of this rule, domain and level."""
        return self.rule in {"", rule} and self.domain in {"", domain} and (self.level is None or self.level is level)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmPlan:
    """The `alarms:` section: layers over what is built in."""

    layers: tuple[TermLayer, ...] = ()
    _known: dict[tuple[str, str, Priority], AlarmTerms] = field(default_factory=dict, compare=False, repr=False)

    def terms(self, rule: str, domain: str, level: Priority) -> AlarmTerms:
        """Return what holds for alarms of this rule, domain and level, ceilings kept."""
        key = (rule, domain, level)
        found = self._known.get(key)
        if found is None:
            values = {name: value for name, (value, _) in self.said(rule, domain, level).items()}
            found = self._known[key] = kept_under(AlarmTerms(**values), domain, level)
        return found

    def said(self, rule: str, domain: str, level: Priority) -> dict[str, tuple[Any, Origin | None]]:
        """Return every value as said, before any ceiling, and where; None for what is built in."""
        built = built_in(domain, level)
        found: dict[str, tuple[Any, Origin | None]] = {name: (getattr(built, name), None) for name in KEYS}
        for layer in sorted(self.layers, key=lambda one: one.rank):
            if layer.covers(rule, domain, level):
                found |= {name: (said.value, said.origin) for name, said in layer.said.items()}
        return found

    @property
    def raises_max(self) -> int:
        """The most raises that any chatter counts."""
        said = [layer.said["flaps"].value for layer in self.layers if "flaps" in layer.said]
        every: list[tuple[Flap, ...]] = [BUILT_IN.flaps, BY_DOMAIN[GAS]["flaps"], *said]
        return max(flap.raises for flaps in every for flap in flaps)


def built_in(domain: str, level: Priority) -> AlarmTerms:
    """Return what holds where nothing is said."""
    changes = {**BY_LEVEL[level], **BY_DOMAIN.get(domain, {})}
    if domain == GAS and level is Priority.P1:
        changes |= {"shelf_s": 0.0, "flaps": ()}  # life safety is never put aside, and told turn by turn
    return replace(BUILT_IN, **changes)


def kept_under(terms: AlarmTerms, domain: str, level: Priority) -> AlarmTerms:
    """Return the terms within the ceilings of red and of gas: nothing said hides those longer than is built in."""
    is_red = level is Priority.P1
    if not is_red and domain != GAS:
        return terms
    most = built_in(domain, level)
    changes: dict[str, Any] = {
        "flaps": tuple(_strict(flap) for flap in terms.flaps) if most.flaps else (),
        "quiet_s": min(terms.quiet_s, most.quiet_s),
        "shelf_s": min(terms.shelf_s, most.shelf_s),
        "shelf_roles": tuple(role for role in terms.shelf_roles if role in SHELF_ROLES),
        "silence_s": min(terms.silence_s, most.silence_s),
    }
    if is_red:
        after_s = most.realarm_s if terms.realarm_s is None else terms.realarm_s
        changes |= {"realarm_s": min(after_s or REALARM_RED_S_MAX, REALARM_RED_S_MAX), "realarm_max": 0}
    return replace(terms, **changes)


def _strict(flap: Flap) -> Flap:
    return Flap(raises=max(flap.raises, FLAP_RAISES_MIN), within_s=min(flap.within_s, FLAP_WITHIN_S_MAX))
