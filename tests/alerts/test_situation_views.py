"""Situations as people and programs see them: from the real ledger, on the command line, and through the API."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner

from citypulse.cli.alarms import command
from citypulse.console.api import ROUTES
from citypulse.console.port import CityPort
from citypulse.ledger import Ledger, Tick
from citypulse.model import SYSTEM, StormPlan, Text
from citypulse.reading_room import ReadingRoom
from tests.alerts.cast import ORANGE, YELLOW, World, city

NAN = float("nan")


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A ledger in which a silent gateway hides two alarms, and the desk is in a storm because of it."""
    world = World(city(storm=StormPlan(starts_on=("gateway-silent",))))
    ledger = Ledger.open(tmp_path)
    steps = [("gateway-silent", "gw-1", YELLOW), ("flood-depth", "mill.depth", YELLOW),
             ("flood-depth", "mill.depth2", ORANGE), ("low-oxygen", "weir.do", YELLOW)]  # fmt: skip
    for number, (name, scope, level) in enumerate(steps, 1):
        world.now_ms += 1_000
        effects = world.raises(scope, level, name, value=NAN if name == "gateway-silent" else 30.0)
        ledger.commit(Tick(number=number, now_ms=world.now_ms, effects=effects))
    ledger.close()
    return tmp_path


def test_a_situation_shows_its_cause_what_it_hides_and_what_came_first(data_dir):
    names = {"gateway-silent": Text(zh="网关失联", en="Gateway silent")}
    with ReadingRoom.beside(data_dir) as room:
        view = room.situations(rules=names)
    first, second = view["situations"]
    assert (first["kind"], first["colour"], first["count"], first["title"]["zh"]) == (
        "cause", "orange", 3, "gw-1 网关失联 3 条告警")  # fmt: skip
    (root,) = first["alarms"]
    assert root["is_root"]
    assert root["is_first_out"]
    assert [(a["scope"], a["hidden_by"]) for a in first["hidden"]] == [
        ("mill.depth2", ["gateway-silent|gw-1"]), ("mill.depth", ["gateway-silent|gw-1"])]  # fmt: skip
    assert second["kind"] == "single"
    (storm,) = view["storms"]
    assert (storm["desk"], storm["is_on"], storm["causes"]) == ("desk", True, ["gateway-silent|gw-1"])


def test_the_command_line_lists_situations_worst_first(data_dir):
    shown = CliRunner(env={"COLUMNS": "200"}).invoke(command, ["--data", str(data_dir), "--grouped"])
    assert shown.exit_code == 0, shown.output
    assert "告警风暴 storm mode: desk" in shown.output
    assert shown.output.index("gateway-silent") < shown.output.index("low-oxygen")
    whole = CliRunner().invoke(command, ["--data", str(data_dir), "--grouped", "--json"])
    assert [s["count"] for s in json.loads(whole.output)["situations"]] == [3, 1]


def test_the_api_answers_with_the_same_view(data_dir):
    route = next(r for r in ROUTES if r.path == "/api/v1/situations")
    with ReadingRoom.beside(data_dir) as room:
        answer = asyncio.run(cast("Any", route.handler)(None, cast("CityPort", room), SYSTEM))
        assert json.loads(answer.body) == room.situations()
