"""How one channel is doing and how much it may be asked: its health, its room in this minute, its enforced rests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from citypulse.errors import DeliveryError
from citypulse.model import Priority

WINDOW_MS: Final = 60_000
WAIT_FIRST_MS: Final = 5_000
WAIT_MAX_MS: Final = {True: 60_000, False: 600_000}  # by "is it red": a healed channel brings red ones within a minute
ATTEMPTS_MAX: Final = {True: 55, False: 12}  # with these waits about 50 minutes; then somebody has to look


def wait_ms(attempt: int, level: Priority = Priority.P4) -> int:
    """Return how long to wait after attempt number `attempt` (from 1): 5 s, 10 s, 20 s … 10 min, or 1 min for red."""
    return min(WAIT_MAX_MS[level is Priority.P1], WAIT_FIRST_MS << min(attempt - 1, 20))


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelHealth:
    """How one channel is doing. `failing_since_ms` is None while it works."""

    delivered: int = 0  # notices, those in a digest included
    failed: int = 0  # refused for good or given up
    retried: int = 0
    skipped: int = 0  # no longer wanted when their turn came
    handed_on: int = 0  # taken over by another channel
    digests: int = 0  # messages that covered several notices
    messages: int = 0  # handed to the provider and taken
    in_a_row: int = 0  # failures since the last success
    delivered_ms: int | None = None
    failing_since_ms: int | None = None
    resting_until_ms: int = 0  # the provider asked to be left alone until then
    last_error: str = ""
    waiting_by_class: Mapping[str, int] = field(default_factory=dict)  # see alerts.delivery.turns; when last looked at

    @property
    def is_failing(self) -> bool:
        """True from the first failure until the next success."""
        return self.in_a_row > 0

    def took(self, count: int, now_ms: int, *, is_digest: bool) -> ChannelHealth:
        """Return it after the provider has taken one message that covered `count` notices."""
        return replace(
            self,
            delivered=self.delivered + count,
            digests=self.digests + is_digest,
            messages=self.messages + 1,
            in_a_row=0,
            delivered_ms=now_ms,
            failing_since_ms=None,
            resting_until_ms=0,
            last_error="",
        )

    def missed(self, error: DeliveryError, now_ms: int) -> ChannelHealth:
        """Return it after a failure; a provider's wish to be left alone is kept."""
        return replace(
            self,
            in_a_row=self.in_a_row + 1,
            failing_since_ms=now_ms if self.failing_since_ms is None else self.failing_since_ms,
            resting_until_ms=max(self.resting_until_ms, now_ms + round(error.wait_s * 1000)) if error.wait_s else 0,
            last_error=str(error)[:500],
        )


class Pace:
    """How many messages a channel may still be asked to take in this minute. One thread's own."""

    def __init__(self, limit: int, recent: Sequence[int] = ()) -> None:
        """`limit` a minute; `recent` are the instants it was used before this process began."""
        self.limit = limit
        self._sent = list(recent)

    def room(self, now_ms: int) -> int:
        """Return how many messages fit now."""
        self._sent = [at for at in self._sent if at > now_ms - WINDOW_MS]
        return max(0, self.limit - len(self._sent))

    def used(self, now_ms: int) -> None:
        """Count one message, taken or not: the provider counts tries."""
        self._sent.append(now_ms)
