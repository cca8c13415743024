"""Scores the multivariate detector's alarms on drinking water, GECCO-2018 (1 min, labelled events).

    python tests/bench/detection/evaluate_gecco.py --data DIR

DIR holds data/gecco2018/*.csv[.gz] and eval/qc_eval.py. Each file is a site of its own and goes through
`citypulse backtest`.
"""

from __future__ import annotations

import sys

import numpy as np
from common import arguments, data_files, folder_for, labelled, score, stem
from stat_common import alarmed, backtest, flags_of, read_all, write_city

CARRIERS = {
    "Tp": "temp",
    "Cl": "chlorine",
    "pH": "ph",
    "Redox": "orp",
    "Leit": "cond",
    "Trueb": "turb",
    "Cl_2": "clarity",
}
PUBLISHED = """\
event F1 (threshold from the first half)         first half   second half
  quick streaming z, second largest of 7, EWMA   0.86         0.50 (13 of 22 events, 17 false runs in 48 days)
  aim                                            0.85         0.80, at most 1 false run a week
no published event figures on this split; batch VUS-PR on the whole: PCA 0.20 (best of 23), MMPAD 0.03"""


def main() -> int:
    options = arguments(__doc__ or "", "gecco.yaml")
    data, work = options.data / "data" / "gecco2018", folder_for(options, "gecco2018")
    files = read_all({path: stem(path) for path in data_files(data)}, "Time", tuple(CARRIERS))
    recordings = list(files.values())
    if not recordings:
        print(f"no recordings in {data}: not there")
        return 0
    write_city(recordings, options.config, CARRIERS, work)
    backtest(work, "--alarms", work / "alarms.csv")
    flags_of(recordings, work / "alarms.csv", work / "flags.csv")
    for r in recordings:
        is_on = alarmed(recordings, work / "alarms.csv")[r.site]
        runs = int((np.diff(is_on.astype(np.int8), prepend=0) == 1).sum())
        print(f"{r.key}: {runs} alarms in {(r.times_ms[-1] - r.times_ms[0]) / 604_800_000:.1f} weeks")
    judged = [
        str(labelled(path, {"EVENT": "-1"}, work / "scored" / r.site / f"{stem(path)}.csv"))
        for path, r in files.items()
    ]
    scorer = options.data / "eval" / "qc_eval.py"
    print(score(scorer, "--flags", str(work / "flags.csv"), "--preset", "gecco", "--data", *judged))
    print("false/1000 is per 1,000 minutes: 1 false run a week is 0.10")
    print(PUBLISHED)
    return 0


if __name__ == "__main__":
    sys.exit(main())
