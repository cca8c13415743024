"""Several notices in one message: which go alone, which together, and what the one message says. All pure.

Promises: a red notice and one about gas always goes alone, and before the others (turns.py); every notice that one
message covers is named or counted in it; the same rows under the same key give the same message, however often tried.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from alerts.texts import EXERCISE_MARK, EXERCISE_WORDS
from citypulse.model import Notice, NoticeKind, Text

from .turns import Candidate, is_late, is_late_turn, is_urgent, turn_of

LINES_MAX: Final = 8  # of the covered notices that are named; the rest is counted
TITLE_CHARS_MAX: Final = 120
GROUPS_MAX: Final = 3
HELD_MS: Final = 60_000  # what may wait is collected this long, so that a storm is one message a minute
RESERVE: Final = 6  # one part in this many of a channel's room is kept for what must not wait

KIND_NAMES: Final = {
    NoticeKind.RAISED: Text(zh="新告警", en="new"),
    NoticeKind.WORSENED: Text(zh="升级", en="worse"),
    NoticeKind.CLEARED: Text(zh="恢复", en="back to normal"),
    NoticeKind.ORDER: Text(zh="工单", en="orders"),
    NoticeKind.REMINDER: Text(zh="催办", en="reminders"),
    NoticeKind.DIGEST: Text(zh="汇总", en="digests"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """One message to be sent: the notices it covers, and its key when it is a digest that was tried before."""

    ids: tuple[int, ...]
    is_digest: bool = False
    key: str = ""


def plan(
    waiting: Sequence[Candidate], room: int, limit: int, now_ms: int, *, is_probing: bool, served: int = 0
) -> list[Sending]:
    """Choose at most `room` messages out of what waits, in the order of alerts.delivery.turns.

    `limit` is what the channel takes in a minute, `served` how many messages it has had: one in a few goes to what has
    waited longest. While a channel is being probed (it failed last time) nothing new is put together: one notice, or
    one message that was tried before, shows whether it works again.
    """
    if room <= 0:
        return []
    tried: dict[str, list[Candidate]] = {}
    for one in waiting:
        if one.digest:
            tried.setdefault(one.digest, []).append(one)
    first = sorted((one for one in waiting if not one.digest and is_urgent(one)), key=turn_of)
    urgent = [Sending(ids=(one.id,)) for one in first]
    again = [Sending(ids=tuple(c.id for c in rows), is_digest=True, key=key) for key, rows in tried.items()]
    rest = [one for one in waiting if not one.digest and not is_urgent(one)]
    if is_probing:
        return [*urgent, *again, *(Sending(ids=(one.id,)) for one in rest)][:1]
    by_target: dict[tuple[str, str], list[Candidate]] = {}  # what is real and what is a drill's never share a message
    for one in rest:
        by_target.setdefault((one.target, one.drill), []).append(one)
    usual = [*urgent, *again]
    is_short = min(room - len(usual), room - limit // RESERVE) <= 0  # else everything has its turn soon
    late = _late(waiting, usual, by_target.values(), now_ms) if is_short else []
    chosen = _in_turn(usual, late, room, served)
    gone = {i for sending in chosen for i in sending.ids}
    if gone:
        rest = [one for one in rest if one.id not in gone]
        by_target = {key: left for key, rows in by_target.items() if (left := [o for o in rows if o.id not in gone])}
    # Urgent ones may use the last of it; the others leave a part, so that a red one never waits for blue ones.
    room = min(room - len(chosen), room - limit // RESERVE)
    return chosen + _collected(rest, by_target, room, now_ms)[:room] if room > 0 else chosen


def _late(
    waiting: Sequence[Candidate], usual: Sequence[Sending], rest: Iterable[Sequence[Candidate]], now_ms: int
) -> list[Sending]:
    """Return the messages that have waited too long, oldest first: all that waits for one target is one of them."""
    since = {one.id: one.created_ms for one in waiting}
    together = [Sending(ids=tuple(one.id for one in rows), is_digest=len(rows) > 1) for rows in rest]
    oldest = sorted((min(since[i] for i in s.ids), s.ids, s) for s in (*usual, *together))
    return [sending for created_ms, _, sending in oldest if is_late(created_ms, now_ms)]


def _in_turn(usual: Sequence[Sending], late: Sequence[Sending], room: int, served: int) -> list[Sending]:
    """Return at most `room` messages: the usual ones in order, and at its turn the one that has waited longest."""
    chosen: list[Sending] = []
    gone: set[tuple[int, ...]] = set()
    usually, lately = iter(usual), iter(late)
    while len(chosen) < room:
        one = None
        if is_late_turn(served + len(chosen)):
            one = next((s for s in lately if s.ids not in gone), None)
        one = one or next((s for s in usually if s.ids not in gone), None)
        if one is None:
            break
        gone.add(one.ids)
        chosen.append(one)
    return chosen


def _collected(
    rest: Sequence[Candidate], by_target: Mapping[tuple[str, str], Sequence[Candidate]], room: int, now_ms: int
) -> list[Sending]:
    """Return the messages for what is not urgent: what may wait together, all together when there is no room for it."""
    single = sum(not one.may_wait for one in rest)
    collected: list[Sending] = []
    for rows in by_target.values():
        if not any(not one.may_wait or now_ms - one.created_ms >= HELD_MS for one in rows):
            continue
        together = rows if single > room else [one for one in rows if one.may_wait]
        if any(now_ms - one.created_ms >= HELD_MS or not one.may_wait for one in together):
            collected.append(Sending(ids=tuple(one.id for one in together), is_digest=len(together) > 1))
        else:
            together = []
        covered = {one.id for one in together}
        collected += [Sending(ids=(one.id,)) for one in rows if not one.may_wait and one.id not in covered]
    order = {one.id: number for number, one in enumerate(rest)}
    return sorted(collected, key=lambda s: min(order[i] for i in s.ids))


def key_of(idem_keys: Iterable[str]) -> str:
    """Return the key of the one message that covers the notices of these keys: sha256 over them."""
    return hashlib.sha256(("digest|" + "|".join(sorted(idem_keys))).encode()).hexdigest()


def compose(notices: Sequence[Notice], *, key: str, channel: str, public_url: str = "") -> Notice:
    """Return the one message that covers `notices` (at least one, all to one target), worst first."""
    listed = sorted(notices, key=lambda n: (n.level, n.created_ms, n.idem_key))
    worst, count = listed[0].level, len(listed)
    levels = Counter(n.level for n in listed)
    kinds = Counter(n.kind for n in listed)
    groups = Counter(n.group for n in listed if n.group)
    colours_zh = " ".join(f"{level.colour_zh}{n}" for level, n in sorted(levels.items()))
    colours_en = ", ".join(f"{n} {level.colour}" for level, n in sorted(levels.items()))
    title = f"【汇总】{count} 条通知: {colours_zh} · digest of {count} notices: {colours_en}"
    lines = [
        "、".join(f"{KIND_NAMES[k].zh} {n}" for k, n in kinds.most_common())
        + " · "
        + ", ".join(f"{KIND_NAMES[k].en} {n}" for k, n in kinds.most_common())
    ]
    if groups:
        lines.append("集中于 mostly " + ", ".join(f"{name} ({n})" for name, n in groups.most_common(GROUPS_MAX)))
    lines += [f"- {_cut(n.title)}" for n in listed[:LINES_MAX]]
    if count > LINES_MAX:
        lines.append(f"另有 {count - LINES_MAX} 条 · and {count - LINES_MAX} more")
    if public_url:
        lines.append(f"{public_url}/")
    first = listed[0]
    if first.is_exercise:
        title, lines = EXERCISE_MARK + title, [EXERCISE_WORDS, *lines]
    return Notice(
        is_exercise=first.is_exercise,
        only_by=first.only_by,
        idem_key=key,
        subject=f"digest:{key[:12]}",
        subject_kind="digest",
        rev=0,
        kind=NoticeKind.DIGEST,
        step=0,
        channel=channel,
        target=first.target,
        level=worst,
        title=title,
        body="\n".join(lines),
        reason=f"汇总发送: 通道限速或可以等候 · collected: the channel's rate, or they may wait ({count})",
        created_ms=min(n.created_ms for n in listed),
        not_before_ms=min(n.not_before_ms for n in listed),
    )


def _cut(title: str) -> str:
    flat = " ".join(title.split())
    return flat if len(flat) <= TITLE_CHARS_MAX else flat[: TITLE_CHARS_MAX - 1] + "…"
