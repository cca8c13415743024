"""A service whose reading store cannot be opened: it says so, alarms go on, and no reading is lost."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from citypulse.store.duck import FILE
from tests.support import small_city
from tests.support.mosquitto import Mosquitto, is_installed
from tests.support.publisher import Publisher, reading_message
from tests.support.service import ServiceProcess, until

pytestmark = pytest.mark.skipif(not is_installed(), reason="needs mosquitto; .ci/run installs it")


def address(service: ServiceProcess) -> str:
    """Return where the service listens, ready or not; "" as long as it does not."""
    try:
        return str(json.loads((service.data / "service.json").read_text())["address"])
    except (OSError, ValueError):
        return ""


def asked(service: ServiceProcess, path: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(service.address + path, timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_a_store_that_cannot_be_opened_is_reported_stops_no_alarm_and_loses_no_reading(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    (data / FILE).write_bytes(b"what a broken disk left of it " * 500)
    with Mosquitto(dir=tmp_path) as broker:
        config = small_city.write(tmp_path, broker_port=broker.port)
        service = ServiceProcess(config, data, broker.port)
        try:
            service.start(wait_ready=False)
            service.address = until(lambda: address(service), 90)

            def problems() -> str:
                return " ".join(p["en"] for p in asked(service, "/readyz")[1]["problems"])

            until(lambda: "the reading store does not take readings" in problems() and "broker" not in problems())
            assert asked(service, "/readyz")[0] == 503
            assert FILE in problems()
            assert "cannot be opened" in problems()
            at_ms = int(service.get("/api/v1/time")["now_ms"]) - 60_000
            out = Publisher(broker.port, "field")
            rows = [("u-000001.depth", at_ms + 10_000 * k, 30.0 + k) for k in range(3)]
            out.send("city/v1/gw-01/readings", reading_message("b1", 0, rows, at_ms + 20_000))
            out.finish()
            (alarm,) = until(lambda: service.get("/api/v1/alarms"))
            assert alarm["scope"] == "u-000001.depth"
            status, body = asked(service, f"/api/v1/readings?sensor=u-000001.depth&since_ms={at_ms}")
            assert (status, "cannot be opened" in str(body)) == (503, True), body
            urllib.request.urlopen(service.address + "/livez", timeout=20).close()
            service.kill()
            (data / FILE).unlink()
            service.start()
            found = until(lambda: service.get(f"/api/v1/readings?sensor=u-000001.depth&since_ms={at_ms}"))
            assert [row["value"] for row in found] == [30.0, 31.0, 32.0]
        finally:
            service.__exit__()
