"""Scores quality control on river outliers (oddwater: Sandy Creek, Pioneer River) against the labelled types.

    python tests/bench/detection/evaluate_oddwater.py --data DIR

DIR holds data/oddwater/*.csv[.gz], whatever the rivers, and eval/qc_eval.py.
"""

from __future__ import annotations

import sys

from common import arguments, folder_for
from qc_common import Layout, evaluate

LAYOUT = Layout(
    time_column="Timestamp",
    channels=("Level", "Cond", "Tur"),
    labels={"type_Level": "0", "type_Cond": "0", "type_Tur": "0"},
)
PUBLISHED = """\
                                              Sandy T-C / T-C-L    Pioneer T-C / T-C-L    (optimised precision OP)
oddwater, best of 8 methods (batch)           0.80 / 0.83          0.88 / 0.86            PPV 0.83-1.00
quick causal rule, chosen on Sandy            0.80 / 0.83          0.91 / 0.89            PPV 0.71-0.93
aim                                           1.00 / 1.00          0.97 / 0.96"""


def main() -> int:
    options = arguments(__doc__ or "", "oddwater.yaml")
    scorer = [str(options.data / "eval" / "qc_eval.py"), "--preset", "oddwater", "--sensors", "TC", "TCL"]
    print(evaluate(options.data / "data" / "oddwater", LAYOUT, options.config, folder_for(options, "oddwater"), scorer))
    print(PUBLISHED)
    return 0


if __name__ == "__main__":
    sys.exit(main())
