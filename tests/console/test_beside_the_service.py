"""Commands beside the service: what they say while it starts, and whose clock their figures stand at."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from citypulse.cli import group
from citypulse.cli.client import SERVICE_FILE, TOKEN_FILE, Client, NotRunningError
from tests.alerts.cast import RED
from tests.console.desk_port import Port

HOUR_MS = 3_600_000


@pytest.fixture
def port(tmp_path):
    made = Port(tmp_path)
    made.commit(made.world.raises(level=RED))
    yield made
    made.close()


def run(*words):
    return CliRunner().invoke(group, [str(w) for w in words])


def serve(port, folder):
    """Leave the address and the token where a service leaves them."""
    port.client()
    (folder / SERVICE_FILE).write_text(json.dumps({"address": port._server.address, "pid": 1}))
    (folder / TOKEN_FILE).write_text("lead\n")


def used(shown):
    return {c["clock"]: c["elapsed_s"] for c in json.loads(shown.stdout)["sla"]["clocks"]}


def test_a_folder_that_is_held_but_not_served_yet_is_said_to_be_starting(port, tmp_path):
    with pytest.raises(NotRunningError, match=r"正在启动.*starting"):
        Client.of(tmp_path)


def test_a_folder_that_nobody_holds_names_the_command_that_starts_it(port, tmp_path):
    port.close()
    with pytest.raises(NotRunningError, match=r"没有运行中的服务.*citypulse run --data"):
        Client.of(tmp_path)


def test_the_clocks_of_an_order_stand_at_the_services_own_time(port, tmp_path):
    number = port.world.order().id
    serve(port, tmp_path)
    before = used(run("orders", "show", number, "--data", tmp_path, "--json"))
    port.world.now_ms += HOUR_MS
    after = used(run("orders", "show", number, "--data", tmp_path, "--json"))
    assert before
    assert any(after[name] == before[name] + 3600 for name in before)


def test_without_a_service_they_stand_at_the_end_of_the_record_and_it_is_said(port, tmp_path):
    number = port.world.order().id
    port.close()
    shown = run("orders", "show", number, "--data", tmp_path)
    assert shown.exit_code == 0
    assert "截至最后记录" in shown.stderr
    assert all(s < 60 for s in used(run("orders", "show", number, "--data", tmp_path, "--json")).values())
