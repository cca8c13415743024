"""A post room for delivery tests: a real ledger, notices as the heart would commit them, and phones one can unplug."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from alerts.channels import Channel, ChannelSettings
from alerts.delivery.failover import Ways
from alerts.delivery.letters import Writer
from alerts.delivery.outbox import Deliverer
from alerts.pen import idem_key
from citypulse.clock import VirtualClock
from citypulse.errors import DeliveryError
from citypulse.ledger import Ledger, Tick
from citypulse.model import Condition, Notice, NoticeKind, Priority
from tests.ledger.ledger_cast import T0, an_alarm, effects_of

RED, ORANGE, YELLOW, BLUE = Priority.P1, Priority.P2, Priority.P3, Priority.P4


class Phone(Channel):
    """A provider that does what the test says, and remembers what it took."""

    settings = ChannelSettings
    sample: ClassVar[dict[str, Any]] = {}

    def __init__(self) -> None:
        super().__init__(ChannelSettings(), Path())
        self.error: DeliveryError | None = None
        self.does: Callable[[Notice], None] = lambda _n: None
        self.took: list[Notice] = []
        self.tried: list[Notice] = []

    def send(self, notice: Notice, now_ms: int) -> str:
        self.tried.append(notice)
        self.does(notice)
        if self.error is not None:
            raise self.error
        self.took.append(notice)
        return f"ok-{len(self.took)}"

    @property
    def heard(self) -> list[tuple[str, str]]:
        return [(n.subject, n.kind.value) for n in self.took]


def away(*, may_be_taken: bool = False) -> DeliveryError:
    return DeliveryError("no answer", permanent=False, provider_code="no-answer", may_be_taken=may_be_taken)


def refused() -> DeliveryError:
    return DeliveryError("sign not match", permanent=True, provider_code="310000")


class PostRoom:
    """Commits what happens to alarms and lets the deliverer work, on a clock that moves when told to."""

    def __init__(
        self,
        folder: Path,
        *names: str,
        ways: Ways | None = None,
        limit: int = 600,
        writer: Writer | None = None,
        limits: Mapping[str, int] | None = None,
    ) -> None:
        self.folder = folder
        self.now_ms = T0
        self.phones = {name: Phone() for name in names}
        self.ledger = Ledger.open(folder)
        self.ways, self.writer = ways, writer
        self.limits = dict.fromkeys(names, limit) | dict(limits or {})
        self.alarms: dict[str, Any] = {}
        self.open_desk()

    def open_desk(self) -> None:
        clock = VirtualClock(self.now_ms)
        self.deliverer = Deliverer(
            self.ledger.outbox, self.phones, self.limits, clock, ways=self.ways, writer=self.writer
        )

    def restart(self) -> None:
        """Kill the process and start it again: only what is in the file is left."""
        self.ledger.close()
        self.ledger = Ledger.open(self.folder)
        self.open_desk()

    def commit(self, **effects: Any) -> None:
        number = self.ledger.last_tick + 1
        self.ledger.commit(Tick(number=number, now_ms=self.now_ms, effects=effects_of(**effects)))

    def notice(self, subject: str, kind: NoticeKind, channel: str, target: str, **more: Any) -> Notice:
        rev, step = more.pop("rev", 1), more.pop("step", 0)
        given: dict[str, Any] = {
            "idem_key": idem_key(subject, rev, kind, channel, target, step), "subject": subject,
            "subject_kind": "alarm", "rev": rev, "kind": kind, "step": step, "channel": channel, "target": target,
            "level": RED, "title": f"{subject} {kind.value}", "body": "31 cm", "reason": "route r1",
            "created_ms": self.now_ms, "not_before_ms": self.now_ms,
        }  # fmt: skip
        return Notice(**(given | more))

    def raises(
        self, subject: str, *ways: tuple[str, str], level: Priority = RED, domain: str = "flood", **more: Any
    ) -> None:
        self.alarms[subject] = replace(
            an_alarm(1), id=subject, dedup_key=f"depth|{subject}", level=level, domain=domain, suppressed_by=()
        )
        told = [self.notice(subject, NoticeKind.RAISED, c, t, level=level, **more) for c, t in ways]
        self.commit(alarms=[self.alarms[subject]], notices=told)

    def worsens(self, subject: str, *ways: tuple[str, str], level: Priority = RED) -> None:
        self.alarms[subject] = replace(self.alarms[subject], level=level, is_acked=False)
        told = [self.notice(subject, NoticeKind.WORSENED, c, t, level=level, rev=2) for c, t in ways]
        self.commit(alarms=[self.alarms[subject]], notices=told)

    def acks(self, subject: str) -> None:
        self.alarms[subject] = replace(self.alarms[subject], is_acked=True, acked_by="Ada")
        self.commit(alarms=[self.alarms[subject]], obsolete=[(subject, "acknowledged by Ada")])

    def clears(self, subject: str, *ways: tuple[str, str], **more: Any) -> None:
        self.alarms[subject] = replace(self.alarms[subject], condition=Condition.NORMAL)
        told = [
            self.notice(subject, NoticeKind.CLEARED, c, t, level=self.alarms[subject].level, rev=9, **more)
            for c, t in ways
        ]
        self.commit(alarms=[self.alarms[subject]], notices=told)

    def after(self, seconds: float) -> int:
        self.now_ms += round(seconds * 1000)
        return self.deliverer.step(self.now_ms)

    def run(self, seconds: int, every_s: int = 5) -> None:
        for _ in range(0, seconds, every_s):
            self.after(every_s)

    def rows(self) -> dict[str, str]:
        """Return state by `subject kind channel target`."""
        return {
            f"{r.notice.subject} {r.notice.kind.value} {r.notice.channel} {r.notice.target}": r.state
            for r in self.ledger.outbox_rows(limit=100_000)
        }

    def states(self) -> set[str]:
        return set(self.rows().values())
