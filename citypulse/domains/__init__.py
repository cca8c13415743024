"""The kinds of quantity a city is watched by. A new domain is one file here and one line in `DOMAINS`."""

from __future__ import annotations

from citypulse.model import Quantity

from .domain import Domain, SiteKind
from .flood import FLOOD
from .gas import GAS
from .road import ROAD
from .water import WATER

DOMAINS: dict[str, Domain] = {d.id: d for d in (WATER, ROAD, GAS, FLOOD)}

QUANTITIES: dict[str, Quantity] = {q.id: q for d in DOMAINS.values() for q in d.quantities}
"""Every quantity by id; ids are unique over all domains, so a sensor id's last part always says what it measures."""

SITE_KINDS: dict[str, tuple[str, SiteKind]] = {k.id: (d.id, k) for d in DOMAINS.values() for k in d.site_kinds}
"""Every kind of site by id, with the domain it belongs to."""

__all__ = ["DOMAINS", "QUANTITIES", "SITE_KINDS", "Domain", "SiteKind"]
