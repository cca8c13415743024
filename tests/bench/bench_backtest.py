"""How fast a backtest goes through recorded columns: `python tests/bench/bench_backtest.py`. It only prints.

The sample city's flood, water, road and gas packs over lifelike columns in order of time, on one core.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from citypulse.app import extensions
from citypulse.backtest.history import Columns
from citypulse.backtest.run import Trial
from citypulse.config import load_city

ROOT = Path(__file__).parents[2]
START_MS = 1_767_542_400_000
PORTION = 200_000
PLAIN = ("threshold", "rate", "stuck", "no_data", "gateway_silent")


def columns(trial: Trial, total: int) -> list[Columns]:
    """Every sensor at its own cadence, near the calm middle of its range, with noise; in order of time."""
    rng = np.random.default_rng(1)
    sensors = trial.config.sensors
    rate = sum(1 / s.cadence_s for s in sensors)
    span_s = total / rate
    codes, times = [], []
    for k, s in enumerate(sensors):
        n = int(span_s / s.cadence_s)
        codes.append(np.full(n, k, np.int32))
        offset = int(rng.integers(s.cadence_s * 1000))
        times.append(START_MS + offset + 1000 * s.cadence_s * np.arange(n, dtype=np.int64))
    code, time_ms = np.concatenate(codes), np.concatenate(times)
    order = np.argsort(time_ms, kind="stable")
    code, time_ms = code[order], time_ms[order]
    calm = {"depth": 0.5, "rain": 0.2, "fill": 20, "headroom": 3, "flow": 0.3, "do": 7.5, "ph": 7.5, "ch4": 0.02,
            "o2": 20.8, "chlorine": 0.4, "turb": 0.3, "orp": 200, "clarity": 60, "battery": 80, "pressure": 300,
            "settlement": 4, "moisture": 20, "tp": 0.05, "nh3n": 0.5, "codmn": 4}  # fmt: skip
    middle = np.array([calm.get(s.quantity, 1.0) for s in sensors])
    value = middle[code] * (1 + 0.02 * rng.standard_normal(len(code)))
    quality = np.full(len(code), 2, np.uint8)
    names = [s.id for s in sensors]
    return [
        Columns(names=names, code=code[i : i + PORTION], time_ms=time_ms[i : i + PORTION],
                value=value[i : i + PORTION], quality=quality[i : i + PORTION], share_done=0.0)
        for i in range(0, len(code), PORTION)
    ]  # fmt: skip


def main() -> None:
    config = load_city(ROOT / "sensors.yaml", extensions())
    total = int(sys.argv[1]) if len(sys.argv) > 1 else 4_000_000
    parts = columns(Trial(config), total)
    n = sum(map(len, parts))
    warm = Trial(config)
    warm.take(parts[0])
    plain = replace(config, rules=tuple(rule for rule in config.rules if rule.detector in PLAIN))
    for label, tried in (("engine, single-sensor rules", plain), ("engine, all rules", config), ("whole", config)):
        trial = Trial(tried)
        spent = 0.0
        began = time.process_time()
        for part in parts:
            if label == "whole":
                trial.take(part)
            else:
                batch = trial.batch(part)
                start = time.process_time()
                trial.engine.step(batch, int(part.time_ms[-1]))
                spent += time.process_time() - start
        if label == "whole":
            spent = time.process_time() - began
        print(f"{label:28} {n:>10,} readings {spent:6.2f} s {n / spent / 1e6:6.2f} M readings/s")


if __name__ == "__main__":
    main()
