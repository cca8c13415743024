"""Evidence for one incident from the real service: whole, self-contained, and false after any edit."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from citypulse.evidence.incident import check
from citypulse.evidence.incident_page import page, piece_in
from tests.support import small_city
from tests.support.mosquitto import Mosquitto, is_installed
from tests.support.publisher import Publisher, reading_message
from tests.support.service import ServiceProcess, until

pytestmark = pytest.mark.skipif(not is_installed(), reason="needs mosquitto; .ci/run installs it")

RULES = """
rules:
  - id: depth
    name: {zh: 积水 <b>, en: Water depth}
    applies_to: {quantity: depth}
    source: a test & its reason
    threshold: {}
    limits:
      - {level: red, at_least: 100 cm, deadband: 3 cm, off_delay: 10 s}
    order: {template: pump, verify_for: 30 s, coverage: 80 %, opens_at: orange}
"""
SENSOR = "u-000001.depth"


@pytest.fixture(scope="module")
def incident(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServiceProcess, dict[str, Any], Path]]:
    folder = tmp_path_factory.mktemp("incident")
    (folder / "data").mkdir(mode=0o700)
    with Mosquitto(dir=folder, config=["max_queued_messages 0"]) as broker:
        config = small_city.write(folder, gateways=1, sites=1, broker_port=broker.port, rules=RULES)
        with ServiceProcess(config, folder / "data", broker.port) as service:
            at_ms = int(service.get("/api/v1/time")["now_ms"]) - 60_000
            out = Publisher(broker.port, "field")
            levels = [5.0, 40.0, 130.0, 131.0]
            readings = [(SENSOR, at_ms + 10_000 * k, depth) for k, depth in enumerate(levels)]
            out.send("city/v1/gw-01/readings", reading_message("b1", 0, readings, readings[-1][1]))
            out.finish()
            (alarm,) = until(lambda: service.get("/api/v1/alarms"))
            service.post(f"/api/v1/alarms/{alarm['id']}/acknowledge", {"reason": "<script>alert(1)</script>"})
            until(lambda: len(service.get(f"/api/v1/readings?sensor={SENSOR}")) == len(levels))
            until(lambda: any(n["state"] == "delivered" for n in of(service, alarm["id"])["notices"]))
            yield service, of(service, alarm["id"]), folder


def of(service: ServiceProcess, number: str) -> dict[str, Any]:
    found: dict[str, Any] = service.get(f"/api/v1/incidents/{number}")
    return found


def test_it_holds_readings_rule_text_record_notices_and_the_order(
    incident: tuple[ServiceProcess, dict[str, Any], Path],
) -> None:
    service, piece, _ = incident
    (series,) = piece["readings"]
    assert (series["sensor"], series["value"]) == (SENSOR, [5.0, 40.0, 130.0, 131.0])
    (rule,) = piece["rules"]
    assert "at_least: 100 cm" in rule["text"]
    assert rule["text"].startswith("  - id: depth")
    kinds = [line["kind"] for line in piece["record"]]
    assert {"raised", "acknowledged", "order_attached", "reported"} <= set(kinds)
    assert piece["orders"][0]["alarm_ids"] == [piece["alarms"][0]["id"]]
    assert piece["chain"]["is_whole"]
    assert of(service, piece["orders"][0]["id"])["alarms"][0]["id"] == piece["alarms"][0]["id"]


def test_every_hash_in_it_holds_and_any_edit_of_a_line_shows(
    incident: tuple[ServiceProcess, dict[str, Any], Path],
) -> None:
    _, piece, _ = incident
    assert check(piece) == []
    for number, line in enumerate(piece["record"]):
        for name, changed in (("because", line["because"] + "."), ("actor", "nobody"), ("wall_ms", 1)):
            forged = copy.deepcopy(piece)
            forged["record"][number][name] = changed
            assert check(forged), (line["kind"], name)
        for column in range(len(line["kept"])):
            forged = copy.deepcopy(piece)
            forged["record"][number]["kept"][column] = "x"
            assert check(forged), (line["kind"], column)


def test_the_page_is_one_file_that_reaches_nowhere_and_escapes_what_people_wrote(
    incident: tuple[ServiceProcess, dict[str, Any], Path],
) -> None:
    service, piece, _ = incident
    with urllib.request.urlopen(f"{service.address}/api/v1/incidents/{piece['id']}.html", timeout=20) as answer:
        text = answer.read().decode()
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert text.count("<script") == text.count("</script>") == 1  # the data; nothing runs
    assert "alert(1)" in text
    for outward in ("http://", "https://", "<link", "<iframe", "@import"):
        assert outward not in text
    again = piece_in(text)
    assert check(again) == []
    assert again["record"] == piece["record"]
    assert piece_in(page(piece)) == json.loads(json.dumps(piece))


def test_the_command_writes_it_and_checks_it_and_finds_an_edit(
    incident: tuple[ServiceProcess, dict[str, Any], Path],
) -> None:
    _, piece, folder = incident
    saved = folder / "incident.html"

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "citypulse", "incident", *args]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert run(piece["id"], "--html", str(saved), "--data", str(folder / "data")).returncode == 0
    assert run(str(saved), "--check").returncode == 0
    actor = piece["record"][-1]["actor"]
    saved.write_text(saved.read_text().replace(f'"{actor}"', '"somebody else"'))
    forged = run(str(saved), "--check")
    assert forged.returncode == 1
    assert "does not match its hash" in forged.stdout
    assert run("WO-nothing", "--data", str(folder / "data")).returncode == 1
