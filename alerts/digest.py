"""Several notices in one message: which go alone, which together, and what the one message says. All pure.

Promises: a red notice and one about gas always goes alone and first; every notice that one message covers is named or
counted in it; the same rows under the same key give the same message, however often it is tried.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from citypulse.model import Notice, NoticeKind, Priority, Text

from .texts import EXERCISE_MARK, EXERCISE_WORDS

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


class Candidate(Protocol):
    """What is known of a waiting notice when it is decided how it goes."""

    @property
    def id(self) -> int:
        """Its number."""
        ...

    @property
    def level(self) -> Priority:
        """How serious it is."""
        ...

    @property
    def target(self) -> str:
        """Whom it is for."""
        ...

    @property
    def created_ms(self) -> int:
        """Since when it waits."""
        ...

    @property
    def may_wait(self) -> bool:
        """Whether it may be collected."""
        ...

    @property
    def digest(self) -> str:
        """Key of the message that has already been tried with it, or ""."""
        ...

    @property
    def domain(self) -> str:
        """The domain of what it is about, or ""."""
        ...

    @property
    def drill(self) -> str:
        """Of a drill's notice the channels it may go by, as text; "" when it is real."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """One message to be sent: the notices it covers, and its key when it is a digest that was tried before."""

    ids: tuple[int, ...]
    is_digest: bool = False
    key: str = ""


def is_urgent(one: Candidate) -> bool:
    """Say whether it goes alone whatever happens: red, or about gas, and real: a drill takes no room from those."""
    return not one.drill and (one.level is Priority.P1 or one.domain == "gas")


def plan(waiting: Sequence[Candidate], room: int, limit: int, now_ms: int, *, is_probing: bool) -> list[Sending]:
    """Choose at most `room` messages out of what waits, most serious first.

    `limit` is what the channel takes in a minute. While a channel is being probed (it failed last time) nothing new is
    put together: one notice, or one message that was tried before, shows whether it works again.
    """
    if room <= 0:
        return []
    tried: dict[str, list[Candidate]] = {}
    for one in waiting:
        if one.digest:
            tried.setdefault(one.digest, []).append(one)
    urgent = [Sending(ids=(one.id,)) for one in waiting if not one.digest and is_urgent(one)]
    again = [Sending(ids=tuple(c.id for c in rows), is_digest=True, key=key) for key, rows in tried.items()]
    rest = [one for one in waiting if not one.digest and not is_urgent(one)]
    if is_probing:
        return [*urgent, *again, *(Sending(ids=(one.id,)) for one in rest)][:1]
    chosen = [*urgent, *again][:room]
    # Urgent ones may use the last of it; the others leave a part, so that a red one never waits for blue ones.
    room = min(room - len(chosen), room - limit // RESERVE)
    if room <= 0:
        return chosen
    by_target: dict[tuple[str, str], list[Candidate]] = {}  # what is real and what is a drill's never share a message
    for one in rest:
        by_target.setdefault((one.target, one.drill), []).append(one)
    due = {
        target: any(not one.may_wait or now_ms - one.created_ms >= HELD_MS for one in rows)
        for target, rows in by_target.items()
    }
    single = sum(not one.may_wait for one in rest)
    collected: list[Sending] = []
    for target, rows in by_target.items():
        if not due[target]:
            continue
        together = rows if single > room else [one for one in rows if one.may_wait]
        if any(now_ms - one.created_ms >= HELD_MS or not one.may_wait for one in together):
            collected.append(Sending(ids=tuple(one.id for one in together), is_digest=len(together) > 1))
        else:
            together = []
        covered = {one.id for one in together}
        collected += [Sending(ids=(one.id,)) for one in rows if not one.may_wait and one.id not in covered]
    order = {one.id: number for number, one in enumerate(rest)}
    collected.sort(key=lambda s: min(order[i] for i in s.ids))
    return chosen + collected[:room]


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
