"""Who watches the watcher: systemd's socket, an address outside, the log and `citypulse health`; real sockets."""

from __future__ import annotations

import json
import socket
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from alerts.delivery.pace import ChannelHealth
from citypulse.errors import DeliveryError
from citypulse.health import Health
from citypulse.model import ChannelConfig, WatchdogPlan
from citypulse.watchdog import Watchdog, no_way_out, tell_systemd
from tests.alerts.cast import HERE, city

WELL = Health(is_ready=True, problems=(), facts={})
MUTE = replace(WELL, is_ready=False, is_mute=True, problems=(("哑", "mute"),))
STUCK = replace(WELL, is_ready=False, is_alive=False, problems=(("停", "stuck"),))
LAME = replace(WELL, is_ready=False, problems=(("代理断", "the broker is away"),))


class Systemd:
    """The end of NOTIFY_SOCKET that systemd holds."""

    def __init__(self, path: Path) -> None:
        self.door = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.door.bind(str(path))
        self.door.setblocking(False)

    @property
    def heard(self) -> list[str]:
        found = []
        while True:
            try:
                found.append(self.door.recv(4096).decode())
            except BlockingIOError:
                return found


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    made = Systemd(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    yield made
    made.door.close()


class Outside:
    """A dead man's switch: counts who says that he is well."""

    def __init__(self) -> None:
        self.status, self.heard = 200, list[dict[str, Any]]()
        outside = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outside.heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(outside.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/alive"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def outside():
    made = Outside()
    yield made
    made.server.shutdown()
    made.server.server_close()


def dog(states: list[Health], **plan: Any) -> Watchdog:
    """Watch a city whose health is what the list says, one look after the other; the last one stays."""
    config = replace(city(), watchdog=WatchdogPlan(**plan))
    return Watchdog(lambda: config, lambda: states.pop(0) if len(states) > 1 else states[0])


def test_systemd_hears_that_it_is_ready_once_and_then_that_it_lives(systemd):
    watched = dog([WELL])
    for second in (0, 5, 10):
        watched.look(second)
    watched.stopping()
    assert systemd.heard == ["READY=1\nWATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1", "STOPPING=1"]


def test_systemd_hears_nothing_of_a_heart_that_stands_still_and_so_restarts_it(systemd):
    watched = dog([WELL, STUCK])
    watched.look(0)
    watched.look(5)
    assert systemd.heard == ["READY=1\nWATCHDOG=1"]


def test_a_broker_that_is_away_is_no_reason_for_a_restart(systemd):
    dog([LAME]).look(0)
    assert systemd.heard == ["READY=1\nWATCHDOG=1"]


def test_without_systemd_nothing_happens(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert tell_systemd("READY=1") is False
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/at/all")
    assert tell_systemd("READY=1") is False


def test_the_switch_outside_is_told_at_its_interval_with_what_is_wrong(outside):
    watched = dog([LAME], url=outside.url, every_s=60.0)
    for second in range(0, 125, 5):
        watched.look(second)
    assert len(outside.heard) == 3
    assert outside.heard[0]["problems"] == ["the broker is away"]
    assert outside.heard[0]["ready"] is False


@pytest.mark.parametrize("state", [MUTE, STUCK])
def test_a_city_that_can_tell_nobody_or_stands_still_falls_silent_outside(outside, state):
    watched = dog([WELL, state, state, WELL], url=outside.url, every_s=5.0)
    for second in (0, 5, 10, 15):
        watched.look(second)
    assert len(outside.heard) == 2, "silence in between is what raises the alarm there"


def test_an_address_that_is_a_secret_comes_from_the_environment(outside, monkeypatch):
    monkeypatch.setenv("HEARTBEAT_URL", outside.url)
    dog([WELL], url_env="HEARTBEAT_URL").look(0)
    assert len(outside.heard) == 1


def test_a_switch_that_does_not_answer_is_logged_once_and_never_stops_the_watch(outside, systemd):
    outside.status = 500
    watched = dog([WELL], url=outside.url, every_s=5.0)
    with capture_logs() as logs:
        for second in (0, 5, 10):
            watched.look(second)
        outside.status = 200
        watched.look(15)
    assert [line["event"] for line in logs] == ["watchdog.ping_failed", "watchdog.ping_works"]
    assert len(systemd.heard) == 4


def test_a_city_that_falls_mute_says_so_at_the_highest_level_once(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    watched = dog([MUTE, MUTE, WELL])
    with capture_logs() as logs:
        for second in (0, 5, 10):
            watched.look(second)
    assert [(line["event"], line["log_level"]) for line in logs] == [
        ("city.mute", "critical"), ("city.speaks_again", "info"),
    ]  # fmt: skip


def channels(*kinds: str) -> Any:
    made = {k: ChannelConfig(id=k, kind=k, settings=None, origin=HERE) for k in kinds}
    return replace(city(), channels=made)


def test_only_when_every_channel_that_calls_people_fails_nobody_can_be_told():
    well = ChannelHealth()
    ill = well.missed(DeliveryError("line cut", permanent=False), 1)
    config = channels("sms", "mail", "log")
    assert no_way_out(config, {"sms": ill, "mail": well, "log": well}) is None
    said = no_way_out(config, {"sms": ill, "mail": ill, "log": well})
    assert said is not None
    assert "sms, mail" in said[1]
    assert "line cut" in said[1]
    assert no_way_out(channels("log"), {"log": ill}) is None, "a demo with a log alone tells nobody by design"
