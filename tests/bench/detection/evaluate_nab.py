"""Scores the surprise detector on the Numenta Anomaly Benchmark, one configuration for every series.

    python tests/bench/detection/evaluate_nab.py --data DIR [--tune DIR]

DIR holds data/nab/**.csv[.gz] with windows.json, and eval/nab_eval.py. Every series is a site of one city and goes
through `citypulse backtest`. Three figures per profile: at our fixed limit, at the threshold that is best here (NAB's
own convention), and with --tune at the one that is best on another half.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from common import arguments, data_files, epoch_ms, folder_for, score, write_rows
from stat_common import Recording, backtest, read_all, scores_of, write_city

LIMIT = 6.0  # nats, as in nab.yaml
PUBLISHED = """\
published (NAB v1.1, all 58 series / held-out half at the development half's threshold; standard, low-FP, low-FN)
  ARTime                74.85 65.15 80.36   /   74.59 64.71 80.03
  Numenta HTM           70.10 63.12 74.32   /   69.42 62.49 73.56
  CAD OSE               69.90 66.98 73.18   /   67.12 64.38 70.20
  KNN-CAD               57.99 43.41 64.81   /   57.61 41.14 65.07
  random cut forest     51.72 38.36 59.75   /   51.38 35.10 55.93
  windowed Gaussian     39.65 20.87 47.41   /   31.11  8.95 35.49"""


def key_of(path: Path, data: Path) -> str:
    """Return what windows.json calls a series: its path below the data folder."""
    return str(path.relative_to(data)).removesuffix(".gz")


def judged_windows(windows: Path, recordings: Sequence[Recording], out: Path) -> None:
    """Write the windows of the series that are there; a window that a cut series has not whole is left out."""
    times = {r.key: {epoch_ms(t) for t in r.times} for r in recordings}
    said = json.loads(windows.read_text(encoding="utf-8"))
    kept: dict[str, list[list[str]]] = {}
    for key, spans in said.items():
        if key not in times:
            continue
        kept[key] = [span for span in spans if all(epoch_ms(edge) in times[key] for edge in span)]
        if len(kept[key]) < len(spans):
            print(f"{key}: {len(spans) - len(kept[key])} of {len(spans)} windows are not whole in it; left out")
    if absent := len(set(said) - set(times)):
        print(f"{absent} series of windows.json are not there; not judged")
    for key in sorted(set(times) - set(said)):
        print(f"{key}: not in windows.json; not judged")
    out.write_text(json.dumps(kept), encoding="utf-8")


def write_scores(options: argparse.Namespace, data: Path, name: str) -> Path:
    """Backtest every series under `data`; return the file of file, timestamp, score."""
    work = folder_for(options, name)
    names = {path: key_of(path, data) for path in data_files(data)}
    recordings = list(read_all(names, "timestamp", ("value",)).values())
    print(f"{len(recordings)} series under {data}")
    if recordings:
        write_city(recordings, options.config, {"value": "level"}, work)
        backtest(work, "--alarms", work / "alarms.csv", "--scores", work / "scores.csv")
    scores = scores_of(recordings, work / "scores.csv") if recordings else {}
    judged_windows(data / "windows.json", recordings, work / "windows.json")
    rows = ((r.key, t, round(float(s), 6)) for r in recordings for t, s in zip(r.times, scores[r.site], strict=True))
    write_rows(work / "scored.csv", ("file", "timestamp", "score"), rows)
    return work / "scored.csv"


def main() -> int:
    options = arguments(__doc__ or "", "nab.yaml")
    data, scorer = options.data / "data" / "nab", options.data / "eval" / "nab_eval.py"
    windows = data / "windows.json"
    if not windows.exists() or not data_files(data):
        print(f"no series with windows.json in {data}: not there")
        return 0
    out = write_scores(options, data, "nab")
    windows = out.with_name("windows.json")
    if not any(json.loads(windows.read_text(encoding="utf-8")).values()):
        print("not one window to judge by")
        return 0
    files = ["--scores", str(out), "--data", str(data), "--windows", str(windows)]
    print(f"-- at the configured limit {LIMIT}")
    print(score(scorer, *files, "--threshold", str(LIMIT)))
    print("-- at the threshold that is best on these series")
    print(score(scorer, *files))
    if options.tune:
        other = options.tune.resolve() / "data" / "nab"
        more, both = write_scores(options, other, "nab-tune"), out.with_name("both.csv")
        both.write_text(out.read_text() + more.read_text().split("\n", 1)[1])
        print(f"-- at the threshold that is best under {other}")
        tuned = ["--scores", str(both), "--data", str(data), str(other), "--windows", str(windows)]
        print(score(scorer, *tuned, "--tune", str(other / "windows.json")))
    print(PUBLISHED)
    return 0


if __name__ == "__main__":
    sys.exit(main())
