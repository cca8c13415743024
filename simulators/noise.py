"""Noise that depends on nothing but a key and a time, so that a restarted simulator goes on exactly where it was.

A generator with hidden state would give other numbers after a restart, or when readings are asked for in
other batches. Here every number is a hash (splitmix64) of (key, tick): the same whoever asks, and when.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Times = NDArray[np.int64]
Keys = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_TWIN = np.uint64(0xD6E8FEB86659FD93)
_2_53 = float(2**53)


def key_of(*parts: object) -> int:
    """Return a 64-bit key of the parts' texts; the same on every machine and Python, unlike `hash`."""
    text = "\x1f".join(str(p) for p in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def keys_of(*columns: Any) -> Keys:
    """Return one key per row of equally long columns of parts."""
    return np.array([key_of(*row) for row in zip(*columns, strict=True)], dtype=np.uint64)


def mixed(key: Any, tick: Any) -> Keys:
    """Return splitmix64 of key and tick, elementwise."""
    with np.errstate(over="ignore"):
        z = np.asarray(key, np.uint64) + (np.asarray(tick).astype(np.int64).view(np.uint64) + np.uint64(1)) * _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * _MIX_1
        z = (z ^ (z >> np.uint64(27))) * _MIX_2
        return np.asarray(z ^ (z >> np.uint64(31)), np.uint64)


def uniform(key: Any, tick: Any) -> Floats:
    """Return numbers evenly spread over (0, 1)."""
    return np.asarray(((mixed(key, tick) >> np.uint64(11)).astype(np.float64) + 0.5) / _2_53, np.float64)


def normal(key: Any, tick: Any) -> Floats:
    """Return numbers of mean 0 and standard deviation 1 (Box-Muller), never beyond about 8.6."""
    first = uniform(key, tick)
    second = uniform(np.asarray(key, np.uint64) ^ _TWIN, tick)
    return np.asarray(np.sqrt(-2.0 * np.log(first)) * np.cos(2.0 * np.pi * second), np.float64)


def smooth(key: Any, time_ms: Any, period_s: float) -> Floats:
    """Return slow noise: a normal number at every multiple of `period_s`, with smooth passages between."""
    place = np.asarray(time_ms, np.float64) / (period_s * 1000.0)
    before = np.floor(place)
    part = place - before
    part = part * part * (3.0 - 2.0 * part)
    tick = before.astype(np.int64)
    return np.asarray(normal(key, tick) * (1.0 - part) + normal(key, tick + 1) * part, np.float64)
