"""Run every benchmark, one after the other; each prints its own figures. `python -m tests.bench [NAME …]`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

here = Path(__file__).parent
wanted = sys.argv[1:] or sorted(p.stem.removeprefix("bench_") for p in here.glob("bench_*.py"))
for name in wanted:
    print(f"── {name} " + "─" * 60, flush=True)
    subprocess.run([sys.executable, "-m", f"tests.bench.bench_{name}"], check=True)
