"""How lists are printed: ids whole, times in the city's zone, wrong filters refused, what people type understood."""

from __future__ import annotations

import json

import click
import pytest
from click.testing import CliRunner

from citypulse.cli import VERBS, group, named
from citypulse.cli.chinese import begins_in_chinese
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


def helps(command, path):
    """Yield every help below a command with where it stands."""
    for param in command.params:
        if isinstance(param, click.Option):
            yield f"{path} {param.opts[0]}", param.help or ""
    for name, sub in getattr(command, "commands", {}).items():
        yield f"{path} {name}", sub.help or ""
        yield from helps(sub, f"{path} {name}")


@pytest.mark.parametrize("verb", VERBS)
def test_every_help_of_options_and_subcommands_begins_in_chinese(verb):
    command = group.get_command(None, verb)
    mute = [where for where, text in helps(command, verb) if not begins_in_chinese(text)]
    assert not mute, "citypulse/cli/chinese.py says these"


def test_a_day_with_its_zone_is_its_first_instant():
    from citypulse.cli.export import Instant

    read = Instant().convert
    assert read("2026-11-20+08:00", None, None) == read("2026-11-20T00:00+08:00", None, None)
    assert read("2026-11-20Z", None, None) == read("2026-11-20T00:00:00Z", None, None)
    with pytest.raises(click.BadParameter, match="has no zone"):
        read("2026-11-20", None, None)


def test_a_rate_is_told_in_the_unit_of_its_newest_value_and_in_local_time():
    from citypulse.cli.why import in_local_time, lines_of

    latch = {
        "colour": "red", "sign": "≥", "limit": 1 / 600, "unit": "%VOL/s", "deadband": 1 / 1200, "on_delay_s": 0.0,
        "off_delay_s": 3600.0, "origin": "gas.yaml:28", "state": "normal", "since_at": None, "good_at": None,
        "due_at": None,
    }  # fmt: skip
    view = {
        "rule": "r", "name": {"zh": "甲烷", "en": "methane"}, "scope": "s", "colour": None, "version": "v",
        "origin": "o", "detector": "rate", "source": "", "unit": "%VOL/s", "sight": "good",
        "last_at": "2026-11-20T13:33:00.027Z",
        "feature": {"zh": "12 %VOL/h", "en": "12 %VOL/h"}, "gap": "raise", "latches": [latch], "alarm": None,
        "inhibited_by": [], "samples": [{"time_at": "2026-11-20T13:33:00.000Z", "x": 1 / 300, "seen": "good"}],
    }  # fmt: skip
    lines = [in_local_time(line, "Asia/Shanghai") for line in lines_of(view)]
    text = "\n".join(lines)
    assert "≥ 6 %VOL/h (回差 deadband 3" in text
    assert "2026-11-20T21:33:00+08:00" in text
    assert "Z" not in text
    assert lines[-1].split()[1] == "12"
