"""Calendar parts of an instant (UTC) for compiled kernels: month, week, day of the year …"""

from __future__ import annotations

from numba import njit

MS_PER_DAY = 86_400_000

# Codes stored in climatology members; the words are those of QARTOD configurations.
PERIODS: dict[str, int] = {
    "year": 1,
    "quarter": 2,
    "month": 3,
    "week": 4,
    "weekofyear": 4,
    "dayofyear": 5,
    "day_of_year": 5,
    "dayofweek": 6,
    "day_of_week": 6,
    "weekday": 6,
    "day": 7,
    "hour": 8,
    "minute": 9,
    "second": 10,
    "microsecond": 11,
    "nanosecond": 12,
    "days_in_month": 13,
    "daysinmonth": 13,
}


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def civil(days: int) -> tuple[int, int, int]:
    """Return (year, month, day) of a day number counted from 1970-01-01, proleptic Gregorian.

    The arithmetic counts years from 1 March so that the leap day is the last of its year.
    """
    shifted = days + 719_468  # days from 0000-03-01
    era = shifted // 146_097
    day_of_era = shifted - era * 146_097
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_march_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    march_month = (5 * day_of_march_year + 2) // 153
    day = day_of_march_year - (153 * march_month + 2) // 5 + 1
    month = march_month + 3 if march_month < 10 else march_month - 9
    year = year_of_era + era * 400 + (1 if month <= 2 else 0)
    return year, month, day


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def january_first(year: int) -> int:
    """Return the day number (from 1970-01-01) of 1 January of a year."""
    before = year - 1
    return 365 * (year - 1970) + (before // 4 - 492) - (before // 100 - 19) + (before // 400 - 4)


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def iso_week(days: int) -> int:
    """Return the ISO 8601 week of a day number: the week belongs to the year of its Thursday."""
    thursday = days + 3 - (days + 3) % 7
    year, _, _ = civil(thursday)
    week: int = (thursday - january_first(year)) // 7 + 1
    return week


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def period_part(time_ms: int, period: int) -> int:
    """Return the calendar part of an instant named by a `PERIODS` code; Monday is weekday 0, 1 January is day 1."""
    days = time_ms // MS_PER_DAY
    second_of_day = (time_ms - days * MS_PER_DAY) // 1000
    year, month, day = civil(days)
    part: int = day
    if period == 1:
        part = year
    elif period == 2:
        part = (month + 2) // 3
    elif period == 3:
        part = month
    elif period == 4:
        part = iso_week(days)
    elif period == 5:
        part = days - january_first(year) + 1
    elif period == 6:
        part = (days + 3) % 7
    elif period == 8:
        part = second_of_day // 3600
    elif period == 9:
        part = second_of_day % 3600 // 60
    elif period == 10:
        part = second_of_day % 60
    elif period == 11:
        part = time_ms % 1000 * 1000
    elif period == 12:
        part = 0  # times are whole milliseconds
    elif period == 13:
        part = 28 if month == 2 else 30 if month in (4, 6, 9, 11) else 31
        if month == 2 and january_first(year + 1) - january_first(year) == 366:
            part = 29
    return part
