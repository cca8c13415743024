"""Scores the multivariate detector's alarms on the SKAB water loop (1 s, valve and pump faults).

    python tests/bench/detection/evaluate_skab.py --data DIR

DIR holds data/skab/**/*.csv[.gz] and eval/qc_eval.py. Each run is its own site: it learns from its first 400 rows,
which are not scored, and goes through `citypulse backtest`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from common import arguments, data_files, folder_for, score, stem
from stat_common import backtest, flags_of, read_all, write_city

CARRIERS = {
    "Accelerometer1RMS": "tp",
    "Accelerometer2RMS": "codmn",
    "Current": "nh3n",
    "Pressure": "level",
    "Voltage": "orp",
    "Volume Flow RateRMS": "clarity",
}
PUBLISHED = """\
                F1     FAR      MAR    (published leaderboard, all 34 runs, rows after the first 400)
  Conv-AE       0.78   13.6 %   28.0 %
  MSET          0.78   39.7 %   14.1 %
  T2+Q          0.76   26.6 %   24.9 %
  LSTM-AE       0.74   30.0 %   25.9 %
  IForest       0.29
  aim           0.80   10.0 %"""


FOLDERS = ("valve1", "valve2", "other", "anomaly-free")  # part of a run's name for the scorer


def key_of(path: Path) -> str:
    """Return what the scorer calls a run: its folder is part of it where the set has such folders."""
    return f"{path.parent.name}/{stem(path)}" if path.parent.name in FOLDERS else stem(path)


def main() -> int:
    options = arguments(__doc__ or "", "skab.yaml")
    data, work = options.data / "data" / "skab", folder_for(options, "skab")
    files = read_all({path: key_of(path) for path in data_files(data)}, "datetime", tuple(CARRIERS))
    recordings = list(files.values())
    if not recordings:
        print(f"no recordings in {data}: not there")
        return 0
    write_city(recordings, options.config, CARRIERS, work)
    backtest(work, "--alarms", work / "alarms.csv")
    flags_of(recordings, work / "alarms.csv", work / "flags.csv")
    judged = [str(path) for path in files]
    scorer = options.data / "eval" / "qc_eval.py"
    print(score(scorer, "--flags", str(work / "flags.csv"), "--preset", "skab", "--data", *judged))
    print(PUBLISHED)
    return 0


if __name__ == "__main__":
    sys.exit(main())
