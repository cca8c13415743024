"""drift: a slow one-sided departure from the usual level: bio-fouling, an ageing membrane, a gauge that creeps.

A two-sided CUSUM (Page 1954) over the deviation from a slow average, in units of the usual deviation. What
counts as usual is learnt robustly: a deviation is clipped at four before it teaches anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field

from citypulse.config.values import DetectorSettings, DurationS, ValueIn
from citypulse.model import Text
from rules.detector import SKIP, SUSPECT, Array, Detector, LaneSpec, Layout, by_rule
from rules.example import Example, daily

CLIP = 4.0  # deviations count at most this much
NORMAL_PER_MAD = 1.2533  # standard deviation over mean absolute deviation, for a normal distribution


class Drift(DetectorSettings):
    """`memory`: how far back the usual level reaches (e-folding time of the average); drifts slower than it hide.

    `allowance`: deviation, in usual deviations, that is let pass on every sample. `warm_up`: samples learnt from
    before anything is said. `floor`: the usual deviation is never taken as smaller, whatever the instrument repeats.
    """

    limits_in: ClassVar[Literal["none"]] = "none"
    memory: DurationS = Field(default=7 * 86_400.0, gt=0)
    allowance: float = Field(default=1.0, ge=0)
    warm_up: int = Field(default=100, ge=10)
    floor: ValueIn = Field(default=0.0, ge=0)


PARAMS = np.dtype([("memory_ms", np.float64), ("allowance", np.float64), ("floor", np.float64), ("warm_up", np.int64)])
USUAL = np.dtype(
    [
        ("level", np.float64),
        ("spread", np.float64),  # mean absolute deviation
        ("up", np.float64),
        ("down", np.float64),
        ("time_ms", np.int64),
        ("samples", np.int64),
    ]
)


def layout(lanes: Sequence[LaneSpec]) -> Layout:
    """Per lane the usual level and spread, and the two sums."""
    params = by_rule(
        lanes, PARAMS, lambda k: (k.settings.memory * 1000, k.settings.allowance, k.settings.floor, k.settings.warm_up)
    )
    return Layout(params=(params,), memory=(np.zeros(len(lanes), USUAL),))


@njit(cache=True, nogil=True)
def feature(samples: Array, mine: NDArray[np.int32], params: Array, usuals: Array) -> None:
    """The larger of the two sums, in usual deviations."""
    for k in mine:
        sample = samples[k]
        if sample["seen"] > SUSPECT:
            continue
        rule, usual = params[sample["rule"]], usuals[sample["row"]]
        x = sample["x"]
        n = usual["samples"]
        if n == 0:
            usual["level"] = x
            usual["time_ms"] = sample["time_ms"]
        deviation = x - usual["level"]
        spread = max(usual["spread"], rule["floor"])
        z = deviation / (NORMAL_PER_MAD * spread) if spread > 0 else 0.0
        if abs(z) > CLIP and n >= rule["warm_up"]:
            z = CLIP if z > 0 else -CLIP
            deviation = z * NORMAL_PER_MAD * spread
        # While warming up every sample weighs the same; then the average forgets with event time.
        weight = 1.0 / (n + 1)
        if n >= rule["warm_up"]:
            weight = 1.0 - np.exp(-(sample["time_ms"] - usual["time_ms"]) / rule["memory_ms"])
        usual["level"] += weight * deviation
        usual["spread"] += weight * (abs(deviation) - usual["spread"])
        usual["time_ms"] = sample["time_ms"]
        usual["samples"] = n + 1
        if n < rule["warm_up"]:
            sample["seen"] = SKIP
            continue
        usual["up"] = max(0.0, usual["up"] + z - rule["allowance"])
        usual["down"] = max(0.0, usual["down"] - z - rule["allowance"])
        sample["x"] = max(usual["up"], usual["down"])


DRIFT = Detector(
    name="drift",
    settings=Drift,
    subject=Text(zh="{quantity}漂移累积", en="drift of {quantity}, accumulated"),
    kernel=feature,
    layout=layout,
    example=Example(
        sensors=("mill-river.cond",),
        limits=(("at_least", 100),),
        healthy=lambda rng: daily(rng, "mill-river.cond", days=14, mean=500, swing=10, noise=10, every_s=1800),
        faulty=lambda rng: [
            (t, s, x + 60 * max(0.0, t / 86_400 - 5) / 9)
            for t, s, x in daily(rng, "mill-river.cond", days=14, mean=500, swing=10, noise=10, every_s=1800)
        ],
        end_s=14 * 86_400,
        cadence_s=1800,
    ),
)
