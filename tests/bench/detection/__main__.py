"""Every detection figure in one run: `make evaluate DATA=folder`, where the folder holds data/ and eval/.

Runs on whatever sites and files lie there, with the YAML beside this file; nothing is fitted to a file. Prints our
figures as the scorers in eval/ give them, with the published ones beside.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent


def run(title: str, *command: str) -> bool:
    """Print what one evaluation prints; return whether it ran to its end."""
    print(f"\n══ {title} " + "═" * max(0, 96 - len(title)), flush=True)
    began = time.monotonic()
    done = subprocess.run([sys.executable, *command], check=False)
    print(f"({time.monotonic() - began:.0f} s)", flush=True)
    return done.returncode == 0


def qartod(data: Path, scorer: Path) -> bool:
    """Flag by flag against the reference's flags, fed reading by reading."""
    with tempfile.TemporaryDirectory() as name:
        out = str(Path(name) / "flags.jsonl")
        vectors = [str(p) for p in sorted(data.glob("*.jsonl.gz"))]
        adapter = [str(HERE / "qartod_adapter.py"), "--vectors", *vectors, "--data", str(data.parent), "--out", out]
        if not run("QARTOD: ours, reading by reading", *adapter):
            return False
        return run("QARTOD: compared with ioos_qc", str(scorer), "check", "--vectors", *vectors, "--flags", out)


def main() -> int:
    """Run what there is data for; exit 1 when a part could not be run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder with data/ and eval/")
    parser.add_argument("--only", nargs="*", default=[], help="qartod lro oddwater nab gecco skab flood")
    options = parser.parse_args()
    data, scorers = options.data / "data", options.data / "eval"
    parts = {
        "qartod": (data / "qartod", lambda: qartod(data / "qartod", scorers / "qartod_eval.py")),
        "lro": (data / "lro", lambda: judged("evaluate_lro", "Logan River", data / "lro", scorers / "qc_eval.py")),
        "oddwater": (
            data / "oddwater",
            lambda: judged("evaluate_oddwater", "River outliers", data / "oddwater", scorers / "qc_eval.py"),
        ),
        "nab": (data / "nab", lambda: whole("evaluate_nab", "NAB", options.data)),
        "gecco": (data / "gecco2018", lambda: whole("evaluate_gecco", "GECCO-2018 drinking water", options.data)),
        "skab": (data / "skab", lambda: whole("evaluate_skab", "SKAB water loop", options.data)),
        "flood": (data / "floodnet", lambda: whole("evaluate_flood", "FloodNet street floods", options.data)),
    }
    ok = True
    for name, (folder, evaluate) in parts.items():
        if options.only and name not in options.only:
            continue
        if not folder.exists():
            print(f"\n{name}: no {folder}, left out")
            continue
        ok &= evaluate()
    return 0 if ok else 1


def judged(script: str, title: str, data: Path, scorer: Path) -> bool:
    """Evaluations that take the set's own folder and its scorer."""
    return run(title, str(HERE / f"{script}.py"), "--data", str(data), "--scorer", str(scorer))


def whole(script: str, title: str, folder: Path) -> bool:
    """Evaluations that take the folder with data/ and eval/."""
    return run(title, str(HERE / f"{script}.py"), "--data", str(folder))


if __name__ == "__main__":
    sys.exit(main())
