"""From a reading to a tap on a phone: the real service and broker, a robot's server, and the link in its message."""

from __future__ import annotations

import json
import re
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from tests.support import small_city
from tests.support.mosquitto import Mosquitto, is_installed
from tests.support.publisher import Publisher, reading_message
from tests.support.robot import RobotServer
from tests.support.service import ServiceProcess, until

pytestmark = pytest.mark.skipif(not is_installed(), reason="needs mosquitto; .ci/run installs it")


def test_a_flood_reaches_a_robot_and_a_tap_on_its_link_acknowledges(tmp_path: Path) -> None:
    robot = RobotServer("dingtalk", per_minute=10**6)
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    with Mosquitto(dir=tmp_path, config=["max_queued_messages 0"]) as broker:
        text = small_city.text(sites=1, broker_port=broker.port)
        settings = f'{{url: "{robot.url}", per_minute: 18, fail_over_to: [log]}}'
        text = text.replace("channels:\n", f"channels:\n  robot: {{kind: dingtalk, settings: {settings}}}\n")
        text = text.replace("{id: all, to: desk, channel: log}", "{id: all, to: desk, channel: robot}")
        text = text.replace("Asia/Shanghai\n", "Asia/Shanghai\n  public_url: http://127.0.0.1\n")
        config = tmp_path / "city.yaml"
        config.write_text(text, encoding="utf-8")
        with ServiceProcess(config, data, broker.port) as service:
            now_ms = int(service.get("/api/v1/time")["now_ms"])
            out = Publisher(broker.port, "field")
            rows = [("u-000001.depth", now_ms - 60_000 + k * 10_000, 30.0) for k in range(3)]
            out.send("city/v1/gw-01/readings", reading_message("b1", 0, rows, rows[-1][1]))
            out.finish()
            message = until(lambda: next((r for r in robot.taken if "/k/" in r.text), None), why=service.tail())
            link = re.search(r"http://127\.0\.0\.1(/k/[\w.-]+)", message.text)
            assert link is not None
            address = service.address + link[1]
            with urllib.request.urlopen(address, timeout=20) as page:
                html = page.read().decode()
            fields = dict(re.findall(r'name="(\w+)" value="(\w+)"', html))
            (alarm,) = service.get("/api/v1/alarms")
            assert not alarm["is_acked"], "looking acknowledges nothing"
            form = urllib.parse.urlencode(fields).encode()
            with urllib.request.urlopen(address, data=form, timeout=20) as page:
                assert "已确认 desk" in page.read().decode()
            acked = service.get(f"/api/v1/alarms/{alarm['id']}")
            assert (acked["is_acked"], acked["acked_by"]) == (True, "desk")
            channels = {c["id"]: c for c in service.get("/api/v1/channels")}
            assert channels["robot"]["delivered"] >= 1
            assert channels["robot"]["fail_over_to"] == ["log"]
            with urllib.request.urlopen(service.address + "/metrics", timeout=20) as metrics:
                assert 'citypulse_channel_notices{channel="robot",outcome="delivered"}' in metrics.read().decode()
            (told,) = service.get("/api/v1/notices?channel=robot&state=delivered&limit=1")
            assert told["provider_code"] == "0"
            assert "/k/" not in json.dumps(told), "links are not kept in the ledger"
            assert (data / "links.key").stat().st_mode & 0o777 == 0o600
    robot.close()
