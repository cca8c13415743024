"""weekly_change: how far the mean of seven days has moved from the week before, less what the river did anyway.

GB 3838-2002, table 1, limits the man-made change of a water's temperature: the weekly mean may rise by at most 1 °C
and fall by at most 2 °C. What is man-made shows against the water that arrives: where the site names its upstream
sites and they measure the same, their change is taken off. Without them the site is compared with its own past alone,
which weather moves too: a proposal, not the standard.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field

from citypulse.config.values import DetectorSettings
from citypulse.model import Rule, Text
from rules.detector import SKIP, SUSPECT, Array, Detector, LaneSpec, Layout, by_rule
from rules.example import Example, daily
from rules.neighbourhood import City

from .statistics_kernels import local_ms
from .zone import offsets, zone_of

DAY_MS = 86_400_000
WEEK = 7  # days
RING = 16  # days kept: two weeks, today, and one to spare for a reading that comes over midnight
UPSTREAM_MAX = 4  # tributaries; the nearest in the order of the file are taken
DAY_SHARE = 0.75  # of a day's readings: less of it, and the time of day alone would move its mean


class WeeklyChange(DetectorSettings):
    """The limits are on the change of the weekly mean, in the quantity's unit; a fall is negative.

    `where`: `any` site, only those with a measuring site `upstream`, or only those `alone`. `min_days`: so many days
    of each of the two weeks must be known. Days run from midnight to midnight in the city's time zone.
    """

    where: Literal["any", "upstream", "alone"] = "any"
    min_days: int = Field(default=5, ge=1, le=WEEK)


def inputs(rule: Rule, number: int, city: City) -> tuple[str, ...]:
    """Return the sensor itself and those of the same quantity one step upstream."""
    own = city.sensors[rule.sensors[number][0]]
    above = [s.id for s in city.along(own.site, own.quantity, 1, upstream=True) if s.id != own.id]
    return (own.id, *above[:UPSTREAM_MAX])


RULE = np.dtype([("upstream", np.bool_), ("alone", np.bool_), ("min_days", np.int64)])
LANE = np.dtype([("inputs", np.int64), ("needed", np.float64)])
DAY = np.dtype([("day", np.int64), ("sum", np.float64), ("n", np.int64)])
SAID = np.dtype([("day", np.int64), ("change", np.float64)])


def layout(lanes: Sequence[LaneSpec]) -> Layout:
    """Per lane and input a ring of daily sums; per lane what was said last, as it holds for a day."""
    rules = by_rule(
        lanes,
        RULE,
        lambda k: (k.settings.where != "alone", k.settings.where != "upstream", k.settings.min_days),
    )
    own = np.zeros(len(lanes), LANE)
    own["inputs"] = [len(lane.inputs) for lane in lanes]
    own["needed"] = [DAY_SHARE * DAY_MS / lane.cadence_ms for lane in lanes]
    days = np.zeros((len(lanes), max((len(lane.inputs) for lane in lanes), default=1), RING), DAY)
    days["day"] = -1
    said = np.zeros(len(lanes), SAID)
    said["change"] = np.nan
    return Layout(params=(rules, own, *offsets(zone_of(lanes))), memory=(days, said))


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def weekly_mean(ring: Array, first: int, needed: float, min_days: int) -> float:
    """Return the mean of seven daily means from `first` (local days since 1970), NaN when too few are known."""
    total, known = 0.0, 0
    for day in range(first, first + WEEK):
        slot = ring[day % RING]
        if slot["day"] == day and slot["n"] >= needed:
            total += slot["sum"] / slot["n"]
            known += 1
    return total / known if known >= min_days else np.nan


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def change(rings: Array, inputs: int, today: int, needed: float, min_days: int) -> float:
    """Return how far the last whole week lies from the one before, less the mean change upstream; NaN: not known."""
    own = 0.0
    above = 0.0
    for k in range(inputs):
        moved = weekly_mean(rings[k], today - WEEK, needed, min_days) - weekly_mean(
            rings[k], today - 2 * WEEK, needed, min_days
        )
        if k == 0:
            own = moved
        else:
            above += moved / (inputs - 1)
    return own - above


@njit(cache=True, nogil=True)
def feature(
    samples: Array,
    mine: NDArray[np.int32],
    rules: Array,
    lanes: Array,
    since_ms: NDArray[np.int64],
    offset_ms: NDArray[np.int64],
    days: Array,
    saids: Array,
) -> None:
    """The change of the weekly mean; worked out once a day, with the first reading after the city's midnight."""
    for k in mine:
        sample = samples[k]
        row, slot = sample["row"], sample["slot"]
        if sample["seen"] > SUSPECT:
            if slot > 0:
                sample["seen"] = SKIP  # upstream informs; it is not what is judged
            continue
        today = local_ms(sample["time_ms"], since_ms, offset_ms) // DAY_MS
        day = days[row, slot, today % RING]
        if day["day"] < today:
            day["day"] = today
            day["sum"] = 0.0
            day["n"] = 0
        if day["day"] == today:
            day["sum"] += sample["x"]
            day["n"] += 1
        if slot > 0:
            sample["seen"] = SKIP
            continue
        rule, lane, said = rules[sample["rule"]], lanes[row], saids[row]
        if said["day"] < today:
            said["day"] = today
            is_judged = rule["upstream"] if lane["inputs"] > 1 else rule["alone"]
            said["change"] = (
                change(days[row], lane["inputs"], today, lane["needed"], rule["min_days"]) if is_judged else np.nan
            )
        if np.isnan(said["change"]):
            sample["seen"] = SKIP
        else:
            sample["x"] = said["change"]


WEEKLY_CHANGE = Detector(
    name="weekly_change",
    settings=WeeklyChange,
    subject=Text(zh="{quantity}周均值变化", en="change of the weekly mean of {quantity}:"),
    kernel=feature,
    layout=layout,
    inputs=inputs,
    example=Example(
        sensors=("mill-river.temp",),
        limits=(("above", 1), ("below", -2)),
        # Mornings are cooler, no two days alike, and autumn takes a tenth of a degree a day.
        healthy=lambda rng: [
            (t, s, x - 0.1 * t / 86_400)
            for t, s, x in daily(rng, "mill-river.temp", days=24, mean=18, swing=2.5, noise=0.3, every_s=3600)
        ],
        faulty=lambda rng: [
            (t, s, x + (2.5 if t > 15 * 86_400 else 0))
            for t, s, x in daily(rng, "mill-river.temp", days=24, mean=18, swing=2.5, noise=0.3, every_s=3600)
        ],
        end_s=24 * 86_400,
        cadence_s=3600,
    ),
)
