"""Writes readings files, whole or not at all: the counterpart of citypulse/readings_files.py."""

from __future__ import annotations

import gzip
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from citypulse.readings_files import ReadingsFileError

_UTC_MS = pa.timestamp("ms", tz="UTC")
GZIP_LEVEL = 4  # level 9 takes three times as long and saves a twentieth
_SCHEMA = pa.schema(
    [
        ("sensor", pa.dictionary(pa.int32(), pa.string())),
        ("time", _UTC_MS),
        ("value", pa.float64()),
        ("quality", pa.uint8()),
    ]
)


class ReadingsWriter:
    """Writes a readings file whole or not at all: under another name first, renamed when complete.

    The kind follows the name: .csv, .csv.gz or .parquet. Use as a context manager; an exception leaves no file.
    """

    def __init__(self, path: Path) -> None:
        """Name the file to write; raises ReadingsFileError for another kind of name."""
        self._path = Path(path)
        self._kind = next((k for k in (".csv", ".csv.gz", ".parquet") if self._path.name.endswith(k)), "")
        if not self._kind:
            raise ReadingsFileError(f"{path}: name the file .csv, .csv.gz or .parquet")
        self._part = self._path.with_name(self._path.name + ".part")
        self._file: Any = None
        self._out: Any = None
        self.rows = 0

    def __enter__(self) -> Self:
        try:
            self._file = self._part.open("wb")
        except OSError as problem:
            raise ReadingsFileError(f"{self._part}: {problem.strerror}") from problem
        if self._kind == ".parquet":
            self._out = pq.ParquetWriter(self._file, _SCHEMA, compression="zstd")
        elif self._kind == ".csv.gz":
            self._out = gzip.GzipFile("", "wb", GZIP_LEVEL, self._file, mtime=0)
        else:
            self._out = self._file
        if self._kind != ".parquet":
            self._out.write(b"sensor,time,value,quality\n")
        return self

    def write(self, names: Sequence[str], name: Any, time_ms: Any, value: Any, quality: Any) -> None:
        """Add rows (at most some 10 million): `name` indexes `names`, times in epoch ms, NaN where missing."""
        index = pa.array(np.asarray(name, np.int32))
        time = pa.array(np.asarray(time_ms, np.int64)).cast(_UTC_MS)
        number = pa.array(np.asarray(value, np.float64), from_pandas=True)
        grade = pa.array(np.asarray(quality, np.uint8))
        self.rows += len(index)
        if self._kind == ".parquet":
            sensor = pa.DictionaryArray.from_arrays(index, pa.array(list(names), pa.string()))
            self._out.write_table(pa.Table.from_arrays([sensor, time, number, grade], schema=_SCHEMA))
        elif len(index):
            lines = pc.binary_join_element_wise(
                pa.array([_quoted(n) for n in names], pa.string()).take(index),
                pc.replace_substring(time.cast(pa.string()), " ", "T"),
                pc.fill_null(number.cast(pa.string()), ""),
                grade.cast(pa.string()),
                ",",
            )
            joined = pc.binary_join(pa.ListArray.from_arrays(pa.array([0, len(lines)], pa.int32()), lines), "\n")
            self._out.write(joined[0].as_py().encode())
            self._out.write(b"\n")

    def __exit__(
        self, kind: type[BaseException] | None, _problem: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._kind != ".csv":
            self._out.close()
        if kind is None:
            self._close()
            self._part.replace(self._path)
        else:
            self._close()
            self._part.unlink(missing_ok=True)

    def _close(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if any(c in name for c in ',"\n') else name
