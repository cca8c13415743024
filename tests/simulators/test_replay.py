"""Recorded readings published again: complete, in order, uncalibrated as the instruments sent them, proven durable."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from citypulse.cli.simulate import command
from citypulse.clock import SystemClock
from citypulse.readings_files import read_readings
from simulators.replay import Replay
from tests.simulators.answering_city import AnsweringCity
from tests.simulators.cast import CITY, NOON_MS
from tests.support.mosquitto import Mosquitto, free_port, is_installed

pytestmark = pytest.mark.skipif(not is_installed(), reason="mosquitto is not installed")
_breath = threading.Event()
SENSORS = ("mill-1.do", "w-1.ch4", "pass-1.depth", "mill-2.do")


@pytest.fixture
def city() -> Iterator[AnsweringCity]:
    with Mosquitto() as broker, AnsweringCity(broker.url) as hearing:
        hearing.url = broker.url
        while not hearing.source.is_connected:
            _breath.wait(0.01)
        yield hearing


def recording(path: Path, minutes: int, extra: str = "") -> Path:
    lines = ["sensor,time,value"]
    rng = np.random.default_rng(3)
    for m in range(minutes):
        lines += [f"{s},{NOON_MS + m * 60_000},{round(float(rng.random()) * 10, 3)}" for s in SENSORS]
    path.write_text("\n".join(lines) + "\n" + extra)
    return path


def test_everything_in_the_file_becomes_durable_in_the_order_of_the_file(city, tmp_path):
    path = recording(tmp_path / "r.csv", 5000)
    done = Replay(CITY, city.url, SystemClock()).run(read_readings(path), speed=None, until_durable=True)
    assert done.is_durable
    assert done.readings == done.durable_readings == 20_000
    assert done.out_of_order == done.skipped_unknown == done.bad_lines == 0
    assert len(city.readings()) == 20_000
    for gateway in ("gw-1", "gw-2", "gw-3"):
        times = [t for g, b in city.messages if g == gateway for t in b["time"]]
        assert times == sorted(times)
    assert (done.first_ms, done.last_ms) == (NOON_MS, NOON_MS + 4999 * 60_000)


def test_values_are_sent_as_the_instrument_would_and_missing_ones_as_null(city, tmp_path):
    path = tmp_path / "r.csv"
    path.write_text(
        f"sensor,time,value,quality\nmill-2.do,{NOON_MS},7.5,1\nmill-1.do,{NOON_MS},7.5,1\nmill-1.do,{NOON_MS + 1},,9\n"
    )
    Replay(CITY, city.url, SystemClock()).run(read_readings(path), speed=None, until_durable=True)
    assert city.readings() == {
        ("mill-2.do", NOON_MS): 70.0,  # (7.5 - 0.5) / 0.1
        ("mill-1.do", NOON_MS): 7.5,
        ("mill-1.do", NOON_MS + 1): None,
    }
    Replay(CITY, city.url, SystemClock(), is_raw=True).run(read_readings(path), speed=None, until_durable=True)
    assert city.readings()["mill-2.do", NOON_MS] == 7.5


def test_two_replays_never_share_numbers(city, tmp_path):
    path = recording(tmp_path / "r.csv", 2)
    for _ in range(2):
        assert Replay(CITY, city.url, SystemClock()).run(read_readings(path), speed=None, until_durable=True).is_durable
    assert len({boot for gateway, boot in city.seqs if gateway == "gw-1"}) == 2


def test_what_the_city_does_not_know_or_cannot_read_is_counted_and_named(city, tmp_path):
    path = recording(
        tmp_path / "r.csv", 3, extra=f"ghost.do,{NOON_MS},1\nmill-1.do,yesterday,1\nmill-1.do,{NOON_MS},5\n"
    )
    done = Replay(CITY, city.url, SystemClock()).run(read_readings(path), speed=None, until_durable=True)
    assert done.skipped_unknown == 1
    assert done.unknown_sensors == ["ghost.do"]
    assert done.bad_lines == 1
    assert "yesterday" in done.first_bad_lines[0]
    assert done.out_of_order == 1
    assert done.readings == 13


def test_at_a_speed_the_recording_takes_its_time(city, tmp_path):
    path = recording(tmp_path / "r.csv", 11)  # ten minutes
    done = Replay(CITY, city.url, SystemClock()).run(read_readings(path), speed=600.0, until_durable=True)
    assert done.seconds >= 1.0
    assert done.is_durable
    assert done.readings == 44


def test_a_silent_city_ends_the_wait_with_a_reason(city, tmp_path):
    city.is_answering = False
    path = recording(tmp_path / "r.csv", 3)
    done = Replay(CITY, city.url, SystemClock(), give_up_s=0.5).run(read_readings(path), speed=None, until_durable=True)
    assert not done.is_durable
    assert "called nothing durable" in done.problem
    again = Replay(CITY, city.url, SystemClock(), give_up_s=5).run(read_readings(path), speed=None, until_durable=False)
    assert again.problem == ""
    assert again.pending_messages == again.messages


def test_without_a_broker_it_says_so(tmp_path):
    path = recording(tmp_path / "r.csv", 3)
    nowhere = f"mqtt://127.0.0.1:{free_port()}"
    done = Replay(CITY, nowhere, SystemClock(), give_up_s=0.5).run(read_readings(path), speed=None, until_durable=True)
    assert "cannot reach the broker" in done.problem


def test_a_large_city_shares_connections(city, tmp_path):
    path = recording(tmp_path / "r.csv", 10)
    done = Replay(replace(CITY), city.url, SystemClock(), connections=1).run(
        read_readings(path), speed=None, until_durable=True
    )
    assert done.is_durable


YAML = """
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
      pass-1: [磨坊桥, Mill Bridge, 30.25, 120.12]
"""


@pytest.fixture(autouse=True)
def _own_logs(monkeypatch):
    """The command points the log at its own stderr, which ends with it; the log of the other tests must not."""
    monkeypatch.setattr("citypulse.logs.set_up_logs", lambda **_: None)


def simulate(tmp_path: Path, *words: str) -> tuple[int, dict, str]:
    (tmp_path / "sensors.yaml").write_text(YAML)
    done = CliRunner().invoke(command, ["--config", str(tmp_path / "sensors.yaml"), "--json", *words])
    return done.exit_code, json.loads(done.stdout) if done.stdout else {}, done.stderr


def test_the_command_replays_until_durable_and_says_so_by_its_exit(city, tmp_path):
    path = tmp_path / "r.csv"
    path.write_text("sensor,time,value\n" + "".join(f"pass-1.depth,{NOON_MS + k * 60_000},{k}\n" for k in range(30)))
    code, said, _ = simulate(tmp_path, "--broker", city.url, "--replay", str(path), "--speed", "max")
    assert code == 0
    assert said["durable_readings"] == 30
    path.write_text(path.read_text() + f"ghost.depth,{NOON_MS},1\n")
    code, said, _ = simulate(tmp_path, "--broker", city.url, "--replay", str(path), "--speed", "max")
    assert code == 1
    assert said["unknown_sensors"] == ["ghost.depth"]


def test_the_command_simulates_for_a_while_and_ends_now(city, tmp_path):
    code, said, _ = simulate(
        tmp_path,
        "--broker",
        city.url,
        "--speed",
        "1200",
        "--duration",
        "1 h",
        "--incident",
        "underpass_flood@pass-1+5min",
    )
    assert code == 0
    assert said["pending"] == 0
    assert 55 <= said["readings"] <= 63
    assert abs(said["now_ms"] - SystemClock().now_ms()) < 20 * 60_000
    depth = [v for (s, _), v in city.readings().items()]
    assert max(depth) > 20


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("--speed", "60"), 2, "runs into the future"),
        (("--speed", "max"), 2, "is for --replay"),
        (("--speed", "fast"), 2, "neither `max` nor a number"),
        (("--incident", "meteor@pass-1"), 2, "kinds: underpass_flood"),
        (("--incident", "gas_leak@pass-1"), 2, "it happens at: gas-well"),
        (("--faults", "outage@gw-9"), 2, "'gw-9' is not configured"),
        (("--crews", "http://127.0.0.1:1"), 2, "needs --token-file"),
        (("--duration", "1 s", "--broker", "mqtt://127.0.0.1:1"), 3, "no gateway reached"),
    ],
)
def test_the_command_refuses_what_it_cannot_do_with_the_cure(tmp_path, words, code, text):
    ended, _, error = simulate(tmp_path, "--give-up", "1 s", *words)
    assert ended == code
    assert text in error


def test_the_exit_reaches_the_shell(tmp_path):
    (tmp_path / "sensors.yaml").write_text(YAML)
    words = ["--config", str(tmp_path / "sensors.yaml"), "--duration", "1 s", "--give-up", "1 s"]
    nowhere = f"mqtt://127.0.0.1:{free_port()}"
    ended = subprocess.run(
        [sys.executable, "-m", "citypulse", "simulate", *words, "--broker", nowhere],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 3
    assert b"no gateway reached" in ended.stderr
