"""What most people write first: paho, json, executemany. The yardstick beside us in the same run."""

from __future__ import annotations

import json
import sqlite3
import sys
import time

import paho.mqtt.client as mqtt


def main(port: int, path: str) -> None:
    db = sqlite3.connect(path, check_same_thread=False)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("CREATE TABLE reading (sensor TEXT, time INTEGER, value REAL, PRIMARY KEY (sensor, time)) WITHOUT ROWID")
    rows: list[tuple[str, int, float]] = []
    active: dict[str, bool] = {}

    def on_message(_client: object, _userdata: object, message: mqtt.MQTTMessage) -> None:
        body = json.loads(message.payload)
        sensors = body.get("sensor")
        if sensors is None:
            new = [(r["sensor"], r["time"], r["value"]) for r in body["readings"]]
        else:
            new = list(zip(sensors, body["time"], body["value"], strict=True))
        for sensor, _, value in new:
            active[sensor] = value >= 27 or (active.get(sensor, False) and value > 24)
        rows.extend(new)

    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="naive", clean_session=True)
    client.on_message = on_message
    client.on_connect = lambda c, *_: c.subscribe("city/v1/+/readings", qos=1)
    client.connect("127.0.0.1", port)
    client.loop_start()
    print("ready", flush=True)
    while True:
        time.sleep(0.1)
        taken = rows[:]
        del rows[: len(taken)]
        with db:
            db.executemany("INSERT OR IGNORE INTO reading VALUES (?, ?, ?)", taken)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
