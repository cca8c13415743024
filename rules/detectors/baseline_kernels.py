"""baseline, compiled: how far a reading is from what is usual, as a calibrated surprise in nats.

The usual is a robust moving average, or the mean of this hour of the day over the last days. The distance is
measured in robust spreads; a running 98 % quantile and the mean excess above it turn it into nats, so that one
limit means the same for every sensor: a thing seen in a share exp(-limit) of all readings.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rules.detector import SKIP, SUSPECT, Array

from .statistics_kernels import Record, hour_of_day, kth_largest, turn_hour, usual_of_hour

QUANTILE = 0.98  # where the tail begins: one reading in fifty
TAIL_NATS = -np.log(1.0 - QUANTILE)
STRETCH = 3.0  # centre and spread move as if no distance were larger than three spreads
EXCESS_MAX = 8.0  # the mean excess takes in no more than eight of itself: one storm must not blunt it for weeks
EXCESS_MIN = 0.1  # spreads: a tail is not steeper than that, however few readings it has seen
LEARN = 5.0  # a running quantile steps by LEARN / memory of its own size

PARAMS = np.dtype(
    [
        ("memory", np.float64),  # readings that centre, spread and tail remember
        ("warm_up", np.int64),  # readings learnt from before anything is said
        ("is_daily", np.int64),  # 1: the usual is that of the hour of day
        ("days", np.float64),  # days an hour's usual value remembers
        ("side", np.int64),  # +1 only above, -1 only below, 0 both
        ("least", np.float64),  # the spread counts as at least this, in the quantity's unit
        ("window", np.int64),  # event discriminator: of the last so many readings …
        ("needed", np.int64),  # … so many must be at least the feature
    ],
    align=True,
)
LANE = np.dtype(
    [
        ("seen", np.int64),
        ("centre", np.float64),
        ("spread", np.float64),  # mean absolute distance
        ("tail", np.float64),  # running 98 % quantile of the distance in spreads
        ("excess", np.float64),  # mean excess above it
        ("hour", np.int64),  # the present hour of day; -1 = none yet
        ("hour_sum", np.float64),
        ("hour_n", np.float64),
    ],
    align=True,
)


@njit(cache=True, nogil=True)
def _nats(lane: Record, distance: float) -> float:
    """Return the surprise of a distance: within the tail's start in proportion, beyond it by the mean excess."""
    nats: float = TAIL_NATS * distance / lane["tail"]
    if distance > lane["tail"]:
        nats = TAIL_NATS + (distance - lane["tail"]) / lane["excess"]
    return nats


@njit(cache=True, nogil=True)
def _learn_tail(lane: Record, distance: float, memory: float) -> None:
    step = LEARN * max(1.0 / memory, 1.0 / (lane["seen"] + LEARN))
    if distance > lane["tail"]:
        over = min(distance - lane["tail"], EXCESS_MAX * lane["excess"])
        share = 1.0 / ((1.0 - QUANTILE) * min(memory, lane["seen"] + 50.0))
        lane["excess"] = max(lane["excess"] + (over - lane["excess"]) * min(share, 0.5), EXCESS_MIN)
        lane["tail"] *= 1.0 + step * QUANTILE
    else:
        lane["tail"] = max(lane["tail"] * (1.0 - step * (1.0 - QUANTILE)), EXCESS_MIN)


@njit(cache=True, nogil=True)
def take(
    hour: int,
    value: float,
    rule: Record,
    lane: Record,
    means: NDArray[np.float64],
    days: NDArray[np.float64],
    recent: NDArray[np.float64],
) -> float:
    """Take one reading of one sensor at a local hour; return its surprise in nats, NaN during the warm-up."""
    turn_hour(lane, hour, means, days, rule["days"])
    if lane["seen"] == 0:
        lane["centre"] = value
        lane["tail"] = 3.0  # of a normal series 98 % are within 2.9 mean absolute distances
        lane["excess"] = 0.5
    lane["seen"] += 1
    seen = lane["seen"]
    centre = lane["centre"]
    away = value - (usual_of_hour(hour, means, days, centre) if rule["is_daily"] == 1 else centre)
    spread = max(lane["spread"], rule["least"], 1e-12)
    signed = away if rule["side"] == 0 else away * rule["side"]
    distance = (abs(away) if rule["side"] == 0 else max(signed, 0.0)) / spread
    is_warm = seen > rule["warm_up"]
    nats = _nats(lane, distance) if is_warm else 0.0

    # A young average takes in everything; a settled one no more than STRETCH spreads at a time.
    weight = 1.0 / min(seen, rule["memory"])
    reach = STRETCH * spread if seen > 32 else np.inf
    lane["centre"] += min(max(value - lane["centre"], -reach), reach) * weight
    lane["spread"] += (min(abs(away), reach) - lane["spread"]) * weight
    if seen > 32:
        _learn_tail(lane, distance, rule["memory"])
    lane["hour_sum"] += value
    lane["hour_n"] += 1.0
    if not is_warm:
        return np.nan
    recent[seen % rule["window"]] = nats
    feature: float = kth_largest(recent, rule["window"], rule["needed"])
    return feature


@njit(cache=True, nogil=True)
def feature(
    samples: Array,
    mine: NDArray[np.int32],
    params: Array,
    since_ms: NDArray[np.int64],
    offset_ms: NDArray[np.int64],
    lanes: Array,
    means: NDArray[np.float64],
    days: NDArray[np.float64],
    recent: NDArray[np.float64],
) -> None:
    """Replace each sample's value by its surprise; the warm-up says nothing."""
    for k in mine:
        sample = samples[k]
        if sample["seen"] > SUSPECT:
            continue
        row = sample["row"]
        hour = hour_of_day(sample["time_ms"], since_ms, offset_ms)
        x = take(hour, sample["x"], params[row], lanes[row], means[row], days[row], recent[row])
        if np.isnan(x):
            sample["seen"] = SKIP
        else:
            sample["x"] = x


@njit(cache=True, nogil=True)
def step(
    times_ms: NDArray[np.int64],
    values: NDArray[np.float64],
    lane_of: NDArray[np.int32],
    params: Array,
    since_ms: NDArray[np.int64],
    offset_ms: NDArray[np.int64],
    lanes: Array,
    means: NDArray[np.float64],
    days: NDArray[np.float64],
    recent: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Take n readings given as columns, in order; return n surprises, NaN during a lane's warm-up or for no value."""
    scores = np.full(len(times_ms), np.nan)
    for i in range(len(times_ms)):
        if np.isfinite(values[i]):
            k = lane_of[i]
            hour = hour_of_day(times_ms[i], since_ms, offset_ms)
            scores[i] = take(hour, values[i], params[k], lanes[k], means[k], days[k], recent[k])
    return scores
