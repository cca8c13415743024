"""The city's one database: alarms, orders, the record, notices, the journal. Start at `Ledger.open`."""

from __future__ import annotations

from .commit import FAULTS
from .ledger import Ledger, hold
from .outbox import LeasedNotice, Outbox
from .packing import DamagedError
from .reads import ALARM_STATES
from .sqlite import LedgerError
from .tick import (
    Counts,
    DeadRow,
    EventRow,
    Fault,
    GatewayRow,
    OpenState,
    OutboxRow,
    Tick,
    Verdict,
    no_fault,
)

__all__ = [
    "ALARM_STATES",
    "FAULTS",
    "Counts",
    "DamagedError",
    "DeadRow",
    "EventRow",
    "Fault",
    "GatewayRow",
    "LeasedNotice",
    "Ledger",
    "LedgerError",
    "OpenState",
    "Outbox",
    "OutboxRow",
    "Tick",
    "Verdict",
    "hold",
    "no_fault",
]
