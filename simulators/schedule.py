"""When things go wrong: a schedule drawn from the seed, the demo's own, and incidents asked for by name."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from citypulse.model import Site

from .incidents import KINDS, Incident, choose_site
from .noise import key_of, uniform
from .weather import DAY_MS

# Minutes after the start. At 60x speed the first is in full swing after ten real seconds, and each later one
# comes when the eye has had time for the one before.
DEMO_MINUTES: tuple[tuple[str, float], ...] = (
    ("underpass_flood", 1.0),
    ("gas_leak", 6.0),
    ("sewage", 18.0),
    ("cover_shift", 30.0),
    ("road_settling", 35.0),
)
DEMO_GAP_MINUTES = 75.0  # after the opening, about one further incident in this time

_SPELT = re.compile(r"(?P<kind>[a-z_]+)@(?P<site>[a-z0-9_-]+)(?:\+(?P<delay>\d+(?:\.\d+)?)(?P<unit>s|min|h))?")
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}


def demo_schedule(sites: Mapping[str, Site], seed: int, start_ms: int, hours: float = 24.0) -> list[Incident]:
    """Return the demo's incidents: one of each kind soon, then one in DEMO_GAP_MINUTES, for `hours`."""
    found = []
    for kind, minutes in DEMO_MINUTES:
        found += _incident(kind, sites, seed, 0, start_ms + int(minutes * 60_000))
    after_min = DEMO_MINUTES[-1][1]
    return found + drawn_later(sites, seed, start_ms + int(after_min * 60_000), hours=hours - after_min / 60.0)


def drawn_later(sites: Mapping[str, Site], seed: int, after_ms: int, *, hours: float) -> list[Incident]:
    """Return one incident in about DEMO_GAP_MINUTES after `after_ms`, for `hours`; kinds and sites from the seed."""
    kinds, found = list(KINDS), []
    for turn in range(1, int(hours * 60.0 / DEMO_GAP_MINUTES) + 1):
        late = float(uniform(key_of(seed, "late", turn), 0)) * 20.0
        kind = kinds[key_of(seed, "kind", turn) % len(kinds)]
        found += _incident(kind, sites, seed, turn, after_ms + int((turn * DEMO_GAP_MINUTES + late) * 60_000))
    return found


def drawn_schedule(
    sites: Mapping[str, Site], seed: int, start_ms: int, until_ms: int, *, per_day: float
) -> list[Incident]:
    """Return incidents that fall evenly into the span: about `per_day` a day, kinds and sites from the seed.

    Drawn per whole day of the calendar, so the same day has the same incidents whenever the run starts.
    """
    found: list[Incident] = []
    kinds = list(KINDS)
    for day in range(start_ms // DAY_MS, until_ms // DAY_MS + 1):
        count = int(np.random.default_rng(key_of(seed, "count", day)).poisson(per_day))
        for k in range(count):
            at_ms = int((day + float(uniform(key_of(seed, "at", day, k), 0))) * DAY_MS)
            kind = kinds[key_of(seed, "which", day, k) % len(kinds)]
            if start_ms <= at_ms < until_ms:
                found += _incident(kind, sites, seed, day * 1000 + k, at_ms)
    return sorted(found, key=lambda i: (i.start_ms, i.id))


def parse_incident(text: str, start_ms: int) -> Incident:
    """Read `gas_leak@g-003+10min`: a kind, a site, and how long after the start (none: at once)."""
    match = _SPELT.fullmatch(text.strip())
    if match is None or match["kind"] not in KINDS:
        raise ValueError(
            f"incident {text!r} cannot be read; write <kind>@<site>[+<delay>], e.g. gas_leak@g-003+10min; "
            f"kinds: {', '.join(KINDS)}"
        )
    delay_s = float(match["delay"]) * _SECONDS[match["unit"]] if match["delay"] else 0.0
    at_ms = start_ms + int(delay_s * 1000)
    return Incident(
        id=f"{match['kind']}@{match['site']}@{at_ms}", kind=match["kind"], site=match["site"], start_ms=at_ms
    )


def _incident(kind: str, sites: Mapping[str, Site], seed: int, turn: int, at_ms: int) -> list[Incident]:
    site = choose_site(kind, sites.values(), seed, turn)
    if site is None:
        return []
    return [Incident(id=f"{kind}@{site.id}@{at_ms}", kind=kind, site=site.id, start_ms=at_ms)]
