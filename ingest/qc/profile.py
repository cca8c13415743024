"""QARTOD density inversion: water in a profile must not get lighter with depth.

Judged pair by pair, so the verdict of a point is final when the next point has been seen.
"""

from __future__ import annotations

import math
from typing import Any

from .catalogue import FAIL, GOOD, MISSING, NOT_EVALUATED, SUSPECT


class DensityInversionTest:
    """Judges successive (density, depth) points of one profile, down- or upcast."""

    def __init__(self, *, suspect: float | None = None, fail: float | None = None) -> None:
        """Thresholds in kg/m³ (negative): a change with depth below them is raised on both its points; None is off.

        TypeError when a threshold is not a number.
        """
        for threshold in (suspect, fail):
            if threshold is not None and (isinstance(threshold, bool) or not isinstance(threshold, int | float)):
                raise TypeError(f"a density threshold is a number or nothing, not {threshold!r}")
        self._suspect = -math.inf if suspect is None else float(suspect)
        self._fail = -math.inf if fail is None else float(fail)
        self._density = math.nan
        self._depth = math.nan
        self._flag = 0  # of the previous point; 0 before the first

    def step(self, density: float, depth: float) -> tuple[int, int]:
        """Take one point (NaN is missing); return (this point's flag so far, the previous point's final flag).

        The previous flag is 0 at the first point. A first point alone stays 2; a missing point and the one
        after it are 9.
        """
        is_missing = math.isnan(density) or math.isnan(depth)
        before, had_before = self._flag, self._flag != 0
        was_missing = had_before and (math.isnan(self._density) or math.isnan(self._depth))
        if had_before and before == NOT_EVALUATED:  # a first point is judged only when it has company
            before = MISSING if was_missing else GOOD
        delta = math.nan
        if had_before and not is_missing and not was_missing:
            deeper = depth - self._depth
            delta = (density - self._density) * ((deeper > 0) - (deeper < 0))
        pair = FAIL if delta < self._fail else SUSPECT if delta < self._suspect else GOOD
        if had_before and before != MISSING:
            before = max(before, pair)
        judged = MISSING if is_missing or was_missing else pair
        flag = judged if had_before else NOT_EVALUATED
        self._density, self._depth, self._flag = density, depth, flag
        return flag, before

    def state(self) -> dict[str, Any]:
        """Return the previous point and its flag."""
        return {"density": self._density, "depth": self._depth, "flag": self._flag}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `state()`."""
        self._density, self._depth = float(state["density"]), float(state["depth"])
        self._flag = int(state["flag"])
