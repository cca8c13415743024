"""What the evaluations of rules share: recordings as sites of a made-up city, and `citypulse backtest` over them.

`<set>.yaml` holds everything but the sites, which are whatever files lie in the data folder. A data set's columns are
carried by quantities of ours that stand in for them (a site has one sensor a quantity); no number depends on which.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common import (
    citypulse,
    columns_of,
    epoch_ms,
    is_number,
    is_time,
    iso,
    rows_of,
    site_names,
    write_rows,
)
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Recording:
    """One data file as a site: what the scorer calls it, times as written and in epoch ms, columns (NaN: nothing)."""

    key: str
    site: str
    times: list[str]
    times_ms: NDArray[np.int64]
    columns: dict[str, NDArray[np.float64]]


def number(text: str | None) -> float:
    return float(text or "") if is_number(text) else np.nan


def read_all(files: Mapping[Path, str], time_column: str, channels: Sequence[str]) -> dict[Path, Recording]:
    """Read the files of a set, each under its key; what is none of it is left out with a word."""
    found: dict[Path, Recording] = {}
    for (path, key), site in zip(files.items(), site_names(files.values()), strict=True):
        recording = read(path, key, site, time_column, channels)
        if recording is not None:
            found[path] = recording
    return found


def read(path: Path, key: str, site: str, time_column: str, channels: Sequence[str]) -> Recording | None:
    """Read the `channels` a file has; None, and a word about it, when it is no file of this set."""
    has = columns_of(path)
    here = [c for c in channels if c in has]
    rows = list(rows_of(path)) if time_column in has and here else []
    read_rows = [row for row in rows if is_time(row[time_column])]
    if not read_rows:
        print(f"{path.name}: not there: no rows with {time_column} and one of {', '.join(channels)}; left out")
        return None
    if len(here) < len(channels):
        print(f"{path.name}: not there: {', '.join(c for c in channels if c not in here)}; judged by the rest")
    if len(read_rows) < len(rows):
        print(f"{path.name}: {len(rows) - len(read_rows)} rows have no time; left out")
    times = [row[time_column] for row in read_rows]
    times_ms = np.array([epoch_ms(t) for t in times], np.int64)
    for k in np.flatnonzero(np.diff(times_ms) <= 0):  # an hour that summer time repeats: kept, a millisecond apart
        times_ms[k + 1] = max(times_ms[k + 1], times_ms[k] + 1)
    columns = {name: np.array([number(row[name]) for row in read_rows]) for name in here}
    if not any(np.isfinite(series).any() for series in columns.values()):
        print(f"{path.name}: not one number in {', '.join(here)}; left out")
        return None
    return Recording(key, site, times, times_ms, columns)


def write_city(recordings: Sequence[Recording], config: Path, carriers: Mapping[str, str], work: Path) -> None:
    """Write sensors.yaml (the configuration with one site per recording) and readings.csv.gz, in order of time."""
    places = "".join(f'      {r.site}: ["{r.site}", "{r.site}", 40.7, -74.0]\n' for r in recordings)
    (work / "sensors.yaml").write_text(
        f"# Written for one evaluation.\nversion: 1\ninclude: [{config.resolve()}]\n\n"
        f"sites:\n  - template: recording\n    area: here\n    gateway: recorder\n    places:\n{places}",
        encoding="utf-8",
    )
    names, times, values = [], [], []
    for recording in recordings:
        for column, series in recording.columns.items():
            said = np.isfinite(series)
            names.append(np.full(said.sum(), f"{recording.site}.{carriers[column]}", object))
            times.append(recording.times_ms[said])
            values.append(series[said])
    time_ms = np.concatenate(times)
    order = np.argsort(time_ms, kind="stable")
    rows = zip(
        np.concatenate(names)[order], time_ms[order].tolist(), np.concatenate(values)[order].tolist(), strict=True
    )
    write_rows(work / "readings.csv.gz", ("sensor", "time", "value"), rows)


def backtest(work: Path, *more: str | Path) -> None:
    """Run the command over what `write_city` wrote."""
    citypulse("backtest", "--config", work / "sensors.yaml", "--readings", work / "readings.csv.gz", *more, "--json")


def alarmed(recordings: Sequence[Recording], alarms: Path) -> dict[str, NDArray[np.bool_]]:
    """Return by site, for every row, whether an alarm was standing, from the alarms a backtest wrote."""
    is_on = {r.site: np.zeros(len(r.times), np.bool_) for r in recordings}
    times = {r.site: r.times_ms for r in recordings}
    with alarms.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            site = row["scope"].partition(".")[0]
            first = np.searchsorted(times[site], instant_ms(row["start"]))
            last = np.searchsorted(times[site], instant_ms(row["end"])) if row["end"] else len(times[site])
            is_on[site][first:last] = True
    return is_on


def scores_of(recordings: Sequence[Recording], scores: Path) -> dict[str, NDArray[np.float64]]:
    """Return by site, for every row, the score a backtest wrote; 0 where it wrote none."""
    found = {r.site: np.zeros(len(r.times)) for r in recordings}
    place = {r.site: {int(ms): k for k, ms in enumerate(r.times_ms)} for r in recordings}
    with scores.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            site = row["scope"].partition(".")[0]
            found[site][place[site][instant_ms(row["time"])]] = float(row["score"])
    return found


def instant_ms(text: str) -> int:
    return epoch_ms(text)


def flags_of(recordings: Sequence[Recording], alarms: Path, out: Path) -> None:
    """Write file, sensor, datetime of every row with an alarm standing, as the scorer wants them."""
    is_on = alarmed(recordings, alarms)
    rows = [(r.key, "", r.times[k]) for r in recordings for k in np.flatnonzero(is_on[r.site])]
    write_rows(out, ("file", "sensor", "datetime"), rows)


__all__ = ["Recording", "alarmed", "backtest", "flags_of", "iso", "read", "read_all", "scores_of", "write_city"]
