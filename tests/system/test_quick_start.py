"""What a quick start promises: libraries that are only looked for stay out, and can be imported all the same later."""

from __future__ import annotations

import subprocess
import sys

CHILD = """
import gc, sys
from citypulse.cli.quickstart import NOT_NEEDED, quick_start
with quick_start():
    import citypulse.city, citypulse.turn
    assert not gc.isenabled()
assert gc.isenabled()
found = [name for name in NOT_NEEDED if name in sys.modules]
assert not found, found
import numpy as np
import rich, scipy.linalg
from numba import njit

@njit
def largest(matrix):
    return np.linalg.eigh(matrix)[0][-1]

assert abs(largest(np.diag([1.0, 3.0, 2.0])) - 3.0) < 1e-12
print("fine")
"""


def test_a_quick_start_leaves_out_what_is_not_needed_and_hides_nothing_from_later_imports() -> None:
    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout, done.returncode) == ("fine\n", 0), done.stderr
