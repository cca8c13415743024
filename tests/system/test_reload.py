"""The real process: SIGHUP and a watched file change its rules while alarms stand; `why` and `reload` beside it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import small_city
from tests.support.mosquitto import Mosquitto, is_installed
from tests.support.publisher import Publisher, reading_message
from tests.support.service import ServiceProcess, until

pytestmark = pytest.mark.skipif(not is_installed(), reason="needs mosquitto; .ci/run installs it")

RULES = """
rules:
  - id: depth
    name: {zh: 积水, en: Water depth}
    applies_to: {quantity: depth}
    source: test
    threshold: {}
    limits:
      - {level: yellow, at_least: 30 cm, deadband: 3 cm, on_delay: 1 h, off_delay: 20 s}
      - {level: red, at_least: 100 cm, deadband: 3 cm, off_delay: 20 s}
"""


class Town:
    """A running service whose file a test may change."""

    def __init__(self, folder: Path, broker: Mosquitto, service: ServiceProcess) -> None:
        self.folder, self.broker, self.service = folder, broker, service
        self.seq = 0

    def write(self, rules: str, sites: int = 2, log_path: str = "notices.jsonl") -> None:
        """Replace the file at once, as careful editors do."""
        text = small_city.text(sites=sites, broker_port=self.broker.port, rules=rules, log_path=log_path)
        (self.folder / "new.yaml").write_text(text, encoding="utf-8")
        (self.folder / "new.yaml").replace(self.folder / "city.yaml")

    def say(self, sensor: str, value: float) -> None:
        at = int(self.service.get("/api/v1/time")["now_ms"]) - 1_000
        out = Publisher(self.broker.port, f"gateway-{self.seq}")
        out.send("city/v1/gw-01/readings", reading_message("b1", self.seq, [(sensor, at, value)], at))
        out.finish()
        self.seq += 1

    def hang_up(self) -> None:
        os.kill(self.service.pid, signal.SIGHUP)

    def counts(self) -> dict[str, int]:
        counts: dict[str, int] = self.service.get("/readyz")["facts"]["config_reloads"]
        return counts

    def alarms(self) -> list[Any]:
        rows: list[Any] = self.service.get("/api/v1/alarms")
        return rows

    def verb(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "citypulse", *words, "--data", str(self.folder / "data")]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("reload")
    (folder / "data").mkdir(mode=0o700)
    with Mosquitto(dir=folder) as broker:
        config = small_city.write(folder, sites=2, broker_port=broker.port, rules=RULES)
        with ServiceProcess(config, folder / "data", broker.port) as service:
            yield Town(folder, broker, service)


def test_sighup_changes_the_rules_while_an_alarm_stands(town: Town) -> None:
    town.say("u-000001.depth", 120.0)
    (alarm,) = until(town.alarms)
    before = town.counts()["applied"]
    town.write(RULES.replace("100 cm", "90 cm"))
    town.hang_up()
    until(lambda: town.counts()["applied"] > before)
    (after,) = town.alarms()
    assert (after["id"], after["condition"]) == (alarm["id"], "active")
    assert after["rule_version"] != alarm["rule_version"]
    (event,) = [e for e in town.service.get(f"/api/v1/events?subject={alarm['id']}") if e["kind"] == "rule_changed"]
    assert (event["data"]["old_limit"], event["data"]["new_limit"]) == ("≥ 100 cm", "≥ 90 cm")
    town.say("u-000002.depth", 95.0)
    until(lambda: len(town.alarms()) == 2)


def test_a_wrong_file_is_noticed_by_itself_and_said_in_readyz_while_the_city_runs_on(town: Town) -> None:
    town.write(RULES.replace("level: red", "level: purple"))
    health = until(lambda: (h := town.service.get("/readyz"))["problems"] and h)
    assert health["ready"] is True, "the old rules are in force: nothing is out of order"
    assert "未采用" in health["problems"][0]["zh"]
    assert "purple" in health["problems"][0]["en"]
    assert town.service.metric('citypulse_config_reloads_total{outcome="refused"}') >= 1
    run = town.verb("reload")
    assert run.returncode == 1
    assert "refused" in run.stdout
    town.write(RULES)
    run = town.verb("reload", "--json")
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["outcome"] in {"applied", "unchanged"}
    assert town.service.get("/readyz")["problems"] == []


def test_a_sensor_that_is_added_is_taken_without_a_restart(town: Town) -> None:
    before = town.counts()
    town.write(RULES, sites=3)
    until(lambda: town.counts()["applied"] > before["applied"])  # noticed by itself
    town.say("u-000003.depth", 7.0)
    until(lambda: town.service.get("/api/v1/readings?sensor=u-000003.depth"))
    assert "u-000003.depth" in [s["id"] for s in town.service.get("/api/v1/sensors")]


def test_a_changed_channel_gets_the_next_notice(town: Town) -> None:
    before = town.counts()["applied"]
    town.write(RULES, sites=4, log_path="elsewhere.jsonl")
    until(lambda: town.counts()["applied"] > before)
    town.say("u-000004.depth", 130.0)
    there = town.folder / "data" / "elsewhere.jsonl"
    until(lambda: there.exists() and "u-000004" in there.read_text("utf-8"))
    assert "u-000004" not in (town.folder / "data" / "notices.jsonl").read_text("utf-8")


def test_why_says_limits_timers_samples_and_the_line(town: Town) -> None:
    town.say("u-000001.depth", 50.0)
    run = until(lambda: (r := town.verb("why", "depth", "u-000001.depth")).returncode == 0 and r)
    for word in ("黄 yellow ≥ 30 cm", "city.yaml:", "限值 limit", "样本 samples", "active", "ISA"):
        assert word in run.stdout, run.stdout
    view = json.loads(town.verb("why", "depth", "u-000001.depth", "--json").stdout)
    assert [latch["colour"] for latch in view["latches"]]
    assert view["alarm"]["id"]
    missing = town.verb("why", "depth", "nowhere.depth")
    assert missing.returncode == 1
    assert "citypulse explain" in missing.stderr


def test_a_kill_after_a_reload_comes_back_under_the_new_rules(town: Town) -> None:
    before = town.counts()["applied"]
    ids = {a["id"] for a in town.alarms()}
    town.write(RULES.replace("100 cm", "80 cm"), sites=4)
    until(lambda: town.counts()["applied"] > before)
    town.service.kill()
    town.service.start()
    assert {a["id"] for a in town.alarms()} == ids
    town.say("u-000003.depth", 85.0)
    until(lambda: len(town.alarms()) == len(ids) + 1)
