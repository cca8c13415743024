"""multivariate, compiled: the readings of one site become rows, each row becomes one number, how unusual the site is.

A row is everything the site's channels said in one beat of time. It is judged when its last channel has
spoken, or when a reading of a later beat arrives. What a row says depends only on what came before it, so any
batching of the same readings gives the same numbers.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rules.detector import SKIP, SUSPECT, Array

from .multivariate_axes import CHANNELS_MAX, axes_score, fit, gather
from .statistics_kernels import Record, kth_largest

VOTE = 0
PCA = 1

OCTAVES = 40  # deviations are counted by size, from 2^-20 to 2^20 of the channel's unit …
PARTS = 4  # … four bins to an octave
SIZES = OCTAVES * PARTS
REFRESH = 64  # rows between two looks at the counts: the usual extreme moves slowly
TICK_WEIGHT = 0.01  # the ordinary step of a channel is an average over about its last hundred steps

PARAMS = np.dtype(
    [
        ("channels", np.int64),  # how many of CHANNELS_MAX are used
        ("method", np.int64),  # VOTE or PCA
        ("vote", np.int64),  # so many channels must agree: the vote-th largest counts
        ("row_ms", np.int64),  # one beat: readings that round to the same multiple of it are one row
        ("smooth", np.float64),  # rows an EWMA averages before anything else; 1 = none
        ("follow", np.float64),  # rows in which a centre moves to where its channel is; inf = never after the warm-up
        ("stretch", np.float64),  # a centre moves as if no deviation were larger than this many usual extremes
        ("quantile", np.float64),  # the usual extreme is this quantile of the deviations
        ("memory", np.float64),  # rows the usual extreme remembers (e-folding); inf = the warm-up only
        ("warm_up", np.int64),  # rows learnt from before anything is said
        ("window", np.int64),  # event discriminator: of the last so many rows …
        ("needed", np.int64),  # … so many must be at least the feature
        ("freeze", np.float64),  # a row at least this unusual teaches no usual extreme …
        ("freeze_rows", np.int64),  # … for at most so many rows: then what is has become what is normal
        ("gap_ms", np.int64),  # a site unheard of for this long starts its centres again
        ("share", np.float64),  # PCA: the variance the kept components explain
    ],
    align=True,
)
SITE = np.dtype(
    [
        ("beat", np.int64),  # number of the open row: time divided by row_ms
        ("heard", np.int64),  # bit set of the channels in the open row; 0 = no open row
        ("judged_ms", np.int64),  # time of the last row that was judged
        ("rows", np.int64),  # rows judged
        ("frozen", np.int64),  # unusual rows lately: one up for each, one down for each that is not
        ("t2", np.float64),  # PCA: usual extreme of Hotelling's T² …
        ("q", np.float64),  # … and of the squared residual Q
        ("kept", np.int64),  # PCA: components kept; 0 = not fitted yet
    ],
    align=True,
)
CHANNEL = np.dtype(
    [
        ("value", np.float64),  # in the open row
        ("last", np.float64),  # the value before
        ("smooth", np.float64),
        ("centre", np.float64),
        ("usual", np.float64),  # its usual extreme: a quantile of its deviations
        ("tick", np.float64),  # mean of the steps that were not zero: no extreme is finer than that
        ("seen", np.int64),  # rows in which it spoke
    ],
    align=True,
)


@njit(cache=True, nogil=True)
def _size(deviation: float) -> int:
    """Return the bin of a deviation."""
    if deviation <= 0.0:
        return 0
    return min(max(int(np.floor((np.log2(deviation) + OCTAVES / 2) * PARTS)), 0), SIZES - 1)


@njit(cache=True, nogil=True)
def _quantile(sizes: NDArray[np.float32], q: float) -> float:
    """Return the q-quantile of the counted deviations, between the edges of its bin in proportion; 0 if none."""
    total = 0.0
    for k in range(SIZES):
        total += sizes[k]
    above = (1.0 - q) * total
    for k in range(SIZES - 1, 0, -1):
        if sizes[k] > above:
            inside = 1.0 - above / sizes[k]
            value: float = 2.0 ** ((k + inside) / PARTS - OCTAVES / 2)
            return value
        above -= sizes[k]
    return 0.0


@njit(cache=True, nogil=True)
def _deviation(rule: Record, site: Record, channel: Record) -> float:
    """Smooth one channel's new value and return its distance from its centre, in its own unit."""
    value = channel["value"]
    if channel["seen"] == 0:
        channel["smooth"] = channel["centre"] = channel["last"] = value
    step = abs(value - channel["last"])
    if step > 0.0 and site["rows"] < rule["warm_up"]:
        # A resolution does not change later; to learn on would let one event blunt the channel for weeks.
        if channel["tick"] == 0.0:
            channel["tick"] = step
        channel["tick"] += (min(step, 8.0 * channel["tick"]) - channel["tick"]) * TICK_WEIGHT
    channel["last"] = value
    channel["seen"] += 1
    channel["smooth"] += (value - channel["smooth"]) * max(1.0 / rule["smooth"], 1.0 / channel["seen"])
    deviation: float = abs(channel["smooth"] - channel["centre"])
    return deviation


@njit(cache=True, nogil=True)
def _learn_extreme(rule: Record, site: Record, channel: Record, sizes: NDArray[np.float32], deviation: float) -> None:
    """Count one deviation, and now and then look up the usual extreme."""
    is_warm = site["rows"] >= rule["warm_up"]
    if is_warm and rule["memory"] == np.inf:
        return
    sizes[_size(deviation)] += 1.0
    if channel["seen"] % REFRESH == 0 or site["rows"] + 1 == rule["warm_up"]:
        floor = max(channel["tick"] / rule["smooth"], 1e-12)  # one step moves the smoothed value by this much
        channel["usual"] = max(_quantile(sizes, rule["quantile"]), floor)
        for k in range(SIZES):
            sizes[k] *= 1.0 - REFRESH / max(rule["memory"], REFRESH * 2.0)


@njit(cache=True, nogil=True)
def _follow(rule: Record, site: Record, channel: Record) -> None:
    """Move a channel's centre towards where the channel is."""
    away = channel["smooth"] - channel["centre"]
    if site["rows"] < rule["warm_up"]:
        channel["centre"] += away * max(1.0 / rule["follow"], 1.0 / channel["seen"])
    else:
        reach = rule["stretch"] * channel["usual"]
        channel["centre"] += min(max(away, -reach), reach) / rule["follow"]


@njit(cache=True, nogil=True)
def _restart(rule: Record, channels: Array) -> None:
    """What the channels show now becomes their centre: after a long silence, or a freeze that lasted too long."""
    for c in range(rule["channels"]):
        if channels[c]["seen"] > 0:
            channels[c]["centre"] = channels[c]["smooth"]


@njit(cache=True, nogil=True)
def _judge(
    rule: Record,
    site: Record,
    channels: Array,
    sizes: NDArray[np.float32],
    recent: NDArray[np.float64],
    spread: NDArray[np.float64],
) -> float:
    """Close the open row: return the feature, or NaN while still warming up, and learn from the row."""
    n = rule["channels"]
    time_ms = site["beat"] * rule["row_ms"]
    if site["rows"] > 0 and site["frozen"] == 0 and time_ms - site["judged_ms"] > rule["gap_ms"]:
        for c in range(n):  # what comes after a gap is a new beginning; not in an alarm: silence is no recovery
            if site["heard"] >> c & 1:
                channels[c]["smooth"] = channels[c]["centre"] = channels[c]["last"] = channels[c]["value"]
        recent[:] = 0.0
    site["judged_ms"] = time_ms
    is_warm = site["rows"] >= rule["warm_up"]
    deviations = np.zeros(CHANNELS_MAX)
    ratios = np.zeros(CHANNELS_MAX)
    for c in range(n):
        if site["heard"] >> c & 1:  # a channel that was silent is not unusual
            deviations[c] = _deviation(rule, site, channels[c])
            if channels[c]["usual"] > 0.0:
                ratios[c] = deviations[c] / channels[c]["usual"]
    if rule["method"] == PCA:
        if not is_warm:
            gather(rule, channels, spread)
        elif site["kept"] == 0:
            fit(rule, site, channels, spread)
    score = 0.0
    if is_warm:
        score = (
            axes_score(rule, site, channels, spread) if rule["method"] == PCA else kth_largest(ratios, n, rule["vote"])
        )
    is_frozen = is_warm and score >= rule["freeze"]
    site["frozen"] = site["frozen"] + 1 if is_frozen else max(site["frozen"] - 1, 0)
    if site["frozen"] > rule["freeze_rows"]:  # it has lasted: from now on it teaches like anything else
        if site["frozen"] == rule["freeze_rows"] + 1:
            _restart(rule, channels)
        is_frozen = False
    for c in range(n):
        if site["heard"] >> c & 1:
            _follow(rule, site, channels[c])
            if not is_frozen:
                _learn_extreme(rule, site, channels[c], sizes[c], deviations[c])
    recent[site["rows"] % rule["window"]] = score
    site["rows"] += 1
    site["heard"] = 0
    return kth_largest(recent, rule["window"], rule["needed"]) if is_warm else np.nan


@njit(cache=True, nogil=True)
def take(
    time_ms: int,
    value: float,
    slot: int,
    rule: Record,
    site: Record,
    channels: Array,
    sizes: NDArray[np.float32],
    recent: NDArray[np.float64],
    spread: NDArray[np.float64],
) -> float:
    """Take one reading of one site; return the feature of the row it closed, NaN if it closed none (or warm-up)."""
    beat = (time_ms + rule["row_ms"] // 2) // rule["row_ms"]
    result = np.nan
    if site["heard"] != 0 and beat > site["beat"]:
        result = _judge(rule, site, channels, sizes, recent, spread)
    elif site["heard"] == 0 and site["rows"] > 0 and beat <= site["beat"]:
        return result  # its row was judged without it
    elif site["heard"] != 0 and beat < site["beat"]:
        return result
    site["beat"] = beat
    channels[slot]["value"] = value
    site["heard"] |= 1 << slot
    if site["heard"] == (1 << rule["channels"]) - 1:
        result = _judge(rule, site, channels, sizes, recent, spread)
    return result


@njit(cache=True, nogil=True)
def feature(
    samples: Array,
    mine: NDArray[np.int32],
    params: Array,
    sites: Array,
    channels: Array,
    sizes: NDArray[np.float32],
    recent: NDArray[np.float64],
    spread: NDArray[np.float64],
) -> None:
    """Replace each sample's value by its site's feature; samples that close no row say nothing."""
    for k in mine:
        sample = samples[k]
        if sample["seen"] > SUSPECT:
            continue
        row = sample["row"]
        x = take(
            sample["time_ms"],
            sample["x"],
            sample["slot"],
            params[row],
            sites[row],
            channels[row],
            sizes[row],
            recent[row],
            spread[row],
        )
        if np.isnan(x):
            sample["seen"] = SKIP
        else:
            sample["x"] = x


@njit(cache=True, nogil=True)
def step(
    times_ms: NDArray[np.int64],
    values: NDArray[np.float64],
    lanes: NDArray[np.int32],
    slots: NDArray[np.int32],
    params: Array,
    sites: Array,
    channels: Array,
    sizes: NDArray[np.float32],
    recent: NDArray[np.float64],
    spread: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Take n readings given as columns, in order; return n features, NaN where a reading closed no row."""
    scores = np.full(len(times_ms), np.nan)
    for i in range(len(times_ms)):
        if np.isfinite(values[i]):
            lane = lanes[i]
            scores[i] = take(
                times_ms[i],
                values[i],
                slots[i],
                params[lane],
                sites[lane],
                channels[lane],
                sizes[lane],
                recent[lane],
                spread[lane],
            )
    return scores
