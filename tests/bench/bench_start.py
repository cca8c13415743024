"""How long the service takes to be ready: the sample city on an empty folder, and after kill -9; with its parts.

The kernels are compiled and cached before the clock starts, and Python's own bytecode too, as in any installed program
(PYTHONDONTWRITEBYTECODE makes every start compile 300 files, about a second). It only prints.

    python -m tests.bench start
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from tests.support.mosquitto import Mosquitto
from tests.support.publisher import Publisher
from tests.support.service import ServiceProcess, until

SAMPLE = Path(__file__).parents[2] / "sensors.yaml"
TIMES = 3
STREAM = 300  # messages before the kill, a tick for most of them
PARTS = """
import sys, tempfile, time
from pathlib import Path
began, spent = time.perf_counter(), time.process_time()
def part(name):
    global began, spent
    now, cpu = time.perf_counter(), time.process_time()
    print(f"  {name:42s} {now - began:5.2f} s wall {cpu - spent:5.2f} s CPU", flush=True)
    began, spent = now, cpu
from citypulse.cli import run
from citypulse.cli.quickstart import quick_start
part("command line")
quick = quick_start()
quick.__enter__()
part("numpy, numba, its tables of types")
import sqlalchemy, pydantic
part("sqlalchemy, pydantic")
import citypulse.app as app
part("everything else that is imported")
import citypulse.console.server, citypulse.logs
part("the console's libraries")
citypulse.logs.set_up_logs(level=50)
with app.laid_out_once(Path(sys.argv[1])) as known:
    config = app.load_city(Path(sys.argv[1]), known)
part("reading and checking the configuration")
from citypulse.config import load_city
from citypulse.clock import SystemClock
from citypulse.model import SensorTable
from citypulse.turn import Regime
Regime.of(config, SensorTable.build(tuple(s.id for s in config.sensors), config.sensors))
part("compiling rules, loading cached kernels")
with tempfile.TemporaryDirectory() as folder:
    service = app.Service(config=config, data_dir=Path(folder), clock=SystemClock())
    part("ledger, recovery (rules laid out again)")
    quick.__exit__(None, None, None)
"""


def started(service: ServiceProcess) -> tuple[float, float]:
    """Start the service; return seconds to ready, and its processor time until then."""
    began = time.monotonic()
    service.start()
    took = time.monotonic() - began
    spent = psutil.Process(service.pid).cpu_times()
    return took, spent.user + spent.system


def said(what: str, runs: list[tuple[float, float]]) -> None:
    walls, cpus = sorted(w for w, _ in runs), sorted(c for _, c in runs)
    print(f"{what}: {walls[0]:.2f} s best, {walls[len(walls) // 2]:.2f} s median; processor {cpus[0]:.2f} s best, "
          f"{cpus[len(cpus) // 2]:.2f} s median, of {len(runs)}", flush=True)  # fmt: skip


def stream(port: int, first: int) -> None:
    """Publish calm readings of the sample city's first gateway's sensors, a few a message."""
    from citypulse.config import load_city
    from citypulse.vocabulary import extensions

    config = load_city(SAMPLE, extensions())
    gateway = config.sensors[0].gateway
    names = [s.id for s in config.sensors if s.gateway == gateway][:10]
    out = Publisher(port, f"bench-{first}")
    for _ in range(STREAM):
        now_ms = int(time.time() * 1000)
        rows = [{"sensor": name, "time": now_ms, "value": 1.0} for name in names]
        out.send(f"city/v1/{gateway}/readings", json.dumps({"readings": rows}).encode())
        time.sleep(0.012)  # a tick of its own for most
    out.finish()


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
        with Mosquitto() as broker:
            port = broker.port
            (folder / "data").mkdir()
            service = ServiceProcess(SAMPLE, folder / "data", port)
            started(service)  # kernels and bytecode
            service.stop()
            runs = []
            for k in range(TIMES):
                (folder / f"data-{k}").mkdir()
                fresh = ServiceProcess(SAMPLE, folder / f"data-{k}", port)
                runs.append(started(fresh))
                fresh.stop()
            said("first start, empty folder, to ready", runs)
            runs, replayed = [], []
            started(service)
            for k in range(TIMES):
                before = service.metric('citypulse_readings_total{lane="live"}')
                stream(port, k * STREAM)
                until(lambda before=before: service.metric('citypulse_readings_total{lane="live"}') > before, 60)
                service.kill()
                runs.append(started(service))
                lines = [
                    json.loads(line)
                    for line in service.tail().splitlines()
                    if line.startswith("{") and "city.recovered" in line
                ]
                replayed.append(lines[-1]["replayed"])
            service.stop()
            said(f"kill -9 to ready, {min(replayed)}-{max(replayed)} ticks re-run", runs)
        print("parts, one process, in order:")
        for _ in range(2):
            subprocess.run([sys.executable, "-c", PARTS, str(SAMPLE)], check=True, stderr=subprocess.DEVNULL)
            print()


if __name__ == "__main__":
    main()
