"""The `privacy:` and `watchdog:` sections: how long contacts of citizens are kept, and who hears that all is well."""

from __future__ import annotations

from typing import Final

from citypulse.model import WatchdogPlan

from .files import Reading
from .nodes import Report, step, walk
from .scalars import read_duration

CONTACTS_KEPT_S: Final = 180 * 86_400.0
SHORTEST_S: Final = 4 * 86_400.0  # an order can come back for 72 h
LONGEST_S: Final = 3 * 366 * 86_400.0


def contacts_kept_s(reading: Reading, report: Report) -> float:
    """Return how long a citizen's contact is kept after its order has ended, seconds; problems are noted."""
    found: float | None = None
    for document in reading.documents:
        if document.model.privacy is None:
            continue
        if found is not None:
            report.add("E301", document.root.key("privacy"), "`privacy` is given twice", "keep it in one file")
            continue
        node = step(walk(document.root, ["privacy"]), "contacts_kept_for")
        read = CONTACTS_KEPT_S if node is None else read_duration(report, node)
        if read is not None and node is not None and not SHORTEST_S <= read <= LONGEST_S:
            help_ = "an order can come back for 72 h; after three years nobody needs it: for example `180 d`"
            report.add("E105", node, "contacts are kept for 4 d to 1098 d after an order has ended", help_)
        found = CONTACTS_KEPT_S if read is None else read
    return CONTACTS_KEPT_S if found is None else found


PING_S: Final = (10.0, 86_400.0)


def take_watchdog(reading: Reading, report: Report) -> WatchdogPlan:
    """Return where the service says that it is well; problems are noted."""
    found: WatchdogPlan | None = None
    for document in reading.documents:
        said = document.model.watchdog
        if said is None:
            continue
        if found is not None:
            report.add("E301", document.root.key("watchdog"), "`watchdog` is given twice", "keep it in one file")
            continue
        node = walk(document.root, ["watchdog"])
        if (said.url is None) == (said.url_env is None):
            report.add("E101", node, "give `url` or `url_env`, one of the two", "for example `url_env: HEARTBEAT_URL`")
        url = step(node, "url")
        if said.url is not None and not said.url.startswith(("https://", "http://")):
            report.add("E105", url or node, "the address must begin with https:// or http://")
        every = step(node, "every")
        every_s = 60.0 if every is None else read_duration(report, every) or 60.0
        if not PING_S[0] <= every_s <= PING_S[1]:
            report.add("E105", every or node, "it says so every 10 s to 1 d", "for example `60 s`")
        found = WatchdogPlan(url=said.url or "", url_env=said.url_env or "", every_s=every_s)
    return found or WatchdogPlan()
