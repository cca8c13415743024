"""Readings files: CSV `sensor,time,value[,quality]` (gzip allowed) and Parquet with the same columns, read as columns.

Shared by import, export, replay and backtest. Times are epoch milliseconds or ISO 8601 with a zone; values are in the
quantity's canonical unit; an empty value is a MISSING reading. A row that cannot be read is a `RowProblem` with its
line, never an exception: one bad row does not cost the file.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .errors import CityError
from .model import Quality, ReadingBatch

REQUIRED = ("sensor", "time", "value")
ROWS_MAX = 200_000  # per portion from Parquet
BLOCK_BYTES = 8 << 20  # per portion from CSV: about 200,000 rows
LONGEST_SHOWN = 80  # characters of a bad row that are shown
_QUALITIES = pa.array([int(q) for q in Quality], pa.int64())
_INTEGER = r"^-?[0-9]{1,18}$"
_ZONED = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?(Z|[+-][0-9]{2}:?[0-9]{2})$"
_UTC_MS = pa.timestamp("ms", tz="UTC")


class ReadingsFileError(CityError):
    """A readings file cannot be used at all: not there, not such a file, cut short."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowProblem:
    """One row that could not be read. line: 1-based line of a CSV file, row of a Parquet file."""

    file: str
    line: int
    reason: str  # columns | sensor | time | value | quality | unknown_sensor
    detail: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.detail}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """Some rows of one file, in order: columns of one length n, with the names they speak of."""

    file: str
    names: tuple[str, ...]  # sensor ids as written
    name: NDArray[np.int32]  # index into `names`
    time_ms: NDArray[np.int64]
    value: NDArray[np.float64]  # NaN where missing
    quality: NDArray[np.uint8]
    line: NDArray[np.int64]
    problems: tuple[RowProblem, ...]
    share_done: float  # of the file, 0 … 1

    def __len__(self) -> int:
        return len(self.name)

    def batch(
        self, index: Mapping[str, int], *, received_ms: int | None = None
    ) -> tuple[ReadingBatch, tuple[RowProblem, ...]]:
        """Return the rows of sensors in `index` (id → index) as a batch, and a problem for each row of another.

        received_ms: when they were received; without it, each at its own time.
        """
        known = np.array([index.get(name, -1) for name in self.names], np.int32)
        sensor = known[self.name] if len(known) else np.empty(0, np.int32)
        is_known = sensor >= 0
        strangers = tuple(
            RowProblem(
                file=self.file,
                line=int(self.line[i]),
                reason="unknown_sensor",
                detail=f"sensor {self.names[self.name[i]]!r} is not configured",
            )
            for i in np.flatnonzero(~is_known)
        )
        times = self.time_ms[is_known]
        received = times if received_ms is None else np.full(len(times), received_ms, np.int64)
        return ReadingBatch.of(
            sensor[is_known], times, self.value[is_known], received, self.quality[is_known]
        ), strangers


def read_readings(path: Path, *, unjudged: Quality = Quality.NOT_EVALUATED) -> Iterator[Portion]:
    """Read a file in portions, in its own order. Rows without a quality get `unjudged`.

    Raises ReadingsFileError when the file is not there, has no such columns, is cut short or is not UTF-8.
    """
    path = Path(path)
    try:
        if path.suffix == ".parquet":
            yield from _read_parquet(path, unjudged)
        else:
            yield from _read_csv(path, unjudged)
    except (OSError, EOFError, pa.ArrowException) as problem:
        raise ReadingsFileError(f"{path}: {_plainly(problem)}") from problem


def _plainly(problem: BaseException) -> str:
    text = str(problem)
    if "UTF8" in text or "UTF-8" in text:
        return "not UTF-8 text; 另存为 UTF-8 编码 save it as UTF-8"
    return text or type(problem).__name__


# ── CSV ─────────────────────────────────────────────────────────────────────────────────────────


def _read_csv(path: Path, unjudged: Quality) -> Iterator[Portion]:
    columns = _header(path)
    problems: list[RowProblem] = []
    skipped: list[int] = []

    def refuse(row: Any) -> str:
        skipped.append(row.number)
        detail = f"{row.actual_columns} columns, expected {row.expected_columns}: {row.text[:LONGEST_SHOWN]!r}"
        problems.append(RowProblem(file=str(path), line=row.number, reason="columns", detail=detail))
        return "skip"

    size = path.stat().st_size
    with path.open("rb") as raw:
        stream: Any = pa.PythonFile(raw, mode="r")
        if path.suffix == ".gz":
            stream = pa.CompressedInputStream(stream, "gzip")
        reader = pa_csv.open_csv(
            stream,
            read_options=pa_csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),  # threads know no line numbers
            parse_options=pa_csv.ParseOptions(invalid_row_handler=refuse, ignore_empty_lines=False),
            convert_options=pa_csv.ConvertOptions(
                include_columns=columns,
                column_types=dict.fromkeys(columns, pa.string()),
                strings_can_be_null=False,
            ),
        )
        line = 2
        for chunk in reader:
            lines, line = _lines(line, chunk.num_rows, skipped)
            table = {n: pc.utf8_trim_whitespace(chunk.column(i)) for i, n in enumerate(chunk.schema.names)}
            known = tuple(p for p in problems if p.line < line)
            problems[:] = [p for p in problems if p.line >= line]
            yield _portion(str(path), table, lines, known, unjudged, share_done=min(1.0, raw.tell() / max(1, size)))
        if problems:
            none = dict.fromkeys(columns, pa.array([], pa.string()))
            yield _portion(str(path), none, np.empty(0, np.int64), tuple(problems), unjudged, share_done=1.0)


def _header(path: Path) -> list[str]:
    """Return the columns to read, in the file's order; refuse a file that has not got them."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:
        first = file.readline(65_536)
    names = [name.strip().strip('"') for name in first.decode("utf-8-sig", "replace").strip().split(",")]
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise ReadingsFileError(
            f"{path}:1: the first line must name sensor,time,value[,quality]; {', '.join(missing)} not found"
        )
    return [name for name in names if name in (*REQUIRED, "quality")]


def _lines(start: int, n: int, skipped: list[int]) -> tuple[NDArray[np.int64], int]:
    """Return the line numbers of the next n accepted rows, and the line after them; refused rows lie between."""
    refused = np.array([s for s in skipped if s >= start], np.int64)
    lines = np.arange(start, start + n + len(refused), dtype=np.int64)
    lines = lines[~np.isin(lines, refused)][:n]
    return lines, int(lines[-1]) + 1 if n else start


# ── Parquet ─────────────────────────────────────────────────────────────────────────────────────


def _read_parquet(path: Path, unjudged: Quality) -> Iterator[Portion]:
    with pq.ParquetFile(path) as file:
        there = file.schema_arrow.names
        missing = [name for name in REQUIRED if name not in there]
        if missing:
            raise ReadingsFileError(f"{path}: column {', '.join(missing)} not found; it has {', '.join(there)}")
        columns = [name for name in (*REQUIRED, "quality") if name in there]
        total, done = max(1, file.metadata.num_rows), 0
        for chunk in file.iter_batches(ROWS_MAX, columns=columns):
            lines = np.arange(done + 1, done + 1 + chunk.num_rows, dtype=np.int64)
            done += chunk.num_rows
            table = {name: chunk.column(i) for i, name in enumerate(chunk.schema.names)}
            yield _portion(str(path), table, lines, (), unjudged, share_done=done / total)


# ── columns ─────────────────────────────────────────────────────────────────────────────────────


def _portion(
    file: str,
    table: Mapping[str, pa.Array],
    lines: NDArray[np.int64],
    problems: tuple[RowProblem, ...],
    unjudged: Quality,
    *,
    share_done: float,
) -> Portion:
    sensor = table["sensor"].cast(pa.string())
    is_named = _truth(pc.not_equal(pc.fill_null(sensor, ""), ""))
    time_ms, has_time = _times(table["time"])
    value, has_value = _values(table["value"])
    if "quality" in table:
        quality, has_quality = _qualities(table["quality"], unjudged)
    else:
        quality, has_quality = np.full(len(lines), unjudged, np.uint8), np.ones(len(lines), np.bool_)
    quality[np.isnan(value)] = Quality.MISSING
    is_good = is_named & has_time & has_value & has_quality
    is_blank = ~is_named & ~has_time & np.isnan(value)  # an empty line
    bad = [
        RowProblem(file=file, line=int(lines[i]), reason=reason, detail=_wrong(reason, table, int(i)))
        for i in np.flatnonzero(~is_good & ~is_blank)
        for reason in [_first_wrong(is_named[i], has_time[i], has_value[i])]
    ]
    codes = pc.dictionary_encode(sensor.filter(pa.array(is_good)))
    return Portion(
        file=file,
        names=tuple(codes.dictionary.to_pylist()),
        name=codes.indices.to_numpy(zero_copy_only=False).astype(np.int32),
        time_ms=time_ms[is_good],
        value=value[is_good],
        quality=quality[is_good],
        line=lines[is_good],
        problems=tuple(sorted((*problems, *bad), key=lambda p: p.line)),
        share_done=share_done,
    )


def _first_wrong(is_named: bool, has_time: bool, has_value: bool) -> str:  # noqa: FBT001 - three columns of one row
    if not is_named:
        return "sensor"
    if not has_time:
        return "time"
    return "quality" if has_value else "value"


_WANTED = {
    "sensor": "a sensor id",
    "time": "epoch milliseconds, or ISO 8601 with a zone such as 2026-11-22T02:11:07Z or …+08:00",
    "value": "a finite number, or nothing for a missing reading",
    "quality": "1 good, 2 not evaluated, 3 suspect, 4 fail or 9 missing",
}


def _wrong(reason: str, table: Mapping[str, pa.Array], i: int) -> str:
    return f"{reason} {str(table[reason][i].as_py())[:LONGEST_SHOWN]!r} cannot be read; expected {_WANTED[reason]}"


def _truth(mask: Any) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = pc.fill_null(mask, False).to_numpy(zero_copy_only=False).astype(np.bool_)
    return found


def _times(column: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return epoch ms and whether each could be read."""
    if pa.types.is_integer(column.type):
        return _filled(column.cast(pa.int64()), 0).astype(np.int64), _truth(column.is_valid())
    if pa.types.is_timestamp(column.type):
        if column.type.tz is None:  # a Parquet writer's habit: UTC unless said otherwise
            column = pc.assume_timezone(column, "UTC")
        return _filled(column.cast(_UTC_MS, safe=False).cast(pa.int64()), 0).astype(np.int64), _truth(column.is_valid())
    column = pc.fill_null(column.cast(pa.string()), "")
    is_integer = _truth(pc.match_substring_regex(column, _INTEGER))
    is_zoned = _truth(pc.match_substring_regex(column, _ZONED))
    times = np.zeros(len(column), np.int64)
    if is_integer.any():
        times[is_integer] = column.filter(pa.array(is_integer)).cast(pa.int64()).to_numpy()
    has_time = is_integer | is_zoned
    if is_zoned.any():
        some = column.filter(pa.array(is_zoned))
        try:
            parsed = some.cast(pa.timestamp("us", tz="UTC")).cast(_UTC_MS, safe=False).cast(pa.int64())
            times[is_zoned] = parsed.to_numpy()
        except pa.ArrowInvalid:  # at least one is no real instant, or unusually written: one by one
            for i, text in zip(np.flatnonzero(is_zoned), some.to_pylist(), strict=True):
                try:
                    times[i] = round(datetime.fromisoformat(text.replace(",", ".")).timestamp() * 1000)
                except ValueError:
                    has_time[i] = False
    return times, has_time


def _values(column: pa.Array) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return values, NaN where missing, and whether each could be read."""
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        values = _filled(column.cast(pa.float64()), np.nan).astype(np.float64)
        return values, ~np.isinf(values)
    column = pc.fill_null(column, "")
    is_empty = _truth(pc.equal(column, ""))
    values = np.full(len(column), np.nan)
    has_value = np.ones(len(column), np.bool_)
    some = column.filter(pa.array(~is_empty))
    try:
        values[~is_empty] = some.cast(pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        for i, text in zip(np.flatnonzero(~is_empty), some.to_pylist(), strict=True):
            try:
                values[i] = float(text)
            except ValueError:
                has_value[i] = False
    return values, has_value & ~np.isinf(values)


def _qualities(column: pa.Array, unjudged: Quality) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return qualities, `unjudged` where there is none, and whether each could be read."""
    if pa.types.is_string(column.type):
        text = pc.fill_null(column, "")
        is_number = pc.match_substring_regex(text, "^[0-9]$")
        has_quality = _truth(pc.or_(is_number, pc.equal(text, "")))
        column = pc.if_else(is_number, text, pa.scalar(None, pa.string()))
    else:
        has_quality = np.ones(len(column), np.bool_)
    numbers = pc.fill_null(column.cast(pa.int64()), int(unjudged))
    has_quality &= _truth(pc.is_in(numbers, value_set=_QUALITIES))
    quality = np.where(has_quality, _filled(numbers, 0), int(unjudged)).astype(np.uint8)
    return quality, has_quality


def _filled(column: pa.Array, value: float) -> NDArray[Any]:
    found: NDArray[Any] = pc.fill_null(column, pa.scalar(value, column.type)).to_numpy(zero_copy_only=False)
    return found
