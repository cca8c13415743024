"""Simulated people at the real service: they close what they truly repaired, and cannot close what they botched."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from citypulse.app import Service, extensions
from citypulse.cli.serving import serve_console
from citypulse.clock import SpedClock
from citypulse.config import load_city
from citypulse.errors import CityError
from simulators.crews import Crews, crew_address, read_tokens
from simulators.district import District
from simulators.incidents import Incident
from tests.simulators.cast import NOON_MS
from tests.support.mosquitto import Mosquitto, is_installed

SPEED = 1800.0
PATIENCE_S = 60.0
_breath = threading.Event()

CITY = """
version: 1
city: {name: {zh: 磨坊区, en: Mill district}, timezone: Asia/Shanghai}
broker: {url: "mqtt://127.0.0.1:1883"}
areas: {mill: {zh: 磨坊, en: Mill}}
gateways:
  - {id: gw-1, codec: native, silent_after: 1 d}
templates:
  underpass: {domain: flood, kind: underpass, sensors: [{quantity: depth, cadence: 1 min}]}
sites:
  - template: underpass
    area: mill
    gateway: gw-1
    places:
      mill-bridge: [磨坊桥, Mill Bridge, 30.25, 120.12]
teams:
  duty: {name: {zh: 值班室, en: Duty desk}, kind: duty, unit: desk}
  crew-ada: {name: {zh: 抢险一组, en: Crew Ada}, kind: crew, domains: [flood], unit: pumps}
channels:
  log: {kind: log}
routes:
  - {id: all, to: duty, channel: log}
order_templates:
  pump: {name: {zh: 排水, en: Pump out}}
rules:
  - id: depth
    name: {zh: 积水, en: Water depth}
    applies_to: {quantity: depth}
    source: test
    threshold: {}
    limits:
      - {level: yellow, at_least: 10 cm, deadband: 3 cm, off_delay: 5 min}
    order: {template: pump, verify_for: 15 min, opens_at: yellow}
"""


@contextmanager
def running(tmp_path: Path, *, true_share: float, speed: float = SPEED) -> Iterator[tuple[Service, District, Crews]]:
    (tmp_path / "sensors.yaml").write_text(CITY)
    data = tmp_path / "data"
    data.mkdir()
    config = load_city(tmp_path / "sensors.yaml", extensions())
    clock = SpedClock(start_ms=NOON_MS, speed=speed)
    with Mosquitto() as broker:
        service = Service(config=config, data_dir=data, clock=clock, broker_url=broker.url)
        units = {"duty": "desk", "lead": "desk", "crew": "pumps", "checker": "supervision"}
        tokens = {role: service.users.add(f"sim-{role}", role=role, unit=unit) for role, unit in units.items()}
        with service, serve_console(service, "127.0.0.1:0", data) as console:
            flood = Incident(id="flood", kind="underpass_flood", site="mill-bridge", start_ms=NOON_MS + 600_000)
            district = District(config, 1, clock, broker.url, incidents=[flood], has_storms=False)
            crews = Crews(
                address=console.address,
                tokens=tokens,
                clock=clock,
                repair=district.repair,
                seed=1,
                teams=config.teams,
                sites=config.sites,
                true_share=true_share,
            )
            district.start()
            try:
                yield service, district, crews
            finally:
                district.stop()


def orders(service: Service) -> list[dict]:
    return service.window.orders(open_only=False, limit=10, team="", state="")


def work(service: Service, crews: Crews, done: Callable[[], bool]) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while not done():
        crews.step(service.clock.now_ms())
        assert time.monotonic() < give_up, (orders(service), crews.stats)
        assert not service.trouble
        _breath.wait(0.05)


@pytest.mark.skipif(not is_installed(), reason="mosquitto is not installed")
def test_what_is_truly_repaired_is_proven_by_the_sensors_and_closed_by_somebody_else(tmp_path):
    with running(tmp_path, true_share=1.0) as (service, district, crews):
        work(service, crews, lambda: any(o["state"] == "closed" for o in orders(service)))
        (order,) = orders(service)
        assert order["asset"] == "mill-bridge"
        assert order["team"] == "crew-ada"
        assert order["handler"] == "sim-crew"
        assert order["data"]["passed"]
        assert crews.stats.botched == 0
        assert crews.stats.repaired == 1 + order["rework_count"]
        assert crews.stats.acknowledged >= 1
        assert district.stats().incidents == ()
        steps = [e["kind"] for e in service.window.events(subject=order["id"], after_seq=0, limit=100)]
        assert steps.index("accepted") < steps.index("arrived") < steps.index("fed_back") < steps.index("checking")
        assert "check_passed" in steps
        assert steps[-1] == "closed"


@pytest.mark.skipif(not is_installed(), reason="mosquitto is not installed")
def test_a_botched_repair_is_never_closed_it_comes_back(tmp_path):
    with running(tmp_path, true_share=0.0) as (service, district, crews):
        work(service, crews, lambda: any(o["rework_count"] for o in orders(service)))
        assert all(o["state"] != "closed" for o in orders(service))
        assert crews.stats.botched >= 1
        assert district.stats().incidents == ("flood",)
        crews.true_share = 1.0
        work(service, crews, lambda: any(o["state"] == "closed" for o in orders(service)))
        assert district.stats().incidents == ()


def test_an_api_that_is_away_is_an_error_with_its_address():
    crews = Crews(
        address="http://127.0.0.1:1", tokens={"duty": "x"}, clock=SpedClock(start_ms=0, speed=1), repair=print, seed=1
    )
    with pytest.raises(CityError, match="GET /api/v1/alarms"):
        crews.step(0)


def test_tokens_are_read_from_json_and_from_lines():
    assert read_tokens('{"duty": "a", "crew:pumps": "b"}') == {"duty": "a", "crew:pumps": "b"}
    assert read_tokens("# people\nduty a\ncrew b\n") == {"duty": "a", "crew": "b"}


@pytest.mark.parametrize("text", ['{"queen": "secret"}', "duty a secret", '{"duty": 3}', "{"])
def test_a_wrong_token_file_is_refused_without_showing_a_token(text):
    with pytest.raises(ValueError) as caught:
        read_tokens(text)
    assert "secret" not in str(caught.value)


def test_only_http_addresses_are_taken():
    assert crew_address("http://127.0.0.1:8080/") == "http://127.0.0.1:8080"
    with pytest.raises(ValueError, match="is not the address of a service"):
        crew_address("file:///etc/passwd")
