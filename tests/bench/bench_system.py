"""The whole system against a naive collector and the broker's own ceiling, on the cores there are.

Prints messages/s and readings/s sustained with 1, 10 and 100 readings a message (publisher, broker and system on
the same cores), latency from publish to committed alarm at half that load, memory, and recovery after kill -9.

    python -m tests.bench.bench_system [--seconds 8]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.support import small_city
from tests.support.mosquitto import Mosquitto
from tests.support.publisher import Publisher, Subscriber, publish_packet
from tests.support.service import ServiceProcess, until

GATEWAYS = 50
SITES = 1000
STEP_MS = 1000
BURST = 50  # messages per write of the generator


def sensors_of(gateway: int) -> list[str]:
    first = gateway * (SITES // GATEWAYS)
    return [f"u-{first + k + 1:06d}.depth" for k in range(SITES // GATEWAYS)]


def messages(gateway: int, count: int, readings: int, base_ms: int) -> list[bytes]:
    """Ready-made columnar messages of one gateway: times rise per sensor, values stay calm."""
    names = sensors_of(gateway)
    out = []
    turn = 0
    for seq in range(count):
        picked = [(turn + k) for k in range(readings)]
        turn += readings
        out.append(
            json.dumps(
                {
                    "boot": "b1",
                    "seq": seq,
                    "sent": base_ms,
                    "sensor": [names[k % len(names)] for k in picked],
                    "time": [base_ms + (k // len(names)) * STEP_MS for k in picked],
                    "value": [round(1 + (k * 7 % 13) / 10, 2) for k in picked],
                },
                separators=(",", ":"),
            ).encode()
        )
    return out


def generate(
    port: int, first: int, last: int, per_gateway: int, readings: int, base_ms: int, rate: float, go: object
) -> None:
    """Publish the messages of gateways first … last in turn, at `rate` messages/s (0: as fast as confirmed)."""
    packets: list[bytes] = []
    columns = [messages(g, per_gateway, readings, base_ms) for g in range(first, last)]
    mid = 0
    for seq in range(per_gateway):
        for k, g in enumerate(range(first, last)):
            mid = mid % 65_000 + 1
            packets.append(publish_packet(f"city/v1/gw-{g + 1:02d}/readings".encode(), columns[k][seq], mid))
    out = Publisher(port, f"generator-{first}", window=2000)
    go.wait()  # type: ignore[attr-defined]
    began = time.monotonic()
    for at in range(0, len(packets), BURST):
        out.send_packed(packets[at : at + BURST])
        if rate:
            ahead = (at + BURST) / rate - (time.monotonic() - began)
            if ahead > 0:
                time.sleep(ahead)
    out.finish()


def drive(port: int, total: int, readings: int, done: Callable[[], float], *, rate: float = 0.0) -> float:
    """Publish about `total` messages and return readings/s until `done()` counts them all."""
    per_gateway = max(1, total // GATEWAYS)
    expected = per_gateway * GATEWAYS
    go = multiprocessing.Event()
    base_ms = int(time.time() * 1000) - 7 * 86_400_000
    worker = multiprocessing.Process(
        target=generate, args=(port, 0, GATEWAYS, per_gateway, readings, base_ms, rate, go), daemon=True
    )
    worker.start()
    time.sleep(1.0 + total * readings / 400_000)  # the messages are made before the clock starts
    began = time.monotonic()
    go.set()
    while done() < expected * readings:
        time.sleep(0.05)
        assert time.monotonic() - began < 240, f"only {done()} of {expected * readings}"
    took = time.monotonic() - began
    worker.join()
    return expected * readings / took


def config_in(folder: Path, port: int) -> Path:
    return small_city.write(folder, gateways=GATEWAYS, sites=SITES, broker_port=port, cadence="1 s")


def ours(total: int, readings: int) -> tuple[float, float]:
    """Readings/s sustained to durable, and the process's memory in MiB."""
    with tempfile.TemporaryDirectory() as name, Mosquitto(config=["max_queued_messages 0"]) as broker:
        folder = Path(name)
        (folder / "data").mkdir()
        with ServiceProcess(config_in(folder, broker.port), folder / "data", broker.port) as service:
            rate = drive(broker.port, total, readings, lambda: taken(service))
            memory = psutil.Process(service.pid).memory_info().rss / 2**20
            service.stop()
            return rate, memory


def taken(service: ServiceProcess) -> float:
    time.sleep(0.25)  # every look costs the service a page of metrics
    return service.metric('citypulse_readings_total{lane="live"}')


def naive(total: int, readings: int) -> float:
    with tempfile.TemporaryDirectory() as name, Mosquitto(config=["max_queued_messages 0"]) as broker:
        path = Path(name) / "naive.db"
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.naive_collector", str(broker.port), str(path)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.5)
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            # The count grows by batches; max(rowid) does not exist in a keyed table, so count at a calm pace.
            def stored() -> float:
                time.sleep(0.2)
                return float(db.execute("SELECT COUNT(*) FROM reading").fetchone()[0])

            return drive(broker.port, total, readings, stored)
        finally:
            process.kill()


def ceiling(total: int, readings: int) -> float:
    """The broker alone: a bare-socket subscriber that counts, QoS 0 out, no decoding."""
    with Mosquitto(config=["max_queued_messages 0"]) as broker:
        counter = Subscriber(broker.port, "city/v1/+/readings", "counter")
        counter.start()
        rate = drive(broker.port, total, readings, lambda: float(counter.count * readings))
        counter.close()
        return rate


def latency(messages_per_s: float, seconds: float) -> list[float]:
    """Publish→committed-alarm times in ms, at a steady load of single readings from the other gateways."""
    with tempfile.TemporaryDirectory() as name, Mosquitto(config=["max_queued_messages 0"]) as broker:
        folder = Path(name)
        (folder / "data").mkdir()
        with ServiceProcess(config_in(folder, broker.port), folder / "data", broker.port) as service:
            go = multiprocessing.Event()
            total = int(messages_per_s * seconds)
            base_ms = int(time.time() * 1000) - 7 * 86_400_000
            worker = multiprocessing.Process(
                target=generate,
                args=(broker.port, 0, GATEWAYS - 10, total // (GATEWAYS - 10), 1, base_ms, messages_per_s, go),
                daemon=True,
            )
            worker.start()
            time.sleep(2.0 + total / 200_000)
            out = Publisher(broker.port, "alarms")
            db = sqlite3.connect(f"file:{folder / 'data' / 'city.db'}?mode=ro", uri=True)
            go.set()
            time.sleep(1.0)
            times: list[float] = []
            until_s = time.monotonic() + seconds - 2
            probe = 0
            while time.monotonic() < until_s:
                gateway = GATEWAYS - 10 + probe % 10
                sensor = sensors_of(gateway)[probe // 10 % 20]
                before = db.execute("SELECT COALESCE(MAX(seq), 0) FROM event").fetchone()[0]
                body = {"readings": [{"sensor": sensor, "time": int(time.time() * 1000), "value": 40.0 + probe % 2}]}
                began = time.perf_counter()
                out.send(f"city/v1/gw-{gateway + 1:02d}/readings", json.dumps(body).encode())
                while db.execute("SELECT COALESCE(MAX(seq), 0) FROM event").fetchone()[0] == before:
                    time.sleep(0.0005)
                    if time.perf_counter() - began > 5:
                        break
                times.append((time.perf_counter() - began) * 1000)
                probe += 1
                if probe >= 200:
                    break
                time.sleep(0.02)
            worker.terminate()
            service.stop()
            return times


def recovery() -> tuple[float, int]:
    """Seconds from start to ready after kill -9 in the middle of a stream, kernels cached; and ticks re-run."""
    with tempfile.TemporaryDirectory() as name, Mosquitto(config=["max_queued_messages 0"]) as broker:
        folder = Path(name)
        (folder / "data").mkdir()
        with ServiceProcess(config_in(folder, broker.port), folder / "data", broker.port) as service:
            go = multiprocessing.Event()
            go.set()
            base_ms = int(time.time() * 1000) - 7 * 86_400_000
            worker = multiprocessing.Process(
                target=generate, args=(broker.port, 0, GATEWAYS, 1000, 10, base_ms, 2000.0, go), daemon=True
            )
            worker.start()
            until(lambda: service.metric('citypulse_readings_total{lane="live"}') > 150_000, 120)
            service.kill()
            began = time.monotonic()
            service.start()
            took = time.monotonic() - began
            worker.terminate()
            replayed = [json.loads(line) for line in service.tail().splitlines() if "city.recovered" in line]
            return took, int(replayed[-1]["replayed"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0, help="about how long each run publishes")
    seconds = parser.parse_args().seconds
    print(f"{os.cpu_count()} cores, {psutil.virtual_memory().total >> 30} GiB, Python {sys.version.split()[0]}")
    print("readings/message   messages/s   readings/s   x naive   of the broker alone   memory")
    single = 0.0
    for readings, guess in ((1, 25_000), (10, 20_000), (100, 7_000)):
        total = int(guess * seconds)
        rate, memory = ours(total, readings)
        other, top = naive(total // 2, readings), ceiling(total, readings)
        if readings == 1:
            single = rate
        print(
            f"{readings:16d}   {rate / readings:10,.0f}   {rate:10,.0f}   {rate / other:7.2f}   {rate / top:19.2f}   "
            f"{memory:.0f} MiB",
            flush=True,
        )
    times = sorted(latency(single / 2, 12.0))
    p99 = times[int(0.99 * (len(times) - 1))]
    print(
        f"publish → committed alarm at {single / 2:,.0f} messages/s: p50 {statistics.median(times):.1f} ms, "
        f"p99 {p99:.1f} ms, n {len(times)}"
    )
    took, replayed = recovery()
    print(f"kill -9 to ready: {took:.2f} s, {replayed} ticks re-run")


if __name__ == "__main__":
    main()
