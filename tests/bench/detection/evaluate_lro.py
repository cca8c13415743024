"""Scores quality control on Logan River Observatory files against the technicians' labels.

    python tests/bench/detection/evaluate_lro.py --data DIR

DIR holds data/lro/*.csv[.gz], whatever the sites, and eval/qc_eval.py.
"""

from __future__ import annotations

import sys

from common import arguments, folder_for
from qc_common import Layout, evaluate

SCORED = ("temp", "cond", "ph", "do")
LAYOUT = Layout(
    time_column="datetime",
    channels=("temp", "turb", "cond", "ph", "do"),  # turbidity only explains the others
    labels=dict.fromkeys([f"{v}_label" for v in (*SCORED, "turb", "stage")], "-1"),
)
PUBLISHED = """\
                                       event F1:  temp   cond   pH     DO     mean    (false runs / 1000)
PyHydroQC rules, dev / held-out                  0.70   0.38   0.38   0.67   0.530 / 0.515
PyHydroQC ARIMA re-run (looks ahead)             0.69   0.59   0.65   0.49   0.605 / 0.545   (0.20-0.70)
quick causal rule, dev / held-out                0.99   0.55   0.77   0.71   0.753 / 0.693   (0.01-0.12)
aim                                                                          0.85            (<= 0.10)"""


def main() -> int:
    options = arguments(__doc__ or "", "lro.yaml")
    scorer = [str(options.data / "eval" / "qc_eval.py"), "--preset", "lro", "--sensors", *SCORED]
    print(evaluate(options.data / "data" / "lro", LAYOUT, options.config, folder_for(options, "lro"), scorer))
    print(PUBLISHED)
    return 0


if __name__ == "__main__":
    sys.exit(main())
