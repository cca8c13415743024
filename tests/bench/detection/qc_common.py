"""What the quality-control evaluations share: a data folder to readings, `citypulse qc`, the scorer's flags file."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common import citypulse, columns_of, data_files, epoch_ms, iso, rows_of, score, stem, write_rows

FLAGGED = {"3", "4", "9"}
NOTHING = {None, "", "NA", "nan", "NaN"}  # an empty cell is no reading at all


@dataclass(frozen=True, slots=True)
class Layout:
    """How a data set's CSV files are written.

    channels: in the order an instrument would send them, a companion first · labels: columns the scorer asks for, with
    what stands for "not judged" where a file has no such column.
    """

    time_column: str
    channels: tuple[str, ...]
    labels: dict[str, str]


def write_readings(path: Path, layout: Layout, out: Path) -> dict[str, str]:
    """Write one data file as readings, time after time; returns ISO time → time as the data file writes it."""
    site = stem(path).lower()
    written: dict[str, str] = {}
    readings: list[tuple[str, str, str]] = []
    for row in rows_of(path):
        time = iso(epoch_ms(row[layout.time_column]))
        written[time] = row[layout.time_column]
        readings += [(f"{site}.{c.lower()}", time, row[c]) for c in layout.channels if row.get(c) not in NOTHING]
    write_rows(out, ("sensor", "time", "value"), readings)
    return written


def scored(path: Path, layout: Layout, work: Path) -> Path:
    """Return the file for the scorer: itself, or a copy with the label columns it lacks."""
    missing = {name: value for name, value in layout.labels.items() if name not in columns_of(path)}
    if not missing:
        return path
    print(f"{path.name}: no {', '.join(missing)}; not judged by them")
    copy = work / "scored" / f"{stem(path)}.csv"
    copy.parent.mkdir(exist_ok=True)
    rows = [{**row, **missing} for row in rows_of(path)]
    write_rows(copy, tuple(rows[0]), [tuple(row.values()) for row in rows])
    return copy


def evaluate(folder: Path, layout: Layout, config: Path, work: Path, scorer: Sequence[str]) -> str:
    """Run `citypulse qc` over a folder and the scorer over its flags; returns what the scorer printed."""
    names = {c.lower(): c for c in layout.channels}
    original: dict[str, dict[str, str]] = {}
    keys: dict[str, str] = {}
    files: list[Path] = []
    for path in data_files(folder):
        here = [c for c in layout.channels if c in columns_of(path)]
        if layout.time_column not in columns_of(path) or not here:
            print(f"{path.name}: not there: no {layout.time_column} or none of {', '.join(layout.channels)}; left out")
            continue
        original[stem(path).lower()] = write_readings(path, layout, work / f"{stem(path)}.csv.gz")
        keys[stem(path).lower()] = stem(path)
        files.append(path)
    if not files:
        return f"no files of this set in {folder}: not there"
    readings = [work / f"{stem(path)}.csv.gz" for path in files]
    citypulse("qc", "--config", config, *readings, "--out", work / "verdicts.csv", "--json")
    flags: list[tuple[str, str, str]] = []
    with (work / "verdicts.csv").open(newline="") as verdicts:
        for row in csv.DictReader(verdicts):
            if row["quality"] in FLAGGED:
                site, _, channel = row["sensor"].rpartition(".")
                flags.append((keys[site], names[channel], original[site][row["time"]]))
    write_rows(work / "flags.csv", ("file", "sensor", "datetime"), flags)
    judged = [str(scored(path, layout, work)) for path in files]
    return score(Path(scorer[0]), *scorer[1:], "--flags", str(work / "flags.csv"), "--data", *judged)
