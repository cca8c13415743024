"""A quick start for the verbs that run the engine: large libraries load without what they only look for.

Measured by `python -m tests.bench start`. Numba, on its first use, imports SciPy's linear algebra, cffi and coverage if
they happen to be installed; structlog imports rich. Our kernels are compiled without any of them. What asks for one of
them later (a kernel that needs eigenvectors, a table on the terminal) still gets it.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

NOT_NEEDED = ("scipy", "cffi", "coverage", "rich")


@contextmanager
def quick_start() -> Iterator[None]:
    """Collect no garbage while the block imports and builds: it makes a million objects that stay for good.

    Afterwards the collector leaves these alone, which also shortens its later pauses.
    """
    # One thread a core for linear algebra that nobody uses costs memory and a tenth of a second.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        _load_lean()
        yield
    finally:
        gc.freeze()
        atexit.register(gc.unfreeze)  # so that what libraries made can be taken down at the end
        if was_enabled:
            gc.enable()


def _load_lean() -> None:
    """Import numba with its tables of types, and structlog, while what is not needed seems not to be installed."""
    if "numba" in sys.modules:
        return
    hidden = [name for name in NOT_NEEDED if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: the import system's own "not there"
    try:
        importlib.import_module("structlog")
        importlib.import_module("numba.core.registry").cpu_target.target_context.refresh()
    finally:
        for name in hidden:
            del sys.modules[name]
