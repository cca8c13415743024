"""Rotas as people and programs see them: from the real ledger after a restart, and on the command line."""

from __future__ import annotations

import json

from click.testing import CliRunner

from alerts.people.standins import StandIns
from citypulse.cli.rota import command
from citypulse.ledger import Ledger, Tick
from citypulse.rota_views import rota_view, stand_ins_of
from tests.alerts.cast import DUTY, LEAD, T0, World
from tests.alerts.people_cast import peopled
from tests.support import small_city

PEOPLE = """
people:
  dan: {name: {zh: 丹, en: Dan}, role: duty, teams: desk, contacts: {phone: "1"}}
  lea: {name: {zh: 李, en: Lea}, role: lead, teams: desk, contacts: {phone: "2"}}
rotas:
  desk:
    starts: 2026-11-02
    shifts: [{id: day, from: "08:00", until: "20:00", groups: [[dan, lea]]}]
    fallback: lea
"""


def test_stand_ins_and_hand_overs_come_back_from_the_real_ledger(tmp_path):
    world = World(peopled())
    world.does(LEAD, "rota.override", "desk", instead_of="dan", person="dee", reason="ill", until_ms=T0 + 7_200_000)
    world.does(LEAD, "rota.override", "desk", person="bao", reason="storm", until_ms=T0 + 7_200_000)
    world.does(DUTY, "rota.handover", "desk", note="all quiet")
    world.does(LEAD, "rota.withdraw", "desk", id="desk-2", reason="over")
    with_ledger = Ledger.open(tmp_path)
    effects = world.tick()
    effects.events = list(world.ledger.events)
    with_ledger.commit(Tick(number=1, now_ms=world.now_ms, effects=effects))
    try:
        opened = with_ledger.load_open()
        assert opened.rota_events == tuple(world.ledger.events)
        assert StandIns(opened.rota_events).by_team == stand_ins_of(with_ledger, world.config).by_team
        (view,) = rota_view(world.config, stand_ins_of(with_ledger, world.config), at_ms=T0 + 1000)
    finally:
        with_ledger.close()
    assert [p["id"] for p in view["on_duty"]] == ["dee", "lea"]
    assert [s["id"] for s in view["stand_ins"]] == ["desk-1"]
    assert view["because"][0]["origin"] == "city.yaml:40"
    assert "+86" not in json.dumps(view)  # who can be reached how, never at which number


def test_the_command_line_shows_who_is_on_and_proves_the_coming_days(tmp_path):
    config = small_city.write(tmp_path, rules=small_city.RULES + PEOPLE)
    where = ["--config", str(config), "--data", str(tmp_path / "none")]
    shown = CliRunner().invoke(command, ["show", "--at", "2026-11-23T09:00", *where, "--json"])
    assert shown.exit_code == 0, shown.output
    assert [p["id"] for p in json.loads(shown.output)[0]["on_duty"]] == ["dan", "lea"]
    week = CliRunner().invoke(command, ["show", "--at", "2026-11-23T09:00", "--week", *where])
    assert week.output.count("dan, lea") >= 7
    proof = CliRunner().invoke(command, ["coverage", "--at", "2026-11-23T00:00", "--days", "2", *where, "--json"])
    assert proof.exit_code == 1  # by night the board is read by nobody, and nobody is called
    found = json.loads(proof.output)
    assert found["strips"][0]["hours"] == ("." * 8 + "#" * 12 + "." * 4) * 2
    assert "nobody of desk is on duty" in found["gaps"][0]["why"]
    plain = CliRunner().invoke(command, ["coverage", "--at", "2026-11-23T00:00", "--days", "2", *where])
    assert "空档 gap" in plain.output


def test_an_unknown_team_channel_or_time_is_a_mistake_in_the_call(tmp_path):
    config = small_city.write(tmp_path, rules=small_city.RULES + PEOPLE)
    where = ["--config", str(config), "--data", str(tmp_path / "none")]
    for call in (["show", "--team", "nobody"], ["show", "--at", "noon"], ["coverage", "--without", "pigeon"]):
        assert CliRunner().invoke(command, [*call, *where]).exit_code == 2
