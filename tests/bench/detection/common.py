"""What the evaluations share: data files, the folder where their inputs stay, running a command and a scorer.

Every evaluation writes readings files (and, for rules, a configuration) under `build/evaluation/`, prints the
citypulse command it runs on them, and hands what that command wrote to the scorer. A person can run it again.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import math
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO, cast

from simulators.convert import site_id

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]


def arguments(doc: str, config: str) -> argparse.Namespace:
    """Read the options all evaluations have: data (with data/ and eval/), config, keep."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with data/ and eval/")
    parser.add_argument("--config", type=Path, default=HERE / config)
    parser.add_argument("--keep", type=Path, default=ROOT / "build" / "evaluation", help="inputs and results stay here")
    parser.add_argument("--tune", type=Path, help="NAB: another such folder; its best threshold is used here")
    options = parser.parse_args()
    options.data = options.data.resolve()
    return options


def folder_for(options: argparse.Namespace, name: str) -> Path:
    """Return the emptied folder for one evaluation's files."""
    work = Path(options.keep) / name
    work.mkdir(parents=True, exist_ok=True)
    for old in work.iterdir():
        if old.is_file():
            old.unlink()
    return work


def data_files(folder: Path) -> list[Path]:
    """Return every CSV below a folder, in order of name."""
    return sorted(p for p in folder.rglob("*.csv*") if p.name.endswith((".csv", ".csv.gz")))


def stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".csv")


def opened(path: Path) -> TextIO:
    """Open a CSV for reading: gzip or not, with or without a byte order mark, any ends of lines."""
    return cast(
        "TextIO",
        gzip.open(path, "rt", newline="", encoding="utf-8-sig")
        if path.suffix == ".gz"
        else path.open(newline="", encoding="utf-8-sig"),
    )


def rows_of(path: Path) -> Iterator[dict[str, str]]:
    with opened(path) as file:
        yield from csv.DictReader(file)


def columns_of(path: Path) -> list[str]:
    """Return the names in a file's first line; none of an empty file, nor of one that is no text."""
    try:
        with opened(path) as file:
            return next(csv.reader(file), [])
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError):
        print(f"{path.name}: cannot be read as {'compressed ' if path.suffix == '.gz' else ''}text")
        return []


def epoch_ms(text: str) -> int:
    """Return a time as a data set writes it, taken as UTC: only differences matter. ValueError when it is none."""
    return round(datetime.fromisoformat(text.strip().rstrip("Z")).replace(tzinfo=UTC).timestamp() * 1000)


def is_time(text: str | None) -> bool:
    """Say whether a cell is a time that `epoch_ms` reads."""
    try:
        epoch_ms(text or "")
    except ValueError:
        return False
    return True


def is_number(text: str | None) -> bool:
    """Say whether a cell holds a finite number; anything else is no reading at all."""
    try:
        return math.isfinite(float(text or ""))
    except ValueError:
        return False


def labelled(path: Path, labels: Mapping[str, str], out: Path) -> Path:
    """Return the file for the scorer: itself, or a copy at `out` with the label columns it lacks filled in.

    labels: column → what stands for "not judged". A cell that is empty counts as lacking too.
    """
    here = columns_of(path)
    lacks = [name for name in labels if name not in here]
    holes = any(row.get(name) in (None, "") for row in rows_of(path) for name in labels if name in here)
    if not lacks and not holes:
        return path
    print(f"{path.name}: {'no ' + ', '.join(lacks) if lacks else 'empty labels'}; not judged by them")
    out.parent.mkdir(parents=True, exist_ok=True)
    names = (*here, *lacks)
    filled = ([row.get(n) or labels.get(n, "") for n in names] for row in rows_of(path))
    write_rows(out, names, filled)
    return out


def site_names(keys: Iterable[str]) -> list[str]:
    """Return for each key the id of the site that carries it; no two the same, whatever the keys."""
    taken: list[str] = []
    for key in keys:
        base = site_id(key.replace("/", "--")) or "site"
        base = base if base[0].isalpha() else f"s-{base}"
        name, turn = base, 1
        while name in taken:
            turn += 1
            name = f"{base}-{turn}"
        taken.append(name)
    return taken


def iso(ms: int) -> str:
    """Return epoch ms as citypulse writes an instant."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def write_rows(out: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with gzip.open(out, "wt", 1, newline="", encoding="utf-8") if out.suffix == ".gz" else out.open("w") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def shown(path: Path) -> str:
    """Return a path as one would type it at the project's root."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def citypulse(*command: str | Path) -> None:
    """Print a citypulse command and run it; ends the evaluation when it fails (rows that qc could not read: go on)."""
    words = [shown(w) if isinstance(w, Path) else w for w in command]
    print(f"$ citypulse {shlex.join(words)}", flush=True)
    done = subprocess.run(
        [sys.executable, "-m", "citypulse", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    has_findings = words[0] == "qc" and done.returncode == 1 and done.stdout.strip()  # it printed its summary
    if done.returncode != 0 and not has_findings:
        raise SystemExit(f"citypulse {words[0]} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")


def score(scorer: Path, *options: str) -> str:
    """Run one of the scorers as its own process and return what it prints."""
    done = subprocess.run([sys.executable, str(scorer), *options], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{scorer.name} failed:\n{done.stderr}")
    return done.stdout.rstrip()
