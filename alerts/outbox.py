"""The deliverer: takes committed notices, sends them by their channels, and writes down what the providers said.

The outbox itself is the ledger's. A lease that runs out means "try again", a retry carries the same key, and a notice
that cannot be delivered ends as failed or dead with a reason: it is never held for ever and never lost silently.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

import stamina
import structlog

from citypulse.clock import Clock
from citypulse.errors import DeliveryError
from citypulse.model import CityConfig, Notice, NoticeKind, Priority

from .channels import CHANNELS, Channel

LEASE_MS: Final = 120_000  # longer than the slowest send with its quick retries
BATCH: Final = 20  # notices leased at once by one channel
WAIT_FIRST_MS: Final = 5_000
WAIT_MAX_MS: Final = {True: 60_000, False: 600_000}  # by "is it red": a healed channel brings red ones within a minute
ATTEMPTS_MAX: Final = {True: 55, False: 12}  # with these waits about 50 minutes; then somebody has to look
QUICK_TRIES: Final = 2  # inside one attempt, for a connection that broke in the middle
IDLE_S: Final = 1.0

log = structlog.get_logger()


class Leased(Protocol):
    """A notice in our hands for a while. `attempt` counts from 1."""

    @property
    def notice(self) -> Notice:
        """The notice."""
        ...

    @property
    def attempt(self) -> int:
        """How often it has been leased, this time included."""
        ...


class Outbox(Protocol):
    """What the deliverer needs of the ledger's outbox."""

    def lease(self, now_ms: int, limit: int, lease_ms: int, *, channels: Sequence[str] | None = None) -> Sequence[Any]:
        """Take at most `limit` due notices of these channels for `lease_ms`."""
        ...

    def is_wanted(self, leased: Any) -> bool:
        """Say whether it should still be sent."""
        ...

    def delivered(self, leased: Any, *, now_ms: int, provider_code: str = "") -> object:
        """Record that the provider took it."""
        ...

    def retry(self, leased: Any, *, next_at_ms: int, error: str, provider_code: str = "") -> object:
        """Put it back to be tried later."""
        ...

    def failed(self, leased: Any, *, error: str, provider_code: str = "") -> object:
        """Record that the provider refused it for good."""
        ...

    def give_up(self, leased: Any, *, error: str, provider_code: str = "") -> object:
        """Record that the tries are used up."""
        ...


@runtime_checkable
class Remembers(Protocol):
    """An outbox that also knows who has heard of what: no end is told to those who never heard the beginning."""

    def has_heard(self, leased: Any) -> bool:
        """True when an earlier notice about the subject may have reached the same channel and target."""
        ...

    def obsolete(self, leased: Any, *, reason: str) -> object:
        """Record that it need not be sent."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelHealth:
    """How one channel is doing. `failing_since_ms` is None while it works."""

    delivered: int = 0
    failed: int = 0  # refused for good or given up
    retried: int = 0
    skipped: int = 0  # no longer wanted when their turn came
    in_a_row: int = 0  # failures since the last success
    delivered_ms: int | None = None
    failing_since_ms: int | None = None
    last_error: str = ""


def wait_ms(attempt: int, level: Priority = Priority.P4) -> int:
    """Return how long to wait after attempt number `attempt` (from 1): 5 s, 10 s, 20 s … 10 min, or 1 min for red."""
    return min(WAIT_MAX_MS[level is Priority.P1], WAIT_FIRST_MS << min(attempt - 1, 20))


def _may_pass(error: Exception) -> bool:
    return isinstance(error, DeliveryError) and not error.permanent


class Deliverer:
    """Sends what the outbox holds; one thread a channel, so that a slow provider holds up nobody else."""

    def __init__(
        self, outbox: Outbox, channels: Mapping[str, Channel], limits: Mapping[str, int], clock: Clock
    ) -> None:
        """`channels` by id; `limits` is how many notices a channel may send per minute."""
        self._outbox = outbox
        self._channels = dict(channels)
        self._limits = dict(limits)
        self._clock = clock
        self._sent: dict[str, list[int]] = {name: [] for name in channels}  # instants of the last minute
        self._health = {name: ChannelHealth() for name in channels}
        self._died: list[BaseException] = []

    @classmethod
    def of(cls, config: CityConfig, outbox: Outbox, clock: Clock, data_dir: Path) -> Deliverer:
        """Build the deliverer of a configured city."""
        built = {c.id: CHANNELS[c.kind](c.settings, data_dir) for c in config.channels.values()}
        return cls(outbox, built, {c.id: c.settings.per_minute for c in config.channels.values()}, clock)

    @property
    def health(self) -> dict[str, ChannelHealth]:
        """How each channel is doing, by id."""
        return dict(self._health)

    def step(self, now_ms: int) -> int:
        """Send what is due on every channel, one after the other; return how many notices were dealt with."""
        return sum([self.serve(name, now_ms) for name in self._channels])

    def serve(self, name: str, now_ms: int) -> int:
        """Send what is due on one channel; return how many notices were dealt with."""
        recent = [at for at in self._sent[name] if at > now_ms - 60_000]
        self._sent[name] = recent
        # A failing channel is tried with one notice at a time: the others need not use up their attempts.
        room = min(1 if self._health[name].in_a_row else BATCH, self._limits[name] - len(recent))
        if room <= 0:
            return 0
        leased = list(self._outbox.lease(now_ms, room, LEASE_MS, channels=[name]))
        for number, one in enumerate(leased):
            if not self._deal(name, one, now_ms):
                for other in leased[number + 1 :]:
                    why = f"channel {name} is failing: {self._health[name].last_error}"
                    self._outbox.retry(other, next_at_ms=now_ms + wait_ms(1), error=why)
                break
        return len(leased)

    def run(self, stop: threading.Event) -> None:
        """Deliver until `stop`; raises what a channel's thread died of."""
        threads = [
            threading.Thread(target=self._loop, args=(name, stop), name=f"outbox-{name}", daemon=True)
            for name in self._channels
        ]
        for thread in threads:
            thread.start()
        while not stop.is_set() and not self._died:
            self._clock.wait(stop, IDLE_S)
        if self._died:
            raise self._died[0]

    def _loop(self, name: str, stop: threading.Event) -> None:
        try:
            while not stop.is_set():
                if not self.serve(name, self._clock.now_ms()):
                    self._clock.wait(stop, IDLE_S)
        except BaseException as error:  # noqa: BLE001 - handed to run(), which raises it where it is seen
            self._died.append(error)

    def _deal(self, name: str, leased: Leased, now_ms: int) -> bool:
        """Send one notice if it is still wanted; False when the channel itself seems to be down."""
        notice = leased.notice
        if not self._outbox.is_wanted(leased):
            if isinstance(self._outbox, Remembers):  # else its lease runs out and it comes round again
                self._outbox.obsolete(leased, reason="no longer wanted when its turn came")
            self._note(name, skipped=1)
            return True
        if (
            notice.kind is NoticeKind.CLEARED
            and isinstance(self._outbox, Remembers)
            and not self._outbox.has_heard(leased)
        ):
            self._outbox.obsolete(leased, reason="its target never heard of the alarm")
            self._note(name, skipped=1)
            return True
        self._sent[name].append(now_ms)
        try:
            code = self._send(name, notice, now_ms)
        except DeliveryError as error:
            self._failed(name, leased, error, now_ms)
            return error.permanent
        except Exception as error:  # a channel's own mistake must neither stop the others nor be tried for ever
            if not self._health[name].in_a_row:
                log.exception("outbox.channel_broken", channel=name)
            broken = DeliveryError(f"bug in the channel: {type(error).__name__}: {error}", permanent=False)
            self._failed(name, leased, broken, now_ms)
            return True
        else:
            self._outbox.delivered(leased, now_ms=now_ms, provider_code=code[:200])
            if self._health[name].in_a_row:
                log.info("outbox.channel_healed", channel=name, failures=self._health[name].in_a_row)
            self._note(name, delivered=1, delivered_ms=now_ms)
            return True

    def _send(self, name: str, notice: Notice, now_ms: int) -> str:
        for attempt in stamina.retry_context(
            on=_may_pass, attempts=QUICK_TRIES, wait_initial=0.2, wait_max=1.0, timeout=20
        ):
            with attempt:
                code = self._channels[name].send(notice, now_ms)
                return str(code)
        raise DeliveryError("no attempt was made", permanent=False)

    def _failed(self, name: str, leased: Leased, error: DeliveryError, now_ms: int) -> None:
        why, code = str(error)[:500], error.provider_code[:200]
        level = leased.notice.level
        is_last = leased.attempt >= ATTEMPTS_MAX[level is Priority.P1]
        if error.permanent:
            self._outbox.failed(leased, error=why, provider_code=code)
        elif is_last:
            self._outbox.give_up(leased, error=f"given up after {leased.attempt} attempts: {why}", provider_code=code)
        else:
            self._outbox.retry(
                leased, next_at_ms=now_ms + wait_ms(leased.attempt, level), error=why, provider_code=code
            )
        if not self._health[name].in_a_row:
            log.warning("outbox.channel_failing", channel=name, why=why, permanent=error.permanent)
        is_over = error.permanent or is_last
        self._note(name, failed=int(is_over), retried=int(not is_over), error=why, failing_ms=now_ms)

    def _note(
        self,
        name: str,
        *,
        delivered: int = 0,
        failed: int = 0,
        retried: int = 0,
        skipped: int = 0,
        delivered_ms: int | None = None,
        error: str = "",
        failing_ms: int | None = None,
    ) -> None:
        old = self._health[name]
        new = replace(
            old,
            delivered=old.delivered + delivered,
            failed=old.failed + failed,
            retried=old.retried + retried,
            skipped=old.skipped + skipped,
        )
        if delivered:
            new = replace(new, in_a_row=0, delivered_ms=delivered_ms, failing_since_ms=None, last_error="")
        elif error:
            since = old.failing_since_ms if old.failing_since_ms is not None else failing_ms
            new = replace(new, in_a_row=old.in_a_row + 1, failing_since_ms=since, last_error=error)
        self._health[name] = new
