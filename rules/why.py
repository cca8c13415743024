"""Why, and why not: where one rule stands on one scope at this moment, with its timers and last samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from citypulse.model import Limit, Priority, Rule, Text

from . import kernels
from . import latch as latching
from .because import Speaker
from .compile import Plan
from .detector import GOOD, LOSS, SUSPECT

Array = NDArray[Any]

TRACES_MAX = 4096  # lanes whose last samples are kept at the same time; 4096 × 16 × 24 B = 1.6 MB

SEEN = {GOOD: "good", SUSPECT: "suspect", LOSS: "loss"}


class Traces:
    """The last samples of lanes that are not at rest, in a bounded number of rows."""

    def __init__(self, rows: int = TRACES_MAX) -> None:
        """Begin with every row free. points: (rows, 16) TRACE · counts: samples ever put in · free: a stack."""
        self.points = np.zeros((rows, kernels.TRACE_POINTS), kernels.TRACE)
        self.counts = np.zeros(rows, np.int64)
        self.free = np.arange(rows, -1, -1, dtype=np.int64)
        self.free[0] = rows

    def kept(self, rows: Array) -> Array:
        """Return these rows' points as (rows, 16) TRACE, zero where a row holds none yet, whoever had it before."""
        points = self.points[rows]
        points[np.arange(kernels.TRACE_POINTS) >= self.counts[rows][:, None]] = np.zeros(1, kernels.TRACE)[0]
        return np.asarray(points)

    def of(self, row: int) -> Array:
        """Return the samples of a row, oldest first."""
        count = int(self.counts[row])
        kept = min(count, kernels.TRACE_POINTS)
        order = np.arange(count - kept, count) % kernels.TRACE_POINTS
        return np.asarray(self.points[row, order])


@dataclass(frozen=True, slots=True, kw_only=True)
class LatchView:
    """One limit and where its latch stands."""

    limit: Limit
    state: str  # normal | pending | active | clearing
    since_ms: int | None  # first breach, unless normal
    good_ms: int | None  # first good sample, while clearing
    due_ms: int | None  # event time from which the next breach raises it, or the next good sample ends it


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """A lane as it stands. `last_x` is the feature (canonical unit; NaN before the first), `feature` in words."""

    rule: Rule
    scope: str
    level: Priority | None
    sight: str  # good | blind (last sample was lost) | stale (blind while in alarm)
    last_ms: int | None
    last_x: float
    feature: Text
    subject: Text
    latches: tuple[LatchView, ...]
    samples: tuple[tuple[int, float, str], ...]  # (event ms, feature, good | suspect | loss), oldest first


def explain(plan: Plan, lane: int, speaker: Speaker, traces: Traces) -> Why:
    """Read one lane's state; changes nothing."""
    row = plan.lanes[lane]
    spec = plan.specs[lane]
    views = []
    for j, limit in enumerate(spec.rule.limits):
        latch = plan.latches[row["first_latch"] + j]
        state = int(latch["state"])
        since_ms = int(latch["since_ms"]) if state != latching.NORMAL else None
        good_ms = int(latch["good_ms"]) if state == latching.CLEARING else None
        due_ms = None
        if state == latching.PENDING and since_ms is not None:
            due_ms = since_ms + round(limit.on_delay_s * 1000)
        elif good_ms is not None:
            due_ms = good_ms + round(limit.off_delay_s * 1000)
        views.append(
            LatchView(limit=limit, state=latching.STATES[state], since_ms=since_ms, good_ms=good_ms, due_ms=due_ms)
        )
    unrest = int(row["unrest"])
    trace = traces.of(int(row["trace"])) if row["trace"] >= 0 else ()
    last_x = float(row["last_x"])
    return Why(
        rule=spec.rule,
        scope=spec.scope,
        level=Priority(int(row["level"])) if row["level"] else None,
        sight="stale" if unrest & kernels.STALE else "blind" if unrest & kernels.BLIND else "good",
        last_ms=None if row["last_ms"] == kernels.NEVER else int(row["last_ms"]),
        last_x=last_x,
        feature=speaker.feature(last_x),
        subject=speaker.subject,
        latches=tuple(views),
        samples=tuple((int(p["time_ms"]), float(p["x"]), SEEN[int(p["seen"])]) for p in trace),
    )
