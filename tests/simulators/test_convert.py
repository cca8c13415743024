"""Public recordings become readings files and configurations, and alarms become the scorer's table."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from citypulse.app import extensions
from citypulse.config import load_city
from citypulse.readings_files import read_readings
from simulators.convert import command

START_MS = 1_616_976_464_000  # 2021-03-29T00:07:44Z

EVENTS = """event_id,sensor_name,sensor_id,flood_start_time,flood_end_time
e1,Q - Mill St,Q-mill-st-1,2021-03-29T00:07:44.000,2021-03-29T00:10:44.000
e2,Q - Mill St,Q-mill-st-1,2021-03-29T00:09:44.000,2021-03-29T00:11:44.000
e3,Q - Mill St,Q-mill-st-1,2021-03-30T00:00:00.000,2021-03-30T00:01:00.000
"""
READINGS = """event_id,sensor_id,t_s,depth_in
e1,Q-mill-st-1,0,0.0
e1,Q-mill-st-1,60,4.0
e1,Q-mill-st-1,120,12.5
e1,Q-mill-st-1,180,3.99
e2,Q-mill-st-1,0,0.0
e2,Q-mill-st-1,60,24.0
e2,Q-mill-st-1,120,0.1
e3,Q-mill-st-1,0,0.0
e3,Q-mill-st-1,60,5.0
"""


def run(*words: object) -> str:
    done = CliRunner().invoke(command, [str(w) for w in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def flood(tmp_path: Path) -> Path:
    (tmp_path / "events.csv").write_text(EVENTS)
    with gzip.open(tmp_path / "in.csv.gz", "wt") as file:
        file.write(READINGS)
    run(
        "floodnet",
        "--readings",
        tmp_path / "in.csv.gz",
        "--events",
        tmp_path / "events.csv",
        "--out",
        tmp_path / "city",
    )
    return tmp_path


def test_events_get_their_absolute_time_and_inches_stay_exact_at_the_limit(flood):
    (portion,) = read_readings(flood / "city" / "readings.csv.gz")
    rows = list(
        zip([portion.names[k] for k in portion.name], portion.time_ms.tolist(), portion.value.tolist(), strict=True)
    )
    assert ("q-mill-st-1.depth", START_MS + 60_000, 10.16) in rows
    assert rows == sorted(rows, key=lambda r: r[1])
    assert len(rows) == 9


def test_an_event_that_overlaps_another_of_its_sensor_gets_a_twin_site(flood):
    (portion,) = read_readings(flood / "city" / "readings.csv.gz")
    assert set(portion.names) == {"q-mill-st-1.depth", "q-mill-st-1-2.depth"}


def test_the_configuration_is_complete_and_its_limits_mean_the_same_inches(flood):
    city = load_city(flood / "city" / "sensors.yaml", extensions())
    limits = sorted((r.limits[0].value, r.limits[0].deadband, r.limits[0].off_delay_s) for r in city.rules)
    assert limits == [(10.16, 0.0, 0.0), (30.48, 0.0, 0.0), (60.96, 0.0, 0.0)]
    assert {s.id for s in city.sensors} == {"q-mill-st-1.depth", "q-mill-st-1-2.depth"}


def test_alarms_are_cut_into_the_events_they_belong_to(flood):
    def alarm(rule: str, scope: str, raised_s: float, cleared_s: float | None) -> dict:
        cleared = None if cleared_s is None else START_MS + int(cleared_s * 1000)
        return {"rule": rule, "scope": scope, "raised_ms": START_MS + int(raised_s * 1000), "cleared_ms": cleared}

    day = 86_400 - 464
    alarms = [
        alarm("depth-4in", "q-mill-st-1.depth", 60, 180),
        alarm("depth-12in", "q-mill-st-1.depth", 120, 180),
        alarm("depth-24in", "q-mill-st-1-2.depth", 180, 240),
        alarm("depth-4in", "q-mill-st-1.depth", day + 60, None),  # still standing when the recording ends
        alarm("gateway-silent", "recorder", 0, None),
    ]
    (flood / "alarms.json").write_text(json.dumps(alarms))
    out = flood / "alarms.csv"
    run(
        "floodnet-alarms",
        "--alarms",
        flood / "alarms.json",
        "--events",
        flood / "events.csv",
        "--readings",
        flood / "in.csv.gz",
        "--out",
        out,
    )
    with out.open() as file:
        rows = [
            (r["event_id"], float(r["level_in"]), float(r["start_s"]), float(r["end_s"])) for r in csv.DictReader(file)
        ]
    assert rows == [("e1", 4, 60, 180), ("e1", 12, 120, 180), ("e2", 24, 60, 120), ("e3", 4, 60, 60)]


def test_an_alarm_that_outlasts_its_profile_does_not_reach_into_the_next_event(flood):
    alarms = [
        {
            "rule": "depth-4in",
            "scope": "q-mill-st-1.depth",
            "raised_ms": START_MS + 60_000,
            "cleared_ms": START_MS + (86_400 - 464) * 1000,
        }
    ]
    (flood / "alarms.json").write_text(json.dumps(alarms))
    out = flood / "alarms.csv"
    run(
        "floodnet-alarms",
        "--alarms",
        flood / "alarms.json",
        "--events",
        flood / "events.csv",
        "--readings",
        flood / "in.csv.gz",
        "--out",
        out,
    )
    assert out.read_text().splitlines()[1:] == ["e1,4,60.0,180.0"]


def test_a_river_station_becomes_six_sensors_with_raw_values(tmp_path):
    head = "datetime,temp,temp_cor,cond,cond_cor,ph,ph_cor,do,do_cor,turb,turb_cor,stage,stage_cor\n"
    (tmp_path / "Mill2019.csv").write_text(
        head
        + "2019-01-01 00:00:00,0.76,,372.4,,8.48,,14.08,,2.83,,60.44,37.1\n2019-01-01 00:15:00,,,,,,,-9999.0,,,,,\n"
    )
    run("lro", tmp_path / "Mill2019.csv", "--out", tmp_path / "city")
    (portion,) = read_readings(tmp_path / "city" / "readings.csv.gz")
    rows = dict(
        zip(
            zip([portion.names[k] for k in portion.name], portion.time_ms.tolist(), strict=True),
            portion.value.tolist(),
            strict=True,
        )
    )
    assert rows["mill2019.level", 1_546_300_800_000] == 0.6044
    assert rows["mill2019.do", 1_546_301_700_000] == -9999.0  # what the logger said is evidence
    assert len(rows) == 7
    city = load_city(tmp_path / "city" / "sensors.yaml", extensions())
    assert {s.quantity for s in city.sensors} == {"temp", "cond", "ph", "do", "turb", "level"}
    assert city.rules
