"""`citypulse demo` as a newcomer runs it: it ends by itself, and counts what happened."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest


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


def test_it_runs_a_city_on_the_embedded_broker_and_loses_nothing() -> None:
    """No mosquitto needed: the fallback to MQTT 3.1.1, alarms and orders, every reading stored once."""
    summary = demo("--embedded", "--seconds", "20", "--speed", "60", "--seed", "1")
    assert (summary["lost"], summary["duplicated"]) == (0, 0)
    assert summary["readings_sent"] > 1000
    assert summary["alarms_raised"] >= 1
    assert summary["orders_opened"] >= 1


@pytest.mark.slow
def test_a_loop_closes_within_ninety_seconds() -> None:
    """An order opened, repaired, verified by sensors and closed; twenty alarms would mean a noisy healthy city."""
    summary = demo("--seconds", "90", "--seed", "1")
    assert (summary["lost"], summary["duplicated"]) == (0, 0)
    assert summary["orders_closed"] >= 1
    assert summary["alarms_raised"] < 20
