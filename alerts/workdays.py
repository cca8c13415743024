"""Working time: 工作时 and 工作日, with the public holidays and the weekends worked in their stead.

The days are data of the State Council's yearly notice (workday_years.py). A year without data falls back to plain
weekends, and `is_known` says so: a calendar that runs out must warn, not guess.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from citypulse.clock import utc

from .workday_years import HOLIDAY_YEARS

SHIFTS: Final = ((time(8, 30), time(12, 0)), (time(13, 30), time(18, 0)))
"""A working day of eight hours: our proposal; offices differ by half an hour."""
WORKDAY_S: Final = 8 * 3_600.0
DAYS_MAX: Final = 3_660  # a deadline farther away than ten years is a mistake


def _span(year: int, first: tuple[int, int], last: tuple[int, int]) -> list[date]:
    start, end = date(year, *first), date(year, *last)
    return [start + timedelta(days=k) for k in range((end - start).days + 1)]


YEARS: Final = frozenset(HOLIDAY_YEARS)
HOLIDAYS: Final = frozenset(
    day for year, known in HOLIDAY_YEARS.items() for first, last in known.off for day in _span(year, first, last)
)
WORKED_WEEKENDS: Final = frozenset(
    date(year, month, day) for year, known in HOLIDAY_YEARS.items() for month, day in known.worked
)


def is_known(year: int) -> bool:
    """True when the holidays of this year are in the table."""
    return year in YEARS


def unknown_years(first: date, last: date) -> tuple[int, ...]:
    """Return the years of [first, last] whose holidays are not in the table, in order."""
    return tuple(year for year in range(first.year, last.year + 1) if year not in YEARS)


def is_workday(day: date) -> bool:
    """True when offices work on this day."""
    return day in WORKED_WEEKENDS or (day.weekday() < 5 and day not in HOLIDAYS)


class WorkCalendar:
    """Counts working seconds in one city's local time."""

    def __init__(self, zone: ZoneInfo) -> None:
        """Local time is that of `zone`; it may have summer time."""
        self._zone = zone
        self._shifts = lru_cache(maxsize=4_096)(self._shifts_of)

    def worked_s(self, from_ms: int, until_ms: int) -> float:
        """Return the working seconds in [from, until), epoch ms; 0 when it is empty or turned round."""
        total, day = 0, self._day(from_ms)
        while until_ms > from_ms and self._midnight(day) < until_ms:
            for start, end in self._shifts(day):
                total += max(0, min(end, until_ms) - max(start, from_ms))
            day += timedelta(days=1)
        return total / 1000

    def after_ms(self, from_ms: int, work_s: float) -> int:
        """Return when `work_s` working seconds after `from_ms` have passed, epoch ms."""
        left, day = round(work_s * 1000), self._day(from_ms)
        if left <= 0:
            return from_ms
        for _ in range(DAYS_MAX):
            for start, end in self._shifts(day):
                here = max(0, end - max(start, from_ms))
                if here >= left:
                    return max(start, from_ms) + left
                left -= here
            day += timedelta(days=1)
        raise ValueError(f"{work_s:.0f} working seconds do not end within ten years")

    def _day(self, at_ms: int) -> date:
        return utc(at_ms).astimezone(self._zone).date()

    def _midnight(self, day: date) -> int:
        return self._ms(day, time())

    def _shifts_of(self, day: date) -> tuple[tuple[int, int], ...]:
        if not is_workday(day):
            return ()
        return tuple((self._ms(day, start), self._ms(day, end)) for start, end in SHIFTS)

    def _ms(self, day: date, at: time) -> int:
        local = datetime.combine(day, at, tzinfo=self._zone)
        return round(local.astimezone(UTC).timestamp() * 1000)
