"""`citypulse import`, `export` and `audit` as somebody at a terminal meets them: output, messages, exit codes."""

import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from citypulse.cli import main
from citypulse.ledger import Ledger, Tick
from citypulse.store import open_store
from tests.ledger.ledger_cast import an_event, effects_of

CITY = Path(__file__).parents[2] / "sensors.yaml"
ONE, OTHER = "w-0101.do", "w-0112.turb"
T0 = 1_700_000_000_000


@pytest.fixture
def citypulse(monkeypatch, capsys, tmp_path):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["citypulse", *map(str, words)])
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
        else:
            code = 0
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def readings(tmp_path):
    path = tmp_path / "readings.csv"
    rows = [f"{name},{T0 + 1000 * i},{i / 4},1" for i in range(50) for name in (ONE, OTHER)]
    path.write_text("\n".join(["sensor,time,value,quality", *rows]) + "\n")
    return path


def test_what_is_imported_can_be_exported_again_the_same(citypulse, readings, tmp_path):
    data = tmp_path / "data"
    code, out, _ = citypulse("import", "--data", data, "--config", CITY, readings)
    assert (code, "100 行 rows: 100 条入库" in out) == (0, True)
    code, out, _ = citypulse("export", "--data", data, "--out", tmp_path / "out.csv", "--json")
    assert (code, json.loads(out)["readings"]) == (0, 100)
    exported = (tmp_path / "out.csv").read_text().splitlines()
    assert exported[1] == f"{ONE},2023-11-14T22:13:20.000Z,0,1"
    code, out, _ = citypulse("import", "--data", tmp_path / "data2", "--config", CITY, tmp_path / "out.csv", "--json")
    assert (code, json.loads(out)) == (0, {"rows": 100, "stored": 100, "already_there": 0, "refused": {}})
    citypulse("export", "--data", tmp_path / "data2", "--out", tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_text() == (tmp_path / "out.csv").read_text()


def test_an_import_can_be_repeated(citypulse, readings, tmp_path):
    citypulse("import", "--data", tmp_path / "data", "--config", CITY, readings)
    code, out, _ = citypulse("import", "--data", tmp_path / "data", "--config", CITY, readings, "--json")
    assert (code, json.loads(out)) == (0, {"rows": 100, "stored": 0, "already_there": 100, "refused": {}})


def test_rows_that_cannot_be_taken_are_named_and_counted_and_the_exit_code_says_so(citypulse, readings, tmp_path):
    with readings.open("a") as file:
        file.write(f"ghost.do,{T0},1,1\n{ONE},{T0},wet,1\n{ONE},4000000000000,1,1\n")
    code, out, err = citypulse("import", "--data", tmp_path / "data", "--config", CITY, readings, "--json")
    assert code == 1
    assert json.loads(out)["refused"] == {"value": 1, "unknown_sensor": 1, "future": 1}
    assert json.loads(out)["stored"] == 100
    told = err.replace("\n", "")
    assert f"{readings}:102: sensor 'ghost.do' is not configured" in told
    assert f"{readings}:103: value 'wet' cannot be read" in told


def test_only_so_many_problems_are_shown(citypulse, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text("sensor,time,value\n" + "x,y,z\n" * 500)
    code, _, err = citypulse("import", "--data", tmp_path / "data", "--config", CITY, path)
    assert code == 1
    assert err.count("cannot be read") == 20
    assert "只计数" in err


def test_an_export_may_be_of_some_sensors_and_some_time(citypulse, readings, tmp_path):
    data, out = tmp_path / "data", tmp_path / "out.parquet"
    citypulse("import", "--data", data, "--config", CITY, readings)
    words = ["--since", T0 + 5000, "--until", "2023-11-15T06:13:30+08:00"]
    code, told, _ = citypulse("export", "--data", data, "--out", out, "--sensor", "w-01*.do", *words)
    assert (code, told) == (0, f"{out}: 5 条读数 readings\n")
    code, _, err = citypulse("export", "--data", data, "--out", out, "--sensor", "nothing-*")
    assert (code, "no sensor is like nothing-*" in err) == (1, True)


def test_a_time_without_a_zone_is_a_usage_error_with_the_cure(citypulse, tmp_path):
    code, _, err = citypulse("export", "--data", tmp_path, "--out", "x.csv", "--since", "2023-11-15T06:13:30")
    assert (code, "+08:00" in err) == (2, True)


def test_an_export_where_nothing_is_stored_says_so(citypulse, tmp_path):
    code, _, err = citypulse("export", "--data", tmp_path, "--out", tmp_path / "x.csv")
    assert (code, "no readings are stored here" in err) == (3, True)
    code, _, err = citypulse("export", "--data", tmp_path, "--out", tmp_path / "x.xls")
    assert (code, ".parquet" in err) == (3, True)


def test_beside_a_running_service_both_say_what_to_do_instead(citypulse, readings, tmp_path):
    data = tmp_path / "data"
    ledger = Ledger.open(data)
    code, _, err = citypulse("import", "--data", data, "--config", CITY, readings)
    assert (code, "another citypulse is running" in err) == (3, True)
    store = open_store("duckdb", data)
    command = [sys.executable, "-m", "citypulse", "export", "--data", data, "--out", tmp_path / "x.csv"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=CITY.parent, check=False)
    assert done.returncode == 3
    assert "HTTP export" in done.stderr
    store.close()
    ledger.close()


def test_an_audit_of_a_whole_record_is_quiet_and_of_a_changed_one_names_the_line(citypulse, tmp_path):
    ledger = Ledger.open(tmp_path)
    ledger.commit(Tick(number=1, now_ms=T0, effects=effects_of(events=[an_event(), an_event(rev=2)])))
    code, out, _ = citypulse("audit", "verify", "--data", tmp_path)
    assert (code, "2 lines checked" in out) == (0, True)
    head = ledger.events()[-1].hash
    ledger.close()
    raw = sqlite3.connect(tmp_path / "city.db")
    raw.execute("DROP TRIGGER event_no_update")
    raw.execute("UPDATE event SET actor = 'Bo' WHERE seq = 2")
    raw.commit()
    raw.close()
    code, out, _ = citypulse("audit", "verify", "--data", tmp_path, "--json")
    found = json.loads(out)
    assert (code, found["ok"], found["first_broken"], found["head"]) == (1, False, 2, {"seq": 2, "hash": head})
    code, out, _ = citypulse("audit", "verify", "--data", tmp_path, "--to", "1")
    assert code == 0


def test_an_audit_without_a_ledger_is_an_error_of_the_surroundings(citypulse, tmp_path):
    shutil.rmtree(tmp_path)
    code, _, err = citypulse("audit", "verify", "--data", tmp_path)
    assert (code, "there is no ledger here" in err) == (3, True)
