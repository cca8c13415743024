"""What the quality-control evaluations share: a data folder to readings, `citypulse qc`, the scorer's flags file."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common import (
    citypulse,
    columns_of,
    data_files,
    epoch_ms,
    is_number,
    is_time,
    iso,
    labelled,
    rows_of,
    score,
    site_names,
    stem,
    write_rows,
)

FLAGGED = {"3", "4", "9"}


@dataclass(frozen=True, slots=True)
class Layout:
    """How a data set's CSV files are written.

    channels: in the order an instrument would send them, a companion first · labels: columns the scorer asks for, with
    what stands for "not judged" where a file has no such column.
    """

    time_column: str
    channels: tuple[str, ...]
    labels: dict[str, str]


def write_readings(path: Path, layout: Layout, site: str, out: Path) -> dict[str, list[str]]:
    """Write one data file as readings, time after time; returns ISO time → the ways the data file writes it."""
    written: dict[str, list[str]] = {}
    readings: list[tuple[str, str, str]] = []
    unread = 0
    for row in rows_of(path):
        if not is_time(row[layout.time_column]):
            unread += 1
            continue
        time = iso(epoch_ms(row[layout.time_column]))
        written.setdefault(time, []).append(row[layout.time_column])
        readings += [(f"{site}.{c.lower()}", time, row[c]) for c in layout.channels if is_number(row.get(c))]
    if unread:
        print(f"{path.name}: {unread} rows have no time; left out")
    write_rows(out, ("sensor", "time", "value"), readings)
    return written


def evaluate(folder: Path, layout: Layout, config: Path, work: Path, scorer: Sequence[str]) -> str:
    """Run `citypulse qc` over a folder and the scorer over its flags; returns what the scorer printed."""
    names = {c.lower(): c for c in layout.channels}
    found = data_files(folder)
    sites = site_names(str(path.relative_to(folder)).removesuffix(".gz").removesuffix(".csv") for path in found)
    original: dict[str, dict[str, list[str]]] = {}
    keys: dict[str, str] = {}
    judged: list[Path] = []
    for path, site in zip(found, sites, strict=True):
        columns = columns_of(path)
        here = [c for c in layout.channels if c in columns]
        if layout.time_column not in columns or not here:
            print(f"{path.name}: not there: no {layout.time_column} or none of {', '.join(layout.channels)}; left out")
            continue
        times = write_readings(path, layout, site, work / f"{site}.csv.gz")
        if not times:
            print(f"{path.name}: no rows; left out")
            (work / f"{site}.csv.gz").unlink()
            continue
        original[site], keys[site] = times, stem(path)
        judged.append(labelled(path, layout.labels, work / "scored" / site / f"{stem(path)}.csv"))
    if not judged:
        return f"no files of this set in {folder}: not there"
    readings = [work / f"{site}.csv.gz" for site in keys]
    citypulse("qc", "--config", config, *readings, "--out", work / "verdicts.csv", "--json")
    flags: list[tuple[str, str, str]] = []
    with (work / "verdicts.csv").open(newline="") as verdicts:
        for row in csv.DictReader(verdicts):
            if row["quality"] in FLAGGED:
                site, _, channel = row["sensor"].rpartition(".")
                flags += [(keys[site], names[channel], time) for time in original[site][row["time"]]]
    write_rows(work / "flags.csv", ("file", "sensor", "datetime"), flags)
    return score(Path(scorer[0]), *scorer[1:], "--flags", str(work / "flags.csv"), "--data", *map(str, judged))
