"""Draws random QARTOD vectors with the flags of the reference itself, for `qartod_adapter.py` to answer.

    python qartod_draw.py --seed 1 --count 4000 --out drawn.jsonl [--tests spike_test …] [--longest 40]

Runs where ioos_qc 3.0.0, gsw and geographiclib are installed; none of them is needed elsewhere. All corners of
inputs and parameters but those in which we differ on purpose (the table in docs/reference/quality-control.md): in a
draw without them every flag is equal, or one side is wrong.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

DAY = 86_400
NEW_YEAR = 1_546_300_800  # 2019-01-01
Column = list[Any]
Args = dict[str, Any]
PERIODS = {
    **dict.fromkeys(("dayofyear", "day_of_year"), (1, 366)),
    **dict.fromkeys(("week", "weekofyear"), (1, 53)),
    **dict.fromkeys(("dayofweek", "day_of_week", "weekday"), (0, 6)),
    **dict.fromkeys(("day", "hour", "minute", "second", "days_in_month", "daysinmonth", "nanosecond"), (0, 59)),
    "year": (2018, 2020),
    "quarter": (1, 4),
    "month": (1, 12),
    "microsecond": (0, 999_000),
}
SECONDS = (0, 1, 2, 60, 90.7, 900, 7200, DAY, 10**6)


class Draw:
    """One vector: what all of its arguments are drawn from."""

    def __init__(self, random: Random, longest: int) -> None:
        self.r = random
        self.n = random.choice([0, 1, 1, 2, 2, 3, 4, 5, 8, min(15, longest), longest])

    def values(self, missing: float | None = None) -> Column:
        r = self.r
        missing = r.choice([0, 0, 0.1, 0.4, 0.9]) if missing is None else missing
        kind, level, column = r.randrange(5), 0.0, []
        for _ in range(self.n):
            level += r.choice([0, 0, 0, 0.01, 5])
            coarse, far = r.choice([0, 0.5, 1, 1.5, 2, 10, -10]), round(r.gauss(1e5, 10), r.randint(0, 3))
            x = (float(r.randint(-3, 3)), coarse, round(r.gauss(0, 3), 3), far, level)[kind]
            column.append(None if r.random() < missing else x)
        return column

    def times(self, missing: float = 0.0) -> Column:
        """Regular, irregular, repeated, closer than a second, falling, with gaps; now and then two in disorder."""
        r, t, column = self.r, float(NEW_YEAR + self.r.randint(-300, 300) * DAY), []
        step, kind = r.choice([1, 60, 900, 3600, DAY, 7 * DAY]), r.choice([0, 0, 1, 2, 3, 4, 5])
        for _ in range(self.n):
            column.append(t)
            close, gap = r.choice([0.25, 0.5, 1.5, 2.75, 0.999]), step if r.random() < 0.8 else step * r.randint(2, 20)
            t += (step, r.randint(1, 3 * step), r.choice([0, step]), close, -step, gap)[kind]
        if r.random() < 0.07 and self.n > 2:
            i = r.randrange(self.n - 1)
            column[i], column[i + 1] = column[i + 1], column[i]
        return [None if r.random() < missing else iso(t) for t in column]

    def day(self) -> str:
        return iso(NEW_YEAR + self.r.randint(-300, 300) * DAY)

    def span(self) -> Column:
        return [self.r.choice([-10, -3, -1, 0, 0.5, 1, 2, 3, 10]) for _ in range(2)]

    def gross_range_test(self) -> Args:
        odd = self.r.choice([[1, 2, 3], 5]) if self.r.random() < 0.05 else self.span()
        return {"inp": self.values(), "fail_span": odd, "suspect_span": self.r.choice([None, self.span()])}

    def spike_test(self) -> Args:
        limits = [self.r.choice([None, 0, 0.01, 0.1, 0.3, 0.5, 1, 2, 10, -1, 1e-12]) for _ in range(2)]
        method = self.r.choice(["average", "differential"] * 9 + ["neither"])
        return {"inp": self.values(), "suspect_threshold": limits[0], "fail_threshold": limits[1], "method": method}

    def rate_of_change_test(self) -> Args:
        limits = [0, 1e-20, 1e-19, 0.001, 0.01, 0.1, 1, 2, -1]
        times = self.times(self.r.choice([0, 0, 0.05, 0.3]))
        fail = self.r.choice([None, *limits])
        return {"inp": self.values(), "tinp": times, "threshold": self.r.choice(limits), "fail_threshold": fail}

    def flat_line_test(self) -> Args:
        suspect = self.r.choice(SECONDS)
        fail = self.r.choice([suspect, 2 * suspect, suspect + 1, 3 * suspect, 0])
        tolerance = self.r.choice([0, 1e-9, 0.001, 0.01, 0.02, 1, 6, -1])
        limits = {"suspect_threshold": suspect, "fail_threshold": fail, "tolerance": tolerance}
        return {"inp": self.values(), "tinp": self.times(self.r.choice([0] * 9 + [0.2])), **limits}

    def attenuated_signal_test(self) -> Args:
        r = self.r
        limits = {
            "suspect_threshold": r.choice([0, 0.37, 0.5, 1, 5, -1]),
            "fail_threshold": r.choice([0, 0.1, 0.37, 1, 4]),
        }
        window = {"test_period": r.choice([None, 0, 0.5, 1, 3, 120, 3600, 7200, 2 * DAY, 30 * DAY])}
        least = {
            "min_obs": r.choice([None, None, 0, 1, 2, 3, 30]),
            "min_period": r.choice([None, None, 0, 1, 60, 900, DAY]),
        }
        kind = r.choice(["std", "range"] * 9 + ["neither"])
        times = self.times(r.choice([0] * 30 + [0.1]))
        return {"inp": self.values(), "tinp": times, **limits, **window, **least, "check_type": kind}

    def climatology_test(self) -> Args:
        r, members = self.r, []
        for _ in range(r.choice([0, 1, 1, 2, 2, 3, 4])):
            period = r.choice([None, None, None, *PERIODS] + (["fortnight"] if r.random() < 0.05 else []))
            ends: Column = [self.day(), self.day()]
            if period:
                low, high = PERIODS.get(period, (0, 1))
                ends = [r.randint(low, high) + r.choice([0] * 9 + [0.5]), r.randint(low, high)]
            depth = [r.choice([0, 1, 5, 10]), r.choice([0, 2, 5, 20])]
            member = {"period": period, "tspan": ends, "vspan": self.span()}
            members.append(member | {"fspan": r.choice([None, self.span()]), "zspan": r.choice([None, None, depth])})
        periods, is_deep = {m["period"] for m in members}, any(m["zspan"] for m in members)
        has_period = bool(periods - {None})
        values = self.values(0.0 if has_period or is_deep else None)
        known = [r.choice([0, 1, 2, 5, 10, 30, -1]) for _ in range(self.n)]
        some = [None if r.random() < 0.3 else z for z in known]
        depths = r.choice([[None] * self.n, known, [7], known if has_period and is_deep else some])
        times = self.times(0.0 if periods & {"week", "weekofyear"} else r.choice([0] * 9 + [0.2]))
        return {"config": members, "inp": values, "tinp": times, "zinp": depths}

    def time_gap_test(self) -> Args:
        hours = [0, 0.00028, 0.001, 0.25, 1, 1.9999, 2, 24]
        return {"tinp": self.times(self.r.choice([0, 0.1, 0.5])), "fail_span": self.r.choice(hours)}

    def data_reception_test(self) -> Args:
        times = self.times(self.r.choice([0, 0.1, 0.5]))
        hours = self.r.choice([0, 0.001, 0.25, 1, 2, 6, 2400])
        return {"tinp": times, "fail_span": hours, "from_time": self.r.choice([self.day(), *times[:1]]) or self.day()}

    def impossible_date_test(self) -> Args:
        times = self.times(self.r.choice([0, 0.1, 0.5])) + self.r.choice([[], ["2199-01-01T00:00:00"]])
        return {"tinp": times, "fail_span": self.r.choice([None, [self.day(), self.day()]])}

    def percentile_range_test(self) -> Args:
        edges = {"low_percentile": self.r.choice([0, 5, 25, 60.5]), "hi_percentile": self.r.choice([50, 75, 95, 100])}
        return {"inp": self.values(), **edges, "pad": self.r.choice([0, 0.5, -1])}

    def density_inversion_test(self) -> Args:
        depths = [self.r.choice([None, 0, 1, 1, 2, 3, 5]) for _ in range(self.n)]
        limits = [self.r.choice([None, 0, -0.01, -0.03, -0.5, 0.5, 1]) for _ in range(2)]
        return {"inp": self.values(), "zinp": depths, "suspect_threshold": limits[0], "fail_threshold": limits[1]}

    def location_test(self) -> Args:
        r = self.r
        method = r.choice(["haversine", "wgs84", "WGS84"] * 5 + ["neither"])
        missing, is_near = 0.0 if method == "haversine" else r.choice([0, 0.2]), r.random() < 0.5
        lats = [r.choice([0, 10, 10.001, 45, 89.9, 90, -90, 91, -91]) for _ in range(self.n)]
        lons = [r.choice([0, 1, -70, 179.999, 180, -180, 180.5, -181]) for _ in range(self.n)]
        if is_near:
            lats = [round(45 + r.gauss(0, 0.02), r.randint(1, 5)) for _ in range(self.n)]
            lons = [round(179.99 + r.gauss(0, 0.02), r.randint(1, 5)) for _ in range(self.n)]
        lon, lat = ([None if r.random() < missing else x for x in column] for column in (lons, lats))
        return {"lon": lon, "lat": lat, "range_max": r.choice([None, 0, 100, 3000, 1e5, 1e7]), "range_method": method}

    def location_bounds_test(self) -> Args:
        r, digits = self.r, self.r.choice([0, 1, 3])
        corners = [[round(r.uniform(-3, 3), digits) for _ in range(2)] for _ in range(r.choice([2, 3, 4, 5, 7]))]
        lons: Column = [None if r.random() < 0.1 else round(r.uniform(-3, 3), digits) for _ in range(self.n)]
        lats: Column = [None if r.random() < 0.1 else round(r.uniform(-3, 3), digits) for _ in range(self.n)]
        for j in range(self.n):
            if r.random() < 0.3 and lons[j] is not None:  # on an edge, as near as rounding lets it
                edge, part = r.randrange(len(corners)), r.choice([0, 0.1, 0.25, 1 / 3, 0.5])
                (x1, y1), (x2, y2) = corners[edge], corners[(edge + 1) % len(corners)]
                lons[j], lats[j] = x1 + part * (x2 - x1), y1 + part * (y2 - y1)
        shape = corners if r.random() < 0.8 else [round(r.uniform(-3, 3), digits) for _ in range(4)]
        area = r.choice(["inside", "outside"] * 9 + ["neither"])
        return {"lon": lons, "lat": lats, "shape": shape, "flag_area": area}

    def syntax_test(self) -> Args:
        r = self.r
        lines = [
            "".join(r.choice("0123456789ABCDEF,;") for _ in range(r.randint(0, 9))) for _ in range(r.randint(0, 5))
        ]
        kind = r.choice(["char", "byte"] * 5 + [" BYTE", "Char ", "word"])
        separator = r.choice([None, "", ",", ";", ";,"])
        return {"inp": lines, "nchar": r.choice([1, 2, 2.5, 3, 4, 5, 6]), "lentype": kind, "delimiter": separator}

    def qartod_compare(self) -> Args:
        lengths = [self.n + (self.r.random() < 0.03) for _ in range(self.r.choice([0, 1, 2, 3, 5]))]
        return {"vectors": [[self.r.choice([1, 2, 3, 4, 9]) for _ in range(n)] for n in lengths]}


TESTS = [name for name in vars(Draw) if name.endswith("_test") or name == "qartod_compare"]


def iso(t: float) -> str:
    return str(np.datetime64(round(t * 1000), "ms"))


def native(name: str, x: Any) -> Any:
    """One argument as the reference takes it: arrays for columns, tuples for spans."""
    if name in ("inp", "zinp", "lon", "lat"):
        is_text = any(isinstance(value, str) for value in x)
        return np.array(x, str) if is_text else np.array([np.nan if v is None else v for v in x], float)
    if name == "tinp":
        return np.array(["NaT" if t is None else t for t in x], "datetime64[ns]")
    if name == "vectors":
        return [np.array(flags) for flags in x]
    if name == "config":
        return [{key: tuple(value) if isinstance(value, list) else value for key, value in m.items()} for m in x]
    if name == "shape" and isinstance(x[0], list):
        return tuple(tuple(corner) for corner in x)
    return x


def main() -> int:
    reference = import_module("ioos_qc.qartod")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--longest", type=int, default=40, help="readings of the longest series")
    parser.add_argument("--tests", nargs="*", choices=TESTS, default=TESTS, metavar="TEST")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    random = Random(options.seed)
    with options.out.open("w") as out:
        for k in range(options.count):
            test = random.choice(options.tests)
            make: Callable[[], Args] = getattr(Draw(random, options.longest), test)
            args = make()
            vector: Args = {"id": f"{test}/{options.seed}.{k}", "test": test, "args": args}
            try:
                flags = getattr(reference, test)(**{name: native(name, x) for name, x in args.items()})
                vector["flags"] = [int(flag) for flag in np.ma.getdata(flags).ravel()]
            except Exception as refusal:
                vector["raises"] = type(refusal).__name__
            out.write(json.dumps(vector) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
