"""`citypulse demo` as a newcomer runs it: it ends by itself, tells its story, and counts what happened."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.support.mosquitto import is_installed


def demo(*options: str) -> dict[str, Any]:
    run = subprocess.run(
        [sys.executable, "-m", "citypulse", "demo", "--headless", "--json", "--http", "127.0.0.1:0", *options],
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    found: dict[str, Any] = json.loads(run.stdout)
    return found


@pytest.mark.slow
def test_it_runs_a_city_on_the_embedded_broker_and_loses_nothing() -> None:
    """No mosquitto needed: the fallback to MQTT 3.1.1, alarms and orders, every reading stored once, a digest sent.

    A gateway is cut off when it ends: what it has kept is delivered all the same.
    """
    summary = demo("--embedded", "--seconds", "20", "--speed", "60", "--seed", "1")
    assert (summary["lost"], summary["duplicated"]) == (0, 0)
    assert summary["readings_sent"] > 1000
    assert summary["alarms_raised"] >= 3
    assert summary["orders_opened"] >= 1
    assert summary["storms"] == 1
    assert summary["digests"] >= 1
    assert summary["red_or_gas_in_digests"] == 0
    assert summary["provider_messages"] >= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "broker",
    ["embedded", pytest.param("mosquitto", marks=pytest.mark.skipif(not is_installed(), reason="needs mosquitto"))],
)
def test_it_shows_a_storm_a_leak_at_night_a_rework_and_a_drill(broker: str) -> None:
    """All four acts within a hundred real seconds, every figure counted from the record."""
    more = ("--embedded",) if broker == "embedded" else ()
    summary = demo("--seconds", "95", "--speed", "80", "--seed", "1", *more)
    assert (summary["lost"], summary["duplicated"]) == (0, 0)
    # The storm: fewer messages than notices, and nothing that may not wait is in a digest.
    assert summary["storms"] >= 1
    assert 1 <= summary["digests"] < summary["notices_in_digests"]
    assert summary["notices_single"] >= 1
    assert summary["red_or_gas_in_digests"] == 0
    # The leak: nobody hears the first call, the chain goes on, and a tap on the link ends it.
    assert summary["escalations"] >= 1
    assert summary["one_tap_acks"] >= 1
    # The false repair: the sensors object, and the order closes after a true one.
    assert summary["reworks"] >= 1
    assert summary["orders_closed_after_rework"] >= 1
    # The drill: played to its end, scored, and nobody outside the bureau was written to.
    (drill,) = summary["exercises"]
    assert drill["state"] == "ended"
    assert drill["score"] is not None
    assert drill["met"] >= 5
    assert drill["notices"] >= 1
    assert drill["outsiders_told"] == 0
    assert summary["alarms_raised"] < 60, "a healthy city would be noisy"
