"""absence: how much of something came in a window, where too little is the alarm: no water used for twelve hours.

Told apart from a device that is offline: nothing is said unless readings cover the window (promise 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field

from citypulse.config.values import DetectorSettings, DurationS
from citypulse.model import Text
from rules.detector import SKIP, SUSPECT, Array, Detector, LaneSpec, Layout, by_rule
from rules.example import Example, Readings, daily

BUCKETS = 48  # a 12 h window moves in steps of 15 min


class Absence(DetectorSettings):
    """The limits are on the amount within `window`, e.g. `at_most: 0.01 m³`.

    `counts`: `sum` adds the readings up; `increase` takes the rise of a meter that only goes up (a fall is a
    replaced meter and adds nothing). `coverage`: share of the window's 48 parts from which there must be a reading.
    """

    window: DurationS = Field(default=12 * 3600.0, gt=0)
    counts: Literal["sum", "increase"] = "increase"
    coverage: float = Field(default=0.8, gt=0, le=1)


PARAMS = np.dtype([("part_ms", np.int64), ("needed", np.int64), ("is_meter", np.int64)])
STATE = np.dtype([("part", np.int64), ("last", np.float64), ("started", np.int64)])
PART = np.dtype([("part", np.int64), ("amount", np.float64)])


def layout(lanes: Sequence[LaneSpec]) -> Layout:
    """Per lane a ring of amounts by part of the window; a part is kept only if there was a reading in it."""
    params = by_rule(
        lanes,
        PARAMS,
        lambda k: (
            round(k.settings.window * 1000 / BUCKETS),
            int(np.ceil(k.settings.coverage * min(BUCKETS, k.settings.window * 1000 / k.cadence_ms))),
            k.settings.counts == "increase",
        ),
    )
    parts = np.zeros((len(lanes), BUCKETS), PART)
    parts["part"] = -(2**62)
    return Layout(params=(params,), memory=(np.zeros(len(lanes), STATE), parts))


@njit(cache=True, nogil=True)
def feature(samples: Array, mine: NDArray[np.int32], params: Array, states: Array, rings: Array) -> None:
    """The amount within the window up to this reading."""
    for k in mine:
        sample = samples[k]
        if sample["seen"] > SUSPECT:
            continue
        rule, state, ring = params[sample["rule"]], states[sample["row"]], rings[sample["row"]]
        part = sample["time_ms"] // rule["part_ms"]
        amount = sample["x"]
        if rule["is_meter"]:
            amount = max(0.0, sample["x"] - state["last"]) if state["started"] else 0.0
            state["last"] = sample["x"]
        state["started"] = 1
        slot = ring[part % BUCKETS]
        if slot["part"] != part:
            slot["part"] = part
            slot["amount"] = 0.0
        slot["amount"] += amount
        covered = 0
        total = 0.0
        for j in range(BUCKETS):
            if ring[j]["part"] > part - BUCKETS:
                covered += 1
                total += ring[j]["amount"]
        if covered < rule["needed"]:
            sample["seen"] = SKIP
        else:
            sample["x"] = total


def _household(rng: np.random.Generator, *, days: float) -> Readings:
    """A meter that turns a little at any hour of which somebody is up."""
    total = 0.0
    readings = []
    for t, s, _ in daily(rng, "ada-home.water", days=days, mean=0):
        if t % 86_400 > 6 * 3600 and rng.random() < 0.1:
            total += 0.01
        readings.append((t, s, min(total, 1.0) if days == 1 else total))
    return readings


ABSENCE = Detector(
    name="absence",
    settings=Absence,
    subject=Text(zh="{quantity}用量", en="amount of {quantity}"),
    kernel=feature,
    layout=layout,
    example=Example(
        sensors=("ada-home.water",),
        limits=(("at_most", 0.01),),
        healthy=lambda rng: _household(rng, days=2),
        faulty=lambda rng: [
            *_household(rng, days=1),
            *((86_400 + t, s, 1.0) for t, s, _ in daily(rng, "ada-home.water", days=1, mean=0)),
        ],
        end_s=2 * 86_400,
    ),
)
