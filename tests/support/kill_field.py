"""What the kill tests play and compare: waves of water in many places, what a run left, the promises it kept."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from citypulse.ledger import Ledger
from citypulse.ledger.tick import OutboxRow
from citypulse.store import open_store
from tests.support import small_city
from tests.support.robot import OK, RobotServer

CADENCE_MS = 10_000
# What the sensors say happens at their own time. When we got to it, and what people did, is another run's own.
BY_THE_SENSOR = frozenset({"raised", "level", "worsened", "eased", "cleared", "data_loss", "data_back"})
CALLS = frozenset({"raised", "worsened", "reminder"})
# A record is written right after the provider's answer: only a kill this soon after it may lose it.
UNRECORDED_MS = 1_000
# From the last look at the ledger to the arrival of the message.
IN_FLIGHT_MS = 500


def city_text(*, sites: int, gateways: int, broker_port: int, urls: Mapping[str, str]) -> str:
    """The small city with a robot on loopback for every channel: the desk is told by two of them, the crew by one."""
    whole = small_city.text(sites=sites, gateways=gateways, broker_port=broker_port)
    before, rest = whole.split("channels:\n")
    _, after = rest.split("order_templates:")
    channels = "".join(
        f"  {name}: {{kind: webhook, settings: {{url: '{url}', timeout_s: 1, per_minute: 100000}}}}\n"
        for name, url in urls.items()
    )
    routes = "routes:\n" + "".join(f"  - {{id: desk-{name}, to: desk, channel: {name}}}\n" for name in urls)
    routes += f"  - {{id: crew, to: pumps, channel: {next(iter(urls))}}}\n"
    # A storm begins late in a long run: before it every notice is a message of its own, then digests come too.
    routes += "storm: {starts_above: 1000}\n"
    return f"{before}channels:\n{channels}{routes}order_templates:{after}"


@dataclass(frozen=True)
class Told:
    """One message of one gateway. rows: (sensor, ms after the beginning, value)."""

    gateway: str
    seq: int
    rows: list[tuple[str, int, float]]


def waves(seed: int, *, rounds: int, sites: int, gateways: int, period: int = 120) -> list[Told]:
    """Depths that rise over every limit and fall again, each site at its own time; all dry for the last minutes."""
    rng = random.Random(seed)
    phase = [rng.random() for _ in range(sites)]
    each = sites // gateways
    messages = []
    for k in range(rounds):
        for gateway in range(gateways):
            row = []
            for site in range(gateway * each, (gateway + 1) * each):
                wave = (k / period + phase[site]) % 1.0
                depth = 0.0 if wave < 0.4 else 70 * (wave - 0.4) if wave < 0.8 else 28 - 140 * (wave - 0.8)
                is_over = k > rounds - 60
                value = 0.0 if is_over else round(max(0.0, depth + rng.uniform(-1, 1)), 1)
                row.append((f"u-{site + 1:06d}.depth", k * CADENCE_MS, value))
            messages.append(Told(f"gw-{gateway + 1:02d}", k, row))
    return messages


@dataclass(frozen=True)
class Left:
    """What a run left behind; instants are offsets, so that runs at different times of day compare."""

    alarms: list[Any]
    steps: list[Any]
    orders: list[Any]
    notices: list[Any]
    readings: list[tuple[str, int, float]]
    rows: list[OutboxRow] = field(default_factory=list)
    acked: dict[str, list[tuple[int, int]]] = field(default_factory=dict)  # alarm → (rev, wall ms)
    ended: set[str] = field(default_factory=set)  # alarms whose condition is normal
    broken: int | None = None


def left(data: Path, base_ms: int) -> Left:
    """Read the ledger and the store of a stopped service."""
    ledger = Ledger.open(data, read_only=True)
    store = open_store("duckdb", data)
    try:
        found = ledger.alarms(state="all", limit=1_000_000)
        alarms = [
            (a.rule, a.scope, a.occurrence, a.raised_ms - base_ms, a.cleared_ms and a.cleared_ms - base_ms)
            + (a.condition.value, a.level, a.peak_level, a.peak_value, a.quality.value, a.is_chattering)
            for a in found
        ]
        numbers = {o.id: f"{o.cause}|{o.asset}" for o in ledger.orders(limit=1_000_000)}
        numbers |= {a.id: f"{a.dedup_key}#{a.occurrence}" for a in found}
        events = [r.event for r in ledger.events(limit=10_000_000)]
        rows = ledger.outbox_rows(limit=10_000_000)
        acked: dict[str, list[tuple[int, int]]] = {}
        for e in events:
            if e.kind == "acknowledged":
                acked.setdefault(e.subject, []).append((e.rev, e.wall_ms))
        names = ledger.known_sensor_ids()
        return Left(
            alarms=sorted(alarms, key=str),
            steps=sorted((numbers[e.subject], e.kind, e.event_ms - base_ms) for e in events if e.kind in BY_THE_SENSOR),
            orders=sorted(
                (o.cause, o.asset, o.state.value, o.level, o.team, len(o.alarm_ids))
                for o in ledger.orders(limit=1_000_000)
            ),
            notices=sorted(
                (numbers[r.notice.subject], r.notice.kind.value, r.notice.channel, r.notice.target, r.notice.title)
                for r in rows
                if r.notice.subject in numbers and r.notice.kind.value != "reminder"
            ),
            readings=[
                (names[s], t - base_ms, v)
                for part in store.scan(None, 0, 2**52)
                for s, t, v in zip(part.sensor.tolist(), part.time_ms.tolist(), part.value.tolist(), strict=True)
            ],
            rows=rows,
            acked=acked,
            ended={a.id for a in found if a.condition.value == "normal"},
            broken=ledger.verify().first_broken,
        )
    finally:
        store.close()
        ledger.close()


@dataclass
class Seen:
    """One message as a provider received it. is_sure: the sender had a whole answer."""

    at_ms: int
    key: str
    is_taken: bool
    is_sure: bool
    by: str


def seen_by(servers: Mapping[str, RobotServer]) -> list[Seen]:
    """Everything the providers received, in order."""
    found = [
        Seen(r.at_ms, r.key, r.is_taken, r.answer == OK, name)
        for name, server in servers.items()
        for r in server.received
    ]
    return sorted(found, key=lambda one: one.at_ms)


def broken_promises(after: Left, seen: Sequence[Seen], killed_ms: Sequence[int]) -> list[str]:
    """Compare what the providers received with what the ledger says: I13 to I17; [] when all of them hold."""
    covered: dict[str, list[OutboxRow]] = {}
    for row in sorted(after.rows, key=lambda one: one.id):  # a digest tells a beginning before its end
        covered.setdefault(row.notice.idem_key, []).append(row)
        if row.digest:
            covered.setdefault(row.digest, []).append(row)
    by_key: dict[str, list[Seen]] = {}
    for one in seen:
        by_key.setdefault(one.key, []).append(one)
    trouble = [f"a message with a key the ledger does not know: {key[:12]}" for key in by_key if key not in covered]
    trouble += _sent_twice(by_key, killed_ms)
    trouble += _called_after(by_key, covered, after.acked)
    trouble += _ends(after, seen, covered)
    for row in after.rows:
        messages = by_key.get(row.notice.idem_key, []) + by_key.get(row.digest, [])
        is_fresh = row.state == "pending" and row.notice.kind.value == "reminder" and not row.attempts
        if row.state not in {"delivered", "obsolete"} and not is_fresh:  # by the clock, also while it was being stopped
            trouble.append(f"I17: notice {row.id} ended as {row.state}: {row.last_error}")
        if row.state == "delivered" and not any(m.is_taken for m in messages):
            trouble.append(f"I17: notice {row.id} counts as delivered and no provider took it")
    return trouble


def _sent_twice(by_key: Mapping[str, list[Seen]], killed_ms: Sequence[int]) -> list[str]:
    """I16: what a provider took, and said so, comes again only when a kill came before it could be written down."""
    trouble = []
    for key, messages in by_key.items():
        taken = [m for m in messages if m.is_taken]
        for first, second in zip(taken, taken[1:], strict=False):
            is_excused = any(first.at_ms - 50 <= k <= first.at_ms + UNRECORDED_MS for k in killed_ms)
            if first.is_sure and not is_excused:
                trouble.append(f"I16: {key[:12]} sent again {second.at_ms - first.at_ms} ms after it was taken")
    return trouble


def repeats(seen: Sequence[Seen]) -> int:
    """How many messages were taken more than once: the duplicates that kills cost, all with their old key."""
    taken = [one.key for one in seen if one.is_taken]
    return len(taken) - len(set(taken))


def _called_after(
    by_key: Mapping[str, list[Seen]],
    covered: Mapping[str, list[OutboxRow]],
    acked: Mapping[str, list[tuple[int, int]]],
) -> list[str]:
    """I15: no call about an alarm after it was acknowledged, unless it called anew since."""
    trouble = []
    for key, messages in by_key.items():
        calls = [r.notice for r in covered.get(key, []) if r.notice.kind.value in CALLS]
        since = [min((ms for rev, ms in acked.get(c.subject, []) if rev > c.rev), default=None) for c in calls]
        if not calls or any(ms is None for ms in since):
            continue
        last_ms = max(ms for ms in since if ms is not None)
        trouble += [
            f"I15: {key[:12]} came {m.at_ms - last_ms} ms after the acknowledgement"
            for m in messages
            if m.at_ms > last_ms + IN_FLIGHT_MS
        ]
    return trouble


def _ends(after: Left, seen: Sequence[Seen], covered: Mapping[str, list[OutboxRow]]) -> list[str]:
    """I13, I14: who was told of the beginning is told of the end, afterwards; nobody else is."""
    begun: set[tuple[str, str, str]] = set()
    ended: set[tuple[str, str, str]] = set()
    trouble = []
    unsure = {
        (r.notice.subject, r.notice.channel, r.notice.target)
        for r in after.rows
        if r.notice.kind.value in CALLS and r.maybe_by
    }
    for one in (s for s in seen if s.is_taken):
        for row in covered.get(one.key, []):
            whom = (row.notice.subject, row.notice.channel, row.notice.target)
            if row.notice.kind.value in CALLS:
                begun.add(whom)
            elif row.notice.kind.value == "cleared" and row.notice.subject in after.ended:
                ended.add(whom)
                if whom not in begun and whom not in unsure:
                    trouble.append(f"I14: {whom} heard only the end")
    trouble += [f"I13: {whom} never heard the end" for whom in begun if whom[0] in after.ended and whom not in ended]
    return trouble
