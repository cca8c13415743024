"""Scores the multivariate detector's alarms on the SKAB water loop (1 s, valve and pump faults).

    python tests/bench/detection/evaluate_skab.py --data DIR

DIR holds data/skab/**/*.csv[.gz] and eval/qc_eval.py. Each run is its own site: it learns from its first 400 rows,
which are not scored, and goes through the real engine.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from stat_common import arguments, data_files, read, score, settings_of, site_alarms, stem, write_rows

PUBLISHED = """\
                F1     FAR      MAR    (published leaderboard, all 34 runs, rows after the first 400)
  Conv-AE       0.78   13.6 %   28.0 %
  MSET          0.78   39.7 %   14.1 %
  T2+Q          0.76   26.6 %   24.9 %
  LSTM-AE       0.74   30.0 %   25.9 %
  IForest       0.29
  aim           0.80   10.0 %"""


def main() -> int:
    options = arguments(__doc__ or "", "skab.yaml")
    config = settings_of(options.config)
    data = options.data / "data" / "skab"
    rows: list[tuple[str, str, str]] = []
    for path in data_files(data):
        recording = read(path, "datetime", None if config["channels"] == "all" else config["channels"])
        is_on = site_alarms(recording, config)
        name = f"{path.parent.name}/{stem(path)}"
        rows += [(name, "", t) for t, on in zip(recording.times, is_on, strict=True) if on]
    with tempfile.TemporaryDirectory() as folder:
        out = options.keep or Path(folder) / "flags.csv"
        write_rows(out, ("file", "sensor", "datetime"), rows)
        scorer = options.data / "eval" / "qc_eval.py"
        print(score(scorer, "--flags", str(out), "--data", str(data), "--preset", "skab"))
    print(PUBLISHED)
    return 0


if __name__ == "__main__":
    sys.exit(main())
