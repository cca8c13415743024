"""What the quality-control evaluations share: a data folder to readings, `citypulse qc`, the scorer's flags file."""

from __future__ import annotations

import csv
import gzip
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
FLAGGED = {"3", "4", "9"}


@dataclass(frozen=True, slots=True)
class Layout:
    """How a data set's CSV files are written."""

    time_column: str
    channels: tuple[str, ...]  # in the order an instrument would send them: a companion first


def data_files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*.csv*") if p.name.endswith((".csv", ".csv.gz")))


def key_of(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".csv")


def rows_of(path: Path) -> Iterable[dict[str, str]]:
    with gzip.open(path, "rt", newline="", encoding="utf-8-sig") if path.suffix == ".gz" else path.open() as file:
        yield from csv.DictReader(file)


def utc(text: str) -> str:
    return (
        datetime.fromisoformat(text.replace("Z", "")).replace(tzinfo=UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
    )


def write_readings(path: Path, layout: Layout, out: Path) -> dict[str, str]:
    """Write one data file as readings, time after time; returns ISO time → time as the data file writes it."""
    site = key_of(path).lower()
    written: dict[str, str] = {}
    with gzip.open(out, "wt", encoding="utf-8", compresslevel=1) as file:
        file.write("sensor,time,value\n")
        for row in rows_of(path):
            time = utc(row[layout.time_column])
            written[time] = row[layout.time_column]
            for channel in layout.channels:
                if row.get(channel) not in (None, "", "NA", "nan", "NaN"):  # an empty cell is no reading at all
                    file.write(f"{site}.{channel.lower()},{time},{row[channel]}\n")
    return written


def evaluate(
    folder: Path, layout: Layout, config: Path, scorer: Sequence[str], *, flags_out: Path | None, score: bool = True
) -> str:
    """Run `citypulse qc` over a folder and the scorer over its flags; returns what the scorer printed."""
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        names = {c.lower(): c for c in layout.channels}
        flags = flags_out or work / "flags.csv"
        with flags.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["file", "sensor", "datetime"])
            for path in data_files(folder):
                original = write_readings(path, layout, work / "readings.csv.gz")
                command = [sys.executable, "-m", "citypulse", "qc", "--config", str(config)]
                command += ["--readings", str(work / "readings.csv.gz"), "--out", str(work / "out.csv"), "--json"]
                subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
                with (work / "out.csv").open(newline="") as verdicts:
                    for row in csv.DictReader(verdicts):
                        if row["quality"] in FLAGGED:
                            channel = names[row["sensor"].rpartition(".")[2]]
                            writer.writerow([key_of(path), channel, original[row["time"]]])
        if not score:
            return ""
        command = [sys.executable, *scorer, "--flags", str(flags), "--data", str(folder)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


Say = Callable[[str], None]
