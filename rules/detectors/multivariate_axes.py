"""multivariate, compiled: how far a row is from the way its channels usually move together (PCA: T² and Q).

The axes are fitted once, at the end of the warm-up; afterwards only the centres follow.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rules.detector import Array

from .statistics_kernels import Record

CHANNELS_MAX = 16  # a sonde has 6 to 9 channels
PCA_RIDGE = 1e-6  # no direction counts as exactly constant: numerical floor of a variance in units of the spread


@njit(cache=True, nogil=True)
def _chi_square(freedom: float, z: float) -> float:
    """Return the quantile of a chi-square whose normal deviate is z (Wilson and Hilferty 1931)."""
    a = 2.0 / (9.0 * freedom)
    value: float = freedom * max(1.0 - a + z * np.sqrt(a), 0.1) ** 3
    return value


@njit(cache=True, nogil=True)
def gather(rule: Record, channels: Array, spread: NDArray[np.float64]) -> None:
    """Add the open row to the co-moments of the warm-up (Welford), pulled in to 4 usual extremes.

    spread: (CHANNELS_MAX + 1, CHANNELS_MAX); the last line holds the means, `spread[c, d]` the sum of products.
    """
    n = rule["channels"]
    mean = spread[CHANNELS_MAX]
    away = np.empty(n)
    rows = channels[0]["seen"] + 0.0
    for c in range(n):
        x = channels[c]["smooth"]
        if channels[c]["seen"] > 30:  # by then the usual extreme is more than a first guess
            reach = 4.0 * channels[c]["usual"]
            x = min(max(x, channels[c]["centre"] - reach), channels[c]["centre"] + reach)
        away[c] = x - mean[c]
        mean[c] += away[c] / max(rows, 1.0)
    for c in range(n):
        for d in range(n):
            spread[c, d] += away[c] * (away[d] * (1.0 - 1.0 / max(rows, 1.0)))


@njit(cache=True, nogil=True)
def fit(rule: Record, site: Record, channels: Array, spread: NDArray[np.float64]) -> None:
    """Turn the co-moments into principal axes, in place, with the limits of T² and Q.

    Afterwards `spread[a, c]` is axis a per unit of channel c, `spread[CHANNELS_MAX, a]` its variance, largest first.
    Limits: T² by chi-square, Q by Box's g·chi-square(h) (Box 1954), both at the normal deviate 3 (99.87 %).
    """
    n = rule["channels"]
    rows = max(channels[0]["seen"] - 1.0, 1.0)
    size = np.empty(n)
    for c in range(n):
        size[c] = max(np.sqrt(spread[c, c] / rows), max(channels[c]["tick"], 1e-12) * 0.1)
    matrix = np.empty((n, n))
    for c in range(n):
        for d in range(n):
            matrix[c, d] = spread[c, d] / (rows * size[c] * size[d])
    variances, axes = np.linalg.eigh(matrix)
    spread[:] = 0.0
    total = 0.0
    for a in range(n):
        total += max(variances[a], PCA_RIDGE)
    kept, explained = 0, 0.0
    rest, rest2 = 0.0, 0.0
    for a in range(n):
        variance = max(variances[n - 1 - a], PCA_RIDGE)
        spread[CHANNELS_MAX, a] = variance
        for c in range(n):
            spread[a, c] = axes[c, n - 1 - a] / size[c]
        if explained < rule["share"] * total or kept == 0:
            kept += 1
            explained += variance
        else:
            rest += variance
            rest2 += variance * variance
    site["kept"] = kept
    site["t2"] = _chi_square(float(kept), 3.0)
    site["q"] = rest2 / rest * _chi_square(rest * rest / rest2, 3.0) if rest > 0.0 else np.inf


@njit(cache=True, nogil=True)
def axes_score(rule: Record, site: Record, channels: Array, spread: NDArray[np.float64]) -> float:
    """Return the larger of T² and Q as a multiple of its limit, as a length: 2 is twice as far."""
    n = rule["channels"]
    t2 = q = 0.0
    for a in range(n):
        along = 0.0
        for c in range(n):
            along += spread[a, c] * (channels[c]["smooth"] - channels[c]["centre"])
        if a < site["kept"]:
            t2 += along * along / spread[CHANNELS_MAX, a]
        else:
            q += along * along
    score: float = np.sqrt(max(t2 / site["t2"], q / site["q"]))
    return score
