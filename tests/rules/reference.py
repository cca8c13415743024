"""The latch once more, from its definition, in the plainest Python: the engine must agree with it on any input."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from citypulse.model import Gap, Lane, Limit, Quality, Rule, Side


def is_breach(x: float, limit: Limit) -> bool:
    return {
        Side.AT_LEAST: x >= limit.value,
        Side.ABOVE: x > limit.value,
        Side.BELOW: x < limit.value,
        Side.AT_MOST: x <= limit.value,
    }[limit.side]


def is_good(x: float, limit: Limit) -> bool:
    towards = 1 if limit.side in (Side.AT_LEAST, Side.ABOVE) else -1
    return not is_breach(x + towards * limit.deadband, limit)


@dataclass
class RefLatch:
    limit: Limit
    gap: Gap
    state: str = "normal"
    t0: int = 0
    g0: int = 0

    def lost(self) -> None:
        if self.state == "clearing":
            self.state = "active"
        if self.state == "pending" and self.gap is Gap.RESET:
            self.state = "normal"
        if self.state == "pending" and self.gap is Gap.RAISE:
            self.state = "active"

    def sample(self, t: int, x: float, *, is_suspect: bool) -> None:
        if is_breach(x, self.limit):
            if self.state == "normal":
                self.state, self.t0 = "pending", t
            if self.state == "pending" and t - self.t0 >= self.limit.on_delay_s * 1000:
                self.state = "active"
            if self.state == "clearing":
                self.state = "active"
            return
        if self.state == "pending":
            self.state = "normal"
        if self.state in ("active", "clearing"):
            if is_suspect or not is_good(x, self.limit):
                self.state = "active"
                return
            if self.state == "active":
                self.state, self.g0 = "clearing", t
            if t - self.g0 >= self.limit.off_delay_s * 1000:
                self.state = "normal"

    @property
    def is_latched(self) -> bool:
        return self.state in ("active", "clearing")


@dataclass
class RefLane:
    """One threshold rule on one sensor. `said` collects (event ms, kind, level, late)."""

    rule: Rule
    gap_ms: int
    latches: list[RefLatch] = field(default_factory=list)
    said: list[tuple[int, str, int | None, bool]] = field(default_factory=list)
    last: int | None = None
    is_stale: bool = False

    def __post_init__(self) -> None:
        self.latches = [RefLatch(limit, self.rule.gap) for limit in self.rule.limits]

    def level(self) -> int | None:
        return min((int(x.limit.level) for x in self.latches if x.is_latched), default=None)

    def tell(self, t: int, before: int | None) -> None:
        now = self.level()
        if now != before:
            kind = "raise" if before is None else "clear" if now is None else "level"
            self.said.append((t, kind, now, False))

    def take(self, t: int, x: float, quality: Quality, lane: Lane) -> None:
        if lane is not Lane.LIVE:
            return
        before = self.level()
        is_suspect = quality is Quality.SUSPECT and self.rule.accepts_suspect
        usable = quality in (Quality.GOOD, Quality.NOT_EVALUATED) or is_suspect
        if not usable or math.isnan(x):
            for latch in self.latches:
                latch.lost()
            self.tell(t, before)
            if self.level() is not None and not self.is_stale:
                self.is_stale = True
                self.said.append((t, "data_loss", self.level(), False))
            return
        if not is_suspect:
            if self.is_stale:
                self.said.append((t, "data_back", self.level(), False))
            self.is_stale = False
        if self.last is not None and t - self.last > self.gap_ms:
            for latch in self.latches:
                latch.lost()
        for latch in self.latches:
            latch.sample(t, x, is_suspect=is_suspect)
        self.last = t
        self.tell(t, before)
