"""What people type for an alarm or an order, and what was meant: a few letters of an id, or the place itself."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

import click

ALARMS_MAX = 100_000  # looked through for a name: more than a district raises in years
PREFIX_CHARS_MIN = 4
ID_CHARS = 36
SHOWN = 8  # of an alarm's id, in a table on a terminal


def alarm_id(data_dir: Path, typed: str, *, open_only: bool = True) -> str:
    """Return the id of the alarm that was meant by its id, its first letters, or its sensor, site or gateway.

    What names none is returned as it is: the service says that it knows none. Raises UsageError when several are meant.
    """
    from citypulse.reading_room import ReadingRoom

    if len(typed) == ID_CHARS and typed.count("-") == 4:
        return typed
    with ReadingRoom.beside(data_dir) as room:
        rows = room.alarms(open_only=open_only, limit=ALARMS_MAX, domain="", since_ms=None)
    meant = [a for a in rows if a["scope"] == typed and a["condition"] != "normal"]
    meant = meant or [a for a in rows if a["scope"] == typed]
    if not meant and len(typed) >= PREFIX_CHARS_MIN:
        meant = [a for a in rows if a["id"].startswith(typed.lower())]
    if len(meant) > 1:
        listed = "\n".join(f"  {a['id']}  {a['rule']}  {a['scope']}" for a in meant[:10])
        raise click.UsageError(f"{typed!r} 不止一条 names {len(meant)} alarms; take one by its id:\n{listed}")
    return meant[0]["id"] if meant else typed


def near_order(data_dir: Path, typed: str) -> str:
    """Return a hint at the order number that is nearest to what was typed, or ""."""
    from citypulse.reading_room import ReadingRoom

    with ReadingRoom.beside(data_dir) as room:
        rows = room.orders(open_only=False, limit=ALARMS_MAX, team="", state="")
    near = get_close_matches(typed.upper(), [o["id"] for o in rows], n=1)
    return f"；是否指 did you mean {near[0]}?" if near else ""
