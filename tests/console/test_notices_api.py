"""Notices and channels by API and CLI: what was told, what came of it, and sending a failed one again."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from citypulse.cli.notices import command
from tests.alerts.cast import RED
from tests.console.desk_port import Port


@pytest.fixture
def port(tmp_path, monkeypatch):
    monkeypatch.setenv("SMS_IN", "x")
    made = Port(tmp_path)
    made.commit(made.world.raises("well.ch4", RED, "gas"))
    yield made
    made.close()


def failed(port):
    (one, *_) = port.ledger.outbox.lease(port.now_ms(), 1, 1000, channels=["phone"])
    port.ledger.outbox.failed(one, error="number is on the black list", provider_code="160040")
    return one.id


AS_LEAD = {"Authorization": "Bearer lead"}


def test_notices_are_listed_by_state_channel_and_subject(port):
    number, client = failed(port), port.client()
    alarm = port.world.alarm("gas|well.ch4").id
    assert [n["id"] for n in client.get("/api/v1/notices?state=failed").json()] == [number]
    assert {n["via"] for n in client.get("/api/v1/notices?channel=board").json()} == {"board"}
    assert len(client.get(f"/api/v1/notices?subject={alarm}").json()) == 2
    one = client.get(f"/api/v1/notices/{number}").json()
    assert (one["state"], one["provider_code"]) == ("failed", "160040")
    assert client.get("/api/v1/notices/999").status_code == 404
    assert client.get("/api/v1/notices/abc").status_code == 404


def test_a_failed_notice_is_sent_again_when_somebody_may_ask_for_it(port):
    number, client = failed(port), port.client()
    path = f"/api/v1/notices/{number}/retry"
    assert client.post(path).status_code == 401
    assert client.post(path, headers={"Authorization": "Bearer crew"}).status_code == 403
    assert client.post(path, headers=AS_LEAD).json()["ok"]
    assert client.get(f"/api/v1/notices/{number}").json()["state"] == "pending"
    answer = client.post(path, headers=AS_LEAD)
    assert answer.status_code == 409
    assert "is pending" in answer.json()["message"]
    assert client.post("/api/v1/notices/999/retry", headers=AS_LEAD).status_code == 404


def test_the_command_line_shows_the_same(port, tmp_path):
    number = failed(port)
    runner = CliRunner()
    found = runner.invoke(command, ["--data", str(tmp_path), "--state", "failed", "--json"])
    assert [n["id"] for n in json.loads(found.output)] == [number]
    assert "black list" in runner.invoke(command, ["--data", str(tmp_path)], env={"COLUMNS": "300"}).output
    shown = runner.invoke(command, ["show", str(number), "--data", str(tmp_path)], env={"COLUMNS": "300"})
    assert "160040" in shown.output
    missing = runner.invoke(command, ["show", "999", "--data", str(tmp_path)])
    assert missing.exit_code == 1


def test_channels_are_listed(port):
    assert isinstance(port.client().get("/api/v1/channels").json(), list)
