"""Recorded readings, row by row: CSV `sensor,time,value[,quality]`, plain or gzip, however large."""

from __future__ import annotations

import csv
import gzip
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from citypulse.errors import CityError, PayloadError
from ingest.codecs.native import read_time

COLUMNS = ("sensor", "time", "value")
BAD_LINES_KEPT = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One recorded reading; `value` is NaN where the recording says that there was none."""

    sensor: str
    time_ms: int
    value: float


@dataclass(slots=True)
class BadLines:
    """What could not be read: how many lines, and the first of them with reasons."""

    count: int = 0
    first: tuple[str, ...] = ()

    def add(self, place: str, why: str) -> None:
        """Count one line."""
        self.count += 1
        if len(self.first) < BAD_LINES_KEPT:
            self.first = (*self.first, f"{place}: {why}")


def read_rows(paths: Sequence[Path], bad: BadLines) -> Iterator[Row]:
    """Yield the readings of files, one file after the other, in the order of their lines.

    Lines that cannot be read are noted in `bad` and passed over. CityError when a file cannot be opened or is not
    such a file at all.
    """
    for path in paths:
        try:
            yield from _one_file(path, bad)
        except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
            raise CityError(f"{path}: cannot be read as a readings file: {error}") from error


def _one_file(path: Path, bad: BadLines) -> Iterator[Row]:
    if path.suffix == ".parquet":
        raise CityError(f"{path}: replay reads CSV; turn it into one with `citypulse export` or any Parquet tool")
    with _open(path) as lines:
        rows = csv.reader(lines)
        head = [h.strip() for h in next(rows, [])]
        lacking = [c for c in COLUMNS if c not in head]
        if lacking:
            raise CityError(f"{path}:1: no column {', '.join(lacking)}; a readings file begins with sensor,time,value")
        sensor, time, value = (head.index(c) for c in COLUMNS)
        for cells in rows:
            if not cells:
                continue
            place = f"{path}:{rows.line_num}"
            if len(cells) < len(head):
                bad.add(place, f"{len(cells)} fields where the head has {len(head)}")
                continue
            try:
                yield Row(sensor=cells[sensor], time_ms=_time(cells[time]), value=_value(cells[value]))
            except (ValueError, PayloadError) as error:
                bad.add(place, str(error))


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", newline="", encoding="utf-8-sig")
    return path.open(newline="", encoding="utf-8-sig")


def _time(text: str) -> int:
    return read_time(int(text) if text.strip().isdigit() else text.strip())


def _value(text: str) -> float:
    value = float(text) if text.strip() else math.nan
    if math.isinf(value):
        raise ValueError(f"value {text!r} is not finite")
    return value
