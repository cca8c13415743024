"""Feeds QARTOD vectors, reading by reading, to the streaming tests and writes the flags for the checker.

    python tests/bench/detection/qartod_adapter.py --vectors …/*.jsonl.gz --data DATA --out out.jsonl

What is not streamable as the reference defines it is taken from the whole vector first, and only this: the
median step (flat line, attenuated with min_period) becomes the configured interval; the percentiles of
`percentile_range_test` become a configured range; `attenuated_signal_test` without a period gets its one
statistic of the whole series; a flat-line series of fewer than three readings is not judged; a series of
falling times is fed to a time window in the mirror, since a stream knows one direction. The window's size is
set from the vector's times. Everything else sees one reading at a time. What the reference cannot compute at
all (no reading to look at, steps that stand still) is refused here too.
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
ENDLESS_S = 1e15  # an interval that fits into no duration


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
    """Epoch ms of an ISO string (UTC where it does not say) or epoch seconds; null is no time."""
    if t is None or t in ("", "NaT"):
        return NO_TIME
    if isinstance(t, int | float):
        return round(t * 1000)
    try:
        moment = datetime.fromisoformat(str(t).strip())
    except ValueError:
        return round(float(t) * 1000)
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def instants(column: list[Any]) -> list[int]:
    return [instant(t) for t in column]


def interval_s(times: list[int], *durations_s: float) -> float:
    """The interval a city would configure: the median step, cut to whole seconds. Endless where it is not defined.

    ValueError when the steps stand still or run backwards, so that a duration holds no number of them.
    """
    if len(times) < 2 or NO_TIME in times:
        return ENDLESS_S
    step = math.floor(np.median(np.diff(times)) / 1000)
    if step == 0 or any(int(duration / step) < 0 for duration in durations_s):
        raise ValueError(f"a median step of {step} s")
    return float(step) if step > 0 else ENDLESS_S


def stream(
    settings: dict[str, Any], times: list[int], values: list[float], depths: list[float] | None = None, now: int = 0
) -> Flags:
    """Feed one sensor reading by reading; amendments replace the previous reading's flag."""
    if not len(times) == len(values) == len(values if depths is None else depths):
        raise ValueError("columns differ in length")
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
    depths = numbers(a["zinp"]) if a.get("zinp") is not None else [math.nan]
    depths = depths * len(values) if len(depths) == 1 else depths
    if not any(member.get("zspan") for member in a["config"]):
        depths = [math.nan] * len(values)
    nowhere = {"tspan": [-1, -1], "vspan": [0, 0], "period": "year"}  # no member at all is a test too
    return stream({"climatology": a["config"] or [nowhere]}, instants(a["tinp"]), values, depths)


def spike(a: dict[str, Any]) -> Flags:
    values = numbers(a["inp"])
    if not values:
        raise ValueError("no reading to be the first")
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
    if len(values) < 3:
        return [1] * len(values)
    after_s = [int(a["suspect_threshold"]), int(a["fail_threshold"])]
    step_s = interval_s(instants(a["tinp"]), *after_s)  # all that the test asks of the times
    longest_s = step_s * len(values)  # no window is longer than the series
    settings = {
        "suspect_after_s": min(max(after_s[0], 0), longest_s),
        "fail_after_s": min(max(after_s[1], 0), longest_s),
        "tolerance": a.get("tolerance", 0),
    }
    return stream({"flat_line": settings, "interval_s": step_s}, list(range(len(values))), values)


def attenuated(a: dict[str, Any]) -> Flags:
    values, times = numbers(a["inp"]), instants(a["tinp"])
    statistic = a.get("check_type", "std")
    if statistic not in ("std", "range"):
        raise ValueError(statistic)
    period = a.get("test_period")
    if not period:
        if statistic == "range" and not values:
            raise ValueError("no reading to take the range of")
        present = np.ma.masked_invalid(values)
        whole = math.nan
        if present.count():
            whole = float(np.ma.std(present)) if statistic == "std" else float(np.ma.ptp(present))
        flag = qartod.attenuation(whole, float(a["suspect_threshold"]), float(a["fail_threshold"]))
        return [9 if math.isnan(x) else flag for x in values]
    if NO_TIME in times or sorted(times) not in (times, times[::-1]):
        raise ValueError("a rolling window needs its times, in order")
    needed, least_s = a.get("min_obs"), a.get("min_period") if a.get("min_obs") is None else None
    step_s = 1.0 if least_s is None else interval_s(times, least_s)
    times = times if times == sorted(times) else [-t for t in times]
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
        "min_readings": needed,
        "min_s": None if least_s is None else max(least_s, 0),
    }
    return stream({"attenuated": settings, "interval_s": step_s, "window_max": widest}, times, values)


def time_gap(a: dict[str, Any]) -> Flags:
    times = instants(a["tinp"])
    if len(times) < 2:
        raise ValueError("no second reading to give the first its flag")
    return stream({"time_gap": {"fail_after_s": int(a.get("fail_span", 2) * 3600)}}, times, [0.0] * len(times))


def data_reception(a: dict[str, Any]) -> Flags:
    times = instants(a["tinp"])
    now = SystemClock().now_ms() if a.get("from_time") is None else instant(a["from_time"])
    settings = {"fail_after_s": int(a.get("fail_span", 6) * 3600)}
    return stream({"reception": settings}, times, [0.0] * len(times), now=now)


def impossible_date(a: dict[str, Any]) -> Flags:
    times, span = instants(a["tinp"]), a.get("fail_span")
    if span is not None:
        # A bound that is nothing bounds nothing.
        span = [open_end if t is None else instant(t) for t, open_end in zip(span, (-9e18, 9e18), strict=True)]
    settings = {"fail_span": span}
    return stream({"impossible_date": settings}, times, [0.0] * len(times), now=SystemClock().now_ms())


def location(a: dict[str, Any]) -> Flags:
    lats, lons = numbers(a["lat"]), numbers(a["lon"])
    if len(lats) != len(lons):
        raise ValueError("latitudes and longitudes differ in number")
    # One position has no distance from another.
    range_max = a.get("range_max") if len(lats) > 1 else None
    test = LocationTest(range_max_m=range_max, method=a.get("range_method", "haversine"))
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
    present = [x for x in values if not math.isnan(x)]
    if not present:
        raise ValueError("no reading to take percentiles of")
    low, high = np.percentile(present, edges)
    pad = float(a.get("pad", 0.0))
    low, high = low - pad, high + pad
    everything = [-math.inf, math.inf]
    # Bounds in the wrong order: every reading is outside one of them.
    span = {"fail": everything, "suspect": [low, high] if low <= high else [math.inf, math.inf]}
    return stream({"gross_range": span}, list(range(len(values))), values)


def syntax(a: dict[str, Any]) -> Flags:
    lines = a["inp"] if isinstance(a["inp"], list) else [a["inp"]]
    counts = str(a.get("lentype", "char")).strip().lower()
    qartod.syntax("", 0, counts=counts)  # an unknown word is refused even where there is no line
    return [qartod.syntax(str(x), float(a["nchar"]), counts=counts, delimiter=a.get("delimiter")) for x in lines]


def compare(a: dict[str, Any]) -> Flags:
    vectors = a["vectors"]
    if not vectors:
        raise ValueError("no flags to compare")
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
                try:
                    value = float(row[spec["value"]])
                except (TypeError, ValueError):  # nothing, or a word for it
                    value = math.nan
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
        try:
            times, values = series(vector["series"], data)
        except OSError as absent:
            return {"id": vector["id"], "flags": [], "because": str(absent)}
        args |= {"tinp": times, "inp": values}
    try:
        return {"id": vector["id"], "flags": TESTS[vector["test"]](args)}
    except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError) as refusal:
        return {"id": vector["id"], "raises": True, "because": (str(refusal) or repr(refusal)).splitlines()[0]}


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
