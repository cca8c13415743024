"""surprise, compiled: how rare a reading is, in nats, by several histograms of what its sensor did before.

Each *view* looks at the series in its own way: the mean of the last 1, 4, 16, 64 readings; the step from 1, 4,
16, 64 readings ago; the value given the hour of the day; the distance from what is usual at this hour, averaged
over 1, 4, 16 readings. A view's surprise is -ln of the share of the past that looked alike. The sum that counts
is the mean of the `agree` most surprised views, so that one odd view alone is no alarm. Only a record is
reported: a reading more surprising than all of its recent past (declustering).

Twelve views and powers of four were not searched for their weights: they have none. Measured on the NAB
development half (docs/reference/detectors-statistical.md).
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rules.detector import SKIP, SUSPECT, Array

from .statistics_kernels import HOURS, Record, hour_of_day, smallest_first
from .surprise_views import ALL_VIEWS, HOUR_VIEW, VIEWS, look

BINS = 40  # over the range of the warm-up; as many again on each side, then TAIL bins per doubling
TAIL = 4
TAIL_BINS = 12 * TAIL  # twelve doublings: a value 4,000 ranges away is in the last bin with all that lies beyond
CELLS = 3 * BINS + 2 * TAIL_BINS
HOUR_BINS = 20  # coarser, for an hour holds a 24th of the readings
HOUR_CELLS = 3 * HOUR_BINS
HOUR_REACH = 3  # hours on either side that count as the same time of day
PRIOR = 0.3  # a bin never seen counts as 0.3 readings
BLOCKS = 16  # the recent past of the declustering, in blocks
WARM_UP_MAX = 2048
COUNT_MAX = 60_000  # of a cell; then all counts of the lane are halved: bounded, and the far past fades

PARAMS = np.dtype(
    [
        ("warm_up", np.int64),  # readings learnt from before anything is said; sets the range of the histograms
        ("agree", np.int64),  # views whose mean counts
        ("quiet", np.int64),  # readings a record stands: report only what beats it
    ],
    align=True,
)
LANE = np.dtype(
    [
        ("seen", np.int64),
        ("counted", np.float64),  # readings in the histograms
        ("hour", np.int64),  # the present hour of day; -1 = none yet
        ("hour_sum", np.float64),
        ("hour_n", np.float64),
        ("mean", np.float64),  # of everything, until an hour is known
        ("block_n", np.int64),  # readings in the present block
        ("block", np.int64),
    ],
    align=True,
)


@njit(cache=True, nogil=True)
def _cell(value: float, middle: float, width: float) -> int:
    """Return the histogram cell of a value: even bins near the range of the warm-up, ever wider ones beyond."""
    edge = 1.5 * BINS
    u = (value - middle) / width
    if u < -edge:
        cell = TAIL_BINS - 1 - int(TAIL * np.log2(-u / edge))
    elif u >= edge:
        cell = TAIL_BINS + 3 * BINS + int(TAIL * np.log2(u / edge))
    else:
        cell = TAIL_BINS + int(u + edge)
    return min(max(cell, 0), CELLS - 1)


@njit(cache=True, nogil=True)
def _hour_cell(value: float, low: float, high: float) -> int:
    u = (value - low) / (high - low) * HOUR_BINS + HOUR_BINS
    return min(max(int(u), 0), HOUR_CELLS - 1)


@njit(cache=True, nogil=True)
def _halve(counts: NDArray[np.uint16]) -> None:
    for row in range(counts.shape[0]):
        for cell in range(counts.shape[1]):
            counts[row, cell] //= np.uint16(2)


@njit(cache=True, nogil=True)
def _count(
    views: NDArray[np.float64],
    hour: int,
    lane: Record,
    ranges: NDArray[np.float64],
    counts: NDArray[np.uint16],
    hour_counts: NDArray[np.uint16],
    shares: NDArray[np.float64],
) -> None:
    """Write the share of the past that looked alike, per view, then count the reading."""
    counted = lane["counted"]
    fullest = 0
    for v in range(VIEWS):
        low, high = ranges[v, 0], ranges[v, 1]
        cell = _cell(views[v], (low + high) * 0.5, (high - low) / BINS)
        alike = float(counts[v, cell])
        if cell > 0:
            alike += float(counts[v, cell - 1])
        if cell < CELLS - 1:
            alike += float(counts[v, cell + 1])
        shares[v] = (alike + PRIOR) / (counted + 1.0)
        counts[v, cell] += np.uint16(1)
        fullest = max(fullest, counts[v, cell])
    cell = _hour_cell(views[0], ranges[0, 0], ranges[0, 1])
    alike = total = 0.0
    for d in range(-HOUR_REACH, HOUR_REACH + 1):
        h = (hour + d) % HOURS
        total += float(hour_counts[h, HOUR_CELLS])
        for j in range(max(0, cell - 1), min(HOUR_CELLS, cell + 2)):
            alike += float(hour_counts[h, j])
    shares[HOUR_VIEW] = (alike + PRIOR) / (total + 1.0)
    hour_counts[hour, cell] += np.uint16(1)
    hour_counts[hour, HOUR_CELLS] += np.uint16(1)
    lane["counted"] = counted + 1.0
    if max(fullest, hour_counts[hour, HOUR_CELLS]) >= COUNT_MAX:
        _halve(counts)
        _halve(hour_counts)
        lane["counted"] *= 0.5


@njit(cache=True, nogil=True)
def _begin(
    lane: Record,
    ring: NDArray[np.float64],
    residuals: NDArray[np.float64],
    hour_means: NDArray[np.float64],
    hour_days: NDArray[np.float64],
    ranges: NDArray[np.float64],
    counts: NDArray[np.uint16],
    hour_counts: NDArray[np.uint16],
    first_values: NDArray[np.float64],
    first_hours: NDArray[np.uint8],
    views: NDArray[np.float64],
    shares: NDArray[np.float64],
) -> None:
    """End the warm-up: the ranges are known, so go through its readings once more and count them."""
    for v in range(VIEWS):
        if ranges[v, 1] <= ranges[v, 0]:  # a constant: any change is a big one
            spread = max(1e-9, abs(ranges[v, 1]) * 0.1, 0.1)
            ranges[v, 1] = ranges[v, 0] + spread
    n = lane["seen"]
    lane["seen"] = 0
    lane["hour"] = -1
    lane["hour_sum"] = lane["hour_n"] = lane["mean"] = 0.0
    ring[:] = 0.0
    residuals[:] = 0.0
    hour_means[:] = 0.0
    hour_days[:] = 0.0
    for i in range(n):
        hour = np.int64(first_hours[i])
        look(hour, first_values[i], lane, ring, residuals, hour_means, hour_days, views)
        _count(views, hour, lane, ranges, counts, hour_counts, shares)


@njit(cache=True, nogil=True)
def _mean_surprise(shares: NDArray[np.float64], k: int) -> float:
    """Return -ln of the geometric mean of the k smallest shares: one logarithm, not twelve. Spoils `shares`."""
    smallest_first(shares, ALL_VIEWS, k)
    product = 1.0
    for i in range(k):
        product *= shares[i]
    nats: float = -np.log(product) / k
    return nats


@njit(cache=True, nogil=True)
def _report(rule: Record, lane: Record, records: NDArray[np.float64], nats: float) -> float:
    """Return `nats` when it beats every reading of the last `quiet`, else 0.

    The past is kept as the maxima of BLOCKS blocks, so it reaches back between 15/16 and all of `quiet`.
    """
    if lane["block_n"] * BLOCKS >= rule["quiet"]:
        lane["block"] = (lane["block"] + 1) % BLOCKS
        lane["block_n"] = 0
        records[lane["block"]] = 0.0
    is_record = True
    for b in range(BLOCKS):
        if records[b] >= nats:
            is_record = False
    lane["block_n"] += 1
    records[lane["block"]] = max(records[lane["block"]], nats)
    return nats if is_record else 0.0


@njit(cache=True, nogil=True)
def take(
    hour: int,
    value: float,
    rule: Record,
    lane: Record,
    ring: NDArray[np.float64],
    residuals: NDArray[np.float64],
    hour_means: NDArray[np.float64],
    hour_days: NDArray[np.float64],
    ranges: NDArray[np.float64],
    counts: NDArray[np.uint16],
    hour_counts: NDArray[np.uint16],
    records: NDArray[np.float64],
    first_values: NDArray[np.float64],
    first_hours: NDArray[np.uint8],
    views: NDArray[np.float64],
    shares: NDArray[np.float64],
) -> float:
    """Take one reading of one sensor at a local hour; return its surprise in nats.

    0 unless it is a record, NaN during the warm-up.
    """
    n = lane["seen"]
    look(hour, value, lane, ring, residuals, hour_means, hour_days, views)
    if n >= rule["warm_up"]:
        _count(views, hour, lane, ranges, counts, hour_counts, shares)
        nats: float = _report(rule, lane, records, _mean_surprise(shares, rule["agree"]))
        return nats
    first_values[n] = value
    first_hours[n] = hour
    for v in range(VIEWS):
        ranges[v, 0] = min(ranges[v, 0], views[v]) if n > 0 else views[v]
        ranges[v, 1] = max(ranges[v, 1], views[v]) if n > 0 else views[v]
    if n + 1 == rule["warm_up"]:
        _begin(
            lane,
            ring,
            residuals,
            hour_means,
            hour_days,
            ranges,
            counts,
            hour_counts,
            first_values,
            first_hours,
            views,
            shares,
        )
    return np.nan


@njit(cache=True, nogil=True)
def feature(
    samples: Array,
    mine: NDArray[np.int32],
    params: Array,
    since_ms: NDArray[np.int64],
    offset_ms: NDArray[np.int64],
    lanes: Array,
    ring: NDArray[np.float64],
    residuals: NDArray[np.float64],
    hour_means: NDArray[np.float64],
    hour_days: NDArray[np.float64],
    ranges: NDArray[np.float64],
    counts: NDArray[np.uint16],
    hour_counts: NDArray[np.uint16],
    records: NDArray[np.float64],
    first_values: NDArray[np.float64],
    first_hours: NDArray[np.uint8],
) -> None:
    """Replace each sample's value by its surprise; the warm-up says nothing."""
    views = np.empty(ALL_VIEWS)
    shares = np.empty(ALL_VIEWS)
    for k in mine:
        sample = samples[k]
        if sample["seen"] > SUSPECT:
            continue
        row = sample["row"]
        x = take(
            hour_of_day(sample["time_ms"], since_ms, offset_ms),
            sample["x"],
            params[row],
            lanes[row],
            ring[row],
            residuals[row],
            hour_means[row],
            hour_days[row],
            ranges[row],
            counts[row],
            hour_counts[row],
            records[row],
            first_values[row],
            first_hours[row],
            views,
            shares,
        )
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
    ring: NDArray[np.float64],
    residuals: NDArray[np.float64],
    hour_means: NDArray[np.float64],
    hour_days: NDArray[np.float64],
    ranges: NDArray[np.float64],
    counts: NDArray[np.uint16],
    hour_counts: NDArray[np.uint16],
    records: NDArray[np.float64],
    first_values: NDArray[np.float64],
    first_hours: NDArray[np.uint8],
) -> NDArray[np.float64]:
    """Take n readings given as columns, in order; return n surprises, NaN during a lane's warm-up or for no value."""
    scores = np.full(len(times_ms), np.nan)
    views = np.empty(ALL_VIEWS)
    shares = np.empty(ALL_VIEWS)
    for i in range(len(times_ms)):
        if np.isfinite(values[i]):
            k = lane_of[i]
            scores[i] = take(
                hour_of_day(times_ms[i], since_ms, offset_ms),
                values[i],
                params[k],
                lanes[k],
                ring[k],
                residuals[k],
                hour_means[k],
                hour_days[k],
                ranges[k],
                counts[k],
                hour_counts[k],
                records[k],
                first_values[k],
                first_hours[k],
                views,
                shares,
            )
    return scores
