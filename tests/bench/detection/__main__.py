"""Every detection figure in one run: `make evaluate DATA=folder`, where the folder holds data/ and eval/.

Runs on whatever sites and files lie there, with the YAML beside this file; nothing is fitted to a file. Each line is
what `citypulse qc` or `citypulse backtest` made of it: the command is printed, and what it read stays in
build/evaluation/. The figures are the scorers' in eval/, with the published ones beside.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
ADAPTER = str(HERE / "qartod_adapter.py")


def run(title: str, *command: str) -> bool:
    """Print what one evaluation prints; return whether it ran to its end."""
    print(f"\n══ {title} " + "═" * max(0, 96 - len(title)), flush=True)
    began = time.monotonic()
    done = subprocess.run([sys.executable, *command], check=False)
    print(f"({time.monotonic() - began:.0f} s)", flush=True)
    return done.returncode == 0


def qartod(options: argparse.Namespace) -> bool:
    """Flag by flag against the reference's flags, fed reading by reading."""
    data = options.data / "data" / "qartod"
    vectors = [str(p) for p in sorted(data.glob("*.jsonl*"))]
    if not vectors:
        print(f"\nqartod: no vectors in {data}: not there")
        return True
    with tempfile.TemporaryDirectory() as name:
        out = str(Path(name) / "flags.jsonl")
        if not run(
            "QARTOD: ours, reading by reading", ADAPTER, "--vectors", *vectors, "--data", str(data.parent), "--out", out
        ):
            return False
        scorer = str(options.data / "eval" / "qartod_eval.py")
        return run("QARTOD: compared with ioos_qc", scorer, "check", "--vectors", *vectors, "--flags", out)


def script(name: str, title: str, options: argparse.Namespace) -> bool:
    """Run one of the scripts beside this file on the folder with data/ and eval/."""
    more = ["--tune", str(options.tune)] if options.tune and name == "evaluate_nab" else []
    return run(title, str(HERE / f"{name}.py"), "--data", str(options.data), "--keep", str(options.keep), *more)


PARTS: dict[str, tuple[str, Callable[[argparse.Namespace], bool]]] = {  # name → (folder under data/, what to run)
    "qartod": ("qartod", qartod),
    "lro": ("lro", partial(script, "evaluate_lro", "Logan River")),
    "oddwater": ("oddwater", partial(script, "evaluate_oddwater", "River outliers")),
    "nab": ("nab", partial(script, "evaluate_nab", "NAB")),
    "gecco": ("gecco2018", partial(script, "evaluate_gecco", "GECCO-2018 drinking water")),
    "skab": ("skab", partial(script, "evaluate_skab", "SKAB water loop")),
    "flood": ("floodnet", partial(script, "evaluate_flood", "FloodNet street floods, quality control on")),
}


def main() -> int:
    """Run what there is data for, each whatever becomes of the others; exit 1 when one could not be run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder with data/ and eval/")
    parser.add_argument("--only", nargs="*", choices=list(PARTS), default=[], metavar="SET", help=" ".join(PARTS))
    parser.add_argument("--keep", type=Path, default=ROOT / "build" / "evaluation", help="inputs and results stay here")
    parser.add_argument("--tune", type=Path, help="NAB: another such folder; its best threshold is used here too")
    options = parser.parse_args()
    failed = []
    for name, (folder, evaluate) in PARTS.items():
        if options.only and name not in options.only:
            continue
        if not (options.data / "data" / folder).is_dir():
            print(f"\n{name}: {options.data / 'data' / folder}: not there")
        elif not evaluate(options):
            failed.append(name)
    known = {folder for folder, _ in PARTS.values()}
    extra = sorted(p.name for p in (options.data / "data").glob("*/") if p.is_dir() and p.name not in known)
    if extra:
        print(f"\nnot scored, nobody here knows their labels: {', '.join(extra)}")
    if failed:
        print(f"\ncould not be run: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
