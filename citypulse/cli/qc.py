"""`citypulse qc`: quality control over readings files, streaming, as it would have been live."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from .show import console, json_option, print_json

if TYPE_CHECKING:
    from citypulse.readings_files import Portion, RowProblem
    from ingest.qc.settings import QualitySettings
    from ingest.qc.stream import Verdicts

PROBLEMS_SHOWN = 20
QUALITY_WORDS = {1: "good", 2: "not_evaluated", 3: "suspect", 4: "fail", 9: "missing"}


def portions(paths: Sequence[Path], what: str) -> Iterator[Portion]:
    """Read files in turn with progress on stderr."""
    from rich.progress import Progress

    from citypulse.readings_files import read_readings

    with Progress(console=console(stderr=True), transient=True) as progress:
        for path in paths:
            task = progress.add_task(f"{what} {path.name}", total=1.0)
            for portion in read_readings(path):
                yield portion
                progress.update(task, completed=portion.share_done)


def sensors_in(paths: Sequence[Path]) -> dict[str, int]:
    """Return every sensor id in the files with an index, in order of first appearance."""
    index: dict[str, int] = {}
    for portion in portions(paths, "查找传感器 finding sensors"):
        for name in portion.names:
            index.setdefault(name, len(index))
    return index


def cadences(settings: QualitySettings, ids: Sequence[str]) -> list[float]:
    """Return each sensor's usual step in seconds: as set, or as its quantity's domain has it, or a minute."""
    from citypulse.domains import QUANTITIES

    steps: list[float] = []
    for sensor_id in ids:
        quantity = sensor_id.rpartition(".")[2]
        quality = settings.of(sensor_id, quantity)
        known = QUANTITIES.get(quantity)
        steps.append((quality.interval_s if quality else None) or (float(known.cadence_s) if known else 60.0))
    return steps


def city_quality(path: Path) -> QualitySettings | None:
    """Return the tests of a whole city, laid over each other by kind of site and site; None for a file without one.

    Raises ConfigError with all problems of the city.
    """
    import re

    from citypulse.config import load_city
    from citypulse.vocabulary import extensions

    text = path.read_text(encoding="utf-8", errors="replace")
    if not re.search(r"^city:", text, re.MULTILINE) or not re.search(r"^ +(site_kinds|sites):", text, re.MULTILINE):
        return None  # its `quantities` and `sensors` are all there is, and they need no city
    settings: QualitySettings | None = load_city(path, extensions()).quality
    return settings


def write_rows(out: IO[str], verdicts: Verdicts, ids: Sequence[str]) -> None:
    """Write settled readings as CSV lines: sensor, ISO time, quality, names of the tests that raised it."""
    from citypulse.clock import iso
    from ingest.qc.catalogue import names_of

    words = {mask: "+".join(names_of(mask)) for mask in set(verdicts.tests.tolist())}
    columns = zip(
        verdicts.sensor.tolist(),
        verdicts.time_ms.tolist(),
        verdicts.quality.tolist(),
        verdicts.tests.tolist(),
        strict=True,
    )
    out.writelines(f"{ids[s]},{iso(t)},{q},{words[mask]}\n" for s, t, q, mask in columns)


class Tally:
    """How many readings got which quality, and which tests raised them, by sensor."""

    def __init__(self, ids: Sequence[str]) -> None:
        """Start at nothing."""
        self._ids = ids
        self.rows = 0
        self.refused = 0
        self._quality: Counter[tuple[int, int]] = Counter()
        self._tests: Counter[tuple[int, int]] = Counter()

    def add(self, verdicts: Verdicts) -> None:
        """Count settled readings."""
        self.rows += len(verdicts)
        self._quality.update(zip(verdicts.sensor.tolist(), verdicts.quality.tolist(), strict=True))
        raised = verdicts.tests != 0
        self._tests.update(zip(verdicts.sensor[raised].tolist(), verdicts.tests[raised].tolist(), strict=True))

    def refuse(self, found: Sequence[RowProblem]) -> None:
        """Count rows that could not be read and show the first ones on stderr."""
        for problem in found:
            self.refused += 1
            if self.refused <= PROBLEMS_SHOWN:
                click.echo(str(problem), err=True)

    def by_sensor(self) -> dict[str, dict[str, Any]]:
        """Return counts by quality and by test for each sensor."""
        from ingest.qc.catalogue import names_of

        result: dict[str, dict[str, Any]] = {name: {"quality": {}, "tests": Counter()} for name in self._ids}
        for (s, quality), n in sorted(self._quality.items()):
            result[self._ids[s]]["quality"][QUALITY_WORDS[quality]] = n
        for (s, mask), n in sorted(self._tests.items()):
            for name in names_of(mask):
                result[self._ids[s]]["tests"][name] += n
        return {name: {"quality": d["quality"], "tests": dict(d["tests"])} for name, d in result.items()}


@click.command()
@click.option(
    "--config",
    "config_path",
    default="sensors.yaml",
    show_default=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A YAML file with a `quality:` section",
)
@click.option(
    "--readings",
    "files",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A readings file; may be repeated, and further files may follow as arguments",
)
@click.argument("more", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Flags as CSV sensor,time,quality,tests")
@json_option
def command(
    config_path: Path, files: tuple[Path, ...], more: tuple[Path, ...], out: Path | None, as_json: bool
) -> None:
    """Run quality control over readings files, reading by reading, as it would have run live.

    Each sensor is judged by the tests of its quantity (the last part of its id) in the `quality:` section. Flags are
    QARTOD's: 1 good, 2 not evaluated, 3 suspect, 4 fail, 9 missing. Verdicts that need the next reading are settled
    before a row is written. Exit 1 when rows could not be read.
    """
    from ingest.qc.controller import QualityControl
    from ingest.qc.files import load_quality
    from ingest.qc.stream import QualityStream

    paths = (*files, *more)
    if not paths:
        raise click.UsageError("没有读数文件 no readings file: give --readings FILE")
    settings = city_quality(config_path) or load_quality(config_path)
    index = sensors_in(paths)
    ids = list(index)
    stream = QualityStream(QualityControl.of_sensors(settings, ids, cadences(settings, ids)), len(ids))
    tally = Tally(ids)
    with click.open_file(str(out) if out else "/dev/null", "w", encoding="utf-8") as written:
        written.write("sensor,time,quality,tests\n")
        for portion in portions(paths, "质量控制 quality control"):
            batch, _ = portion.batch(index)
            tally.refuse(portion.problems)
            settled = stream.push(batch)
            tally.add(settled)
            write_rows(written, settled, ids)
        settled = stream.finish()
        tally.add(settled)
        write_rows(written, settled, ids)
    _print(tally, as_json=as_json)
    if tally.refused:
        raise click.exceptions.Exit(1)


def _print(tally: Tally, *, as_json: bool) -> None:
    from .show import print_table

    counts = tally.by_sensor()
    if as_json:
        print_json({"rows": tally.rows, "refused": tally.refused, "sensors": counts})
        return
    rows = [
        (
            name,
            *(str(d["quality"].get(word, 0)) for word in QUALITY_WORDS.values()),
            ", ".join(f"{test} {n}" for test, n in d["tests"].items()),
        )
        for name, d in counts.items()
    ]
    header = ("传感器 sensor", "好 good", "未评 2", "可疑 suspect", "失败 fail", "缺失 missing", "原因 tests")
    print_table(header, rows, empty="没有读数 no readings")
    click.echo(f"{tally.rows} 行 rows, {tally.refused} 行未读 refused")
