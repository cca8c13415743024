"""One life of a deliverer, in a process of its own: a script of alarms is committed while real channels send.

Started again after a kill it goes on where the ledger stands. Everything it does is written to the ledger; only the
instants after an acknowledgement's commit go to a file of their own, for the comparison.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from alerts.channels.dingtalk import DingTalkChannel
from alerts.channels.webhook import WebhookChannel
from alerts.delivery.failover import Ways
from alerts.delivery.outbox import Deliverer
from alerts.pen import idem_key
from citypulse.clock import SpedClock
from citypulse.ledger import Ledger, Tick
from citypulse.model import Alarm, Condition, Effects, Notice, NoticeKind, Priority
from tests.ledger.ledger_cast import an_alarm

SPEED = 20.0
TARGETS = ("desk", "lead")
PACE_S = 0.012  # real time between two ticks


def script(seed: int, alarms: int) -> list[tuple[str, int]]:
    """Return what happens, tick by tick: (raise | ack | clear, number of the alarm). Every alarm ends."""
    rng = random.Random(seed)
    steps: list[tuple[float, str, int]] = []
    for number in range(alarms):
        at = number * 1.0
        steps.append((at, "raise", number))
        if rng.random() < 0.5:
            steps.append((at + rng.uniform(0.1, 30), "ack", number))
        steps.append((at + rng.uniform(31, 60), "clear", number))
    return [(what, number) for _, what, number in sorted(steps)]


def alarm_of(seed: int, number: int) -> Alarm:
    rng = random.Random(f"{seed}-{number}")
    level = rng.choice([Priority.P1, Priority.P1, Priority.P2, Priority.P3, Priority.P4])
    domain = rng.choice(["gas", "flood", "flood"])
    return replace(
        an_alarm(1), id=f"alarm-{number}", dedup_key=f"depth|s{number}", level=level, domain=domain, suppressed_by=()
    )


def notices(alarm: Alarm, kind: NoticeKind, now_ms: int) -> list[Notice]:
    rev = 9 if kind is NoticeKind.CLEARED else 1
    return [
        Notice(
            idem_key=idem_key(alarm.id, rev, kind, "robot", target, 0), subject=alarm.id, subject_kind="alarm",
            rev=rev, kind=kind, step=0, channel="robot", target=target, level=alarm.level,
            title=f"{alarm.id} {kind.value} {target}", body="31 cm", reason="r1", created_ms=now_ms,
            not_before_ms=now_ms, may_wait=alarm.level is Priority.P4 and alarm.domain != "gas",
        )
        for target in TARGETS
    ]  # fmt: skip


def effects_of_step(seed: int, what: str, number: int, acked: set[int], now_ms: int) -> Effects:
    alarm = alarm_of(seed, number)
    if what == "raise":
        return Effects(alarms={alarm.id: alarm}, notices=notices(alarm, NoticeKind.RAISED, now_ms))
    if what == "ack":
        seen = replace(alarm, is_acked=True, acked_by="Ada")
        return Effects(alarms={alarm.id: seen}, obsolete=[(alarm.id, "acknowledged by Ada")])
    over = replace(alarm, condition=Condition.NORMAL, is_acked=number in acked)
    return Effects(alarms={alarm.id: over}, notices=notices(alarm, NoticeKind.CLEARED, now_ms))


def live(folder: str, urls: tuple[str, str], start_ms: int, seed: int, alarms: int) -> None:
    """Go on with the script and deliver until nothing waits any more."""
    sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - until the process ends
    path = Path(folder)
    clock = SpedClock(start_ms=start_ms, speed=SPEED)
    ledger = Ledger.open(path)
    channels: dict[str, Any] = {
        "robot": DingTalkChannel(DingTalkChannel.settings(url=urls[0], timeout_s=0.5), path),
        "hook": WebhookChannel(WebhookChannel.settings(url=urls[1], timeout_s=0.5), path),
    }
    ways = Ways({"robot": ("hook",)})
    deliverer = Deliverer(ledger.outbox, channels, {"robot": 300, "hook": 300}, clock, ways=ways)
    stop = threading.Event()
    thread = threading.Thread(target=deliverer.run, args=(stop,), daemon=True)
    thread.start()
    steps = script(seed, alarms)
    acked = {number for what, number in steps[: ledger.last_tick] if what == "ack"}
    for index in range(ledger.last_tick, len(steps)):
        what, number = steps[index]
        now_ms = clock.now_ms()
        effects = effects_of_step(seed, what, number, acked, now_ms)
        if what == "ack":
            acked.add(number)
        ledger.commit(Tick(number=index + 1, now_ms=now_ms, effects=effects))
        if what == "ack":
            with (path / "acks.log").open("a") as file:
                file.write(f"alarm-{number} {time.time()}\n")
        stop.wait(PACE_S)
    while thread.is_alive() and ledger.waiting_by_channel():
        stop.wait(0.05)
    stop.set()
    thread.join(5)
    with contextlib.suppress(Exception):
        ledger.close()
    (path / "done").touch()
