"""Silences and drills through the running service: HTTP and the command line, over a kill."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.mosquitto import Mosquitto, is_installed
from tests.support.service import ServiceProcess, until
from tests.support.small_city import write

pytestmark = [
    pytest.mark.skipif(not is_installed(), reason="needs mosquitto; .ci/run installs it"),
    pytest.mark.slow,  # a service is started twice
]

SECTIONS = """
windows:
  - id: works
    reason: 夜间检修 night works
    by: Lead Lea
    starts: "2026-01-01 22:00"
    ends: "2026-12-31 06:00"
    repeat: FREQ=DAILY
    open_for: 8 h
    hides: {sites: u-000002}
exercises:
  channels: [log]
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    folder = tmp_path_factory.mktemp("mutes")
    (folder / "data").mkdir(mode=0o700)
    with Mosquitto(dir=folder) as broker:
        config = write(folder, broker_port=broker.port)
        config.write_text(config.read_text("utf-8") + SECTIONS, "utf-8")
        with ServiceProcess(config, folder / "data", broker.port) as running:
            yield running


def citypulse(data: Path, *words: str) -> tuple[int, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "citypulse", *words, "--data", str(data), "--json"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout)


def test_a_silence_is_asked_for_listed_previewed_and_cancelled(service: ServiceProcess) -> None:
    code, said = citypulse(service.data, "mutes", "new", "--site", "u-000001", "--minutes", "30", "--reason", "test")
    assert code == 0, said
    number = said["subject"]
    rows = service.get("/api/v1/mutes")
    assert {(m["id"], m["state"]) for m in rows if m["kind"] == "silence"} == {(number, "open")}
    assert any(m["id"] == "WIN-works" and m["origin"] for m in rows)
    service.kill()
    service.start()
    assert number in {m["id"] for m in service.get("/api/v1/mutes")}
    code, found = citypulse(service.data, "mutes", "preview", "--domain", "flood", "--minutes", "30")
    assert (code, found["days"]) == (0, 30)
    status, refused = service.post("/api/v1/mutes/preview", {"minutes": 30})
    assert status == 422
    assert "at least one of" in refused["message"]
    code, said = citypulse(service.data, "mutes", "cancel", number, "--reason", "done")
    assert code == 0, said
    assert number not in {m["id"] for m in service.get("/api/v1/mutes")}
    assert number in {m["id"] for m in service.get("/api/v1/mutes?past=true")}


def test_a_drill_is_started_seen_scored_and_stopped(service: ServiceProcess) -> None:
    words = ("--site", "u-000001", "--level", "orange", "--minutes", "5", "--reason", "muster")
    code, said = citypulse(service.data, "exercise", "start", *words)
    assert code == 0, said
    number = said["subject"]
    drill = until(lambda: [a for a in service.get("/api/v1/alarms") if a["exercise"] == number])[0]
    assert "[演练]" in drill["because_zh"]
    code, found = citypulse(service.data, "exercise", "score", number)
    assert code == 0
    assert [m["step"] for m in found["score"]["sheets"][0]["marks"]][:2] == ["acknowledge", "dispatch"]
    code, _ = citypulse(service.data, "exercise", "stop", number)
    assert code == 0
    code, found = citypulse(service.data, "exercise", "score", number)
    assert (code, found["state"]) == (1, "ended"), "steps were missed"
    assert not [a for a in service.get("/api/v1/alarms") if a["exercise"]]
    assert {e["id"] for e in service.get("/api/v1/exercises")} == {number}
