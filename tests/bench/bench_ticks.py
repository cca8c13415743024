"""The cost of a tick at 1,000, 10,000 and 100,000 sensors, and when one sensor delivers a whole backlog.

In process, without a broker: 100 readings a message, 20 messages a tick, commit and journal included.

    python -m tests.bench.bench_ticks
"""

from __future__ import annotations

import os
import resource
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from citypulse.app import assemble, extensions
from citypulse.config import load_city
from citypulse.journal import Journal
from citypulse.ledger import Ledger
from citypulse.mailbox import Mailbox
from citypulse.metrics import Metrics
from citypulse.model import RawMessage, SensorTable
from ingest.inbox import Inbox
from tests.support import small_city

PER_MESSAGE = 100
MESSAGES = 20
TICKS = 60
WARM_UP = 10


class Nobody:
    """A source without a broker."""

    def acknowledge(self, messages: Sequence[RawMessage]) -> None:
        """Nobody waits."""

    def publish(self, topic: str, payload: bytes) -> bool:
        """Nobody listens."""
        return True


def message(names: list[str], times: list[int], now_ms: int) -> bytes:
    sensor = ",".join(f'"{n}"' for n in names)
    time_ = ",".join(map(str, times))
    value = ",".join("1.5" if t % 3 else "1.25" for t in times)
    return f'{{"sent":{now_ms},"sensor":[{sensor}],"time":[{time_}],"value":[{value}]}}'.encode()


def measure(sensors: int, *, is_skewed: bool = False) -> tuple[float, float]:
    """Return microseconds per reading and the median tick in ms."""
    gateways = max(1, sensors // 1000)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = load_city(small_city.write(folder, gateways=gateways, sites=sensors, cadence="1 s"), extensions())
        ledger = Ledger.open(folder / "data")
        inbox = Inbox()
        table = SensorTable.build(ledger.sensor_ids([s.id for s in config.sensors]), config.sensors)
        city = assemble(
            config,
            table,
            ledger,
            Journal(ledger),
            inbox=inbox,
            mailbox=Mailbox(inbox.ready.set),
            source=Nobody(),
            metrics=Metrics(),
            save_snapshot=lambda *_: None,
        )
        now_ms = 1_790_000_000_000
        city.recover(now_ms)
        names = [
            [f"u-{g * (sensors // gateways) + k + 1:06d}.depth" for k in range(sensors // gateways)]
            for g in range(gateways)
        ]
        spent: list[float] = []
        turn = 0
        # Every sensor is heard once before the clock starts: a city at work, not one that has just been switched on.
        warm_up = max(WARM_UP, sensors // (MESSAGES * PER_MESSAGE) + 1)
        for tick in range(warm_up + TICKS):
            for m in range(MESSAGES):
                g = (tick * MESSAGES + m) % gateways
                own = names[g]
                if is_skewed:
                    picked, times = [own[0]] * PER_MESSAGE, [now_ms + turn * 100 + k for k in range(PER_MESSAGE)]
                else:
                    first = turn * PER_MESSAGE
                    picked = [own[(first + k) % len(own)] for k in range(PER_MESSAGE)]
                    times = [now_ms + turn * 100 + k for k in range(PER_MESSAGE)]
                turn += 1
                payload = message(picked, times, now_ms)
                topic = f"city/v1/gw-{g + 1:02d}/readings"
                inbox.put(RawMessage(topic=topic, payload=payload, received_ms=now_ms + turn * 100))
            began = time.perf_counter()
            city.tick(now_ms + turn * 100)
            if tick >= warm_up:
                spent.append(time.perf_counter() - began)
        ledger.close()
    return sum(spent) / (TICKS * MESSAGES * PER_MESSAGE) * 1e6, statistics.median(spent) * 1000


def main() -> None:
    print(f"{os.cpu_count()} cores; {MESSAGES} messages of {PER_MESSAGE} readings a tick, journal and commit included")
    base = 0.0
    for sensors in (1_000, 10_000, 100_000):
        per_reading, tick_ms = measure(sensors)
        base = base or per_reading
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{sensors:8,d} sensors: {per_reading:.3f} µs a reading ({per_reading / base:.2f} ×), "
            f"tick {tick_ms:.2f} ms, peak memory {peak:.0f} MiB",
            flush=True,
        )
    per_reading, tick_ms = measure(1_000, is_skewed=True)
    print(f"one sensor's backlog: {per_reading:.3f} µs a reading ({per_reading / base:.2f} ×), tick {tick_ms:.2f} ms")


if __name__ == "__main__":
    main()
