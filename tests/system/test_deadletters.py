"""What could not be taken is kept, and taken after the fix: as good as if it had been good at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import small_city
from tests.support.mosquitto import Mosquitto, is_installed
from tests.support.publisher import Publisher, reading_message
from tests.support.service import ServiceProcess, until

pytestmark = pytest.mark.skipif(not is_installed(), reason="needs mosquitto; .ci/run installs it")


def test_a_reading_of_a_forgotten_sensor_is_taken_after_the_configuration_is_mended(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    with Mosquitto(dir=tmp_path, config=["max_queued_messages 0"]) as broker:
        config = small_city.write(tmp_path, sites=2, broker_port=broker.port)
        with ServiceProcess(config, data, broker.port) as service:
            at = int(service.get("/api/v1/time")["now_ms"]) - 60_000
            new, old = "u-000003.depth", "u-000001.depth"
            out = Publisher(broker.port, "field")
            row = [(old, at, 1.0), (new, at, 31.0), (new, at + 10_000, 32.0)]
            out.send("city/v1/gw-01/readings", reading_message("b1", 1, row, at))
            out.finish()
            letters = until(lambda: service.get("/api/v1/dead-letters"))
            assert {d["reason"] for d in letters} == {"unknown_sensor"}
            until(lambda: service.get(f"/api/v1/readings?sensor={old}"), why="its neighbour was lost with it")

            small_city.write(tmp_path, sites=3, broker_port=broker.port)
            os.kill(service.pid, signal.SIGHUP)
            until(lambda: any(s["id"] == new for s in service.get("/api/v1/sensors")))
            replay = [sys.executable, "-m", "citypulse", "deadletters", "replay", "--data", str(data)]
            said = subprocess.run(replay, capture_output=True, text=True, check=True).stdout
            assert "2" in said
            until(lambda: len(service.get(f"/api/v1/readings?sensor={new}")) == 2)
            (alarm,) = until(lambda: [a for a in service.get("/api/v1/alarms") if a["scope"] == new])
            assert alarm["raised_ms"] == at
            assert service.get("/api/v1/dead-letters")[0]["replayed_ms"] is not None
            again = subprocess.run(replay, capture_output=True, text=True, check=True).stdout
            assert "0" in again
