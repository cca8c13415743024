"""When a channel does not deliver: how long a notice waits for it, and which channel takes over. Pure.

The order is declared: first the channel's own `fail_over_to`, then the other channels by which routes reach the same
target, in the order of the file. A channel on which the same news is told to the same target anyway is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from alerts.pen import idem_key
from citypulse.model import CityConfig, Notice, NoticeKind, Priority, Text, split_target

# How long a notice waits for a channel that fails or has no room before another takes over. Proposal: a red one well
# inside the first minute, a blue one when its channel has had time for its first six tries.
HAND_OVER_MS: Final[dict[Priority, int]] = {
    Priority.P1: 10_000,
    Priority.P2: 30_000,
    Priority.P3: 120_000,
    Priority.P4: 600_000,
}
TROUBLE_MS: Final = 300_000  # a channel that has failed for this long is itself news for the desk
NOTHING: Final[Mapping[str, tuple[str, ...]]] = {}


class Ways:
    """The channels by which each target can be reached, in order."""

    def __init__(
        self, after: Mapping[str, tuple[str, ...]] = NOTHING, targets: Mapping[str, tuple[str, ...]] = NOTHING
    ) -> None:
        """`after`: by channel, those that take over from it · `targets`: by target, the channels that reach it."""
        self._after = dict(after)
        self._targets = dict(targets)
        self._desks: tuple[str, ...] = ()

    @classmethod
    def of(cls, config: CityConfig) -> Ways:
        """Read the order out of a configuration."""
        targets: dict[str, dict[str, None]] = {}
        for route in config.routes:
            targets.setdefault(route.to, {})[route.channel] = None
        after = {c.id: tuple(getattr(c.settings, "fail_over_to", ())) for c in config.channels.values()}
        made = cls(after, {target: tuple(names) for target, names in targets.items()})
        made._desks = tuple(t.id for t in config.teams.values() if t.kind == "duty" and t.id in targets)
        return made

    def next_for(self, channel: str, target: str, path: tuple[str, ...], suits: Callable[[str], bool]) -> str:
        """Return the channel that takes over from the last of `path`, or "" when there is none left.

        channel: the notice's own · path: every channel that has had it · suits: whether another could send it now.
        """
        order: dict[str, None] = {}
        for name in (channel, *path):
            order |= dict.fromkeys(self._after.get(name, ()))
        order |= dict.fromkeys(self._targets.get(split_target(target)[0], ()))
        had = {channel, *path}
        return next((name for name in order if name not in had and suits(name)), "")

    def desks_without(self, channel: str, suits: Callable[[str], bool]) -> list[tuple[str, str]]:
        """Return (other channel, desk) for every duty desk, so that it hears of a failing channel by another one."""
        found = []
        for desk in self._desks:
            others = (*self._targets[desk], *self._after.get(channel, ()))
            name = next((o for o in others if o != channel and suits(o)), "")
            if name:
                found.append((name, desk))
        return found


def trouble_notice(
    channel: str, way: tuple[str, str], *, since_ms: int, now_ms: int, error: str, waiting: int, is_over: bool
) -> Notice:
    """Return the notice that tells a desk, by another channel, that `channel` fails or works again."""
    kind = NoticeKind.CLEARED if is_over else NoticeKind.RAISED
    minutes = max(1, (now_ms - since_ms) // 60_000)
    head = (
        Text(zh=f"通道 {channel} 已恢复", en=f"channel {channel} works again")
        if is_over
        else Text(
            zh=f"通道 {channel} 已 {minutes} 分钟发不出通知", en=f"channel {channel} has failed for {minutes} min"
        )
    )
    lines = [f"{head.zh} · {head.en}"]
    if not is_over:
        lines.append(f"原因 because: {error[:300]}")
        lines.append(f"等待 waiting: {waiting} · citypulse notices --channel {channel} --state pending")
    subject = f"channel:{channel}"
    return Notice(
        idem_key=idem_key(subject, since_ms, kind, *way, 0),
        subject=subject,
        subject_kind="channel",
        rev=0,
        kind=kind,
        step=0,
        channel=way[0],
        target=way[1],
        level=Priority.P2,
        title=f"【自检】{head.zh} · self-check: {head.en}",
        body="\n".join(lines),
        reason=f"channel {channel} has not delivered since {since_ms}",
        created_ms=now_ms,
        not_before_ms=now_ms,
    )


def may_go_by(notice: Notice, channel: str) -> bool:
    """Say whether a notice may go out by a channel: one of a drill only by the drill's own, even when those fail."""
    if notice.is_exercise:
        return channel in notice.only_by
    return not notice.only_by or channel in notice.only_by


def is_reachable(channel: Any, target: str) -> bool:
    """Say whether a channel can reach a target: one that calls persons may know no number."""
    return bool(channel.can_reach(target))
