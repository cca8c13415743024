"""Every state of an alarm and every step between them: a table, and what consults it (orders: order_table.py).

Nothing else changes a state. The same rows refuse a step, fill the buttons of a page, draw the diagrams of
docs/reference/lifecycle.md and feed the exhaustive tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from citypulse.model import Alarm, AlarmPlan, AlarmQuality, AlarmTerms, Condition, Mute, Priority, Text

from .revise import revised

# ── alarms: orthogonal regions, the ISA-18.2 letter derived from them (alarms.md 8) ──────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Regions:
    """The regions of one alarm occurrence; each may change without the others."""

    condition: Condition = Condition.NORMAL
    is_acked: bool = True
    is_confirmed: bool = True  # OPC UA: False from the acknowledgement until the order has proven the repair
    is_shelved: bool = False
    is_suppressed: bool = False
    is_out_of_service: bool = False
    quality: AlarmQuality = AlarmQuality.GOOD
    is_chattering: bool = False  # it comes and goes: told once, until it has kept quiet

    @property
    def is_in_alarm(self) -> bool:
        """True while the condition holds or is held by a latch."""
        return self.condition is not Condition.NORMAL

    @property
    def overlays(self) -> int:
        """How many of shelved, suppressed and out of service hide it."""
        return self.is_shelved + self.is_suppressed + self.is_out_of_service


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmRow:
    """One step: on `event`, if every fact in `given` holds, the regions in `sets` change. First fit wins."""

    event: str
    given: tuple[tuple[str, Any], ...] = ()
    sets: tuple[tuple[str, Any], ...] = ()


def _row(event: str, given: dict[str, Any] | None = None, **sets: Any) -> AlarmRow:
    return AlarmRow(event=event, given=tuple((given or {}).items()), sets=tuple(sets.items()))


def _leaves(event: str, region: str) -> tuple[AlarmRow, ...]:
    """An overlay ends: the last to go re-announces what is active and settles what is not (ISA-18.2, EFG → B, A)."""
    return (
        _row(event, {region: True, "overlays": 1, "is_in_alarm": True}, **{region: False}, is_acked=False),
        _row(event, {region: True, "overlays": 1}, **{region: False}, is_acked=True),
        _row(event, {region: True}, **{region: False}),
    )


ALARM_ROWS: Final = (
    _row("raise", condition=Condition.ACTIVE, is_acked=False, is_confirmed=True),
    _row("worsen", {"condition": Condition.ACTIVE}, is_acked=False, is_confirmed=True),
    _row("ease", {"condition": Condition.ACTIVE}),
    _row(
        "clear",
        {"condition": Condition.ACTIVE, "latches": True},
        condition=Condition.LATCHED,
        quality=AlarmQuality.GOOD,
    ),
    _row("clear", {"condition": Condition.ACTIVE}, condition=Condition.NORMAL, quality=AlarmQuality.GOOD),
    _row("withdraw", condition=Condition.NORMAL, quality=AlarmQuality.GOOD),  # its rule is gone
    _row("comment"),
    _row("reset", {"condition": Condition.LATCHED, "is_acked": True, "overlays": 0}, condition=Condition.NORMAL),
    # An acknowledged alarm with an open order stays on the board until the repair is proven.
    _row("acknowledge", {"is_acked": False, "overlays": 0, "has_order": True}, is_acked=True, is_confirmed=False),
    _row("acknowledge", {"is_acked": False, "overlays": 0}, is_acked=True),
    _row("unacknowledge", {"is_acked": True, "overlays": 0}, is_acked=False, is_confirmed=True),
    _row("attach", {"is_acked": True}, is_confirmed=False),
    _row("attach"),
    _row("confirm", is_confirmed=True),
    # Putting aside withdraws the acknowledgement: the alarm stays retained until it comes back and is seen.
    _row("shelve", {"is_shelved": False, "is_in_alarm": True}, is_shelved=True, is_acked=False),
    *_leaves("unshelve", "is_shelved"),
    _row("suppress", {"is_suppressed": False}, is_suppressed=True),
    *_leaves("release", "is_suppressed"),
    _row("out_of_service", {"is_out_of_service": False}, is_out_of_service=True, is_acked=False),
    *_leaves("in_service", "is_out_of_service"),
    # Chatter: the turns of what comes and goes are recorded, told once, and what they end in is told for certain.
    _row("chatter", {"condition": Condition.ACTIVE, "is_chattering": False}, is_chattering=True),
    _row("again", {"is_chattering": True}, condition=Condition.ACTIVE),  # an acknowledgement holds meanwhile
    _row("flutter", {"is_chattering": True, "condition": Condition.ACTIVE}),  # to a level that has been told
    _row("settle", {"is_chattering": True}, is_chattering=False),
    # Acknowledged and still there after a long time: it asks again (OPC UA's ReAlarmTime).
    _row(
        "realarm",
        {"condition": Condition.ACTIVE, "is_acked": True, "overlays": 0, "is_chattering": False},
        is_acked=False,
        is_confirmed=True,
    ),
    _row("lose_sight", quality=AlarmQuality.STALE),
    _row("see_again", {"quality": AlarmQuality.STALE}, quality=AlarmQuality.GOOD),
    # A newer occurrence of the same key carries on; two rows for one fact would be noise.
    _row(
        "supersede",
        condition=Condition.NORMAL,
        is_acked=True,
        is_confirmed=True,
        is_shelved=False,
        is_suppressed=False,
        is_out_of_service=False,
        is_chattering=False,
    ),
)
ALARM_EVENTS: Final = tuple(dict.fromkeys(row.event for row in ALARM_ROWS))
_ROWS_OF: Final = {event: tuple(row for row in ALARM_ROWS if row.event == event) for event in ALARM_EVENTS}


def step_alarm(regions: Regions, event: str, *, latches: bool = False, has_order: bool = False) -> Regions | None:
    """Return the regions after `event`, or None where the table has no step."""
    facts = {"latches": latches, "has_order": has_order}
    for row in _ROWS_OF.get(event, ()):
        if all((facts[name] if name in facts else getattr(regions, name)) == value for name, value in row.given):
            return revised(regions, dict(row.sets))
    return None


def regions_of(alarm: Alarm) -> Regions:
    """Return the regions of an alarm."""
    return Regions(
        condition=alarm.condition,
        is_acked=alarm.is_acked,
        is_confirmed=alarm.is_confirmed,
        is_shelved=alarm.shelved_until_ms is not None,
        is_suppressed=bool(alarm.suppressed_by),
        is_out_of_service=alarm.is_out_of_service,
        quality=alarm.quality,
        is_chattering=alarm.is_chattering,
    )


def letter(of: Alarm | Regions) -> str:
    """Return the ISA-18.2 state: G > F > E > {B unacked, C acked, D returned unacked, A normal}."""
    if isinstance(of, Alarm):  # read off the alarm itself: a storm asks this tens of thousands of times
        is_suppressed, is_shelved = bool(of.suppressed_by), of.shelved_until_ms is not None
    else:
        is_suppressed, is_shelved = of.is_suppressed, of.is_shelved
    if of.is_out_of_service:
        return "G"
    if is_suppressed:
        return "F"
    if is_shelved:
        return "E"
    if of.condition is not Condition.NORMAL:
        return "C" if of.is_acked else "B"
    return "A" if of.is_acked else "D"


LETTERS: Final = {
    "A": Text(zh="正常", en="normal"),
    "B": Text(zh="未确认", en="unacknowledged"),
    "C": Text(zh="已确认", en="acknowledged"),
    "D": Text(zh="已恢复未确认", en="returned, unacknowledged"),
    "E": Text(zh="搁置", en="shelved"),
    "F": Text(zh="抑制", en="suppressed"),
    "G": Text(zh="停用", en="out of service"),
}


def is_retained(of: Alarm | Regions) -> bool:
    """True while somebody still has to do something about it: OPC UA's Retain; the ledger loads exactly these."""
    return of.condition is not Condition.NORMAL or not of.is_acked or not of.is_confirmed or of.is_chattering


def mute_state(mute: Mute) -> str:
    """Return waiting, open or over: what the record writes as a mute's state."""
    return "over" if mute.is_over else "waiting" if mute.open_until_ms is None else "open"


# ── what people may do to an alarm ──────────────────────────────────────────────────────────────

OFFICERS: Final = ("duty", "lead", "dispatcher", "supervisor", "boss")
KEEPERS: Final = ("duty", "lead", "boss", "engineer", "admin")
EVERYONE: Final = ("duty", "lead", "dispatcher", "unit", "crew", "checker", "supervisor", "boss", "engineer", "admin")


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmVerb:
    """One thing people may ask: who may, what they must say, and which letters accept it."""

    verb: str
    name: Text
    roles: tuple[str, ...]
    letters: str  # ISA letters in which the verb makes sense
    needs: tuple[str, ...] = ()
    done: str = ""  # the kind of the event it leaves


def _verb(verb: str, zh: str, en: str, roles: tuple[str, ...], letters: str, done: str, *needs: str) -> AlarmVerb:
    return AlarmVerb(verb=verb, name=Text(zh=zh, en=en), roles=roles, letters=letters, needs=needs, done=done)


ALARM_VERBS: Final = {
    v.verb: v
    for v in (
        _verb("acknowledge", "确认", "acknowledge", OFFICERS, "BD", "acknowledged"),
        _verb("unacknowledge", "撤销确认", "undo acknowledge", OFFICERS, "CA", "unacknowledged"),
        _verb("reset", "复位", "reset the latch", OFFICERS, "C", "reset", "reason"),
        _verb("shelve", "搁置", "shelve", OFFICERS, "BC", "shelved", "reason", "until_ms"),
        _verb("unshelve", "取消搁置", "unshelve", OFFICERS, "E", "unshelved"),
        _verb("out_of_service", "停用", "take out of service", KEEPERS, "ABCDEF", "out_of_service", "reason"),
        _verb("in_service", "启用", "put back in service", KEEPERS, "G", "in_service"),
        _verb("comment", "备注", "comment", EVERYONE, "ABCDEFG", "commented", "note"),
    )
}

_BUILT_IN: Final = AlarmPlan()


def alarm_verbs(alarm: Alarm, role: str = "", terms: AlarmTerms | None = None) -> tuple[str, ...]:
    """Return the verbs this alarm accepts now, of one role or of anybody; none once it needs nobody any more.

    `terms`: what the configuration says of it; without them what is built in holds.
    """
    if not is_retained(alarm) and not alarm.is_point:
        return ()
    at = letter(alarm)
    if alarm.is_point and at == "A":  # a point at rest
        return ("out_of_service",) if not role or role in KEEPERS else ()
    said = _BUILT_IN.terms("", alarm.domain, alarm.level) if terms is None else terms
    fits = {
        "reset": alarm.condition is Condition.LATCHED,
        "shelve": said.shelf_s > 0 and (not role or role in said.shelf_roles),
        "out_of_service": alarm.domain != "gas" or alarm.level is not Priority.P1,
    }
    return tuple(
        v.verb
        for v in ALARM_VERBS.values()
        if at in v.letters and (not role or role in v.roles) and fits.get(v.verb, True)
    )
