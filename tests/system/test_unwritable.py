"""A ledger that cannot be written: said at once, nothing acknowledged, nothing lost when it can be written again."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import small_city
from tests.support.mosquitto import Mosquitto, is_installed
from tests.support.publisher import Publisher, reading_message
from tests.support.service import ServiceProcess, until

pytestmark = pytest.mark.skipif(not is_installed(), reason="needs mosquitto; .ci/run installs it")
SENSOR = "u-000001.depth"


@pytest.mark.slow
def test_a_city_that_cannot_write_says_so_and_takes_all_once_it_can(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    with Mosquitto(dir=tmp_path, config=["max_queued_messages 0"]) as broker:
        config = small_city.write(tmp_path, gateways=1, sites=1, broker_port=broker.port, rules="")
        with ServiceProcess(config, tmp_path / "data", broker.port) as service:

            def health() -> dict[str, Any]:
                found: dict[str, Any] = httpx.get(service.address + "/readyz", timeout=20).json()
                return found

            def problems() -> str:
                return " ".join(p["en"] for p in health()["problems"])

            at_ms = int(service.get("/api/v1/time")["now_ms"]) - 1_000
            greedy = sqlite3.connect(tmp_path / "data" / "city.db", isolation_level=None, timeout=60)
            greedy.execute("BEGIN IMMEDIATE")
            out = Publisher(broker.port, "field")
            out.send("city/v1/gw-01/readings", reading_message("b1", 0, [(SENSOR, at_ms, 12.0)], at_ms))
            until(lambda: "the ledger cannot be written" in problems())
            assert not service.get(f"/api/v1/readings?sensor={SENSOR}")
            greedy.execute("ROLLBACK")
            greedy.close()
            until(lambda: health()["ready"])
            until(lambda: len(service.get(f"/api/v1/readings?sensor={SENSOR}")) == 1)
            out.finish()
