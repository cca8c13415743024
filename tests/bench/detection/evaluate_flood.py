"""FloodNet: levels of street floods found by the live engine in a backtest, judged by the published events.

    python tests/bench/detection/evaluate_flood.py --data DIR     (DIR holds data/floodnet and eval/)

With quality control on: flood.yaml beside this file is laid over the configuration. The same recording through a real
broker and the running service: docs/operate/replay.md.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys

from common import arguments, citypulse, epoch_ms, folder_for, score, shown

PUBLISHED = "bar: 0 missed, 0 false levels, delay 0 readings, with quality control on"


def convert(*command: str) -> None:
    """Run one of the converters and pass on what it says."""
    subprocess.run([sys.executable, "-m", "simulators.convert", *command], check=True)


def main() -> int:
    options = arguments(__doc__ or "", "flood.yaml")
    floodnet, work = options.data / "data" / "floodnet", folder_for(options, "floodnet")
    readings, events = floodnet / "readings.csv.gz", floodnet / "events.csv.gz"
    if not (readings.exists() and events.exists()):
        print(f"no readings.csv.gz with events.csv.gz in {floodnet}: not there")
        return 0
    recording = ("--readings", str(readings), "--events", str(events))
    convert("floodnet", *recording, "--out", str(work))
    city = work / "sensors.yaml"
    city.write_text(
        city.read_text(encoding="utf-8").replace("version: 1\n", f"version: 1\ninclude: [{options.config}]\n")
    )
    print(f"quality control is on: {shown(options.config)} has the tests of depth")
    found = ("--alarms", work / "found.csv", "--json")
    citypulse("backtest", "--config", city, "--readings", work / "readings.csv.gz", *found)
    with (work / "found.csv").open(encoding="utf-8") as file:
        alarms = [
            {
                "rule": row["rule"],
                "scope": row["scope"],
                "raised_ms": epoch_ms(row["start"]),
                "cleared_ms": epoch_ms(row["end"]) if row["end"] else None,
            }
            for row in csv.DictReader(file)
        ]
    (work / "alarms.json").write_text(json.dumps(alarms))
    scored = str(work / "alarms.csv")
    convert("floodnet-alarms", "--alarms", str(work / "alarms.json"), *recording, "--out", scored)
    print(score(options.data / "eval" / "flood_eval.py", "--alarms", scored, "--data", str(floodnet)))
    print(PUBLISHED)
    return 0


if __name__ == "__main__":
    sys.exit(main())
