"""Who is woken when nobody acknowledges: the waits by level, and whom each reminder goes to.

The state is two fields of the alarm, so a restart neither forgets a reminder nor repeats one. A reminder is due by wall
time; it is not sent once the alarm is acknowledged, hidden or over.
"""

from __future__ import annotations

from typing import Final

from citypulse.model import Alarm, Priority

from .lifecycle import letter

WAITS_S: Final[dict[Priority, tuple[int, ...]]] = {
    # Seconds since the alarm asked for attention. Proposal: the first before T1 of a red order has passed twice
    # (domain.md 2.5), the last after two hours; then the lamps of its order go on.
    Priority.P1: (120, 300, 600, 1_200, 1_800, 3_600, 7_200),
    Priority.P2: (300, 900, 1_800, 3_600, 7_200),
    Priority.P3: (3_600,),
    Priority.P4: (),  # blue is read on the board
}
WIDER_FROM: Final = 2  # from this reminder (counted from 0) every duty desk hears it, whatever its domain and area


def next_call_ms(alarm: Alarm) -> int | None:
    """Return when the next reminder is due, epoch ms; None when none is."""
    waits = WAITS_S[alarm.level]
    if letter(alarm) != "B" or not alarm.called_ms or alarm.reminded >= len(waits):
        return None
    return alarm.called_ms + waits[alarm.reminded] * 1000


def steps_passed(alarm: Alarm, now_ms: int) -> int:
    """Return how many reminders are due in all by `now_ms`; after an outage several may have been missed."""
    return sum(alarm.called_ms + wait * 1000 <= now_ms for wait in WAITS_S[alarm.level])
