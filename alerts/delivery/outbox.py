"""The deliverer: takes committed notices, sends them by their channels, and writes down what the providers said.

The outbox itself is the ledger's. A lease that runs out means "try again", a retry carries the same key, and a notice
that cannot be delivered goes to the next channel that reaches its target, or ends as failed or dead with a reason: it
is never held for ever and never lost silently.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import structlog

from alerts.channels import CHANNELS, Channel
from alerts.delivery import digest
from citypulse.clock import Clock, monotonic_s
from citypulse.errors import DeliveryError
from citypulse.ledger.outbox import LeasedNotice, Outbox, Waiting
from citypulse.model import CityConfig, Notice, NoticeKind, Priority

from .failover import HAND_OVER_MS, TROUBLE_MS, Ways, may_go_by, trouble_notice
from .letters import Writer
from .pace import ATTEMPTS_MAX, WAIT_FIRST_MS, WINDOW_MS, ChannelHealth, Pace, wait_ms
from .turns import counted

LEASE_MS: Final = 120_000  # longer than the slowest send with its quick retries
BATCH: Final = 20  # messages sent in one round of a channel
WAITING_MAX: Final = 1_000  # notices looked at in one round; a digest covers at most so many
HANDED_MAX: Final = 200  # notices handed to another channel in one round
QUICK_TRIES: Final = 2  # inside one attempt, for a connection that broke in the middle
IDLE_S: Final = 1.0
JOIN_S: Final = 2.0  # for the channels' threads at the end: who is sending may finish

log = structlog.get_logger()


def _may_pass(error: Exception) -> bool:
    """A second try at once helps only where no answer came; what the provider said stands."""
    return isinstance(error, DeliveryError) and error.provider_code in {"no-answer", "no-connection"}


class Deliverer:
    """Sends what the outbox holds; one thread a channel, so that a slow provider holds up nobody else."""

    def __init__(
        self,
        outbox: Outbox,
        channels: Mapping[str, Channel],
        limits: Mapping[str, int],
        clock: Clock,
        *,
        ways: Ways | None = None,
        writer: Writer | None = None,
    ) -> None:
        """`channels` by id; `limits` is how many messages a channel may send per minute; `ways` for fail-over."""
        self._outbox = outbox
        self._channels = dict(channels)
        self._limits = dict(limits)
        self._clock = clock
        self._ways = ways or Ways()
        self._writer = writer or Writer()
        self._paces: dict[str, Pace] = {}
        self._served: dict[str, int] = {}  # messages of each channel whose turn has come
        self._health = {name: ChannelHealth() for name in channels}
        self._troubles: dict[str, int] | None = None  # announced and not over, by channel; read when first needed
        self._died: list[BaseException] = []

    @classmethod
    def of(
        cls, config: CityConfig, outbox: Outbox, clock: Clock, data_dir: Path, writer: Writer | None = None
    ) -> Deliverer:
        """Build the deliverer of a configured city."""
        built = {c.id: CHANNELS[c.kind](c.settings, data_dir) for c in config.channels.values()}
        for channel in built.values():
            channel.people = config.people
        limits = {c.id: c.settings.per_minute for c in config.channels.values()}
        return cls(outbox, built, limits, clock, ways=Ways.of(config), writer=writer)

    @property
    def health(self) -> dict[str, ChannelHealth]:
        """How each channel is doing, by id."""
        return dict(self._health)

    @property
    def channels(self) -> dict[str, Channel]:
        """The channels by id."""
        return dict(self._channels)

    # ── rounds ──────────────────────────────────────────────────────────────────────────────────

    def step(self, now_ms: int) -> int:
        """Send what is due on every channel, one after the other; return how many notices were dealt with."""
        return sum([self.serve(name, now_ms) for name in self._channels])

    def serve(self, name: str, now_ms: int) -> int:
        """Send what is due on one channel; return how many notices were dealt with."""
        self._tell_trouble(name, now_ms)
        pace, health = self._pace(name, now_ms), self._health[name]
        room = 0 if now_ms < health.resting_until_ms else pace.room(now_ms)
        handed = self._hand_over(name, now_ms, has_room=room > 0)
        if not room:
            return handed
        waiting = self._outbox.waiting(now_ms, name, WAITING_MAX)
        if self._channels[name].sends_each and self._part(name, waiting, now_ms):
            waiting = self._outbox.waiting(now_ms, name, WAITING_MAX)
        keys = {one.id: one.idem_key for one in waiting}
        self._health[name] = replace(self._health[name], waiting_by_class=counted(waiting))
        served = self._served.get(name, 0)
        sendings = digest.plan(waiting, room, pace.limit, now_ms, is_probing=health.is_failing, served=served)
        dealt = handed
        for sending in sendings[:BATCH]:
            self._served[name] = self._served.get(name, 0) + 1
            key = sending.key or (digest.key_of([keys[i] for i in sending.ids]) if sending.is_digest else "")
            leased = self._outbox.take(sending.ids, now_ms=now_ms, lease_ms=LEASE_MS, digest=key)
            dealt += len(sending.ids)  # what was overtaken is dealt with too: its successor's turn is now
            if leased and not self._deal(name, leased, now_ms, key):
                break  # the others need not use up their attempts
        return dealt

    def _part(self, name: str, waiting: Sequence[Waiting], now_ms: int) -> int:
        """Give each person of a team a row of his own, before anything is sent; return how many rows were made."""
        channel, made = self._channels[name], 0
        for one in waiting:
            parts = () if one.digest else channel.parts(one.target)
            if len(parts) > 1:
                made += self._outbox.part(one.id, parts, now_ms=now_ms, apart_ms=round(channel.apart_s * 1000))
        return made

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
        until_s = monotonic_s() + JOIN_S
        for thread in threads:
            thread.join(max(0.0, until_s - monotonic_s()))

    def _loop(self, name: str, stop: threading.Event) -> None:
        try:
            while not stop.is_set():
                if not self.serve(name, self._clock.now_ms()):
                    self._clock.wait(stop, IDLE_S)
        except BaseException as error:  # noqa: BLE001 - handed to run(), which raises it where it is seen
            self._died.append(error)

    def _pace(self, name: str, now_ms: int) -> Pace:
        if name not in self._paces:  # what was sent before a restart counts: the provider has not forgotten it
            self._paces[name] = Pace(self._limits[name], self._outbox.sent_since(name, now_ms - WINDOW_MS))
        self._paces[name].limit = self._limits[name]
        return self._paces[name]

    # ── one message ─────────────────────────────────────────────────────────────────────────────

    def _deal(self, name: str, leased: Sequence[LeasedNotice], now_ms: int, key: str) -> bool:
        """Send what is still wanted of one message; False when the channel itself seems to be down."""
        wanted = self._still_wanted(name, leased, now_ms)
        if not wanted:
            return True
        notice = wanted[0].notice
        if key:
            several = [one.notice for one in wanted]
            notice = digest.compose(several, key=key, channel=name, public_url=self._writer.public_url)
        before = self._health[name]
        try:
            code = self._send(name, notice, wanted, now_ms)
        except DeliveryError as error:
            self._failed(name, wanted, error, now_ms)
            return error.permanent
        except Exception as error:  # a channel's own mistake must neither stop the others nor be tried for ever
            if not before.is_failing:
                log.exception("outbox.channel_broken", channel=name)
            broken = DeliveryError(f"bug in the channel: {type(error).__name__}: {error}", permanent=False)
            self._failed(name, wanted, broken, now_ms)
            return True
        self._outbox.delivered(wanted, now_ms=now_ms, provider_code=code[:200])
        if self._channels[name].stops_when_reached:
            for one in wanted:
                self._outbox.end_parts(one, reason=f"{one.notice.target} was reached")
        if before.is_failing:
            log.info("outbox.channel_healed", channel=name, failures=before.in_a_row)
        self._health[name] = before.took(len(wanted), now_ms, is_digest=bool(key))
        self._tell_healed(name, now_ms)
        return True

    def _still_wanted(self, name: str, leased: Sequence[LeasedNotice], now_ms: int) -> list[LeasedNotice]:
        """Part what is sent from what need not be, and send an end after its beginning, where that went."""
        wanted, skipped = [], 0
        standing = self._outbox.standing(leased)
        for one in leased:
            now = standing.get(one.id)
            if now is None or not now.is_mine:
                skipped += 1
                continue
            why = now.unwanted
            is_lone_end = not why and one.notice.kind is NoticeKind.CLEARED and not now.heard_by
            if is_lone_end:
                why = "its target never heard of the alarm"
            if why:
                self._outbox.obsolete(one, reason=why, is_unsent=is_lone_end)
                skipped += 1
            elif self._belongs_elsewhere(one, now.heard_by):
                alone = replace(one, digest="")
                why = f"handed on: the beginning was told by {now.heard_by}"
                self._outbox.hand_over(alone, now.heard_by, now_ms=now_ms, reason=why)
                self._count(name, handed_on=1)
            else:
                wanted.append(one)
        self._count(name, skipped=skipped)
        return wanted

    def _belongs_elsewhere(self, one: LeasedNotice, heard_by: str) -> bool:
        is_end = one.notice.kind is NoticeKind.CLEARED
        is_way = heard_by in self._channels and may_go_by(one.notice, heard_by)
        return is_end and heard_by not in (one.via, *one.path) and is_way

    def _send(self, name: str, notice: Notice, covered: Sequence[LeasedNotice], now_ms: int) -> str:
        channel, pace = self._channels[name], self._pace(name, now_ms)
        letter = self._writer.letter(notice, channel, now_ms)
        import stamina  # noqa: PLC0415 - nobody waits for it at a start

        for attempt in stamina.retry_context(
            on=_may_pass, attempts=QUICK_TRIES, wait_initial=0.2, wait_max=1.0, timeout=20
        ):
            with attempt:
                if attempt.num > 1 and not self._all_wanted(covered):  # it has taken a while; somebody may have acted
                    raise DeliveryError("no longer wanted as it was", permanent=False, provider_code="changed")
                pace.used(now_ms)
                return str(channel.send(letter, now_ms))
        raise DeliveryError("no attempt was made", permanent=False)

    def _all_wanted(self, leased: Sequence[LeasedNotice]) -> bool:
        standing = self._outbox.standing(leased)
        return all(one.id in standing and standing[one.id].is_wanted for one in leased)

    def _failed(self, name: str, leased: Sequence[LeasedNotice], error: DeliveryError, now_ms: int) -> None:
        why, code = str(error)[:500], error.provider_code[:200]
        level = min(one.notice.level for one in leased)
        tries = max(one.tries for one in leased)
        # A provider that asks to be left alone says when to come back: short, equal waits, and more of them.
        is_last = error.permanent or tries >= ATTEMPTS_MAX[level is Priority.P1 or error.wait_s > 0]
        if error.is_of_target:
            log.warning("outbox.target_not_reached", channel=name, target=leased[0].notice.target, why=why)
        elif not self._health[name].is_failing:
            log.warning("outbox.channel_failing", channel=name, why=why, permanent=error.permanent)
        if not error.is_of_target:
            self._health[name] = self._health[name].missed(error, now_ms)
        if error.permanent and self._channels[name].apart_s and self._outbox.next_part(leased[0], now_ms=now_ms):
            self._outbox.failed(leased[0], error=why, provider_code=code, may_be_taken=error.may_be_taken)
            self._count(name, failed=1)
            return  # the next person's turn has come; another channel only after the last one
        other = self._next(name, leased[0]) if is_last else ""
        if other:
            for one in leased if not leased[0].digest else leased[:1]:
                said = f"{name}: {why}"[:500]
                self._outbox.hand_over(one, other, now_ms=now_ms, reason=said, may_be_taken=error.may_be_taken)
            self._count(name, handed_on=len(leased))
            return
        for one in leased:
            if error.permanent:
                self._outbox.failed(one, error=why, provider_code=code, may_be_taken=error.may_be_taken)
            elif is_last:
                said = f"given up after {tries} attempts: {why}"
                self._outbox.give_up(one, error=said, provider_code=code, may_be_taken=error.may_be_taken)
            else:
                next_at_ms = now_ms + (round(error.wait_s * 1000) or wait_ms(tries, level))
                self._outbox.retry(
                    one, next_at_ms=next_at_ms, error=why, provider_code=code, may_be_taken=error.may_be_taken
                )
        self._count(name, failed=len(leased) if is_last else 0, retried=0 if is_last else len(leased))

    def _count(self, name: str, **more: int) -> None:
        old = self._health[name]
        self._health[name] = replace(old, **{key: getattr(old, key) + n for key, n in more.items()})

    # ── another channel ─────────────────────────────────────────────────────────────────────────

    def _hand_over(self, name: str, now_ms: int, *, has_room: bool) -> int:
        """Hand what has waited too long for this channel to the next one; return how many notices went."""
        is_failing = self._health[name].is_failing
        if not is_failing and has_room:
            return 0
        # Without room only what never goes into a digest has to look for another way.
        waits = HAND_OVER_MS if is_failing else {Priority.P1: HAND_OVER_MS[Priority.P1]}
        handed = 0
        for one in self._outbox.overdue(name, now_ms, waits, HANDED_MAX):
            other = self._next(name, one)
            if other:
                why = f"{name}: {self._health[name].last_error or 'no room in this minute'}"[:500]
                handed += self._outbox.hand_over(one, other, now_ms=now_ms, reason=why)
        self._count(name, handed_on=handed)
        return handed

    def _next(self, name: str, one: LeasedNotice) -> str:
        notice = one.notice

        def suits(other: str) -> bool:
            if not may_go_by(notice, other):  # a drill never leaves its own channels
                return False
            return self._works(other) and self._reaches(other, notice.target) and not self._tells(other, notice)

        return self._ways.next_for(notice.channel, notice.target, (*one.path, name), suits)

    def _works(self, other: str) -> bool:
        return other in self._channels and not self._health[other].is_failing

    def _reaches(self, other: str, target: str) -> bool:
        return self._channels[other].can_reach(target)

    def _tells(self, other: str, notice: Notice) -> bool:
        return self._outbox.is_told_by(notice, other, each=self._channels[other].sends_each)

    # ── the channel itself as news ──────────────────────────────────────────────────────────────

    def _known_troubles(self) -> dict[str, int]:
        if self._troubles is None:
            self._troubles = self._outbox.open_troubles()
        return self._troubles

    def _tell_trouble(self, name: str, now_ms: int) -> None:
        """Tell the desk by another channel that this one has been failing for TROUBLE_MS."""
        health = self._health[name]
        since_ms = health.failing_since_ms
        if since_ms is None or now_ms - since_ms < TROUBLE_MS or name in self._known_troubles():
            return
        ways = self._ways.desks_without(name, self._works)
        if not ways:
            return  # nobody can be told just now; the page and the metrics still say it
        waiting = len(self._outbox.waiting(now_ms + LEASE_MS, name, WAITING_MAX))
        self._outbox.put(
            [
                trouble_notice(
                    name, way, since_ms=since_ms, now_ms=now_ms, error=health.last_error, waiting=waiting, is_over=False
                )
                for way in ways
            ]
        )
        self._known_troubles()[name] = now_ms
        log.error("outbox.channel_down", channel=name, since_ms=since_ms, why=health.last_error)

    def _tell_healed(self, name: str, now_ms: int) -> None:
        since_ms = self._known_troubles().pop(name, None)
        if since_ms is None:
            return
        told = self._outbox.told_of(f"channel:{name}", since_ms=since_ms)
        self._outbox.put(
            [
                trouble_notice(name, way, since_ms=since_ms, now_ms=now_ms, error="", waiting=0, is_over=True)
                for way in told
            ]
        )


__all__ = ["ATTEMPTS_MAX", "LEASE_MS", "WAIT_FIRST_MS", "ChannelHealth", "Deliverer", "wait_ms"]
