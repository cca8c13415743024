"""How lists are printed: ids whole, times in the city's zone, wrong filters refused, what people type understood."""

from __future__ import annotations

import json

import click
import pytest
from click.testing import CliRunner

from citypulse.cli import VERBS, group, named
from citypulse.cli.show import chosen_from, local, print_table
from citypulse.reading_room import ReadingRoom
from tests.alerts.cast import RED
from tests.console.desk_port import Port


@pytest.fixture
def folder(tmp_path):
    port = Port(tmp_path)
    port.commit(port.world.raises("well.ch4", RED, "gas"))
    port.close()
    return tmp_path


def run(*words):
    return CliRunner().invoke(group, [str(w) for w in words])


def test_off_a_terminal_every_row_is_one_line_however_long(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    print_table(("编号 id", "原因 because"), [("WO-1", "长" * 400), ("WO-2", "a\nb")], empty="none")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "长" * 400 in lines[1]
    assert "a b" in lines[2]


def test_where_width_is_scarce_an_id_is_never_broken(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    row = ("⬣ 1", "WO-20261123-0001", "积水深度 45 cm ≥ 40 cm " * 4, "crew-flood", "f-0001.depth")
    print_table(("级别 level", "编号 id", "原因 because", "班组 team", "对象 where"), [row], empty="none")
    assert "WO-20261123-0001" in capsys.readouterr().out


def test_times_are_the_citys_own_and_carry_their_offset():
    assert local(1_795_385_870_053, "Asia/Shanghai") == "2026-11-23T06:17:50+08:00"
    assert local(1_795_385_870_053, "Nowhere/Else").endswith("+00:00")
    assert local(None, "UTC") == ""


def test_a_filter_that_names_nothing_is_refused_with_what_is_near():
    assert chosen_from("", ["a"], "state") == ""
    with pytest.raises(click.UsageError, match="did you mean 'closed'"):
        chosen_from("closd", ["open", "closed"], "state")


def test_an_alarm_is_found_by_its_place_or_the_beginning_of_its_id(folder):
    whole = json.loads(run("alarms", "--data", folder, "--json").stdout)[0]["id"]
    assert named.alarm_id(folder, "well.ch4") == whole
    assert named.alarm_id(folder, whole[:6]) == whole
    assert named.alarm_id(folder, whole) == whole
    assert named.alarm_id(folder, "zzzz") == "zzzz"


def test_a_place_with_several_alarms_asks_which(folder, monkeypatch):
    alike = {"rule": "r", "scope": "s.x", "condition": "active"}
    rows = [alike | {"id": "aaaa-1"}, alike | {"id": "aaaa-2"}]
    monkeypatch.setattr(ReadingRoom, "alarms", lambda _self, **_query: rows)
    with pytest.raises(click.UsageError, match="names 2 alarms"):
        named.alarm_id(folder, "s.x")


def test_a_wrong_domain_or_state_is_a_usage_error_and_not_an_empty_list(folder):
    assert run("alarms", "--data", folder, "--domain", "gass").exit_code != 0
    wrong = run("orders", "--data", folder, "--state", "dispached")
    assert isinstance(wrong.exception, SystemExit)
    assert "dispatched" in wrong.output


def test_every_verb_says_in_chinese_and_english_what_it_does():
    for verb, (_, chinese, english) in VERBS.items():
        assert any("\u4e00" <= letter <= "\u9fff" for letter in chinese), verb
        assert english.isascii(), verb
    assert "列出告警" in run("alarms", "--help").output
