"""Recurring stretches of local time: which RFC 5545 rules are taken, and the instants their stretches begin and end.

A stretch is said in wall-clock time ("22:00 to 06:00"), so it keeps those times when summer time begins or ends: it
opens at the first instant whose local clock shows the start, and closes at the first instant after that whose local
clock shows the end. A time that a day skips is reached when the clock jumps over it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from dateutil.rrule import rrulestr

from citypulse.clock import utc

PARTS: Final = ("FREQ", "INTERVAL", "COUNT", "BYDAY", "BYMONTHDAY", "BYMONTH", "WKST")
"""Parts that are taken. The time of day comes from the start; an end is said by the mute itself."""
FREQUENCIES: Final = ("DAILY", "WEEKLY", "MONTHLY", "YEARLY")
DAYS: Final = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
INTERVAL_MAX: Final = 366
COUNT_MAX: Final = 1_000
OPEN_S_MAX: Final = 7 * 86_400.0  # one opening of a window
SERIES_S_MAX: Final = 366 * 86_400.0  # from a window's first opening to its end: looked through once a year
TEXT_MAX: Final = 200
_BYDAY: Final = re.compile(r"([+-]?[1-4])?(MO|TU|WE|TH|FR|SA|SU)")
_LONGEST: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def wrong_rule(text: str) -> str:
    """Return what is wrong with a recurrence rule, or "". What passes comes round within bounded time for ever.

    dateutil looks for the next day until the year 9999; a rule that never comes (30 February) would hold up the city.
    """
    if not text.isascii() or len(text) > TEXT_MAX:
        return f"a rule is at most {TEXT_MAX} plain characters, such as FREQ=WEEKLY;BYDAY=MO,TH"
    parts: dict[str, str] = {}
    for part in text.split(";"):
        name, equals, value = part.partition("=")
        if not equals or not value or name not in PARTS:
            return f"{part!r} is not taken; a rule is made of {', '.join(PARTS)}, such as FREQ=WEEKLY;BYDAY=MO,TH"
        if name in parts:
            return f"{name} is given twice"
        parts[name] = value
    if parts.get("FREQ") not in FREQUENCIES:
        return f"FREQ must be {', '.join(FREQUENCIES)}"
    for name, most in (("INTERVAL", INTERVAL_MAX), ("COUNT", COUNT_MAX)):
        if name in parts and not (parts[name].isdigit() and 1 <= int(parts[name]) <= most):
            return f"{name} must be a whole number from 1 to {most}"
    if parts.get("WKST", "MO") not in DAYS:
        return f"WKST must be one of {', '.join(DAYS)}"
    return _wrong_days(parts)


def _wrong_days(parts: dict[str, str]) -> str:
    freq, days = parts["FREQ"], parts.get("BYDAY", "")
    matches = [_BYDAY.fullmatch(day) for day in days.split(",")] if days else []
    if not all(matches):
        return "BYDAY lists MO TU WE TH FR SA SU; by month also with a number, such as 1MO or -1FR"
    if any(m is not None and m.group(1) for m in matches) and freq != "MONTHLY":
        return "a numbered BYDAY, such as 1MO, needs FREQ=MONTHLY"
    numbers = {}
    for name, most in (("BYMONTH", 12), ("BYMONTHDAY", 31)):
        words = parts[name].split(",") if name in parts else []
        if not all(re.fullmatch(r"-?\d{1,2}", w) and 1 <= abs(int(w)) <= most for w in words):
            return f"{name} lists whole numbers from 1 to {most}"
        numbers[name] = [int(w) for w in words]
    if any(n < 0 for n in numbers["BYMONTH"]):
        return "BYMONTH lists whole numbers from 1 to 12"
    if numbers["BYMONTHDAY"] and (days or freq == "WEEKLY"):
        return "BYMONTHDAY goes with neither BYDAY nor FREQ=WEEKLY"
    if numbers["BYMONTH"] and numbers["BYMONTHDAY"]:
        longest = max(_LONGEST[m - 1] for m in numbers["BYMONTH"])
        if min(abs(d) for d in numbers["BYMONTHDAY"]) > longest:
            return "none of these months has such a day"
    if numbers["BYMONTH"] and freq in {"MONTHLY", "YEARLY"} and not (days or numbers["BYMONTHDAY"]):
        return "BYMONTH needs BYMONTHDAY or BYDAY: a month need not have the day of the first one"
    if parts.get("INTERVAL", "1") != "1":
        if numbers["BYMONTH"]:
            return "BYMONTH goes with no INTERVAL"
        if freq == "DAILY" and (days or numbers["BYMONTHDAY"]):
            return "FREQ=DAILY with an INTERVAL goes with no list of days"
        if any(abs(d) > 28 for d in numbers["BYMONTHDAY"]):
            return "with an INTERVAL, BYMONTHDAY goes up to 28 (-1 is the last day)"
        if freq == "YEARLY" and (days or numbers["BYMONTHDAY"]):
            return "FREQ=YEARLY with an INTERVAL goes with no list of days"
    return ""


def starts(rule: str, first: datetime, until: datetime) -> Iterator[datetime]:
    """Yield the local starts (naive) of a rule that `wrong_rule` passes: from `first`, before `until`."""
    for at in rrulestr(f"RRULE:{rule}", dtstart=first):
        if at >= until:
            return
        yield at


def local(at_ms: int, zone: ZoneInfo) -> datetime:
    """Return the local time (naive) of an instant, epoch ms."""
    return utc(at_ms).astimezone(zone).replace(tzinfo=None)


def instant_ms(at: datetime, zone: ZoneInfo) -> int:
    """Return the first instant, epoch ms, at which the local clock shows `at` (naive) or has jumped over it."""
    found = at.replace(tzinfo=zone, fold=0)
    there = found.astimezone(UTC)
    if there.astimezone(zone).replace(tzinfo=None) == at:
        return round(there.timestamp() * 1000)
    # The clock jumps over it. With fold=0 the offset is the one before the jump: `there` lies behind the jump.
    late = round(there.timestamp() * 1000)
    early = (
        late
        - round((at.replace(tzinfo=zone, fold=1).utcoffset() or timedelta()).total_seconds() * 1000)
        + round((found.utcoffset() or timedelta()).total_seconds() * 1000)
    )
    while late - early > 1:
        middle = (early + late) // 2
        if local(middle, zone) >= at:
            late = middle
        else:
            early = middle
    return late


@lru_cache(maxsize=64)
def zone_of(name: str) -> ZoneInfo:
    """Return a time zone by its IANA name. Raises ZoneInfoNotFoundError, ValueError or OSError when there is none."""
    return ZoneInfo(name)
