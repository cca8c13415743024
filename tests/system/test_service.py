"""The real service on a real broker: what a gateway, an officer, a crew and a checker see of it."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from citypulse.ledger.users import Users
from simulators.pictures import picture
from tests.support import small_city
from tests.support.mosquitto import Mosquitto, is_installed
from tests.support.publisher import Publisher, reading_message
from tests.support.service import ServiceProcess, until

pytestmark = pytest.mark.skipif(not is_installed(), reason="needs mosquitto; .ci/run installs it")

GATEWAYS = 3
RULES = """
rules:
  - id: depth
    name: {zh: 积水, en: Water depth}
    applies_to: {quantity: depth}
    source: test
    threshold: {}
    limits:
      - {level: blue, at_least: 50 cm, deadband: 3 cm, off_delay: 10 s}
      - {level: yellow, at_least: 75 cm, deadband: 3 cm, off_delay: 10 s}
      - {level: orange, at_least: 90 cm, deadband: 3 cm, off_delay: 10 s}
      - {level: red, at_least: 100 cm, deadband: 3 cm, off_delay: 10 s}
    order: {template: pump, verify_for: 30 s, coverage: 80 %, opens_at: orange}
"""


class Field:
    """The gateways of the small city, with their numbers."""

    def __init__(self, broker: Mosquitto) -> None:
        self.port = broker.port
        self.seq: dict[str, int] = {}

    def say(self, gateway: str, readings: list[tuple[str, int, float]]) -> None:
        out = Publisher(self.port, f"field-{gateway}-{random.random()}")
        seq = self.seq[gateway] = self.seq.get(gateway, -1) + 1
        out.send(f"city/v1/{gateway}/readings", reading_message("b1", seq, readings, readings[-1][1]))
        out.finish()

    def shout(self, gateway: str, payloads: list[bytes]) -> None:
        out = Publisher(self.port, f"noise-{gateway}")
        for payload in payloads:
            out.send(f"city/v1/{gateway}/readings", payload)
        out.finish()


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServiceProcess, Field, Path]]:
    folder = tmp_path_factory.mktemp("service")
    (folder / "data").mkdir(mode=0o700)
    with Mosquitto(dir=folder, config=["max_queued_messages 0"]) as broker:
        config = small_city.write(folder, gateways=GATEWAYS, sites=9, broker_port=broker.port, rules=RULES)
        with ServiceProcess(config, folder / "data", broker.port) as service:
            yield service, Field(broker), folder / "data"


def alarms_of(service: ServiceProcess, scope: str) -> list[Any]:
    return [a for a in service.get("/api/v1/alarms?open=false") if a["scope"] == scope]


def now(service: ServiceProcess) -> int:
    return int(service.get("/api/v1/time")["now_ms"])


def test_a_jump_over_every_band_raises_the_highest_and_records_all(city: tuple[ServiceProcess, Field, Path]) -> None:
    """Singapore, 5 June 2011: about 50 % to over 100 % in one step; band alarms stayed silent."""
    service, field, _ = city
    at = now(service) - 60_000
    field.say("gw-01", [("u-000001.depth", at, 49.0)])
    field.say("gw-01", [("u-000001.depth", at + 10_000, 110.0)])
    (alarm,) = until(lambda: alarms_of(service, "u-000001.depth"))
    assert (alarm["level"], alarm["peak_level"], alarm["occurrence"]) == (1, 1, 1)
    events = service.get(f"/api/v1/events?subject={alarm['id']}")
    raised = next(e for e in events if e["kind"] == "raised")
    assert {c["level"] for c in raised["data"]["crossed"]} == {"red", "orange", "yellow", "blue"}
    assert "city.yaml:" in alarm["because_en"]


def broken_payloads(seed: int) -> list[bytes]:
    """A thousand payloads of every kind of wrong."""
    rng = random.Random(seed)
    whole = reading_message("b9", 1, [("u-000004.depth", 1_790_000_000_000, 1.0)], 1_790_000_000_000)
    numbers = iter(range(1, 10_000))  # the same number twice would be the same message twice
    kinds: list[Callable[[], bytes]] = [
        lambda: rng.randbytes(rng.randrange(1, 200)),
        lambda: whole[: rng.randrange(1, len(whole) - 1)],
        lambda: b"",
        lambda: b"[" * rng.randrange(1, 5000),
        lambda: b'{"readings":' + b'{"a":' * 500 + b"1" + b"}" * 500 + b"}",
        lambda: b'{"readings":[{"sensor":"u-000004.depth","time":1e400,"value":1}]}',
        lambda: b'{"readings":[{"sensor":"u-000004.depth","time":1790000000000,"value":NaN}]}',
        lambda: b'{"readings":[{"sensor":"u-000004.depth","time":"yesterday","value":1}]}',
        lambda: b'{"readings":[{"sensor":"u-000004.depth","time":12,"value":1}]}',
        lambda: b'{"readings":[{"sensor":"nobody.depth","time":1790000000000,"value":1}]}',
        lambda: b'{"readings":[{"sensor":"u-000001.depth","time":1790000000000,"value":1}]}',
        lambda: b'{"sensor":["u-000004.depth"],"time":[1,2],"value":[1]}',
        lambda: b'{"readings":[{"sensor":"u-000004.depth","time":1790000000000,"value":"wet"}]}',
        lambda: b"\xff\xfe" + whole,
        lambda: whole.replace(b"readings", b"reedings").replace(b'"seq":1', b'"seq":%d' % next(numbers)),
        lambda: b"null",
    ]
    return [kinds[k % len(kinds)]() for k in range(1000)]


def test_a_thousand_malformed_payloads_of_one_gateway_hold_up_nobody(city: tuple[ServiceProcess, Field, Path]) -> None:
    service, field, _ = city
    payloads = broken_payloads(20261122)
    before = len(service.get("/api/v1/dead-letters?limit=10000"))
    at = now(service) - 60_000
    began = time.monotonic()
    field.shout("gw-02", payloads)
    field.say("gw-03", [("u-000007.depth", at, 95.0)])
    until(lambda: alarms_of(service, "u-000007.depth"), 5.0, why="another gateway's alarm was held up")
    assert time.monotonic() - began < 5.0
    until(lambda: len(service.get("/api/v1/dead-letters?limit=10000")) - before >= len(payloads), 10.0)
    letters = service.get("/api/v1/dead-letters?limit=10000")
    assert len(letters) - before == len(payloads)
    assert all(d["reason"] and d["detail"] for d in letters)
    assert len({d["reason"] for d in letters}) >= 8


def test_only_a_sensors_own_gateway_may_speak_for_it(city: tuple[ServiceProcess, Field, Path]) -> None:
    service, field, _ = city
    at = now(service) - 50_000
    field.say("gw-03", [("u-000002.depth", at, 120.0), ("u-000008.depth", at, 1.0)])
    until(
        lambda: [
            d
            for d in service.get("/api/v1/dead-letters")
            if d["reason"] == "foreign_sensor" and d["gateway"] == "gw-03"
        ]
    )
    assert alarms_of(service, "u-000002.depth") == []
    until(lambda: service.get("/api/v1/readings?sensor=u-000008.depth"))


def test_an_order_closes_only_when_sensors_and_another_person_say_so(city: tuple[ServiceProcess, Field, Path]) -> None:
    service, field, data = city
    users = Users.at(data)
    crew = users.add("ada", role="crew", unit="drainage")
    same_unit = users.add("carl", role="checker", unit="drainage")
    checker = users.add("bo", role="checker", unit="inspection")
    lead = users.add("lin", role="lead", unit="centre")
    at = now(service) - 200_000
    sensor = "u-000003.depth"
    field.say("gw-01", [(sensor, at, 92.0)])
    order = until(lambda: [o for o in service.get("/api/v1/orders") if o["asset"] == "u-000003"])[0]
    assert (order["state"], order["team"]) == ("dispatched", "pumps")
    path = f"/api/v1/orders/{order['id']}/"

    def step(verb: str, token: str, **body: Any) -> tuple[int, Any]:
        return service.post(path + verb, body, token=token)

    status, refused = step("report", crew)
    assert status == 409
    assert "DISPATCHED" in refused["message"]
    assert "accept" in refused["allowed"] or "accept" in refused["message"]
    assert step("accept", crew)[0] == 200
    assert step("arrive", crew, position=[30.27, 120.12])[0] == 200
    status, refused = step("report", crew)
    assert (status, refused["code"]) == (422, "bad_data")
    assert "photo_before, photo_after" in refused["message"]
    unknown = {"photo_before": "sha256:1", "photo_after": "sha256:2", "action": "pumped out"}
    status, refused = step("report", crew, **unknown)
    assert (status, refused["code"]) == (422, "bad_data")
    assert "/api/v1/evidence" in refused["message"]
    before, after = (service.send_picture(picture("u-000003", moment), token=crew) for moment in ("before", "after"))
    evidence = {"photo_before": before, "photo_after": after, "action": "pumped out", "note": "dry"}
    status, answer = step("report", crew, **evidence)
    assert status == 200, answer
    fed_back = now(service)
    status, _ = step("check", same_unit)
    assert status in {403, 409}
    status, answer = step("check", checker)
    assert status == 200, answer
    status, answer = step("close", lead)
    assert status in {403, 409, 422}, "no sensor has said anything since the repair"
    for k in range(1, 9):
        field.say("gw-01", [(sensor, fed_back + k * 10_000, 2.0)])
    until(lambda: alarms_of(service, sensor)[0]["condition"] == "normal")
    assert step("pass", checker, note="seen dry")[0] in {200, 409}

    def closed() -> bool:
        for token in (checker, lead):
            step("pass", checker, note="seen dry")
            step("close", token, note="seen dry")
        return service.get(f"/api/v1/orders/{order['id']}")["state"] == "closed"

    until(closed, 30.0, why=str(service.get(f"/api/v1/orders/{order['id']}")))
    kinds = [e["kind"] for e in service.get(f"/api/v1/events?subject={order['id']}")]
    assert kinds[:3] == ["reported", "filed", "dispatched"]
    assert kinds[-1] == "closed"


def test_the_commands_beside_the_service_see_what_it_sees(city: tuple[ServiceProcess, Field, Path]) -> None:
    service, _, data = city
    for verb in (["alarms"], ["orders"], ["deadletters"], ["alarms", "events"]):
        run = subprocess.run(
            [sys.executable, "-m", "citypulse", *verb, "--data", str(data), "--json"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert run.stdout.startswith("[")
    run = subprocess.run(
        [sys.executable, "-m", "citypulse", "audit", "verify", "--data", str(data)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "whole" in run.stdout
    assert service.get("/readyz")["ready"] is True
