"""multivariate: how unusual a whole site is, from several of its channels together, as a multiple of its usual extreme.

One channel that jumps is an instrument; several that move together are the water. `vote` asks that `agree`
channels be beyond their usual extreme at once; `pca` measures the distance from how the channels usually move
together (Hotelling's T² and the residual Q). 1 is the usual extreme, so a limit of 1 can fire.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from citypulse.config.values import DetectorSettings, DurationS
from citypulse.model import Text
from rules.detector import Detector, LaneSpec, Layout
from rules.example import Example, Readings, daily, merged

from . import multivariate_kernels as kernels
from .multivariate_axes import CHANNELS_MAX
from .statistics_kernels import WINDOW_MAX

_METHODS = {"vote": kernels.VOTE, "pca": kernels.PCA}


class Multivariate(DetectorSettings):
    """Times are counted in beats: `beat`, or the slowest channel's cadence.

    `agree`: channels that must be unusual together (vote). `smooth`: a moving average before anything else.
    `follow`: how fast a channel's centre moves to where the channel is. `extreme`: the share of deviations within
    the usual extreme. `memory`: how long that remembers. `learn`: `always`, or only in the `warm_up`, after which
    centre and extreme stay (but for `freeze_for`): for test beds and short runs.
    `needed` of the last `window` beats must reach the limit (a binomial event discriminator, as in EPA CANARY).
    `freeze_at`: a row this unusual does not stretch the usual extreme, for at most `freeze_for`; then it has become
    normal.
    `gap`: a site silent for longer begins again where it is. `share`: variance explained by the kept axes (pca).

    The defaults are the middle of a plateau on the first half of GECCO-2018, at one reading a minute
    (docs/reference/detectors-statistical.md).
    """

    scope: ClassVar[Literal["site"]] = "site"
    inputs_max: ClassVar[int | None] = CHANNELS_MAX
    limits_in: ClassVar[Literal["none"]] = "none"
    method: Literal["vote", "pca"] = "vote"
    agree: int = Field(default=2, ge=1, le=CHANNELS_MAX)
    beat: DurationS | None = Field(default=None, gt=0)
    smooth: DurationS = Field(default=0.0, ge=0)
    learn: Literal["always", "warm_up"] = "always"
    follow: DurationS = Field(default=300.0, gt=0)
    stretch: float = Field(default=2.0, gt=0)
    extreme: float = Field(default=0.99, gt=0.5, lt=1)
    memory: DurationS = Field(default=604_800.0, gt=0)
    warm_up: int = Field(default=1440, ge=50, le=1_000_000)
    window: int = Field(default=8, ge=1, le=WINDOW_MAX)
    needed: int = Field(default=5, ge=1, le=WINDOW_MAX)
    freeze_at: float = Field(default=0.85, gt=0)
    freeze_for: DurationS = Field(default=86_400.0, gt=0)
    gap: DurationS = Field(default=3600.0, gt=0)
    share: float = Field(default=0.9, gt=0, le=1)

    @model_validator(mode="after")
    def _needed_fits(self) -> Multivariate:
        if self.needed > self.window:
            raise ValueError(f"needed {self.needed} of the last {self.window} beats can never be")
        return self


def _beats(duration_s: float, beat_s: float) -> float:
    """Return a duration in beats, at least one."""
    return max(duration_s / beat_s, 1.0)


def arrays(settings: Sequence[Multivariate], channels: Sequence[int], cadence_s: Sequence[float]) -> tuple[Any, ...]:
    """Return (params, *memory) for one site per settings, as `kernels.step` takes them; memory is 14 kB a site.

    channels: how many each site has, 1 to 16, numbered by slot · cadence_s: its slowest channel's.
    """
    n = len(settings)
    params = np.zeros(n, kernels.PARAMS)
    for row, (one, count, cadence) in enumerate(zip(settings, channels, cadence_s, strict=True)):
        if not 1 <= count <= CHANNELS_MAX:
            raise ValueError(f"multivariate looks at 1 to {CHANNELS_MAX} channels of a site, not {count}")
        beat = one.beat or cadence
        stays = one.learn == "warm_up"
        params[row] = (
            count,
            _METHODS[one.method],
            min(one.agree, count),
            max(round(beat * 1000), 1),
            _beats(one.smooth, beat),
            np.inf if stays else _beats(one.follow, beat),
            one.stretch,
            one.extreme,
            np.inf if stays else _beats(one.memory, beat),
            one.warm_up,
            one.window,
            one.needed,
            one.freeze_at,
            round(_beats(one.freeze_for, beat)),
            round(one.gap * 1000),
            one.share,
        )
    wide = CHANNELS_MAX
    return (
        params,
        np.zeros(n, kernels.SITE),
        np.zeros((n, wide), kernels.CHANNEL),
        np.zeros((n, wide, kernels.SIZES), np.float32),
        np.zeros((n, WINDOW_MAX)),
        np.zeros((n, wide + 1, wide)),
    )


def layout(lanes: Sequence[LaneSpec]) -> Layout:
    """Give each site its open row, channels, last scores and axes."""
    params, *memory = arrays(
        [lane.settings for lane in lanes],
        [len(lane.inputs) for lane in lanes],
        [lane.cadence_ms / 1000.0 for lane in lanes],
    )
    return Layout(params=(params,), memory=tuple(memory))


def _healthy(rng: np.random.Generator) -> Readings:
    return merged(
        daily(rng, "mill.ph", days=2.5, mean=7.6, swing=0.2, noise=0.02, every_s=60),
        daily(rng, "mill.do", days=2.5, mean=8, swing=1, noise=0.05, every_s=60),
        daily(rng, "mill.cond", days=2.5, mean=420, swing=15, noise=2, every_s=60),
    )


def _faulty(rng: np.random.Generator) -> Readings:
    """For twenty minutes something else flows by: pH and oxygen move together, each by less than on any day."""
    moved = {"mill.ph": -0.3, "mill.do": -0.8, "mill.cond": 0.0}
    return [
        (t, sensor, value + (moved[sensor] * min((t - 180_000) / 600, 1) if 180_000 <= t < 181_200 else 0))
        for t, sensor, value in _healthy(rng)
    ]


MULTIVARIATE = Detector(
    name="multivariate",
    settings=Multivariate,
    subject=Text(zh="多参数异常程度", en="joint departure of the site's channels"),
    kernel=kernels.feature,
    layout=layout,
    example=Example(
        sensors=("mill.ph", "mill.do", "mill.cond"),
        limits=(("at_least", 1),),
        healthy=_healthy,
        faulty=_faulty,
        end_s=2.5 * 86_400,
        cadence_s=60,
    ),
)
