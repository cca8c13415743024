"""Feeds QARTOD vectors, reading by reading, to the streaming tests and writes the flags for the checker.

    python tests/bench/detection/qartod_adapter.py --vectors …/*.jsonl.gz --data DATA --out out.jsonl

What is not streamable as the reference defines it is taken from the whole vector first, and only this: the
median step (flat line, attenuated with min_period) becomes the configured interval; the percentiles of
`percentile_range_test` become a configured range; `attenuated_signal_test` without a period gets its one
statistic of the whole series; a flat-line series of fewer than three readings is not judged. The window's
size is set from the vector's times. Everything else sees one reading at a time.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import math
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from citypulse.clock import SystemClock
from citypulse.model import ReadingBatch
from ingest.qc import qartod
from ingest.qc.catalogue import NO_TIME, roll_up
from ingest.qc.controller import QualityControl
from ingest.qc.place import BoundsTest, LocationTest
from ingest.qc.profile import DensityInversionTest
from ingest.qc.settings import SensorQuality

Flags = list[int]


def number(x: Any) -> float:
    """One input as a float; null, and null in a list, is missing. ValueError for text that is no number."""
    if isinstance(x, list):
        x = x[0] if x else None
    value = math.nan if x is None else float(x)
    return value if math.isfinite(value) else math.nan


def numbers(column: Any) -> list[float]:
    """A column of numbers; a bare number is a column of one."""
    return [number(x) for x in (column if isinstance(column, list) else [column])]


def instant(t: Any) -> int:
    """Epoch ms of an ISO string (UTC) or epoch seconds; null is no time."""
    if t is None or t == "NaT":
        return NO_TIME
    if isinstance(t, int | float):
        return round(t * 1000)
    text = str(t).replace("Z", "").rstrip()
    moment = datetime.fromisoformat(text[:26]).replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def instants(column: list[Any]) -> list[int]:
    return [instant(t) for t in column]


def median_step_s(times: list[int]) -> float:
    """The interval a city would configure: the median step, cut to whole seconds."""
    return float(math.floor(np.median(np.diff(times)) / 1000)) if len(times) > 1 else 1.0


def stream(
    settings: dict[str, Any], times: list[int], values: list[float], depths: list[float] | None = None, now: int = 0
) -> Flags:
    """Feed one sensor reading by reading; amendments replace the previous reading's flag."""
    control = QualityControl([SensorQuality.model_validate(settings)], [1.0])
    sensor, none, received = np.zeros(1, np.int32), np.zeros(1, np.uint8), np.array([now], np.int64)
    time_ms, value = np.array(times, np.int64), np.array(values, np.float64)
    depth = None if depths is None else np.array(depths, np.float64)
    flags: Flags = []
    for i in range(len(values)):
        one = ReadingBatch(
            sensor=sensor,
            time_ms=time_ms[i : i + 1],
            value=value[i : i + 1],
            quality=none,
            lane=none,
            received_ms=received,
        )
        graded = control.apply(one, None if depth is None else depth[i : i + 1])
        if len(graded.amendments):
            flags[-1] = int(graded.amendments.quality[0])
        flags.append(int(graded.flags[0]))
    return flags


def gross_range(a: dict[str, Any]) -> Flags:
    values = numbers(a["inp"])
    span = {"fail": a["fail_span"], "suspect": a.get("suspect_span")}
    return stream({"gross_range": span}, list(range(len(values))), values)


def climatology(a: dict[str, Any]) -> Flags:
    values = numbers(a["inp"])
    depths = numbers(a["zinp"]) if a.get("zinp") is not None else [math.nan] * len(values)
    return stream({"climatology": a["config"]}, instants(a["tinp"]), values, depths)


def spike(a: dict[str, Any]) -> Flags:
    values = numbers(a["inp"])
    settings = {
        "suspect": a.get("suspect_threshold"),
        "fail": a.get("fail_threshold"),
        "method": a.get("method", "average"),
    }
    return stream({"spike": settings}, list(range(len(values))), values)


def rate_of_change(a: dict[str, Any]) -> Flags:
    settings = {"suspect": a["threshold"], "fail": a.get("fail_threshold")}
    return stream({"rate_of_change": settings}, instants(a["tinp"]), numbers(a["inp"]))


def flat_line(a: dict[str, Any]) -> Flags:
    values = numbers(a["inp"])
    settings = {
        "suspect_after_s": int(a["suspect_threshold"]),
        "fail_after_s": int(a["fail_threshold"]),
        "tolerance": a.get("tolerance", 0),
    }
    if len(values) < 3:
        return [1] * len(values)
    times = instants(a["tinp"])
    return stream({"flat_line": settings, "interval_s": median_step_s(times)}, times, values)


def attenuated(a: dict[str, Any]) -> Flags:
    values, times = numbers(a["inp"]), instants(a["tinp"])
    statistic = a.get("check_type", "std")
    if statistic not in ("std", "range"):
        raise ValueError(statistic)
    period = a.get("test_period")
    if not period:
        present = [x for x in values if not math.isnan(x)]
        whole = math.nan
        if present:
            whole = float(np.std(present)) if statistic == "std" else max(present) - min(present)
        flag = qartod.attenuation(whole, float(a["suspect_threshold"]), float(a["fail_threshold"]))
        return [9 if math.isnan(x) else flag for x in values]
    if sorted(times) not in (times, times[::-1]):
        raise ValueError("a rolling window needs its times in order")
    oldest, widest = 0, 2
    for newest, time_ms in enumerate(times):
        while times[oldest] <= time_ms - period * 1000:
            oldest += 1
        widest = max(widest, newest - oldest + 1)
    settings = {
        "over_s": period,
        "suspect_below": a["suspect_threshold"],
        "fail_below": a["fail_threshold"],
        "statistic": statistic,
        "min_readings": a.get("min_obs"),
        "min_s": a.get("min_period") if a.get("min_obs") is None else None,
    }
    # Readings closer than a second have an interval of 0 here, which only `min_s` would ask for.
    interval_s = median_step_s(times)
    if interval_s <= 0 and settings["min_s"] is None:
        interval_s = 1.0
    return stream({"attenuated": settings, "interval_s": interval_s, "window_max": widest}, times, values)


def time_gap(a: dict[str, Any]) -> Flags:
    times = instants(a["tinp"])
    return stream({"time_gap": {"fail_after_s": int(a.get("fail_span", 2) * 3600)}}, times, [0.0] * len(times))


def data_reception(a: dict[str, Any]) -> Flags:
    times = instants(a["tinp"])
    now = SystemClock().now_ms() if a.get("from_time") is None else instant(a["from_time"])
    settings = {"fail_after_s": int(a.get("fail_span", 6) * 3600)}
    return stream({"reception": settings}, times, [0.0] * len(times), now=now)


def impossible_date(a: dict[str, Any]) -> Flags:
    times, span = instants(a["tinp"]), a.get("fail_span")
    settings = {"fail_span": None if span is None else instants(span)}
    return stream({"impossible_date": settings}, times, [0.0] * len(times), now=SystemClock().now_ms())


def location(a: dict[str, Any]) -> Flags:
    lats, lons = numbers(a["lat"]), numbers(a["lon"])
    if len(lats) != len(lons):
        raise ValueError("latitudes and longitudes differ in number")
    test = LocationTest(range_max_m=a.get("range_max"), method=a.get("range_method", "haversine"))
    return [test.step(lat, lon) for lat, lon in zip(lats, lons, strict=True)]


def location_bounds(a: dict[str, Any]) -> Flags:
    lats, lons = numbers(a["lat"]), numbers(a["lon"])
    if len(lats) != len(lons):
        raise ValueError("latitudes and longitudes differ in number")
    test = BoundsTest(a["shape"], flag_area=a.get("flag_area", "outside"))
    return [test.step(lat, lon) for lat, lon in zip(lats, lons, strict=True)]


def density_inversion(a: dict[str, Any]) -> Flags:
    test = DensityInversionTest(suspect=a.get("suspect_threshold"), fail=a.get("fail_threshold"))
    densities, depths = numbers(a["inp"]), numbers(a["zinp"])
    if len(densities) != len(depths):
        raise ValueError("densities and depths differ in number")
    flags: Flags = []
    for density, depth in zip(densities, depths, strict=True):
        flag, before = test.step(density, depth)
        if flags:
            flags[-1] = before
        flags.append(flag)
    return flags


def percentile_range(a: dict[str, Any]) -> Flags:
    values = numbers(a["inp"])
    edges = [float(a.get("low_percentile", 5)), float(a.get("hi_percentile", 95))]
    low, high = np.percentile([x for x in values if not math.isnan(x)], edges)
    pad = float(a.get("pad", 0.0))
    span = {"fail": [-math.inf, math.inf], "suspect": [low - pad, high + pad]}
    return stream({"gross_range": span}, list(range(len(values))), values)


def syntax(a: dict[str, Any]) -> Flags:
    lines = a["inp"] if isinstance(a["inp"], list) else [a["inp"]]
    counts = str(a.get("lentype", "char")).strip().lower()
    return [qartod.syntax(str(x), float(a["nchar"]), counts=counts, delimiter=a.get("delimiter")) for x in lines]


def compare(a: dict[str, Any]) -> Flags:
    vectors = a["vectors"]
    if len({len(v) for v in vectors}) > 1:
        raise ValueError("flag vectors differ in length")
    return [int(roll_up(np.array([[f] for f in column], np.uint8))[0]) for column in zip(*vectors, strict=True)]


TESTS: dict[str, Callable[[dict[str, Any]], Flags]] = {
    "gross_range_test": gross_range,
    "climatology_test": climatology,
    "spike_test": spike,
    "rate_of_change_test": rate_of_change,
    "flat_line_test": flat_line,
    "attenuated_signal_test": attenuated,
    "time_gap_test": time_gap,
    "data_reception_test": data_reception,
    "impossible_date_test": impossible_date,
    "location_test": location,
    "location_bounds_test": location_bounds,
    "density_inversion_test": density_inversion,
    "percentile_range_test": percentile_range,
    "syntax_test": syntax,
    "qartod_compare": compare,
}

_series: dict[str, tuple[list[Any], list[float]]] = {}


def series(spec: dict[str, Any], data: Path) -> tuple[list[Any], list[float]]:
    """Times and values of a data file; the `missing` number, empty and nan fields are missing."""
    key = json.dumps(spec, sort_keys=True)
    if key not in _series:
        path = data / spec["file"]
        times: list[Any] = []
        values: list[float] = []
        with gzip.open(path, "rt", newline="", encoding="utf-8-sig") if path.suffix == ".gz" else path.open() as file:
            for row in csv.DictReader(file):
                raw = row[spec["value"]]
                value = float(raw) if raw not in ("", None) else math.nan
                times.append(row[spec["time"]])
                values.append(math.nan if value == spec.get("missing") else value)
        _series[key] = times, values
    return _series[key]


def answer(vector: dict[str, Any], data: Path) -> dict[str, Any]:
    """The flags of one vector, or that its call is refused."""
    if vector["test"] not in TESTS:
        return {"id": vector["id"], "flags": [], "because": f"no test {vector['test']!r} here"}
    args = dict(vector["args"])
    if "series" in vector:
        times, values = series(vector["series"], data)
        args |= {"tinp": times, "inp": values}
    try:
        return {"id": vector["id"], "flags": TESTS[vector["test"]](args)}
    except (ValueError, TypeError) as refusal:
        return {"id": vector["id"], "raises": True, "because": str(refusal).splitlines()[0]}


def lines(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        for line in file:
            if line.strip():
                yield json.loads(line)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", nargs="+", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="folder the vectors' files are relative to")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    data = options.data or options.vectors[0].resolve().parents[1]
    with options.out.open("w") as out:
        for path in options.vectors:
            for vector in lines(path):
                out.write(json.dumps(answer(vector, data)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
