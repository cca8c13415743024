"""What people ask of orders beside their steps: report by hand, add a remark, see or erase a citizen's contact.

A contact is never in a view, a notice or the record. Who needs it asks for it with a reason, and that is on record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from alerts.guards import missing
from alerts.lifecycle import EVERYONE
from alerts.pen import Pen
from alerts.state import REOPEN_WITHIN_S
from citypulse.contacts import contacts_of, scrubbed, without_contacts
from citypulse.model import SYSTEM, Actor, Answer, CityConfig, Command, WorkOrder

from .births import Birth
from .caseload import Caseload
from .intake import IntakeError, Report, read
from .table import ENDS, order_verbs

FURTHER_MAX: Final = 50  # further reports of one trouble whose senders are kept with its order; the record has them all
SEES_CONTACTS: Final = ("duty", "lead", "dispatcher", "checker", "supervisor")
"""Who calls citizens back: the desk, who checks, and who looks into complaints. A crew sees those of its own orders."""
FIXERS: Final = ("crew", "unit")
NO_CONTACT: Final = "没有联系方式或已删除 it has no contact, or the contact has been erased"
OF_THE_PAST: Final = ("contact", "forget")
ERASES_CONTACTS: Final = ("lead", "supervisor", "boss", "admin")


def may_see(order: WorkOrder, actor: Actor) -> str:
    """Return why somebody may not see an order's contacts; "" when they may."""
    if actor.role in SEES_CONTACTS:
        return ""
    if actor.role not in FIXERS:
        who = ", ".join((*SEES_CONTACTS, *FIXERS))
        return f"无权查看联系方式 role {actor.role} may not see a citizen's contact; {who} may"
    if order.state in ENDS:
        return "工单已结束 it has ended: a crew sees the contact only while it works on the order"
    if not order.team or (actor.unit and actor.unit not in {order.unit, order.team}):
        whose = order.unit or order.team or "nobody yet"
        return f"属他单位 it belongs to {whose}; a crew sees the contacts of its own orders"
    return ""


class FrontDesk:
    """Takes what is asked, over the orders at hand."""

    def __init__(
        self,
        config: CityConfig,
        cases: Caseload,
        keep: Callable[[WorkOrder], WorkOrder],
        open_order: Callable[[Pen, Actor, str, Birth, dict[str, Any]], str],
        past_order: Callable[[str], WorkOrder | None] = lambda _number: None,
    ) -> None:
        """`keep` puts a new version of an order at hand, `open_order` makes one, `past_order` finds one that ended."""
        self._past_order = past_order
        self._config = config
        self._cases = cases
        self._keep = keep
        self._open = open_order
        self.asked: Final[Mapping[str, Callable[[Pen, Command, WorkOrder], Answer]]] = {
            "comment": self.comment,
            "contact": self.contact,
            "forget": self.forget,
        }

    def past(self, pen: Pen, number: str, verb: str) -> WorkOrder | None:
        """Return an order that is no longer at hand, for what may still be asked of it: its citizen's contact."""
        if verb not in OF_THE_PAST or not number:
            return None
        found = pen.effects.orders.get(number) or self._past_order(number)
        return found if found is not None and found.state in ENDS else None

    def _noted(self, order: WorkOrder) -> None:
        if order.id in self._cases.orders:  # one of the past stays there: nothing can reopen it
            self._keep(order)

    def new(self, pen: Pen, command: Command) -> Answer:
        """Take a report by hand: a new order, or one more voice for the order that is open for the same trouble."""
        try:
            report = read(command, self._config.sites, self._config.teams, self._config.templates)
        except IntakeError as error:
            return refused(command, error.code, str(error))
        birth, kind = report.birth, report.birth.kind
        twin = self._cases.open_for(report.trouble)
        if twin is not None:
            self._again(pen, command, twin, report)
            said = f"已有在办工单，本次上报已并入 WorkOrder {twin.id} is open for {birth.cause} at {birth.asset}"
            return replace(refused(command, "exists", said), subject=twin.id)
        past = self._cases.closed_for(report.trouble)
        if past is not None and pen.now_ms - past.state_ms <= REOPEN_WITHIN_S * 1000:
            birth = replace(birth, recurrence_of=past.id)
        number = self._open(pen, command.actor, report.said, birth, report.data)
        order = self._cases.orders[number]
        return _done(command, order, f"已上报 WorkOrder {number} is {order.state.name}", order_verbs(
            order.state, order.level, kind=kind))  # fmt: skip

    def _again(self, pen: Pen, command: Command, twin: WorkOrder, report: Report) -> None:
        one = {"by": command.actor.name, "at_ms": pen.now_ms, **report.birth.intake}
        further = [*twin.data.get("further", ()), one][-FURTHER_MAX:]
        changes = {"data": {**twin.data, "further": further}}
        self._keep(
            pen.order(twin, "reported_again", report.said, actor=command.actor, data=report.data, changes=changes)
        )

    def comment(self, pen: Pen, command: Command, order: WorkOrder) -> Answer:
        """Add a remark, in any state."""
        if command.actor.role not in EVERYONE:
            return not_allowed(command, order, "bad_data", f"此角色不可备注 role {command.actor.role} may not comment")
        if wrong := missing(("note",), command.data):
            return not_allowed(command, order, "bad_data", wrong)
        self._keep(pen.order(order, "commented", scrubbed(command.data["note"]), actor=command.actor))
        return _done(command, order, "已备注 noted")

    def contact(self, pen: Pen, command: Command, order: WorkOrder) -> Answer:
        """Allow somebody to see the contacts of an order, and write down who, when and why."""
        if said := may_see(order, command.actor):
            return not_allowed(command, order, "forbidden", said)
        if wrong := missing(("reason",), command.data):
            return not_allowed(command, order, "bad_data", wrong)
        if not contacts_of(order.data):
            return not_allowed(command, order, "not_allowed", NO_CONTACT)
        said = f"{command.actor.name} ({command.actor.role}): {scrubbed(command.data['reason'])}"
        self._noted(pen.order(order, "contact_seen", said, actor=command.actor))
        return _done(command, order, "查看已记录 the look is on record")

    def forget(self, pen: Pen, command: Command, order: WorkOrder) -> Answer:
        """Erase the contacts of an order, because a citizen asks for it or nobody needs them any more."""
        if command.actor.role not in ERASES_CONTACTS and command.actor != SYSTEM:
            said = f"无权删除联系方式 role {command.actor.role} may not erase it; {', '.join(ERASES_CONTACTS)} may"
            return not_allowed(command, order, "forbidden", said)
        if wrong := missing(("reason",), command.data):
            return not_allowed(command, order, "bad_data", wrong)
        if not contacts_of(order.data):
            return not_allowed(command, order, "not_allowed", NO_CONTACT)
        said = f"{command.actor.name} ({command.actor.role}): {scrubbed(command.data['reason'])}"
        changes = {"data": without_contacts(order.data)}
        self._noted(pen.order(order, "contact_erased", said, actor=command.actor, changes=changes))
        return _done(command, order, "联系方式已删除 the contact is erased")


def _done(command: Command, order: WorkOrder, said: str, allowed: tuple[str, ...] = ()) -> Answer:
    return Answer(command=command.id, ok=True, message=said, subject=order.id, allowed=allowed)


def refused(command: Command, code: str, said: str) -> Answer:
    """Answer no, with what the command was about."""
    return Answer(command=command.id, ok=False, message=said, code=code, subject=command.target)


def not_allowed(command: Command, order: WorkOrder, code: str, said: str) -> Answer:
    """Answer no to something asked of an order, with what its state allows to who asks."""
    allowed = order_verbs(order.state, order.level, command.actor.role, order.kind)
    return replace(refused(command, code, f"工单 WorkOrder {order.id}: {said}"), allowed=allowed, subject=order.id)
