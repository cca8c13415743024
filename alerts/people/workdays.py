"""Working time: 工作时 and 工作日, with the public holidays and the weekends worked in their stead.

The days are data of the State Council's yearly notice: shipped (workday_years.py), or given in `workdays:` of the
configuration. A year without data falls back to plain weekends, and `expiry` says so before: a calendar that runs out
must warn, not guess.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from citypulse.clock import utc
from citypulse.model import Text, WorkdayYear

from .workday_years import HOLIDAY_YEARS

SHIFTS: Final = ((time(8, 30), time(12, 0)), (time(13, 30), time(18, 0)))
"""A working day of eight hours: our proposal; offices differ by half an hour."""
WORKDAY_S: Final = 8 * 3_600.0
DAYS_MAX: Final = 3_660  # a deadline farther away than ten years is a mistake


def _span(year: int, first: tuple[int, int], last: tuple[int, int]) -> list[date]:
    start, end = date(year, *first), date(year, *last)
    return [start + timedelta(days=k) for k in range((end - start).days + 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Almanac:
    """The days off and the weekend days worked of every year that is known."""

    years: frozenset[int]
    off: frozenset[date]
    worked: frozenset[date]

    def is_workday(self, day: date) -> bool:
        """True when offices work on this day; plain weekends where the year is not known."""
        return day in self.worked or (day.weekday() < 5 and day not in self.off)

    def with_years(self, more: Sequence[WorkdayYear]) -> Almanac:
        """Return it with these years added; a year that is known is replaced as a whole."""
        new = frozenset(one.year for one in more)
        return Almanac(
            years=self.years | new,
            off=frozenset(d for d in self.off if d.year not in new).union(
                date.fromisoformat(text) for one in more for text in one.off
            ),
            worked=frozenset(d for d in self.worked if d.year not in new).union(
                date.fromisoformat(text) for one in more for text in one.worked
            ),
        )


SHIPPED: Final = Almanac(
    years=frozenset(HOLIDAY_YEARS),
    off=frozenset(day for year, known in HOLIDAY_YEARS.items() for a, b in known.off for day in _span(year, a, b)),
    worked=frozenset(date(year, month, day) for year, known in HOLIDAY_YEARS.items() for month, day in known.worked),
)
WORKED_WEEKENDS: Final = SHIPPED.worked
_in_force: list[Almanac] = [SHIPPED]
_told: list[Callable[[], None]] = []


def know(more: Sequence[WorkdayYear]) -> None:
    """Let a configuration's years hold beside the shipped ones, instead of those of the one before.

    The calendar is the country's, not a city's: it is the one table that a process has once. What is remembered from
    the earlier one is forgotten.
    """
    new = SHIPPED.with_years(more)
    if new != _in_force[0]:
        _in_force[0] = new
        for forget in _told:
            forget()


def when_changed(forget: Callable[[], None]) -> None:
    """Have `forget` called when the calendar changes: for what remembers days."""
    _told.append(forget)


def is_known(year: int) -> bool:
    """True when the holidays of this year are known."""
    return year in _in_force[0].years


def unknown_years(first: date, last: date) -> tuple[int, ...]:
    """Return the years of [first, last] whose holidays are not known, in order."""
    return tuple(year for year in range(first.year, last.year + 1) if year not in _in_force[0].years)


def known_until(today: date) -> date:
    """Return the last day up to which, from `today` on, every year is known; the day before `today` when none is."""
    year = today.year
    while year in _in_force[0].years:
        year += 1
    return date(year - 1, 12, 31) if year > today.year else today - timedelta(days=1)


def is_workday(day: date) -> bool:
    """True when offices work on this day."""
    return _in_force[0].is_workday(day)


WARN_DAYS: Final = 45  # before the data end; the notice for a year usually comes in the first half of November


def expiry(today: date, warn_days: int = WARN_DAYS) -> tuple[date, Text] | None:
    """Return until when the calendar is known and what to do, when that is less than `warn_days` ahead; else None."""
    last = known_until(today)
    left = (last - today).days
    if left >= warn_days:
        return None
    year = last.year + 1 if left >= 0 else today.year
    how_zh = f"把国务院办公厅的放假通知写成 workdays-{year}.yaml 并加入 include"
    how = f"write the State Council's notice into workdays-{year}.yaml and name it in `include:`"
    if left < 0:
        return last, Text(
            zh=f"{year} 年的放假安排未录入, 工作日按普通周末计算: {how_zh}",
            en=f"the holidays of {year} are not known, plain weekends are used: {how}",
        )
    return last, Text(
        zh=f"工作日历只到 {last.isoformat()} (还有 {left} 天): {year} 年的安排公布后, {how_zh}",
        en=f"the workday calendar ends on {last.isoformat()} ({left} days left): once {year} is announced, {how}",
    )


class WorkCalendar:
    """Counts working seconds in one city's local time."""

    def __init__(self, zone: ZoneInfo) -> None:
        """Local time is that of `zone`; it may have summer time."""
        self._zone = zone
        self._shifts = lru_cache(maxsize=4_096)(self._shifts_of)
        self._almanac = _in_force[0]

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
        if not self._almanac.is_workday(day):
            return ()
        return tuple((self._ms(day, start), self._ms(day, end)) for start, end in SHIFTS)

    def _ms(self, day: date, at: time) -> int:
        local = datetime.combine(day, at, tzinfo=self._zone)
        return round(local.astimezone(UTC).timestamp() * 1000)
