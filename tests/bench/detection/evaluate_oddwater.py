"""Scores quality control on river outliers (oddwater: Sandy Creek, Pioneer River) against the labelled types.

python tests/bench/detection/evaluate_oddwater.py --data …/oddwater --scorer …/qc_eval.py
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from qc_common import HERE, Layout, evaluate

LAYOUT = Layout("Timestamp", ("Level", "Cond", "Tur"))
PUBLISHED = """\
                                              Sandy T-C / T-C-L    Pioneer T-C / T-C-L    (optimised precision OP)
oddwater, best of 8 methods (batch)           0.80 / 0.83          0.88 / 0.86            PPV 0.83-1.00
quick causal rule, chosen on Sandy            0.80 / 0.83          0.91 / 0.89            PPV 0.71-0.93
aim                                           1.00 / 1.00          0.97 / 0.96"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--scorer", type=Path, required=True, help="qc_eval.py")
    parser.add_argument("--config", type=Path, default=HERE / "oddwater.yaml")
    parser.add_argument("--flags", type=Path, help="keep the flags CSV here")
    options = parser.parse_args()
    scorer = [str(options.scorer), "--preset", "oddwater", "--sensors", "TC", "TCL"]
    print(evaluate(options.data, LAYOUT, options.config, scorer, flags_out=options.flags))
    print(PUBLISHED)
    return 0


if __name__ == "__main__":
    sys.exit(main())
