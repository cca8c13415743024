"""n_of_m: how many of the last samples were beyond a value. Robust where single samples lie: 3 of the last 5."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field, model_validator

from citypulse.config.values import DetectorSettings, DurationS, ValueIn
from citypulse.model import Text
from rules.detector import SUSPECT, Array, Detector, LaneSpec, Layout, by_rule
from rules.example import Example, daily

SAMPLES_MAX = 64


class NOfM(DetectorSettings):
    """A sample counts when it is at least `at_least` or at most `at_most`; the rule's limits say how many must.

    `last`: of so many samples · `window`: and not older than this, where given.
    """

    limits_in: ClassVar[Literal["none"]] = "none"
    at_least: ValueIn | None = None
    at_most: ValueIn | None = None
    last: int = Field(default=5, ge=2, le=SAMPLES_MAX)
    window: DurationS | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _has_a_side(self) -> Self:
        if self.at_least is None and self.at_most is None:
            raise ValueError("n_of_m needs `at_least` or `at_most`: which samples count?")
        return self


PARAMS = np.dtype([("high", np.float64), ("low", np.float64), ("last", np.int64), ("window_ms", np.int64)])


def layout(lanes: Sequence[LaneSpec]) -> Layout:
    """Per lane a ring of the times at which a sample counted, and where the ring stands."""
    params = by_rule(lanes, PARAMS, _params)
    return Layout(params=(params,), memory=(np.zeros(len(lanes), np.int64), _rings(lanes)))


def _params(lane: LaneSpec) -> tuple[float, float, int, int]:
    s = lane.settings
    return (
        np.inf if s.at_least is None else s.at_least,
        -np.inf if s.at_most is None else s.at_most,
        s.last,
        round(s.window * 1000) if s.window is not None else 2**62,
    )


def _rings(lanes: Sequence[LaneSpec]) -> NDArray[np.int64]:
    width = max((lane.settings.last for lane in lanes), default=0)
    return np.full((len(lanes), width), MISS, np.int64)


MISS = -(2**62)  # in the ring: this sample did not count


@njit(cache=True, nogil=True)
def feature(samples: Array, mine: NDArray[np.int32], params: Array, counts: Array, rings: Array) -> None:
    """How many of the last samples counted."""
    for k in mine:
        sample = samples[k]
        if sample["seen"] > SUSPECT:
            continue
        rule, ring = params[sample["rule"]], rings[sample["row"]]
        is_hit = sample["x"] >= rule["high"] or sample["x"] <= rule["low"]
        ring[counts[sample["row"]] % rule["last"]] = sample["time_ms"] if is_hit else MISS
        counts[sample["row"]] += 1
        hits = 0
        for j in range(rule["last"]):
            if ring[j] != MISS and sample["time_ms"] - ring[j] <= rule["window_ms"]:
                hits += 1
        sample["x"] = hits


N_OF_M = Detector(
    name="n_of_m",
    settings=NOfM,
    subject=Text(zh="{quantity}近期越限次数", en="recent samples of {quantity} beyond the value:"),
    kernel=feature,
    layout=layout,
    example=Example(
        sensors=("mill-river.turb",),
        limits=(("at_least", 3),),
        settings={"at_least": 100.0},
        healthy=lambda rng: [
            (t, s, 400.0 if k % 20 == 0 else x)  # a bubble on the lens now and then
            for k, (t, s, x) in enumerate(daily(rng, "mill-river.turb", days=2, mean=30, noise=5))
        ],
        faulty=lambda rng: [
            (t, s, 400.0 if k % 2 == 0 else x)
            for k, (t, s, x) in enumerate(daily(rng, "mill-river.turb", days=1, mean=30, noise=5))
        ],
        end_s=2 * 86_400,
    ),
)
