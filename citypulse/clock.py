"""Where time comes from. This is the only file that asks the operating system what time it is.

Everything else receives "now" as an argument, in epoch milliseconds UTC. That is what lets live
running, replay, backtest and tests share one engine (promise 4: what was backtested is what runs).
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Protocol

MS_PER_S = 1000


class Clock(Protocol):
    """A source of wall time that can also be waited on."""

    def now_ms(self) -> int:
        """Return the current instant in epoch milliseconds, UTC."""
        ...

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait until `event` is set or `seconds` of this clock's time have passed; return whether it was set."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_ms(self) -> int:
        """Return the machine's time in epoch milliseconds, UTC."""
        return time.time_ns() // 1_000_000

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait in real time."""
        return event.wait(seconds)


class SpedClock:
    """A clock that runs `speed` times as fast as the machine's, from `start_ms`: the demo's minute is a second."""

    def __init__(self, *, start_ms: int, speed: float, is_held: bool = False, wait_min_s: float = 0.0) -> None:
        """Start now at `start_ms` (epoch ms) and run `speed` times real time (> 0); held, it stands until `go`.

        No wait is shorter than `wait_min_s` of real time: whoever looks every second need not look every 16 ms.
        """
        if speed <= 0:
            raise ValueError(f"speed must be above zero, not {speed}")
        self._start_ms = start_ms
        self._speed = speed
        self._wait_min_s = wait_min_s
        self._origin = None if is_held else time.monotonic()

    def go(self) -> None:
        """Let a held clock run: what was set up until now took no time of the city's."""
        if self._origin is None:
            self._origin = time.monotonic()

    def now_ms(self) -> int:
        """Return the sped-up time in epoch milliseconds, UTC."""
        if self._origin is None:
            return self._start_ms
        return self._start_ms + int((time.monotonic() - self._origin) * MS_PER_S * self._speed)

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait `seconds` of this clock, that is `seconds / speed` of real time."""
        return event.wait(max(seconds / self._speed, self._wait_min_s))


class VirtualClock:
    """A clock that moves only when told to: tests, replay and backtests own it."""

    def __init__(self, now_ms: int = 0) -> None:
        """Stand at `now_ms` until moved."""
        self._now_ms = now_ms

    def now_ms(self) -> int:
        """Return the instant last set, in epoch milliseconds, UTC."""
        return self._now_ms

    def advance(self, seconds: float) -> int:
        """Move forward by `seconds` and return the new instant in epoch milliseconds."""
        if seconds < 0:
            raise ValueError("a virtual clock does not run backwards")
        self._now_ms += round(seconds * MS_PER_S)
        return self._now_ms

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Advance by `seconds` at once; nobody sleeps on a virtual clock."""
        self.advance(seconds)
        return event.is_set()


def utc(ms: int) -> datetime:
    """Turn epoch milliseconds into an aware UTC datetime."""
    return datetime.fromtimestamp(ms / MS_PER_S, tz=UTC)


def iso(ms: int) -> str:
    """Write epoch milliseconds as ISO 8601 in UTC with a trailing Z, e.g. `2026-11-22T02:11:07.120Z`."""
    return utc(ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def monotonic_s() -> float:
    """Return a steady reading for measuring how long our own work took; never used for decisions."""
    return time.perf_counter()
