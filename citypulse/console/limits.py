"""A bound on how often somebody may try: a bucket each, and a bound on the buckets themselves."""

from __future__ import annotations

import threading
from collections import OrderedDict


class RateLimit:
    """At most `burst` tries at once and `per_minute` over time, for each key. Thread-safe."""

    def __init__(self, *, burst: int, per_minute: float, keys_max: int = 10_000) -> None:
        """Keep at most `keys_max` buckets; the one unused longest goes first."""
        self._burst = burst
        self._per_ms = per_minute / 60_000
        self._keys_max = keys_max
        self._buckets: OrderedDict[str, tuple[float, int]] = OrderedDict()  # what is left, and when that was so
        self._lock = threading.Lock()

    def allows(self, key: str, now_ms: int) -> bool:
        """Take one try; False when there is none left."""
        with self._lock:
            left, at_ms = self._buckets.pop(key, (float(self._burst), now_ms))
            left = min(float(self._burst), left + max(0, now_ms - at_ms) * self._per_ms)
            is_allowed = left >= 1.0
            self._buckets[key] = (left - 1.0 if is_allowed else left, now_ms)
            while len(self._buckets) > self._keys_max:
                self._buckets.popitem(last=False)
            return is_allowed
