"""FloodNet: levels of street floods found by the live engine in a backtest, judged by the published events.

    python tests/bench/detection/evaluate_flood.py --data FOLDER     (FOLDER holds data/floodnet and eval/)

The same recording through a real broker and the running service: docs/operate/replay.md.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

PUBLISHED = "bar: 0 missed, 0 false levels, delay 0; a straight-line reconstruction agrees with the publisher's minutes"


def run(*command: str) -> None:
    subprocess.run([sys.executable, *command], check=True)


def instant_ms(text: str) -> int:
    from datetime import datetime

    return int(text) if text.isdigit() else round(datetime.fromisoformat(text).timestamp() * 1000)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    floodnet = options.data / "data" / "floodnet"
    readings, events = str(floodnet / "readings.csv.gz"), str(floodnet / "events.csv.gz")
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        convert = ("-m", "simulators.convert")
        run(*convert, "floodnet", "--readings", readings, "--events", events, "--out", name)
        backtest = ("-m", "citypulse", "backtest", "--config", str(work / "sensors.yaml"))
        run(*backtest, "--readings", str(work / "readings.csv.gz"), "--alarms", str(work / "found.csv"), "--json")
        with (work / "found.csv").open(encoding="utf-8") as file:
            found = [
                {
                    "rule": row["rule"],
                    "scope": row["scope"],
                    "raised_ms": instant_ms(row["start"]),
                    "cleared_ms": instant_ms(row["end"]) if row["end"] else None,
                }
                for row in csv.DictReader(file)
            ]
        (work / "alarms.json").write_text(json.dumps(found))
        alarms = str(work / "alarms.csv")
        spans = ("--alarms", str(work / "alarms.json"), "--readings", readings, "--events", events, "--out", alarms)
        run(*convert, "floodnet-alarms", *spans)
        scorer = str(options.data / "eval" / "flood_eval.py")
        verdict = subprocess.run([sys.executable, scorer, "--alarms", alarms, "--data", str(floodnet)], check=False)
        print(PUBLISHED)
        return verdict.returncode


if __name__ == "__main__":
    sys.exit(main())
