"""Scores the surprise detector on the Numenta Anomaly Benchmark, one configuration for every series.

    python tests/bench/detection/evaluate_nab.py --data DIR [--tune DIR]

DIR holds data/nab/**.csv[.gz] with windows.json, and eval/nab_eval.py. Three figures per profile: at our fixed limit,
at the threshold that is best here (NAB's own convention), and with --tune at the one that is best on another half.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from stat_common import Recording, arguments, read, score, settings_of, write_rows

from rules.detectors import surprise

PUBLISHED = """\
published (NAB v1.1, all 58 series / held-out half at the development half's threshold; standard, low-FP, low-FN)
  ARTime                74.85 65.15 80.36   /   74.59 64.71 80.03
  Numenta HTM           70.10 63.12 74.32   /   69.42 62.49 73.56
  CAD OSE               69.90 66.98 73.18   /   67.12 64.38 70.20
  KNN-CAD               57.99 43.41 64.81   /   57.61 41.14 65.07
  random cut forest     51.72 38.36 59.75   /   51.38 35.10 55.93
  windowed Gaussian     39.65 20.87 47.41   /   31.11  8.95 35.49"""


def surprises(recording: Recording, settings: surprise.Surprise) -> np.ndarray:
    """Return the reported surprise of every reading, 0 where nothing is reported."""
    (values,) = recording.columns.values()
    lanes = np.zeros(len(values), np.int32)
    return np.nan_to_num(surprise.kernels.step(recording.times_ms, values, lanes, *surprise.arrays([settings])))


def write_scores(folder: Path, settings: surprise.Surprise, out: Path) -> int:
    """Write file, timestamp, score of every series under `folder`; return how many series there were."""
    rows: list[tuple[str, str, float]] = []
    files = sorted(p for p in folder.glob("*/*.csv*") if p.name.endswith((".csv", ".csv.gz")))
    for path in files:
        recording = read(path, "timestamp", ["value"])
        name = f"{path.parent.name}/{path.name.removesuffix('.gz')}"
        rows += [
            (name, t, round(float(s), 6)) for t, s in zip(recording.times, surprises(recording, settings), strict=True)
        ]
    write_rows(out, ("file", "timestamp", "score"), rows)
    return len(files)


def main() -> int:
    options = arguments(__doc__ or "", "nab.yaml")
    config = settings_of(options.config)
    settings = surprise.Surprise(**config["settings"])
    data, scorer = options.data / "data" / "nab", options.data / "eval" / "nab_eval.py"
    with tempfile.TemporaryDirectory() as folder:
        out = options.keep or Path(folder) / "scores.csv"
        print(f"{write_scores(data, settings, out)} series under {data}")
        files = ["--scores", str(out), "--data", str(data), "--windows", str(data / "windows.json")]
        print(f"-- at the configured limit {config['limit']}")
        print(score(scorer, *files, "--threshold", str(config["limit"])))
        print("-- at the threshold that is best on these series")
        print(score(scorer, *files))
        if options.tune:
            other = options.tune / "data" / "nab"
            both, more = Path(folder) / "both.csv", Path(folder) / "tune.csv"
            write_scores(other, settings, more)
            both.write_text(out.read_text() + more.read_text().split("\n", 1)[1])
            print(f"-- at the threshold that is best under {other}")
            tuned = ["--scores", str(both), "--data", str(data), str(other), "--windows", str(data / "windows.json")]
            print(score(scorer, *tuned, "--tune", str(other / "windows.json")))
    print(PUBLISHED)
    return 0


if __name__ == "__main__":
    sys.exit(main())
