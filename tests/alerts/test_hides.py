"""A parent lists the alarms it hides, a child says by whom: on the real ledger, by the API's views and the CLI."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from citypulse.cli.alarms import command
from citypulse.console.alarm_shape import ALARM
from citypulse.console.openapi import document
from citypulse.ledger import Ledger, Tick
from citypulse.model import Effects, Priority
from citypulse.reading_room import ReadingRoom
from tests.alerts.cast import LEAD, RED, YELLOW, World


class OnDisk:
    """Copies what a world of the alert tests commits into a real ledger."""

    def __init__(self, folder: Path) -> None:
        self.world, self.folder, self.number = World(), folder, 0
        self.ledger = Ledger.open(folder)
        inner = self.world.ledger.commit

        def commit(effects: Effects) -> None:
            inner(effects)
            self.number += 1
            self.ledger.commit(Tick(number=self.number, now_ms=self.world.now_ms, effects=effects))

        self.world.ledger.commit = commit  # type: ignore[method-assign]
        self.room = ReadingRoom(self.ledger)

    def seen(self, key: str) -> dict:
        view = self.room.alarm(self.world.alarm(key).id)
        assert view is not None
        listed = self.room.alarms(open_only=False, limit=100, domain="", since_ms=None)
        assert view in listed, "the list and the single view say the same"
        return view


GATEWAY, DEPTH = "gateway-silent|gw-1", "flood-depth|mill.depth"


def test_a_parent_lists_what_it_hides_and_a_child_names_it(tmp_path: Path) -> None:
    city = OnDisk(tmp_path)
    city.world.raises(level=YELLOW)
    city.world.raises("mill.depth2", level=RED)
    city.world.raises("gw-1", YELLOW, "gateway-silent")
    parent, child = city.seen(GATEWAY), city.seen(DEPTH)
    assert [(a["scope"], a["colour"]) for a in parent["hides"]] == [("mill.depth2", "red"), ("mill.depth", "yellow")]
    assert parent["hides_count"] == 2
    assert parent["hidden_by"] == child["hides"] == []
    assert child["hidden_by"] == [{"cause": GATEWAY, "kind": "alarm", "id": parent["id"]}]
    assert set(ALARM["required"]) <= set(parent)
    city.world.wait(60)
    city.world.clears("gw-1", "gateway-silent")
    assert city.seen(GATEWAY)["hides"] == []
    assert city.seen(DEPTH)["hidden_by"] == []
    city.ledger.close()


def test_a_mute_is_named_beside_the_alarm_that_hides_too(tmp_path: Path) -> None:
    city = OnDisk(tmp_path)
    city.world.raises(level=YELLOW)
    mute = city.world.does(LEAD, "mute.new", "", reason="r", ends_ms=city.world.now_ms + 600_000, sites=["mill"])
    city.world.raises("gw-1", Priority.P4, "gateway-silent")
    causes = city.seen(DEPTH)["hidden_by"]
    assert {(c["kind"], c["cause"]) for c in causes} == {("mute", mute.subject), ("alarm", GATEWAY)}
    city.ledger.close()


def test_the_command_shows_both_ends(tmp_path: Path) -> None:
    city = OnDisk(tmp_path)
    city.world.raises(level=YELLOW)
    city.world.raises("gw-1", YELLOW, "gateway-silent")
    parent, child = city.world.alarm(GATEWAY).id, city.world.alarm(DEPTH).id
    city.ledger.close()
    shown = CliRunner().invoke(command, ["show", child, "--data", str(tmp_path)])
    assert shown.exit_code == 0, shown.output
    assert f"hidden by alarm {GATEWAY}" in shown.output
    shown = CliRunner().invoke(command, ["show", parent, "--data", str(tmp_path)])
    assert "mill.depth" in shown.output
    shown = CliRunner().invoke(command, ["show", parent, "--data", str(tmp_path), "--json"])
    assert [a["id"] for a in json.loads(shown.output)["hides"]] == [child]
    assert CliRunner().invoke(command, ["show", "nobody", "--data", str(tmp_path)]).exit_code == 1


def test_the_openapi_page_describes_it() -> None:
    page = document(reads_need_token=False)
    one = page["paths"]["/api/v1/alarms/{id}"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert one == {"$ref": "#/components/schemas/Alarm"}
    assert {"hides", "hides_count", "hidden_by", "peak_value"} <= set(
        page["components"]["schemas"]["Alarm"]["properties"]
    )
