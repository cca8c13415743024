"""Public holidays and the weekends worked in their stead (调休), year by year: data, each year with its source.

The State Council announces a year in the autumn before it. Until its entry stands here, that year counts as unknown:
`citypulse doctor` and `citypulse rota coverage` warn, and plain weekends are used meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

Day = tuple[int, int]  # month, day


@dataclass(frozen=True, slots=True, kw_only=True)
class HolidayYear:
    """One year's notice: `off` are spans of days off, both ends included; `worked` are weekend days that are worked."""

    source: str
    off: tuple[tuple[Day, Day], ...]
    worked: tuple[Day, ...]


HOLIDAY_YEARS: Final[dict[int, HolidayYear]] = {
    2026: HolidayYear(
        source="国务院办公厅关于2026年部分节假日安排的通知, 4 November 2025",
        off=(
            ((1, 1), (1, 3)),  # 元旦 New Year
            ((2, 15), (2, 23)),  # 春节 Spring Festival
            ((4, 4), (4, 6)),  # 清明 Qingming
            ((5, 1), (5, 5)),  # 劳动节 Labour Day
            ((6, 19), (6, 21)),  # 端午 Dragon Boat
            ((9, 25), (9, 27)),  # 中秋 Mid-autumn
            ((10, 1), (10, 7)),  # 国庆 National Day
        ),
        worked=((1, 4), (2, 14), (2, 28), (5, 9), (9, 20), (10, 10)),
    ),
}
