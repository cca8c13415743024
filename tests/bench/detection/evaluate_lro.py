"""Scores quality control on Logan River Observatory files against the technicians' labels.

python tests/bench/detection/evaluate_lro.py --data …/lro --scorer …/qc_eval.py
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from qc_common import HERE, Layout, evaluate

SCORED = ("temp", "cond", "ph", "do")
LAYOUT = Layout("datetime", ("temp", "turb", "cond", "ph", "do"))  # turbidity only explains the others
PUBLISHED = """\
                                       event F1:  temp   cond   pH     DO     mean    (false runs / 1000)
PyHydroQC rules, dev / held-out                  0.70   0.38   0.38   0.67   0.530 / 0.515
PyHydroQC ARIMA re-run (looks ahead)             0.69   0.59   0.65   0.49   0.605 / 0.545   (0.20-0.70)
quick causal rule, dev / held-out                0.99   0.55   0.77   0.71   0.753 / 0.693   (0.01-0.12)
aim                                                                          0.85            (<= 0.10)"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of files as lro/ has them, whatever the sites")
    parser.add_argument("--scorer", type=Path, required=True, help="qc_eval.py")
    parser.add_argument("--config", type=Path, default=HERE / "lro.yaml")
    parser.add_argument("--flags", type=Path, help="keep the flags CSV here")
    options = parser.parse_args()
    scorer = [str(options.scorer), "--preset", "lro", "--sensors", *SCORED]
    print(evaluate(options.data, LAYOUT, options.config, scorer, flags_out=options.flags))
    print(PUBLISHED)
    return 0


if __name__ == "__main__":
    sys.exit(main())
