"""What taking messages costs, without broker and paho: `python tests/bench/bench_intake.py`. It only prints."""

from __future__ import annotations

import gc
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from citypulse.model import RawMessage, SensorTable
from ingest.codecs.native import NativeCodec
from ingest.gateways import Gateways
from ingest.intake import Intake
from ingest.quality import Grader
from ingest.registry import Registry
from tests.ingest.town import T0, make_config, sensor

REPEATS = 7


def build(n_gateways: int, per_gateway: int) -> tuple[Intake, list[str], list[list[str]]]:
    gateways = [f"g{k}" for k in range(n_gateways)]
    names = [[f"s{k}-{i}.level" for i in range(per_gateway)] for k in range(n_gateways)]
    sensors = tuple(sensor(name, g) for g, own in zip(gateways, names, strict=True) for name in own)
    registry = Registry(make_config(sensors, tuple(gateways)), SensorTable.build(tuple(s.id for s in sensors), sensors))
    return Intake(registry, Gateways(), Grader(registry)), gateways, names


def run(label: str, n_messages: int, per_message: int, *, is_columnar: bool, per_tick: int = 500) -> None:
    codec = NativeCodec()
    encode = codec.encode if is_columnar else codec.encode_objects
    n_gateways = 50
    intake, gateways, names = build(n_gateways, max(100, per_message))
    best = 1e9
    for repeat in range(REPEATS):
        messages = []
        for k in range(n_messages):
            g, at = k % n_gateways, T0 + 1000 * (repeat * n_messages + k // n_gateways)
            own = names[g]
            chosen = own[:per_message] if per_message > 1 else [own[k // n_gateways % 100]]
            payload = encode(
                chosen, [at + i for i in range(per_message)], [20.125 + i % 7 + k % 5 / 8 for i in range(per_message)],
                boot=f"b{repeat}", seq=k // n_gateways + 1, sent_ms=at,
            )  # fmt: skip
            messages.append(RawMessage(topic=f"city/v1/{gateways[g]}/readings", payload=payload, received_ms=at + 500))
        gc.collect()
        taken = 0
        began = time.process_time()
        for start in range(0, n_messages, per_tick):
            tick = messages[start : start + per_tick]
            got = intake.take(tick, tick[-1].received_ms)
            taken += len(got.batch)
            assert not got.dead, got.dead[0]
        took = time.process_time() - began
        assert taken == n_messages * per_message
        best = min(best, took)
    n = n_messages * per_message
    print(
        f"{label:34} {1e6 * best / n_messages:9.2f} us/message {1e9 * best / n:8.0f} ns/reading"
        f" {n / best / 1e6:7.2f} M readings/s  {len(messages[0].payload) / per_message:5.0f} B/reading"
    )


if __name__ == "__main__":
    run("single, object form", 20_000, 1, is_columnar=False)
    run("single, columnar", 20_000, 1, is_columnar=True)
    run("single, object form, ticks of 50", 20_000, 1, is_columnar=False, per_tick=50)
    run("10 readings, columnar", 10_000, 10, is_columnar=True)
    run("100 readings, columnar", 3_000, 100, is_columnar=True)
    run("100 readings, columnar, ticks of 50", 3_000, 100, is_columnar=True, per_tick=50)
    run("100 readings, object form", 3_000, 100, is_columnar=False)
    run("1000 readings, columnar", 400, 1000, is_columnar=True)
