"""The published sequences as an outsider would run them: readings by MQTT, people by HTTP, answers by HTTP.

The same walks as in tests/backtest/public, on the running service: ISA-18.2 states, de-duplication, hysteresis,
chattering. Readings carry their own times, so that minutes pass in the readings and not in the test.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from citypulse.ledger.users import Users
from tests.support import small_city
from tests.support.mosquitto import Mosquitto, is_installed
from tests.support.publisher import Publisher, reading_message
from tests.support.service import ServiceProcess, until

pytestmark = [
    pytest.mark.skipif(not is_installed(), reason="needs mosquitto; .ci/run installs it"),
    pytest.mark.slow,  # a service is started
]

RULES = """
rules:
  - id: level
    name: {zh: 液位, en: Level}
    applies_to: {quantity: depth}
    source: test
    threshold: {}
    limits:
      - {level: yellow, at_least: 50 cm, deadband: 10 cm}
      - {level: orange, at_least: 80 cm, deadband: 10 cm}
  - id: held
    name: {zh: 锁存, en: Latched}
    applies_to: {sensor: u-000009.depth}
    source: test
    threshold: {}
    limits: [{level: yellow, at_least: 50 cm}]
    latch: true
"""
HOUR_MS = 3_600_000


class Outsider:
    """Somebody with a broker address and two tokens."""

    def __init__(self, service: ServiceProcess, broker: Mosquitto) -> None:
        self.service = service
        self.tokens = {role: Users.at(service.data).add(f"{role}-1", role=role) for role in ("duty", "lead")}
        self._out = Publisher(broker.port, "outsider")
        self._seq = itertools.count()
        self.start_ms = int(service.get("/api/v1/time")["now_ms"]) - HOUR_MS

    def send(self, sensor: str, *readings: tuple[float, float], copies: int = 1) -> None:
        """Publish readings (seconds since an hour ago, cm), the message so many times; wait until it is durable."""
        rows = [(sensor, self.start_ms + round(at_s * 1000), value) for at_s, value in readings]
        message = reading_message("b1", next(self._seq), rows, rows[-1][1])
        before = self.taken()
        for _ in range(copies):
            self._out.send("city/v1/gw-01/readings", message)
        until(lambda: self.taken() >= before + copies, why="the readings were not taken")

    def taken(self) -> float:
        return self.service.metric("citypulse_messages_total")

    def alarms(self, sensor: str, rule: str = "level") -> list[dict[str, Any]]:
        rows = self.service.get("/api/v1/alarms?open=false")
        return sorted((a for a in rows if (a["scope"], a["rule"]) == (sensor, rule)), key=lambda a: a["occurrence"])

    def alarm(self, sensor: str, rule: str = "level") -> dict[str, Any]:
        return self.alarms(sensor, rule)[-1]

    def states(self, sensor: str, rule: str = "level") -> tuple[str, str, bool]:
        found = self.alarm(sensor, rule)
        return found["isa"], found["colour"] if found["condition"] == "active" else "normal", found["is_acked"]

    def do(self, verb: str, sensor: str, rule: str = "level", by: str = "duty", **body: Any) -> tuple[int, Any]:
        path = f"/api/v1/alarms/{self.alarm(sensor, rule)['id']}/{verb}"
        return self.service.post(path, body, token=self.tokens[by])

    def now_ms(self) -> int:
        return int(self.service.get("/api/v1/time")["now_ms"])

    def kinds(self, sensor: str, rule: str = "level") -> list[str]:
        found: list[str] = []
        for alarm in self.alarms(sensor, rule):
            found += [e["kind"] for e in self.service.get(f"/api/v1/events?subject={alarm['id']}")]
        return found


@pytest.fixture(scope="module")
def outsider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outsider]:
    folder = tmp_path_factory.mktemp("oracles")
    (folder / "data").mkdir(mode=0o700)
    with Mosquitto(dir=folder) as broker:
        config = small_city.write(folder, sites=9, broker_port=broker.port, rules=RULES)
        with ServiceProcess(config, folder / "data", broker.port) as service:
            yield Outsider(service, broker)


def test_the_isa_walk_of_alerta(outsider: Outsider) -> None:
    """B C, worse is B again, C, over is A; then B D and acknowledged is A."""
    sensor = "u-000001.depth"
    outsider.send(sensor, (0, 10), (60, 55))
    assert outsider.states(sensor) == ("B", "yellow", False)
    assert outsider.do("acknowledge", sensor)[0] == 200
    assert outsider.states(sensor) == ("C", "yellow", True)
    outsider.send(sensor, (120, 90))
    assert outsider.states(sensor) == ("B", "orange", False)
    assert outsider.do("acknowledge", sensor)[0] == 200
    outsider.send(sensor, (180, 5))
    assert outsider.states(sensor) == ("A", "normal", True)
    outsider.send(sensor, (240, 55), (300, 5))
    assert outsider.states(sensor) == ("D", "normal", False)
    assert outsider.do("acknowledge", sensor)[0] == 200
    assert outsider.states(sensor) == ("A", "normal", True)
    assert [a["occurrence"] for a in outsider.alarms(sensor)] == [1, 2]


def test_the_overlays_and_what_is_refused_under_them(outsider: Outsider) -> None:
    """B E B G B F B, and no acknowledgement of what is hidden (I12)."""
    sensor = "u-000002.depth"
    outsider.send(sensor, (0, 55))
    until_ms = outsider.now_ms() + HOUR_MS
    assert outsider.do("shelve", sensor, reason="pump test", until_ms=until_ms)[0] == 200
    assert outsider.states(sensor)[0] == "E"
    code, said = outsider.do("acknowledge", sensor)
    assert (code, said["code"]) == (409, "not_allowed")
    assert set(said["allowed"]) == {"unshelve", "out_of_service", "comment"}
    assert outsider.do("shelve", sensor, reason="again", until_ms=until_ms)[0] == 409
    assert outsider.do("unshelve", sensor)[0] == 200
    assert outsider.states(sensor) == ("B", "yellow", False)
    assert outsider.do("out_of_service", sensor, by="lead", reason="valve works")[0] == 200
    assert outsider.states(sensor)[0] == "G"
    assert outsider.do("in_service", sensor, by="lead")[0] == 200
    code, said = outsider.service.post(
        "/api/v1/mutes", {"reason": "works", "sites": ["u-000002"], "minutes": 30}, token=outsider.tokens["duty"]
    )
    assert code == 200, said
    assert outsider.states(sensor)[0] == "F"
    assert outsider.alarm(sensor)["suppressed_by"] == [said["subject"]]
    path = f"/api/v1/mutes/{said['subject']}/cancel"
    assert outsider.service.post(path, {"reason": "done"}, token=outsider.tokens["lead"])[0] == 200
    assert outsider.states(sensor) == ("B", "yellow", False)
    assert outsider.kinds(sensor) == [
        "raised", "shelved", "unshelved", "out_of_service", "in_service", "suppressed", "released",
    ]  # fmt: skip


def test_a_point_that_has_never_rung_goes_from_a_to_g_and_back(outsider: Outsider) -> None:
    """A G, something happens and is told to nobody; back in service it is B."""
    sensor = "u-000008.depth"
    path = f"/api/v1/points/level/{sensor}"
    assert outsider.alarms(sensor) == []
    lead, duty = outsider.tokens["lead"], outsider.tokens["duty"]
    assert outsider.service.post(f"{path}/out_of_service", {}, token=lead)[0] == 422, "it needs a reason"
    assert outsider.service.post(f"{path}x/out_of_service", {"reason": "x"}, token=lead)[0] == 404
    assert outsider.service.post(f"{path}/out_of_service", {"reason": "swapped"}, token=duty)[0] == 200
    assert outsider.states(sensor)[0] == "G"
    listed = outsider.service.get("/api/v1/alarms?state=out_of_service")
    assert [a["scope"] for a in listed] == [sensor]
    outsider.send(sensor, (0, 10), (60, 55))
    assert outsider.states(sensor)[:2] == ("G", "yellow")
    subject = outsider.alarm(sensor)["id"]
    assert outsider.service.get(f"/api/v1/notices?subject={subject}") == []
    assert outsider.service.post(f"{path}/in_service", {}, token=lead)[0] == 200
    assert outsider.states(sensor) == ("B", "yellow", False)
    assert outsider.service.get(f"/api/v1/notices?subject={subject}")
    assert outsider.service.get("/api/v1/alarms?state=out_of_service") == []


def test_a_latched_alarm_is_over_only_by_reset(outsider: Outsider) -> None:
    sensor = "u-000009.depth"
    outsider.send(sensor, (0, 60), (60, 5))
    found = outsider.alarm(sensor, "held")
    assert (found["isa"], found["condition"]) == ("B", "latched")
    assert outsider.do("reset", sensor, "held", by="lead", reason="looked at")[0] == 409
    assert outsider.do("acknowledge", sensor, "held")[0] == 200
    assert outsider.do("reset", sensor, "held", by="lead")[0] == 422, "a reset needs a reason"
    assert outsider.do("reset", sensor, "held", by="lead", reason="looked at")[0] == 200
    assert outsider.alarm(sensor, "held")["isa"] == "A"


def test_what_is_sent_again_makes_no_second_alarm(outsider: Outsider) -> None:
    """keep and Alerta: the same message three times, the same reading in another message, a late one."""
    sensor = "u-000003.depth"
    outsider.send(sensor, (0, 10), (60, 55), copies=3)
    outsider.send(sensor, (60, 55))
    outsider.send(sensor, (30, 70))
    (only,) = outsider.alarms(sensor)
    assert (only["occurrence"], only["isa"], only["colour"]) == (1, "B", "yellow")
    assert outsider.kinds(sensor) == ["raised", "amended"]


def test_a_command_that_is_sent_again_is_done_once(outsider: Outsider) -> None:
    sensor = "u-000004.depth"
    outsider.send(sensor, (0, 55))
    first = outsider.do("acknowledge", sensor, command_id="one-and-the-same")
    again = outsider.do("acknowledge", sensor, command_id="one-and-the-same")
    assert first == again
    assert first[0] == 200
    assert outsider.kinds(sensor) == ["raised", "acknowledged"]


def test_hysteresis_holds_inside_the_deadband(outsider: Outsider) -> None:
    """At 50 or more it raises, under 40 it ends; every level has a deadband of its own."""
    sensor = "u-000005.depth"
    walked = []
    for k, value in enumerate((49.9, 50, 40, 81, 70, 69, 41, 40, 39, 49)):
        outsider.send(sensor, (60.0 * k, value))
        walked.append(outsider.states(sensor)[1] if outsider.alarms(sensor) else "normal")
    assert walked == [
        *("normal", "yellow", "yellow", "orange", "orange", "yellow", "yellow", "yellow", "normal", "normal"),
    ]


def test_three_raises_in_a_minute_chatter_and_are_one_alarm_from_then_on(outsider: Outsider) -> None:
    """ISA-18.2 and EEMUA 191: three of one source within 60 s."""
    sensor = "u-000006.depth"
    outsider.send(sensor, (0, 60), (10, 5), (20, 60), (30, 5), (40, 60))
    found = outsider.alarm(sensor)
    assert found["occurrence"] == 3
    assert found["chatter_since_ms"] is not None
    outsider.send(sensor, (50, 5), (55, 60), (58, 5), (62, 60))
    found = outsider.alarm(sensor)
    assert (found["occurrence"], found["chatter_turns"]) == (3, 4)
    told = outsider.service.get(f"/api/v1/notices?subject={found['id']}")
    assert [row["notice"]["kind"] for row in told] == ["raised"]


def test_three_raises_a_minute_apart_do_not_chatter(outsider: Outsider) -> None:
    sensor = "u-000007.depth"
    outsider.send(sensor, (0, 60), (10, 5), (30, 60), (40, 5), (60, 60))
    assert outsider.alarm(sensor)["chatter_since_ms"] is None


def test_silence_is_not_recovery(outsider: Outsider) -> None:
    """Alertmanager and Alerta let an alarm end when nobody repeats it; here it stands as it stood."""
    sensor = "u-000008.depth"
    outsider.send(sensor, (0, 60))
    outsider.send("u-000001.depth", (3_000, 5))  # time goes on for others
    assert outsider.states(sensor) == ("B", "yellow", False)


def test_who_may_do_what_is_decided_behind_the_api(outsider: Outsider) -> None:
    sensor = "u-000008.depth"
    outsider.send(sensor, (10, 60))
    crew = Users.at(outsider.service.data).add("Ada", role="crew", unit="drainage")
    path = f"/api/v1/alarms/{outsider.alarm(sensor)['id']}/shelve"
    body = {"reason": "x", "until_ms": outsider.now_ms() + HOUR_MS}
    assert outsider.service.post(path, body, token=crew)[0] == 403
    assert outsider.service.post(path, body, token="nobody")[0] == 401
